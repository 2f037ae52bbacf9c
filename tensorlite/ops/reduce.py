"""Sums, means, extremes and running sums over one axis, several, or all of them.

dim is an axis, several, or None for all; keepdim leaves axes of length 1 in their place.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tensorlite import dtypes
from tensorlite.autograd import Array, Node, Variable, composed, op
from tensorlite.dtypes import as_float
from tensorlite.kernels.loops import SMALL, reduce_on_threads
from tensorlite.kernels.ordered import ordered
from tensorlite.kernels.reduce import row_sum
from tensorlite.kernels.scan import cumulative
from tensorlite.ops.compare import isnan
from tensorlite.ops.elementwise import abs, exp, pow, zero, zero_where
from tensorlite.ops.join import stack, unbind
from tensorlite.ops.pointwise import pointwise
from tensorlite.ops.quiet import quiet
from tensorlite.ops.shape import axis_of, flip, reshape, stretched

Dim = int | Sequence[int] | None


def _reduced(
    function: np.ufunc, x: Array, axes: tuple[int, ...], dtype: Any = None, keepdim: bool = False
) -> Array:
    """function.reduce(x, axes), in x's type or another; of large arrays on all threads."""
    if x.size > SMALL and axes and (dtype is None or dtype == x.dtype):
        y = quiet.run(reduce_on_threads, function, x, axes)
        if y is not None:
            return np.expand_dims(y, axes) if keepdim else y
    reduce: Any = function.reduce
    return quiet.run(reduce, x, axes, dtype, None, keepdim)


_add: Any = np.add.reduce
_LONG = 1 << 8  # elements of a row that the kernel adds as quickly as NumPy


def _add_up(x: Array, axes: tuple[int, ...], dtype: Any = None, keepdim: bool = False) -> Array:
    """The sum over axes. Long rows in order, however many there are, are added by a kernel, so that
    each has the same bits alone (a million on one thread: 140 -> 45 us)."""
    if x.size < _LONG:
        return quiet.run(_add, x, axes, dtype, None, keepdim)
    if x.flags.c_contiguous and x.dtype.kind == "f":
        first = x.ndim - len(axes)
        n = math.prod(x.shape[first:])
        plain = dtype is None or dtype == x.dtype
        if n >= _LONG and plain and set(axes) == set(range(first, x.ndim)):
            y = row_sum(x.reshape(-1, n)).reshape(x.shape[:first])
            return np.expand_dims(y, axes) if keepdim else y
    return _reduced(np.add, x, axes, dtype, keepdim)


