"""The gradient of an embedding: rows of g added where the id of each points."""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline, kernel, parallel_for

Array = np.ndarray

STRIP = 64  # columns that a task takes: long enough to stream, and enough tasks for some threads
SMALL = 1 << 14  # elements below which a second thread does not pay for its launch


@inline
def _strip(task, g, ids, gw, columns, strip):
    """All rows in ascending order, for a strip of columns that no other task writes."""
    w = simd.lanes(g)
    begin, end = task * strip, min(columns, (task + 1) * strip)
    for r in range(len(ids)):
        source, target = r * columns, ids[r] * columns
        i = begin
        while i + w <= end:
            v = simd.load(gw, target + i) + simd.load(g, source + i)
            simd.store(gw, target + i, v)
            i += w
        if i < end:
            zero = simd.zero(g)
            v = simd.load_part(gw, target + i, end - i, zero)
            v = v + simd.load_part(g, source + i, end - i, zero)
            simd.store_part(gw, target + i, end - i, v)


@kernel
def _embedding_backward(g, ids, gw, columns):
    strip = STRIP if g.size > SMALL else columns
    parallel_for(_strip, (columns + strip - 1) // strip, (g, ids, gw, columns, strip))


def embedding_backward_(gw: Array, g: Array, ids: Array) -> None:
    """gw[v] += g[r] for all r with ids[r] = v, in ascending order of r; gw is overwritten.

    g (R, C), ids (R) int64 within [0, V), gw (V, C) contiguous.
    """
    if g.size:
        _embedding_backward(g.ravel(), ids, gw.ravel(), g.shape[1])
