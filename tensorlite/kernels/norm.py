"""Layer norm and RMS norm of the rows of a matrix, and their gradients.

RMS norm is layer norm whose mean is taken to be 0; one pair of kernels serves both.
Forward, a row is one thread's. Backward goes over memory once: a task takes a block of BLOCK_ROWS
rows, writes their gx, and sums their share of the gradients of weight and bias; the shares are then
added in ascending order. So the bits depend neither on the threads nor, of y and gx, on the other
rows.

The last pass over a row, which finds it in the cache, asks for one of the rows to come: memory
would idle meanwhile. Layer norm and its gradient at 4,096 x 768 on one thread take 1.7 ms where
that is the very next row, 1.4 where it is 8 KB ahead. Backward asks for g in its first pass and for
x in its second, so that memory is busy in both (2.1 -> 1.75 ms on a Zen 4).

What may be None (weight, bias, mean) is left out of the kernel when Numba compiles it.
"""

from __future__ import annotations

import math

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline, kernel, parallel_for
from tensorlite.kernels.reduce import BLOCK_ROWS, sum_blocks, sum_of

Array = np.ndarray

TASK = 1 << 14  # elements that a task takes, or more
SMALL = 1 << 16  # elements below which a second thread does not pay for its launch


@inline
def _rows_per_task(rows, n):
    """Of large matrices more: 64 KB are a short run for the processor's prefetching."""
    return rows if rows * n <= SMALL else max(1, TASK // n, rows // 32)


@inline
def _sum_of_squares(x, start, stop, middle):
    """sum((x[start:stop] - middle)^2)"""
    w = simd.lanes(x)
    fill = simd.splat(middle)
    s0, s1 = simd.zero(x), simd.zero(x)
    i = start
    while i + 2 * w <= stop:
        d0, d1 = simd.load(x, i) - middle, simd.load(x, i + w) - middle
        s0, s1 = simd.fma(d0, d0, s0), simd.fma(d1, d1, s1)
        i += 2 * w
    while i < stop:
        d0 = simd.take(x, i, stop - i, fill) - middle
        s0 = simd.fma(d0, d0, s0)
        i += w
    return simd.total(s0 + s1)


@inline
def _affine(v, weight, bias, j, n):
    """v weight[j:] + bias[j:], n elements, for a weight and a bias that may be None."""
    if weight is not None:
        u = simd.take(weight, j, n, v)
        if bias is not None:
            return simd.fma(v, u, simd.take(bias, j, n, v))
        return v * u
    if bias is not None:
        return v + simd.take(bias, j, n, v)
    return v


# ------------------------------------------------------------------------------------------ kernels


@inline
def _norm_rows(task, x, weight, bias, eps, y, mean, rstd, rows, n, run):
    w, zero = simd.lanes(x), simd.zero(x)
    count = x.dtype.type(n)
    past = y.size > simd.FAR
    ahead = max(n, simd.AHEAD)
    for r in range(task * run, min(rows, (task + 1) * run)):
        start, stop = r * n, (r + 1) * n
        middle = x.dtype.type(0)
        if mean is not None:
            middle = sum_of(x, start, stop) / count
            mean[r] = middle
        scale = x.dtype.type(1) / math.sqrt(_sum_of_squares(x, start, stop, middle) / count + eps)
        rstd[r] = scale
        i = start
        while i < stop:
            m = simd.stretch(y, i, stop, past)
            v = (simd.take(x, i, m, zero) - middle) * scale
            simd.put_past(y, i, m, _affine(v, weight, bias, i - start, m), past)
            i += m
            while i + w <= stop:  # whole and aligned: without checks, .6 of the time
                simd.prefetch_to_l2(x, i + ahead)
                v = (simd.load(x, i) - middle) * scale
                simd.put_past(y, i, w, _affine(v, weight, bias, i - start, w), past)
                i += w


@kernel
def _norm(x, weight, bias, eps, y, mean, rstd, n):
    rows = len(rstd)
    run = _rows_per_task(rows, n)
    tasks = (rows + run - 1) // run
    parallel_for(_norm_rows, tasks, (x, weight, bias, eps, y, mean, rstd, rows, n, run))


# Of a row: h = (x - mean) rstd, gy = g weight. Both functions take m elements of it, from i on.


@inline
def _add_up(sums, g, x, weight, middle, scale, shares, start, i, m, share, n, kinds):
    """The sums of gy and of gy h go on; gw's share += g h, gb's += g."""
    zero, j = simd.zero(x), share + i - start
    u = simd.take(g, i, m, zero)
    h = (simd.take(x, i, m, simd.splat(middle)) - middle) * scale
    if kinds > 0:
        simd.put(shares, j, m, simd.fma(u, h, simd.take(shares, j, m, zero)))
    if kinds > 1:
        simd.put(shares, j + n, m, simd.take(shares, j + n, m, zero) + u)
    gy = _affine(u, weight, None, i - start, m)
    return sums[0] + gy, simd.fma(gy, h, sums[1])


@inline
def _gradient(g, x, weight, mean, middle, scale, start, i, m, a, b):
    """gx = rstd (gy - a - h b), a and b the means of gy and gy h; without a mean, without a."""
    zero = simd.zero(x)
    gy = _affine(simd.take(g, i, m, zero), weight, None, i - start, m)
    h = (simd.take(x, i, m, zero) - middle) * scale
    if mean is not None:
        gy = gy - a
    return simd.fma(h, -b, gy) * scale


@inline
def _norm_backward_blocks(task, g, x, weight, mean, rstd, gx, shares, rows, n, kinds, run):
    """The rows of `run` blocks; their shares[block, kind, n] of gw (kind 0) and gb (kind 1)."""
    w = simd.lanes(x)
    zero = simd.zero(x)
    count = x.dtype.type(n)
    past = gx.size > simd.FAR
    ahead = max(n, simd.AHEAD)
    for r in range(task * run * BLOCK_ROWS, min(rows, (task + 1) * run * BLOCK_ROWS)):
        start, stop = r * n, (r + 1) * n
        share = r // BLOCK_ROWS * kinds * n
        if r % BLOCK_ROWS == 0:
            for j in range(share, share + kinds * n):
                shares[j] = 0
        middle = x.dtype.type(0)
        if mean is not None:
            middle = mean[r]
        scale = rstd[r]
        # The sums of gy and gy h, and the shares of gw and gb, while the row comes in; then, from
        # the cache, gx.
        sums = zero, zero
        i = start
        while i + w <= stop:
            simd.prefetch_to_l2(g, i + ahead)
            sums = _add_up(sums, g, x, weight, middle, scale, shares, start, i, w, share, n, kinds)
            i += w
        if i < stop:
            m = stop - i
            sums = _add_up(sums, g, x, weight, middle, scale, shares, start, i, m, share, n, kinds)
        a, b = simd.total(sums[0]) / count, simd.total(sums[1]) / count
        i = start
        while i < stop:
            m = simd.stretch(gx, i, stop, past)
            v = _gradient(g, x, weight, mean, middle, scale, start, i, m, a, b)
            simd.put_past(gx, i, m, v, past)
            i += m
            while i + w <= stop:  # whole and aligned
                simd.prefetch_to_l2(x, i + ahead)
                v = _gradient(g, x, weight, mean, middle, scale, start, i, w, a, b)
                simd.put_past(gx, i, w, v, past)
                i += w


@kernel
def _norm_backward(g, x, weight, mean, rstd, gx, sums, n):
    rows, kinds = len(rstd), len(sums) // n
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    run = blocks if g.size <= SMALL else 1
    shares = np.empty(blocks * kinds * n, g.dtype)
    arguments = (g, x, weight, mean, rstd, gx, shares, rows, n, kinds, run)
    parallel_for(_norm_backward_blocks, (blocks + run - 1) // run, arguments)
    sum_blocks(shares, blocks, kinds * n, blocks, sums)


# --------------------------------------------------------------------------------------- for Python


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """y = (x - mean) rstd weight + bias in each row, rstd = 1 / sqrt(variance + eps).

    x (R, N), weight and bias (N) or None -> y (R, N), mean (R), rstd (R). Ba et al. 2016.
    """
    rows, n = x.shape
    y = np.empty(x.shape, x.dtype)
    mean, rstd = np.empty(rows, x.dtype), np.empty(rows, x.dtype)
    if y.size:
        gain, shift = _flat(weight), _flat(bias)
        _norm(x.ravel(), gain, shift, x.dtype.type(eps), y.ravel(), mean, rstd, n)
    return y, mean, rstd


def layer_norm_backward(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, bias: bool = True
) -> tuple[Array, Array | None, Array | None]:
    """The gradients of x, weight (None without a weight) and bias (None unless bias).

    With h = (x - mean) rstd and gy = g weight, row by row, gx = rstd (gy - avg(gy) - h avg(gy h));
    over the rows, gw = sum(g h) and gb = sum(g).
    """
    n = x.shape[1]
    gx = np.empty(x.shape, x.dtype)
    sums = np.zeros(n * (2 if bias else 0 if weight is None else 1), x.dtype)
    if gx.size:
        gain = _flat(weight)
        _norm_backward(g.ravel(), x.ravel(), gain, mean, rstd, gx.ravel(), sums, n)
    return gx, None if weight is None else sums[:n], sums[n:] if bias else None


def rms_norm(x: Array, weight: Array | None, eps: float) -> tuple[Array, Array]:
    """y = x rstd weight in each row, rstd = 1 / sqrt(avg(x^2) + eps).

    x (R, N), weight (N) or None -> y (R, N), rstd (R). Zhang and Sennrich 2019.
    """
    rows, n = x.shape
    y, rstd = np.empty(x.shape, x.dtype), np.empty(rows, x.dtype)
    if y.size:
        _norm(x.ravel(), _flat(weight), None, x.dtype.type(eps), y.ravel(), None, rstd, n)
    return y, rstd


def rms_norm_backward(
    g: Array, x: Array, weight: Array | None, rstd: Array
) -> tuple[Array, Array | None]:
    """The gradients of x and weight (None without one).

    With h = x rstd and gy = g weight, row by row, gx = rstd (gy - h avg(gy h)); over the rows,
    gw = sum(g h).
    """
    n = x.shape[1]
    gx = np.empty(x.shape, x.dtype)
    gw = np.zeros(0 if weight is None else n, x.dtype)
    if gx.size:
        _norm_backward(g.ravel(), x.ravel(), _flat(weight), None, rstd, gx.ravel(), gw, n)
    return gx, None if weight is None else gw


def _flat(parameter: Array | None) -> Array | None:
    return None if parameter is None else parameter.ravel()
