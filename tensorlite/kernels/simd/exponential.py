"""The exponential in every lane."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from tensorlite.kernels.simd.arithmetic import (
    fma,
    maximum,
    minimum,
    select,
)
from tensorlite.kernels.simd.constants import keep
from tensorlite.kernels.simd.polynomial import polynomial
from tensorlite.kernels.simd.vectors import (
    INT32,
    REGISTER_BITS,
    Vector,
    _splat,
    overload,
    zero,
)

# float32: Cephes expf, the coefficients of r^2 and up; float64: Taylor's.
_LOG2_E = 1.4426950408889634
_MINUS_LN2 = {  # in two parts
    32: (-0.693359375, 2.12194440e-4),
    64: (-6.93147180369123816490e-01, -1.90821492927058770002e-10),
}
_COEFFICIENTS = {
    32: (
        5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3,
        1.9875691500e-4,
    ),
    64: tuple(1 / math.factorial(k) for k in range(2, 14)),
}  # fmt: skip
# A whole number n, |n| < 2^22 (2^51 in float64), is kept as n + 1.5 2^23 (2^52), which is what
# rounding to n takes: its last bits are those of the integer n. No conversion is needed.
_SHIFT = {32: 1.5 * 2.0**23, 64: 1.5 * 2.0**52}
_MANTISSA = {32: 23, 64: 52}
_LOWEST = {32: -87.33654, 64: -708.3964185322641}  # exp of it is a normal number

keep("exp", 1.0, 0.5, -60.0, 89.0, 710.0, _LOG2_E, *_SHIFT.values(), *_LOWEST.values())
keep("exp_polynomials", *_MINUS_LN2[32], *_MINUS_LN2[64], *_COEFFICIENTS[32], *_COEFFICIENTS[64])


def exp(x):
    """e to the x in every lane; see the overload below."""
    raise NotImplementedError


def exp_beside_one(x):
    """e to the x, for 1 + e to the x, in every lane; see the overload below."""
    raise NotImplementedError


def exp_of_difference(x):
    """e to the x in every lane, for x <= 0 or little above; see the overload below."""
    raise NotImplementedError


@overload(exp)
def _exp(x):
    """exp(x) = 2^n exp(r), see `_split`.

    Results beyond the normal range become 0, a subnormal number or inf as they should; NaN stays
    NaN.
    """
    if not isinstance(x, Vector):
        return None
    low, high = (-105.0, 90.0) if x.dtype.bitwidth == 32 else (-750.0, 711.0)

    def implementation(x):
        n, y = _split(minimum(high, maximum(low, x)))
        return _scaled(y, n)

    return implementation


@overload(exp_beside_one)
def _exp_beside_one(x):
    """The same bits as exp, but e^-60 where that is less, which is lost in 1 + exp(x).

    It would be subnormal, which halts a processor (gelu_tanh where |x| is about 30: 16 -> 9 ns a
    vector).
    """
    if not isinstance(x, Vector):
        return None
    high = 89.0 if x.dtype.bitwidth == 32 else 710.0  # exp of it is inf

    def implementation(x):
        n, y = _split(minimum(high, maximum(-60.0, x)))
        return _scaled_to_normal(y + y, n - 1.0)  # n may be one more than a power has

    return implementation


@overload(exp_of_difference)
def _exp_of_difference(x):
    """The same bits as exp where the result is a normal number; 0 where it would be subnormal.

    What softmax needs, where the largest exponent is 0: two thirds of the instructions. Whatever
    would be subnormal halts the processor: AVX-512 leaves it out, others compute exp(0) instead.
    """
    if not isinstance(x, Vector):
        return None
    low = _LOWEST[x.dtype.bitwidth]

    def implementation(x):
        lost = x < low
        n, y = _split(select(lost, zero(x), x))
        return select(lost, zero(x), _scaled_to_normal(y, n))

    def implementation512(x):
        n, y = _split(x)
        return _scaled_unless(x < low, y, n)

    return implementation512 if REGISTER_BITS == 512 else implementation


# --------------------------------------------------------------------------------- 2^n and exp(r)


def _split(x):
    """n, shifted, and exp(r) for exp(x) = 2^n exp(r)."""
    raise NotImplementedError


@overload(_split)
def _(x):
    """n = round(x / ln 2), r = x - n ln 2, |r| <= 0.35.

    ln 2 is subtracted in two parts so that r keeps all its bits. exp(r) is a polynomial of degree 7
    (float32) or 13 (float64), of which 1 + r is added last, in one rounding. Of that of float32 two
    terms are added at a time: the processor looks ahead no more than two vectors, and waits for
    one's chain of operations (with the shifted n, which needs no conversion, gelu 31 -> 27 cycles a
    vector with AVX2).
    """
    bits = x.dtype.bitwidth
    shift, (ln2_high, ln2_low) = _SHIFT[bits], _MINUS_LN2[bits]
    coefficients = _COEFFICIENTS[bits]
    if bits == 64:

        def implementation64(x):
            n = fma(x, _LOG2_E, shift)
            whole = n - shift
            r = fma(whole, ln2_low, fma(whole, ln2_high, x))
            return n, fma(polynomial(r, coefficients), r * r, r) + 1.0

        return implementation64

    c2, c3, c4, c5, c6, c7 = coefficients

    def implementation(x):
        n = fma(x, _LOG2_E, shift)
        whole = n - shift
        r = fma(whole, ln2_low, fma(whole, ln2_high, x))
        square = r * r
        y = fma(c7, r, c6)
        y = fma(y, square, fma(c5, r, c4))
        y = fma(y, square, fma(c3, r, c2))
        return n, fma(y, square, r) + 1.0

    return implementation


def _same(v: Vector, number: int) -> Any:
    """The vector of an integer, as wide as v's elements."""
    whole = ir.VectorType(ir.IntType(v.dtype.bitwidth), v.lanes)
    return ir.Constant(whole, [whole.element(number)] * v.lanes)


