"""What is computed with vectors and masks: arithmetic, comparisons, reductions."""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic

from tensorlite.kernels.simd.vectors import (
    INT32,
    Mask,
    Vector,
    _call,
    _first,
    _splat,
    overload,
    vector_type,
)


def _floating(*kinds: Any) -> bool:
    return all(isinstance(k, Vector | types.Float) for k in kinds) and any(
        isinstance(k, Vector) for k in kinds
    )


def _operator(symbol: Any, emit: Any, result: Any = None) -> None:
    """Make a Python operator work on two vectors, or a vector and a scalar of its type."""

    @infer_global(symbol)
    class Typing(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and _floating(*args):
                vector = next(a for a in args if isinstance(a, Vector))
                return signature(result(vector) if result else vector, vector, vector)
            return None

    @lower_builtin(symbol, Vector, Vector)
    def lowering(context, builder, signature, args):
        return emit(builder, *args)


_operator(operator.add, lambda b, x, y: b.fadd(x, y))
_operator(operator.sub, lambda b, x, y: b.fsub(x, y))
_operator(operator.mul, lambda b, x, y: b.fmul(x, y))
_operator(operator.truediv, lambda b, x, y: b.fdiv(x, y))
_operator(operator.iadd, lambda b, x, y: b.fadd(x, y))
_operator(operator.isub, lambda b, x, y: b.fsub(x, y))
_operator(operator.imul, lambda b, x, y: b.fmul(x, y))
_operator(operator.itruediv, lambda b, x, y: b.fdiv(x, y))
for _symbol, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _operator(
        _symbol,
        lambda b, x, y, sign=_sign: b.fcmp_ordered(sign, x, y),
        lambda v: Mask(v.lanes),
    )
_operator(operator.ne, lambda b, x, y: b.fcmp_unordered("!=", x, y), lambda v: Mask(v.lanes))


@overload(operator.neg)
def _negative(x):
    return (lambda x: _fneg(x)) if isinstance(x, Vector) else None


@lower_cast(types.Float, Vector)
def _scalar_to_vector(context, builder, from_type, to_type, value):
    """A number among vectors stands for a vector of it, rounded to the type of their elements."""
    if isinstance(value, ir.Constant):
        scalar = to_type.element(value.constant)
    else:
        scalar = context.cast(builder, value, from_type, to_type.dtype)
    return _splat(builder, scalar, to_type.llvm)


def _elementwise(name: str, count: int, emit: Any) -> Any:
    """An intrinsic from `count` vectors of one type, or numbers, to one vector."""

    def make(context, builder, signature, args):
        return emit(builder, signature.return_type, args)

    def typed(*kinds):
        vector = next((k for k in kinds if isinstance(k, Vector)), None)
        return vector and (vector(*[vector] * count), make)

    def one(typing, x):
        return typed(x)

    def two(typing, x, y):
        return typed(x, y)

    def three(typing, x, y, z):
        return typed(x, y, z)

    function = {1: one, 2: two, 3: three}[count]
    function.__name__ = function.__qualname__ = name
    return intrinsic(function)


def _llvm(name: str, count: int) -> Any:
    return _elementwise(name, count, lambda b, vector, args: _call(b, name, vector, list(args)))


_fneg = _elementwise("negative", 1, lambda b, vector, args: b.fneg(args[0]))
fma = _llvm("fma", 3)
sqrt = _llvm("sqrt", 1)
absolute = _llvm("fabs", 1)
copysign = _llvm("copysign", 2)
# One instruction each; where a lane of x or y is NaN the result is y's lane.
maximum = _elementwise(
    "maximum", 2, lambda b, vector, args: b.select(b.fcmp_ordered(">", *args), *args)
)
minimum = _elementwise(
    "minimum", 2, lambda b, vector, args: b.select(b.fcmp_ordered("<", *args), *args)
)


@intrinsic
def select(typing, mask, a, b):
    """a where the mask is True, else b."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    vector = a if isinstance(a, Vector) else b
    return vector(mask, vector, vector), codegen


@intrinsic
def first(typing, x, n):
    """The mask of lanes 0..n-1 for vectors of x's type; n may lie outside [0, lanes]."""
    vector = vector_type(x)

    def codegen(context, builder, signature, args):
        return _first(builder, vector, args[1])

    return Mask(vector.lanes)(x, types.intp), codegen


def _mask_operator(symbol: Any, emit: Any) -> None:
    @infer_global(symbol)
    class Typing(AbstractTemplate):
        def generic(self, args, kws):
            both = len(args) == 2 and all(isinstance(a, Mask) for a in args)
            return signature(args[0], *args) if both else None

    @lower_builtin(symbol, Mask, Mask)
    def lowering(context, builder, signature, args):
        return emit(builder, *args)


_mask_operator(operator.and_, lambda b, x, y: b.and_(x, y))
_mask_operator(operator.or_, lambda b, x, y: b.or_(x, y))


def _tree(builder: Any, value: Any, lanes: int, combine: Any) -> Any:
    """Fold the upper half onto the lower until one lane is left."""
    undefined = ir.Constant(value.type, ir.Undefined)
    while lanes > 1:
        lanes //= 2
        low = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes)))
        high = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes, 2 * lanes)))
        value = combine(
            builder.shuffle_vector(value, undefined, low),
            builder.shuffle_vector(value, undefined, high),
        )
        undefined = ir.Constant(value.type, ir.Undefined)
    return builder.extract_element(value, INT32(0))


@intrinsic
def total(typing, v):
    """The sum of the lanes: halves are added onto halves, an order fixed by the width alone."""

    def codegen(context, builder, signature, args):
        return _tree(builder, args[0], v.lanes, builder.fadd)

    return v.dtype(v), codegen


@intrinsic
def largest(typing, v):
    """The largest lane."""

    def codegen(context, builder, signature, args):
        def larger(a, b):
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return _tree(builder, args[0], v.lanes, larger)

    return v.dtype(v), codegen
