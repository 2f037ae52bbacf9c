"""How a product's operands are packed: panels that the micro-kernel of tile.py reads in order."""

from __future__ import annotations

from tensorlite.kernels import simd
from tensorlite.kernels.few_rows import COLUMNS as COLUMNS, KC
from tensorlite.kernels.jit import inline

ROWS = simd.TILE_ROWS
# The packed rows of a start further apart than a power of two, in different sets of L1; and each an
# element later in its line than the one before, so that a tile does not come to the next lines of
# all its rows in one step: .93 to 1.0 of the time on a Sapphire Rapids whose cores others use too.
STRIDE = KC + 17
LINE = 64  # bytes of a cache line
# Whether a transposed a is read where it lies. A tile of 12 rows by 512 bits gains by it on AMD's
# processors (gradients of weights 238 -> 257 GFLOP/s on a Zen 5) and by packing on Intel's (1,536 x
# 4,096 x 384 on a Sapphire Rapids 82 -> 96); one of 6 rows meets twice the lines and pages for as
# much work, and gains by packing (3,072 x 256 x 768 on one thread: .72 -> .96 of the peak).
IN_PLACE = simd.REGISTER_BITS == 512 and simd.AMD
# Whether rows of a are packed across, as a transposed a is: one stream for L1, not one for each row
# (S, M and L on a Sapphire Rapids .94 to 1.02 of the time, .97 in the mean; 256 bits as before).
ACROSS = simd.REGISTER_BITS == 512 and not IN_PLACE
# Rows of a up to which b is better packed panel by panel, and read once: they take 432 KB of L2 in
# float32, or 865 where vectors of 512 bits come with an L2 of 1 MB (512 rows on a Zen 4: .93 of the
# time on one thread, .86 on two). With 512 bits 256 rows and 768 columns fit, in whole panels.
FLAT = 792 if simd.REGISTER_BITS == 512 else 396


@inline
def pack_columns(task, packed, b, base, row_stride, column_stride, jump, n, k, run, room, ahead):
    """`run` panels: packed[block][panel][k][column], zeros where columns end. Panels of b are
    `jump` elements a column apart."""
    w = simd.lanes(b)
    width = COLUMNS * w
    panels = (n + width - 1) // width
    blocks = (k + KC - 1) // KC
    for panel in range(task * run, min((task + 1) * run, panels * blocks)):
        k0 = panel // panels * KC
        j0 = panel % panels * width
        depth = min(KC, k - k0)
        at = k0 * panels * width + j0 * depth
        source = base + k0 * row_stride + j0 * jump
        if column_stride == 1:  # rows of b are contiguous: copy them
            if j0 + width <= n:
                for p in range(depth):
                    for c in range(COLUMNS):
                        v = simd.load(b, source + p * row_stride + c * w)
                        simd.store(packed, at + p * width + c * w, v)
            else:
                zero = simd.zero(b)
                for p in range(depth):
                    for c in range(COLUMNS):
                        here = source + p * row_stride + c * w
                        v = simd.load_part(b, here, n - j0 - c * w, zero)
                        simd.store(packed, at + p * width + c * w, v)
        else:  # columns of b are contiguous: transpose squares of lanes x lanes in registers
            for c in range(COLUMNS):
                columns = min(w, n - j0 - c * w)
                p = 0
                if columns == w:
                    while p + w <= depth:
                        here = source + c * w * column_stride + p
                        transpose_square(
                            packed, at + p * width + c * w, width, b, here, column_stride
                        )
                        p += w
                while p < depth:
                    for q in range(w):
                        value = b.dtype.type(0)
                        if q < columns:
                            value = b[source + (c * w + q) * column_stride + p]
                        packed[at + p * width + c * w + q] = value
                    p += 1


def transpose_square(out, i, out_stride, x, j, x_stride):
    """out[i + out_stride * c + r] = x[j + x_stride * r + c] for r, c < lanes."""
    raise NotImplementedError


