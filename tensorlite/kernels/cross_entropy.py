"""Cross-entropy of rows of logits, alone and fused with the projection that makes them.

    lse = log(sum_c exp(x_c)),   p_c = exp(x_c - lse)
    loss = (1 - s) (lse - x_t) + s mean_c(lse - x_c),   s the label smoothing, t the target
    dloss/dx_c = p_c - (1 - s) [c = t] - s / V

A row whose target is ignore_index has loss 0 and gradient 0. A row belongs to one thread; its sums
go into several vectors in turn, which are added as a tree.
"""

from __future__ import annotations

import math

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline, kernel, parallel_for
from tensorlite.kernels.matmul import product
from tensorlite.kernels.reduce import sum_of

Array = np.ndarray

ROWS = 8  # rows that a task takes
SMALL = 1 << 13  # logits below which a second thread does not pay for its launch
PIECE = 1 << 10  # logits between two looks at the running maximum; part of the result's definition
# Logits that exist at once in the fused loss: 64 MB of float32. Fewer rows at a time would read the
# weights, and read and write their gradient, more often than their products are worth (256 rows of
# GPT-2's loss at once, not 144 and 112: .9 of the time).
CHUNK = 1 << 24


@inline
def _largest_and_sum(x, at, n):
    """The largest element of a row, and the sum of all (for the smoothing)."""
    w = simd.lanes(x)
    zero = simd.zero(x)
    low = simd.splat(x.dtype.type(-np.inf))
    m0, m1, m2, m3 = low, low, low, low
    s0, s1, s2, s3 = zero, zero, zero, zero
    i = 0
    while i + 4 * w <= n:
        for j in range(0, 4 * w, w):
            simd.prefetch(x, at + i + simd.AHEAD + j)
        a, b = simd.load(x, at + i), simd.load(x, at + i + w)
        c, d = simd.load(x, at + i + 2 * w), simd.load(x, at + i + 3 * w)
        m0, m1 = simd.maximum(m0, a), simd.maximum(m1, b)
        m2, m3 = simd.maximum(m2, c), simd.maximum(m3, d)
        s0, s1, s2, s3 = s0 + a, s1 + b, s2 + c, s3 + d
        i += 4 * w
    while i < n:
        m0 = simd.maximum(m0, simd.load_part(x, at + i, n - i, low))
        s0 = s0 + simd.load_part(x, at + i, n - i, zero)
        i += w
    m = simd.maximum(simd.maximum(m0, m1), simd.maximum(m2, m3))
    return simd.largest(m), simd.total((s0 + s1) + (s2 + s3))


@inline
def _exponentials(x, y, at, n, largest, keep):
    """sum(exp(x - largest)) of a row; with keep, y becomes the exponentials."""
    w = simd.lanes(x)
    m, zero = simd.splat(largest), simd.zero(x)
    s0, s1 = zero, zero
    i = 0
    while i + w <= n:
        e = simd.exp_of_difference(simd.load(x, at + i) - m)
        if keep:
            simd.store(y, at + i, e)
        s0, s1 = s1, s0 + e
        i += w
    if i < n:
        e = simd.exp_of_difference(simd.load_part(x, at + i, n - i, zero) - m)
        if keep:
            simd.store_part(y, at + i, n - i, e)
        s0, s1 = s1, s0 + simd.select(simd.first(x, n - i), e, zero)
    return simd.total(s0 + s1)


@inline
def _affine(x, at, n, scale, shift):
    """x = scale x + shift over a row."""
    w = simd.lanes(x)
    a, b = simd.splat(scale), simd.splat(shift)
    i = 0
    while i + w <= n:
        simd.store(x, at + i, simd.fma(a, simd.load(x, at + i), b))
        i += w
    if i < n:
        v = simd.fma(a, simd.load_part(x, at + i, n - i, b), b)
        simd.store_part(x, at + i, n - i, v)


# ------------------------------------------------------------------------------- logits in memory


