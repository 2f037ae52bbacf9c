"""Arithmetic, powers, exponentials and rounding, elementwise.

Every op broadcasts; the tape sums a gradient back over the axes that were stretched. Types mix by
PyTorch's rules (dtypes.py). Division by zero, log(-1) and the like give inf or nan, silently.
"""

from __future__ import annotations

import numpy as np

from tensorlite.autograd import Array, Node, arithmetic, composed, op
from tensorlite.dtypes import as_float, promote, promote_to_float
from tensorlite.kernels.choose import choose
from tensorlite.kernels.elementwise import SMALL, add as add_kernel, cube_by_kernel, sum_by_kernel
from tensorlite.ops.pointwise import change, pointwise
from tensorlite.ops.quiet import quiet

# ------------------------------------------------------------------------------------------- zeros


@op
def zero(x: Array) -> Array:
    """Zeros shaped as x: the gradient of what moves in steps."""
    return np.zeros_like(x)


@op
def zero_where(condition: Array, x: Array) -> Array:
    """0 where condition holds, whatever x is there (0 * nan would be nan); else x."""
    return choose(condition, 0.0, x)


zero_where.rules(None, lambda g, condition: zero_where(condition, g))

# ------------------------------------------------------------------------------------- arithmetic

_array = np.ndarray


@op(grad_name="Add")
def plus(x: Array, y: Array) -> Array:
    """x + y"""
    x, y = promote(x, y)
    if (type(x) is _array and x.size > SMALL) or (type(y) is _array and y.size > SMALL):
        sums = sum_by_kernel(x, y)
        return pointwise(np.add, x, y) if sums is None else sums
    return quiet.run(np.add, x, y)


@plus.directly
def _(x: Array, y: Array) -> None:
    change(np.add, x, *promote(x, y))


plus.rules(lambda g: g, lambda g: g)
plus.by_kernels(sum_by_kernel)
arithmetic.add = add_kernel


@op(grad_name="Sub")
def minus(x: Array, y: Array) -> Array:
    """x - y"""
    x, y = promote(x, y)
    return pointwise(np.subtract, x, y)


@minus.directly
def _(x: Array, y: Array) -> None:
    change(np.subtract, x, *promote(x, y))


minus.rules(lambda g: g, lambda g: -g)


@op(grad_name=lambda node: "RsubBackward1")
def rsub(x: Array, y: Array) -> Array:
    """y - x"""
    y, x = promote(y, x)
    return pointwise(np.subtract, y, x)


rsub.rules(lambda g: -g, lambda g: g)


@op(method=True, inplace=True)
def add(input: Array, other: Array, *, alpha: float = 1) -> Array:
    """input + alpha * other"""
    return plus.op.function(input, other if alpha == 1 else mul(other, alpha))


@add.directly
def _(input: Array, other: Array, *, alpha: float = 1) -> None:
    change(np.add, input, *promote(input, other if alpha == 1 else mul(other, alpha)))


@add.by_kernels
def _(input: Array, other: Array, *, alpha: float = 1) -> Array | None:
    return sum_by_kernel(input, other) if alpha == 1 else None


add.rules(lambda g: g, lambda g, alpha: g if alpha == 1 else g * alpha)


@op(method=True, inplace=True)
def sub(input: Array, other: Array, *, alpha: float = 1) -> Array:
    """input - alpha * other"""
    return minus.op.function(input, other if alpha == 1 else mul(other, alpha))


@sub.directly
def _(input: Array, other: Array, *, alpha: float = 1) -> None:
    change(np.subtract, input, *promote(input, other if alpha == 1 else mul(other, alpha)))


sub.rules(lambda g: g, lambda g, alpha: g * -alpha)


@op(method=True, inplace=True)
def mul(x: Array, y: Array) -> Array:
    """x * y"""
    x, y = promote(x, y)
    return pointwise(np.multiply, x, y)


@mul.directly
def _(x: Array, y: Array) -> None:
    change(np.multiply, x, *promote(x, y))


mul.rules(lambda g, y: g * y, lambda g, x: g * x)


