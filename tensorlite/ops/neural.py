"""Softmax, norms, dropout, embedding: each a kernel forward and a kernel backward.

A vjp that runs on tensors (create_graph) is composed of ops instead of its kernel, so that it can
be differentiated again; `on_tape` tells the two apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlite.autograd import Addend, Array, OpError, Variable, op, unwrap
from tensorlite.dtypes import to_numpy
from tensorlite.kernels import activation, norm, softmax as kernels
from tensorlite.kernels.ordered import ordered
from tensorlite.kernels.rows import embedding_backward_
from tensorlite.ops.elementwise import exp, minus, mul, plus, rsqrt, square
from tensorlite.ops.index import index_add
from tensorlite.ops.linalg import rows_of
from tensorlite.ops.reduce import mean, sum
from tensorlite.ops.shape import axis_of


def on_tape(*values: Any) -> bool:
    """Is a vjp given tensors, to be differentiated once more?"""
    return any(isinstance(value, Variable) for value in values)


# ---------------------------------------------------------------------------------------- softmax


def _over_rows(kernel: Any, dim: int, *arrays: Array) -> Array:
    """Run a kernel of rows over one axis of arrays of one shape."""
    shape = arrays[0].shape
    if not shape:
        return _over_rows(kernel, -1, *(x.reshape(1) for x in arrays)).reshape(())
    axis = axis_of(dim, len(shape))
    if axis == len(shape) - 1:
        return np.asarray(kernel(*map(rows_of, arrays)).reshape(shape))
    moved = [ordered(np.moveaxis(x, axis, -1)) for x in arrays]
    y = kernel(*map(rows_of, moved)).reshape(moved[0].shape)
    return ordered(np.moveaxis(y, -1, axis))


def floating(name: str, *arrays: Array | None) -> np.dtype[Any]:
    """The one floating-point type of all arrays, None aside."""
    kind = arrays[0].dtype  # type: ignore[union-attr]
    for x in arrays:
        if x is not None and x.dtype is not kind:
            break
    else:
        if kind.kind == "f":
            return kind
    kinds = {x.dtype for x in arrays if x is not None}
    kind = kinds.pop()
    if kinds or kind.kind != "f":
        got = ", ".join(sorted(map(str, (kind, *kinds))))
        raise OpError(f"{name}: needs tensors of one floating-point dtype, got {got}; use .float()")
    return kind


def _cast(name: str, x: Array, dtype: Any) -> Array:
    x = x if dtype is None else x.astype(to_numpy(dtype), copy=False)
    floating(name, x)
    return x


@op(method=True, functional=True)
def softmax(x: Array, *, dim: int, dtype: Any = None) -> Array:
    """exp(x) / sum(exp(x)) over dim. A row of -inf only gives NaN."""
    return _over_rows(kernels.softmax, dim, _cast("softmax", x, dtype))


@softmax.vjp
def _(g: Any, out: Any, dim: int) -> Any:
    """gx = y (g - sum(g y))"""
    if on_tape(g):
        return mul(out, minus(g, sum(mul(g, out), dim, True)))
    return _over_rows(kernels.softmax_backward, dim, g, out)


@op(method=True, functional=True)
def log_softmax(x: Array, *, dim: int, dtype: Any = None) -> Array:
    """x - log(sum(exp(x))) over dim, without overflow."""
    return _over_rows(kernels.log_softmax, dim, _cast("log_softmax", x, dtype))


@log_softmax.vjp
def _(g: Any, out: Any, dim: int) -> Any:
    """gx = g - exp(y) sum(g)"""
    if on_tape(g):
        return minus(g, mul(exp(out), sum(g, dim, True)))
    return _over_rows(kernels.log_softmax_backward, dim, g, out)


# ------------------------------------------------------------------------------------------ norms


@op
def layer_norm(x: Array, weight: Array | None, bias: Array | None, *, eps: float = 1e-5) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis. Ba et al. 2016."""
    floating("layer_norm", x, weight, bias)
    y, center, rstd = norm.layer_norm(rows_of(x), weight, bias, eps)
    return y.reshape(x.shape), {"center": center, "rstd": rstd}


@layer_norm.by_kernels
def _(*arrays: Any, **options: Any) -> Any:
    return layer_norm.op.function(*arrays, **options) if _in_rows(*arrays) else None


def _in_rows(*arrays: Array | None) -> bool:
    """Does the kernel take these as they are, without a copy?"""
    return all(x is None or x.flags.c_contiguous for x in arrays)


