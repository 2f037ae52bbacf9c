"""Methods: what the ops put on Tensor, and Python's operators.

The ops declare their methods themselves; importing them here is what collects them. An editor or a
type checker reads methods.pyi, which tests/stubs.py writes from the same registry.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tensorlite.autograd import IN_PLACE, METHODS
from tensorlite.ops import (  # noqa: F401
    along,
    attention,
    compare,
    convert,
    elementwise,
    index,
    join,
    linalg,
    loss,
    neural,
    order,
    reduce,
    shape,
    trigonometry,
)


def _in_place(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def method(self: Any, *args: Any, **keywords: Any) -> Any:
        return convert.in_place(name, function, self, *args, **keywords)

    method.__name__ = name
    return method


def _divide_number(self: Any, other: Any) -> Any:
    """other / self, computed as PyTorch computes it."""
    return elementwise.mul(elementwise.reciprocal(self), other)


def _reversed(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: function(other, self)


def _or_not_implemented(function: Callable[..., Any]) -> Callable[..., Any]:
    """Comparing a tensor with None or a string is Python's business: they are not equal."""

    def method(self: Any, other: Any) -> Any:
        if other is None or isinstance(other, (str, list, tuple)):
            return NotImplemented
        return function(self, other)

    return method


_BINARY = {
    "add": elementwise.plus,
    "sub": elementwise.minus,
    "mul": elementwise.mul,
    "truediv": elementwise.true_divide,
    "floordiv": elementwise.floor_divide,
    "mod": elementwise.remainder,
    "pow": elementwise.pow,
    "matmul": linalg.matmul,
    "and": compare.bitwise_and,
    "or": compare.bitwise_or,
    "xor": compare.bitwise_xor,
}

OPERATORS: dict[str, Callable[..., Any]] = {
    **{f"__{name}__": function for name, function in _BINARY.items()},
    **{f"__r{name}__": _reversed(function) for name, function in _BINARY.items()},
    **{f"__i{name}__": _in_place(f"__i{name}__", f) for name, f in _BINARY.items()},
    "__rsub__": elementwise.rsub,
    "__rtruediv__": _divide_number,
    "__neg__": elementwise.neg,
    "__abs__": elementwise.abs,
    "__invert__": compare.bitwise_not,
    "__eq__": _or_not_implemented(compare.eq),
    "__ne__": _or_not_implemented(compare.ne),
    "__lt__": compare.lt,
    "__le__": compare.le,
    "__gt__": compare.gt,
    "__ge__": compare.ge,
    "__getitem__": index.getitem,
    "__setitem__": convert.assign,
}


class Methods:
    """The methods of Tensor that are ops."""

    __slots__ = ()


for _name, _function in (*METHODS.items(), *OPERATORS.items()):
    setattr(Methods, _name, _function)
for _name, _function in IN_PLACE.items():
    setattr(Methods, _name, _in_place(_name, _function))
