"""Matrix products of any strides, batched, with a bias: c = a @ b (+ bias).

Exactness: c[i, j] is the sum of blocks of KC terms in ascending order, each block one chain of
fused multiply-adds over k in ascending order. That order depends on k's size alone, so a row has
the same bits alone (decoding) and among thousands (training), on one thread and on many.

The blocking is Goto's (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication",
2008), reshaped for it:

- b is packed once, in parallel, into panels of TILE_COLUMNS vectors: panel[k][column] (packing.py).
  A small b is packed by each thread for itself, and where a has few rows a panel at a time.
- A task owns a block of c. It packs its rows of a, one KC or some, into a buffer that stays in L2,
  and runs the micro-kernel: TILE_ROWS x TILE_COLUMNS vectors of c in registers, over one KC block
  (tile.py). A transposed a, as gradients of weights have it, needs no transposing (packing.py).
- While a tile's products run, it asks for what comes next: its lines of c, a share of the next
  panel of b, and of the rows of a that are packed after these (`errand` in tile.py).
- A whole tile goes from registers to c. Edges go through the same micro-kernel on panels padded
  with zeros, and through a buffer, of which what exists is stored.
- Few rows (decoding) never pack: see few_rows.py.
"""

from __future__ import annotations

from math import prod

import numpy as np

from tensorlite.kernels import pool, simd
from tensorlite.kernels.epilogue import ACTIVATIONS, alone, alone_backward
from tensorlite.kernels.few_rows import KC, SMALL, gemm_few_rows, gemm_few_rows_by_panels
from tensorlite.kernels.jit import allocating, kernel, parallel_for, plain
from tensorlite.kernels.packing import COLUMNS, ROWS, STRIDE, pack_columns, pack_rows
from tensorlite.kernels.tile import TURN, errand, product_tile

PACKED = 1 << 21  # elements of b packed at a time: 8 MB of float32
# Elements of b up to which each thread packs it for itself: sooner done than fetched from the core
# that packed it (768 x 128 x 384 on two threads: 175 -> 158 us).
OWN = 1 << 17
MOST = 16 * ROWS  # rows of a that are packed at a time
# Rows of a up to which b is better packed panel by panel, and read once: they take 432 KB of L2 in
# float32, or 865 where vectors of 512 bits come with an L2 of 1 MB (512 rows on a Zen 4: .93 of the
# time on one thread, .86 on two). With 512 bits 256 rows and 768 columns fit, in whole panels.
FLAT = 792 if simd.REGISTER_BITS == 512 else 396
READY = -1  # in place of a stride: see gemm
SKINNY = 8  # up to this many rows, packing b would cost more than it saves

Array = np.ndarray


# ------------------------------------------------------------------------------------ the product


