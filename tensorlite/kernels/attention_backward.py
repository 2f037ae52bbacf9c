"""The gradients of attention, from its output and lse alone.

    p = exp(q k^T scale - lse)    gv = p^T g    gs = p (g v^T - rowsum(g out))
    gq = scale gs k               gk = scale gs^T q

Shapes, strides and the order of rows as in the forward pass. BACK_KEYS keys meet BACK_ROWS rows at
a time, in large heads more. Every element of gq is one chain of FMAs over keys ascending, of gk and
gv over rows ascending, so the bits do not depend on how keys and rows are shared out among tasks.
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import pool, simd
from tensorlite.kernels.jit import allocating, get_num_threads, inline, kernel, parallel_for
from tensorlite.kernels.panels import (
    COLUMNS,
    ROWS,
    STRIDE,
    add_products,
    add_products_transposed,
    ask_for_head,
    located,
    pack_rows,
    pack_transposed,
    products,
    room_for_edges,
    unpack_rows,
)

Array = np.ndarray

BACK_KEYS = 96  # whole panels both as rows (of gk and gv) and as columns (of scores)
BACK_ROWS = 4 * ROWS
# Of heads of more elements than LARGE, which lie in L3, more keys meet more rows at a time (D 128,
# T 2,048 and 4,096 on a Zen 3: .90 to .94 of the time; D 32, T 4,096 on a Sapphire Rapids: .98 on
# one thread, .96 on two).
LARGE = 1 << 16
LARGE_BLOCKS = (192, 96)
SHORT = 1 << 14  # elements of a head up to which the next one's are fetched while it is computed
ENOUGH = 1 << 19  # multiply-adds of each product that a task takes, or more


@inline
def _weights_backward(p, gp, at, seen, keys, lse, delta):
    """One row of scores p becomes the weights exp(score - lse), and their gradients gp those of the
    scores, p (gp - delta); both 0 from key `seen` on, as far as `keys`."""
    w = simd.lanes(p)
    nothing = simd.splat(p.dtype.type(-np.inf))
    for j in range(0, keys, w):
        e = simd.exp_of_difference(simd.take(p, at + j, seen - j, nothing) - lse)
        simd.store(p, at + j, e)
        simd.store(gp, at + j, e * (simd.take(gp, at + j, seen - j, simd.zero(p)) - delta))


@inline
def _corner(strides, batch, head):
    """Where the first row of a head lies."""
    return batch * strides[0] + head * strides[1]


@inline
def _ask_for_rows(arrays, strides, batch, head, heads, row, rows, S, D):
    """Fetch rows of another head, of all that is read."""
    g, q, k, v, out = arrays[:5]
    gs, qs, ks, vs, os = strides[:5]
    first = head * heads
    ask_for_head(q, _corner(qs, batch, first), qs, heads, row, rows, D)
    ask_for_head(g, _corner(gs, batch, first), gs, heads, row, rows, D)
    ask_for_head(out, _corner(os, batch, first), os, heads, row, rows, D)
    ask_for_head(k, _corner(ks, batch, head), ks, 1, row, min(rows, S - row), D)
    ask_for_head(v, _corner(vs, batch, head), vs, 1, row, min(rows, S - row), D)


@allocating
def _backward(
    task, run, pieces, blocks, arrays, strides, lse, sizes, scale, offset, key_run, row_run, want_q,
    want_kv,
):  # fmt: skip
    """`run` of all pieces of work, each a range of keys and a range of rows of one batch and key
    head. Either range is everything, or the piece's own part of gk and gv (all rows, some keys) or
    of gq (all keys, some rows)."""
    q = arrays[1]
    H, G, T, _, D = sizes
    key_block, row_block = blocks
    w = simd.lanes(q)
    panel = COLUMNS * w
    width = (D + panel - 1) // panel * panel
    most = min(T * (H // G), row_run)
    rooms = (
        simd.scratch(q, row_block * STRIDE),  # queries
        simd.scratch(q, row_block * STRIDE),  # g
        simd.scratch(q, row_block * STRIDE),  # p
        simd.scratch(q, row_block * STRIDE),  # gp
        simd.scratch(q, key_block * width),  # keys
        simd.scratch(q, key_block * D),  # keys across
        simd.scratch(q, key_block * D),  # values across
        simd.scratch(q, (most + ROWS if want_q else 0) * width),  # gq
        simd.scratch(q, key_block * width),  # gk
        simd.scratch(q, key_block * width),  # gv
        simd.scratch(q, most),  # lse
        simd.scratch(q, most),  # delta
        simd.scratch(q, room_for_edges(q, D)),
    )
    for piece in range(task * run, min((task + 1) * run, pieces)):
        _piece(
            piece, pieces, blocks, arrays, strides, lse, sizes, scale, offset, key_run, row_run,
            want_q, want_kv, rooms,
        )  # fmt: skip


@inline
def _clear(x, start, stop):
    """x[start:stop] = 0; room for whole vectors."""
    for i in range(start, stop, simd.lanes(x)):
        simd.store(x, i, simd.zero(x))


@inline
def _piece(
    piece, pieces, blocks, arrays, strides, lse, sizes, scale, offset, key_run, row_run, want_q,
    want_kv, rooms,
):  # fmt: skip
    """One piece of work. What is added up is cleared just before it is first added to."""
    g, q, k, v, out, gq, gk, gv = arrays
    gs, qs, ks, vs, os, gqs, gks, gvs = strides
    queries, gout, p, gp, keys, keys_across, values_across = rooms[:7]
    gqueries, gkeys, gvalues, lses, deltas, room = rooms[7:]
    H, G, T, S, D = sizes
    heads = H // G
    key_block, row_block = blocks
    key_runs, row_runs = (S + key_run - 1) // key_run, (T * heads + row_run - 1) // row_run
    panel = COLUMNS * simd.lanes(q)
    width = (D + panel - 1) // panel * panel
    one = q.dtype.type(1)

    row_from = piece % row_runs * row_run
    key_from = piece // row_runs % key_runs * key_run
    batch, head = piece // row_runs // key_runs // G, piece // row_runs // key_runs % G
    row_to, key_to = min(T * heads, row_from + row_run), min(S, key_from + key_run)
    rows = row_to - row_from
    first_head = head * heads
    q_at, g_at = _corner(qs, batch, first_head), _corner(gs, batch, first_head)
    o_at = _corner(os, batch, first_head)
    k_at, v_at = _corner(ks, batch, head), _corner(vs, batch, head)
    # The next head's rows are asked for where a piece is a head, and is met only once.
    ahead = row_runs == key_runs == 1 and rows * D <= SHORT and S <= BACK_KEYS
    after = min(piece + 1, pieces - 1)
    _gather_rows(
        lses, deltas, g, g_at, gs, out, o_at, os, lse, batch * H + first_head, heads, T, row_from,
        rows, D,
    )  # fmt: skip

    for key in range(key_from, key_to, key_block):
        count = min(key_block, key_to - key)
        pack_rows(keys, width, width, k, k_at, ks, 1, key, count, D, one)
        pack_transposed(keys_across, k, k_at + key * ks[2], ks[2], count, D, room)
        pack_transposed(values_across, v, v_at + key * vs[2], vs[2], count, D, room)
        unseen = max(0, (key - offset) * heads - row_from)  # rows that see none of these keys
        blocks_from = unseen // row_block * row_block
        if want_q and key == key_from:
            _clear(gqueries, 0, min(blocks_from, rows) * width)
        fresh = 0  # keys before this one have been met
        for block in range(blocks_from, rows, row_block):
            n = min(row_block, rows - block)
            row = row_from + block
            pack_rows(queries, STRIDE, width, q, q_at, qs, heads, row, n, D, scale)
            pack_rows(gout, STRIDE, width, g, g_at, gs, heads, row, n, D, one)
            for first in range(0, n, ROWS):
                m = min(ROWS, n - first)
                here = row + first
                if ahead:
                    _ask_for_rows(arrays, strides, after // G, after % G, heads, here, m, S, D)
                seen = min(count, (here + m - 1) // heads + offset + 1 - key)
                at, to = first * STRIDE, (block + first) * width
                for j in range(0, seen, panel):
                    products(p, at + j, queries, at, keys_across, j * D, panel, D, m)
                    products(gp, at + j, gout, at, values_across, j * D, panel, D, m)
                for r in range(first, first + m):
                    own = min(count, (row + r) // heads + offset + 1 - key)
                    # Read below: for gq as far as the panel's last row sees, for gk and gv whole
                    # groups of ROWS keys, of which the row sees one.
                    met, it = max(seen, (own + ROWS - 1) // ROWS * ROWS), block + r
                    _weights_backward(p, gp, r * STRIDE, own, met, lses[it], deltas[it])
                if want_q and key == key_from:
                    _clear(gqueries, to, to + ROWS * width)
                if want_q and seen > 0:
                    add_products(gqueries, to, width, gp, at, keys, 0, width, seen, m)
            for j in range(0, count if want_kv else 0, ROWS):
                m = min(ROWS, count - j)
                start = max(0, (key + j - offset) * heads - row)  # the first to see j
                left, to, at = n - start, j * width, start * STRIDE
                if left > 0:
                    if j == fresh:
                        _clear(gvalues, to, to + ROWS * width)
                        _clear(gkeys, to, to + ROWS * width)
                        fresh += ROWS
                    add_products_transposed(gvalues, to, width, p, at + j, gout, at, left, m)
                    add_products_transposed(gkeys, to, width, gp, at + j, queries, at, left, m)
        if want_kv:
            _clear(gvalues, fresh * width, count * width)
            _clear(gkeys, fresh * width, count * width)
            gk_at, gv_at = _corner(gks, batch, head), _corner(gvs, batch, head)
            unpack_rows(gkeys, width, gk, gk_at, gks, 1, key, count, D, one)
            unpack_rows(gvalues, width, gv, gv_at, gvs, 1, key, count, D, one)
    if want_q:
        gq_at = _corner(gqs, batch, first_head)
        unpack_rows(gqueries, width, gq, gq_at, gqs, heads, row_from, rows, D, scale)


@inline
def _gather_rows(lses, deltas, g, g_at, gs, out, o_at, os, lse, head, heads, T, row, rows, depth):
    """What a row needs of its own: lse, and delta = sum(g out)."""
    w = simd.lanes(g)
    zero = simd.zero(g)
    for r in range(rows):
        t, h = (row + r) // heads, (row + r) % heads
        largest = lse[(head + h) * T + t]
        lses[r] = largest if largest > -np.inf else g.dtype.type(0)  # -inf: sees no key
        g_row, o_row = g_at + t * gs[2] + h * gs[1], o_at + t * os[2] + h * os[1]
        delta = zero
        d = 0
        while d + w <= depth:
            delta = simd.fma(simd.load(g, g_row + d), simd.load(out, o_row + d), delta)
            d += w
        if d < depth:
            n = depth - d
            y = simd.load_part(out, o_row + d, n, zero)
            delta = simd.fma(simd.load_part(g, g_row + d, n, zero), y, delta)
        deltas[r] = simd.total(delta)


@kernel
def _attention_backward(
    arrays, strides, lse, B, sizes, scale, offset, key_run, row_run, want_q, want_kv
):
    H, G, T, S, D = sizes
    q = arrays[1]
    rows = T * (H // G)
    pieces = B * G * ((S + key_run - 1) // key_run) * ((rows + row_run - 1) // row_run)
    work = min(key_run, S) * min(row_run, rows) * D
    run = max(1, min(ENOUGH // work, pieces // (8 * pool.load(pool.THREADS))))
    blocks = (BACK_KEYS, BACK_ROWS) if rows * D <= LARGE else LARGE_BLOCKS
    parallel_for(
        _backward,
        (pieces + run - 1) // run,
        (
            run, pieces, blocks, arrays, strides, lse, sizes, q.dtype.type(scale), offset, key_run,
            row_run, want_q, want_kv,
        ),
    )  # fmt: skip


def _like(x: Array) -> Array:
    """Memory for x's gradient, which lies as x does: nobody need copy it to add it to others."""
    gx = np.empty_like(x)
    return gx if gx.strides[-1] == gx.itemsize else np.empty(x.shape, x.dtype)  # an axis expanded


