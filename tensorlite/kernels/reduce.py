"""Sums over the rows and the columns of a matrix, in an order that depends on its shape alone.

A row is cut into pieces of PIECE elements, the rows of a matrix into blocks of BLOCK_ROWS. Each
piece or block is summed by one thread in a fixed order, and their sums are added in ascending
order, so neither the number of threads nor who did what shows in a bit.
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline, kernel, parallel_for

Array = np.ndarray

BLOCK_ROWS = 64  # rows that a partial sum over rows covers
PIECE = 1 << 12  # elements of a row that a partial sum covers, a multiple of every vector's width
STRIP = 1 << 10  # columns of a task where there are few blocks to share out
SMALL = 1 << 17  # elements below which a second thread does not pay for its launch

# ------------------------------------------------------------------------------------ along a row


@inline
def sum_of(x, start, stop):
    """sum(x[start:stop]): four vectors of partial sums, taken in turn, added as a tree."""
    w = simd.lanes(x)
    zero = simd.zero(x)
    a, b, c, d = zero, zero, zero, zero  # four, for an addition must wait for the one before
    i = start
    while i + 4 * w <= stop:
        a += simd.load(x, i)
        b += simd.load(x, i + w)
        c += simd.load(x, i + 2 * w)
        d += simd.load(x, i + 3 * w)
        i += 4 * w
    while i < stop:
        a += simd.take(x, i, stop - i, zero)
        i += w
    return simd.total((a + b) + (c + d))


@inline
def _row_pieces(task, x, sums, n, pieces, run):
    for k in range(task * run, min(len(sums), (task + 1) * run)):
        start = k // pieces * n + k % pieces * PIECE
        sums[k] = sum_of(x, start, min(start + PIECE, (k // pieces + 1) * n))


@kernel
def _row_sum(x, y, n):
    pieces = (n + PIECE - 1) // PIECE
    sums = y if pieces == 1 else np.empty(len(y) * pieces, x.dtype)
    run = len(sums) if x.size <= SMALL else max(1, SMALL // 2 // min(n, PIECE))
    parallel_for(_row_pieces, (len(sums) + run - 1) // run, (x, sums, n, pieces, run))
    if pieces > 1:
        for r in range(len(y)):
            s = 0.0  # in float64: thousands of pieces would cost digits
            for k in range(pieces):
                s += sums[r * pieces + k]
            y[r] = s


def row_sum(x: Array) -> Array:
    """y[r] = sum over n of x[r, n]: (R, N) -> (R)."""
    y = np.zeros(x.shape[0], x.dtype)
    if x.size:
        _row_sum(x.ravel(), y, x.shape[1])
    return y


# ----------------------------------------------------------------------------------- over the rows


@inline
def _add_rows(x, i, n, rows, out, to, m):
    """out[to:] += x[i:] of 1 row of n elements or 4, one after the other, m elements."""
    zero = simd.zero(x)
    s = simd.take(out, to, m, zero) + simd.take(x, i, m, zero)
    if rows == 4:
        s += simd.take(x, i + n, m, zero)
        s += simd.take(x, i + 2 * n, m, zero)
        s += simd.take(x, i + 3 * n, m, zero)
    simd.put(out, to, m, s)


@inline
def _sum_rows(x, first, last, n, j0, j1, out, at):
    """out[at + j] = sum of x[first:last, j] in ascending order, for j in j0..j1."""
    w = simd.lanes(x)
    zero = simd.zero(x)
    for j in range(j0, j1, w):
        simd.put(out, at + j, j1 - j, simd.take(x, first * n + j, j1 - j, zero))
    r = first + 1
    while r < last:
        # Four rows at a time: sums are loaded and stored a quarter as often.
        rows = 4 if r + 4 <= last else 1
        j = j0
        while j + w <= j1:
            _add_rows(x, r * n + j, n, rows, out, at + j, w)
            j += w
        if j < j1:
            _add_rows(x, r * n + j, n, rows, out, at + j, j1 - j)
        r += rows


@inline
def _blocks(task, x, sums, rows, n, height, strip, run):
    """A unit of work is a block of rows in a strip of columns; a task does `run` of them."""
    strips = (n + strip - 1) // strip
    units = (rows + height - 1) // height * strips
    for unit in range(task * run, min(units, (task + 1) * run)):
        block, j0 = unit // strips, unit % strips * strip
        first, last = block * height, min(rows, (block + 1) * height)
        _sum_rows(x, first, last, n, j0, min(n, j0 + strip), sums, block * n)


@inline
def sum_blocks(x, rows, n, height, sums):
    """sums[b] = sum of x[b * height : (b + 1) * height], rows of n elements, in ascending order."""
    blocks = (rows + height - 1) // height
    strip = n if blocks >= 8 else STRIP
    units = blocks * ((n + strip - 1) // strip)
    run = units if rows * n <= SMALL else 1
    parallel_for(_blocks, (units + run - 1) // run, (x, sums, rows, n, height, strip, run))


@kernel
def _column_sum(x, y, rows, n):
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    if blocks == 1:
        sum_blocks(x, rows, n, rows, y)
    else:
        sums = np.empty(blocks * n, x.dtype)
        sum_blocks(x, rows, n, BLOCK_ROWS, sums)
        sum_blocks(sums, blocks, n, blocks, y)


def column_sum(x: Array) -> Array:
    """y[n] = sum over r of x[r, n]: (R, N) -> (N)."""
    y = np.zeros(x.shape[1], x.dtype)
    if x.size:
        _column_sum(x.ravel(), y, *x.shape)
    return y
