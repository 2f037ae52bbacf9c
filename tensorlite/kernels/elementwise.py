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
        span = span_of(x.size)
        parallel_for(block, (x.size + span - 1) // span, (x, y, span))

    return walk


def binary(function):
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
            _add(x.reshape(-1), y.reshape(-1), z.reshape(-1))
            return z
    return np.add(x, y, out)