@allocating
def _block(
    task, a, a_base, a_row, a_column, packed, ready, c, c_base, c_row, bias, bias_base, accumulate,
    final, m, n, k, mc, nc, after, pre, y,
):  # fmt: skip
    """The block of mc x nc outputs numbered `task`; nc is a multiple of a panel's width.

    Panels that were `ready` lie whole, one after the other; those of `pack_columns` block by block.
    """
    across = (n + nc - 1) // nc
    i0, j0 = task // across * mc, task % across * nc
    i1, j1 = min(m, i0 + mc), min(n, j0 + nc)
    w = simd.lanes(c)
    width = COLUMNS * w
    panels = (n + width - 1) // width
    rows = i1 - i0
    groups = (rows + ROWS - 1) // ROWS
    buffer = simd.scratch(c, groups * ROWS * STRIDE + w * w)
    tile = simd.scratch(c, ROWS * width)
    tiles = groups * ((j1 - j0 + width - 1) // width)
    for k0 in range(0, k, KC):
        depth = min(KC, k - k0)
        source = a_base + i0 * a_row + k0 * a_column
        pack_rows(buffer, a, source, a_row, a_column, rows, depth)
        add = accumulate or k0 > 0
        last = final and k0 + depth == k
        turns = depth // TURN
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
        for j in range(j0, j1, width):
            panel = j * k + k0 * width if ready else k0 * panels * width + j * depth
            following = panel + (k if ready else depth) * width
            share = (depth * width + groups - 1) // groups if j + width < j1 else 0
            for g in range(groups):
                of_a = errand(a, coming + t * apart, apart, min(each, count - t), wide, turns)
                of_b = errand(packed, following + g * share, 0, 1, share, turns)
                product_tile(
                    tile, a, source, a_column, buffer, g, packed, panel, depth, c,
                    c_base + i0 * c_row + j, c_row, rows, min(width, n - j), add, bias,
                    bias_base + j, last, after, pre, y, a, of_a, packed, of_b,
                )  # fmt: skip
                t += each


@allocating
def _part(
    task, a, a_row, a_column, b, b_row, b_column, c, bias, accumulate, m, n, k, rows, after, pre, y
):
    """The product for `rows` rows of a, with b packed for this task alone."""
    width = COLUMNS * simd.lanes(c)
    packed = simd.scratch(c, (n + width - 1) // width * width * k)
    panels = (n + width - 1) // width * ((k + KC - 1) // KC)
    first = plain(0)
    pack_columns(first, packed, b, first, b_row, b_column, n, k, panels)
    for i in range(task * rows, min(m, (task + 1) * rows), MOST):
        count = min(MOST, (task + 1) * rows - i, m - i)
        _block(
            first, a, i * a_row, a_row, a_column, packed, plain(False), c, i * n, n, bias, first,
            accumulate, plain(True), count, n, k, count, n, after, pre, y,
        )  # fmt: skip


@allocating
def _strip(
    task, a, a_row, a_column, b, b_row, b_column, c, bias, accumulate, m, n, k, span, after, pre, y
):
    """The product for `span` columns. All rows of a are packed, as many blocks of KC at a time as
    stay in L2; each panel of b is packed into L1 and used at once, while the lines of the next one
    are fetched. The blocks that a is packed for follow each other, so c comes from memory once for
    all of them, not once for each (144 x 768 x 50,257 .84 to .86 of the time)."""
    w = simd.lanes(c)
    width = COLUMNS * w
    j0, j1 = task * span, min(n, (task + 1) * span)
    groups = (m + ROWS - 1) // ROWS
    size = groups * ROWS * STRIDE
    together = min((k + KC - 1) // KC, max(1, FLAT // (groups * ROWS))) * KC
    buffer = simd.scratch(c, together // KC * size + w * w)
    panel = simd.scratch(c, KC * width)
    tile = simd.scratch(c, ROWS * width)
    nothing = plain(0), plain(0), plain(0), plain(0)
    for first in range(0, k, together):
        stop = min(k, first + together)
        for k0 in range(first, stop, KC):
            to = buffer[(k0 - first) // KC * size :]
            pack_rows(to, a, k0 * a_column, a_row, a_column, m, min(KC, stop - k0))
        for j in range(j0, j1, width):
            columns = min(width, n - j)
            for k0 in range(first, stop, KC):
                depth = min(KC, k - k0)
                # What is packed next: this panel's next block, or the next panel's first.
                j_next, k_next = (j, k0 + depth) if k0 + depth < stop else (j + width, first)
                coming = min(KC, stop - k_next) if j_next < j1 else 0
                # It lies as so many rows, `apart`, of `wide` elements, for the tiles to ask for.
                if b_column == READY:
                    here = j * k + k0 * width
                    following = j_next * k + k_next * width
                    wide = (coming * width + groups - 1) // groups
                    apart, count = wide, groups
                else:
                    source = k0 * b_row + j * b_column
                    pack_columns(
                        plain(0), panel, b, source, b_row, b_column, columns, depth, plain(1)
                    )
                    here = (simd.address(panel) - simd.address(b)) // b.itemsize  # from b's first
                    following = k_next * b_row + j_next * b_column
                    wide, apart, count = coming, b_column, max(0, min(width, j1 - j_next))
                    if b_column == 1:
                        apart, wide, count = b_row, count, coming
                each = (count + groups - 1) // groups
                rows_of_a = buffer[(k0 - first) // KC * size :]
                for g in range(groups):
                    rows = min(each, count - g * each)
                    of_b = errand(b, following + g * each * apart, apart, rows, wide, depth // TURN)
                    product_tile(
                        tile, a, k0 * a_column, a_column, rows_of_a, g, b, here, depth, c, j, n, m,
                        columns, accumulate or k0 > 0, bias, j, k0 + depth == k, after, pre, y, a,
                        nothing, b, of_b,
                    )  # fmt: skip


@kernel
def gemm(a, a_row, a_column, b, b_row, b_column, c, bias, accumulate, m, n, k, after, pre, y):
    """c[i, j] (+)= sum_k a[i, k] b[k, j] + bias[j]; flat arrays, strides in elements.

    after: what happens to each finished tile of c, while it is in L1; see epilogue.py. 0: nothing
    b_column: READY says that b lies in panels, b[panel][k][column], and needs no packing
    """
    ready = b_column == READY
    width = COLUMNS * simd.lanes(c)
    shared = m * n * k > SMALL
    threads = pool.load(pool.THREADS)
    if not ready and shared and threads > 1 and n * k <= OWN and m >= 4 * ROWS * threads:
        rows = ((m + ROWS - 1) // ROWS + threads - 1) // threads * ROWS
        parallel_for(
            _part,
            (m + rows - 1) // rows,
            (
                a, a_row, a_column, b, b_row, b_column, c, bias, accumulate, m, n, k, rows, after,
                pre, y,
            ),
        )  # fmt: skip
        return
    if shared and m <= FLAT:
        panels = (n + width - 1) // width
        tasks = threads * max(1, min(4, panels // (16 * threads)))  # as many for each thread
        span = (panels + tasks - 1) // tasks * width
        parallel_for(
            _strip,
            (n + span - 1) // span,
            (
                a, a_row, a_column, b, b_row, b_column, c, bias, accumulate, m, n, k, span, after,
                pre, y,
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
    packed = simd.scratch(c, 0 if ready else n_step * k_step)
    run = 4 if shared else n_step * k_step
    tasks = 4 * threads if shared and threads > 1 else 1
    mc = m
    if shared:
        groups = (m + ROWS - 1) // ROWS
        parts = max((m + MOST - 1) // MOST, min(tasks, groups // 4))
        mc = (groups + parts - 1) // parts * ROWS  # as large as each other
    for jb in range(0, n, n_step):
        columns = min(n_step, n - jb)
        panels = (columns + width - 1) // width
        nc = columns
        while (m + mc - 1) // mc * ((columns + nc - 1) // nc) < tasks and nc > 2 * width:
            nc = (nc // 2 + width - 1) // width * width
        for kb in range(0, k, k_step):
            depth = min(k_step, k - kb)
            count = panels * ((depth + KC - 1) // KC)
            if not ready:
                parallel_for(
                    pack_columns,
                    (count + run - 1) // run,
                    (packed, b, kb * b_row + jb * b_column, b_row, b_column, columns, depth, run),
                )
            parallel_for(
                _block,
                ((m + mc - 1) // mc) * ((columns + nc - 1) // nc),
                (
                    a, kb * a_column, a_row, a_column, b if ready else packed, ready, c, jb, n,
                    bias, jb, accumulate or kb > 0, kb + depth == k, m, columns, depth, mc, nc,
                    after, pre, y,
                ),
            )  # fmt: skip


@allocating
def _batch(
    task, a, a_bases, a_row, a_column, b, b_bases, b_row, b_column, c, m, n, k, bias
):  # fmt: skip
    """One product of the batch, whole."""
    width = COLUMNS * simd.lanes(c)
    packed = simd.scratch(c, (n + width - 1) // width * width * k)
    panels = (n + width - 1) // width * ((k + KC - 1) // KC)
    first = plain(0)
    pack_columns(first, packed, b, b_bases[task], b_row, b_column, n, k, panels)
    _block(
        first, a, a_bases[task], a_row, a_column, packed, plain(False), c, task * m * n, n, bias,
        first, plain(False), plain(True), m, n, k, m, n, first, c, c,
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


# -------------------------------------------------------------------------------- for Python


def _strided(x: Array) -> tuple[Array, int, int]:
    """A matrix as a flat array with its row and column strides, one of which is 1."""
    if x.flags.c_contiguous:
        return x.ravel(), x.shape[1], 1
    if x.flags.f_contiguous:
        return x.T.ravel(), 1, x.shape[0]
    return np.ascontiguousarray(x).ravel(), x.shape[1], 1


_NOTHING = {np.dtype(t): np.empty(0, t) for t in (np.float32, np.float64)}


def product(
    a: Array,
    b: Array,
    bias: Array | None = None,
    out: Array | None = None,
    accumulate: bool = False,
) -> Array:
    """a @ b + bias: (M, K) @ (K, N) + (N,) -> (M, N).

    With `out` (contiguous) the result is written there, or added to it with `accumulate`.
    """
    m, k = a.shape
    n = b.shape[1]
    c = np.empty((m, n), a.dtype) if out is None else out
    if c.size == 0:
        return c
    if k == 0:
        if not accumulate:
            c[:] = 0 if bias is None else bias
        return c
    nothing = _NOTHING[a.dtype]
    added = nothing if bias is None else bias
    b_flat, b_row, b_column = _strided(b)
    if m <= SKINNY:
        gemm_few_rows(a.ravel(), b_flat, b_row, b_column, c.ravel(), added, accumulate, m, n, k)
    else:
        gemm(
            *_strided(a), b_flat, b_row, b_column, c.ravel(), added, accumulate, m, n, k,
            0, nothing, nothing,
        )  # fmt: skip
    return c


def linear_activation(
    x: Array, weight: Array, bias: Array | None, name: str
) -> tuple[Array, Array]:
    """c = x @ weight.T + bias and the activation of c: (M, K), (N, K), (N,) -> (M, N) twice.

    name: one of ACTIVATIONS. It is computed while c is in L1, to the bits of the one alone.
    """
    (m, k), n = x.shape, len(weight)
    if m <= SKINNY or n == 0 or k == 0:
        c = product(x, weight.T, bias)
        return c, alone(name)(c)
    nothing = _NOTHING[x.dtype]
    c, y = np.empty((m, n), x.dtype), np.empty((m, n), x.dtype)
    gemm(
        *_strided(x), *_strided(weight.T), c.ravel(), nothing if bias is None else bias, False,
        m, n, k, ACTIVATIONS.index(name), nothing, y.ravel(),
    )  # fmt: skip
    return c, y


def product_activation_backward(
    g: Array, weight: Array, c: Array, name: str, y: Array | None = None
) -> tuple[Array, Array]:
    """The gradient of c where g is that of f(c) @ weight.T, and f(c), f the activation.

    gc = (g @ weight) f'(c): g (M, N), weight (N, K), c (M, K) -> gc and f(c), both (M, K). f(c) is
    computed anew unless it is given as y, which is where the two are small: a pass of its own over
    what is in L2 takes less than one tile by tile.
    """
    (m, n), k = g.shape, weight.shape[1]
    if y is not None or m <= SKINNY or n == 0 or k == 0:
        gc = alone_backward(name)(product(g, weight), c)
        return gc, alone(name)(c) if y is None else y
    nothing = _NOTHING[g.dtype]
    gc, y = np.empty((m, k), g.dtype), np.empty((m, k), g.dtype)
    gemm(
        *_strided(g), *_strided(weight), gc.ravel(), nothing, False, m, k, n,
        -ACTIVATIONS.index(name), c.ravel(), y.ravel(),
    )  # fmt: skip
    return gc, y


def panel_width(dtype: np.dtype) -> int:
    """Columns of a panel for this dtype on this processor."""
    return COLUMNS * simd.REGISTER_BITS // (8 * dtype.itemsize)


def panel_product(
    a: Array, panels: Array, n: int, bias: Array | None = None, name: str = ""
) -> tuple[Array, Array]:
    """c = a @ b + bias where b[k, j] = panels[j // w, k, j % w], and the activation `name` of c.

    a (M, K), panels (ceil(n / w), K, w) contiguous with w = panel_width(dtype), bias (n) -> (M, n)
    twice, c itself if there is no activation. The same bits as `product` and `linear_activation`,
    with nothing to pack.
    """
    m, k = a.shape
    c = np.empty((m, n), a.dtype)
    nothing = _NOTHING[a.dtype]
    added = nothing if bias is None else bias
    if m <= SKINNY:
        gemm_few_rows_by_panels(a.ravel(), panels.ravel(), c.ravel(), added, m, n, k)
        return c, alone(name)(c) if name else c
    y = np.empty((m, n), a.dtype) if name else nothing
    gemm(
        *_strided(a), panels.ravel(), 0, READY, c.ravel(), added, False, m, n, k,
        ACTIVATIONS.index(name), nothing, y.ravel(),
    )  # fmt: skip
    return c, y if name else c


def matmul(a: Array, b: Array) -> Array:
    """a @ b over the last two axes; the axes before them broadcast: (..., M, K) @ (..., K, N)."""
    if b.ndim == 2:
        rows = a if a.ndim == 2 else a.reshape(prod(a.shape[:-1]), a.shape[-1])
        return product(rows, b).reshape(*a.shape[:-1], b.shape[-1])
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    c = np.empty((*batch, m, n), a.dtype)
    if c.size == 0 or k == 0:
        c[:] = 0
        return c
    a_flat, a_bases, a_row, a_column = _batched(a, batch)
    b_flat, b_bases, b_row, b_column = _batched(b, batch)
    if len(a_bases) == 1 and m > SKINNY:  # one large product uses all threads inside
        gemm(
            a_flat, a_row, a_column, b_flat, b_row, b_column, c.ravel(), _NOTHING[a.dtype],
            False, m, n, k, 0, _NOTHING[a.dtype], _NOTHING[a.dtype],
        )  # fmt: skip
    else:
        gemm_batched(
            a_flat, a_bases, a_row, a_column, b_flat, b_bases, b_row, b_column, c.ravel(),
            _NOTHING[a.dtype], m, n, k,
        )  # fmt: skip
    return c


def _batched(x: Array, batch: tuple[int, ...]) -> tuple[Array, Array, int, int]:
    """A stack of matrices as a flat array, the offset of each, and the strides inside each."""
    rows, columns = x.shape[-2:]
    if x.flags.c_contiguous:
        flat, row, column = x.ravel(), columns, 1
    elif x.mT.flags.c_contiguous:
        flat, row, column = x.mT.ravel(), 1, rows
    else:
        flat, row, column = np.ascontiguousarray(x).ravel(), columns, 1
    count = int(np.prod(x.shape[:-2]))
    bases = np.arange(count).reshape(x.shape[:-2]) * (rows * columns)
    return flat, np.broadcast_to(bases, batch).ravel(), row, column
