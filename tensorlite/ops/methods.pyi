"""The methods that ops put on Tensor. Written by tests/stubs.py; do not edit."""

import builtins
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tensorlite.generator import Generator as Generator
from tensorlite.ops.order import ValuesAndIndices
from tensorlite.tensor import Tensor as Tensor

Dim = builtins.int | Sequence[builtins.int] | None
Sizes = Sequence[builtins.int]
Number = Tensor | builtins.float

OPERATORS: dict[str, Callable[..., Any]]

class Methods:
    def abs(self) -> Tensor:
        """|x|"""
    def acos(self) -> Tensor:
        """The angle in [0, pi] whose cosine is x."""
    def add(self, other: Number, alpha: builtins.float = ...) -> Tensor:
        """input + alpha * other"""
    def addcdiv(self, tensor1: Number, tensor2: Number, *, value: builtins.float = ...) -> Tensor:
        """input + value * tensor1 / tensor2"""
    def addcmul(self, tensor1: Number, tensor2: Number, *, value: builtins.float = ...) -> Tensor:
        """input + value * tensor1 * tensor2"""
    def all(self, dim: Dim = ..., keepdim: builtins.bool = ...) -> Tensor:
        """Are all elements over dim nonzero?"""
    def allclose(self, other: Number, rtol: builtins.float = ..., atol: builtins.float = ..., equal_nan: builtins.bool = ...) -> builtins.bool:
        """Is |input - other| <= atol + rtol * |other| everywhere?"""
    def amax(self, dim: Dim = ..., keepdim: builtins.bool = ...) -> Tensor:
        """The largest element over dim; ties share the gradient."""
    def amin(self, dim: Dim = ..., keepdim: builtins.bool = ...) -> Tensor:
        """The smallest element over dim; ties share the gradient."""
    def aminmax(self, *, dim: builtins.int | None = ..., keepdim: builtins.bool = ...) -> tuple[Tensor, Tensor]:
        """(smallest, largest)"""
    def any(self, dim: Dim = ..., keepdim: builtins.bool = ...) -> Tensor:
        """Is any element over dim nonzero?"""
    def argmax(self, dim: builtins.int | None = ..., keepdim: builtins.bool = ...) -> Tensor:
        """Where the largest element is along an axis, or in x flattened: the first of several."""
    def argmin(self, dim: builtins.int | None = ..., keepdim: builtins.bool = ...) -> Tensor:
        """Where the smallest element is along an axis, or in x flattened: the first of several."""
    def argsort(self, dim: builtins.int = ..., descending: builtins.bool = ..., stable: builtins.bool = ...) -> Tensor:
        """Where the sorted elements stand along an axis; equal ones in their order, nan as largest."""
    def asin(self) -> Tensor:
        """The angle in [-pi/2, pi/2] whose sine is x."""
    def atan(self) -> Tensor:
        """The angle in (-pi/2, pi/2) whose tangent is x."""
    def atan2(self, x: Number) -> Tensor:
        """The angle of the point (x, y), in [-pi, pi]."""
    def bernoulli(self, p: Any = ..., *, generator: Generator | None = ...) -> Tensor:
        """Ones and zeros: one with the probability that input says there, or p, in its dtype."""
    def bernoulli_(self, p: Any = ..., *, generator: Generator | None = ...) -> Tensor:
        """Overwrite with ones, each with probability p (a number or a tensor), and zeros."""
    def bincount(self, weights: Number | None = ..., minlength: builtins.int = ...) -> Tensor:
        """How often each of 0, 1, 2, ... occurs in a vector; or the sum of its weights."""
    def bitwise_and(self, y: Number) -> Tensor:
        """x & y"""
    def bitwise_not(self) -> Tensor:
        """~x"""
    def bitwise_or(self, y: Number) -> Tensor:
        """x | y"""
    def bitwise_xor(self, y: Number) -> Tensor:
        """x ^ y"""
    def bmm(self, y: Number) -> Tensor:
        """x @ y of two stacks of as many matrices: (B, M, K) @ (B, K, N) -> (B, M, N)."""
    def broadcast_to(self, size: Sizes) -> Tensor:
        """input stretched to a shape."""
    def ceil(self) -> Tensor:
        """The smallest integer not below x."""
    def chunk(self, chunks: builtins.int, dim: builtins.int = ...) -> tuple[Tensor, ...]:
        """input cut along an axis into so many pieces, as equal as ceil allows."""
    def clamp(self, min: Number | builtins.float | None = ..., max: Number | builtins.float | None = ...) -> Tensor:
        """x, but no less than min and no more than max."""
    def clip(self, min: Any = ..., max: Any = ...) -> Tensor:
        """NumPy's name for clamp."""
    def clone(self) -> Tensor:
        """A copy, its elements in order."""
    def contiguous(self) -> Tensor:
        """x itself if its elements lie in order in memory, else a copy where they do."""
    def cos(self) -> Tensor:
        """The cosine of x radians."""
    def cosh(self) -> Tensor:
        """(exp(x) + exp(-x)) / 2"""
    def count_nonzero(self, dim: Dim = ...) -> Tensor:
        """How many elements over dim are not zero."""
    def cumprod(self, dim: builtins.int, dtype: Any = ...) -> Tensor:
        """y[i] = x[0] * ... * x[i] along an axis."""
    def cumsum(self, dim: builtins.int, dtype: Any = ...) -> Tensor:
        """y[i] = x[0] + ... + x[i] along an axis."""
    def diag(self, diagonal: builtins.int = ...) -> Tensor:
        """The diagonal of a matrix, or the matrix with a vector on its diagonal."""
    def diagonal(self, offset: builtins.int = ..., dim1: builtins.int = ..., dim2: builtins.int = ...) -> Tensor:
        """The diagonal of the plane of two axes, as the last axis."""
    def div(self, other: Number, *, rounding_mode: str | None = ...) -> Tensor:
        """input / other; rounding_mode "floor" rounds down, "trunc" towards zero."""
    def dot(self, y: Number) -> Tensor:
        """The sum of the products of two vectors: (K) @ (K) -> scalar."""
    def eq(self, y: Number) -> Tensor:
        """x == y"""
    def equal(self, other: Number) -> builtins.bool:
        """Have input and other the same shape and the same elements?"""
    def erf(self) -> Tensor:
        """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    def exp(self) -> Tensor:
        """e to the x."""
    def exp2(self) -> Tensor:
        """2 to the x."""
    def expand(self, *size: Any) -> Tensor:
        """x stretched over axes of length 1 and new ones in front, without a copy; -1 keeps an axis."""
    def expand_as(self, other: Number) -> Tensor:
        """input stretched to the shape of other."""
    def expm1(self) -> Tensor:
        """exp(x) - 1, precise near 0."""
    def exponential_(self, lambd: builtins.float = ..., *, generator: Generator | None = ...) -> Tensor:
        """Overwrite with numbers of density lambd exp(-lambd x)."""
    def flatten(self, start_dim: builtins.int = ..., end_dim: builtins.int = ...) -> Tensor:
        """The axes from start_dim to end_dim joined into one."""
    def flip(self, *dims: Any) -> Tensor:
        """Axes reversed."""
    def floor(self) -> Tensor:
        """The largest integer not above x."""
    def floor_divide(self, y: Number) -> Tensor:
        """floor(x / y)"""
    def fmod(self, y: Number) -> Tensor:
        """x - trunc(x / y) * y: the sign is x's."""
    def gather(self, dim: builtins.int, index: Number) -> Tensor:
        """y[i, j, k] = x[index[i, j, k], j, k] for dim 0; the index at axis dim for others."""
    def ge(self, y: Number) -> Tensor:
        """x >= y"""
    def gt(self, y: Number) -> Tensor:
        """x > y"""
    def index_add(self, dim: builtins.int, index: Number, source: Number, alpha: builtins.float = ...) -> Tensor:
        """x, with alpha * source[i] added to its slice index[i] along an axis; in order of i."""
    def index_copy(self, dim: builtins.int, index: Number, source: Number) -> Tensor:
        """x, with source[i] in place of its slice index[i] along an axis."""
    def index_fill(self, dim: builtins.int, index: Number, value: builtins.float) -> Tensor:
        """x, with value in its slices index[i] along an axis."""
    def index_select(self, dim: builtins.int, index: Number) -> Tensor:
        """The slices of x along an axis that index names."""
    def isclose(self, y: Number, rtol: builtins.float = ..., atol: builtins.float = ..., equal_nan: builtins.bool = ...) -> Tensor:
        """|x - y| <= atol + rtol * |y|"""
    def isfinite(self) -> Tensor:
        """Where x is a finite number."""
    def isinf(self) -> Tensor:
        """Where x is infinite."""
    def isnan(self) -> Tensor:
        """Where x is not a number."""
    def le(self, y: Number) -> Tensor:
        """x <= y"""
    def lerp(self, end: Number, weight: Any) -> Tensor:
        """input + weight * (end - input), exact at weight 0 and 1."""
    def log(self) -> Tensor:
        """The natural logarithm of x."""
    def log10(self) -> Tensor:
        """The logarithm of x to base 10."""
    def log1p(self) -> Tensor:
        """log(1 + x), precise near 0."""
    def log2(self) -> Tensor:
        """The logarithm of x to base 2."""
    def log_softmax(self, dim: builtins.int, dtype: Any = ...) -> Tensor:
        """x - log(sum(exp(x))) over dim, without overflow."""
    def logical_and(self, y: Number) -> Tensor:
        """Where both are nonzero."""
    def logical_not(self) -> Tensor:
        """Where x is zero."""
    def logical_or(self, y: Number) -> Tensor:
        """Where either is nonzero."""
    def logical_xor(self, y: Number) -> Tensor:
        """Where exactly one is nonzero."""
    def logsumexp(self, dim: builtins.int | Sequence[builtins.int], keepdim: builtins.bool = ...) -> Tensor:
        """log(sum(exp(x))) over dim, without overflow; -inf where all are -inf."""
    def lt(self, y: Number) -> Tensor:
        """x < y"""
    def masked_fill(self, mask: Number, value: Number) -> Tensor:
        """value, a number or a tensor without axes, where mask holds; else x."""
    def masked_select(self, mask: Number) -> Tensor:
        """The elements of input where mask holds, in one row."""
    def matmul(self, y: Number) -> Any:
        """x @ y: sums of products over x's last axis and y's last but one, or its only one."""
    def max(self, dim: Any = ..., keepdim: builtins.bool = ..., *, other: Number | None = ...) -> Any:
        """The largest element; with dim, (values, indices) along it; with a tensor, maximum."""
    def maximum(self, y: Number) -> Tensor:
        """The larger of x and y; nan if either is nan. A tie halves the gradient."""
    def mean(self, dim: Dim = ..., keepdim: builtins.bool = ..., dtype: Any = ...) -> Tensor:
        """The mean over dim."""
    def min(self, dim: Any = ..., keepdim: builtins.bool = ..., *, other: Number | None = ...) -> Any:
        """The smallest element; with dim, (values, indices) along it; with a tensor, minimum."""
    def minimum(self, y: Number) -> Tensor:
        """The smaller of x and y; nan if either is nan. A tie halves the gradient."""
    def mm(self, y: Number) -> Tensor:
        """x @ y of two matrices: (M, K) @ (K, N) -> (M, N)."""
    def movedim(self, source: builtins.int | Sizes, destination: builtins.int | Sizes) -> Tensor:
        """Axes moved to other places, the rest in their order."""
    def mul(self, y: Number) -> Tensor:
        """x * y"""
    def multinomial(self, num_samples: builtins.int, replacement: builtins.bool = ..., *, generator: Generator | None = ...) -> Tensor:
        """Places drawn with probabilities proportional to the weights: (V) or (R, V) -> (.., samples)."""
    def mv(self, y: Number) -> Tensor:
        """x @ y of a matrix and a vector: (M, K) @ (K) -> (M)."""
    def nan_to_num(self, nan: builtins.float = ..., posinf: builtins.float | None = ..., neginf: builtins.float | None = ...) -> Tensor:
        """x with nan and infinities replaced, the latter by the largest numbers of its type."""
    def narrow(self, dim: builtins.int, start: builtins.int, length: builtins.int) -> Tensor:
        """x[start : start + length] along an axis."""
    def ne(self, y: Number) -> Tensor:
        """x != y"""
    def neg(self) -> Tensor:
        """-x"""
    def nonzero(self, *, as_tuple: builtins.bool = ...) -> Any:
        """The positions where input is not zero: a row each, or one tensor an axis."""
    def norm(self, p: builtins.float | str = ..., dim: Dim = ..., keepdim: builtins.bool = ..., dtype: Any = ...) -> Tensor:
        """(sum |x|^p)^(1/p) over dim; p = inf: the largest |x|, p = 0: how many are not zero."""
    def normal_(self, mean: builtins.float = ..., std: builtins.float = ..., *, generator: Generator | None = ...) -> Tensor:
        """Overwrite with normally distributed numbers of this mean and standard deviation."""
    def outer(self, y: Number) -> Tensor:
        """z[i, j] = x[i] y[j]."""
    def permute(self, *dims: Any) -> Tensor:
        """The axes in another order: axis i of the result is axis dims[i] of x."""
    def pow(self, y: Number) -> Tensor:
        """x to the power of y. For y = 2, 3, 1/2, -1/2, -1 and -2 they are products, roots and"""
    def prod(self, dim: builtins.int | None = ..., keepdim: builtins.bool = ..., dtype: Any = ...) -> Tensor:
        """The product over an axis, or of all elements."""
    def random_(self, low: builtins.int | None = ..., high: builtins.int | None = ..., *, generator: Generator | None = ...) -> Tensor:
        """Overwrite with whole numbers from [low, high), or [0, low), or all that the dtype counts."""
    def ravel(self) -> Tensor:
        """All axes joined into one."""
    def reciprocal(self) -> Tensor:
        """1 / x"""
    def relu(self) -> Tensor:
        """max(x, 0), and 0 for its derivative at 0."""
    def remainder(self, y: Number) -> Tensor:
        """x - floor(x / y) * y: the sign is y's."""
    def repeat(self, *repeats: Any) -> Tensor:
        """x tiled: repeats[i] copies along axis i, new axes in front."""
    def repeat_interleave(self, repeats: Number | builtins.int, dim: builtins.int | None = ...) -> Tensor:
        """Each slice along an axis several times in a row; without dim each element."""
    def reshape(self, *shape: Any) -> Tensor:
        """x in another shape: a view where the layout allows it, else a copy. One size may be -1."""
    def reshape_as(self, other: Number) -> Tensor:
        """input in the shape of other."""
    def roll(self, shifts: builtins.int | Sizes, dims: builtins.int | Sizes | None = ...) -> Tensor:
        """Elements shifted along axes; what leaves at the end comes in at the start."""
    def round(self, decimals: builtins.int = ...) -> Tensor:
        """The nearest number with so many decimals, halves to even."""
    def rsqrt(self) -> Tensor:
        """1 / sqrt(x)"""
    def scatter(self, dim: builtins.int, index: Number, src: Number | None = ..., *, value: Any = ..., reduce: str | None = ...) -> Any:
        """input, with y[index[i, j, k], j, k] = src[i, j, k] for dim 0; src may be a number."""
    def scatter_add(self, dim: builtins.int, index: Number, src: Number) -> Tensor:
        """input, with y[index[i, j, k], j, k] += src[i, j, k] for dim 0, in ascending order."""
    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))"""
    def sign(self) -> Tensor:
        """-1, 0 or 1"""
    def sin(self) -> Tensor:
        """The sine of x radians."""
    def sinh(self) -> Tensor:
        """(exp(x) - exp(-x)) / 2"""
    def softmax(self, dim: builtins.int, dtype: Any = ...) -> Tensor:
        """exp(x) / sum(exp(x)) over dim. A row of -inf only gives NaN."""
    def sort(self, dim: builtins.int = ..., descending: builtins.bool = ..., stable: builtins.bool = ...) -> ValuesAndIndices:
        """(values, indices) in ascending or descending order along an axis."""
    def split(self, split_size_or_sections: builtins.int | Sizes, dim: builtins.int = ...) -> tuple[Tensor, ...]:
        """x cut along an axis into pieces of a size (the last may be smaller), or of given sizes."""
    def sqrt(self) -> Tensor:
        """The square root of x."""
    def square(self) -> Tensor:
        """x * x"""
    def squeeze(self, dim: builtins.int | Sizes | None = ...) -> Tensor:
        """Without the axes of length 1: all of them, or those in dim that have it."""
    def std(self, dim: Any = ..., unbiased: builtins.bool | None = ..., keepdim: builtins.bool = ..., *, correction: builtins.float | None = ...) -> Tensor:
        """The square root of var."""
    def sub(self, other: Number, alpha: builtins.float = ...) -> Tensor:
        """input - alpha * other"""
    def sum(self, dim: Dim = ..., keepdim: builtins.bool = ..., dtype: Any = ...) -> Tensor:
        """The sum over dim; of integers, in int64."""
    def swapaxes(self, axis0: builtins.int, axis1: builtins.int) -> Tensor:
        """NumPy's name for transpose."""
    def t(self) -> Tensor:
        """The transpose of a matrix; a vector stays as it is."""
    def take(self, index: Number) -> Tensor:
        """The elements at these positions of input flattened, in the shape of index."""
    def take_along_dim(self, indices: Number, dim: builtins.int | None = ...) -> Tensor:
        """gather, with input and indices broadcast against each other; dim None: input flattened."""
    def tan(self) -> Tensor:
        """The tangent of x radians."""
    def tanh(self) -> Tensor:
        """(exp(x) - exp(-x)) / (exp(x) + exp(-x))"""
    def tensor_split(self, indices_or_sections: builtins.int | Sizes, dim: builtins.int = ...) -> tuple[Tensor, ...]:
        """input cut along an axis before given positions, or into so many nearly equal pieces."""
    def tile(self, *dims: Any) -> Tensor:
        """NumPy's tile: as repeat, but dims may be fewer than the axes."""
    def topk(self, k: builtins.int, dim: builtins.int = ..., largest: builtins.bool = ..., sorted: builtins.bool = ...) -> ValuesAndIndices:
        """The k largest (or smallest) elements along an axis, in order, and where they stand."""
    def transpose(self, dim0: builtins.int, dim1: builtins.int) -> Tensor:
        """Two axes exchanged."""
    def tril(self, diagonal: builtins.int = ...) -> Tensor:
        """The lower triangle of the last two axes, zeros elsewhere."""
    def triu(self, diagonal: builtins.int = ...) -> Tensor:
        """The upper triangle of the last two axes, zeros elsewhere."""
    def trunc(self) -> Tensor:
        """x without its fraction."""
    def unbind(self, dim: builtins.int = ...) -> tuple[Tensor, ...]:
        """The slices of x along an axis, without it."""
    def unflatten(self, dim: builtins.int, sizes: Sizes) -> Tensor:
        """One axis split into several."""
    def uniform_(self, low: builtins.float = ..., high: builtins.float = ..., *, generator: Generator | None = ...) -> Tensor:
        """Overwrite with numbers drawn uniformly from [low, high)."""
    def unique(self, sorted: builtins.bool = ..., return_inverse: builtins.bool = ..., return_counts: builtins.bool = ..., dim: builtins.int | None = ...) -> Any:
        """The distinct elements (or slices along dim), ascending; and which is where; and how many."""
    def unsqueeze(self, dim: builtins.int) -> Tensor:
        """With an axis of length 1 at dim."""
    def var(self, dim: Any = ..., unbiased: builtins.bool | None = ..., keepdim: builtins.bool = ..., correction: builtins.float | None = ...) -> Tensor:
        """sum((x - mean)^2) / (n - correction) over dim; correction is 1, or 0 for unbiased=False."""
    def view(self, *size: Any) -> Tensor:
        """x in another shape, never copied: an error where the layout does not allow it."""
    def view_as(self, other: Number) -> Tensor:
        """input viewed in the shape of other."""
    def abs_(self) -> Tensor:
        """abs, in place."""
    def acos_(self) -> Tensor:
        """acos, in place."""
    def add_(self, other: Number, alpha: builtins.float = ...) -> Tensor:
        """add, in place."""
    def addcdiv_(self, tensor1: Number, tensor2: Number, *, value: builtins.float = ...) -> Tensor:
        """addcdiv, in place."""
    def addcmul_(self, tensor1: Number, tensor2: Number, *, value: builtins.float = ...) -> Tensor:
        """addcmul, in place."""
    def asin_(self) -> Tensor:
        """asin, in place."""
    def atan2_(self, x: Number) -> Tensor:
        """atan2, in place."""
    def atan_(self) -> Tensor:
        """atan, in place."""
    def bitwise_and_(self, y: Number) -> Tensor:
        """bitwise_and, in place."""
    def bitwise_not_(self) -> Tensor:
        """bitwise_not, in place."""
    def bitwise_or_(self, y: Number) -> Tensor:
        """bitwise_or, in place."""
    def bitwise_xor_(self, y: Number) -> Tensor:
        """bitwise_xor, in place."""
    def ceil_(self) -> Tensor:
        """ceil, in place."""
    def clamp_(self, min: Number | builtins.float | None = ..., max: Number | builtins.float | None = ...) -> Tensor:
        """clamp, in place."""
    def clip_(self, min: Any = ..., max: Any = ...) -> Tensor:
        """clip, in place."""
    def cos_(self) -> Tensor:
        """cos, in place."""
    def cosh_(self) -> Tensor:
        """cosh, in place."""
    def div_(self, other: Number, *, rounding_mode: str | None = ...) -> Tensor:
        """div, in place."""
    def erf_(self) -> Tensor:
        """erf, in place."""
    def exp2_(self) -> Tensor:
        """exp2, in place."""
    def exp_(self) -> Tensor:
        """exp, in place."""
    def expm1_(self) -> Tensor:
        """expm1, in place."""
    def floor_(self) -> Tensor:
        """floor, in place."""
    def floor_divide_(self, y: Number) -> Tensor:
        """floor_divide, in place."""
    def fmod_(self, y: Number) -> Tensor:
        """fmod, in place."""
    def index_add_(self, dim: builtins.int, index: Number, source: Number, alpha: builtins.float = ...) -> Tensor:
        """index_add, in place."""
    def index_copy_(self, dim: builtins.int, index: Number, source: Number) -> Tensor:
        """index_copy, in place."""
    def index_fill_(self, dim: builtins.int, index: Number, value: builtins.float) -> Tensor:
        """index_fill, in place."""
    def lerp_(self, end: Number, weight: Any) -> Tensor:
        """lerp, in place."""
    def log10_(self) -> Tensor:
        """log10, in place."""
    def log1p_(self) -> Tensor:
        """log1p, in place."""
    def log2_(self) -> Tensor:
        """log2, in place."""
    def log_(self) -> Tensor:
        """log, in place."""
    def logical_and_(self, y: Number) -> Tensor:
        """logical_and, in place."""
    def logical_not_(self) -> Tensor:
        """logical_not, in place."""
    def logical_or_(self, y: Number) -> Tensor:
        """logical_or, in place."""
    def logical_xor_(self, y: Number) -> Tensor:
        """logical_xor, in place."""
    def masked_fill_(self, mask: Number, value: Number) -> Tensor:
        """masked_fill, in place."""
    def maximum_(self, y: Number) -> Tensor:
        """maximum, in place."""
    def minimum_(self, y: Number) -> Tensor:
        """minimum, in place."""
    def mul_(self, y: Number) -> Tensor:
        """mul, in place."""
    def nan_to_num_(self, nan: builtins.float = ..., posinf: builtins.float | None = ..., neginf: builtins.float | None = ...) -> Tensor:
        """nan_to_num, in place."""
    def neg_(self) -> Tensor:
        """neg, in place."""
    def pow_(self, y: Number) -> Tensor:
        """pow, in place."""
    def reciprocal_(self) -> Tensor:
        """reciprocal, in place."""
    def relu_(self) -> Tensor:
        """relu, in place."""
    def remainder_(self, y: Number) -> Tensor:
        """remainder, in place."""
    def round_(self, decimals: builtins.int = ...) -> Tensor:
        """round, in place."""
    def rsqrt_(self) -> Tensor:
        """rsqrt, in place."""
    def scatter_(self, dim: builtins.int, index: Number, src: Number | None = ..., *, value: Any = ..., reduce: str | None = ...) -> Tensor:
        """scatter, in place."""
    def scatter_add_(self, dim: builtins.int, index: Number, src: Number) -> Tensor:
        """scatter_add, in place."""
    def sigmoid_(self) -> Tensor:
        """sigmoid, in place."""
    def sign_(self) -> Tensor:
        """sign, in place."""
    def sin_(self) -> Tensor:
        """sin, in place."""
    def sinh_(self) -> Tensor:
        """sinh, in place."""
    def sqrt_(self) -> Tensor:
        """sqrt, in place."""
    def square_(self) -> Tensor:
        """square, in place."""
    def sub_(self, other: Number, alpha: builtins.float = ...) -> Tensor:
        """sub, in place."""
    def tan_(self) -> Tensor:
        """tan, in place."""
    def tanh_(self) -> Tensor:
        """tanh, in place."""
    def tril_(self, diagonal: builtins.int = ...) -> Tensor:
        """tril, in place."""
    def triu_(self, diagonal: builtins.int = ...) -> Tensor:
        """triu, in place."""
    def trunc_(self) -> Tensor:
        """trunc, in place."""
    def __add__(self, other: Any) -> Tensor: ...
    def __sub__(self, other: Any) -> Tensor: ...
    def __mul__(self, other: Any) -> Tensor: ...
    def __truediv__(self, other: Any) -> Tensor: ...
    def __floordiv__(self, other: Any) -> Tensor: ...
    def __mod__(self, other: Any) -> Tensor: ...
    def __pow__(self, other: Any) -> Tensor: ...
    def __matmul__(self, other: Any) -> Tensor: ...
    def __and__(self, other: Any) -> Tensor: ...
    def __or__(self, other: Any) -> Tensor: ...
    def __xor__(self, other: Any) -> Tensor: ...
    def __radd__(self, other: Any) -> Tensor: ...
    def __rsub__(self, other: Any) -> Tensor: ...
    def __rmul__(self, other: Any) -> Tensor: ...
    def __rtruediv__(self, other: Any) -> Tensor: ...
    def __rfloordiv__(self, other: Any) -> Tensor: ...
    def __rmod__(self, other: Any) -> Tensor: ...
    def __rpow__(self, other: Any) -> Tensor: ...
    def __rmatmul__(self, other: Any) -> Tensor: ...
    def __rand__(self, other: Any) -> Tensor: ...
    def __ror__(self, other: Any) -> Tensor: ...
    def __rxor__(self, other: Any) -> Tensor: ...
    def __iadd__(self, other: Any) -> Tensor: ...
    def __isub__(self, other: Any) -> Tensor: ...
    def __imul__(self, other: Any) -> Tensor: ...
    def __itruediv__(self, other: Any) -> Tensor: ...
    def __ifloordiv__(self, other: Any) -> Tensor: ...
    def __imod__(self, other: Any) -> Tensor: ...
    def __ipow__(self, other: Any) -> Tensor: ...
    def __imatmul__(self, other: Any) -> Tensor: ...
    def __iand__(self, other: Any) -> Tensor: ...
    def __ior__(self, other: Any) -> Tensor: ...
    def __ixor__(self, other: Any) -> Tensor: ...
    def __neg__(self) -> Tensor: ...
    def __abs__(self) -> Tensor: ...
    def __invert__(self) -> Tensor: ...
    def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
    def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
    def __lt__(self, other: Any) -> Tensor: ...
    def __le__(self, other: Any) -> Tensor: ...
    def __gt__(self, other: Any) -> Tensor: ...
    def __ge__(self, other: Any) -> Tensor: ...
    def __getitem__(self, index: Any) -> Tensor: ...
    def __setitem__(self, index: Any, value: Any) -> None: ...
