"""Activations, elementwise: gelu, silu, relu, sigmoid, tanh, swiglu, erf, and their gradients.

    <name>(x)                          any shape -> the same shape
    <name>_backward(g, x) or (g, y)    g times the derivative; from the output y where that suffices

The functions themselves are in activation_vectors.py; here is what walks over arrays with them.
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import activation_vectors as vectors, simd
from tensorlite.kernels.elementwise import binary, span_of, unary
from tensorlite.kernels.jit import inline, kernel, parallel_for

Array = np.ndarray

# -------------------------------------------------------------------------------- walks over arrays


def times(derivative):
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

_erf = unary(vectors.erf_vector)
_gelu = unary(vectors.gelu_vector)
_gelu_backward = binary(times(vectors.gelu_derivative))
_gelu_tanh = unary(vectors.gelu_tanh_vector)
_gelu_tanh_backward = binary(times(vectors.gelu_tanh_derivative))
_silu = unary(vectors.silu_vector)
_silu_backward = binary(times(vectors.silu_derivative))
_relu = unary(vectors.relu_vector)
_relu_squared = unary(vectors.relu_squared_vector)
_relu_squared_backward = binary(times(vectors.relu_squared_derivative))
_sigmoid = unary(vectors.sigmoid_vector)
_tanh = unary(vectors.tanh_vector)
_swiglu = binary(vectors.swiglu_vector)


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


@binary
@inline
def _relu_backward(g, y):
    return simd.select(y <= 0.0, 0.0, g)


def relu_backward(g: Array, y: Array) -> Array:
    """0 where the output y <= 0, else g"""
    return _run(_relu_backward, g, y)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))"""
    return _run(_sigmoid, x)


@binary
@inline
def _sigmoid_backward(g, y):
    return g * y * (1.0 - y)


def sigmoid_backward(g: Array, y: Array) -> Array:
    """g y (1 - y), y the output"""
    return _run(_sigmoid_backward, g, y)


def tanh(x: Array) -> Array:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))"""
    return _run(_tanh, x)


@binary
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
    span = span_of(x.size)
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
    near = vectors.clipped(gate, 87.0)
    s, rest = vectors.sigmoid_and_rest(near)
    return g * up * (s * simd.fma(near, rest, 1.0)), g * (gate * s)


@inline
def _swiglu_backward_block(task, g, gate, up, ggate, gup, span):
    w = simd.lanes(g)
    i, stop = task * span, min(g.size, (task + 1) * span)
    while i + w <= stop:
        simd.prefetch(g, i + simd.AHEAD)
        simd.prefetch(gate, i + simd.AHEAD)
        simd.prefetch(up, i + simd.AHEAD)
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
    span = span_of(g.size)
    tasks = (g.size + span - 1) // span
    parallel_for(_swiglu_backward_block, tasks, (g, gate, up, ggate, gup, span))


def swiglu_backward(g: Array, gate: Array, up: Array) -> tuple[Array, Array]:
    """(g up silu'(gate), g silu(gate)): the gradients of gate and up."""
    ggate, gup = np.empty(g.shape, g.dtype), np.empty(g.shape, g.dtype)
    if g.size:
        _swiglu_backward(g.ravel(), gate.ravel(), up.ravel(), ggate.ravel(), gup.ravel())
    return ggate, gup