def _power(builder: Any, v: Vector, shifted: Any) -> Any:
    """2^n where that is a normal number: n, added to the exponent of 1. Its bits lie lowest in
    those of shifted n, and nothing else is left of these."""
    mantissa = _same(v, _MANTISSA[v.dtype.bitwidth])
    one = builder.bitcast(_splat(builder, v.element(1.0), v.llvm), mantissa.type)
    n = builder.shl(builder.bitcast(shifted, mantissa.type), mantissa)
    return builder.bitcast(builder.add(n, one), v.llvm)


@intrinsic
def _scaled(typing, y, shifted):
    """y 2^n in every lane, rounded once, for a shifted n: twice times about half of it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if REGISTER_BITS == 512:
            return _scalef(builder, y, *args)
        bits = y.dtype.bitwidth
        pattern = int(np.array(_SHIFT[bits], f"f{bits // 8}").view(f"i{bits // 8}"))
        shift = _same(y, pattern)
        n = builder.sub(builder.bitcast(args[1], shift.type), shift)
        half = builder.ashr(n, _same(y, 1))
        first = builder.fmul(args[0], _power(builder, y, half))
        return builder.fmul(first, _power(builder, y, builder.sub(n, half)))

    return y(y, y), codegen


@intrinsic
def _scaled_to_normal(typing, y, shifted):
    """The same where 2^n is a normal number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if REGISTER_BITS == 512:
            return _scalef(builder, y, *args)
        return builder.fmul(args[0], _power(builder, y, args[1]))

    return y(y, y), codegen


@intrinsic
def _scaled_unless(typing, lost, y, shifted):
    """The same with AVX-512, and 0 where lost."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        there = builder.bitcast(builder.not_(args[0]), ir.IntType(y.lanes))
        return _scalef(builder, y, args[1], args[2], there, ir.Constant(y.llvm, [0.0] * y.lanes))

    return y(lost, y, y), codegen


def _scalef(
    builder: Any, v: Vector, y: Any, shifted: Any, there: Any = None, otherwise: Any = None
) -> Any:
    """One instruction of AVX-512; it takes a third off exp. With a mask, `otherwise` where not."""
    letter, mask = "s" if v.dtype.bitwidth == 32 else "d", ir.IntType(v.lanes)
    shift = ir.Constant(v.llvm, [v.element(_SHIFT[v.dtype.bitwidth])] * v.lanes)
    kind = ir.FunctionType(v.llvm, [v.llvm, v.llvm, v.llvm, mask, INT32])
    name = f"llvm.x86.avx512.mask.scalef.p{letter}.512"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    there, otherwise = (mask(-1), y) if there is None else (there, otherwise)
    # Rounded as the processor is set to, which is to nearest.
    return builder.call(function, [y, builder.fsub(shifted, shift), otherwise, there, INT32(4)])