@inline
def _log_sum_exp(x, at, n):
    """A row's largest element and log(sum(exp(x - largest))). It is read from memory once: a piece
    is looked through for its largest element, and summed up while it is in L1. Meanwhile the next
    one is fetched: exponentials are too long for the processor to look ahead (256 x 50,257 on a
    Sapphire Rapids: .60 of the time on one thread, .70 on two)."""
    w = simd.lanes(x)
    low = simd.splat(x.dtype.type(-np.inf))
    top = x.dtype.type(-np.inf)
    s0, s1 = simd.zero(x), simd.zero(x)
    for piece in range(0, n, PIECE):
        end = min(n, piece + PIECE)
        m0, m1 = low, low
        for i in range(piece, end, w):
            m0, m1 = m1, simd.maximum(simd.take(x, at + i, end - i, low), m0)
        largest = simd.largest(simd.maximum(m0, m1))
        if largest > top:
            factor = simd.exp_of_difference(simd.splat(top - largest))
            s0, s1, top = s0 * factor, s1 * factor, largest
        base = top if top > -np.inf else x.dtype.type(0)
        for i in range(piece, end, w):
            simd.prefetch(x, at + i + PIECE)
            e = simd.exp_of_difference(simd.take(x, at + i, end - i, low) - base)
            s0, s1 = s1, s0 + e
    return top, math.log(simd.total(s0 + s1))


@inline
def _losses(task, x, targets, ignore_index, smoothing, losses, lse, rows):
    n = x.size // len(targets)
    s = smoothing[0]
    one, size = x.dtype.type(1), x.dtype.type(n)
    for r in range(task * rows, min(len(targets), (task + 1) * rows)):
        at, t = r * n, targets[r]
        losses[r] = lse[2 * r] = lse[2 * r + 1] = 0
        if t != ignore_index:
            top, rest = _log_sum_exp(x, at, n)
            lse[2 * r], lse[2 * r + 1] = top, rest
            losses[r] = (one - s) * (top - x[at + t] + rest)
            if s > 0:
                losses[r] += s * (top - sum_of(x, at, at + n) / size + rest)


@inline
def _gradients(task, g, x, targets, ignore_index, smoothing, lse, gx, rows):
    w, zero = simd.lanes(x), simd.zero(x)
    n = x.size // len(targets)
    s = smoothing[0]
    one, size = x.dtype.type(1), x.dtype.type(n)
    past = gx.size > simd.FAR
    for r in range(task * rows, min(len(targets), (task + 1) * rows)):
        at, stop, t = r * n, (r + 1) * n, targets[r]
        if t == ignore_index:
            gx[at:stop] = 0
            continue
        scale, shift = simd.splat(g[r]), simd.splat(-s / size * g[r])
        top, rest = lse[2 * r], lse[2 * r + 1]
        i = at
        while i < stop:
            m = simd.stretch(gx, i, stop, past)
            # Not x - (top + rest): that sum would drop the digits of rest where top is large.
            p = simd.exp_of_difference(simd.take(x, i, m, zero) - top - rest)
            simd.put_past(gx, i, m, simd.fma(p, scale, shift), past)
            i += m
            while i + w <= stop:
                simd.prefetch(x, i + simd.AHEAD)  # .68 of the time on one thread, .80 on two
                p = simd.exp_of_difference(simd.load(x, i) - top - rest)
                simd.put_past(gx, i, w, simd.fma(p, scale, shift), past)
                i += w
        gx[at + t] -= (one - s) * g[r]


@inline
def _rows_per_task(x, targets):
    return ROWS if x.size > SMALL else len(targets)


@kernel
def _cross_entropy(x, targets, ignore_index, smoothing, losses, lse):
    rows = _rows_per_task(x, targets)
    tasks = (len(targets) + rows - 1) // rows
    parallel_for(_losses, tasks, (x, targets, ignore_index, smoothing, losses, lse, rows))


@kernel
def _cross_entropy_backward(g, x, targets, ignore_index, smoothing, lse, gx):
    rows = _rows_per_task(x, targets)
    tasks = (len(targets) + rows - 1) // rows
    parallel_for(_gradients, tasks, (g, x, targets, ignore_index, smoothing, lse, gx, rows))


