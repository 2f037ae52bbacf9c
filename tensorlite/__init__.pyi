"""The public names. Written by tests/stubs.py; do not edit."""

import builtins
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tensorlite.generator import Generator as Generator
from tensorlite.ops.order import ValuesAndIndices
from tensorlite.tensor import Tensor as Tensor

Dim = builtins.int | Sequence[builtins.int] | None
Sizes = Sequence[builtins.int]
Number = Tensor | builtins.float

from math import inf as inf
from math import nan as nan
from math import pi as pi
from tensorlite.tensor import Tensor as Tensor
from tensorlite import autograd as autograd
from tensorlite import profiler as profiler
from tensorlite.autograd import enable_grad as enable_grad
from tensorlite.autograd import inference_mode as inference_mode
from tensorlite.autograd import is_grad_enabled as is_grad_enabled
from tensorlite.autograd import is_inference_mode_enabled as is_inference_mode_enabled
from tensorlite.autograd import no_grad as no_grad
from tensorlite.autograd import set_grad_enabled as set_grad_enabled
from tensorlite.autograd.watch import CaptureError as CaptureError
from tensorlite.capture import Capture as Capture
from tensorlite.creation import arange as arange
from tensorlite.creation import as_tensor as as_tensor
from tensorlite.creation import asarray as asarray
from tensorlite.creation import empty as empty
from tensorlite.creation import empty_like as empty_like
from tensorlite.creation import eye as eye
from tensorlite.creation import from_numpy as from_numpy
from tensorlite.creation import full as full
from tensorlite.creation import full_like as full_like
from tensorlite.creation import linspace as linspace
from tensorlite.creation import logspace as logspace
from tensorlite.creation import ones as ones
from tensorlite.creation import ones_like as ones_like
from tensorlite.creation import tensor as tensor
from tensorlite.creation import tril_indices as tril_indices
from tensorlite.creation import triu_indices as triu_indices
from tensorlite.creation import zeros as zeros
from tensorlite.creation import zeros_like as zeros_like
from tensorlite.device import device as device
from tensorlite.dtypes import bool as bool
from tensorlite.dtypes import dtype as dtype
from tensorlite.dtypes import float32 as float32
from tensorlite.dtypes import float64 as float64
from tensorlite.dtypes import get_default_dtype as get_default_dtype
from tensorlite.dtypes import int32 as int32
from tensorlite.dtypes import int64 as int64
from tensorlite.dtypes import set_default_dtype as set_default_dtype
from tensorlite.dtypes import uint8 as uint8
from tensorlite.generator import Generator as Generator
from tensorlite.kernels.jit import get_num_threads as get_num_threads
from tensorlite.kernels.jit import set_num_threads as set_num_threads
from tensorlite.printing import set_printoptions as set_printoptions
from tensorlite.random import bernoulli as bernoulli
from tensorlite.random import get_rng_state as get_rng_state
from tensorlite.random import initial_seed as initial_seed
from tensorlite.random import manual_seed as manual_seed
from tensorlite.random import multinomial as multinomial
from tensorlite.random import normal as normal
from tensorlite.random import rand as rand
from tensorlite.random import rand_like as rand_like
from tensorlite.random import randint as randint
from tensorlite.random import randint_like as randint_like
from tensorlite.random import randn as randn
from tensorlite.random import randn_like as randn_like
from tensorlite.random import randperm as randperm
from tensorlite.random import seed as seed
from tensorlite.random import set_rng_state as set_rng_state
from tensorlite.serialization import load as load
from tensorlite.serialization import save as save
from tensorlite.size import Size as Size
from tensorlite import data as data
from tensorlite import nn as nn
from tensorlite import optim as optim
from tensorlite import testing as testing
from tensorlite.startup import warmup as warmup
float: dtype
double: dtype
int: dtype
long: dtype
__version__: builtins.str

def abs(x: Tensor) -> Tensor:
    """|x|"""
def acos(x: Tensor) -> Tensor:
    """The angle in [0, pi] whose cosine is x."""
def add(input: Tensor, other: Number, alpha: builtins.float = ...) -> Tensor:
    """input + alpha * other"""