@layer_norm.vjp
def _(
    g: Any, x: Any, weight: Any, center: Array, rstd: Array, eps: float, needs: tuple[bool, ...]
) -> Any:
    if on_tape(g):
        d = minus(x, mean(x, -1, True))
        return _norm_gradients(g, d, weight, eps, True)
    gx, gw, gb = norm.layer_norm_backward(rows_of(g), rows_of(x), weight, center, rstd, needs[2])
    return gx.reshape(x.shape), gw, gb


@op
def rms_norm(x: Array, weight: Array | None, *, eps: float | None = None) -> Any:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis. Zhang and Sennrich 2019.

    eps defaults to the spacing of numbers at 1 in x's dtype.
    """
    kind = floating("rms_norm", x, weight)
    added = float(np.finfo(kind).eps) if eps is None else eps
    y, rstd = norm.rms_norm(rows_of(x), weight, added)
    return y.reshape(x.shape), {"rstd": rstd, "added": added}


@rms_norm.by_kernels
def _(*arrays: Any, **options: Any) -> Any:
    return rms_norm.op.function(*arrays, **options) if _in_rows(*arrays) else None


@rms_norm.vjp
def _(g: Any, x: Any, weight: Any, rstd: Array, added: float) -> Any:
    if on_tape(g):
        return _norm_gradients(g, x, weight, added, False)[:2]
    gx, gw = norm.rms_norm_backward(rows_of(g), rows_of(x), weight, rstd)
    return gx.reshape(x.shape), gw


def _norm_gradients(g: Any, d: Any, weight: Any, eps: float, centered: bool) -> tuple[Any, ...]:
    """The gradients by ops, of x, weight and bias; d is x, or x - mean."""
    rstd = rsqrt(plus(mean(square(d), -1, True), eps))
    n = mul(d, rstd)
    h = g if weight is None else mul(g, weight)
    inner = minus(h, mul(n, mean(mul(h, n), -1, True)))
    if centered:
        inner = minus(inner, mean(h, -1, True))
    gw = None if weight is None else sum(rows_of(mul(g, n)), 0)
    return mul(inner, rstd), gw, sum(rows_of(g), 0)


# ---------------------------------------------------------------------------- dropout, embedding


@op
def dropout(x: Array, *, kept: Array, p: float) -> Array:
    """x / (1 - p) where kept, else 0. Srivastava et al. 2014."""
    floating("dropout", x)
    if p == 1:
        return np.zeros_like(x)
    return activation.masked(x, kept, x.dtype.type(1) / x.dtype.type(1 - p))


dropout.rules(lambda g, kept, p: dropout(g, kept=kept, p=p))


@op
def embedding(weight: Array, *, ids: Array, padding_idx: int | None = None) -> Any:
    """weight[ids]: weight (V, C), ids (...) -> (..., C)."""
    if weight.ndim != 2:
        raise OpError(f"embedding: the weight must be a matrix, got shape {weight.shape}")
    check_ids("embedding", ids, len(weight))
    # take is the faster one, but copies all of a weight that is not in order.
    rows = weight.take(ids, 0) if weight.flags.c_contiguous else weight[ids]
    return rows, {"num_rows": len(weight)}


def check_ids(name: str, ids: Array, n: int) -> None:
    """Raise unless ids are integers of [0, n)."""
    if ids.dtype.kind not in "iu":
        raise OpError(f"{name}: ids must be integers, got {ids.dtype}; use .long()")
    if not _within(ids, n):
        place = tuple(int(i) for i in np.argwhere((ids < 0) | (ids >= n))[0])
        raise IndexError(f"{name}: ids must lie in [0, {n}), got {ids[place]} at {place}")


def _within(ids: Array, n: int) -> bool:
    """Do all ids lie in [0, n)? For a single token NumPy's two passes take 20 us of a step."""
    if ids.size == 1:
        return 0 <= ids.item() < n
    return not ids.size or bool(ids.min() >= 0 and ids.max() < n)


@embedding.vjp
def _(g: Any, ids: Any, padding_idx: int | None, num_rows: int) -> Any:
    flat = np.ascontiguousarray(unwrap(ids), np.int64).reshape(-1)
    rows_of_g = rows_of(g)
    if padding_idx is not None:
        rows_of_g = mul(rows_of_g, (flat != padding_idx)[:, None].astype(unwrap(g).dtype))
    if on_tape(g):
        nothing = np.zeros((num_rows, g.shape[-1]), unwrap(g).dtype)
        return index_add(nothing, 0, flat, rows_of_g)
    shape = (num_rows, rows_of_g.shape[1])
    return Addend(shape, g.dtype, lambda gw: embedding_backward_(gw, rows_of_g, flat))
