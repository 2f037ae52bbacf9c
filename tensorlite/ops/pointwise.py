"""Functions of elements: NumPy's, quietly, of large arrays on all threads; into a new array, or
into the memory of an operand."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from tensorlite.kernels.loops import SMALL, on_threads
from tensorlite.ops.quiet import quiet

Array: TypeAlias = np.ndarray
_array = np.ndarray


def pointwise(function: Any, x: Any, y: Any = None, z: Any = None) -> Any:
    """function(x, ...), elementwise and quietly, of one to three arrays or numbers; of large arrays
    on all threads."""
    if (type(x) is _array and x.size > SMALL) or (type(y) is _array and y.size > SMALL):
        inputs = tuple([v for v in (x, y, z) if v is not None])
        out = quiet.run(on_threads, function, inputs)
        return quiet.run(function, *inputs) if out is None else out
    if y is None:
        return quiet.run(function, x)
    return quiet.run(function, x, y) if z is None else quiet.run(function, x, y, z)


def put(x: Array, value: Any) -> None:
    """Write value where x is, in x's type."""
    quiet.run(np.copyto, x, value, "unsafe")


def check_fits(x: Array, value: Array, name: str = "") -> None:
    """Raise, in the name of an op, unless value has the shape of x and no higher kind of number."""
    name = f"{name}: " if name else ""
    if value.shape != x.shape:
        raise RuntimeError(
            f"{name}output with shape {list(x.shape)} doesn't match the broadcast shape "
            f"{list(value.shape)}"
        )
    if value.dtype != x.dtype and _RANK[value.dtype.kind] > _RANK[x.dtype.kind]:
        raise RuntimeError(
            f"{name}result type {value.dtype} can't be cast to the desired output type {x.dtype}"
        )


_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def change(function: np.ufunc, x: Array, *inputs: Any) -> None:
    """x = function(*inputs), elementwise, where x is."""
    for y in inputs:
        if type(y) is np.ndarray:
            if y.dtype != x.dtype or (y.shape != x.shape and y.ndim):
                break
        elif type(y) is not float and type(y) is not int:
            break
    else:
        if x.dtype.kind == "f":
            if x.size <= SMALL or quiet.run(on_threads, function, inputs, x) is None:
                quiet.run(function, *inputs, x)
            return
    value = np.asarray(pointwise(function, *inputs))
    check_fits(x, value)
    put(x, value)
