"""Sines, cosines and tangents, their inverses, and the hyperbolic ones, elementwise."""

from __future__ import annotations

import numpy as np

from tensorlite.autograd import Array, op
from tensorlite.dtypes import as_float, promote_to_float
from tensorlite.ops.elementwise import rsqrt
from tensorlite.ops.pointwise import pointwise


@op(method=True, inplace=True)
def sin(x: Array) -> Array:
    """The sine of x radians."""
    return pointwise(np.sin, as_float(x))


@op(method=True, inplace=True)
def cos(x: Array) -> Array:
    """The cosine of x radians."""
    return pointwise(np.cos, as_float(x))


sin.rules(lambda g, x: g * cos(x))
cos.rules(lambda g, x: -g * sin(x))


@op(method=True, inplace=True)
def tan(x: Array) -> Array:
    """The tangent of x radians."""
    return pointwise(np.tan, as_float(x))


tan.rules(lambda g, out: g * (1 + out * out))


@op(method=True, inplace=True)
def asin(x: Array) -> Array:
    """The angle in [-pi/2, pi/2] whose sine is x."""
    return pointwise(np.arcsin, as_float(x))


asin.rules(lambda g, x: g * rsqrt(1 - x * x))


@op(method=True, inplace=True)
def acos(x: Array) -> Array:
    """The angle in [0, pi] whose cosine is x."""
    return pointwise(np.arccos, as_float(x))


acos.rules(lambda g, x: -g * rsqrt(1 - x * x))


@op(method=True, inplace=True)
def atan(x: Array) -> Array:
    """The angle in (-pi/2, pi/2) whose tangent is x."""
    return pointwise(np.arctan, as_float(x))


atan.rules(lambda g, x: g / (1 + x * x))


@op(method=True, inplace=True)
def atan2(y: Array, x: Array) -> Array:
    """The angle of the point (x, y), in [-pi, pi]."""
    y, x = promote_to_float(y, x)
    return pointwise(np.arctan2, y, x)


atan2.rules(lambda g, y, x: g * x / (x * x + y * y), lambda g, y, x: -g * y / (x * x + y * y))


@op(method=True, inplace=True)
def sinh(x: Array) -> Array:
    """(exp(x) - exp(-x)) / 2"""
    return pointwise(np.sinh, as_float(x))


@op(method=True, inplace=True)
def cosh(x: Array) -> Array:
    """(exp(x) + exp(-x)) / 2"""
    return pointwise(np.cosh, as_float(x))


sinh.rules(lambda g, x: g * cosh(x))
cosh.rules(lambda g, x: g * sinh(x))
