"""Tensors from data, from NumPy arrays, and of constants.

Every function takes dtype=, device= (cpu) and requires_grad=, as in PyTorch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorlite import dtypes
from tensorlite.autograd import Array, Variable, unwrap, watch, wrap
from tensorlite.device import check_device

if TYPE_CHECKING:
    from tensorlite.tensor import Tensor


def _made(
    array: Array, requires_grad: bool = False, device: Any = None, shared: bool = False
) -> Tensor:
    check_device(device)
    dtypes.dtype.of(array.dtype)  # raises for a type that tensors cannot have
    t: Tensor = wrap(array)
    if not shared:
        watch.made(array)
    if requires_grad:
        t.requires_grad_()
    return t


def _type(dtype: Any) -> np.dtype[Any]:
    return dtypes.default.numpy if dtype is None else dtypes.to_numpy(dtype)


# ------------------------------------------------------------------------------------------- data


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """A copy of data: a number, nested lists of numbers, an array, a tensor.

    Python floats give the default dtype, ints int64, bools bool; arrays and tensors keep theirs.
    """
    return _made(_array_of(data, dtype, copy=True), requires_grad, device)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """As tensor, but a tensor or an array of the right dtype is used as it is, sharing memory."""
    if isinstance(data, Variable):
        return data.to(device, dtype)  # type: ignore[attr-defined,no-any-return]
    return _made(_array_of(data, dtype, copy=False), False, device, isinstance(data, np.ndarray))


asarray = as_tensor


def from_numpy(array: Array) -> Tensor:
    """A tensor that shares the memory of an array."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected an np.ndarray, got {type(array).__name__}")
    return _made(np.asarray(array), shared=True)


def _array_of(data: Any, dtype: Any, copy: bool) -> Array:
    numpy = None if dtype is None else dtypes.to_numpy(dtype)
    if isinstance(data, Variable) or isinstance(_first(data), Variable):
        watch.constant("tensor")
    if isinstance(data, (Variable, np.ndarray, np.generic)):
        array = np.asarray(unwrap(data))
        return np.array(array, numpy, order="C") if copy else np.asarray(array, numpy)
    array = np.array(_plain(data) if isinstance(_first(data), Variable) else data)
    if array.dtype == object or array.dtype.kind in "US":
        raise TypeError(f"tensor: data must be numbers, got {type(data).__name__} of {array.dtype}")
    if numpy is None and not isinstance(_first(data), (Variable, np.ndarray, np.generic)):
        if array.dtype.kind == "f" or array.size == 0:
            numpy = dtypes.default.numpy
        elif array.dtype.kind == "i":
            numpy = np.dtype(np.int64)
    return array if numpy is None else array.astype(numpy, copy=False)


def _plain(data: Any) -> Any:
    """Nested lists with arrays in place of tensors."""
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return unwrap(data)


def _first(data: Any) -> Any:
    """The first element of nested lists."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return data


# --------------------------------------------------------------------------------------- constants


def _sizes(size: tuple[Any, ...]) -> tuple[int, ...]:
    if len(size) == 1 and not hasattr(size[0], "__index__"):
        size = tuple(size[0])
    shape = tuple(map(int, size))
    if min(shape, default=0) < 0:
        raise RuntimeError(f"sizes must not be negative, got {shape}")
    return shape


def zeros(
    *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """Zeros of a shape: zeros(2, 3) or zeros((2, 3))."""
    size = rest.get("size", size)
    return _made(np.zeros(_sizes(size), _type(dtype)), requires_grad, device)


def ones(
    *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """Ones of a shape."""
    size = rest.get("size", size)
    return _made(np.ones(_sizes(size), _type(dtype)), requires_grad, device)


def empty(
    *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """Memory of a shape as it comes, whatever it holds."""
    size = rest.get("size", size)
    return _made(np.empty(_sizes(size), _type(dtype)), requires_grad, device)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **rest: Any,
) -> Tensor:
    """One value everywhere; without dtype, in the type that tensor(fill_value) has."""
    shape = _sizes(size if isinstance(size, tuple) else (size,))
    value = _array_of(fill_value, dtype, copy=False)
    return _made(np.full(shape, value, value.dtype), requires_grad, device)


def zeros_like(x: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
               **rest: Any) -> Tensor:  # fmt: skip
    """Zeros of the shape and dtype of x."""
    return zeros(x.shape, dtype=dtype or x.dtype, device=device, requires_grad=requires_grad)


def ones_like(x: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
              **rest: Any) -> Tensor:  # fmt: skip
    """Ones of the shape and dtype of x."""
    return ones(x.shape, dtype=dtype or x.dtype, device=device, requires_grad=requires_grad)


def empty_like(x: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
               **rest: Any) -> Tensor:  # fmt: skip
    """Memory of the shape and dtype of x, whatever it holds."""
    return empty(x.shape, dtype=dtype or x.dtype, device=device, requires_grad=requires_grad)


def full_like(x: Any, fill_value: Any, *, dtype: Any = None, device: Any = None,
              requires_grad: bool = False, **rest: Any) -> Tensor:  # fmt: skip
    """One value everywhere, in the shape and dtype of x."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device,
                requires_grad=requires_grad)  # fmt: skip


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The identity matrix: ones on the diagonal of n x m zeros."""
    return _made(np.eye(n, m, dtype=_type(dtype)), requires_grad, device)


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below end; arange(n) counts from 0. int64 if all three are ints."""
    start, end = (0, start) if end is None else (start, end)
    start, end, step = (v.item() if hasattr(v, "item") else v for v in (start, end, step))
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(f"arange: step {step} does not lead from {start} to {end}")
    whole = all(isinstance(v, int) for v in (start, end, step))
    numpy = np.dtype(np.int64) if dtype is None and whole else _type(dtype)
    n = math.ceil((end - start) / step)
    # start + i * step in double precision, as PyTorch computes it: steps do not pile up errors.
    values = start + np.arange(n, dtype=np.int64 if whole else np.float64) * step
    return _made(values.astype(numpy), requires_grad, device)


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """steps numbers from start to end, equally far apart, both included."""
    values = np.linspace(float(start), float(end), steps)
    return _made(values.astype(_type(dtype)), requires_grad, device)


def logspace(
    start: float, end: float, steps: int, base: float = 10.0, *, dtype: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """base to the power of linspace(start, end, steps)."""
    values = np.power(base, np.linspace(float(start), float(end), steps))
    return _made(values.astype(_type(dtype)), requires_grad, device)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None
                 ) -> Tensor:  # fmt: skip
    """Where the lower triangle of a row x col matrix is: a row of rows, a row of columns."""
    numpy = np.int64 if dtype is None else dtypes.to_numpy(dtype)
    return _made(np.array(np.tril_indices(row, offset, col), numpy), False, device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None
                 ) -> Tensor:  # fmt: skip
    """Where the upper triangle of a row x col matrix is: a row of rows, a row of columns."""
    numpy = np.int64 if dtype is None else dtypes.to_numpy(dtype)
    return _made(np.array(np.triu_indices(row, offset, col), numpy), False, device)