def attention_backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    lse: Array,
    scale: float,
    offset: int,
    gq: Array | None = None,
    gk: Array | None = None,
    gv: Array | None = None,
) -> tuple[Array, Array, Array]:
    """The gradients of q, k and v, given that of out: g (B, H, T, D), the rest as in `attention`.

    gq, gk, gv are written where they are given, of any outer strides: into one (B, T, 3, H, D)
    buffer for instance, which then needs no concatenation. Others lie as q, k and v do.
    """
    B, H, T, D = q.shape
    G, S = k.shape[1:3]
    gq, gk, gv = (_like(x) if gx is None else gx for x, gx in ((q, gq), (k, gk), (v, gv)))
    if 0 in (B, H, T, S, D):
        gq[:], gk[:], gv[:] = 0, 0, 0
        return gq, gk, gv
    arrays, strides = zip(*map(located, (g, q, k, v, out, gq, gk, gv)), strict=True)
    rows, lse, sizes = T * (H // G), lse.ravel(), (H, G, T, S, D)

    def run(*part: int) -> None:
        _attention_backward(arrays, strides, lse, B, sizes, scale, offset, *part)

    threads = get_num_threads()
    if -(B * G // -threads) * threads > 1.4 * B * G and rows * S > BACK_KEYS * BACK_ROWS:
        # Threads without a head of their own: two passes that share all work, 7 products for 5.
        run(BACK_KEYS, rows, False, True)
        run(S, 2 * BACK_ROWS, True, False)
    else:
        run(S, rows, True, True)
    return gq, gk, gv
