"""float32 products by tile registers, as Intel's processors have them from Sapphire Rapids on.

A tile register multiplies bfloat16, 8 significant bits, 16 times as fast as vectors multiply
float32, and adds in float32. A float32 is the sum of three such numbers, its high, middle and low
part, with nothing lost. Of the nine products of parts the six largest are computed:

    x y = h l' + h m' + m m' + m h' + l h' + h h' + (at most 2^-24 |x y|, 2^-27 in the mean)

So a product is as exact as one of fused multiply-adds, whose sums lose up to 2^-24 each, at 16 / 6
of their speed. What is below the normal numbers, 2^-126, counts as 0, parts too: an x below 2^-103
(1e-31) loses its low part, and up to 2^-126 with it. The way is that of Henry, Tang and Heinecke,
"Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations" (2019).

The order of additions is fixed, as that of gemm.py is. Blocks of KC are added in ascending order;
in a block, steps of 32 terms; in a step, the six products as they stand above; of each, the sum of
two chains of 16 fused multiply-adds, the first over terms 0 to 15 and the second over 16 to 31.
A block's sum that is not finite is made anew, by one chain of fused multiply-adds: an infinity has
no parts.
"""

from __future__ import annotations

from tensorlite.kernels import simd
from tensorlite.kernels.epilogue import finish
from tensorlite.kernels.errands import ask_for_four, ask_for_row
from tensorlite.kernels.few_rows import KC
from tensorlite.kernels.jit import apart, inline, source

PAIRS = simd.PAIRS
SIDE = 2 * PAIRS  # rows of a and columns of b that meet in a tile of c
DEEP = 2 * PAIRS  # terms of a step
STEP = 6 * simd.TILE  # elements of float32 that a step of a panel takes: six registers
ROOM = 2 * simd.TILE  # elements in which a square is turned, or an edge is filled up
FLAT = MOST = 16 * SIDE  # rows of a that take 768 KB of L2, packed


# ------------------------------------------------------------------------------------------ packing
# Panels of 32 rows of a, or columns of b, are packed step by step: [step][part][half][register].
# A register of a holds 16 rows, each of 16 pairs, of terms k and k + 16; one of b holds 16 such
# pairs of terms, each of 16 columns. So two vectors of 16 numbers become three of pairs, whether
# they come from one row or from two.


@inline
def _pack_lines(packed, at, x, source, line, pair, ahead):
    """A register's worth of each part, from 16 pairs of vectors, at x[source + r line :] and
    `pair` further. What lies `ahead` of them is asked for."""
    for r in range(PAIRS):
        here = source + r * line
        if ahead != 0:
            simd.prefetch_to_l2(x, here + ahead)
            simd.prefetch_to_l2(x, here + pair + ahead)
        parts = simd.split_pairs(simd.load(x, here), simd.load(x, here + pair))
        simd.store(packed, at + r * PAIRS, simd.tile_row(parts, 0, 0))
        simd.store(packed, at + r * PAIRS + 2 * simd.TILE, simd.tile_row(parts, 1, 0))
        simd.store(packed, at + r * PAIRS + 4 * simd.TILE, simd.tile_row(parts, 2, 0))


@inline
def _turn(room, at, x, source, line, ahead):
    """A square of 16 x 16, transposed."""
    if ahead != 0:
        for r in range(PAIRS):
            simd.prefetch_to_l2(x, source + r * line + ahead)
    square = simd.tile_load(x, source, line, PAIRS, 1)
    simd.tile_store(room, at, PAIRS, simd.transpose(square))


@apart
def _pack_panel(packed, at, x, source, across, down, count, depth, columns, room, ahead):
    """A panel of `count` rows of a, or of columns of b, whose number i has its term k at
    x[source + i across + k down]; one of the two strides is 1."""
    zero = simd.zero(x)
    straight = across == 1 if columns else down == 1
    along = straight != columns  # terms of one row or column lie side by side
    for k in range(0, depth, DEEP):
        for half in range(2):
            i, to = half * PAIRS, at + k // DEEP * STEP + half * simd.TILE
            here = source + i * across + k * down
            if i + PAIRS <= count and k + DEEP <= depth:
                if straight and columns:
                    _pack_lines(packed, to, x, here, down, PAIRS * down, ahead)
                elif straight:
                    _pack_lines(packed, to, x, here, across, PAIRS, ahead)
                else:
                    line, pair = (across, PAIRS) if along else (down, PAIRS * down)
                    _turn(room, 0, x, here, line, ahead)
                    _turn(room, simd.TILE, x, here + pair, line, ahead)
                    _pack_lines(packed, to, room, 0, PAIRS, simd.TILE, 0)
            elif i < count:  # an edge: zeros beyond it
                wanted = count - i
                if along:  # 16 lines of 32 terms, in two squares
                    for r in range(PAIRS):
                        n = depth - k if r < wanted else 0
                        for s in range(2):
                            v = simd.take(x, here + r * across + s * PAIRS, n - s * PAIRS, zero)
                            simd.store(room, s * simd.TILE + r * PAIRS, v)
                else:  # 32 lines of 16
                    for r in range(DEEP):
                        n = wanted if k + r < depth else 0
                        simd.store(room, r * PAIRS, simd.take(x, here + r * down, n, zero))
                if not straight:
                    _turn(room, 0, room, 0, PAIRS, 0)
                    _turn(room, simd.TILE, room, simd.TILE, PAIRS, 0)
                _pack_lines(packed, to, room, 0, PAIRS, simd.TILE, 0)


