"""Activations, elementwise: gelu, silu, relu, sigmoid, tanh, swiglu, erf, and their gradients.

    <name>(x)                          any shape -> the same shape
    <name>_backward(g, x) or (g, y)    g times the derivative; from the output y where that suffices

Each activation is a function on a vector (`gelu_vector(v)`, `gelu_derivative(v)`, ...), and the
kernels here only walk over arrays with it. An epilogue of another kernel that calls the same
function gives the same bits.

Formulas that cancel are avoided: 1 + erf(x / sqrt 2) and 1 + tanh(u) lose all digits in the left
tail, 1 - s in the right one. Here Phi(x), sigmoid(2 u) and exp(-x) s stand in their place.
"""

from __future__ import annotations

import math

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline, kernel, parallel_for

Array = np.ndarray

BLOCK = 1 << 14  # elements that a task takes, or a multiple of it
SMALL = 1 << 15  # elements below which a second thread does not pay for its launch

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
    z = simd.minimum(30.0, simd.absolute(x))
    far = 1.0 - _erfcx(z) * simd.exp(-(z * z))
    return simd.select(z < 1.0, _erf_near_zero(x), simd.copysign(far, x))


@inline
def _normal(x):
    """The normal distribution: (its cumulative function Phi(x), exp(-x^2 / 2))."""
    z = simd.minimum(40.0, simd.absolute(x))
    bell = simd.exp(z * z * -0.5)
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
    return 1.0 / (1.0 + simd.exp(-x))


@inline
def _sigmoid_and_rest(x):
    """(s, 1 - s) for |x| < 88: no overflow, no cancellation."""
    e = simd.exp(-x)
    s = 1.0 / (1.0 + e)
    return s, e * s


@inline
def sigmoid_derivative(x):
    """s (1 - s)"""
    s, rest = _sigmoid_and_rest(_clipped(x, 87.0))
    return s * rest


@inline
def _clipped(x, limit):
    return simd.minimum(limit, simd.maximum(-limit, x))  # NaN stays NaN


@inline
def silu_vector(x):
    """x sigmoid(x)"""
    return x / (1.0 + simd.exp(-x))


@inline
def silu_derivative(x):
    """s (1 + x (1 - s)), s = sigmoid(x)"""
    x = _clipped(x, 87.0)
    s, rest = _sigmoid_and_rest(x)
    return s * simd.fma(x, rest, 1.0)


_A = 2 * math.sqrt(2 / math.pi)
_B = _A * 0.044715


