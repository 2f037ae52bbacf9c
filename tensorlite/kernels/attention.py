"""Attention: out = softmax(q k^T scale) v, without a T x S matrix anywhere.

    q, out  (B, H, T, D)     query heads
    k, v    (B, G, S, D)     key and value heads; H a multiple of G, head h reads head h G // H
    lse     (B, H, T)        log of the sum of exponentials of each query's scores

Any outer strides; D contiguous. Query i sees keys j <= i + offset. Memory is linear in S.
Source: Dao et al. 2022, FlashAttention (running maximum, recomputation from lse).

Exactness: a query's scores are chains of FMAs over d ascending; keys are taken in blocks of BLOCK
from 0; after each, the running maximum, the sum of exponentials (a vector, its lanes added at the
end) and the output are rescaled; the output is a chain of FMAs over keys ascending. All of it
depends on the query's own position only. A masked key has the weight 0 and adds an exact zero, so
it makes no difference whether keys beyond the last one seen are masked, absent, or in a cache.
"""

from __future__ import annotations

import math

import numpy as np

from tensorlite.kernels import pool, simd
from tensorlite.kernels.jit import allocating, inline, kernel, parallel_for
from tensorlite.kernels.panels import (
    COLUMNS,
    FEW,
    ROWS,
    STRIDE,
    WIDEST,
    add_products,
    located,
    pack_rows,
    pack_transposed,
    products,
    products_of_one,
    room_for_edges,
)

Array = np.ndarray

BLOCK = WIDEST  # keys between two looks at the running maximum; part of the result's definition
# Rows of a task: what a packed block of keys is used for. Many, so that it pays (of 48 rows on a
# Zen 3, T 64 to 4,096 take 9 to 17 % more time); fewer where threads would be idle.
CHUNK = 264  # whole panels of 6 rows and of 12
SMALLEST = 66
ENOUGH = 1 << 18  # multiply-adds that are worth a task of their own


@inline
def _raise_maximum(p, at, seen, top, sums, o, width, r):
    """The row's running maximum takes in its scores p before key `seen`; its sum and output are
    rescaled to the new one."""
    w = simd.lanes(p)
    nothing = simd.splat(p.dtype.type(-np.inf))
    largest, other = nothing, nothing
    j = 0
    while j + 2 * w <= seen:
        largest = simd.maximum(simd.load(p, at + j), largest)
        other = simd.maximum(simd.load(p, at + j + w), other)
        j += 2 * w
    while j < seen:
        largest = simd.maximum(simd.take(p, at + j, seen - j, nothing), largest)
        j += w
    before = top[r]
    now = simd.largest(simd.maximum(largest, other))
    if now > before:
        top[r] = now
        if before > -np.inf:
            factor = simd.exp_of_difference(simd.splat(before - now))
            simd.store(sums, r * w, simd.load(sums, r * w) * factor)
            for d in range(0, width, w):
                simd.store(o, r * width + d, simd.load(o, r * width + d) * factor)


@inline
def _weights(p, at, seen, keys, top, sums, r):
    """The row's scores p become exp(score - maximum), 0 from key `seen` on, and are added up."""
    w = simd.lanes(p)
    nothing = simd.splat(p.dtype.type(-np.inf))
    base = top[r] if top[r] > -np.inf else p.dtype.type(0)
    total = simd.load(sums, r * w)
    for j in range(0, keys, w):
        e = simd.exp_of_difference(simd.take(p, at + j, seen - j, nothing) - base)
        simd.store(p, at + j, e)
        total = total + e
    simd.store(sums, r * w, total)


