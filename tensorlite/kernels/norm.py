"""Layer norm and RMS norm over rows, forward and backward, each in one pass over memory.

    n = (x - mean(x)) rstd,   rstd = 1 / sqrt(mean((x - mean(x))^2) + eps),   y = n w + b
    RMS norm: the same with 0 in place of mean(x) and of b

    backward, with h = g w:   gx = rstd (h - mean(h) - n mean(h n)),   gw = sum g n,   gb = sum g

A row passes through L1 three times and through memory once. Sums over a row go into four vectors in
turn, which are added as a tree. Sums over rows (gw, gb) are made for blocks of BLOCK rows, and then
added in ascending order: neither depends on who computes them.
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline, kernel, parallel_for

Array = np.ndarray

BLOCK = 32  # rows whose part of gw and gb is one partial sum
SMALL = 1 << 14  # elements below which a second thread does not pay for its launch


@inline
def _sum(x, at, n, mean, power):
    """sum((x - mean)^power) over x[at : at + n], for power 1 or 2."""
    w = simd.lanes(x)
    m, zero = simd.splat(mean), simd.zero(x)
    s0, s1, s2, s3 = zero, zero, zero, zero
    i = 0
    while i + 4 * w <= n:
        d0, d1 = simd.load(x, at + i) - m, simd.load(x, at + i + w) - m
        d2, d3 = simd.load(x, at + i + 2 * w) - m, simd.load(x, at + i + 3 * w) - m
        if power == 1:
            s0, s1, s2, s3 = s0 + d0, s1 + d1, s2 + d2, s3 + d3
        else:
            s0, s1 = simd.fma(d0, d0, s0), simd.fma(d1, d1, s1)
            s2, s3 = simd.fma(d2, d2, s2), simd.fma(d3, d3, s3)
        i += 4 * w
    while i < n:
        d0 = simd.load_part(x, at + i, n - i, m) - m  # lanes beyond the end add zero
        s0 = s0 + d0 if power == 1 else simd.fma(d0, d0, s0)
        i += w
    return simd.total((s0 + s1) + (s2 + s3))


def _forward(centered):
    """The kernel of one norm: rows of x to y, mean and rstd."""

    @inline
    def rows(task, x, w, b, eps, y, mean, rstd, n, span):
        lanes = simd.lanes(x)
        one, zero = x.dtype.type(1), x.dtype.type(0)
        for r in range(task * span, min(len(rstd), (task + 1) * span)):
            at = r * n
            m = _sum(x, at, n, zero, 1) / x.dtype.type(n) if centered else zero
            s = one / np.sqrt(_sum(x, at, n, m, 2) / x.dtype.type(n) + eps[0])
            mean[r], rstd[r] = m, s
            center, scale = simd.splat(m), simd.splat(s)
            i = 0
            while i + lanes <= n:
                v = (simd.load(x, at + i) - center) * scale
                simd.store(y, at + i, simd.fma(v, simd.load(w, i), simd.load(b, i)))
                i += lanes
            if i < n:
                v = (simd.load_part(x, at + i, n - i, center) - center) * scale
                gain, shift = simd.load_part(w, i, n - i, v), simd.load_part(b, i, n - i, v)
                simd.store_part(y, at + i, n - i, simd.fma(v, gain, shift))

    @kernel
    def forward(x, w, b, eps, y, mean, rstd):
        span = BLOCK if x.size > SMALL else len(rstd)
        parallel_for(
            rows,
            (len(rstd) + span - 1) // span,
            (x, w, b, eps, y, mean, rstd, len(w), span),
        )

    return forward


def _backward(centered):
    """The kernel of one norm's gradients: gx, and a row of partial sums of gw and gb a block."""

    @inline
    def block(task, g, x, w, mean, rstd, gx, gws, gbs, n):
        lanes = simd.lanes(x)
        zero = simd.zero(x)
        length = x.dtype.type(n)
        part = task * n
        for r in range(task * BLOCK, min(len(rstd), (task + 1) * BLOCK)):
            at = r * n
            center, scale = simd.splat(mean[r]), simd.splat(rstd[r])
            begin = r == task * BLOCK
            s0, s1, p0, p1 = zero, zero, zero, zero
            i = 0
            while i + lanes <= n:
                gi = simd.load(g, at + i)
                v = (simd.load(x, at + i) - center) * scale
                h = gi * simd.load(w, i)
                # Two sums in turn, so that an addition need not wait for the one before it.
                s0, s1, p0, p1 = s1, s0 + h, p1, simd.fma(h, v, p0)
                gw, gb = gi * v, gi
                if not begin:
                    gw = simd.fma(gi, v, simd.load(gws, part + i))
                    gb = simd.load(gbs, part + i) + gi
                simd.store(gws, part + i, gw)
                if centered:
                    simd.store(gbs, part + i, gb)
                i += lanes
            if i < n:
                gi = simd.load_part(g, at + i, n - i, zero)
                v = (simd.load_part(x, at + i, n - i, center) - center) * scale
                h = gi * simd.load_part(w, i, n - i, zero)
                s0, s1, p0, p1 = s1, s0 + h, p1, simd.fma(h, v, p0)
                gw, gb = gi * v, gi
                if not begin:
                    gw = simd.fma(gi, v, simd.load_part(gws, part + i, n - i, zero))
                    gb = simd.load_part(gbs, part + i, n - i, zero) + gi
                simd.store_part(gws, part + i, n - i, gw)
                if centered:
                    simd.store_part(gbs, part + i, n - i, gb)
            mean_h = simd.splat(simd.total(s0 + s1) / length if centered else x.dtype.type(0))
            mean_hn = simd.splat(simd.total(p0 + p1) / length)
            i = 0
            while i + lanes <= n:
                v = (simd.load(x, at + i) - center) * scale
                h = simd.load(g, at + i) * simd.load(w, i) - mean_h
                simd.store(gx, at + i, simd.fma(-v, mean_hn, h) * scale)
                i += lanes
            if i < n:
                v = (simd.load_part(x, at + i, n - i, center) - center) * scale
                h = simd.load_part(g, at + i, n - i, zero) * simd.load_part(w, i, n - i, zero)
                simd.store_part(gx, at + i, n - i, simd.fma(-v, mean_hn, h - mean_h) * scale)

    @kernel
    def backward(g, x, w, mean, rstd, gx, gws, gbs):
        n = len(w)
        blocks = (len(rstd) + BLOCK - 1) // BLOCK
        if x.size > SMALL:
            parallel_for(block, blocks, (g, x, w, mean, rstd, gx, gws, gbs, n))
        else:
            for task in range(blocks):
                block(task, g, x, w, mean, rstd, gx, gws, gbs, n)
        for later in range(1, blocks):
            for i in range(n):
                gws[i] += gws[later * n + i]
            if centered:
                for i in range(n):
                    gbs[i] += gbs[later * n + i]

    return backward