def cross_entropy(
    x: Array, targets: Array, ignore_index: int, smoothing: float
) -> tuple[Array, Array]:
    """The loss of each row, and its lse in two parts, the largest element and what exceeds it.

    x (R, V), targets (R) int64 -> (R), (R, 2)
    """
    losses, lse = np.empty(len(x), x.dtype), np.empty((len(x), 2), x.dtype)
    if len(x):
        s = np.array([smoothing], x.dtype)
        _cross_entropy(x.ravel(), targets, ignore_index, s, losses, lse.ravel())
    return losses, lse


def cross_entropy_backward(
    g: Array, x: Array, targets: Array, ignore_index: int, smoothing: float, lse: Array
) -> Array:
    """The gradient of the logits, given that of each row's loss: g (R), x (R, V) -> (R, V).

    lse (R, 2): from `cross_entropy`
    """
    gx = np.empty(x.shape, x.dtype)
    if len(x):
        s, flat = np.array([smoothing], x.dtype), gx.ravel()
        parts = lse.ravel()
        _cross_entropy_backward(g.ravel(), x.ravel(), targets, ignore_index, s, parts, flat)
    return gx


# ------------------------------------------------------------------ logits that are made on the way


@inline
def _rows(task, x, targets, ignore_index, smoothing, scales, losses, keep, rows):
    """Losses of some rows; with keep, x becomes the gradient of their scaled sum."""
    n = x.size // len(targets)
    s = smoothing[0]
    one, size = x.dtype.type(1), x.dtype.type(n)
    for r in range(task * rows, min(len(targets), (task + 1) * rows)):
        at, t = r * n, targets[r]
        if t == ignore_index:
            losses[r] = 0
            if keep:
                x[at : at + n] = 0
            continue
        largest, total = _largest_and_sum(x, at, n)
        target = x[at + t]
        sum_exp = _exponentials(x, x, at, n, largest, keep)
        lse = largest + np.log(sum_exp)
        losses[r] = (one - s) * (lse - target)
        if s > 0:
            losses[r] += s * (lse - total / size)
        if keep:
            _affine(x, at, n, scales[r] / sum_exp, -s / size * scales[r])
            x[at + t] -= (one - s) * scales[r]


@kernel
def cross_entropy_in_place(x, targets, ignore_index, smoothing, scales, losses, keep):
    """The losses of rows of x, which with keep becomes the gradient of their sum, scaled."""
    rows = _rows_per_task(x, targets)
    tasks = (len(targets) + rows - 1) // rows
    parallel_for(_rows, tasks, (x, targets, ignore_index, smoothing, scales, losses, keep, rows))


def linear_cross_entropy(
    x: Array,
    weight: Array,
    targets: Array,
    ignore_index: int,
    smoothing: float,
    scale: float,
    needs: tuple[bool, bool],
) -> tuple[Array, Array | None, Array | None]:
    """The losses of x @ weight.T, and the gradients of scale times their sum, those needed.

    x (R, C), weight (V, C), targets (R) -> losses (R), gx (R, C), gweight (V, C). The logits are
    made, turned into their gradient in place, and used for gx and gweight, CHUNK of them at a time;
    how many rows that is depends on V alone, and so does the order of additions.
    """
    rows, vocabulary = len(x), len(weight)
    losses = np.empty(rows, x.dtype)
    gx = np.empty_like(x, order="C") if needs[0] else None
    gweight = np.empty(weight.shape, x.dtype) if needs[1] else None
    if gweight is not None and rows == 0:
        gweight[:] = 0
    step = max(CHUNK // max(vocabulary, 1), 1)
    step = step // 48 * 48 or step  # whole tiles of the matrix product
    logits = np.empty((min(step, rows), vocabulary), x.dtype)
    s, scales = np.array([smoothing], x.dtype), np.full(rows, scale, x.dtype)
    for begin in range(0, rows, step):
        part = slice(begin, min(begin + step, rows))
        chunk = product(x[part], weight.T, out=logits[: part.stop - begin])
        flat = chunk.ravel()
        cross_entropy_in_place(
            flat, targets[part], ignore_index, s, scales[part], losses[part], any(needs)
        )
        if gx is not None:
            product(chunk, weight, out=gx[part])
        if gweight is not None:
            product(chunk.T, x[part], out=gweight, accumulate=begin > 0)
    return losses, gx, gweight
