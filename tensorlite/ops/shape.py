"""Views, transposes, joins and splits: the same elements at other places.

Where NumPy gives a view the result shares its memory with x, and the tape knows it.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorlite.autograd import Array, composed, op
from tensorlite.kernels.ordered import SMALL, ordered

Sizes = Sequence[int]


def axis_of(dim: int, ndim: int) -> int:
    """The axis that dim means, counted from 0; a tensor without axes has one for this purpose."""
    n = builtins.max(ndim, 1)
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim % n


def sizes_of(size: Any) -> tuple[int, ...]:
    """(2, 3) of 2 or of (2, 3), whose numbers may be tensors without axes."""
    return tuple(map(int, size)) if isinstance(size, (tuple, list)) else (int(size),)


# ----------------------------------------------------------------------------------- the same order


def reshaped(x: Array, shape: Any) -> Array:
    """x.reshape(shape); where that copies axes that have changed places, by a kernel."""
    if x.size < SMALL or x.flags.c_contiguous:
        return x.reshape(shape)
    try:
        return np.reshape(x, shape, copy=False)
    except ValueError:  # no view has this shape
        return ordered(x).reshape(shape)


@op(method=True, sizes=True, view=True, grad_name="View")
def reshape(x: Array, *, shape: Sizes) -> Array:
    """x in another shape: a view where the layout allows it, else a copy. One size may be -1."""
    return reshaped(x, shape)


reshape.rules(lambda g, x_shape: reshape(g, x_shape))


@op(method=True, sizes=True, view=True)
def view(x: Array, *, size: Sizes) -> Array:
    """x in another shape, never copied: an error where the layout does not allow it."""
    y = x.reshape(size)
    if x.size and not (y.base is x or y.base is x.base):
        raise RuntimeError(
            f"view: size {sizes_of(size)} is not compatible with a tensor of shape {x.shape} and "
            "this layout; use reshape(...) or contiguous() first"
        )
    return y


view.rules(lambda g, x_shape: reshape(g, x_shape))


@composed(method=True)
def view_as(input: Array, other: Array) -> Array:
    """input viewed in the shape of other."""
    return view(input, other.shape)


@composed(method=True)
def reshape_as(input: Array, other: Array) -> Array:
    """input in the shape of other."""
    return reshape(input, other.shape)


@composed(method=True)
def flatten(input: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    """The axes from start_dim to end_dim joined into one."""
    first, last = axis_of(start_dim, input.ndim), axis_of(end_dim, input.ndim)
    if first > last:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    joined = int(np.prod(input.shape[first : last + 1], dtype=np.int64))
    return reshape(input, (*input.shape[:first], joined, *input.shape[last + 1 :]))


@composed(method=True)
def ravel(input: Array) -> Array:
    """All axes joined into one."""
    return reshape(input, (-1,))


@composed(method=True)
def unflatten(input: Array, dim: int, sizes: Sizes) -> Array:
    """One axis split into several."""
    d = axis_of(dim, input.ndim)
    return reshape(input, (*input.shape[:d], *sizes, *input.shape[d + 1 :]))


@op(method=True, view=True)
def squeeze(x: Array, *, dim: int | Sizes | None = None) -> Array:
    """Without the axes of length 1: all of them, or those in dim that have it."""
    dims = range(x.ndim) if dim is None else sizes_of(dim)
    gone = {d for d in (axis_of(d, x.ndim) for d in dims) if x.ndim and x.shape[d] == 1}
    kept = tuple(n for i, n in enumerate(x.shape) if i not in gone)
    return x.reshape(kept)


squeeze.rules(lambda g, x_shape: reshape(g, x_shape))


@op(method=True, view=True)
def unsqueeze(x: Array, *, dim: int) -> Array:
    """With an axis of length 1 at dim."""
    d = axis_of(dim, x.ndim + 1)
    return x.reshape((*x.shape[:d], 1, *x.shape[d:]))


unsqueeze.rules(lambda g, x_shape: reshape(g, x_shape))

# ------------------------------------------------------------------------------------ other orders


@op(method=True, view=True)
def transpose(x: Array, *, dim0: int, dim1: int) -> Array:
    """Two axes exchanged."""
    if x.ndim == 0:
        return x[...]
    return x.swapaxes(dim0, dim1)


transpose.rules(lambda g, dim0, dim1: transpose(g, dim0, dim1))


@composed(method=True)
def swapaxes(input: Array, axis0: int, axis1: int) -> Array:
    """NumPy's name for transpose."""
    return transpose(input, axis0, axis1)


