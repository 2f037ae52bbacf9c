"""Few rows of a by a matrix, in the order of parts.py, computed by vectors.

Decoding reads a matrix once for a row or two, and 16 rows of a tile register would wait for it to
be packed; so they would in a product that is tiny. The same chains of fused multiply-adds take 6
instructions a vector of b and row, and its parts another 6, which memory leaves time for if it is
asked ahead (768 x 3,072 on a Sapphire Rapids: 1.42 -> 1.06 of the time of multiply-adds alone).
"""

from __future__ import annotations

from tensorlite.kernels import pool, simd
from tensorlite.kernels.few_rows import KC, SMALL, TASKS
from tensorlite.kernels.gemm import ROWS_AHEAD, STRETCH
from tensorlite.kernels.jit import allocating, apart, inline, kernel, parallel_for
from tensorlite.kernels.parts import DEEP, PAIRS, SIDE, SIZE, is_finite, mend

PRODUCTS = len(simd.PRODUCTS)
MOST = 2  # rows up to which this is quicker than tile registers
AHEAD = 1 << 11  # elements that a panel is asked for ahead


@inline
def _split_rows(parts, plane, a, m, k):
    """parts[p plane :] become part p of a (m, k), each row followed by zeros up to a whole step."""
    zero = simd.zero(a)
    deep = (k + DEEP - 1) // DEEP * DEEP
    for r in range(m):
        for p in range(0, deep, PAIRS):
            found = simd.split(simd.take(a, r * k + p, k - p, zero))
            at = r * deep + p
            simd.store(parts, at, simd.tile_row(found, 0, 0))
            simd.store(parts, plane + at, simd.tile_row(found, 1, 0))
            simd.store(parts, 2 * plane + at, simd.tile_row(found, 2, 0))


@inline
def _chains(parts, plane, i, b, j, step, terms, asked, ask, stride):
    """For each product of parts and each of two vectors, the chain over 16 terms, or over
    fewer and a 0, which makes a sum of -0 what it is where all 16 are added. A term asks for as
    much as it takes: asked[ask + p stride :][:32]."""
    chains = simd.tile(b, PRODUCTS, 2)
    for p in range(min(PAIRS, terms + 1)):
        simd.prefetch(asked, ask + p * stride)
        simd.prefetch(asked, ask + p * stride + PAIRS)
        chains = simd.outer_parts(chains, parts, i + p, plane, b, j + p * step)
    return chains


@inline
def _add_step(sums, to, parts, plane, i, b, j, step, terms, asked, ask, stride):
    """sums[to:][:32] += a step of a row's product with b[j + p step :][:32], p < 32."""
    first = _chains(parts, plane, i, b, j, step, terms, asked, ask, stride)
    second = _chains(
        parts, plane, i + PAIRS, b, j + PAIRS * step, step, terms - PAIRS, asked,
        ask + PAIRS * stride, stride,
    )  # fmt: skip
    t = simd.add_chains(simd.tile_load(sums, to, 0, 1, 2), first, second)
    simd.tile_store(sums, to, 0, t)


@apart
def _copy(block, b, at, row, column, terms, columns):
    """block[p][j] = b[at + p row + j column], zeros where there is nothing."""
    zero = simd.zero(b)
    if row == 1 and column > 1 and terms == DEEP and columns == SIDE:
        for p in range(0, DEEP, PAIRS):
            for j in range(0, SIDE, PAIRS):
                square = simd.tile_load(b, at + j * column + p, column, PAIRS, 1)
                simd.tile_store(block, p * SIDE + j, SIDE, simd.transpose(square))
    elif column == 1:
        for p in range(DEEP):
            for j in range(0, SIDE, PAIRS):
                n = columns - j if p < terms else 0
                simd.store(block, p * SIDE + j, simd.take(b, at + p * row + j, n, zero))
    else:
        block[: DEEP * SIDE] = 0
        for p in range(terms):
            for j in range(columns):
                block[p * SIDE + j] = b[at + p * row + j * column]


