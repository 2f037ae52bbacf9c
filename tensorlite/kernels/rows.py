"""Rows where numbers point: an embedding's gradient and its like, and what a cache is to keep."""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline, kernel, parallel_for
from tensorlite.kernels.panels import located

Array = np.ndarray

STRIP = 64  # columns that a task takes: long enough to stream, and enough tasks for some threads
MANY = 1 << 14  # elements to be added that are worth compiling for
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
    """gw[v] += g[r] for all r with ids[r] = v, in ascending order of r.

    g (R, C), ids (R) int64 within [0, V), gw (V, C) contiguous, writeable and apart from g.
    """
    if g.size:
        _embedding_backward(g.ravel(), ids, gw.ravel(), g.shape[1])


def add_rows(x: Array, rows: Array, source: Array) -> bool:
    """x[rows[r]] += source[r] in ascending order of r: x (V, ...), rows any shape, source
    (*rows.shape, ...).

    False, with nothing done, where np.add.at is as quick, must complain, or must copy first: for
    few elements, other types or layouts, rows that are not there, or memory that the two share. To
    the bits of np.add.at (2,048 rows of 768: 27 -> .5 ms).
    """
    if (
        source.size < MANY or rows.dtype.kind != "i" or x.ndim < 2 or x.dtype.kind != "f"
        or source.dtype != x.dtype or source.shape != rows.shape + x.shape[1:]
        or not (x.flags.c_contiguous and x.flags.writeable) or np.may_share_memory(x, source)
    ):  # fmt: skip
        return False
    ids = rows.reshape(-1).astype(np.int64, copy=False)
    ids = np.where(ids < 0, ids + len(x), ids)
    if ids.min() < 0 or ids.max() >= len(x):
        return False
    g = np.ascontiguousarray(source).reshape(len(ids), -1)
    embedding_backward_(x.reshape(len(x), -1), g, ids)
    return True


@inline
def _put_head(task, x, xs, rows, source, ss, heads, count, room, width):
    batch, head = task // heads, task % heads
    to, start = batch * xs[0] + head * xs[1], batch * ss[0] + head * ss[1]
    w = simd.lanes(x)
    zero = simd.zero(x)
    for t in range(count):
        if 0 <= rows[t] < room:  # else nothing: a kernel writes into no other array
            for d in range(0, width, w):
                v = simd.take(source, start + t * ss[2] + d, width - d, zero)
                simd.put(x, to + rows[t] * xs[2] + d, width - d, v)


@kernel
def _put_rows(x, xs, rows, source, ss, sizes):
    batches, heads, count, room, width = sizes
    tasks = batches * heads
    arguments = (x, xs, rows, source, ss, heads, count, room, width)
    if tasks * count * width > SMALL:
        parallel_for(_put_head, tasks, arguments)
    else:
        for task in range(tasks):
            _put_head(task, *arguments)


def put_rows(x: Array, rows: Array, source: Array) -> bool:
    """x[:, :, rows[t]] = source[:, :, t], for ascending t: x (B, H, S, D), source (B, H, T, D).

    False, with nothing done, where the two are not of one floating type, or not apart in memory
    with contiguous rows.
    """
    if (
        x.dtype != source.dtype or x.dtype.kind != "f" or rows.dtype != np.int64
        or not rows.flags.c_contiguous
        or source.shape != (*x.shape[:2], len(rows), x.shape[3]) or source.size == 0
        or not x.strides[3] == source.strides[3] == x.itemsize
        or np.may_share_memory(x, source) or not x.flags.writeable
    ):  # fmt: skip
        return False
    (to, xs), (start, ss) = located(x), located(source)
    _put_rows(to, xs, rows, start, ss, (*source.shape[:3], x.shape[2], x.shape[3]))
    return True
