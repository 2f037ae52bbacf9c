"""An index for each element along an axis: gather, scatter, scatter_add."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlite.autograd import Array, composed, op
from tensorlite.kernels import along
from tensorlite.ops.index import slice_at
from tensorlite.ops.quiet import quiet
from tensorlite.ops.shape import Sizes, axis_of, expand, reshape


def _checked_axis(x: Array, dim: int, index: Array) -> int:
    """The axis that dim means, for an index that fits x."""
    d = axis_of(dim, x.ndim)
    if x.ndim and index.dtype.kind not in "iu":
        raise RuntimeError(f"index must hold integers, got {index.dtype}")
    if x.ndim and (
        index.ndim != x.ndim
        or any(n > x.shape[i] for i, n in enumerate(index.shape) if i != d)
    ):  # fmt: skip
        raise RuntimeError(
            f"index must have as many axes as x and, but for axis {d}, be no longer: "
            f"x {x.shape}, index {index.shape}"
        )
    return d


def _mesh(x: Array, d: int, index: Array) -> tuple[Array, ...]:
    """The positions in x that index means: its own, but for axis d, where its values are."""
    if x.ndim == 0:
        return ()
    if index.size and not (index.min() >= 0 and index.max() < x.shape[d]):
        raise IndexError(f"index must lie in [0, {x.shape[d]}), got {index.min()} to {index.max()}")
    mesh = np.ogrid[tuple(slice(n) for n in index.shape)]
    return (*mesh[:d], index, *mesh[d + 1 :])


def read_along(x: Array, dim: int, index: Array) -> Array:
    """gather, of arrays."""
    d = _checked_axis(x, dim, index)
    if along.fits(x, d, index):
        y = np.empty(index.shape, x.dtype)
        if along.gather(x, d, index, y):
            return y
    picked: Array = x[_mesh(x, d, index)]
    return picked


def _write_along(y: Array, dim: int, index: Array, source: Any, add: bool) -> None:
    """scatter or scatter_add into y."""
    d = _checked_axis(y, dim, index)
    if isinstance(source, (int, float)):
        source = _element(source, y.dtype)
    if (not add or source.dtype == y.dtype) and along.fits(y, d, index):
        whole = np.broadcast_to(quiet.run(np.asarray, source, y.dtype), index.shape)
        if along.scatter(y, d, index, whole, add):
            return
    mesh = _mesh(y, d, index)
    if add:
        quiet.run(np.add.at, y, mesh, source)
    else:
        quiet.run(y.__setitem__, mesh, source)


def _element(number: float, kind: np.dtype[Any]) -> Array:
    """A Python number in a tensor's type; a fraction is cut off, as PyTorch does."""
    if kind.kind in "iu":
        most = np.iinfo(kind).max
        if not -most - 1 <= number <= most:  # nan is not either
            raise RuntimeError(f"scatter: the value must fit into {kind}, got {number}")
        return np.asarray(int(number)).astype(kind)
    return np.asarray(quiet.run(np.asarray, number, kind))


@op(method=True)
def gather(x: Array, *, dim: int, index: Array) -> Array:
    """y[i, j, k] = x[index[i, j, k], j, k] for dim 0; the index at axis dim for others."""
    return read_along(x, dim, index)


@op
def added_along(x: Array, *, shape: Sizes, dim: int, index: Array) -> Array:
    """Zeros of a shape, with x added where index says along an axis: the reverse of gather."""
    y = np.zeros(shape, x.dtype)
    _write_along(y, dim, index, x, True)
    return y


gather.rules(lambda g, x_shape, dim, index: added_along(g, x_shape, dim, index))
added_along.rules(lambda g, dim, index: gather(g, dim, index))


@composed(method=True)
def take_along_dim(input: Array, indices: Array, dim: int | None = None) -> Array:
    """gather, with input and indices broadcast against each other; dim None: input flattened."""
    if dim is None:
        return gather(reshape(input, (-1,)), 0, reshape(indices, (-1,)))
    d = axis_of(dim, input.ndim)
    first, last = (
        np.broadcast_shapes(input.shape[part], indices.shape[part])
        for part in (slice(d), slice(d + 1, None))
    )
    input, indices = (expand(t, (*first, t.shape[d], *last)) for t in (input, indices))
    return gather(input, d, indices)


@op(grad_name="Scatter")
def scatter_at(x: Array, src: Array, *, dim: int, index: Array) -> Array:
    """x, with src where index says; the last of several wins."""
    y = np.array(x)
    _write_along(y, dim, index, src, False)
    return y


scatter_at.rules(
    lambda g, dim, index: scatter_at(g, 0.0, dim, index),
    lambda g, dim, index: gather(g, dim, index),
)


@op(grad_name="ScatterAdd")
def scatter_add_at(x: Array, src: Array, *, dim: int, index: Array) -> Array:
    """x, with src added where index says, in ascending order of position."""
    y = np.array(x)
    _write_along(y, dim, index, src, True)
    return y


scatter_add_at.rules(lambda g: g, lambda g, dim, index: gather(g, dim, index))


@composed(method=True, inplace=True)
def scatter(
    input: Array,
    dim: int,
    index: Array,
    src: Array | None = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Any:
    """input, with y[index[i, j, k], j, k] = src[i, j, k] for dim 0; src may be a number."""
    if reduce not in (None, "add"):
        raise ValueError(f"scatter: reduce must be None or 'add', got {reduce!r}")
    apply = scatter_at if reduce is None else scatter_add_at
    return apply(input, _part_for(index, value if src is None else src), dim, index)


@composed(method=True, inplace=True)
def scatter_add(input: Array, dim: int, index: Array, src: Array) -> Array:
    """input, with y[index[i, j, k], j, k] += src[i, j, k] for dim 0, in ascending order."""
    return scatter_add_at(input, _part_for(index, src), dim, index)


def _part_for(index: Any, src: Any) -> Any:
    """The part of src that an index, which may be smaller, speaks of."""
    if isinstance(src, (int, float)) or src.ndim == 0 or src.shape == index.shape:
        return src
    if src.ndim != index.ndim or any(n > m for n, m in zip(index.shape, src.shape, strict=True)):
        raise RuntimeError(
            f"scatter: index must not be larger than src: {index.shape}, src {src.shape}"
        )
    return slice_at(src, (*(slice(n) for n in index.shape), ...))