@composed(method=True)
def t(input: Array) -> Array:
    """The transpose of a matrix; a vector stays as it is."""
    if input.ndim > 2:
        raise RuntimeError(f"t: needs at most 2 axes, got {input.ndim}; use transpose or .mT")
    return transpose(input, 0, 1) if input.ndim == 2 else input


@op(method=True, sizes=True, view=True)
def permute(x: Array, *, dims: Sizes) -> Array:
    """The axes in another order: axis i of the result is axis dims[i] of x."""
    order = tuple(axis_of(d, x.ndim) for d in sizes_of(dims))
    return x.transpose(order), {"back": tuple(order.index(i) for i in range(x.ndim))}


permute.rules(lambda g, back: permute(g, back))


@composed(method=True)
def movedim(input: Array, source: int | Sizes, destination: int | Sizes) -> Array:
    """Axes moved to other places, the rest in their order."""
    sources = [axis_of(d, input.ndim) for d in sizes_of(source)]
    targets = [axis_of(d, input.ndim) for d in sizes_of(destination)]
    order = [d for d in range(input.ndim) if d not in sources]
    for target, d in sorted(zip(targets, sources, strict=True)):
        order.insert(target, d)
    return permute(input, order)


@op(method=True, sizes=True)
def flip(x: Array, *, dims: int | Sizes) -> Array:
    """Axes reversed."""
    return np.flip(x, sizes_of(dims)).copy()


flip.rules(lambda g, dims: flip(g, dims))


@op(method=True)
def roll(x: Array, *, shifts: int | Sizes, dims: int | Sizes | None = None) -> Array:
    """Elements shifted along axes; what leaves at the end comes in at the start."""
    return np.roll(x, shifts, dims if dims is None or isinstance(dims, int) else tuple(dims))


@roll.vjp
def _(g, shifts, dims):
    back = -shifts if isinstance(shifts, int) else [-s for s in shifts]
    return roll(g, back, dims)


# --------------------------------------------------------------------------------------- repetition


@op(method=True, sizes=True, view=True)
def expand(x: Array, *, size: Sizes) -> Array:
    """x stretched over axes of length 1 and new ones in front, without a copy; -1 keeps an axis."""
    wanted = sizes_of(size)
    new = len(wanted) - x.ndim
    if new < 0:
        raise RuntimeError(f"expand: needs at least the {x.ndim} axes of {x.shape}, got {wanted}")
    kept = (
        *wanted[:new],
        *(m if n == -1 else n for n, m in zip(wanted[new:], x.shape, strict=True)),
    )
    return stretched(x, kept)


expand.rules(lambda g: g)  # the tape sums over the stretched axes


def stretched(x: Array, shape: tuple[int, ...]) -> Array:
    """np.broadcast_to(x, shape), eight times as fast for a single element."""
    if x.size == 1 and type(x) is np.ndarray:
        y: Array = np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
        y.flags.writeable = False
        return y
    return np.broadcast_to(x, shape)


@composed(method=True)
def expand_as(input: Array, other: Array) -> Array:
    """input stretched to the shape of other."""
    return expand(input, other.shape)


@composed(method=True)
def broadcast_to(input: Array, size: Sizes) -> Array:
    """input stretched to a shape."""
    return expand(input, size)


@op(method=True, sizes=True)
def repeat(x: Array, *, repeats: Sizes) -> Array:
    """x tiled: repeats[i] copies along axis i, new axes in front."""
    times = sizes_of(repeats)
    if len(times) < x.ndim:
        raise RuntimeError(f"repeat: needs a number for each of {x.ndim} axes, got {times}")
    return np.tile(x, times)


@repeat.vjp
def _(g, repeats, x_shape):
    times = sizes_of(repeats)
    new = len(times) - len(x_shape)
    apart = [n for i, k in enumerate(times) for n in (k, 1 if i < new else x_shape[i - new])]
    copies = (*range(0, 2 * len(times), 2), *range(1, 2 * new, 2))
    return reshape(g, apart).sum(tuple(copies)) if copies else g


@composed(method=True)
def tile(input: Array, *dims: Any) -> Array:
    """NumPy's tile: as repeat, but dims may be fewer than the axes."""
    times = sizes_of(dims[0] if len(dims) == 1 else dims)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)