@simd.overload(transpose_square, inline="always")
def _(out, i, out_stride, x, j, x_stride):
    w = simd.vector_type(x).lanes

    def implementation(out, i, out_stride, x, j, x_stride):
        square = simd.tile_load(x, j, x_stride, w, 1)
        simd.tile_store(out, i, out_stride, simd.transpose(square))

    return implementation


@inline
def pack_rows(packed, a, base, row_stride, column_stride, rows, depth):
    """What the micro-kernel cannot read where it lies, zeros where rows end.

    Contiguous rows, ROWS at a time, become panel[row][k] with STRIDE between rows, or panel[k][row]
    as far apart if they are packed ACROSS. Of contiguous columns (a transposed matrix) ROWS at a
    time become panel[k][row]; if they are read IN_PLACE only the last, if they are fewer. After the
    panels there is room for a square of lanes x lanes.
    """
    w = simd.lanes(a)
    zero = simd.zero(a)
    panels = (rows + ROWS - 1) // ROWS
    if column_stride == 1 and ACROSS:
        spare = panels * ROWS * STRIDE
        for panel in range(panels):
            at = panel * ROWS * STRIDE
            source = base + panel * ROWS * row_stride
            there = rows - panel * ROWS
            for p in range(0, depth, w):
                for r in range(ROWS):
                    simd.prefetch(a, source + (ROWS + r) * row_stride + p)
                # The last rows first, for a square writes on into the first rows of the next k.
                for i in range((ROWS + w - 1) // w):
                    q = (ROWS - 1) // w * w - i * w
                    here = source + q * row_stride + p
                    if there - q < w or p + w > depth:
                        for r in range(w):
                            n = depth - p if r < min(there, ROWS) - q else 0
                            v = simd.load_part(a, here + r * row_stride, n, zero)
                            simd.store(packed, spare + r * w, v)
                        transpose_square(packed, at + p * ROWS + q, ROWS, packed, spare, w)
                    else:
                        transpose_square(packed, at + p * ROWS + q, ROWS, a, here, row_stride)
    elif column_stride == 1:
        for panel in range(panels):
            at = panel * ROWS * STRIDE
            source = base + panel * ROWS * row_stride
            present = min(ROWS, rows - panel * ROWS)
            for r in range(ROWS):
                p = 0
                if r < present:
                    # Rows of a wide matrix lie far apart, where nothing is read ahead.
                    while p + w <= depth:
                        simd.prefetch(a, source + (r + 4) * row_stride + p)
                        v = simd.load(a, source + r * row_stride + p)
                        simd.store(packed, at + r * STRIDE + p, v)
                        p += w
                    v = simd.load_part(a, source + r * row_stride + p, depth - p, zero)
                    simd.store_part(packed, at + r * STRIDE + p, depth - p, v)
                else:
                    while p < depth:
                        simd.store_part(packed, at + r * STRIDE + p, depth - p, zero)
                        p += w
    elif IN_PLACE and rows % ROWS > 0:
        source = base + rows // ROWS * ROWS
        for p in range(depth):
            for q in range(0, ROWS, w):
                v = simd.load_part(a, source + p * column_stride + q, rows % ROWS - q, zero)
                simd.store_part(packed, p * ROWS + q, ROWS - q, v)
    elif not IN_PLACE:
        whole = max(0, (rows - (ROWS + w - 1) // w * w) // ROWS + 1)
        for p0 in range(0, depth, 16):
            p1 = min(depth, p0 + 16)
            for p in range(p0, p1):
                for i in range(0, rows, LINE // a.itemsize):
                    simd.prefetch(a, base + (p + 16) * column_stride + i)
            for panel in range(whole):
                for p in range(p0, p1):
                    for q in range(0, ROWS, w):
                        v = simd.load(a, base + p * column_stride + panel * ROWS + q)
                        simd.store(packed, panel * ROWS * STRIDE + p * ROWS + q, v)
            for panel in range(whole, panels):
                for p in range(p0, p1):
                    for q in range(0, ROWS, w):
                        i = panel * ROWS + q
                        v = simd.take(a, base + p * column_stride + i, rows - i, zero)
                        simd.store(packed, panel * ROWS * STRIDE + p * ROWS + q, v)