def addcdiv(input: Tensor, tensor1: Number, tensor2: Number, *, value: builtins.float = ...) -> Tensor:
    """input + value * tensor1 / tensor2"""
def addcmul(input: Tensor, tensor1: Number, tensor2: Number, *, value: builtins.float = ...) -> Tensor:
    """input + value * tensor1 * tensor2"""
def all(x: Tensor, dim: Dim = ..., keepdim: builtins.bool = ...) -> Tensor:
    """Are all elements over dim nonzero?"""
def allclose(input: Tensor, other: Number, rtol: builtins.float = ..., atol: builtins.float = ..., equal_nan: builtins.bool = ...) -> builtins.bool:
    """Is |input - other| <= atol + rtol * |other| everywhere?"""
def amax(x: Tensor, dim: Dim = ..., keepdim: builtins.bool = ...) -> Tensor:
    """The largest element over dim; ties share the gradient."""
def amin(x: Tensor, dim: Dim = ..., keepdim: builtins.bool = ...) -> Tensor:
    """The smallest element over dim; ties share the gradient."""
def aminmax(input: Tensor, *, dim: builtins.int | None = ..., keepdim: builtins.bool = ...) -> tuple[Tensor, Tensor]:
    """(smallest, largest)"""
def any(x: Tensor, dim: Dim = ..., keepdim: builtins.bool = ...) -> Tensor:
    """Is any element over dim nonzero?"""
def argmax(x: Tensor, dim: builtins.int | None = ..., keepdim: builtins.bool = ...) -> Tensor:
    """Where the largest element is along an axis, or in x flattened: the first of several."""
def argmin(x: Tensor, dim: builtins.int | None = ..., keepdim: builtins.bool = ...) -> Tensor:
    """Where the smallest element is along an axis, or in x flattened: the first of several."""
def argsort(x: Tensor, dim: builtins.int = ..., descending: builtins.bool = ..., stable: builtins.bool = ...) -> Tensor:
    """Where the sorted elements stand along an axis; equal ones in their order, nan as largest."""
def argwhere(input: Tensor) -> Tensor:
    """The positions where input is not zero, a row each."""
def asin(x: Tensor) -> Tensor:
    """The angle in [-pi/2, pi/2] whose sine is x."""
def atan(x: Tensor) -> Tensor:
    """The angle in (-pi/2, pi/2) whose tangent is x."""
def atan2(y: Tensor, x: Number) -> Tensor:
    """The angle of the point (x, y), in [-pi, pi]."""
def bincount(x: Tensor, weights: Number | None = ..., minlength: builtins.int = ...) -> Tensor:
    """How often each of 0, 1, 2, ... occurs in a vector; or the sum of its weights."""
def bitwise_and(x: Tensor, y: Number) -> Tensor:
    """x & y"""
def bitwise_not(x: Tensor) -> Tensor:
    """~x"""
def bitwise_or(x: Tensor, y: Number) -> Tensor:
    """x | y"""
def bitwise_xor(x: Tensor, y: Number) -> Tensor:
    """x ^ y"""
def bmm(x: Tensor, y: Number) -> Tensor:
    """x @ y of two stacks of as many matrices: (B, M, K) @ (B, K, N) -> (B, M, N)."""
def broadcast_to(input: Tensor, size: Sizes) -> Tensor:
    """input stretched to a shape."""
def cat(tensors: Sequence[Tensor], dim: builtins.int = ...) -> Tensor:
    """Tensors one after the other along an axis; the other axes must agree."""
def ceil(x: Tensor) -> Tensor:
    """The smallest integer not below x."""
def chunk(input: Tensor, chunks: builtins.int, dim: builtins.int = ...) -> tuple[Tensor, ...]:
    """input cut along an axis into so many pieces, as equal as ceil allows."""
def clamp(x: Tensor, min: Number | builtins.float | None = ..., max: Number | builtins.float | None = ...) -> Tensor:
    """x, but no less than min and no more than max."""
def clip(input: Tensor, min: Any = ..., max: Any = ...) -> Tensor:
    """NumPy's name for clamp."""