@allocating
def _forward(task, run, tasks, chunk_rows, q, k, v, qs, ks, vs, out, lse, sizes, scale, offset):
    """`run` chunks of rows, each of one batch and key head. Of a head the longest, the last, come
    first, so that no long one is left at the end.

    The loops are a function of their own, which counts no references to arrays (`inline` in
    jit.py): counting took 6 % of T 64.
    """
    H, G, T, S, D = sizes
    rows = T * (H // G)
    chunks = (rows + chunk_rows - 1) // chunk_rows
    w = simd.lanes(q)
    panel = COLUMNS * w
    width = (D + panel - 1) // panel * panel
    padded = min(chunk_rows, (rows + ROWS - 1) // ROWS * ROWS)
    span = min(BLOCK, (S + panel - 1) // panel * panel)
    queries = simd.scratch(q, padded * STRIDE)
    o = simd.scratch(q, padded * width)
    top = simd.scratch(q, padded)
    sums = simd.scratch(q, padded * w)
    keys = simd.scratch(q, span * D)
    values = simd.scratch(q, (span + ROWS) * width)
    p = simd.scratch(q, ROWS * STRIDE)
    room = simd.scratch(k, room_for_edges(k, D))
    for chunk in range(task * run, min((task + 1) * run, tasks)):
        batch, head = chunk // chunks // G, chunk // chunks % G
        row = (chunks - 1 - chunk % chunks) * chunk_rows
        _chunk(
            batch, head, row, min(chunk_rows, rows - row), q, k, v, qs, ks, vs, out, lse, sizes,
            scale, offset, queries, o, top, sums, keys, values, p, room,
        )  # fmt: skip


@inline
def _chunk(
    batch, head, row, rows, q, k, v, qs, ks, vs, out, lse, sizes, scale, offset, queries, o, top,
    sums, keys, values, p, room,
):  # fmt: skip
    """The output and lse of rows [row, row + rows) of a key head, over all the keys they see."""
    H, G, T, S, D = sizes
    heads = H // G
    w = simd.lanes(q)
    panel = COLUMNS * w
    width = (D + panel - 1) // panel * panel
    one = q.dtype.type(1)
    last = min(S, (row + rows - 1) // heads + offset + 1)  # keys that the last row sees
    q_at = batch * qs[0] + head * heads * qs[1]
    pack_rows(queries, STRIDE, width, q, q_at, qs, heads, row, rows, D, scale)
    for r in range((rows + ROWS - 1) // ROWS * ROWS):
        top[r] = -np.inf
        simd.store(sums, r * w, simd.zero(q))
        for d in range(0, width, w):
            simd.store(o, r * width + d, simd.zero(q))
    for key in range(0, last, BLOCK):
        count = min(BLOCK, last - key)
        k_at = batch * ks[0] + head * ks[1] + key * ks[2]
        v_at, v_step, v_block = batch * vs[0] + head * vs[1], width, values
        if rows > 1:
            pack_transposed(keys, k, k_at, ks[2], count, D, room)
        else:
            products_of_one(p, queries, k, k_at, ks[2], count, D, room)
        # Values that lie as packed ones would stay where they are (T 256 .98, T 64 .95).
        if (rows > FEW and vs[2] != width) or width > D:
            pack_rows(values, width, width, v, v_at, vs, 1, key, count, D, one)
            v_at = 0
        else:
            v_at, v_step, v_block = v_at + key * vs[2], vs[2], v
        for first in range(0, rows, ROWS):
            n = min(ROWS, rows - first)
            seen = min(count, (row + first + n - 1) // heads + offset + 1 - key)
            at = first * STRIDE
            for j in range(0, seen if rows > 1 else 0, panel):
                products(p, j, queries, at, keys, j * D, panel, D, n)
            # All maxima first: a row's is a long chain, which the next row's does not wait for.
            for r in range(first, first + n):
                own = min(seen, (row + r) // heads + offset + 1 - key)
                _raise_maximum(p, (r - first) * STRIDE, own, top, sums, o, width, r)
            for r in range(first, first + n):
                own = min(seen, (row + r) // heads + offset + 1 - key)
                _weights(p, (r - first) * STRIDE, own, seen, top, sums, r)
            if seen > 0:
                add_products(o, first * width, width, p, 0, v_block, v_at, v_step, seen, n)
    for r in range(rows):
        t, h = (row + r) // heads, head * heads + (row + r) % heads
        total = simd.total(simd.load(sums, r * w))
        # A query that sees no key gets zeros.
        inverse = simd.splat(lse.dtype.type(1) / total if total != 0 else total)
        lse[(batch * H + h) * T + t] = top[r] + math.log(total)
        to = ((batch * T + t) * H + h) * D
        for d in range(0, D, w):
            # + 0, or else a -0 would tell whether masked keys were added to it or absent.
            y = simd.load(o, r * width + d) * inverse + simd.zero(o)
            simd.put(out, to + d, D - d, y)


@kernel
def _attention(q, k, v, qs, ks, vs, out, lse, B, sizes, scale, offset, length):
    H, G, T, S, D = sizes
    if length.size > 0:
        S = max(0, min(S, length[0]))
        offset = S - T
    rows, threads = T * (H // G), pool.load(pool.THREADS)
    chunk_rows = CHUNK
    chunks = (rows + chunk_rows - 1) // chunk_rows
    while threads > 1 and B * G * chunks < 8 * threads and chunk_rows > SMALLEST:
        chunk_rows = chunk_rows // 2 // ROWS * ROWS
        chunks = (rows + chunk_rows - 1) // chunk_rows
    tasks = B * G * chunks
    work = H // G * T * S * D // chunks
    # One query does little with each key, and waits for memory, which two threads read faster.
    enough = ENOUGH if rows > FEW else ENOUGH // 16
    run = tasks if work * tasks < 4 * enough else max(1, min(enough // work, tasks // 8))
    parallel_for(
        _forward,
        (tasks + run - 1) // run,
        (
            run, tasks, chunk_rows, q, k, v, qs, ks, vs, out, lse, (H, G, T, S, D),
            q.dtype.type(scale), offset,
        ),
    )  # fmt: skip


_ALL = np.empty(0, np.int64)  # no length: all keys count


def attention(
    q: Array, k: Array, v: Array, scale: float, offset: int, length: Array = _ALL
) -> tuple[Array, Array]:
    """softmax(q k^T scale) v over the keys j <= i + offset of query i.

    q (B, H, T, D), k and v (B, G, S, D), D contiguous and at most WIDEST -> out (B, H, T, D), which
    lies in memory as (B, T, H, D), and lse (B, H, T). With offset >= S every query sees all keys; a
    query that sees none gets zeros, and -inf. length, an int64: only so many of the keys count, and
    the offset is length - T; it is read as the kernel begins.
    """
    B, H, T, D = q.shape
    G, S = k.shape[1:3]
    if 0 in (B, H, T, S, D):
        out = np.zeros((B, T, H, D), q.dtype)
        return out.transpose(0, 2, 1, 3), np.full((B, H, T), -np.inf, q.dtype)
    out, lse = np.empty((B, T, H, D), q.dtype), np.empty((B, H, T), q.dtype)
    (q_flat, qs), (k_flat, ks), (v_flat, vs) = located(q), located(k), located(v)
    _attention(
        q_flat, k_flat, v_flat, qs, ks, vs, out.ravel(), lse.ravel(), B, (H, G, T, S, D), scale,
        offset, length,
    )  # fmt: skip
    return out.transpose(0, 2, 1, 3), lse
