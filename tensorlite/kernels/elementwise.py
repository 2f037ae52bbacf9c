"""Walks over arrays, element by element, on all threads; and arithmetic for large ones.

`unary` and `binary` make the kernel of a function of vectors. What is small NumPy adds as fast.
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline, kernel, parallel_for

Array = np.ndarray

BLOCK = 1 << 14  # elements that a task takes, or a multiple of it
SMALL = 1 << 15  # elements below which a second thread does not pay for its launch


@inline
def span_of(n):
    """Elements that a task takes; of large arrays more: 64 KB are a short run for prefetching."""
    return n if n <= SMALL else BLOCK * max(1, n // (32 * BLOCK))


def unary(function):
    """The kernel y = function(x), elementwise, on flat arrays."""

    @inline
    def block(task, x, y, span):
        zero = simd.zero(x)
        i, stop = task * span, min(x.size, (task + 1) * span)
        past = y.size > simd.FAR
        while i < stop:
            n = simd.stretch(y, i, stop, past)
            simd.put_past(y, i, n, function(simd.take(x, i, n, zero)), past)
            i += n

    @kernel
    def walk(x, y):
        span = span_of(x.size)
        parallel_for(block, (x.size + span - 1) // span, (x, y, span))

    return walk


def binary(function):
    """The kernel y = function(a, b), elementwise, on flat arrays."""

    @inline
    def block(task, a, b, y, span):
        zero = simd.zero(a)
        i, stop = task * span, min(a.size, (task + 1) * span)
        # A result that is one of the operands has been fetched anyway.
        own = simd.address(y) != simd.address(a) and simd.address(y) != simd.address(b)
        past = own and y.size > simd.FAR
        while i < stop:
            n = simd.stretch(y, i, stop, past)
            v = function(simd.take(a, i, n, zero), simd.take(b, i, n, zero))
            simd.put_past(y, i, n, v, past)
            i += n

    @kernel
    def walk(a, b, y):
        span = span_of(a.size)
        parallel_for(block, (a.size + span - 1) // span, (a, b, y, span))

    return walk


@binary
@inline
def _add(x, y):
    return x + y


def add(x: Array, y: Array, out: Array | None = None) -> Array:
    """x + y of one shape and type, into out where it is given (x or y may be it)."""
    plain = x.dtype == y.dtype and x.dtype.kind == "f"
    if x.size > SMALL and plain and x.flags.c_contiguous and y.flags.c_contiguous:
        z = np.empty(x.shape, x.dtype) if out is None else out
        if z.flags.c_contiguous:
            _add(x.ravel(), y.ravel(), z.ravel())
            return z
    return np.add(x, y, out)
