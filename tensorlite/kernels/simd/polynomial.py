"""Polynomials in every lane."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core.types.containers import UniTuple
from numba.extending import intrinsic

from tensorlite.kernels.simd.vectors import (
    Vector,
    _call,
    _splat,
)


@intrinsic
def polynomial(typing, x, coefficients):
    """c[0] + c[1] x + c[2] x^2 + ... for a tuple of floats c: Horner's rule, one fma a step.

    Coefficients known when compiling are rounded to x's type then, and cost nothing.
    """
    if not (isinstance(x, Vector) and isinstance(coefficients, UniTuple)):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def coefficient(k: int) -> Any:
            if isinstance(args[1], ir.Constant):
                return _splat(builder, x.element(args[1].constant[k].constant), x.llvm)
            c = builder.extract_value(args[1], k)
            return _splat(builder, context.cast(builder, c, coefficients.dtype, x.dtype), x.llvm)

        y = coefficient(coefficients.count - 1)
        for k in reversed(range(coefficients.count - 1)):
            y = _call(builder, "fma", x, [y, args[0], coefficient(k)])
        return y

    return x(x, coefficients), codegen
