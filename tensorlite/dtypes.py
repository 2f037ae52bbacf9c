"""Element types, and PyTorch's rules for mixing them.

The rules: a result has the highest category present (bool < integer < floating point). Within it,
tensors with axes decide; tensors without axes count only if their category is higher, and Python
numbers only if theirs is higher still. An integer tensor with a Python float gives the default
type.
"""

from __future__ import annotations

import builtins
from typing import Any, ClassVar

import numpy as np


class dtype:
    """The type of a tensor's elements."""

    _known: ClassVar[dict[Any, dtype]] = {}
    prefix: ClassVar[str] = "tensorlite"  # what repr shows before the name

    def __init__(self, name: str, numpy: Any) -> None:
        self.name = name
        self.numpy: np.dtype[Any] = np.dtype(numpy)
        self._known[self.numpy] = self

    @staticmethod
    def of(numpy: Any) -> dtype:
        """The dtype of NumPy arrays of this type."""
        known = dtype._known.get(numpy)
        if known is None:
            raise TypeError(
                f"dtype: must be float32, float64, int64, int32, uint8 or bool, got {numpy}; "
                "convert it with astype() first"
            )
        return known

    @property
    def itemsize(self) -> int:
        return int(self.numpy.itemsize)

    @property
    def is_floating_point(self) -> builtins.bool:
        return builtins.bool(self.numpy.kind == "f")

    @property
    def is_complex(self) -> builtins.bool:
        return False

    @property
    def is_signed(self) -> builtins.bool:
        return self.numpy.kind in "fi"

    def __repr__(self) -> str:
        return f"{self.prefix}.{self.name}"

    def __reduce__(self) -> str:
        return self.name


float32 = dtype("float32", np.float32)
float64 = dtype("float64", np.float64)
int64 = dtype("int64", np.int64)
int32 = dtype("int32", np.int32)
uint8 = dtype("uint8", np.uint8)
bool = dtype("bool", np.bool_)

_PYTHON: dict[Any, str] = {float: "default", int: "int64", builtins.bool: "bool"}


class _Default:
    numpy: np.dtype[Any] = np.dtype(np.float32)


default = _Default()


def set_default_dtype(d: dtype) -> None:
    """The type of new floating-point tensors: float32, unless changed to float64."""
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"set_default_dtype: must be float32 or float64, got {d}")
    default.numpy = d.numpy


def get_default_dtype() -> dtype:
    """The type of new floating-point tensors."""
    return dtype.of(default.numpy)


def to_numpy(d: Any) -> np.dtype[Any]:
    """The NumPy type for a dtype, a NumPy type, or Python's float, int or bool."""
    if isinstance(d, dtype):
        return d.numpy
    if d in _PYTHON:
        return default.numpy if d is float else np.dtype(_PYTHON[d])
    return dtype.of(np.dtype(d)).numpy


# -------------------------------------------------------------------------------------- promotion

_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}
_WEAK = {builtins.bool: np.dtype(np.bool_), int: np.dtype(np.int64)}


def promote(x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands, so that NumPy computes with them in PyTorch's type."""
    if type(x) is np.ndarray:
        if type(y) is np.ndarray:
            if x.dtype is y.dtype:
                return x, y
        elif x.dtype.kind == "f" and (type(y) is float or type(y) is int):
            return x, y  # NumPy too takes the array's type
    elif type(y) is np.ndarray and y.dtype.kind == "f" and (type(x) is float or type(x) is int):
        return x, y
    common = result_type(x, y)
    return _as(x, common), _as(y, common)


def promote_to_float(x: Any, y: Any) -> tuple[Any, Any]:
    """As promote, and integers become the default floating-point type."""
    x, y = promote(x, y)
    kind = (x if isinstance(x, np.ndarray) else y).dtype.kind
    return (x, y) if kind == "f" else (_as(x, default.numpy), _as(y, default.numpy))


def as_float(x: Any) -> Any:
    """x, or if it holds integers, x in the default floating-point type."""
    if type(x) is np.ndarray and x.dtype.kind == "f":
        return x
    return np.asarray(x, default.numpy if np.asarray(x).dtype.kind != "f" else None)


def result_type(*operands: Any) -> np.dtype[Any]:
    """The NumPy type of what PyTorch computes from these arrays and Python numbers."""
    with_axes: list[np.dtype[Any]] = []
    without: list[np.dtype[Any]] = []
    numbers: list[np.dtype[Any]] = []
    for x in operands:
        if isinstance(x, (np.ndarray, np.generic)):
            (with_axes if x.ndim else without).append(x.dtype)
        elif isinstance(x, float):
            numbers.append(default.numpy)
        elif isinstance(x, int):
            numbers.append(_WEAK[builtins.bool if isinstance(x, builtins.bool) else int])
        else:
            raise TypeError(f"operands must be tensors or numbers, got {type(x).__name__}")
    result = None
    for group in (with_axes, without, numbers):
        if group:
            strongest = group[0]
            for d in group[1:]:
                strongest = _higher(strongest, d)
            if result is None or _category(strongest) > _category(result):
                result = strongest
    assert result is not None
    return result


def _category(d: np.dtype[Any]) -> int:
    return _CATEGORY[d.kind]


def _higher(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    if _category(a) != _category(b):
        return a if _category(a) > _category(b) else b
    return np.promote_types(a, b)


def _as(x: Any, d: np.dtype[Any]) -> Any:
    """An array of type d; a number stays one where NumPy gives it that type."""
    if isinstance(x, np.ndarray):
        return x if x.dtype == d else x.astype(d)
    return np.asarray(x).astype(d)
