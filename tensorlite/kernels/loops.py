"""NumPy's loops on our threads: what is elementwise, for large arrays.

    on_threads(np.exp, (x,))    np.exp(x), without warnings

NumPy's functions of elements come with compiled loops, one for each combination of types: they take
addresses, a number of elements, and strides. Any part of an array is computed as the whole is, so
each thread calls the loop for its share, and the bits are NumPy's. One small kernel serves all
functions and types; written in Numba, each would compile for itself. For what is small or oddly
laid out, and on one thread but for rows that are stretched, NumPy is called as always.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from tensorlite.kernels.jit import get_num_threads, inline, kernel, parallel_for
from tensorlite.kernels.ordered import ordered

Array = np.ndarray

SMALL = 1 << 17  # elements below which a second thread does not pay for its launch
SPAN = 1 << 14  # elements of a task: what is read and written stays in L2
SHORT = 16  # elements of a row, below which to call a loop for each takes too long

# ------------------------------------------------------------------------------------ NumPy's loops


class _Function(ctypes.Structure):
    """The beginning of PyUFuncObject, of numpy/ufuncobject.h."""

    _fields_ = (
        ("head", ctypes.c_byte * object.__basicsize__),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_char)),
    )


@functools.cache
def _loop(function: np.ufunc, inputs: str) -> tuple[int, int, np.dtype[Any]] | None:
    """(address, its data, type of the result) of a function's loop for inputs of these types; None
    where it has none for just these, or is not laid out as we know it."""
    found = [i for i, kinds in enumerate(function.types) if kinds.split("->")[0] == inputs]
    if not found or function.nout != 1 or (function is np.power and inputs[0] not in "fd"):
        return None  # a negative power of a whole number is an error, and an error is Python's
    i, inside = found[0], _Function.from_address(id(function))
    counts = (inside.nin, inside.nout, inside.nargs, inside.ntypes)
    if counts != (function.nin, 1, function.nin + 1, function.ntypes):
        return None
    if inside.name != function.__name__.encode():
        return None
    result = np.dtype(function.types[i][-1])
    numbers = inside.types[i * inside.nargs : (i + 1) * inside.nargs]
    if list(numbers) != [np.dtype(kind).num for kind in (*inputs, result)]:
        return None
    loop = inside.functions[i]
    return (loop, inside.data[i] or 0, result) if loop else None


@intrinsic
def _call(typing, loop, data, places, n, steps):
    """loop(places, &n, steps, data), where places and steps are tuples of whole numbers."""

    def codegen(context, builder, signature, values):
        word = ir.IntType(64)
        pointer = ir.IntType(8).as_pointer()
        loop, data, places, n, steps = values

        def in_memory(numbers):
            block = cgutils.alloca_once(builder, ir.ArrayType(word, len(numbers)))
            for i, number in enumerate(numbers):
                builder.store(number, cgutils.gep_inbounds(builder, block, 0, i))
            return builder.bitcast(block, word.as_pointer())

        words = word.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [words, words, words, pointer]).as_pointer()
        arguments = [
            in_memory(cgutils.unpack_tuple(builder, places)),
            in_memory([n]),
            in_memory(cgutils.unpack_tuple(builder, steps)),
            builder.inttoptr(data, pointer),
        ]
        builder.call(builder.inttoptr(loop, kind), arguments)
        return context.get_dummy_value()

    return types.void(loop, data, places, n, steps), codegen


# ----------------------------------------------------------------------------------- on all threads


@inline
def _rows(task, loop, data, places, strides, steps, columns, size, run):
    """Some rows, each with one call of the loop; the last of a long row's pieces may be shorter."""
    a, b, c, d = places
    i, j, k, m = strides
    first, stop = task * run, min((size + columns - 1) // columns, (task + 1) * run)
    for r in range(first, stop):
        n = min(columns, size - r * columns)
        _call(loop, data, (a + r * i, b + r * j, c + r * k, d + r * m), n, steps)


@kernel
def _walk(loop, data, places, strides, steps, columns, size, run):
    """The loop over `size` elements in rows of `columns`, `run` rows a task. Of each of its four
    arrays, 0 where it has fewer: the address, and the bytes to the next row and element."""
    rows = (size + columns - 1) // columns
    arguments = (loop, data, places, strides, steps, columns, size, run)
    parallel_for(_rows, (rows + run - 1) // run, arguments)


def on_threads(
    function: np.ufunc, inputs: tuple[Any, ...], out: Array | None = None
) -> Array | None:
    """function(*inputs) of arrays and numbers that promote (dtypes.py) has made alike, on all
    threads, into out where it is given; None where it is for NumPy."""
    if get_num_threads() == 1 and len({np.shape(x) for x in inputs} - {()}) == 1:
        return None  # where rows are stretched, this is quicker even so (.75 of the time)
    kind = next(x.dtype for x in inputs if type(x) is np.ndarray)
    if kind.kind != "f" and any(type(x) is not np.ndarray for x in inputs):
        return None  # a number may be of a higher kind
    arrays = [x if type(x) is np.ndarray else np.asarray(x, kind) for x in inputs]
    known = arrays if out is None else [*arrays, out]
    if not all(x.dtype.isnative and x.flags.aligned for x in known):
        return None
    found = _loop(function, "".join([x.dtype.char for x in arrays]))
    layout = _layout(arrays) if found else None
    if layout is None and function in _ROUNDED:
        arrays = _as_the_one_in_order(arrays)
        layout = _layout(arrays)
    if found is None or layout is None:
        return None
    shape, columns, strides, steps = layout
    loop, data, result = found
    if out is not None and not _may_take(out, shape, result, arrays):
        return None
    y = np.empty(shape, result) if out is None else out
    size = result.itemsize
    places = [_address(x) for x in (*arrays, y)]
    unused = [0] * (4 - len(places))
    _walk(
        loop, data, (*places, *unused), (*strides, columns * size, *unused),
        (*steps, size, *unused), columns, y.size, max(1, SPAN // columns),
    )  # fmt: skip
    return y


def _may_take(out: Array, shape: tuple[int, ...], kind: np.dtype[Any], inputs: list[Array]) -> bool:
    """Can a result be written where out is, part by part, while inputs are read?"""
    if out.shape != shape or out.dtype != kind or not out.flags.carray:
        return False
    for x in inputs:
        same = x.shape == shape and x.flags.c_contiguous and _address(x) == _address(out)
        if not same and np.may_share_memory(x, out):
            return False
    return True


def _address(x: Array) -> int:
    address: int = x.__array_interface__["data"][0]
    return address


# The same bits in whatever way they are computed; others may have a loop for what lies in order.
_ROUNDED = (np.add, np.subtract, np.multiply, np.divide)


def _as_the_one_in_order(arrays: list[Array]) -> list[Array]:
    """Where one whole array is in order, so is NumPy's result: then let the others be, too."""
    shape = max([x.shape for x in arrays], key=math.prod)
    if any(x.shape == shape and x.flags.c_contiguous for x in arrays):
        return [ordered(x) if x.shape == shape else x for x in arrays]
    return arrays


Layout = tuple[tuple[int, ...], int, list[int], list[int]]


def _layout(arrays: list[Array]) -> Layout | None:
    """(shape of the result, elements of a row, bytes from row to row, from element to element).

    What lies in one piece is cut into rows. Otherwise axes that all arrays step through evenly
    become one; None where more than two are left, where an array's first axis is not its slowest
    (NumPy's result is then laid out otherwise), or where the arrays do not fit each other.
    """
    shape = max([x.shape for x in arrays], key=len)
    if all(x.ndim == 0 or (x.shape == shape and x.flags.c_contiguous) for x in arrays):
        steps = [x.itemsize if x.ndim else 0 for x in arrays]
        return shape, SPAN, [SPAN * step for step in steps], steps
    try:
        shape = np.broadcast_shapes(*[x.shape for x in arrays])
    except ValueError:
        return None
    merged: list[tuple[int, list[int]]] = []  # (length, bytes in each array), the innermost first
    least = [0] * len(arrays)
    if 0 in shape:
        return None
    for axis in range(-1, -len(shape) - 1, -1):
        n = shape[axis]
        if n == 1:
            continue
        steps = [x.strides[axis] if x.ndim >= -axis and x.shape[axis] > 1 else 0 for x in arrays]
        if any(step < low for step, low in zip(steps, least, strict=True) if step):
            return None
        least = [max(step, low) for step, low in zip(steps, least, strict=True)]
        length, inner = merged[-1] if merged else (0, [])
        if merged and steps == [length * step for step in inner]:
            merged[-1] = (n * length, inner)
        else:
            merged.append((n, steps))
    if len(merged) == 1:
        steps = merged[0][1]
        return shape, SPAN, [SPAN * step for step in steps], steps
    if len(merged) != 2 or merged[0][0] < SHORT:
        return None
    (columns, steps), (_, strides) = merged
    return shape, columns, strides, steps


# -------------------------------------------------------------------------------------- reductions


def reduce_on_threads(function: np.ufunc, x: Array, axes: tuple[int, ...]) -> Array | None:
    """function.reduce over the last axes of a large array in order; None where it is for NumPy.

    Rows have NumPy's bits. A row of more than SMALL elements is reduced in pieces, on any number of
    threads, and then their results are.
    """
    first = x.ndim - len(axes)
    if not (x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative) or x.dtype.kind == "b":
        return None
    if function in (np.add, np.multiply) and x.dtype.kind != "f" and x.itemsize < 8:
        return None  # NumPy computes these in a wider type
    shape = x.shape[:first]
    n = x.size // max(1, math.prod(shape))
    found = _loop(function, 2 * x.dtype.char)
    if set(axes) != set(range(first, x.ndim)) or found is None or found[2] != x.dtype:
        return None
    if n > SMALL:
        each = [function.reduce(_each_row(function, found, row, SPAN)) for row in x.reshape(-1, n)]
        return np.array(each, x.dtype).reshape(shape)
    if n < SHORT or get_num_threads() == 1:
        return None
    return _each_row(function, found, x.reshape(-1), n).reshape(shape)


def _each_row(function: np.ufunc, found: Any, x: Array, n: int) -> Array:
    """function.reduce(x[i * n : (i + 1) * n]) for all i: the last may be shorter."""
    y = x[::n].copy()  # each row's first: the largest is no less for seeing it twice
    if function.identity is not None:
        y.fill(function.identity)
    loop, data, _ = found
    size, to = x.itemsize, _address(y)
    _walk(
        loop, data, (to, _address(x), to, 0), (size, n * size, size, 0), (0, size, 0, 0), n, x.size,
        max(1, SPAN // n),
    )  # fmt: skip
    return y