def clone(x: Tensor) -> Tensor:
    """A copy, its elements in order."""
def cos(x: Tensor) -> Tensor:
    """The cosine of x radians."""
def cosh(x: Tensor) -> Tensor:
    """(exp(x) + exp(-x)) / 2"""
def count_nonzero(x: Tensor, dim: Dim = ...) -> Tensor:
    """How many elements over dim are not zero."""
def cumprod(x: Tensor, dim: builtins.int, dtype: Any = ...) -> Tensor:
    """y[i] = x[0] * ... * x[i] along an axis."""
def cumsum(x: Tensor, dim: builtins.int, dtype: Any = ...) -> Tensor:
    """y[i] = x[0] + ... + x[i] along an axis."""
def diag(input: Tensor, diagonal: builtins.int = ...) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal."""
def diagonal(x: Tensor, offset: builtins.int = ..., dim1: builtins.int = ..., dim2: builtins.int = ...) -> Tensor:
    """The diagonal of the plane of two axes, as the last axis."""
def dist(input: Tensor, other: Number, p: builtins.float = ...) -> Tensor:
    """The p-norm of input - other."""
def div(input: Tensor, other: Number, *, rounding_mode: str | None = ...) -> Tensor:
    """input / other; rounding_mode "floor" rounds down, "trunc" towards zero."""
def dot(x: Tensor, y: Number) -> Tensor:
    """The sum of the products of two vectors: (K) @ (K) -> scalar."""
def einsum(equation: str, *operands: Any) -> Any:
    """Sums of products by Einstein's convention, as numpy.einsum writes them."""
def eq(x: Tensor, y: Number) -> Tensor:
    """x == y"""
def equal(input: Tensor, other: Number) -> builtins.bool:
    """Have input and other the same shape and the same elements?"""
def erf(x: Tensor) -> Tensor:
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
def exp(x: Tensor) -> Tensor:
    """e to the x."""
def exp2(x: Tensor) -> Tensor:
    """2 to the x."""
def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1, precise near 0."""
def flatten(input: Tensor, start_dim: builtins.int = ..., end_dim: builtins.int = ...) -> Tensor:
    """The axes from start_dim to end_dim joined into one."""
def flip(x: Tensor, *dims: Any) -> Tensor:
    """Axes reversed."""
def floor(x: Tensor) -> Tensor:
    """The largest integer not above x."""
def floor_divide(x: Tensor, y: Number) -> Tensor:
    """floor(x / y)"""
def fmod(x: Tensor, y: Number) -> Tensor:
    """x - trunc(x / y) * y: the sign is x's."""
def gather(x: Tensor, dim: builtins.int, index: Number) -> Tensor:
    """y[i, j, k] = x[index[i, j, k], j, k] for dim 0; the index at axis dim for others."""
def ge(x: Tensor, y: Number) -> Tensor:
    """x >= y"""
