"""What attention's two passes share: rows and panels, packing them, multiplying them.

The queries of the n heads that share keys are "rows", ordered by position, then head: row t n + i.
Packed rows are STRIDE elements apart where the micro-kernel reads them one element of each at a
time, and side by side where it reads whole vectors. Keys across: panel[d][key].

No array comes with its strides: x is a flat array whose first element is that of the tensor, `at`
an index from there, and strides count elements.
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline

Array = np.ndarray

ROWS = simd.TILE_ROWS
COLUMNS = simd.TILE_COLUMNS  # vectors, not elements
WIDE = 2 * COLUMNS
FEW = ROWS // 3  # up to this many rows are computed one by one, more as a whole panel
WIDEST = 256  # D at most, and the number of keys that may meet a panel of rows at a time
ROWS_AHEAD = 8  # positions; rows of a head lie apart (T 1,024, D 64 on a Zen 3: 4 % less time)
STRIDE = WIDEST + 16  # no power of two, which would put all rows in one set of the cache


# ----------------------------------------------------------------------------- arrays and strides


def located(x: Array) -> tuple[Array, tuple[int, int, int]]:
    """Where x (B, H, T, D) lies: a row of it, from which a kernel finds all of x, and the strides
    but the last, in elements."""
    size = x.itemsize
    a, b, c, _ = x.strides
    return x[0, 0, 0], (a // size, b // size, c // size)


# --------------------------------------------------------------------------------------- packing


@inline
def pack_rows(packed, stride, width, x, at, strides, heads, row, rows, depth, factor):
    """packed[r, :depth] = factor x[row + r], zeros up to `width`; rows in the order of the module.

    Zeros also follow the last row up to a whole panel.
    """
    w = simd.lanes(x)
    zero = simd.zero(x)
    t, h = row // heads, row % heads
    for r in range((rows + ROWS - 1) // ROWS * ROWS):
        source = at + t * strides[2] + h * strides[1]
        n = depth if r < rows else 0
        d = 0
        while d + w <= n:
            simd.prefetch(x, source + ROWS_AHEAD * strides[2] + d)
            simd.store(packed, r * stride + d, simd.load(x, source + d) * factor)
            d += w
        while d < width:
            v = simd.load_part(x, source + d, n - d, zero)
            simd.store(packed, r * stride + d, v * factor)
            d += w
        t, h = (t, h + 1) if h + 1 < heads else (t + 1, 0)


@inline
def room_for_edges(x, depth):
    """Elements of the room that keys which fill no square are copied to."""
    w = simd.lanes(x)
    return w * ((depth + w - 1) // w * w) + w * w


def pack_transposed(packed, x, at, stride, keys, depth, room):
    """packed[panel][d][key]: keys across, panels as wide as the micro-kernel, zeros after the last.

    Squares of lanes x lanes are transposed in registers; rows that do not fill them, in a copy, in
    `room` of room_for_edges(x, depth) elements.
    """
    raise NotImplementedError


@simd.overload(pack_transposed)
def _(packed, x, at, stride, keys, depth, room):
    w = simd.vector_type(x).lanes
    width = COLUMNS * w

    def implementation(packed, x, at, stride, keys, depth, room):
        padded = (depth + w - 1) // w * w
        last = w * padded
        for j in range(0, (keys + width - 1) // width * width, w):
            _ask_for_rows(x, at + (j + w) * stride, stride, w, depth)
            source, here, step = x, at + j * stride, stride
            if keys - j < w or padded > depth:
                _pad(room, padded, x, here, stride, min(w, keys - j), w, depth)
                source, here, step = room, 0, padded
            to = j // width * (width * depth) + j % width
            for d in range(0, depth, w):
                square = simd.transpose(simd.tile_load(source, here + d, step, w, 1))
                if d + w <= depth:
                    simd.tile_store(packed, to + d * width, width, square)
                else:
                    simd.tile_store(room, last, w, square)
                    for r in range(depth - d):
                        simd.store(packed, to + (d + r) * width, simd.load(room, last + r * w))

    return implementation


@inline
def _pad(out, width, x, at, stride, rows, all_rows, depth):
    """`rows` rows of x, with zeros after each up to `width`, and rows of zeros after the last."""
    w = simd.lanes(x)
    zero = simd.zero(x)
    for r in range(all_rows):
        n = depth if r < rows else 0
        for d in range(0, width, w):
            v = simd.load_part(x, at + r * stride + d, n - d, zero)
            simd.store(out, r * width + d, v)


@inline
def _ask_for_rows(x, at, stride, rows, depth):
    """Fetch rows that are needed next: squares are no pattern that the memory would guess. In one
    sweep, for that is one; square by square, 9 GB/s in place of 18."""
    for r in range(rows):
        for d in range(0, depth, simd.lanes(x)):
            simd.prefetch(x, at + r * stride + d)


@inline
def ask_for_head(x, at, strides, heads, row, rows, depth):
    """Fetch rows [row, row + rows), in the order of the module, while those of the head before are
    computed: they are short, lie far from each other, and are no longer in the caches. Backward of
    768 rows of 4 heads of 32 within a training step 531 -> 417 us."""
    for t in range(row // heads, (row + rows - 1) // heads + 1):
        for h in range(heads):
            _ask_for_rows(x, at + t * strides[2] + h * strides[1], strides[2], 1, depth)


@inline
def unpack_rows(packed, width, x, at, strides, heads, row, rows, depth, factor):
    """x[row + r] = factor packed[r, :depth]: the reverse of `pack_rows`."""
    w = simd.lanes(x)
    t, h = row // heads, row % heads
    for r in range(rows):
        to = at + t * strides[2] + h * strides[1]
        for d in range(0, depth, w):
            simd.put(x, to + d, depth - d, simd.load(packed, r * width + d) * factor)
        t, h = (t, h + 1) if h + 1 < heads else (t + 1, 0)


# ---------------------------------------------------------------------------------- micro-kernels
# `rows` of c are wanted. A panel is computed whole, so c must have room for it; few rows are
# computed one by one. Every element is the same chain of FMAs in any of these.


@inline
def products(c, c_at, a, a_at, b, b_at, b_step, depth, rows):
    """c[r, :] = sum_p a[r, p] b[p, :], p ascending; rows of c are STRIDE apart too."""
    if rows > FEW:
        simd.multiply(
            c, c_at, STRIDE, a, a_at, STRIDE, 1, b, b_at, b_step, depth, ROWS, COLUMNS, False
        )
    else:
        for r in range(rows):
            to, at = c_at + r * STRIDE, a_at + r * STRIDE
            simd.multiply(c, to, 0, a, at, STRIDE, 1, b, b_at, b_step, depth, 1, COLUMNS, False)


@inline
def add_products(c, c_at, c_row, a, a_at, b, b_at, b_step, depth, rows):
    """c[r, :] += sum_p a[r, p] b[p, :], p ascending, in one chain that begins with c; the columns
    of b are as many as c_row, whole panels."""
    panel = COLUMNS * simd.lanes(c)
    if rows > FEW:
        for d in range(0, c_row, panel):
            simd.multiply(
                c, c_at + d, c_row, a, a_at, STRIDE, 1, b, b_at + d, b_step, depth, ROWS, COLUMNS,
                True,
            )  # fmt: skip
        return
    for r in range(rows):
        to, at, d = c_at + r * c_row, a_at + r * STRIDE, 0
        while d + 2 * panel <= c_row:  # more chains at a time hide their latency
            simd.multiply(c, to + d, 0, a, at, STRIDE, 1, b, b_at + d, b_step, depth, 1, WIDE, True)
            d += 2 * panel
        if d < c_row:
            simd.multiply(
                c, to + d, 0, a, at, STRIDE, 1, b, b_at + d, b_step, depth, 1, COLUMNS, True
            )


@inline
def add_products_transposed(c, c_at, c_row, a, a_at, b, b_at, depth, rows):
    """c[r, :] += sum_p a[p, r] b[p, :], p ascending; b's rows are STRIDE apart too."""
    panel = COLUMNS * simd.lanes(c)
    for d in range(0, c_row, panel):
        if rows > FEW:
            simd.multiply(
                c, c_at + d, c_row, a, a_at, 1, STRIDE, b, b_at + d, STRIDE, depth, ROWS, COLUMNS,
                True,
            )  # fmt: skip
        else:
            for r in range(rows):
                to = c_at + r * c_row + d
                simd.multiply(
                    c, to, 0, a, a_at + r, 1, STRIDE, b, b_at + d, STRIDE, depth, 1, COLUMNS, True
                )


