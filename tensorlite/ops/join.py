"""Joining tensors, and cutting them into pieces, borders and triangles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from tensorlite.autograd import Array, composed, op
from tensorlite.dtypes import result_type
from tensorlite.kernels.choose import choose
from tensorlite.ops.index import elsewhere_zero, index_select
from tensorlite.ops.shape import Sizes, axis_of, reshape, sizes_of

# --------------------------------------------------------------------------------------------- join


@op
def cat(*tensors: Array, dim: int = 0) -> Array:
    """Tensors one after the other along an axis; the other axes must agree."""
    if not tensors:
        raise ValueError("cat: needs at least one tensor")
    # An empty vector joins anything: a habit of PyTorch's that old code relies on.
    parts = [x for x in tensors if x.shape != (0,)] or list(tensors)
    d = axis_of(dim, parts[0].ndim)
    if parts[0].ndim == 0:
        raise RuntimeError("cat: tensors without axes cannot be joined; use stack")
    common = result_type(*tensors)
    y = np.concatenate([x.astype(common, copy=False) for x in parts], axis=d)
    return y, {"d": d, "lengths": [None if x.shape == (0,) else x.shape[d] for x in tensors]}


@cat.vjp
def _(g, d, lengths):
    pieces: list[Any] = []
    start = 0
    for length in lengths:
        if length is None and g.ndim > 1:
            pieces.append(None)
        else:
            pieces.append(narrow(g, d, start, length or 0))
            start += length or 0
    return tuple(pieces)


@op
def stack(*tensors: Array, dim: int = 0) -> Array:
    """Tensors of one shape side by side along a new axis."""
    if not tensors:
        raise ValueError("stack: needs at least one tensor")
    common = result_type(*tensors)
    return np.stack(
        [x.astype(common, copy=False) for x in tensors], axis_of(dim, tensors[0].ndim + 1)
    )


@stack.vjp
def _(g, dim):
    return unbind(g, dim)


@composed()
def hstack(tensors: Sequence[Array]) -> Array:
    """Joined along the second axis; vectors along their only one."""
    tensors = [x if x.ndim else reshape(x, (1,)) for x in tensors]
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1)


@composed()
def vstack(tensors: Sequence[Array]) -> Array:
    """Joined along the first axis; vectors are rows."""
    return cat([x if x.ndim > 1 else reshape(x, (1, -1)) for x in tensors], 0)


# ---------------------------------------------------------------------------------------------- cut


@op(method=True, view=True, grad_name="Slice")
def narrow(x: Array, *, dim: int, start: int, length: int) -> Array:
    """x[start : start + length] along an axis."""
    d = axis_of(dim, x.ndim)
    start, length = int(start), int(length)
    if start < 0:
        start += x.shape[d]
    if not (0 <= start <= x.shape[d] and 0 <= length <= x.shape[d] - start):
        raise RuntimeError(
            f"narrow: start ({start}) + length ({length}) exceeds dimension size ({x.shape[d]})"
        )
    return x[(slice(None),) * d + (slice(start, start + length),)]


@narrow.vjp
def _(g, dim, start, length, x_shape):
    d = axis_of(dim, len(x_shape))
    start = int(start) + (x_shape[d] if start < 0 else 0)
    index = (slice(None),) * d + (slice(start, start + int(length)),)
    return elsewhere_zero(g, x_shape, index)


@op(method=True, view=True)
def split(x: Array, *, split_size_or_sections: int | Sizes, dim: int = 0) -> tuple[Array, ...]:
    """x cut along an axis into pieces of a size (the last may be smaller), or of given sizes."""
    d = axis_of(dim, x.ndim)
    length = x.shape[d]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = list(map(int, split_size_or_sections))
        if sum(sizes) != length:
            raise RuntimeError(f"split: sizes must sum to {length}, got {sizes}")
    else:
        size = int(split_size_or_sections)  # type: ignore[arg-type]
        if size <= 0 and length:
            raise RuntimeError(f"split: the size of a piece must be positive, got {size}")
        sizes = [min(size, length - start) for start in range(0, length, size)] if length else [0]
    ends = [0, *accumulate(sizes)]
    before = (slice(None),) * d
    return tuple([x[(*before, slice(a, b))] for a, b in pairwise(ends)])


@split.vjp
def _(g, dim):
    return rejoined(g, dim)


def rejoined(pieces: Sequence[Any], dim: int) -> Any:
    """Consecutive pieces as one again, without a copy where they still lie in one array."""
    whole = _uncut(pieces, dim)
    return cat(pieces, dim) if whole is None else whole


def _uncut(pieces: Sequence[Any], dim: int) -> Any:
    """The array whose consecutive pieces these are already, as attention makes its gradients; else
    None."""
    first = pieces[0]
    base = first.base if type(first) is np.ndarray else None
    if type(base) is not np.ndarray or not base.flags.forc:
        return None
    d = axis_of(dim, first.ndim)
    strides, address, length = first.strides, _address(first), 0
    for x in pieces:
        if x.base is not base or x.strides != strides or x.dtype != first.dtype:
            return None
        if _address(x) != address + length * strides[d]:
            return None
        length += x.shape[d]
    shape = (*first.shape[:d], length, *first.shape[d + 1 :])
    whole: Array = np.ndarray(shape, first.dtype, base, address - _address(base), strides)
    return whole


def _address(x: Array) -> int:
    address: int = x.__array_interface__["data"][0]
    return address


@composed(method=True)
def chunk(input: Array, chunks: int, dim: int = 0) -> tuple[Array, ...]:
    """input cut along an axis into so many pieces, as equal as ceil allows."""
    if chunks <= 0:
        raise RuntimeError(f"chunk: needs a positive number of pieces, got {chunks}")
    length = input.shape[axis_of(dim, input.ndim)]
    return split(input, max(1, -(-length // chunks)), dim)


@composed(method=True)
def tensor_split(input: Array, indices_or_sections: int | Sizes, dim: int = 0) -> tuple[Array, ...]:
    """input cut along an axis before given positions, or into so many nearly equal pieces."""
    length = input.shape[axis_of(dim, input.ndim)]
    if isinstance(indices_or_sections, int):
        small, larger = divmod(length, indices_or_sections)
        sizes = [small + 1] * larger + [small] * (indices_or_sections - larger)
    else:
        edges = [0, *(min(max(i, 0), length) for i in indices_or_sections), length]
        sizes = [b - a for a, b in pairwise(edges)]
    return split(input, sizes, dim)


@op(method=True, view=True)
def unbind(x: Array, *, dim: int = 0) -> tuple[Array, ...]:
    """The slices of x along an axis, without it."""
    if x.ndim == 0:
        raise RuntimeError("unbind: a tensor without axes cannot be cut")
    d = axis_of(dim, x.ndim)
    before = (slice(None),) * d
    return tuple(x[(*before, i, ...)] for i in range(x.shape[d]))


@unbind.vjp
def _(g, dim):
    return stack(g, dim)


# ---------------------------------------------------------------------------- borders and triangles


@op
def _pad(x: Array, *, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    """x with a border of a value, so wide before and after each axis; negative widths cut."""
    shape = [n + before + after for n, (before, after) in zip(x.shape, widths, strict=True)]
    if min(shape, default=0) < 0:
        raise RuntimeError(f"pad: widths {widths} are too negative for shape {x.shape}")
    y = np.full(shape, value, x.dtype)
    inner = tuple(slice(max(b, 0), n - max(a, 0)) for n, (b, a) in zip(shape, widths, strict=True))
    outer = tuple(
        slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, widths, strict=True)
    )
    y[inner] = x[outer]
    return y


_pad.rules(lambda g, widths: _pad(g, [(-before, -after) for before, after in widths]))
_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@composed(functional=True)
def pad(input: Array, pad: Sizes, mode: str = "constant", value: float | None = None) -> Array:
    """input with a border. pad = (before, after) of the last axis, then of the one before it, ...

    mode: "constant" (value, 0 by default), "reflect", "replicate" or "circular"
    """
    given = sizes_of(pad)
    if len(given) % 2 or len(given) > 2 * input.ndim:
        raise RuntimeError(
            f"pad: needs 2 numbers for each of at most {input.ndim} axes, got {given}"
        )
    pairs = list(zip(given[::2], given[1::2], strict=True))
    widths = [(0, 0)] * (input.ndim - len(pairs)) + pairs[::-1]
    if mode == "constant":
        return _pad(input, widths, 0.0 if value is None else value)
    if mode not in _MODES:
        raise ValueError(f"pad: mode must be constant, {', '.join(_MODES)}, got {mode!r}")
    for d, width in enumerate(widths):
        if width != (0, 0):
            positions = np.pad(np.arange(input.shape[d]), width, mode=_MODES[mode])  # type: ignore[call-overload]
            input = index_select(input, d, positions)
    return input


def _below(x: Array, diagonal: int) -> Array:
    """Where the last two axes of x are on a diagonal or below it."""
    n, m = x.shape[-2:]
    return np.tri(n, m, diagonal, np.bool_)


@op(method=True, inplace=True)
def tril(x: Array, *, diagonal: int = 0) -> Array:
    """The lower triangle of the last two axes, zeros elsewhere."""
    _check_matrix(x)
    return choose(_below(x, diagonal), x, x.dtype.type(0))


tril.rules(lambda g, diagonal: tril(g, diagonal))


@op(method=True, inplace=True)
def triu(x: Array, *, diagonal: int = 0) -> Array:
    """The upper triangle of the last two axes, zeros elsewhere."""
    _check_matrix(x)
    return choose(_below(x, diagonal - 1), x.dtype.type(0), x)


triu.rules(lambda g, diagonal: triu(g, diagonal))


def _check_matrix(x: Array) -> None:
    if x.ndim < 2:
        raise RuntimeError(f"needs a tensor of at least 2 axes, got shape {x.shape}")


@op(method=True, view=True)
def diagonal(x: Array, *, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """The diagonal of the plane of two axes, as the last axis."""
    return _diagonal(x, offset, dim1, dim2)


@op
def on_diagonal(x: Array, *, shape: Sizes, offset: int, dim1: int, dim2: int) -> Array:
    """Zeros of a shape, with x on the diagonal: the reverse of diagonal."""
    y = np.zeros(shape, x.dtype)
    _diagonal(y, offset, dim1, dim2)[...] = x
    return y


diagonal.rules(
    lambda g, x_shape, offset, dim1, dim2: on_diagonal(g, x_shape, offset, dim1, dim2),
)
on_diagonal.rules(lambda g, offset, dim1, dim2: diagonal(g, offset, dim1, dim2))


def _diagonal(x: Array, offset: int, dim1: int, dim2: int) -> Array:
    y = x.diagonal(offset, axis_of(dim1, x.ndim), axis_of(dim2, x.ndim))
    y.flags.writeable = x.flags.writeable  # NumPy returns it read-only
    return y


@composed(method=True)
def diag(input: Array, diagonal: int = 0) -> Array:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal."""
    if input.ndim == 2:
        return _diagonal_op(input, diagonal)
    n = input.shape[0] + abs(diagonal)
    return on_diagonal(input, (n, n), diagonal, 0, 1)


_diagonal_op = diagonal