def gt(x: Tensor, y: Number) -> Tensor:
    """x > y"""
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the second axis; vectors along their only one."""
def index_add(x: Tensor, dim: builtins.int, index: Number, source: Number, alpha: builtins.float = ...) -> Tensor:
    """x, with alpha * source[i] added to its slice index[i] along an axis; in order of i."""
def index_copy(x: Tensor, dim: builtins.int, index: Number, source: Number) -> Tensor:
    """x, with source[i] in place of its slice index[i] along an axis."""
def index_fill(x: Tensor, dim: builtins.int, index: Number, value: builtins.float) -> Tensor:
    """x, with value in its slices index[i] along an axis."""
def index_select(x: Tensor, dim: builtins.int, index: Number) -> Tensor:
    """The slices of x along an axis that index names."""
def isclose(x: Tensor, y: Number, rtol: builtins.float = ..., atol: builtins.float = ..., equal_nan: builtins.bool = ...) -> Tensor:
    """|x - y| <= atol + rtol * |y|"""
def isfinite(x: Tensor) -> Tensor:
    """Where x is a finite number."""
def isinf(x: Tensor) -> Tensor:
    """Where x is infinite."""
def isnan(x: Tensor) -> Tensor:
    """Where x is not a number."""
def le(x: Tensor, y: Number) -> Tensor:
    """x <= y"""
def lerp(input: Tensor, end: Number, weight: Any) -> Tensor:
    """input + weight * (end - input), exact at weight 0 and 1."""
def linear(x: Tensor, weight: Number, bias: Number | None = ...) -> Tensor:
    """x @ weight.T + bias: (..., K), (N, K), (N) -> (..., N)."""
def log(x: Tensor) -> Tensor:
    """The natural logarithm of x."""
def log10(x: Tensor) -> Tensor:
    """The logarithm of x to base 10."""
def log1p(x: Tensor) -> Tensor:
    """log(1 + x), precise near 0."""
def log2(x: Tensor) -> Tensor:
    """The logarithm of x to base 2."""
def log_softmax(x: Tensor, dim: builtins.int, dtype: Any = ...) -> Tensor:
    """x - log(sum(exp(x))) over dim, without overflow."""
def logical_and(x: Tensor, y: Number) -> Tensor:
    """Where both are nonzero."""
def logical_not(x: Tensor) -> Tensor:
    """Where x is zero."""
def logical_or(x: Tensor, y: Number) -> Tensor:
    """Where either is nonzero."""
def logical_xor(x: Tensor, y: Number) -> Tensor:
    """Where exactly one is nonzero."""
def logsumexp(x: Tensor, dim: builtins.int | Sequence[builtins.int], keepdim: builtins.bool = ...) -> Tensor:
    """log(sum(exp(x))) over dim, without overflow; -inf where all are -inf."""
def lt(x: Tensor, y: Number) -> Tensor:
    """x < y"""
def masked_fill(x: Tensor, mask: Number, value: Number) -> Tensor:
    """value, a number or a tensor without axes, where mask holds; else x."""
def masked_select(input: Tensor, mask: Number) -> Tensor:
    """The elements of input where mask holds, in one row."""
def matmul(x: Tensor, y: Number) -> Any:
    """x @ y: sums of products over x's last axis and y's last but one, or its only one."""
def max(input: Tensor, dim: Any = ..., keepdim: builtins.bool = ..., *, other: Number | None = ...) -> Any:
    """The largest element; with dim, (values, indices) along it; with a tensor, maximum."""
def maximum(x: Tensor, y: Number) -> Tensor:
    """The larger of x and y; nan if either is nan. A tie halves the gradient."""
def mean(x: Tensor, dim: Dim = ..., keepdim: builtins.bool = ..., dtype: Any = ...) -> Tensor:
    """The mean over dim."""
def min(input: Tensor, dim: Any = ..., keepdim: builtins.bool = ..., *, other: Number | None = ...) -> Any:
    """The smallest element; with dim, (values, indices) along it; with a tensor, minimum."""
def minimum(x: Tensor, y: Number) -> Tensor:
    """The smaller of x and y; nan if either is nan. A tie halves the gradient."""
def mm(x: Tensor, y: Number) -> Tensor:
    """x @ y of two matrices: (M, K) @ (K, N) -> (M, N)."""
def movedim(input: Tensor, source: builtins.int | Sizes, destination: builtins.int | Sizes) -> Tensor:
    """Axes moved to other places, the rest in their order."""
def mul(x: Tensor, y: Number) -> Tensor:
    """x * y"""
def mv(x: Tensor, y: Number) -> Tensor:
    """x @ y of a matrix and a vector: (M, K) @ (K) -> (M)."""
def nan_to_num(x: Tensor, nan: builtins.float = ..., posinf: builtins.float | None = ..., neginf: builtins.float | None = ...) -> Tensor:
    """x with nan and infinities replaced, the latter by the largest numbers of its type."""
def narrow(x: Tensor, dim: builtins.int, start: builtins.int, length: builtins.int) -> Tensor:
    """x[start : start + length] along an axis."""
def ne(x: Tensor, y: Number) -> Tensor:
    """x != y"""
def neg(x: Tensor) -> Tensor:
    """-x"""
def nonzero(input: Tensor, *, as_tuple: builtins.bool = ...) -> Any:
    """The positions where input is not zero: a row each, or one tensor an axis."""
def norm(input: Tensor, p: builtins.float | str = ..., dim: Dim = ..., keepdim: builtins.bool = ..., dtype: Any = ...) -> Tensor:
    """(sum |x|^p)^(1/p) over dim; p = inf: the largest |x|, p = 0: how many are not zero."""
def outer(x: Tensor, y: Number) -> Tensor:
    """z[i, j] = x[i] y[j]."""
def pad(input: Tensor, pad: Sizes, mode: str = ..., value: builtins.float | None = ...) -> Tensor:
    """input with a border. pad = (before, after) of the last axis, then of the one before it, ..."""
def permute(x: Tensor, *dims: Any) -> Tensor:
    """The axes in another order: axis i of the result is axis dims[i] of x."""
def pow(x: Tensor, y: Number) -> Tensor:
    """x to the power of y. For y = 2, 3, 1/2, -1/2, -1 and -2 they are products, roots and"""
def prod(x: Tensor, dim: builtins.int | None = ..., keepdim: builtins.bool = ..., dtype: Any = ...) -> Tensor:
    """The product over an axis, or of all elements."""
def ravel(input: Tensor) -> Tensor:
    """All axes joined into one."""
def reciprocal(x: Tensor) -> Tensor:
    """1 / x"""
def relu(x: Tensor) -> Tensor:
    """max(x, 0), and 0 for its derivative at 0."""
def remainder(x: Tensor, y: Number) -> Tensor:
    """x - floor(x / y) * y: the sign is y's."""
