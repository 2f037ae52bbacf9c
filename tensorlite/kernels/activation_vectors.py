"""Activations of one vector, and their derivatives: what the kernels of activations walk with.

    <name>_vector(v)       <name>_derivative(v)

An epilogue of another kernel that calls the same function gives the same bits.

Formulas that cancel are avoided: 1 + erf(x / sqrt 2) and 1 + tanh(u) lose all digits in the left
tail, 1 - s in the right one. Here Phi(x), sigmoid(2 u) and exp(-x) s stand in their place.
"""

from __future__ import annotations

import math

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline
from tensorlite.kernels.simd.constants import keep

# ------------------------------------------------------------- the normal distribution, exact gelu

# erfcx(z) = exp(z^2) erfc(z) for z >= 0, as rational functions that interpolate it at Chebyshev's
# points of t = z / (z + 2) on [0, 10], relative error 7e-9, and t = z / (z + 3) on [0, 27], 2e-18.
# All terms are positive, so nothing cancels. Beyond, exp(-z^2) is 0.
_ERFCX_32 = (
    (1.0, 1.230276067458035, 0.722788632420801, 0.224899046566139, 0.0318448508073225),
    (
        1.0, 2.358655571910728, 2.384240347307505, 1.308865838025460, 0.398652135162392,
        0.0564427506133624,
    ),
)  # fmt: skip
_ERFCX_64 = (
    (
        1.0, 2.3449371146870797, 2.725464044798095, 2.0290527332847801, 1.0615955514363499,
        0.40602362633723442, 0.11481376056240404, 0.023732596016732149, 0.0034451214499312444,
        0.00031940013700965499, 1.4539855627030835e-5,
    ),
    (
        1.0, 3.4733162817825924, 5.6446817778952077, 5.6773305526267283, 3.9359071159018452,
        1.9803591859785204, 0.74040754680194712, 0.20654236573223221, 0.042347992206167914,
        0.0061192043922536782, 0.00056612200282334195, 2.5771223097736052e-5,
    ),
)  # fmt: skip
# erf(x) / x in powers of x^2 for |x| < 1: Cephes (Moshier 1989), erff and erf.
_ERF_32 = (
    1.128379165726710, -3.761262582423300e-1, 1.128358514861418e-1, -2.685381193529856e-2,
    5.188327685732524e-3, -8.010193625184903e-4, 7.853861353153693e-5,
)  # fmt: skip
_ERF_64 = (
    (
        5.55923013010394962768e4, 7.00332514112805075473e3, 2.23200534594684319226e3,
        9.00260197203842689217e1, 9.60497373987051638749,
    ),
    (
        4.92673942608635921086e4, 2.26290000613890934246e4, 4.59432382970980127987e3,
        5.21357949780152679795e2, 3.35617141647503099647e1, 1.0,
    ),
)  # fmt: skip
keep("erf", *_ERFCX_32[0], *_ERFCX_32[1], _ERF_32[0] - 1, *_ERF_32[1:], math.sqrt(0.5), 6.3, 40.0)


def _erfcx(z):
    raise NotImplementedError


@simd.overload(_erfcx)
def _(z):
    p, q = _ERFCX_32 if z.dtype.bitwidth == 32 else _ERFCX_64
    return lambda z: simd.polynomial(z, p) / simd.polynomial(z, q)


def _erf_near_zero(x):
    raise NotImplementedError


@simd.overload(_erf_near_zero)
def _(x):
    if x.dtype.bitwidth == 32:
        less_one = (_ERF_32[0] - 1, *_ERF_32[1:])
        return lambda x: simd.fma(x, simd.polynomial(x * x, less_one), x)
    p, q = _ERF_64
    return lambda x: x * (simd.polynomial(x * x, p) / simd.polynomial(x * x, q))


@inline
def erf_vector(x):
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    z = simd.minimum(6.3, simd.absolute(x))  # beyond, it is 1 to the last bit
    far = 1.0 - _erfcx(z) * simd.exp_of_difference(-(z * z))
    return simd.select(z < 1.0, _erf_near_zero(x), simd.copysign(far, x))


