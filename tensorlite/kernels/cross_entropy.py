"""Cross-entropy of rows of logits, alone and fused with the projection that makes them.

    lse = log(sum_c exp(x_c)),   p_c = exp(x_c - lse)
    loss = (1 - s) (lse - x_t) + s mean_c(lse - x_c),   s the label smoothing, t the target
    dloss/dx_c = p_c - (1 - s) [c = t] - s / V

A row whose target is ignore_index has loss 0 and gradient 0. A row belongs to one thread; its sums
go into four vectors in turn, which are added as a tree.
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline, kernel, parallel_for
from tensorlite.kernels.matmul import product

Array = np.ndarray

ROWS = 8  # rows that a task takes
SMALL = 1 << 13  # logits below which a second thread does not pay for its launch
# Logits that exist at once in the fused loss: 32 MB of float32. Fewer rows at a time would read the
# weights more often than their products are worth.
CHUNK = 1 << 23


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
        e = simd.exp(simd.load(x, at + i) - m)
        if keep:
            simd.store(y, at + i, e)
        s0, s1 = s1, s0 + e
        i += w
    if i < n:
        e = simd.exp(simd.load_part(x, at + i, n - i, zero) - m)
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


@inline
def _rows(task, x, targets, ignore_index, smoothing, scales, losses, y, keep, rows):
    """Losses of some rows; with keep, y becomes the gradient of their scaled sum. y may be x."""
    n = x.size // len(targets)
    s = smoothing[0]
    one, size = x.dtype.type(1), x.dtype.type(n)
    for r in range(task * rows, min(len(targets), (task + 1) * rows)):
        at, t = r * n, targets[r]
        if t == ignore_index:
            losses[r] = 0
            if keep:
                y[at : at + n] = 0
            continue
        largest, total = _largest_and_sum(x, at, n)
        target = x[at + t]
        sum_exp = _exponentials(x, y, at, n, largest, keep)
        lse = largest + np.log(sum_exp)
        losses[r] = (one - s) * (lse - target)
        if s > 0:
            losses[r] += s * (lse - total / size)
        if keep:
            _affine(y, at, n, scales[r] / sum_exp, -s / size * scales[r])
            y[at + t] -= (one - s) * scales[r]


@kernel
def _cross_entropy(x, targets, ignore_index, smoothing, scales, losses, y, keep):
    rows = ROWS if x.size > SMALL else len(targets)
    parallel_for(
        _rows,
        (len(targets) + rows - 1) // rows,
        (x, targets, ignore_index, smoothing, scales, losses, y, keep, rows),
    )


def cross_entropy(x: Array, targets: Array, ignore_index: int, smoothing: float) -> Array:
    """The loss of each row: x (R, V), targets (R) int64 -> (R)."""
    losses = np.empty(len(x), x.dtype)
    if len(x):
        flat, s = x.ravel(), np.array([smoothing], x.dtype)
        _cross_entropy(flat, targets, ignore_index, s, losses, losses, flat, False)
    return losses


def cross_entropy_backward(
    g: Array, x: Array, targets: Array, ignore_index: int, smoothing: float
) -> Array:
    """The gradient of the logits, given that of each row's loss: g (R), x (R, V) -> (R, V)."""
    gx = np.empty(x.shape, x.dtype)
    if len(x):
        s, losses = np.array([smoothing], x.dtype), np.empty(len(x), x.dtype)
        _cross_entropy(x.ravel(), targets, ignore_index, s, g.ravel(), losses, gx.reshape(-1), True)
    return gx


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
        flat = chunk.reshape(-1)
        _cross_entropy(
            flat, targets[part], ignore_index, s, scales[part], losses[part], flat, any(needs)
        )
        if gx is not None:
            product(chunk, weight, out=gx[part])
        if gweight is not None:
            product(chunk.T, x[part], out=gweight, accumulate=begin > 0)
    return losses, gx, gweight
