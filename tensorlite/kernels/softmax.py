"""softmax, log_softmax and logsumexp of the rows of a matrix, and their gradients.

A row is one thread's. Its sums run in vectors of partial sums, added as a tree, in an order that
depends on the row's length alone; the tail is padded with what does not count (-inf, whose
exponential is 0; or 0) and goes through the same code. So a row has the same bits alone and among
others.

As in PyTorch, -inf means "not there", and a row of nothing but -inf gives NaN.
"""

from __future__ import annotations

import math

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import allocating, inline, kernel, parallel_for
from tensorlite.kernels.reduce import sum_of

Array = np.ndarray

TASK = 1 << 14  # elements that a task takes, or more
SMALL = 1 << 15  # elements below which a second thread does not pay for its launch


@inline
def _rows_per_task(rows, n):
    """Of large matrices more: 64 KB are a short run for the processor's prefetching."""
    return rows if rows * n <= SMALL else max(1, TASK // n, rows // 32)


@inline
def _largest(x, start, stop):
    """max(x[start:stop]); NaN is passed over, it will show in the sum."""
    w = simd.lanes(x)
    low = simd.splat(x.dtype.type(-np.inf))
    top, other = low, low
    i = start
    while i + 2 * w <= stop:  # two chains: one would wait for itself
        top = simd.maximum(simd.load(x, i), top)
        other = simd.maximum(simd.load(x, i + w), other)
        i += 2 * w
    while i < stop:
        top = simd.maximum(simd.take(x, i, stop - i, low), top)
        i += w
    return simd.largest(simd.maximum(top, other))


def _walk(function):
    """The kernel that runs function(task, x, y, rows, n, run) over the rows of x, into y."""

    @kernel
    def walk(x, y, rows, n):
        run = _rows_per_task(rows, n)
        parallel_for(function, (rows + run - 1) // run, (x, y, rows, n, run))

    return walk


def _walk_back(function):
    """The kernel that runs function(task, g, y, gx, rows, n, run) over rows, into gx."""

    @kernel
    def walk_back(g, y, gx, rows, n):
        run = _rows_per_task(rows, n)
        parallel_for(function, (rows + run - 1) // run, (g, y, gx, rows, n, run))

    return walk_back


# ----------------------------------------------------------------------------------------- softmax


@inline
def _write(y, to, end, past, e, at, share):
    """y[to:] = share e[at:], of as many elements as can be written at once; how many that were."""
    m = simd.stretch(y, to, end, past)
    simd.put_past(y, to, m, simd.load(e, at) * share, past)
    return m


@_walk
@allocating
def _softmax(task, x, y, rows, n, run):
    w = simd.lanes(x)
    low = simd.splat(x.dtype.type(-np.inf))
    past = y.size > simd.FAR
    ahead = max(n, simd.AHEAD)
    # The exponentials of two rows, in turn; y itself would be fetched, only to be written over. A
    # row is written while those of the next are computed, for memory would idle, and then the
    # processor (4,096 x 1,024 on one thread: 1.1 -> .82 ms).
    apart = (n + w + 255) // 256 * 256  # as arrays lie (memory.py), or loads wait for stores
    e = simd.scratch(x, 2 * apart)
    share = x.dtype.type(0)
    to = end = back = 0  # where the row before goes, and how far from there its exponentials are
    for r in range(task * run, min(rows, (task + 1) * run)):
        start, stop = r * n, (r + 1) * n
        here = r % 2 * apart - start
        top = _largest(x, start, stop)
        s = simd.zero(x)
        if to < end:
            to += _write(y, to, end, past, e, back + to, share)
        i = start
        while i + w <= stop:
            simd.prefetch_to_l2(x, i + ahead)  # of a next row: 1.38 -> 1.1 ms at 4,096 x 1,024
            v = simd.exp_of_difference(simd.load(x, i) - top)
            simd.store(e, here + i, v)
            s += v
            i += w
            if to + w <= end:  # whole and aligned: with checks, a fifth more time
                simd.put_past(y, to, w, simd.load(e, back + to) * share, past)
                to += w
        if i < stop:
            v = simd.exp_of_difference(simd.load_part(x, i, stop - i, low) - top)
            simd.store(e, here + i, v)
            s += v
        while to < end:
            to += _write(y, to, end, past, e, back + to, share)
        share = x.dtype.type(1) / simd.total(s)
        to, end, back = start, stop, here
    while to < end:
        to += _write(y, to, end, past, e, back + to, share)


def softmax(x: Array) -> Array:
    """y = exp(x - max) / sum(exp(x - max)) in each row: (R, N) -> (R, N)."""
    y = np.empty(x.shape, x.dtype)
    if y.size:
        _softmax(x.ravel(), y.ravel(), *x.shape)
    return y


@_walk_back
@inline
def _softmax_backward(task, g, y, gx, rows, n, run):
    w = simd.lanes(g)
    past = gx.size > simd.FAR
    zero = simd.zero(g)
    for r in range(task * run, min(rows, (task + 1) * run)):
        start, stop = r * n, (r + 1) * n
        s = zero
        i = start
        while i + w <= stop:
            s = simd.fma(simd.load(g, i), simd.load(y, i), s)
            i += w
        if i < stop:
            m = stop - i
            s = simd.fma(simd.load_part(g, i, m, zero), simd.load_part(y, i, m, zero), s)
        mean = simd.total(s)
        i = start
        while i < stop:
            m = simd.stretch(gx, i, stop, past)
            v = simd.take(y, i, m, zero) * (simd.take(g, i, m, zero) - mean)
            simd.put_past(gx, i, m, v, past)
            i += m
            while i + w <= stop:
                v = simd.load(y, i) * (simd.load(g, i) - mean)
                simd.put_past(gx, i, w, v, past)
                i += w


def softmax_backward(g: Array, y: Array) -> Array:
    """gx = y (g - sum(g y)) in each row, y the output: (R, N), (R, N) -> (R, N)."""
    gx = np.empty(y.shape, y.dtype)
    if gx.size:
        _softmax_backward(g.ravel(), y.ravel(), gx.ravel(), *y.shape)
    return gx


# -------------------------------------------------------------------------- log_softmax, logsumexp


@inline
def _log_sum_exp(x, start, stop, top):
    """log(sum(exp(x[start:stop] - top)))"""
    w = simd.lanes(x)
    low = simd.splat(x.dtype.type(-np.inf))
    s = simd.zero(x)
    for i in range(start, stop, w):
        s += simd.exp_of_difference(simd.take(x, i, stop - i, low) - top)
    return math.log(simd.total(s))


@_walk
@inline
def _log_softmax(task, x, y, rows, n, run):
    w = simd.lanes(x)
    zero = simd.zero(x)
    for r in range(task * run, min(rows, (task + 1) * run)):
        start, stop = r * n, (r + 1) * n
        top = _largest(x, start, stop)
        rest = _log_sum_exp(x, start, stop, top)
        for i in range(start, stop, w):
            # Not x - (top + rest): that sum would drop the digits of rest where top is large.
            simd.put(y, i, stop - i, simd.take(x, i, stop - i, zero) - top - rest)


def log_softmax(x: Array) -> Array:
    """y = x - max - log(sum(exp(x - max))) in each row: (R, N) -> (R, N)."""
    y = np.empty(x.shape, x.dtype)
    if y.size:
        _log_softmax(x.ravel(), y.ravel(), *x.shape)
    return y


@_walk_back
@inline
def _log_softmax_backward(task, g, y, gx, rows, n, run):
    w = simd.lanes(g)
    zero = simd.zero(g)
    for r in range(task * run, min(rows, (task + 1) * run)):
        start, stop = r * n, (r + 1) * n
        whole = sum_of(g, start, stop)
        for i in range(start, stop, w):
            m = stop - i
            p = simd.exp_of_difference(simd.take(y, i, m, zero))
            simd.put(gx, i, m, simd.fma(p, -whole, simd.take(g, i, m, zero)))


def log_softmax_backward(g: Array, y: Array) -> Array:
    """gx = g - exp(y) sum(g) in each row, y the output: (R, N), (R, N) -> (R, N)."""
    gx = np.empty(y.shape, y.dtype)
    if gx.size:
        _log_softmax_backward(g.ravel(), y.ravel(), gx.ravel(), *y.shape)
    return gx


@_walk
@inline
def _logsumexp(task, x, y, rows, n, run):
    for r in range(task * run, min(rows, (task + 1) * run)):
        start, stop = r * n, (r + 1) * n
        top = _largest(x, start, stop)
        if math.isinf(top):  # x - top has no value; nothing is there, or something infinite, or NaN
            s = 0.0
            for i in range(start, stop):
                s += math.exp(x[i])
            y[r] = math.log(s)
        else:
            y[r] = top + _log_sum_exp(x, start, stop, top)


def logsumexp(x: Array) -> Array:
    """y = log(sum(exp(x))) of each row, without overflow: (R, N) -> (R)."""
    y = np.full(x.shape[0], -np.inf, x.dtype)
    if x.size:
        _logsumexp(x.ravel(), y, *x.shape)
    return y
