"""The exponential in every lane."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from tensorlite.kernels.simd.arithmetic import (
    exp2_integer,
    floor,
    fma,
    maximum,
    minimum,
    round,
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


def _scaled(y, n):
    """y 2^n in every lane, rounded once, for integral n."""
    raise NotImplementedError


@overload(_scaled)
def _(y, n):
    """One instruction of AVX-512 (it takes a third off exp), elsewhere two halves of 2^n."""
    if REGISTER_BITS == 512:
        return lambda y, n: _scalef(y, n)

    def implementation(y, n):
        m = floor(n * 0.5)
        return y * exp2_integer(m) * exp2_integer(n - m)

    return implementation


def _scaled_to_normal(y, n):
    """The same where the result is a normal number."""
    raise NotImplementedError


@overload(_scaled_to_normal)
def _(y, n):
    if REGISTER_BITS == 512:
        return lambda y, n: _scalef(y, n)
    return lambda y, n: y * exp2_integer(n)


@intrinsic
def _scalef(typing, y, n):
    letter, mask = "s" if y.dtype.bitwidth == 32 else "d", ir.IntType(y.lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(y.llvm, [y.llvm, y.llvm, y.llvm, mask, INT32])
        name = f"llvm.x86.avx512.mask.scalef.p{letter}.512"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        # All lanes; rounded as the processor is set to, which is to nearest.
        return builder.call(function, [*args, args[0], mask(-1), INT32(4)])

    return y(y, n), codegen


@overload(exp_of_difference)
def _exp_of_difference(x):
    """The same bits as exp where the result is a normal number; 0 where it would be subnormal.

    What softmax needs, where the largest exponent is 0: two thirds of the instructions.
    """
    if not isinstance(x, Vector):
        return None
    kind = np.float32 if x.dtype.bitwidth == 32 else np.float64
    low = kind(-87.33654) if kind is np.float32 else kind(-708.3964185322641)

    def implementation(x):
        n, y = _split(maximum(splat(low), x))
        return select(x < splat(low), zero(x), _scaled_to_normal(y, n))

    return implementation


def _split(x):
    """n and exp(r) for exp(x) = 2^n exp(r)."""
    raise NotImplementedError


@overload(_split)
def _(x):
    """n = round(x / ln 2), r = x - n ln 2, |r| <= 0.35.

    ln 2 is subtracted in two parts so that r keeps all its bits. exp(r) is a polynomial of degree 6
    (float32) or Taylor's of degree 13 (float64).
    """
    kind = np.float32 if x.dtype.bitwidth == 32 else np.float64
    single = kind is np.float32
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
            n = round(x * splat(log2e))
            r = fma(n, splat(-ln2_high), x)
            r = fma(n, splat(-ln2_low), r)
            y = splat(c0)
            y = fma(y, r, splat(c1))
            y = fma(y, r, splat(c2))
            y = fma(y, r, splat(c3))
            y = fma(y, r, splat(c4))
            y = fma(y, r, splat(c5))
            return n, fma(y, r * r, r) + splat(one)

        return implementation

    factorial, coefficients = 1.0, []
    for k in range(1, 14):
        factorial *= k
        coefficients.append(kind(1 / factorial))
    t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13 = coefficients[1:]

    def implementation64(x):
        n = round(x * splat(log2e))
        r = fma(n, splat(-ln2_high), x)
        r = fma(n, splat(-ln2_low), r)
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
