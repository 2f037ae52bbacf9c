"""The matrix product of many rows, strides of any kind, batched, with a bias: c = a @ b (+ bias).

Exactness: c[i, j] is the sum of blocks of KC terms in ascending order, each block one chain of
fused multiply-adds over k in ascending order; where the processor has tile registers, the float32
one is the sum that parts.py tells of. Either order depends on k's size alone, so a row has the same
bits alone (decoding) and among thousands (training), on one thread and on many.

The blocking is Goto's (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication",
2008), reshaped for it:

- b is packed once, in parallel, into panels of TILE_COLUMNS vectors: panel[k][column] (packing.py).
  A small b is packed by each thread for itself, and where a has few rows a panel at a time.
- A task owns a block of c. It packs its rows of a, one KC or some, into a buffer that stays in L2,
  and runs the micro-kernel: TILE_ROWS x TILE_COLUMNS vectors of c in registers, over one KC block
  (tile.py), or 2 x 2 tile registers (parts.py).
- While a tile's products run, it asks for what comes next: its lines of c, a share of the next
  panel of b, and of the rows of a that are packed after these (errands.py).
- A whole tile of vectors goes from registers to c. Edges go through the same micro-kernel on panels
  padded with zeros, and through a buffer, of which what exists is stored.
- Few rows (decoding) never pack: see few_rows.py and few_parts.py.

This is written for both kinds of tiles; what differs is in ways.py.
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import pool, simd
from tensorlite.kernels.errands import TURN, errand
from tensorlite.kernels.few_rows import KC, SMALL
from tensorlite.kernels.jit import allocating, kernel, parallel_for
from tensorlite.kernels.packing import COLUMNS
from tensorlite.kernels.ways import (
    WAITING,
    asks_packing,
    begin,
    columns_room,
    complete,
    end,
    flat,
    least,
    most,
    pack_columns,
    pack_rows,
    product_tile,
    reads_panels,
    room,
    rows_room,
    tile_room,
    tile_rows,
)

PACKED = 1 << 21  # elements of b packed at a time: 8 MB of float32
# Elements of b up to which each thread packs it for itself: sooner done than fetched from the core
# that packed it (768 x 128 x 384 on two threads: 175 -> 158 us).
OWN = 1 << 17
FEW = 64  # rows, whose products take no longer than packing b: this asks for what comes next
STRETCH = 8  # panels: 1 KB of a row
ROWS_AHEAD = 64  # of b, that are asked for ahead
READY = -1  # in place of a stride: see gemm


# ------------------------------------------------------------------------------------ the product


@allocating
def _pack(task, packed, b, base, row_stride, column_stride, jump, n, k, run):
    """Panels of b, for all threads."""
    space = simd.scratch(b, room(b))
    pack_columns(task, packed, b, base, row_stride, column_stride, jump, n, k, run, space, 0)


@allocating
def _block(
    task, a, a_base, a_row, a_column, b, b_base, b_row, b_column, jump, packed, ready, c, c_base,
    c_row, bias, bias_base, accumulate, final, m, n, k, mc, nc, after, pre, y,
):  # fmt: skip
    """The block of mc x nc outputs numbered `task`; nc is a multiple of a panel's width.

    Panels that were `ready` lie whole, one after the other; those of `pack_columns` block by block.
    """
    across = (n + nc - 1) // nc
    i0, j0 = task // across * mc, task % across * nc
    i1, j1 = min(m, i0 + mc), min(n, j0 + nc)
    width = COLUMNS * simd.lanes(c)
    panels = (n + width - 1) // width
    rows = i1 - i0
    groups = (rows + tile_rows(c) - 1) // tile_rows(c)
    buffer = simd.scratch(c, groups * rows_room(c) + room(c))
    tile, waiting = simd.scratch(c, tile_room(c)), np.zeros(WAITING, np.int64)
    tiles = groups * ((j1 - j0 + width - 1) // width)
    origin, ending = (a, a_row, a_column, b, b_row, b_column), (bias, after, pre, y)
    begin(c, rows)
    for k0 in range(0, k, KC):
        depth = min(KC, k - k0)
        turns = depth // TURN
        source = a_base + i0 * a_row + k0 * a_column
        pack_rows(buffer, a, source, a_row, a_column, rows, depth)
        add = accumulate or k0 > 0
        last = final and k0 + depth == k
        # What of a is packed next: the next block of k, or the rows of this thread's next task.
        if k0 + depth < k:
            coming, count, wide = source + depth * a_column, rows, min(KC, k - k0 - depth)
        else:
            i = i0 + pool.load(pool.THREADS) * mc
            coming, count, wide = a_base + i * a_row, max(0, min(mc, m - i)), min(KC, k)
        apart = a_row
        if a_column != 1:
            apart, count, wide = a_column, wide, count
        each = (count + tiles - 1) // tiles
        t = 0
        size = columns_room(c, 1, depth)
        for j in range(j0, j1, width):
            b_at = b_base + k0 * b_row + j * jump
            panel, following = b_at, b_at + width * jump
            if not ready:
                panel = columns_room(c, panels, k0) + j // width * size
                following = panel + size
            share = (size + groups - 1) // groups if j + width < j1 else 0
            for g in range(groups):
                of_a = errand(a, coming + t * apart, apart, min(each, count - t), wide, turns)
                of_b = errand(packed, following + g * share, 0, 1, share, turns)
                product_tile(
                    waiting, tile, origin, source, b_at, buffer, g, packed, panel, depth, c,
                    c_base + i0 * c_row + j, c_row, rows, min(width, n - j), add, bias_base + j,
                    last, ending, of_a, of_b,
                )  # fmt: skip
                t += each
    complete(waiting, tile, origin, c, c_row, ending)
    end(c)


@allocating
def _part(
    task, a, a_row, a_column, b, b_row, b_column, c, bias, accumulate, m, n, k, rows, after, pre, y
):
    """The product for `rows` rows of a, with b packed for this task alone."""
    width = COLUMNS * simd.lanes(c)
    panels, blocks = (n + width - 1) // width, (k + KC - 1) // KC
    packed = simd.scratch(c, columns_room(c, panels, k))
    _pack(0, packed, b, 0, b_row, b_column, b_column, n, k, panels * blocks)
    for i in range(task * rows, min(m, (task + 1) * rows), most(c)):
        count = min(most(c), (task + 1) * rows - i, m - i)
        _block(
            0, a, i * a_row, a_row, a_column, b, 0, b_row, b_column, b_column, packed, False, c,
            i * n, n, bias, 0, accumulate, True, count, n, k, count, n, after, pre, y,
        )  # fmt: skip


@allocating
def _strip(
    task, a, a_row, a_column, b, b_row, b_column, jump, ready, c, bias, accumulate, m, n, k, span,
    after, pre, y,
):  # fmt: skip
    """The product for `span` columns. All rows of a are packed, as many blocks of KC at a time as
    stay in L2; each panel of b is packed and used at once, while the lines of the next one
    are fetched. The blocks that a is packed for follow each other, so c comes from memory once for
    all of them, not once for each (144 x 768 x 50,257 .84 to .86 of the time)."""
    width = COLUMNS * simd.lanes(c)
    j0, j1 = task * span, min(n, (task + 1) * span)
    groups = (m + tile_rows(c) - 1) // tile_rows(c)
    size = groups * rows_room(c)
    together = min((k + KC - 1) // KC, max(1, flat(c) // (groups * tile_rows(c)))) * KC
    buffer = simd.scratch(c, together // KC * size + room(c))
    # Of contiguous rows a stretch of several panels is read, if that is what takes the time.
    few = asks_packing(c) and m <= FEW
    wide = STRETCH if few and jump == 1 else 1
    packed = simd.scratch(c, columns_room(c, wide, KC))
    tile, waiting = simd.scratch(c, tile_room(c)), np.zeros(WAITING, np.int64)
    space = simd.scratch(c, room(c))
    nothing = errand(a, 0, 0, 0, 0, 0)
    origin, ending = (a, a_row, a_column, b, b_row, b_column), (bias, after, pre, y)
    begin(c, m)
    for first in range(0, k, together):
        stop = min(k, first + together)
        for k0 in range(first, stop, KC):
            to = buffer[(k0 - first) // KC * size :]
            pack_rows(to, a, k0 * a_column, a_row, a_column, m, min(KC, stop - k0))
        for jb in range(j0, j1, width * wide):
            panels = (min(j1, jb + width * wide) - jb + width - 1) // width
            for k0 in range(first, stop, KC):
                depth = min(KC, k - k0)
                # What is packed next: the next block of these panels, or the next panels' first.
                j_next, k_next = jb, k0 + depth
                if k_next == stop:
                    j_next, k_next = jb + width * wide, first
                coming = min(KC, stop - k_next) if j_next < j1 else 0
                # It lies as so many rows, `apart`, of `across` elements, for the tiles to ask for.
                source = k0 * b_row + jb * jump
                following = k_next * b_row + j_next * jump
                across, apart, count = coming, b_column, max(0, min(width, j1 - j_next))
                if b_row == width and b_column == 1:
                    across = (coming * width + groups - 1) // groups
                    apart, count = across, groups
                elif b_column == 1:
                    apart, across, count = b_row, count, coming
                ahead = 0
                if few:
                    count, ahead = 0, following - source
                    if jump == 1:
                        ahead = ROWS_AHEAD * b_row
                here = source
                if not ready:
                    columns = min(n - jb, panels * width)
                    pack_columns(
                        0, packed, b, source, b_row, b_column, jump, columns, depth, panels, space,
                        ahead,
                    )  # fmt: skip
                    here = (simd.address(packed) - simd.address(b)) // b.itemsize  # from b's first
                each = (count + groups - 1) // groups
                rows_of_a = buffer[(k0 - first) // KC * size :]
                for q in range(panels):
                    j = jb + q * width
                    panel = here + q * columns_room(c, 1, depth)
                    for g in range(groups):
                        rows = min(each, count - g * each)
                        of_b = errand(
                            b, following + g * each * apart, apart, rows, across, depth // TURN
                        )
                        product_tile(
                            waiting, tile, origin, k0 * a_column, source + q * width * jump,
                            rows_of_a, g, b, panel, depth, c, j, n, m, min(width, n - j),
                            accumulate or k0 > 0, j, k0 + depth == k, ending, nothing, of_b,
                        )  # fmt: skip
    complete(waiting, tile, origin, c, n, ending)
    end(c)


@kernel
def gemm(a, a_row, a_column, b, b_row, b_column, c, bias, accumulate, m, n, k, after, pre, y):
    """c[i, j] (+)= sum_k a[i, k] b[k, j] + bias[j]; flat arrays, strides in elements.

    after: what happens to each finished tile of c, while it is in L1; see epilogue.py. 0: nothing
    b_column: READY says that b lies in panels, b[panel][k][column], which vectors read as they are
    """
    width = COLUMNS * simd.lanes(c)
    rows = tile_rows(c)
    jump, ready = b_column, False
    if b_column == READY:
        b_row, b_column, jump, ready = width, 1, k, reads_panels(c)
    shared = m * n * k > SMALL
    threads = pool.load(pool.THREADS)
    if jump == b_column and shared and threads > 1 and n * k <= OWN and m >= least(c) * threads:
        rows = ((m + rows - 1) // rows + threads - 1) // threads * rows
        parallel_for(
            _part,
            (m + rows - 1) // rows,
            (
                a, a_row, a_column, b, b_row, b_column, c, bias, accumulate, m, n, k, rows, after,
                pre, y,
            ),
        )  # fmt: skip
        return
    if shared and m <= flat(c):
        panels = (n + width - 1) // width
        tasks = threads * max(1, min(4, panels // (16 * threads)))  # as many for each thread
        span = (panels + tasks - 1) // tasks * width
        parallel_for(
            _strip,
            (n + span - 1) // span,
            (
                a, a_row, a_column, b, b_row, b_column, jump, ready, c, bias, accumulate, m, n, k,
                span, after, pre, y,
            ),
        )  # fmt: skip
        return
    # What is packed of b at a time must stay in L3: a vocabulary's matrix is taken in pieces.
    wide = (n + width - 1) // width * width
    k_step = min(k, max(4 * KC, PACKED // wide // KC * KC))
    pieces = (wide * k_step + PACKED - 1) // PACKED
    n_step = (wide // width + pieces - 1) // pieces * width
    if ready:
        n_step, k_step = wide, k
    packed = simd.scratch(c, 0 if ready else columns_room(c, n_step // width, k_step))
    run = 4 if shared else n_step * k_step
    tasks = 4 * threads if shared and threads > 1 else 1
    mc = m
    if shared:
        groups = (m + rows - 1) // rows
        parts = max((m + most(c) - 1) // most(c), min(tasks, groups * rows // least(c)))
        mc = (groups + parts - 1) // parts * rows  # as large as each other
    for jb in range(0, n, n_step):
        columns = min(n_step, n - jb)
        panels = (columns + width - 1) // width
        nc = columns
        while (m + mc - 1) // mc * ((columns + nc - 1) // nc) < tasks and nc > 2 * width:
            nc = (nc // 2 + width - 1) // width * width
        for kb in range(0, k, k_step):
            depth = min(k_step, k - kb)
            count = panels * ((depth + KC - 1) // KC)
            source = kb * b_row + jb * jump
            if not ready:
                parallel_for(
                    _pack,
                    (count + run - 1) // run,
                    (packed, b, source, b_row, b_column, jump, columns, depth, run),
                )
            parallel_for(
                _block,
                ((m + mc - 1) // mc) * ((columns + nc - 1) // nc),
                (
                    a, kb * a_column, a_row, a_column, b, source, b_row, b_column, jump,
                    b if ready else packed, ready, c, jb, n, bias, jb, accumulate or kb > 0,
                    kb + depth == k, m, columns, depth, mc, nc, after, pre, y,
                ),
            )  # fmt: skip


@allocating
def _batch(
    task, a, a_bases, a_row, a_column, b, b_bases, b_row, b_column, c, m, n, k, bias
):  # fmt: skip
    """One product of the batch, whole."""
    width = COLUMNS * simd.lanes(c)
    panels, blocks = (n + width - 1) // width, (k + KC - 1) // KC
    packed = simd.scratch(c, columns_room(c, panels, k))
    base = b_bases[task]
    _pack(0, packed, b, base, b_row, b_column, b_column, n, k, panels * blocks)
    _block(
        0, a, a_bases[task], a_row, a_column, b, base, b_row, b_column, b_column, packed, False, c,
        task * m * n, n, bias, 0, False, True, m, n, k, m, n, 0, c, c,
    )  # fmt: skip


@kernel
def gemm_batched(a, a_bases, a_row, a_column, b, b_bases, b_row, b_column, c, bias, m, n, k):
    """c[batch] = a[batch] @ b[batch], each on one thread; the bases are offsets in elements."""
    tasks = len(a_bases)
    if m * n * k * tasks > SMALL:
        parallel_for(
            _batch,
            tasks,
            (a, a_bases, a_row, a_column, b, b_bases, b_row, b_column, c, m, n, k, bias),
        )
    else:
        for task in range(tasks):
            _batch(task, a, a_bases, a_row, a_column, b, b_bases, b_row, b_column, c, m, n, k, bias)