@inline
def _normal(x):
    """The normal distribution: (its cumulative function Phi(x), exp(-x^2 / 2))."""
    z = simd.minimum(40.0, simd.absolute(x))
    bell = simd.exp_of_difference(z * z * -0.5)
    tail = _erfcx(z * math.sqrt(0.5)) * (bell * 0.5)
    return simd.select(x > 0.0, 1.0 - tail, tail), bell


@inline
def gelu_vector(x):
    """x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2 (Hendrycks and Gimpel 2016)."""
    return x * _normal(x)[0]


@inline
def gelu_derivative(x):
    """Phi(x) + x Phi'(x)"""
    phi, bell = _normal(x)
    return simd.fma(x * (1 / math.sqrt(2 * math.pi)), bell, phi)


# ------------------------------------------------------------------ sigmoid and what is made of it


@inline
def sigmoid_vector(x):
    """1 / (1 + exp(-x))"""
    return 1.0 / (1.0 + simd.exp_beside_one(-x))


@inline
def sigmoid_and_rest(x):
    """(s, 1 - s): no overflow, no cancellation. Where s < 1e-38 it is 1e-38."""
    e = simd.minimum(1e38, simd.exp_beside_one(-x))
    s = 1.0 / (1.0 + e)
    return s, e * s


@inline
def clipped(x, limit):
    return simd.minimum(limit, simd.maximum(-limit, x))  # NaN stays NaN


@inline
def silu_vector(x):
    """x sigmoid(x)"""
    return x / (1.0 + simd.exp_beside_one(-x))


@inline
def silu_derivative(x):
    """s (1 + x (1 - s)), s = sigmoid(x)"""
    s, rest = sigmoid_and_rest(x)
    return s * simd.fma(clipped(x, 87.0), rest, 1.0)


_A = 2 * math.sqrt(2 / math.pi)
_B = _A * 0.044715
keep("gelu", _A, _B, 3 * _B, 1 / math.sqrt(2 * math.pi), -0.5, 1e38, 10.0, -10.0)


@inline
def gelu_tanh_vector(x):
    """x (1 + tanh u) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x / (1.0 + simd.exp_beside_one(-x * simd.fma(x * x, _B, _A)))


@inline
def gelu_tanh_derivative(x):
    """s (1 + x (1 - s) 2 u'), s = sigmoid(2 u)"""
    s, rest = sigmoid_and_rest(x * simd.fma(x * x, _B, _A))
    x = clipped(x, 10.0)  # |2 u| = 87 there
    return s * simd.fma(x * rest, simd.fma(x * x, 3 * _B, _A), 1.0)


# ------------------------------------------------------------------------------------ tanh and relu

# (tanh(x) - x) / x^3 in powers of x^2 for |x| < 0.625: Cephes, tanhf and tanh.
_TANH_32 = (
    -3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2, 2.06390887954e-2, -5.70498872745e-3,
)  # fmt: skip
_TANH_64 = (
    (-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1),
    (4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2, 1.0),
)


def _tanh_near_zero(x):
    raise NotImplementedError


@simd.overload(_tanh_near_zero)
def _(x):
    if x.dtype.bitwidth == 32:
        return lambda x: simd.fma(x * (x * x), simd.polynomial(x * x, _TANH_32), x)
    p, q = _TANH_64
    return lambda x: simd.fma(x * (x * x), simd.polynomial(x * x, p) / simd.polynomial(x * x, q), x)


@inline
def tanh_vector(x):
    """1 - 2 / (exp(2 |x|) + 1) with the sign of x; near 0, where that cancels, x + x^3 p(x^2)."""
    z = simd.absolute(x)
    far = simd.copysign(1.0 - 2.0 / (simd.exp(z + z) + 1.0), x)
    return simd.select(z < 0.625, _tanh_near_zero(x), far)


@inline
def relu_vector(x):
    """max(0, x)"""
    return simd.maximum(0.0, x)


@inline
def relu_squared_vector(x):
    """max(0, x)^2 (So et al. 2021, Primer)"""
    r = simd.maximum(0.0, x)
    return r * r


@inline
def relu_squared_derivative(x):
    """2 max(0, x)"""
    return 2.0 * simd.maximum(0.0, x)


@inline
def swiglu_vector(gate, up):
    """silu(gate) up (Shazeer 2020)"""
    return silu_vector(gate) * up
