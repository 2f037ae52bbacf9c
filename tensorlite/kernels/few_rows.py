"""The matrix product for few rows of a, as decoding needs it: b is read once and never packed.

It is bound by the memory that b lies in, and so by how well memory is read ahead:

- Where b's rows are contiguous (a weight (N, K) held column by column, seen as its transpose), a
  task takes one block of k and walks down it, long stretches of some rows at a time, at 90 to 100 %
  of the speed of memory. Blocks of k have sums of their own, so that tasks may share k too.
- Where b lies in panels (a weight packed by ops/packed.py), each is read from its first element to
  its last, on any number of threads, at 94 to 100 % of the speed of memory; sums stay in registers
  (768 x 768 on two threads of a Zen 4: .53 -> .94 of it).
- Where b's columns are contiguous (a weight (N, K) as it is trained), squares of lanes x lanes are
  transposed in registers. The chain of additions takes as long as memory does, and what of it does
  not overlap costs a fifth. While a strip of columns is computed, the next one is asked for in the
  order in which it lies in memory (26 -> 32 GB/s where memory has 40).

The order of additions is that of gemm.py's multiply-adds, to the bit.
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import pool, simd
from tensorlite.kernels.jit import allocating, inline, kernel, parallel_for

# The order of additions: one chain of FMAs over each block of KC, the blocks added in turn; that of
# tile registers is in parts.py. In the packed product 12 x 256 of a and 256 x 32 of b pass through
# L1; longer blocks gained nothing.
KC = 256
COLUMNS = simd.TILE_COLUMNS  # vectors of a panel
SMALL = 1 << 17  # multiply-adds below which a second thread does not pay for its launch
TASKS = 2  # at least so many a thread, if work is shared; more would walk down shorter stretches
SUMS = 1 << 12  # sums of a task, 16 KB of float32: they stay in L1 while b passes by
# Of one row on one thread: in L2, for b passes no faster than they do, and in longer stretches
# (50,257 x 768: 32 -> 36 GB/s).
SUMS_OF_ONE = 1 << 16
SHORTEST = 1 << 8  # columns of a task at least: 1 KB of a row of b is worth reading ahead


# ------------------------------------------------------------------------- b's rows are contiguous


def _adding(rows, deep, vectors):
    """The function that adds `deep` rows of b at a time to the sums of `rows` rows of a, taking so
    many vectors of each in one go."""

    @inline
    def add_rows(sums, to, a, x, b, row, b_row, n, k, columns):
        """sums[r, :] += sum over q < deep of a[r, x + q] b[row + q b_row :], q ascending."""
        w = simd.lanes(b)
        zero = simd.zero(b)
        j = 0
        while j + vectors * w <= columns:
            t = simd.tile_load(sums, to + j, n, rows, vectors)
            for q in range(deep):
                if rows > 1:  # more to do than the processor looks ahead: 19 -> 30 GB/s
                    simd.prefetch(b, row + (q + deep) * b_row + j)
                t = simd.outer_strided(t, a, x + q, k, b, row + q * b_row + j)
            simd.tile_store(sums, to + j, n, t)
            j += vectors * w
        while j < columns:
            left = columns - j
            for r in range(rows):
                s = simd.take(sums, to + r * n + j, left, zero)
                for q in range(deep):
                    v = simd.take(b, row + q * b_row + j, left, zero)
                    s = simd.fma(simd.spread(a, r * k + x + q), v, s)
                simd.put(sums, to + r * n + j, left, s)
            j += w

    return add_rows


# Sums are loaded and stored once for `deep` rows of b: 26 -> 34 GB/s for four. A single row of a
# takes eight, four vectors of each at a time: 34 -> 37 GB/s of 39.
_add_to_single = _adding(1, 8, 4)
_add_to_one, _add_to_two, _add_to_four = _adding(1, 4, 1), _adding(2, 4, 1), _adding(4, 4, 1)


@inline
def _down_a_block(task, a, b, b_row, sums, m, n, k, span):
    """sums[block, r, j] = sum of a[r, p] b[p, j] over the p of one block, for a span of columns."""
    w = simd.lanes(b)
    zero = simd.zero(b)
    spans = (n + span - 1) // span
    block, j0 = task // spans, task % spans * span
    columns = min(span, n - j0)
    to = block * m * n + j0
    for r in range(m):
        for j in range(0, columns, w):
            simd.put(sums, to + r * n + j, columns - j, zero)
    p, end = block * KC, min(k, (block + 1) * KC)
    while m == 1 and p + 8 <= end:
        _add_to_single(sums, to, a, p, b, p * b_row + j0, b_row, n, k, columns)
        p += 8
    while p + 4 <= end:
        row, r = p * b_row + j0, 0
        while r + 4 <= m:
            _add_to_four(sums, to + r * n, a, r * k + p, b, row, b_row, n, k, columns)
            r += 4
        if r + 2 <= m:
            _add_to_two(sums, to + r * n, a, r * k + p, b, row, b_row, n, k, columns)
            r += 2
        if r < m:
            _add_to_one(sums, to + r * n, a, r * k + p, b, row, b_row, n, k, columns)
        p += 4
    while p < end:
        for r in range(m):
            x, here = simd.spread(a, r * k + p), to + r * n
            for j in range(0, columns, w):
                v = simd.take(b, p * b_row + j0 + j, columns - j, zero)
                s = simd.fma(x, v, simd.take(sums, here + j, columns - j, zero))
                simd.put(sums, here + j, columns - j, s)
        p += 1


@inline
def _add_blocks(task, sums, c, bias, accumulate, m, n, blocks, span):
    """c (+)= the sums of the blocks, in ascending order, + bias, for a span of columns."""
    w = simd.lanes(c)
    zero = simd.zero(c)
    for r in range(m):
        for j in range(task * span, min(n, (task + 1) * span), w):
            left, to = n - j, r * n + j
            v = simd.take(sums, to, left, zero)
            if accumulate:
                v = simd.take(c, to, left, zero) + v
            for block in range(1, blocks):
                v = v + simd.take(sums, block * m * n + to, left, zero)
            if bias.size > 0:
                v = v + simd.take(bias, j, left, zero)
            simd.put(c, to, left, v)


@allocating
def _by_rows(a, b, b_row, c, bias, accumulate, m, n, k):
    w = simd.lanes(c)
    blocks = (k + KC - 1) // KC
    spans = 1
    if m * n * k >= SMALL:
        threads = pool.load(pool.THREADS)
        most = SUMS_OF_ONE if m == threads == 1 else SUMS
        spans = (n * m + most - 1) // most
        tasks = TASKS * threads
        while blocks * spans < tasks and n // (spans + 1) >= SHORTEST:
            spans += 1
    span = (n + spans * w - 1) // (spans * w) * w
    spans = (n + span - 1) // span
    add_span = n if blocks * m * n < SMALL else SUMS
    sums = simd.scratch(c, blocks * m * n)
    parallel_for(_down_a_block, blocks * spans, (a, b, b_row, sums, m, n, k, span))
    adds = (n + add_span - 1) // add_span
    parallel_for(_add_blocks, adds, (sums, c, bias, accumulate, m, n, blocks, add_span))


# ---------------------------------------------------------------------- b's columns are contiguous


@allocating
def _across_columns(task, a, b, b_column, c, bias, accumulate, m, n, k, span):
    """c[:, span * task :][: , : span], a strip of as many columns as a vector has lanes a time."""
    w = simd.lanes(c)
    sums = simd.scratch(c, m * w)
    zero = simd.zero(c)
    for j in range(task * span, min(n, (task + 1) * span), w):
        columns = min(w, n - j)
        next_strip = (j + w) * b_column  # what of it is asked for next
        for k0 in range(0, k, KC):
            depth = min(KC, k - k0)
            sums[:] = 0
            _strip(sums, a, k0, k, m, b, k0 + j * b_column, b_column, columns, depth, next_strip)
            next_strip += depth * w
            add = accumulate or k0 > 0
            biased = k0 + depth == k and bias.size > 0
            for r in range(m):
                here = r * n + j
                v = simd.load(sums, r * w)
                if add:
                    v = simd.load_part(c, here, columns, zero) + v
                if biased:
                    v = v + simd.load_part(bias, j, columns, zero)
                simd.store_part(c, here, columns, v)


def _strip(sums, a, a_at, a_row, m, b, source, b_column, columns, depth, next_strip):
    """sums[r, :] += a[r, k] b[k, :], k ascending: lanes x lanes squares, transposed in registers.
    Of memory from next_strip on as much is fetched as is used here."""
    raise NotImplementedError


@simd.overload(_strip, allocates=True, inline="always")
def _(sums, a, a_at, a_row, m, b, source, b_column, columns, depth, next_strip):
    w = simd.vector_type(b).lanes
    line = 64 * 8 // simd.vector_type(b).dtype.bitwidth  # elements

    def implementation(sums, a, a_at, a_row, m, b, source, b_column, columns, depth, next_strip):
        p = 0
        if columns == w:
            while p + w <= depth:
                for ahead in range(0, w * w, line):
                    simd.prefetch(b, next_strip + p * w + ahead)
                square = simd.transpose(simd.tile_load(b, source + p, b_column, w, 1))
                for r in range(m):
                    v = simd.chain(square, a, a_at + r * a_row + p, 1, simd.load(sums, r * w))
                    simd.store(sums, r * w, v)
                p += w
        column = np.zeros(w, b.dtype)
        while p < depth:
            for q in range(columns):
                column[q] = b[source + p + q * b_column]
            v = simd.load(column, 0)
            for r in range(m):
                x = simd.splat(a[a_at + r * a_row + p])
                simd.store(sums, r * w, simd.fma(x, v, simd.load(sums, r * w)))
            p += 1

    return implementation


@allocating
def _by_columns(a, b, b_column, c, bias, accumulate, m, n, k):
    span = n if m * n * k < SMALL else 8 * simd.lanes(c)
    tasks = (n + span - 1) // span
    parallel_for(_across_columns, tasks, (a, b, b_column, c, bias, accumulate, m, n, k, span))


# ------------------------------------------------------------------------------------ b in panels


def _panel_product(rows):
    """The function that multiplies `rows` rows of a by a block of a panel."""

    @inline
    def add_block(sums, to, a, at, k, b, panel, depth, first):
        """sums[r, :] (+)= sum over p < depth of a[r, p] b[p, :], p ascending."""
        width = COLUMNS * simd.lanes(b)
        t = simd.tile(b, rows, COLUMNS)
        for p in range(depth):
            t = simd.outer_strided(t, a, at + p, k, b, panel + p * width)
        if not first:
            t = simd.tile_plus(t, sums, to, width)
        simd.tile_store(sums, to, width, t)

    return add_block


_panel_of_one, _panel_of_two, _panel_of_four = (_panel_product(rows) for rows in (1, 2, 4))


@allocating
def _down_panels(task, a, b, c, bias, m, n, k, run):
    """c = a b + bias for the columns of `run` panels of b."""
    w = simd.lanes(c)
    width = COLUMNS * w
    zero = simd.zero(c)
    sums = simd.scratch(c, m * width)
    for j in range(task * run * width, min(n, (task + 1) * run * width), width):
        for k0 in range(0, k, KC):
            depth, panel, first, r = min(KC, k - k0), j * k + k0 * width, k0 == 0, 0
            while r + 4 <= m:
                _panel_of_four(sums, r * width, a, r * k + k0, k, b, panel, depth, first)
                r += 4
            if r + 2 <= m:
                _panel_of_two(sums, r * width, a, r * k + k0, k, b, panel, depth, first)
                r += 2
            if r < m:
                _panel_of_one(sums, r * width, a, r * k + k0, k, b, panel, depth, first)
        for r in range(m):
            for q in range(0, width, w):
                left = n - j - q
                v = simd.load(sums, r * width + q)
                if bias.size > 0:
                    v = v + simd.take(bias, j + q, left, zero)
                simd.put(c, r * n + j + q, left, v)


@kernel
def gemm_few_rows_by_panels(a, b, c, bias, m, n, k):
    """c = a b + bias: a (m, k), c (m, n) contiguous, b in panels, b[panel][k][column]."""
    width = COLUMNS * simd.lanes(c)
    panels = (n + width - 1) // width
    run = panels
    if m * n * k >= SMALL:
        tasks = TASKS * pool.load(pool.THREADS)
        run = (panels + tasks - 1) // tasks
    parallel_for(_down_panels, (panels + run - 1) // run, (a, b, c, bias, m, n, k, run))


# --------------------------------------------------------------------------------------- the kernel


@kernel
def gemm_few_rows(a, b, b_row, b_column, c, bias, accumulate, m, n, k):
    """c (+)= a b + bias: a (m, k) and c (m, n) contiguous, b (k, n) with one stride of 1."""
    if b_column == 1:
        _by_rows(a, b, b_row, c, bias, accumulate, m, n, k)
    else:
        _by_columns(a, b, b_column, c, bias, accumulate, m, n, k)
