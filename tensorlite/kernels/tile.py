"""One tile of a product: the micro-kernel, and how what it leaves in registers gets to c.

See matmul.py for what is around it.
"""

from __future__ import annotations

from tensorlite.kernels import simd
from tensorlite.kernels.epilogue import finish
from tensorlite.kernels.jit import inline
from tensorlite.kernels.packing import COLUMNS, IN_PLACE, ROWS, STRIDE

NEAR = 1 << 17  # outputs that stay in L2

# ---------------------------------------------------------------------------------- micro-kernel


@inline
def _leave(t, tile, c, at, c_row, whole, add, bias, bias_at, biased):
    """A whole tile goes straight from registers to c (238 -> 255 GFLOP/s), another to `tile`."""
    if whole:
        if add:
            t = simd.tile_plus(t, c, at, c_row)
        if biased:
            t = simd.tile_plus(t, bias, bias_at, 0)
        simd.tile_store(c, at, c_row, t)
    else:
        simd.tile_store(tile, 0, COLUMNS * simd.lanes(c), t)


def _micro_kernels(vectors):
    """The micro-kernel for rows of a packed by rows, and for columns, `step` elements from one to
    the next: ROWS x `vectors` of c over one KC block, each output one chain of FMAs."""

    @inline
    def by_rows(a, i, b, j, depth, tile, c, at, c_row, whole, add, bias, bias_at, biased):
        t = simd.tile(b, ROWS, vectors)
        width = COLUMNS * simd.lanes(b)
        for p in range(depth):
            t = simd.outer_strided(t, a, i + p, STRIDE, b, j + p * width)
        _leave(t, tile, c, at, c_row, whole, add, bias, bias_at, biased)

    @inline
    def by_columns(a, i, step, b, j, depth, tile, c, at, c_row, whole, add, bias, bias_at, biased):
        t = simd.tile(b, ROWS, vectors)
        width = COLUMNS * simd.lanes(b)
        for p in range(depth):
            t = simd.outer(t, a, i + p * step, b, j + p * width)
        _leave(t, tile, c, at, c_row, whole, add, bias, bias_at, biased)

    return by_rows, by_columns


_rows_by_panel, _columns_by_panel = _micro_kernels(COLUMNS)
# For a last panel with no more columns than a vector: 65 columns take 5 halves, not 6.
_rows_by_half, _columns_by_half = _micro_kernels(1)


# ------------------------------------------------------------------------------------ to memory


@inline
def _write(c, at, stride, tile, rows, columns, add, bias, bias_at, biased):
    """c = tile, or c + tile; the bias is added after the last block, as `c + bias` would."""
    w = simd.lanes(c)
    width = COLUMNS * w
    zero = simd.zero(c)
    for r in range(rows):
        for q in range(COLUMNS):
            here, n = at + r * stride + q * w, columns - q * w
            v = simd.load(tile, r * width + q * w)
            if n > 0:
                if add:
                    v = simd.take(c, here, n, zero) + v
                if biased:
                    v = v + simd.take(bias, bias_at + q * w, n, zero)
                simd.put(c, here, n, v)


@inline
def _ask_for(c, at, stride):
    """Fetch the lines of a tile, which is soon read; beyond c's end nothing is fetched."""
    for r in range(ROWS):
        simd.prefetch(c, at + r * stride)
        simd.prefetch(c, at + r * stride + simd.lanes(c))


@inline
def _ask_to_write(c, at, stride):
    """Fetch the lines of a tile that is soon written: a core that only reads them first asks twice
    where another has them."""
    for r in range(ROWS):
        simd.prefetch_to_write(c, at + r * stride)
        simd.prefetch_to_write(c, at + r * stride + simd.lanes(c))


@inline
def product_tile(
    tile, a, a_at, a_column, buffer, g, packed, panel, depth, c, at, c_row, rows, columns, add,
    bias, bias_at, last, after, pre, y,
):  # fmt: skip
    """The g-th ROWS of `rows` rows by a panel: c[at + r c_row :][: columns] (+)= their products."""
    w = simd.lanes(c)
    at += g * ROWS * c_row
    count = min(ROWS, rows - g * ROWS)
    biased = last and bias.size > 0
    # Lines come from L3 while the products run: 0.85 -> 1.0 of OpenBLAS. So do those that are only
    # written, if they do not stay in L2: on a Zen 4 S .95, M .93 to .98, 4,096 x 65 x 384 .78 to
    # .84 of the time; where they do stay, 1.05.
    if add or c.size > NEAR:
        _ask_to_write(c, at, c_row)
    if last and after < 0:
        _ask_for(pre, at, c_row)
    # A large activation's come from memory, to be written (4,096 x 384 x 1,536 with gelu on one
    # thread: forward .97, backward .93 of the time); a small one's do not (forward 1.03).
    if last and after != 0 and y.size > simd.FAR:
        _ask_to_write(y, at, c_row)
    whole = count == ROWS and (columns == COLUMNS * w or columns == w)
    i, step = a_at + g * ROWS, a_column
    if not IN_PLACE or count < ROWS:  # in the buffer, as far from a's first element as that says
        i, step = (simd.address(buffer) - simd.address(a)) // a.itemsize, ROWS
        if not IN_PLACE:
            i += g * ROWS * STRIDE
    if a_column == 1 and columns > w:
        _rows_by_panel(
            buffer, g * ROWS * STRIDE, packed, panel, depth, tile, c, at, c_row, whole, add, bias,
            bias_at, biased,
        )  # fmt: skip
    elif a_column == 1:
        _rows_by_half(
            buffer, g * ROWS * STRIDE, packed, panel, depth, tile, c, at, c_row, whole, add, bias,
            bias_at, biased,
        )  # fmt: skip
    elif columns > w:
        _columns_by_panel(
            a, i, step, packed, panel, depth, tile, c, at, c_row, whole, add, bias, bias_at, biased
        )
    else:
        _columns_by_half(
            a, i, step, packed, panel, depth, tile, c, at, c_row, whole, add, bias, bias_at, biased
        )
    if not whole:
        _write(c, at, c_row, tile, count, columns, add, bias, bias_at, biased)
    if last and after != 0:
        finish(after, c, at, c_row, count, columns, pre, y)