@inline
def gelu_tanh_vector(x):
    """x (1 + tanh u) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x / (1.0 + simd.exp(-x * simd.fma(x * x, _B, _A)))


@inline
def gelu_tanh_derivative(x):
    """s (1 + x (1 - s) 2 u'), s = sigmoid(2 u)"""
    x = _clipped(x, 10.0)  # |2 u| = 87 there
    square = x * x
    s, rest = _sigmoid_and_rest(x * simd.fma(square, _B, _A))
    return s * simd.fma(x * rest, simd.fma(square, 3 * _B, _A), 1.0)


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
def tanh_derivative(x):
    """1 - tanh(x)^2"""
    y = tanh_vector(x)
    return simd.fma(-y, y, 1.0)


@inline
def relu_vector(x):
    """max(0, x)"""
    return simd.maximum(0.0, x)


@inline
def relu_derivative(x):
    """0 where x <= 0, else 1"""
    return simd.select(x <= 0.0, simd.zero(x), 1.0)


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


# -------------------------------------------------------------------------------- walks over arrays


@inline
def _span(n):
    """Elements that a task takes: of large arrays more, 64 KB are too short a run for prefetching."""
    return n if n <= SMALL else BLOCK * max(1, n // (32 * BLOCK))


def _map(function):
    """The kernel y = function(x), elementwise, on flat arrays."""

    @inline
    def block(task, x, y, span):
        w = simd.lanes(x)
        i, stop = task * span, min(x.size, (task + 1) * span)
        while i + w <= stop:
            simd.store(y, i, function(simd.load(x, i)))
            i += w
        if i < stop:  # the tail goes through the same vector code
            v = simd.load_part(x, i, stop - i, simd.zero(x))
            simd.store_part(y, i, stop - i, function(v))

    @kernel
    def walk(x, y):
        span = _span(x.size)
        parallel_for(block, (x.size + span - 1) // span, (x, y, span))

    return walk


def _map2(function):
    """The kernel y = function(a, b), elementwise, on flat arrays."""

    @inline
    def block(task, a, b, y, span):
        w = simd.lanes(a)
        i, stop = task * span, min(a.size, (task + 1) * span)
        while i + w <= stop:
            simd.store(y, i, function(simd.load(a, i), simd.load(b, i)))
            i += w
        if i < stop:
            u = simd.load_part(a, i, stop - i, simd.zero(a))
            v = simd.load_part(b, i, stop - i, simd.zero(b))
            simd.store_part(y, i, stop - i, function(u, v))

    @kernel
    def walk(a, b, y):
        span = _span(a.size)
        parallel_for(block, (a.size + span - 1) // span, (a, b, y, span))

    return walk


def _times(derivative):
    """(g, x) -> g derivative(x)"""

    @inline
    def product(g, x):
        return g * derivative(x)

    return product


def _run(walk, *inputs):
    """Walk over inputs of one shape, in whatever layout, into a new array."""
    y = np.empty(inputs[0].shape, inputs[0].dtype)
    if y.size:
        walk(*[x.ravel() for x in inputs], y.ravel())
    return y


# --------------------------------------------------------------------------------------- for Python

_erf = _map(erf_vector)
_gelu, _gelu_backward = _map(gelu_vector), _map2(_times(gelu_derivative))
_gelu_tanh, _gelu_tanh_backward = _map(gelu_tanh_vector), _map2(_times(gelu_tanh_derivative))
_silu, _silu_backward = _map(silu_vector), _map2(_times(silu_derivative))
_relu_squared = _map(relu_squared_vector)
_relu_squared_backward = _map2(_times(relu_squared_derivative))
_sigmoid, _tanh, _relu = _map(sigmoid_vector), _map(tanh_vector), _map(relu_vector)
_swiglu = _map2(swiglu_vector)


def erf(x: Array) -> Array:
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return _run(_erf, x)


def gelu(x: Array) -> Array:
    """x (1 + erf(x / sqrt 2)) / 2"""
    return _run(_gelu, x)


def gelu_backward(g: Array, x: Array) -> Array:
    """g (Phi(x) + x Phi'(x))"""
    return _run(_gelu_backward, g, x)


def gelu_tanh(x: Array) -> Array:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2"""
    return _run(_gelu_tanh, x)


def gelu_tanh_backward(g: Array, x: Array) -> Array:
    """g times the derivative of gelu_tanh at x."""
    return _run(_gelu_tanh_backward, g, x)


def silu(x: Array) -> Array:
    """x / (1 + exp(-x))"""
    return _run(_silu, x)


def silu_backward(g: Array, x: Array) -> Array:
    """g s (1 + x (1 - s)), s = sigmoid(x)"""
    return _run(_silu_backward, g, x)


def relu_squared(x: Array) -> Array:
    """max(0, x)^2"""
    return _run(_relu_squared, x)


def relu_squared_backward(g: Array, x: Array) -> Array:
    """2 g max(0, x)"""
    return _run(_relu_squared_backward, g, x)


def relu(x: Array) -> Array:
    """max(0, x)"""
    return _run(_relu, x)


@_map2
@inline
def _relu_backward(g, y):
    return simd.select(y <= 0.0, 0.0, g)


def relu_backward(g: Array, y: Array) -> Array:
    """0 where the output y <= 0, else g"""
    return _run(_relu_backward, g, y)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))"""
    return _run(_sigmoid, x)


@_map2
@inline
def _sigmoid_backward(g, y):
    return g * y * (1.0 - y)


def sigmoid_backward(g: Array, y: Array) -> Array:
    """g y (1 - y), y the output"""
    return _run(_sigmoid_backward, g, y)


def tanh(x: Array) -> Array:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))"""
    return _run(_tanh, x)


@_map2
@inline
def _tanh_backward(g, y):
    return g * simd.fma(-y, y, 1.0)


def tanh_backward(g: Array, y: Array) -> Array:
    """g (1 - y^2), y the output"""
    return _run(_tanh_backward, g, y)


@inline
def _masked_block(task, x, kept, factor, y, span):
    # On slices, whose indices cannot be negative, LLVM vectorizes the loop: 5 times as fast.
    start, stop = task * span, min(x.size, (task + 1) * span)
    x, kept, y = x[start:stop], kept[start:stop], y[start:stop]
    for i in range(len(x)):
        y[i] = x[i] * factor if kept[i] else x.dtype.type(0)


@kernel
def _masked(x, kept, factor, y):
    span = _span(x.size)
    parallel_for(_masked_block, (x.size + span - 1) // span, (x, kept, factor, y, span))


def masked(x: Array, kept: Array, factor: float) -> Array:
    """x factor where kept, else 0: what dropout does. kept is bool, of x's shape."""
    y = np.empty(x.shape, x.dtype)
    if y.size:
        _masked(x.ravel(), kept.ravel(), x.dtype.type(factor), y.ravel())
    return y


def swiglu(gate: Array, up: Array) -> Array:
    """silu(gate) up"""
    return _run(_swiglu, gate, up)


@inline
def _swiglu_gradients(g, gate, up):
    near = _clipped(gate, 87.0)
    s, rest = _sigmoid_and_rest(near)
    return g * up * (s * simd.fma(near, rest, 1.0)), g * (gate * s)


@inline
def _swiglu_backward_block(task, g, gate, up, ggate, gup, span):
    w = simd.lanes(g)
    i, stop = task * span, min(g.size, (task + 1) * span)
    while i + w <= stop:
        a, b = _swiglu_gradients(simd.load(g, i), simd.load(gate, i), simd.load(up, i))
        simd.store(ggate, i, a)
        simd.store(gup, i, b)
        i += w
    if i < stop:
        zero, n = simd.zero(g), stop - i
        a, b = _swiglu_gradients(
            simd.load_part(g, i, n, zero),
            simd.load_part(gate, i, n, zero),
            simd.load_part(up, i, n, zero),
        )
        simd.store_part(ggate, i, n, a)
        simd.store_part(gup, i, n, b)


@kernel
def _swiglu_backward(g, gate, up, ggate, gup):
    span = _span(g.size)
    tasks = (g.size + span - 1) // span
    parallel_for(_swiglu_backward_block, tasks, (g, gate, up, ggate, gup, span))


def swiglu_backward(g: Array, gate: Array, up: Array) -> tuple[Array, Array]:
    """(g up silu'(gate), g silu(gate)): the gradients of gate and up."""
    ggate, gup = np.empty(g.shape, g.dtype), np.empty(g.shape, g.dtype)
    if g.size:
        _swiglu_backward(g.ravel(), gate.ravel(), up.ravel(), ggate.ravel(), gup.ravel())
    return ggate, gup