@apart
def _add_steps(sums, to, parts, plane, b, b_row, b_column, jump, m, n, k, j, p, stop, block):
    """sums[to + r SIDE :][:32] += the product of row r with a panel of b, from column j on, for the
    terms from p to stop."""
    deep, columns = plane // m, min(SIDE, n - j)
    while p < stop:
        at = p * b_row + j * jump
        if b_column == 1 and p + DEEP <= k and columns == SIDE:
            ask = at + (ROWS_AHEAD * b_row if jump == 1 else AHEAD)
            for r in range(m):
                x = r * deep + p
                _add_step(sums, to + r * SIDE, parts, plane, x, b, at, b_row, DEEP, b, ask, b_row)
        else:
            _copy(block, b, at, b_row, b_column, min(DEEP, k - p), columns)
            # Of the next panel as much, in the order in which it lies.
            ask, line = ((j + SIDE) * jump + SIDE * p, SIDE) if b_row == 1 else (at, b_row)
            for r in range(m):
                x = r * deep + p
                _add_step(sums, to + r * SIDE, parts, plane, x, block, 0, SIDE, k - p, b, ask, line)
        p += DEEP


@allocating
def _panels(task, a, parts, b, b_row, b_column, jump, c, bias, accumulate, m, n, k, run):
    """c for `run` panels of 32 columns, STRETCH at a time where rows of b are contiguous."""
    zero = simd.zero(c)
    plane = m * ((k + DEEP - 1) // DEEP * DEEP)
    sums, block = simd.scratch(c, STRETCH * m * SIDE), simd.scratch(c, DEEP * SIDE)
    spare = simd.scratch(c, 3 * SIZE + SIDE)
    end = min(n, (task + 1) * run * SIDE)
    wide, deep = (STRETCH * SIDE, DEEP) if jump == 1 else (SIDE, KC)  # read in one go
    for first in range(task * run * SIDE, end, wide):
        stop = min(end, first + wide)
        for k0 in range(0, k, KC):
            depth = min(KC, k - k0)
            sums[:] = 0
            before = simd.flush_denormals()
            for p in range(k0, k0 + depth, deep):
                for j in range(first, stop, SIDE):
                    _add_steps(
                        sums, (j - first) * m, parts, plane, b, b_row, b_column, jump, m, n, k, j,
                        p, min(p + deep, k0 + depth), block,
                    )  # fmt: skip
            simd.restore_denormals(before)
            last = k0 + depth == k and bias.size > 0
            for j in range(first, stop, SIDE):
                columns = min(SIDE, n - j)
                found = sums[(j - first) * m :]
                if not is_finite(found, 0, m, columns):
                    at = k0 * b_row + j * jump
                    spare[: m * SIDE] = found[: m * SIDE]
                    mend(spare, 0, a, k0, k, 1, b, at, b_row, b_column, depth, m, columns)
                    found[: m * SIDE] = spare[: m * SIDE]
                for r in range(m):
                    for q in range(0, columns, PAIRS):
                        to, left = r * n + j + q, columns - q
                        v = simd.load(found, r * SIDE + q)
                        if accumulate or k0 > 0:
                            v = simd.take(c, to, left, zero) + v
                        if last:
                            v = v + simd.take(bias, j + q, left, zero)
                        simd.put(c, to, left, v)


@kernel
def gemm_few_rows_of_parts(a, b, b_row, b_column, jump, c, bias, accumulate, m, n, k):
    """c (+)= a b + bias: a (m, k) and c (m, n) contiguous, b (k, n) with one stride of 1, and
    `jump` elements from one panel of 32 columns to the next, a column."""
    plane = m * ((k + DEEP - 1) // DEEP * DEEP)
    parts = simd.scratch(a, 3 * plane)
    before = simd.flush_denormals()
    _split_rows(parts, plane, a, m, k)
    simd.restore_denormals(before)
    panels = (n + SIDE - 1) // SIDE
    run = panels
    if m * n * k >= SMALL:
        tasks = TASKS * pool.load(pool.THREADS)
        run = (panels + tasks - 1) // tasks
    parallel_for(
        _panels,
        (panels + run - 1) // run,
        (a, parts, b, b_row, b_column, jump, c, bias, accumulate, m, n, k, run),
    )