_layer_norm, _layer_norm_backward = _forward(True), _backward(True)
_rms_norm, _rms_norm_backward = _forward(False), _backward(False)


# ------------------------------------------------------------------------------------- for Python


def layer_norm(
    x: Array, w: Array | None, b: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """(x - mean) / sqrt(var + eps) * w + b: x (R, N), w and b (N) -> y (R, N), mean, rstd (R)."""
    return _run_forward(_layer_norm, x, w, b, eps)


def rms_norm(x: Array, w: Array | None, eps: float) -> tuple[Array, Array]:
    """x / sqrt(mean(x^2) + eps) * w: x (R, N), w (N) -> y (R, N), rstd (R)."""
    y, _, rstd = _run_forward(_rms_norm, x, w, None, eps)
    return y, rstd


def layer_norm_backward(
    g: Array, x: Array, w: Array | None, mean: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """The gradients of x (R, N), w (N) and b (N)."""
    return _run_backward(_layer_norm_backward, g, x, w, mean, rstd)


def rms_norm_backward(g: Array, x: Array, w: Array | None, rstd: Array) -> tuple[Array, Array]:
    """The gradients of x (R, N) and w (N)."""
    gx, gw, _ = _run_backward(_rms_norm_backward, g, x, w, np.zeros_like(rstd), rstd)
    return gx, gw


def _run_forward(
    forward, x: Array, w: Array | None, b: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    rows, n = x.shape
    y, mean, rstd = np.empty(x.shape, x.dtype), np.empty(rows, x.dtype), np.empty(rows, x.dtype)
    if x.size:
        gain = np.ones(n, x.dtype) if w is None else w
        shift = np.zeros(n, x.dtype) if b is None else b
        forward(x.ravel(), gain, shift, np.array([eps], x.dtype), y.ravel(), mean, rstd)
    return y, mean, rstd


def _run_backward(
    backward, g: Array, x: Array, w: Array | None, mean: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    rows, n = x.shape
    if not x.size:
        return np.zeros_like(x), np.zeros(n, x.dtype), np.zeros(n, x.dtype)
    gx = np.empty(x.shape, x.dtype)
    partial = (rows + BLOCK - 1) // BLOCK * n
    gws, gbs = np.empty(partial, x.dtype), np.empty(partial, x.dtype)
    gain = np.ones(n, x.dtype) if w is None else w
    backward(g.ravel(), x.ravel(), gain, mean, rstd, gx.ravel(), gws, gbs)
    return gx, gws[:n].copy(), gbs[:n].copy()
