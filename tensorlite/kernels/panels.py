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
SINGLY = ROWS // 3  # up to this many rows are computed one by one, more as a whole panel
WIDEST = 256  # D at most, and the number of keys that may meet a panel of rows at a time
STRIDE = WIDEST + 16  # no power of two, which would put all rows in one set of the cache


# ----------------------------------------------------------------------------- arrays and strides


def flat(x: Array) -> Array:
    """A row of x (B, H, T, D): the flat array that a kernel finds all of x from."""
    return x[0, 0, 0]


def outer_strides(x: Array) -> tuple[int, int, int]:
    """The strides of x (B, H, T, D) but the last, in elements."""
    size = x.itemsize
    a, b, c, _ = x.strides
    return a // size, b // size, c // size


# --------------------------------------------------------------------------------------- packing


@inline
def pack_rows(packed, stride, width, x, at, strides, heads, row, rows, depth, factor):
    """packed[r, :depth] = factor x[row + r], zeros up to `width`; rows in the order of the module.

    Zeros also follow the last row up to a whole panel.
    """
    w = simd.lanes(x)
    zero = simd.zero(x)
    for r in range((rows + ROWS - 1) // ROWS * ROWS):
        source = at + (row + r) // heads * strides[2] + (row + r) % heads * strides[1]
        n = depth if r < rows else 0
        for d in range(0, width, w):
            simd.store(packed, r * stride + d, simd.take(x, source + d, n - d, zero) * factor)


def pack_transposed(packed, x, at, stride, keys, depth):
    """packed[panel][d][key]: keys across, panels as wide as the micro-kernel, zeros after the last.

    Squares of lanes x lanes are transposed in registers; those at an edge in a copy with zeros.
    """
    raise NotImplementedError


@simd.overload(pack_transposed)
def _(packed, x, at, stride, keys, depth):
    w = simd.vector_type(x).lanes
    width = COLUMNS * w

    def implementation(packed, x, at, stride, keys, depth):
        zero = simd.zero(x)
        edge = np.empty(w * w, x.dtype)
        for j in range(0, (keys + width - 1) // width * width, w):
            to = j // width * (width * depth) + j % width
            for d in range(0, depth, w):
                if j + w <= keys and d + w <= depth:
                    square = simd.transpose(simd.tile_load(x, at + j * stride + d, stride, w, 1))
                    simd.tile_store(packed, to + d * width, width, square)
                else:
                    for r in range(w):
                        n = depth - d if j + r < keys else 0
                        v = simd.load_part(x, at + (j + r) * stride + d, n, zero)
                        simd.store(edge, r * w, v)
                    square = simd.transpose(simd.tile_load(edge, 0, w, w, 1))
                    simd.tile_store(edge, 0, w, square)
                    for r in range(min(w, depth - d)):
                        simd.store(packed, to + (d + r) * width, simd.load(edge, r * w))

    return implementation


@inline
def unpack_rows(packed, width, x, at, strides, heads, row, rows, depth, factor):
    """x[row + r] = factor packed[r, :depth]: the reverse of `pack_rows`."""
    w = simd.lanes(x)
    for r in range(rows):
        to = at + (row + r) // heads * strides[2] + (row + r) % heads * strides[1]
        for d in range(0, depth, w):
            simd.put(x, to + d, depth - d, simd.load(packed, r * width + d) * factor)


# ---------------------------------------------------------------------------------- micro-kernels
# `rows` of c are wanted. A panel is computed whole, so c must have room for it.


@inline
def products(c, c_at, c_row, a, a_at, b, b_at, b_step, depth, rows):
    """c[r, :] = sum_p a[r, p] b[p, :], p ascending."""
    if rows > SINGLY:
        simd.multiply(
            c, c_at, c_row, a, a_at, STRIDE, 1, b, b_at, b_step, depth, ROWS, COLUMNS, False
        )
    else:
        for r in range(rows):
            to, at = c_at + r * c_row, a_at + r * STRIDE
            simd.multiply(c, to, c_row, a, at, STRIDE, 1, b, b_at, b_step, depth, 1, COLUMNS, False)


@inline
def add_products(c, c_at, c_row, a, a_at, b, b_at, b_step, depth, rows):
    """c[r, :] += sum_p a[r, p] b[p, :], p ascending, in one chain that begins with c."""
    if rows > SINGLY:
        simd.multiply(
            c, c_at, c_row, a, a_at, STRIDE, 1, b, b_at, b_step, depth, ROWS, COLUMNS, True
        )
    else:
        for r in range(rows):
            to, at = c_at + r * c_row, a_at + r * STRIDE
            simd.multiply(c, to, c_row, a, at, STRIDE, 1, b, b_at, b_step, depth, 1, COLUMNS, True)


@inline
def add_products_transposed(c, c_at, c_row, a, a_at, b, b_at, depth, rows):
    """c[r, :] += sum_p a[p, r] b[p, :], p ascending; b's rows are STRIDE apart too."""
    if rows > SINGLY:
        simd.multiply(
            c, c_at, c_row, a, a_at, 1, STRIDE, b, b_at, STRIDE, depth, ROWS, COLUMNS, True
        )
    else:
        for r in range(rows):
            to, at = c_at + r * c_row, a_at + r
            simd.multiply(c, to, c_row, a, at, 1, STRIDE, b, b_at, STRIDE, depth, 1, COLUMNS, True)