def repeat_interleave(input: Tensor, repeats: Number | builtins.int, dim: builtins.int | None = ...) -> Tensor:
    """Each slice along an axis several times in a row; without dim each element."""
def reshape(x: Tensor, *shape: Any) -> Tensor:
    """x in another shape: a view where the layout allows it, else a copy. One size may be -1."""
def roll(x: Tensor, shifts: builtins.int | Sizes, dims: builtins.int | Sizes | None = ...) -> Tensor:
    """Elements shifted along axes; what leaves at the end comes in at the start."""
def round(x: Tensor, decimals: builtins.int = ...) -> Tensor:
    """The nearest number with so many decimals, halves to even."""
def rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x)"""
def scatter(input: Tensor, dim: builtins.int, index: Number, src: Number | None = ..., *, value: Any = ..., reduce: str | None = ...) -> Any:
    """input, with y[index[i, j, k], j, k] = src[i, j, k] for dim 0; src may be a number."""
def scatter_add(input: Tensor, dim: builtins.int, index: Number, src: Number) -> Tensor:
    """input, with y[index[i, j, k], j, k] += src[i, j, k] for dim 0, in ascending order."""
def searchsorted(sorted_sequence: Tensor, values: Number, right: builtins.bool = ...) -> Tensor:
    """Where values would be inserted into an ascending vector to keep its order."""
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))"""
def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1"""
def sin(x: Tensor) -> Tensor:
    """The sine of x radians."""
def sinh(x: Tensor) -> Tensor:
    """(exp(x) - exp(-x)) / 2"""
def softmax(x: Tensor, dim: builtins.int, dtype: Any = ...) -> Tensor:
    """exp(x) / sum(exp(x)) over dim. A row of -inf only gives NaN."""
def sort(input: Tensor, dim: builtins.int = ..., descending: builtins.bool = ..., stable: builtins.bool = ...) -> ValuesAndIndices:
    """(values, indices) in ascending or descending order along an axis."""
def split(x: Tensor, split_size_or_sections: builtins.int | Sizes, dim: builtins.int = ...) -> tuple[Tensor, ...]:
    """x cut along an axis into pieces of a size (the last may be smaller), or of given sizes."""
def sqrt(x: Tensor) -> Tensor:
    """The square root of x."""
def square(x: Tensor) -> Tensor:
    """x * x"""
def squeeze(x: Tensor, dim: builtins.int | Sizes | None = ...) -> Tensor:
    """Without the axes of length 1: all of them, or those in dim that have it."""
def stack(tensors: Sequence[Tensor], dim: builtins.int = ...) -> Tensor:
    """Tensors of one shape side by side along a new axis."""
def std(input: Tensor, dim: Any = ..., unbiased: builtins.bool | None = ..., keepdim: builtins.bool = ..., *, correction: builtins.float | None = ...) -> Tensor:
    """The square root of var."""
def std_mean(input: Tensor, dim: Any = ..., *, correction: builtins.float = ..., keepdim: builtins.bool = ...) -> tuple[Tensor, Tensor]:
    """(std, mean) over dim."""
def sub(input: Tensor, other: Number, alpha: builtins.float = ...) -> Tensor:
    """input - alpha * other"""
def sum(x: Tensor, dim: Dim = ..., keepdim: builtins.bool = ..., dtype: Any = ...) -> Tensor:
    """The sum over dim; of integers, in int64."""
def swapaxes(input: Tensor, axis0: builtins.int, axis1: builtins.int) -> Tensor:
    """NumPy's name for transpose."""
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a vector stays as it is."""
def take(input: Tensor, index: Number) -> Tensor:
    """The elements at these positions of input flattened, in the shape of index."""
def take_along_dim(input: Tensor, indices: Number, dim: builtins.int | None = ...) -> Tensor:
    """gather, with input and indices broadcast against each other; dim None: input flattened."""
def tan(x: Tensor) -> Tensor:
    """The tangent of x radians."""
def tanh(x: Tensor) -> Tensor:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))"""
def tensor_split(input: Tensor, indices_or_sections: builtins.int | Sizes, dim: builtins.int = ...) -> tuple[Tensor, ...]:
    """input cut along an axis before given positions, or into so many nearly equal pieces."""
