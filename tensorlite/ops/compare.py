"""Comparisons, logic, and choices between values, elementwise."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from tensorlite.autograd import Array, Node, composed, op, unwrap, watch
from tensorlite.dtypes import promote
from tensorlite.kernels.choose import choose as choose_kernel
from tensorlite.ops.elementwise import zero_where
from tensorlite.ops.pointwise import pointwise
from tensorlite.ops.quiet import quiet

# ------------------------------------------------------------------------------------- comparisons


@op(method=True)
def eq(x: Array, y: Array) -> Array:
    """x == y"""
    return pointwise(np.equal, *promote(x, y))


@op(method=True)
def ne(x: Array, y: Array) -> Array:
    """x != y"""
    return pointwise(np.not_equal, *promote(x, y))


@op(method=True)
def lt(x: Array, y: Array) -> Array:
    """x < y"""
    return pointwise(np.less, *promote(x, y))


@op(method=True)
def le(x: Array, y: Array) -> Array:
    """x <= y"""
    return pointwise(np.less_equal, *promote(x, y))


@op(method=True)
def gt(x: Array, y: Array) -> Array:
    """x > y"""
    return pointwise(np.greater, *promote(x, y))


@op(method=True)
def ge(x: Array, y: Array) -> Array:
    """x >= y"""
    return pointwise(np.greater_equal, *promote(x, y))


@op(method=True)
def isnan(x: Array) -> Array:
    """Where x is not a number."""
    return pointwise(np.isnan, x)


@op(method=True)
def isinf(x: Array) -> Array:
    """Where x is infinite."""
    return pointwise(np.isinf, x)


@op(method=True)
def isfinite(x: Array) -> Array:
    """Where x is a finite number."""
    return pointwise(np.isfinite, x)


@op(method=True)
def isclose(
    x: Array, y: Array, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Array:
    """|x - y| <= atol + rtol * |y|"""
    return quiet.run(np.isclose, x, y, rtol, atol, equal_nan)


@composed(method=True)
def allclose(
    input: Array, other: Array, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Is |input - other| <= atol + rtol * |other| everywhere?"""
    close = isclose(input, other, rtol=rtol, atol=atol, equal_nan=equal_nan)
    watch.constant("allclose")
    return builtins.bool(unwrap(close).all())


@composed(method=True)
def equal(input: Array, other: Array) -> bool:
    """Have input and other the same shape and the same elements?"""
    watch.constant("equal")
    return np.array_equal(unwrap(input), unwrap(other))


# ------------------------------------------------------------------------------------ logic, bits


@op(method=True, inplace=True)
def logical_and(x: Array, y: Array) -> Array:
    """Where both are nonzero."""
    return pointwise(np.logical_and, x, y)


@op(method=True, inplace=True)
def logical_or(x: Array, y: Array) -> Array:
    """Where either is nonzero."""
    return pointwise(np.logical_or, x, y)


@op(method=True, inplace=True)
def logical_xor(x: Array, y: Array) -> Array:
    """Where exactly one is nonzero."""
    return pointwise(np.logical_xor, x, y)


@op(method=True, inplace=True)
def logical_not(x: Array) -> Array:
    """Where x is zero."""
    return pointwise(np.logical_not, x)


@op(method=True, inplace=True)
def bitwise_and(x: Array, y: Array) -> Array:
    """x & y"""
    return pointwise(np.bitwise_and, *promote(x, y))


@op(method=True, inplace=True)
def bitwise_or(x: Array, y: Array) -> Array:
    """x | y"""
    return pointwise(np.bitwise_or, *promote(x, y))


@op(method=True, inplace=True)
def bitwise_xor(x: Array, y: Array) -> Array:
    """x ^ y"""
    return pointwise(np.bitwise_xor, *promote(x, y))


@op(method=True, inplace=True)
def bitwise_not(x: Array) -> Array:
    """~x"""
    return pointwise(np.bitwise_not, x)


# ----------------------------------------------------------------------------------------- choices

_core: Any = np._core
_clip = _core.umath.clip  # np.clip, with fewer questions


@op(grad_name="Where")
def choose(condition: Array, x: Array, y: Array) -> Array:
    """x where condition holds, else y."""
    if condition.dtype != np.bool_:
        raise RuntimeError(f"where: condition must be bool, got {condition.dtype}; use != 0")
    x, y = promote(x, y)
    return quiet.run(choose_kernel, condition, x, y)


