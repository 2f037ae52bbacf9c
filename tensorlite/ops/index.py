"""Reading and writing at chosen places: x[index], index_select, masked_select.

An index is worked through in two steps, as in PyTorch: first its ints, slices, None and Ellipsis,
which give a view, then its integer and boolean tensors, which give a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlite.autograd import Addend, Array, Variable, composed, op, unwrap, watch, wrap
from tensorlite.kernels.rows import add_rows, put_rows
from tensorlite.ops.compare import choose
from tensorlite.ops.quiet import quiet
from tensorlite.ops.shape import Sizes, axis_of, expand, reshape

Index = tuple[Any, ...]

# ---------------------------------------------------------------------------------------- x[index]


def getitem(x: Any, index: Any) -> Any:
    """x[index]"""
    basic, advanced = parse(index, x.ndim)
    if basic:
        x = select(x, basic) if int in map(type, basic) else slice_at(x, basic)
    return take_at(x, advanced) if advanced else x


def parse(index: Any, ndim: int) -> tuple[Index, Index]:
    """The part of an index that gives a view, and what then selects from that view."""
    parts = index if type(index) is tuple else (index,)
    ellipsis = False
    for part in parts:
        kind = type(part)
        if kind is slice:
            if part.step is not None and part.step <= 0:
                raise ValueError("step must be greater than zero; flip() gives the reverse order")
        elif part is Ellipsis:
            ellipsis = True
        elif kind is not int and part is not None:
            return _parse_arrays(parts, ndim)
    # With an Ellipsis NumPy gives a view even where only one element is left.
    return parts if ellipsis else (*parts, ...), ()


def _parse_arrays(parts: Index, ndim: int) -> tuple[Index, Index]:
    parts = tuple(map(_part_of, parts))
    used = sum(_axes_used(part) for part in parts)
    if used > ndim:
        raise IndexError(f"too many indices for tensor of dimension {ndim}: got {used}")
    whole = [slice(None)] * (ndim - used)
    basic: list[Any] = []
    advanced: list[Any] = []
    for part in parts:
        if part is Ellipsis:
            basic += whole
            advanced += whole
        elif type(part) is int:
            basic.append(part)
        elif type(part) is slice or part is None:
            basic.append(part)
            advanced.append(slice(None))
        else:
            basic += [slice(None)] * _axes_used(part)
            advanced.append(part)
    if all(type(part) is slice for part in advanced):
        advanced = []
    view = any(part != slice(None) for part in basic)
    return (*basic, ...) if view else (), tuple(advanced)


def _part_of(part: Any) -> Any:
    """A part of an index in NumPy's terms: an int, a slice, None, Ellipsis or an array."""
    variable, part = isinstance(part, Variable), unwrap(part)
    if part is None or part is Ellipsis or type(part) is int:
        return part
    if type(part) is slice:
        ends = (part.start, part.stop, part.step)
        return slice(*(None if end is None else int(end) for end in ends))
    if isinstance(part, (list, tuple, range)):
        array = np.array([_part_of(p) for p in part])
        array = array if array.size else array.astype(np.int64)
    else:
        array = np.asarray(part)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"an index must hold integers or booleans, got {type(part).__name__}")
    if variable and (array.ndim == 0 or array.dtype == np.uint8):
        watch.constant("index")
    if array.dtype == np.uint8 and array.ndim:
        array = array.astype(np.bool_)  # the masks of old PyTorch
    if array.dtype.kind not in "iub":
        raise IndexError(f"an index must hold integers or booleans, got {array.dtype}")
    return array if array.ndim or array.dtype.kind == "b" else int(array)