def axes_of(dim: Dim, ndim: int) -> tuple[int, ...]:
    """The axes that dim means, counted from 0; all of them for None and ()."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    dims = [axis_of(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim)]
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"an axis appears twice in dim={dim}")
    return tuple(dims) if ndim else ()


def _name(name: str, whole: int, part: int) -> Callable[[Node], str]:
    """PyTorch numbers its kinds of a reduction: of everything, or over axes."""
    return lambda node: f"{name}Backward{part if node.shape else whole}"


# ----------------------------------------------------------------------------------- sums and means


@op(method=True, grad_name=_name("Sum", 0, 1))
def sum(x: Array, *, dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> Array:
    """The sum over dim; of integers, in int64."""
    axes = axes_of(dim, x.ndim)
    numpy = dtypes.to_numpy(dtype) if dtype is not None else _summed_type(x)
    if x.dtype == np.bool_ and len(axes) == x.ndim and numpy == np.int64:  # a tenth of the time
        total = np.full((1,) * x.ndim if keepdim else (), np.count_nonzero(x), np.int64)
        return total, {"axes": axes}
    return _add_up(x, axes, numpy, keepdim), {"axes": axes}


@op(view=True)
def spread(x: Array, *, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """x repeated over the axes that were summed: the reverse of sum."""
    return _repeated(x, shape, axes)


_SMALL = 1 << 12  # elements that are sooner written than read as a view by what comes next


def _repeated(x: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    x = np.asarray(x)
    if x.size == 1:
        if math.prod(shape) > _SMALL:
            return stretched(x, shape)
        y = np.empty(shape, x.dtype)
        y[...] = x
        return y
    return stretched(x.reshape([1 if i in axes else n for i, n in enumerate(shape)]), shape)


def _everywhere(g: Any, x_shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """spread, without the cost of an op where g is no tensor."""
    return (spread if isinstance(g, Variable) else _repeated)(g, x_shape, axes)


sum.rules(_everywhere)
spread.rules(lambda g, axes, x_shape: reshape(sum(g, axes), x_shape))


@op(method=True, grad_name=_name("Mean", 0, 1))
def mean(x: Array, *, dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> Array:
    """The mean over dim."""
    if dtype is not None:
        x = x.astype(dtypes.to_numpy(dtype), copy=False)
    _must_float("mean", x)
    axes = axes_of(dim, x.ndim)
    n = _count(x, axes)
    total = _add_up(x, axes, None, keepdim)
    return quiet.run(np.divide, total, x.dtype.type(n)), {"axes": axes, "n": n}


def _must_float(name: str, x: Array) -> None:
    if x.dtype.kind != "f":
        raise RuntimeError(
            f"{name}: the input must be floating point, got {x.dtype}; use x.float().{name}()"
        )


mean.rules(lambda g, x_shape, axes, n: _everywhere(g / n if n else g, x_shape, axes))


def _count(x: Any, axes: tuple[int, ...]) -> int:
    n = 1
    for axis in axes:
        n *= x.shape[axis]
    return n


@op(method=True)
def var(
    x: Array,
    *,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    correction: float | None = None,
) -> Array:
    """sum((x - mean)^2) / (n - correction) over dim; correction is 1, or 0 for unbiased=False."""
    if isinstance(dim, bool):  # x.var(False)
        dim, unbiased = None, dim
    _must_float("var", x)
    if correction is None:
        correction = 0 if unbiased is False else 1
    axes = axes_of(dim, x.ndim)
    n = _count(x, axes)
    middle = quiet.run(np.divide, _add_up(x, axes, None, True), x.dtype.type(n))
    away = pointwise(np.subtract, x, middle)
    squares = _add_up(pointwise(np.multiply, away, away), axes, None, keepdim)
    m = builtins.max(n - correction, 0)
    return quiet.run(np.divide, squares, x.dtype.type(m)), {"axes": axes, "m": m}


@var.vjp
def _(g, x, axes, m):
    away = x - mean(x, axes, True)
    return spread(g * (2 / m if m else np.nan), x.shape, axes) * away


@op(grad_name="Std")
def _root(x: Array) -> Array:
    """sqrt(x), with the gradient 0 at 0."""
    return np.sqrt(x)


_root.rules(lambda g, out: zero_where(out == 0, g / (2 * out)))


@composed(method=True)
def std(
    input: Array,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Array:
    """The square root of var."""
    return _root(var(input, dim, unbiased, keepdim, correction))


@composed()
def var_mean(
    input: Array, dim: Any = None, *, correction: float = 1, keepdim: bool = False
) -> tuple[Array, Array]:
    """(var, mean) over dim."""
    return var(input, dim, None, keepdim, correction), mean(input, dim, keepdim)


@composed()
def std_mean(
    input: Array, dim: Any = None, *, correction: float = 1, keepdim: bool = False
) -> tuple[Array, Array]:
    """(std, mean) over dim."""
    return std(input, dim, None, keepdim, correction=correction), mean(input, dim, keepdim)


# ---------------------------------------------------------------------------------------- products


@op(method=True, grad_name=_name("Prod", 0, 1))
def prod(x: Array, *, dim: int | None = None, keepdim: bool = False, dtype: Any = None) -> Array:
    """The product over an axis, or of all elements."""
    if dtype is not None:
        x = x.astype(dtypes.to_numpy(dtype))
    axes = axes_of(dim, x.ndim)
    return _reduced(np.multiply, x, axes, _summed_type(x), keepdim), {"axes": axes}


@prod.vjp
def _(g, x, dim, axes):
    others = _others(reshape(x, (-1,)), 0) if dim is None else _others(x, dim)
    return spread(g, x.shape, axes) * reshape(others, x.shape)


def _others(x: Any, dim: int) -> Any:
    """For each element, the product of the others along an axis; right where some are zero."""
    parts = unbind(x, dim)
    before, after = [], []
    left = right = zero(parts[0]) + 1 if parts else None
    for part in parts:
        before.append(left)
        left = left * part
    for part in reversed(parts):
        after.append(right)
        right = right * part
    return stack([a * b for a, b in zip(before, reversed(after), strict=True)], dim) if parts else x


def _running(function: np.ufunc, x: Array, d: int, numpy: Any) -> Array:
    """function.accumulate along an axis; of many elements by a kernel, with the same bits."""
    if x.size >= _MANY and x.ndim:
        return cumulative(x.astype(numpy, copy=False), d, function is np.multiply)
    accumulate: Any = function.accumulate
    return quiet.run(accumulate, np.atleast_1d(x), d, numpy).reshape(x.shape)


_MANY = 1 << 12  # elements whose running sums are worth a kernel


@op(method=True)
def cumsum(x: Array, *, dim: int, dtype: Any = None) -> Array:
    """y[i] = x[0] + ... + x[i] along an axis."""
    numpy = dtypes.to_numpy(dtype) if dtype is not None else _summed_type(x)
    return _running(np.add, x, axis_of(dim, x.ndim), numpy)


cumsum.rules(lambda g, dim: flip(cumsum(flip(g, dim), dim), dim) if g.ndim else g)


@op(method=True)
def cumprod(x: Array, *, dim: int, dtype: Any = None) -> Array:
    """y[i] = x[0] * ... * x[i] along an axis."""
    numpy = dtypes.to_numpy(dtype) if dtype is not None else _summed_type(x)
    return _running(np.multiply, x, axis_of(dim, x.ndim), numpy)


@cumprod.vjp
def _(g, x, dim):
    # gx[k] = before[k] * (g[k] + x[k+1] * (g[k+1] + x[k+2] * ...)): no division, zeros are fine.
    if not x.ndim:
        return g
    xs, gs = unbind(x, dim), unbind(g, dim)
    before, after = [], []
    left = zero(gs[0]) + 1 if gs else None
    right = None
    for part in xs:
        before.append(left)
        left = left * part
    for k in reversed(range(len(xs))):
        right = gs[k] if right is None else gs[k] + xs[k + 1] * right
        after.append(right)
    return stack([a * b for a, b in zip(before, reversed(after), strict=True)], dim) if xs else g


def _summed_type(x: Array) -> Any:
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.int64)


@op(method=True)
def logsumexp(x: Array, *, dim: int | Sequence[int], keepdim: bool = False) -> Array:
    """log(sum(exp(x))) over dim, without overflow; -inf where all are -inf."""
    axes = axes_of(dim, x.ndim)
    x = as_float(x)
    if x.size:
        top = _reduced(np.maximum, x, axes, None, True)
    else:
        top = np.max(x, axes, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, x.dtype.type(0))
    total = _add_up(pointwise(np.exp, pointwise(np.subtract, x, shift)), axes, None, True)
    out = quiet.run(np.log, total) + shift
    return out if keepdim else np.squeeze(out, axes), {"axes": axes}


@logsumexp.vjp
def _(g, x, out, axes):
    share = exp(x - spread(out, x.shape, axes))
    return spread(g, x.shape, axes) * zero_where(isnan(share), share)


# ---------------------------------------------------------------------------------------- extremes


def _extreme(ufunc: Any, x: Array, dim: Dim, keepdim: bool) -> tuple[Array, dict[str, Any]]:
    axes = axes_of(dim, x.ndim)
    if _count(x, axes) == 0 and x.ndim:
        kind = RuntimeError if dim is None else IndexError
        raise kind(f"needs at least one element along dim, got shape {x.shape}")
    return _reduced(ufunc, x, axes, None, keepdim), {"axes": axes}


def _shared_among_ties(g: Any, x: Any, out: Any, axes: tuple[int, ...]) -> Any:
    hit = (x == spread(out, x.shape, axes)) * 1.0
    return spread(g, x.shape, axes) * hit / spread(sum(hit, axes), x.shape, axes)


@op(method=True, grad_name=_name("Max", 1, 0))
def amax(x: Array, *, dim: Dim = None, keepdim: bool = False) -> Array:
    """The largest element over dim; ties share the gradient."""
    return _extreme(np.maximum, x, dim, keepdim)


amax.rules(lambda g, x, out, axes: _shared_among_ties(g, x, out, axes))


@op(method=True, grad_name=_name("Min", 1, 0))
def amin(x: Array, *, dim: Dim = None, keepdim: bool = False) -> Array:
    """The smallest element over dim; ties share the gradient."""
    return _extreme(np.minimum, x, dim, keepdim)


amin.rules(lambda g, x, out, axes: _shared_among_ties(g, x, out, axes))


@op(method=True)
def argmax(x: Array, *, dim: int | None = None, keepdim: bool = False) -> Array:
    """Where the largest element is along an axis, or in x flattened: the first of several."""
    return _arg(np.argmax, x, dim, keepdim)


@op(method=True)
def argmin(x: Array, *, dim: int | None = None, keepdim: bool = False) -> Array:
    """Where the smallest element is along an axis, or in x flattened: the first of several."""
    return _arg(np.argmin, x, dim, keepdim)


def _arg(function: Any, x: Array, dim: int | None, keepdim: bool) -> Array:
    if x.ndim == 0:
        return np.zeros((), np.int64)
    d = None if dim is None else axis_of(dim, x.ndim)
    if (x.size if d is None else x.shape[d]) == 0:
        raise IndexError(f"needs at least one element along dim, got shape {x.shape}")
    if d is not None and x.size > SMALL and d < x.ndim - 1:  # along rows it is much quicker
        places = np.asarray(function(ordered(np.moveaxis(x, d, -1)), -1), np.int64)
        return np.expand_dims(places, d) if keepdim else places
    return np.asarray(function(x, d, keepdims=keepdim), np.int64)


@composed(method=True)
def aminmax(input: Array, *, dim: int | None = None, keepdim: bool = False) -> tuple[Array, Array]:
    """(smallest, largest)"""
    return amin(input, dim, keepdim), amax(input, dim, keepdim)


# ---------------------------------------------------------------------------------- truth and norms


@op(method=True)
def any(x: Array, *, dim: Dim = None, keepdim: bool = False) -> Array:
    """Is any element over dim nonzero?"""
    return np.any(x, axes_of(dim, x.ndim), keepdims=keepdim)


@op(method=True)
def all(x: Array, *, dim: Dim = None, keepdim: bool = False) -> Array:
    """Are all elements over dim nonzero?"""
    return np.all(x, axes_of(dim, x.ndim), keepdims=keepdim)


@op(method=True)
def count_nonzero(x: Array, *, dim: Dim = None) -> Array:
    """How many elements over dim are not zero."""
    axes = axes_of(dim, x.ndim)
    truth = x if x.dtype == np.bool_ else pointwise(np.not_equal, x, x.dtype.type(0))
    return np.asarray(np.count_nonzero(truth, axes if len(axes) < x.ndim else None), np.int64)


@op(grad_name="LinalgVectorNorm")
def _norm(x: Array, *, dim: Dim = None, keepdim: bool = False) -> Array:
    """sqrt(sum(x^2)) over dim, with the gradient 0 at 0."""
    _must_float("norm", x)
    axes = axes_of(dim, x.ndim)
    return np.sqrt(_add_up(pointwise(np.multiply, x, x), axes, None, keepdim)), {"axes": axes}


@_norm.vjp
def _(g, x, out, axes):
    length = spread(out, x.shape, axes)
    return spread(g, x.shape, axes) * zero_where(length == 0, x / length)


@composed(method=True)
def norm(
    input: Array, p: float | str = 2, dim: Dim = None, keepdim: bool = False, dtype: Any = None
) -> Array:
    """(sum |x|^p)^(1/p) over dim; p = inf: the largest |x|, p = 0: how many are not zero."""
    input = input if dtype is None else input.to(dtype)
    if p in (2, "fro"):
        return _norm(input, dim, keepdim)
    if p == float("inf"):
        return amax(abs(input), dim, keepdim)
    if p == -float("inf"):
        return amin(abs(input), dim, keepdim)
    if p == 0:
        return sum((input != 0) * 1.0, dim, keepdim)
    if p == 1:
        return sum(abs(input), dim, keepdim)
    return pow(sum(pow(abs(input), p), dim, keepdim), 1 / float(p))


@composed()
def dist(input: Array, other: Array, p: float = 2) -> Array:
    """The p-norm of input - other."""
    return norm(input - other, p)
