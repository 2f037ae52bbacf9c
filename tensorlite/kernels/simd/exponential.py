"""The exponential in every lane."""

from __future__ import annotations

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
from tensorlite.kernels.simd.vectors import (
    INT32,
    REGISTER_BITS,
    Vector,
    overload,
    splat,
    zero,
)


def exp(x):
    """e to the x in every lane; see the overload below."""
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


@overload(exp_of_difference)
def _exp_of_difference(x):
    """The same bits as exp where the result is a normal number; 0 where it would be subnormal.

    What softmax needs, where the largest exponent is 0: two thirds of the instructions. Where the
    result is 0, exp(0) is computed, for whatever would be subnormal halts the processor.
    """
    if not isinstance(x, Vector):
        return None
    kind = np.float32 if x.dtype.bitwidth == 32 else np.float64
    low = kind(-87.33654) if kind is np.float32 else kind(-708.3964185322641)

    def implementation(x):
        lost = x < splat(low)
        n, y = _split(select(lost, zero(x), x))
        return select(lost, zero(x), _scaled_to_normal(y, n))

    return implementation


# --------------------------------------------------------------------------------- 2^n and exp(r)

# A whole number n, |n| < 2^22 (2^51 in float64), is kept as n + 1.5 2^23 (2^52), which is what
# rounding to n takes: its last bits are those of the integer n. No conversion is needed.
_SHIFT = {32: 1.5 * 2.0**23, 64: 1.5 * 2.0**52}
_MANTISSA = {32: 23, 64: 52}
_BIAS = {32: 127, 64: 1023}


def _split(x):
    """n, shifted, and exp(r) for exp(x) = 2^n exp(r)."""
    raise NotImplementedError


@overload(_split)
def _(x):
    """n = round(x / ln 2), r = x - n ln 2, |r| <= 0.35.

    ln 2 is subtracted in two parts so that r keeps all its bits. exp(r) is a polynomial of degree 6
    (float32) or Taylor's of degree 13 (float64). Of that of float32 two terms are added at a time:
    the processor looks ahead no more than two vectors, and waits for one's chain of operations
    (with the shifted n, which needs no conversion, gelu 31 -> 27 cycles a vector with AVX2).
    """
    kind = np.float32 if x.dtype.bitwidth == 32 else np.float64
    single = kind is np.float32
    shift = kind(_SHIFT[x.dtype.bitwidth])
    log2e = kind(1.4426950408889634)
    ln2_high = kind(0.693359375) if single else kind(6.93147180369123816490e-01)
    ln2_low = kind(-2.12194440e-4) if single else kind(1.90821492927058770002e-10)
    one = kind(1)
    # Coefficients of r^2 and up; 1 + r is added last, in one rounding. float32: Cephes expf.
    if single:
        p = tuple(
            kind(c)
            for c in (
                1.9875691500e-4,
                1.3981999507e-3,
                8.3334519073e-3,
                4.1665795894e-2,
                1.6666665459e-1,
                5.0000001201e-1,
            )
        )
        c0, c1, c2, c3, c4, c5 = p

        def implementation(x):
            n = fma(x, splat(log2e), splat(shift))
            whole = n - splat(shift)
            r = fma(whole, splat(-ln2_high), x)
            r = fma(whole, splat(-ln2_low), r)
            square = r * r
            y = fma(splat(c0), r, splat(c1))
            y = fma(y, square, fma(splat(c2), r, splat(c3)))
            y = fma(y, square, fma(splat(c4), r, splat(c5)))
            return n, fma(y, square, r) + splat(one)

        return implementation

    factorial, coefficients = 1.0, []
    for k in range(1, 14):
        factorial *= k
        coefficients.append(kind(1 / factorial))
    t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13 = coefficients[1:]

    def implementation64(x):
        n = fma(x, splat(log2e), splat(shift))
        whole = n - splat(shift)
        r = fma(whole, splat(-ln2_high), x)
        r = fma(whole, splat(-ln2_low), r)
        y = splat(t13)
        y = fma(y, r, splat(t12))
        y = fma(y, r, splat(t11))
        y = fma(y, r, splat(t10))
        y = fma(y, r, splat(t9))
        y = fma(y, r, splat(t8))
        y = fma(y, r, splat(t7))
        y = fma(y, r, splat(t6))
        y = fma(y, r, splat(t5))
        y = fma(y, r, splat(t4))
        y = fma(y, r, splat(t3))
        y = fma(y, r, splat(t2))
        return n, fma(y, r * r, r) + splat(one)

    return implementation64


def _integers(builder: Any, v: Vector, shifted: Any) -> tuple[Any, Any]:
    """The n of a shifted vector as integers, and what makes a vector of one integer."""
    bits = v.dtype.bitwidth
    whole = ir.VectorType(ir.IntType(bits), v.lanes)

    def same(number: int) -> Any:
        return ir.Constant(whole, [ir.IntType(bits)(number)] * v.lanes)

    kind = np.float32 if bits == 32 else np.float64
    pattern = int(np.array(_SHIFT[bits], kind).view(f"i{bits // 8}"))
    return builder.sub(builder.bitcast(shifted, whole), same(pattern)), same


def _power(builder: Any, v: Vector, n: Any, same: Any) -> Any:
    """2^n for integers n of normal powers: the bits of its exponent."""
    bits = v.dtype.bitwidth
    exponent = builder.shl(builder.add(n, same(_BIAS[bits])), same(_MANTISSA[bits]))
    return builder.bitcast(exponent, v.llvm)


@intrinsic
def _scaled(typing, y, shifted):
    """y 2^n in every lane, rounded once, for a shifted n."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if REGISTER_BITS == 512:
            return _scalef(builder, y, *args)
        n, same = _integers(builder, y, args[1])
        half = builder.ashr(n, same(1))
        first = builder.fmul(args[0], _power(builder, y, half, same))
        return builder.fmul(first, _power(builder, y, builder.sub(n, half), same))

    return y(y, y), codegen


@intrinsic
def _scaled_to_normal(typing, y, shifted):
    """The same where the result is a normal number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if REGISTER_BITS == 512:
            return _scalef(builder, y, *args)
        return builder.fmul(args[0], _power(builder, y, *_integers(builder, y, args[1])))

    return y(y, y), codegen


def _scalef(builder: Any, v: Vector, y: Any, shifted: Any) -> Any:
    """One instruction of AVX-512; it takes a third off exp."""
    letter, mask = "s" if v.dtype.bitwidth == 32 else "d", ir.IntType(v.lanes)
    shift = ir.Constant(v.llvm, [v.element(_SHIFT[v.dtype.bitwidth])] * v.lanes)
    kind = ir.FunctionType(v.llvm, [v.llvm, v.llvm, v.llvm, mask, INT32])
    name = f"llvm.x86.avx512.mask.scalef.p{letter}.512"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    # All lanes; rounded as the processor is set to, which is to nearest.
    return builder.call(function, [y, builder.fsub(shifted, shift), y, mask(-1), INT32(4)])
