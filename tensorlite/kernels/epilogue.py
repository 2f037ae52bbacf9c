"""What follows a product on each of its tiles, while that is in L1: activations, both ways.

They are the functions of the stand-alone kernels, so they give the same bits. One kernel serves
all, told by a number which: a product compiled for each would take seconds more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensorlite.kernels import activation, activation_vectors as vectors, simd
from tensorlite.kernels.activation import times
from tensorlite.kernels.jit import inline

Array = np.ndarray

# An activation's number is its place; 0 is none, and the negative number its reverse.
ACTIVATIONS = ("", "gelu", "gelu_tanh", "relu", "relu_squared", "silu")


@inline
def _relu_pulled_back(g, x):
    return simd.select(vectors.relu_vector(x) <= 0.0, 0.0, g)


def _pass(f, pull_back):
    """What `finish` does for one activation: choosing it for each vector would cost half of it."""

    @inline
    def over_vector(forward, c, here, n, pre, y):
        zero = simd.zero(c)
        v = simd.take(c, here, n, zero)
        if forward:
            simd.put(y, here, n, f(v))
        else:
            x = simd.take(pre, here, n, zero)
            simd.put(c, here, n, pull_back(v, x))
            simd.put(y, here, n, f(x))

    @inline
    def over_tile(forward, c, at, stride, rows, columns, pre, y):
        w = simd.lanes(c)
        for r in range(rows):
            here, n = at + r * stride, columns
            while n >= w:  # without checks: gradients .94 to .97 of the time
                over_vector(forward, c, here, w, pre, y)
                here += w
                n -= w
            if n > 0:
                over_vector(forward, c, here, n, pre, y)

    return over_tile


_gelu = _pass(vectors.gelu_vector, times(vectors.gelu_derivative))
_gelu_tanh = _pass(vectors.gelu_tanh_vector, times(vectors.gelu_tanh_derivative))
_relu = _pass(vectors.relu_vector, _relu_pulled_back)
_relu_squared = _pass(vectors.relu_squared_vector, times(vectors.relu_squared_derivative))
_silu = _pass(vectors.silu_vector, times(vectors.silu_derivative))


@inline
def finish(after, c, at, stride, rows, columns, pre, y):
    """after > 0: y = f(c). after < 0: c = c f'(pre), y = f(pre). f is the activation of its number;
    of c, pre and y the tile rows x columns at `at`."""
    number = abs(after)
    if number == 1:
        _gelu(after > 0, c, at, stride, rows, columns, pre, y)
    elif number == 2:
        _gelu_tanh(after > 0, c, at, stride, rows, columns, pre, y)
    elif number == 3:
        _relu(after > 0, c, at, stride, rows, columns, pre, y)
    elif number == 4:
        _relu_squared(after > 0, c, at, stride, rows, columns, pre, y)
    else:
        _silu(after > 0, c, at, stride, rows, columns, pre, y)


def alone(name: str) -> Callable[[Array], Array]:
    """The kernel x -> f(x)."""
    function: Any = getattr(activation, name)
    return function


def alone_backward(name: str) -> Callable[[Array, Array], Array]:
    """The kernel (g, x) -> g f'(x)."""
    if name == "relu":  # its kernel reads the output
        return lambda g, x: activation.relu_backward(g, activation.relu(x))
    function: Any = getattr(activation, f"{name}_backward")
    return function