def tile(input: Tensor, *dims: Any) -> Tensor:
    """NumPy's tile: as repeat, but dims may be fewer than the axes."""
def topk(input: Tensor, k: builtins.int, dim: builtins.int = ..., largest: builtins.bool = ..., sorted: builtins.bool = ...) -> ValuesAndIndices:
    """The k largest (or smallest) elements along an axis, in order, and where they stand."""
def transpose(x: Tensor, dim0: builtins.int, dim1: builtins.int) -> Tensor:
    """Two axes exchanged."""
def tril(x: Tensor, diagonal: builtins.int = ...) -> Tensor:
    """The lower triangle of the last two axes, zeros elsewhere."""
def triu(x: Tensor, diagonal: builtins.int = ...) -> Tensor:
    """The upper triangle of the last two axes, zeros elsewhere."""
def trunc(x: Tensor) -> Tensor:
    """x without its fraction."""
def unbind(x: Tensor, dim: builtins.int = ...) -> tuple[Tensor, ...]:
    """The slices of x along an axis, without it."""
def unflatten(input: Tensor, dim: builtins.int, sizes: Sizes) -> Tensor:
    """One axis split into several."""
def unique(input: Tensor, sorted: builtins.bool = ..., return_inverse: builtins.bool = ..., return_counts: builtins.bool = ..., dim: builtins.int | None = ...) -> Any:
    """The distinct elements (or slices along dim), ascending; and which is where; and how many."""
def unsqueeze(x: Tensor, dim: builtins.int) -> Tensor:
    """With an axis of length 1 at dim."""
def var(x: Tensor, dim: Any = ..., unbiased: builtins.bool | None = ..., keepdim: builtins.bool = ..., correction: builtins.float | None = ...) -> Tensor:
    """sum((x - mean)^2) / (n - correction) over dim; correction is 1, or 0 for unbiased=False."""
def var_mean(input: Tensor, dim: Any = ..., *, correction: builtins.float = ..., keepdim: builtins.bool = ...) -> tuple[Tensor, Tensor]:
    """(var, mean) over dim."""
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the first axis; vectors are rows."""
def where(condition: Tensor, x: Number | None = ..., other: Number | None = ...) -> Any:
    """x where condition holds, else other; of a condition alone, the positions where it holds."""