def _axes_used(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype.kind == "b" else 1


@op(view=True)
def select(x: Array, *, index: Index) -> Array:
    """x[index], where some of the index are ints."""
    return x[index]


@op(view=True, grad_name="Slice")
def slice_at(x: Array, *, index: Index) -> Array:
    """x[index] of slices and None."""
    return x[index]


@op
def placed(x: Array, *, shape: Sizes, index: Index) -> Array:
    """Zeros of a shape, with x at an index of ints and slices: the reverse of reading there."""
    y = np.zeros(shape, x.dtype)
    y[index] = x
    return y


def elsewhere_zero(g: Any, shape: tuple[int, ...], index: Index) -> Any:
    """The gradient of x[index]. What is read in parts, as q, k and v often are, has it added up in
    one array (of 3 x 8 MB: 14 -> 6 ms)."""
    if isinstance(g, Variable):
        return placed(g, shape, index)

    def add_to(total: Array) -> None:
        total[index] += g

    return Addend(shape, g.dtype, add_to)


select.rules(lambda g, index, x_shape: elsewhere_zero(g, x_shape, index))
slice_at.rules(lambda g, index, x_shape: elsewhere_zero(g, x_shape, index))
placed.rules(lambda g, index: slice_at(g, index))


@op(grad_name="Index")
def take_at(x: Array, *, index: Index) -> Array:
    """x[index], where some of the index are integer or boolean arrays."""
    return x[index]


def _add_at(y: Array, index: Index, x: Array) -> None:
    """y[index] += x, where several elements may go to one place."""
    if len(index) > 1 or not add_rows(y, index[0], x):
        np.add.at(y, index, x)


@op
def added_at(x: Array, *, shape: Sizes, index: Index) -> Array:
    """Zeros of a shape, with x added at an index of arrays: the reverse of reading there."""
    y = np.zeros(shape, x.dtype)
    _add_at(y, index, x)
    return y


take_at.rules(lambda g, index, x_shape: added_at(g, x_shape, index))
added_at.rules(lambda g, index: take_at(g, index))


@op(grad_name="IndexPut")
def written(x: Array, value: Array, *, index: tuple[Index, Index]) -> Array:
    """x, with value at an index: what x[index] = value makes of x."""
    y = x.copy()
    write(y, index, value)
    return y, {"value_ndim": np.ndim(value)}


written.rules(
    lambda g, index: written(g, 0.0, index),
    lambda g, index, value_ndim: _read_parsed(g, index, value_ndim),
)


def write(x: Array, index: tuple[Index, Index], value: Any) -> None:
    """x[index] = value, on arrays, for a parsed index."""
    basic, advanced = index
    target = x[basic] if basic else x
    quiet.run(target.__setitem__, advanced or ..., value)


def _read_parsed(x: Any, index: tuple[Index, Index], ndim: int) -> Any:
    """What `written` wrote, with ones in front for a value that had more axes than its place."""
    basic, advanced = index
    x = slice_at(x, basic) if basic else x
    x = take_at(x, advanced) if advanced else x
    return reshape(x, (1,) * (ndim - x.ndim) + x.shape) if ndim > x.ndim else x


@composed(method=True)
def masked_select(input: Array, mask: Array) -> Array:
    """The elements of input where mask holds, in one row."""
    shape = np.broadcast_shapes(input.shape, mask.shape)
    return take_at(expand(input, shape), (np.broadcast_to(unwrap(mask), shape),))


# ------------------------------------------------------------------- one index for a whole slice


def _flat_index(index: Array, length: int) -> Array:
    if index.ndim > 1 or index.dtype.kind not in "iu":
        raise IndexError(
            f"index must be a vector of integers, got shape {index.shape}, {index.dtype}"
        )
    if index.size and not (index.min() >= 0 and index.max() < length):
        raise IndexError(f"index must lie in [0, {length}), got {index.min()} to {index.max()}")
    return index.reshape(-1)


def _along(index: Any, dim: int) -> Index:
    return (slice(None),) * dim + (index,)


@op(method=True)
def index_select(x: Array, *, dim: int, index: Array) -> Array:
    """The slices of x along an axis that index names."""
    d = axis_of(dim, x.ndim)
    places = _flat_index(index, x.shape[d] if x.ndim else 1)
    if not x.ndim:
        return x[()], {"at": ()}
    return np.take(x, places, d), {"at": _along(places, d)}


index_select.rules(lambda g, x_shape, at: added_at(g, x_shape, at))


@composed(method=True)
def repeat_interleave(input: Array, repeats: Array | int, dim: int | None = None) -> Array:
    """Each slice along an axis several times in a row; without dim each element."""
    if dim is None:
        input, dim = reshape(input, (-1,)), 0
    if isinstance(repeats, Variable):
        watch.constant("repeat_interleave")
    times = unwrap(repeats)
    return index_select(input, dim, np.repeat(np.arange(input.shape[dim]), times))


@op(method=True, inplace=True)
def index_add(x: Array, dim: int, index: Array, source: Array, *, alpha: float = 1) -> Array:
    """x, with alpha * source[i] added to its slice index[i] along an axis; in order of i."""
    y = x.copy()
    _add_slices(y, dim, index, source, alpha=alpha)
    return y


@index_add.directly
def _add_slices(x: Array, dim: int, index: Array, source: Array, *, alpha: float = 1) -> None:
    d = axis_of(dim, x.ndim)
    if alpha != 1:
        source = source * x.dtype.type(alpha)
    _add_at(x, _along(_flat_index(index, x.shape[d]), d), source)


index_add.rules(
    lambda g: g,
    None,
    None,
    lambda g, dim, index, alpha: index_select(g, dim, index) * alpha,
)


@op(method=True, inplace=True)
def index_fill(x: Array, dim: int, index: Array, value: float) -> Array:
    """x, with value in its slices index[i] along an axis."""
    y = x.copy()
    _fill_slices(y, dim, index, value)
    return y


@index_fill.directly
def _fill_slices(x: Array, dim: int, index: Array, value: float) -> None:
    d = axis_of(dim, x.ndim)
    x[_along(_flat_index(index, x.shape[d]), d)] = value


index_fill.rules(lambda g, dim, index: index_fill(g, dim, index, 0.0), None, None, None)


@op(method=True, inplace=True)
def index_copy(x: Array, dim: int, index: Array, source: Array) -> Array:
    """x, with source[i] in place of its slice index[i] along an axis."""
    y = x.copy()
    _put_slices(y, dim, index, source)
    return y


@index_copy.directly
def _put_slices(x: Array, dim: int, index: Array, source: Array) -> bool:
    d = axis_of(dim, x.ndim)
    places = _flat_index(index, x.shape[d])
    if d == x.ndim - 2 == 2 and put_rows(x, places, source):  # what a cache of keys does
        return True
    x[_along(places, d)] = source
    return False


index_copy.rules(
    lambda g, dim, index: index_fill(g, dim, index, 0.0),
    None,
    None,
    lambda g, dim, index: index_select(g, dim, index),
)


@composed(method=True)
def take(input: Array, index: Array) -> Array:
    """The elements at these positions of input flattened, in the shape of index."""
    return take_at(reshape(input, (-1,)), (unwrap(index),))


# --------------------------------------------------------------------------------------- positions


@composed(method=True)
def nonzero(input: Array, *, as_tuple: bool = False) -> Any:
    """The positions where input is not zero: a row each, or one tensor an axis."""
    watch.constant("nonzero")
    positions = np.nonzero(unwrap(input))
    if as_tuple:
        return tuple(map(_like(input), positions))
    return _like(input)(np.stack(positions, axis=-1))


def _like(x: Any) -> Any:
    return wrap if isinstance(x, Variable) else np.asarray


@composed()
def where(condition: Array, x: Array | None = None, other: Array | None = None) -> Any:
    """x where condition holds, else other; of a condition alone, the positions where it holds."""
    if x is None and other is None:
        return nonzero(condition, as_tuple=True)
    return choose(condition, x, other)


@composed()
def argwhere(input: Array) -> Array:
    """The positions where input is not zero, a row each."""
    return nonzero(input)