@inline
def room_for_panel(depth):
    """Elements of float32 that a packed panel takes."""
    return (depth + DEEP - 1) // DEEP * STEP


@inline
def pack_rows(packed, a, base, row_stride, column_stride, rows, depth):
    """Rows of a, panel by panel; after the last there is room for ROOM elements."""
    panels = (rows + SIDE - 1) // SIDE
    room = packed[panels * room_for_panel(KC) :]
    before = simd.flush_denormals()
    for panel in range(panels):
        _pack_panel(
            packed, panel * room_for_panel(KC), a, base + panel * SIDE * row_stride, row_stride,
            column_stride, min(SIDE, rows - panel * SIDE), depth, False, room, 0,
        )  # fmt: skip
    simd.restore_denormals(before)


@inline
def pack_columns(task, packed, b, base, row_stride, column_stride, jump, n, k, run, room, ahead):
    """`run` panels, all of one block of k, then all of the next. Panels of b are `jump` elements a
    column apart, columns within one column_stride."""
    panels = (n + SIDE - 1) // SIDE
    number, end = task * run, min((task + 1) * run, panels * ((k + KC - 1) // KC))
    # Rows of b that are contiguous are read in stretches as long as there are panels.
    deep = DEEP if column_stride == 1 else KC
    before = simd.flush_denormals()
    while number < end:
        k0, first = number // panels * KC, number % panels
        last = min(panels, first + end - number)
        depth = min(KC, k - k0)
        for p in range(0, depth, deep):
            for panel in range(first, last):
                at = k0 // KC * panels * room_for_panel(KC) + panel * room_for_panel(depth)
                _pack_panel(
                    packed, at + p // DEEP * STEP, b,
                    base + (k0 + p) * row_stride + panel * SIDE * jump, column_stride, row_stride,
                    min(SIDE, n - panel * SIDE), min(deep, depth - p), True, room, ahead,
                )  # fmt: skip
        number += last - first
    simd.restore_denormals(before)


# ----------------------------------------------------------------------------------------- the tile
# What tile registers leave is written to c by vectors, which have nothing to do while the registers
# multiply. So a tile waits, in one of two buffers, and is written while the next one's products
# run, a few rows a step; with it goes what belongs to it, as numbers.

AT, COUNT, COLUMNS, BIAS_AT, ADD, LAST, A_AT, B_AT, DEPTH, MENDED, SLOT = range(11)
WAITING = 11  # of these numbers
SIZE = SIDE * SIDE

_finish = apart(source(finish))  # long, and called for some rows at a time


@inline
def is_finite(tile, at, rows, columns):
    """Whether all sums of some rows are."""
    s0, s1 = simd.zero(tile), simd.zero(tile)
    for r in range(rows):
        s0 = simd.fma(simd.load(tile, at + r * SIDE), 0.0, s0)
        if columns > PAIRS:
            s1 = simd.fma(simd.load(tile, at + r * SIDE + PAIRS), 0.0, s1)
    return simd.total(s0 + s1) == 0


@apart
def mend(tile, at, a, a_at, a_row, a_column, b, b_at, b_row, b_column, depth, rows, columns):
    """Make sums anew that are not finite: by one chain of fused multiply-adds. Behind both buffers
    there is room for a tile and a row of b. Much slower, and hardly ever needed."""
    sums, line = 2 * SIZE, 3 * SIZE
    tile[sums : line + SIDE] = 0
    for k in range(depth):
        for j in range(columns):
            tile[line + j] = b[b_at + k * b_row + j * b_column]
        for r in range(rows):
            x = simd.spread(a, a_at + r * a_row + k * a_column)
            for q in range(0, SIDE, PAIRS):
                here = sums + r * SIDE + q
                s = simd.fma(x, simd.load(tile, line + q), simd.load(tile, here))
                simd.store(tile, here, s)
    for i in range(0, rows * SIDE, PAIRS):
        v = simd.load(tile, at + i)
        simd.store(tile, at + i, simd.select(v * 0.0 == 0.0, v, simd.load(tile, sums + i)))


@inline
def _write(c, at, c_row, tile, here, rows, columns, add, bias, bias_at, biased):
    """c = tile, or c + tile; the bias is added after the last block, as `c + bias` would."""
    zero = simd.zero(c)
    for q in range(0, columns, PAIRS):
        n = columns - q
        added = zero
        if biased:
            added = simd.take(bias, bias_at + q, n, zero)
        for r in range(rows):
            to = at + r * c_row + q
            v = simd.load(tile, here + r * SIDE + q)
            if add:
                v = simd.take(c, to, n, zero) + v
            if biased:
                v = v + added
            simd.put(c, to, n, v)


@inline
def _leave(first, rows, waiting, tile, origin, c, c_row, ending):
    """Write some rows of the tile that waits."""
    a, a_row, a_column, b, b_row, b_column = origin
    bias, after, pre, y = ending
    left = waiting[COUNT] - first
    rows = min(rows, left)
    if rows <= 0:
        return
    columns, last = waiting[COLUMNS], waiting[LAST] != 0
    here = (1 - waiting[SLOT]) * SIZE + first * SIDE
    if waiting[MENDED] == 0 and not is_finite(tile, here, rows, columns):
        waiting[MENDED] = 1  # all rows that are left: b is fetched for each row of a's at once
        mend(
            tile, here, a, waiting[A_AT] + first * a_row, a_row, a_column, b, waiting[B_AT], b_row,
            b_column, waiting[DEPTH], left, columns,
        )  # fmt: skip
    at = waiting[AT] + first * c_row
    biased = last and bias.size > 0
    _write(
        c, at, c_row, tile, here, rows, columns, waiting[ADD] != 0, bias, waiting[BIAS_AT], biased
    )
    if last and after != 0:
        _finish(after, c, at, c_row, rows, columns, pre, y)


@inline
def product_tile(
    waiting, tile, origin, a_at, b_at, buffer, g, packed, panel, depth, c, at, c_row, rows, columns,
    add, bias_at, last, ending, of_a, of_b,
):  # fmt: skip
    """The g-th SIDE of `rows` rows by a panel: c[at + r c_row :][: columns] (+)= their products."""
    a, a_row, _, _, _, _ = origin
    _, after, pre, y = ending
    at += g * SIDE * c_row
    a_at += g * SIDE * a_row
    count = min(SIDE, rows - g * SIDE)
    of_c = c, True, pre, last and after < 0, y, last and after != 0 and y.size > simd.FAR
    i = g * room_for_panel(KC)
    steps = (depth + DEEP - 1) // DEEP
    share = (SIDE + steps - 1) // steps
    simd.tiles_zero(2, 2)
    for s in range(steps):
        for r in range(s * share, min((s + 1) * share, count)):
            ask_for_row(of_c, at + r * c_row)
        for turn in range(2 * s, 2 * s + 2):
            ask_for_four(a, of_a, turn)
            ask_for_four(packed, of_b, turn)
        x, z = i + s * STEP, panel + s * STEP
        if count > PAIRS and columns > PAIRS:
            simd.tiles_multiply(buffer, x, packed, z, 2, 2)
        elif count > PAIRS:
            simd.tiles_multiply(buffer, x, packed, z, 2, 1)
        elif columns > PAIRS:
            simd.tiles_multiply(buffer, x, packed, z, 1, 2)
        else:
            simd.tiles_multiply(buffer, x, packed, z, 1, 1)
        _leave(s * share, share, waiting, tile, origin, c, c_row, ending)
    slot = waiting[SLOT]
    simd.tiles_store(tile, slot * SIZE, 2, 2)
    waiting[AT], waiting[COUNT], waiting[COLUMNS], waiting[BIAS_AT] = at, count, columns, bias_at
    waiting[ADD], waiting[LAST], waiting[A_AT], waiting[B_AT] = add, last, a_at, b_at
    waiting[DEPTH], waiting[MENDED], waiting[SLOT] = depth, 0, 1 - slot


@inline
def complete(waiting, tile, origin, c, c_row, ending):
    """Write the last tile."""
    _leave(0, SIDE, waiting, tile, origin, c, c_row, ending)