choose.rules(
    None,
    lambda g, condition: choose(condition, g, 0.0),
    lambda g, condition: choose(condition, 0.0, g),
)


@op(method=True, inplace=True)
def masked_fill(x: Array, mask: Array, value: Array) -> Array:
    """value, a number or a tensor without axes, where mask holds; else x."""
    if np.ndim(value) != 0:
        raise ValueError(f"masked_fill: value must have no axes, got shape {np.shape(value)}")
    if mask.dtype != np.bool_:
        raise RuntimeError(f"masked_fill: mask must be bool, got {mask.dtype}")
    return choose_kernel(mask, quiet.run(np.asarray, value, x.dtype), x)


masked_fill.rules(
    lambda g, mask: zero_where(mask, g),
    None,
    lambda g, mask: zero_where(~mask, g),
)


@op(method=True, inplace=True)
def maximum(x: Array, y: Array) -> Array:
    """The larger of x and y; nan if either is nan. A tie halves the gradient."""
    return pointwise(np.maximum, *promote(x, y))


maximum.rules(
    lambda g, x, y: zero_where(x < y, choose(x == y, 0.5 * g, g)),
    lambda g, x, y: zero_where(y < x, choose(x == y, 0.5 * g, g)),
)


@op(method=True, inplace=True)
def minimum(x: Array, y: Array) -> Array:
    """The smaller of x and y; nan if either is nan. A tie halves the gradient."""
    return pointwise(np.minimum, *promote(x, y))


minimum.rules(
    lambda g, x, y: zero_where(x > y, choose(x == y, 0.5 * g, g)),
    lambda g, x, y: zero_where(y > x, choose(x == y, 0.5 * g, g)),
)


def _clamp_name(node: Node) -> str:
    return f"ClampBackward{int(node.parents[1:] == [None, None])}"


@op(method=True, inplace=True, grad_name=_clamp_name)
def clamp(x: Array, min: Array | float | None = None, max: Array | float | None = None) -> Array:
    """x, but no less than min and no more than max."""
    if min is None and max is None:
        raise ValueError("clamp: at least one of min and max must be given")
    numbers = [y is None or ((type(y) is int or type(y) is float) and y == y) for y in (min, max)]
    if x.dtype.kind == "f" and builtins.all(numbers):  # in one walk
        low, high = -np.inf if min is None else min, np.inf if max is None else max
        return pointwise(_clip, x, low, high)
    if min is not None:
        x = pointwise(np.maximum, *promote(x, min))
    if max is not None:
        x = pointwise(np.minimum, *promote(x, max))
    return x


@clamp.vjp
def _(g, x, min, max, needs):
    below = x < min if min is not None else np.False_
    above = x > max if max is not None else np.False_
    crossed = min > max if min is not None and max is not None else np.False_
    gx = zero_where(below | above, g)
    gmin = zero_where((below & (crossed == 0)) == 0, g) if needs[1] else None  # crossed: max wins
    gmax = zero_where((above | crossed) == 0, g) if needs[2] else None
    return gx, gmin, gmax


@composed(method=True, inplace=True)
def clip(input: Array, min: Any = None, max: Any = None) -> Array:
    """NumPy's name for clamp."""
    return clamp(input, min, max)


@op(method=True, inplace=True)
def nan_to_num(
    x: Array, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Array:
    """x with nan and infinities replaced, the latter by the largest numbers of its type."""
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


nan_to_num.rules(lambda g, x: zero_where(isfinite(x) == 0, g))


@composed(method=True, inplace=True)
def lerp(input: Array, end: Array, weight: Any) -> Array:
    """input + weight * (end - input), exact at weight 0 and 1."""
    if isinstance(weight, (int, float)):
        return (
            input + weight * (end - input)
            if builtins.abs(weight) < 0.5
            else end - (end - input) * (1 - weight)
        )
    near = input + weight * (end - input)
    return choose(weight < 0.5, near, end - (end - input) * (1 - weight))


@composed(method=True, inplace=True)
def addcmul(input: Array, tensor1: Array, tensor2: Array, *, value: float = 1) -> Array:
    """input + value * tensor1 * tensor2"""
    return input + (tensor1 * tensor2 if value == 1 else value * tensor1 * tensor2)


@composed(method=True, inplace=True)
def addcdiv(input: Array, tensor1: Array, tensor2: Array, *, value: float = 1) -> Array:
    """input + value * tensor1 / tensor2"""
    return input + (tensor1 / tensor2 if value == 1 else value * tensor1 / tensor2)