@op(grad_name="Div")
def true_divide(x: Array, y: Array) -> Array:
    """x / y; integers are divided in floating point."""
    x, y = promote_to_float(x, y)
    return pointwise(np.divide, x, y)


@true_divide.directly
def _(x: Array, y: Array) -> None:
    change(np.divide, x, *promote_to_float(x, y))


true_divide.rules(lambda g, y: g / y, lambda g, y, out: -g * out / y)


@composed(method=True, inplace=True)
def div(input: Array, other: Array, *, rounding_mode: str | None = None) -> Array:
    """input / other; rounding_mode "floor" rounds down, "trunc" towards zero."""
    if rounding_mode is None:
        return true_divide(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        return _trunc_divide(input, other)
    raise ValueError(f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")


@op(method=True, inplace=True)
def floor_divide(x: Array, y: Array) -> Array:
    """floor(x / y)"""
    x, y = promote(x, y)
    return pointwise(np.floor_divide, x, y)


@op
def _trunc_divide(x: Array, y: Array) -> Array:
    x, y = promote(x, y)
    if np.result_type(x, y).kind == "f":
        return pointwise(np.trunc, pointwise(np.divide, x, y))
    return pointwise(np.floor_divide, np.abs(x), np.abs(y)) * (np.sign(x) * np.sign(y))


@op(method=True, inplace=True)
def remainder(x: Array, y: Array) -> Array:
    """x - floor(x / y) * y: the sign is y's."""
    x, y = promote(x, y)
    return pointwise(np.remainder, x, y)


remainder.rules(lambda g: g, lambda g, x, y: -g * floor_divide(x, y))


@op(method=True, inplace=True)
def fmod(x: Array, y: Array) -> Array:
    """x - trunc(x / y) * y: the sign is x's."""
    x, y = promote(x, y)
    return pointwise(np.fmod, x, y)


fmod.rules(lambda g: g, lambda g, x, y: -g * _trunc_divide(x, y))


@op(method=True, inplace=True)
def neg(x: Array) -> Array:
    """-x"""
    return pointwise(np.negative, x)


neg.rules(lambda g: -g)


@op(method=True, inplace=True)
def sign(x: Array) -> Array:
    """-1, 0 or 1"""
    return pointwise(np.sign, x)


sign.rules(lambda g: zero(g))


@op(method=True, inplace=True)
def abs(x: Array) -> Array:
    """|x|"""
    return pointwise(np.absolute, x)


abs.rules(lambda g, x: g * sign(x))


# --------------------------------------------------------------------------------- powers and roots


def _pow_name(node: Node) -> str:
    numbers = [isinstance((node.saved or {}).get(name), (int, float)) for name in ("x", "y")]
    return "PowBackward2" if numbers[0] else "PowBackward0" if numbers[1] else "PowBackward1"


@op(method=True, inplace=True, grad_name=_pow_name)
def pow(x: Array, y: Array) -> Array:
    """x to the power of y. For y = 2, 3, 1/2, -1/2, -1 and -2 they are products, roots and
    quotients, as in PyTorch (x ** 3 of a million: 47 -> .08 ms)."""
    power = y if type(y) is int or type(y) is float else None
    x, y = promote(x, y)
    kind = x.dtype.kind if type(x) is _array else np.result_type(x, y).kind
    if power in (2, 3) and kind != "b":
        cube = cube_by_kernel(x) if power == 3 else None
        if cube is not None:
            return cube
        square = pointwise(np.multiply, x, x)
        return square if power == 2 else pointwise(np.multiply, square, x)
    if power in (0.5, -0.5, -1, -2) and kind == "f":
        root = pointwise(np.sqrt, x) if power % 1 else x
        if power == 0.5:
            return root
        return pointwise(np.divide, 1.0, pointwise(np.multiply, x, x) if power == -2 else root)
    if kind == "b":
        raise NotImplementedError("pow: not defined for booleans; convert with .int() or .float()")
    if kind in "iu" and (np.any(np.less(y, 0)) if power is None else power < 0):
        raise RuntimeError("pow: integers to negative integer powers are not allowed; use floats")
    return pointwise(np.power, x, y)


@pow.vjp
def _(g, x, y, out, needs):
    gx = gy = None
    if needs[0]:
        constant = type(y) is int or type(y) is float
        slope = y * pow(x, y - 1)
        gx = g * (slope if constant and y != 0 else zero_where(y == 0, slope))
    if needs[1]:
        logarithm = float(np.log(x)) if isinstance(x, (int, float)) else log(x)
        gy = g * zero_where((x == 0) & (y >= 0), out * logarithm)
    return gx, gy


@op(method=True, inplace=True)
def square(x: Array) -> Array:
    """x * x"""
    return pointwise(np.multiply, x, x)


square.rules(lambda g, x: g * (2 * x))


@op(method=True, inplace=True)
def sqrt(x: Array) -> Array:
    """The square root of x."""
    return pointwise(np.sqrt, as_float(x))


sqrt.rules(lambda g, out: g / (2 * out))


@op(method=True, inplace=True)
def rsqrt(x: Array) -> Array:
    """1 / sqrt(x)"""
    return pointwise(np.divide, 1.0, pointwise(np.sqrt, as_float(x)))


rsqrt.rules(lambda g, out: -0.5 * g * pow(out, 3))


@op(method=True, inplace=True)
def reciprocal(x: Array) -> Array:
    """1 / x"""
    return pointwise(np.divide, 1.0, as_float(x))


reciprocal.rules(lambda g, out: -g * out * out)

# --------------------------------------------------------------------- exponentials and logarithms

LN2 = float(np.log(2))
LN10 = float(np.log(10))


@op(method=True, inplace=True)
def exp(x: Array) -> Array:
    """e to the x."""
    return pointwise(np.exp, as_float(x))


exp.rules(lambda g, out: g * out)


@op(method=True, inplace=True)
def exp2(x: Array) -> Array:
    """2 to the x."""
    return pointwise(np.exp2, as_float(x))


exp2.rules(lambda g, out: g * out * LN2)


@op(method=True, inplace=True)
def expm1(x: Array) -> Array:
    """exp(x) - 1, precise near 0."""
    return pointwise(np.expm1, as_float(x))


expm1.rules(lambda g, out: g * (out + 1))


@op(method=True, inplace=True)
def log(x: Array) -> Array:
    """The natural logarithm of x."""
    return pointwise(np.log, as_float(x))


log.rules(lambda g, x: g / x)


@op(method=True, inplace=True)
def log2(x: Array) -> Array:
    """The logarithm of x to base 2."""
    return pointwise(np.log2, as_float(x))


log2.rules(lambda g, x: g / (x * LN2))


@op(method=True, inplace=True)
def log10(x: Array) -> Array:
    """The logarithm of x to base 10."""
    return pointwise(np.log10, as_float(x))


log10.rules(lambda g, x: g / (x * LN10))


@op(method=True, inplace=True)
def log1p(x: Array) -> Array:
    """log(1 + x), precise near 0."""
    return pointwise(np.log1p, as_float(x))


log1p.rules(lambda g, x: g / (x + 1))

# ---------------------------------------------------------------------------------------- rounding


@op(method=True, inplace=True)
def floor(x: Array) -> Array:
    """The largest integer not above x."""
    return pointwise(np.floor, x) if x.dtype.kind == "f" else x.copy()


floor.rules(lambda g: zero(g))


@op(method=True, inplace=True)
def ceil(x: Array) -> Array:
    """The smallest integer not below x."""
    return pointwise(np.ceil, x) if x.dtype.kind == "f" else x.copy()


ceil.rules(lambda g: zero(g))


@op(method=True, inplace=True)
def trunc(x: Array) -> Array:
    """x without its fraction."""
    return pointwise(np.trunc, x) if x.dtype.kind == "f" else x.copy()


trunc.rules(lambda g: zero(g))


@op(method=True, inplace=True)
def round(x: Array, *, decimals: int = 0) -> Array:
    """The nearest number with so many decimals, halves to even."""
    return np.round(x, decimals)


round.rules(lambda g: zero(g))