@inline
def products_of_one(c, a, x, at, stride, keys, depth, room):
    """c[j] = sum_d a[d] x[j, d], d ascending: one row alone, as in decoding.

    x is read once, at the speed of memory: transposed in registers and never packed; `room` as for
    pack_transposed.
    """
    w = simd.lanes(x)
    padded = (depth + w - 1) // w * w
    for j in range(0, keys, w):
        here = at + j * stride
        if keys - j >= w and padded == depth:
            _ask_for_rows(x, here + w * stride, stride, w, depth)
            _chains(c, j, a, x, here, stride, depth)
        else:
            _pad(room, padded, x, here, stride, keys - j, w, depth)
            _chains(c, j, a, room, 0, padded, padded)


def _chains(c, c_at, a, x, at, stride, depth):
    """A vector of c, from as many rows of x as it has lanes."""
    raise NotImplementedError


@simd.overload(_chains)
def _(c, c_at, a, x, at, stride, depth):
    w = simd.vector_type(x).lanes

    def implementation(c, c_at, a, x, at, stride, depth):
        v = simd.zero(x)
        for d in range(0, depth, w):
            square = simd.transpose(simd.tile_load(x, at + d, stride, w, 1))
            v = simd.chain(square, a, d, 1, v)
        simd.store(c, c_at, v)

    return implementation
