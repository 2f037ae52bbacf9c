"""One tile of a product: the micro-kernel, and how what it leaves in registers gets to c.

See gemm.py for what is around it.
"""

from __future__ import annotations

from tensorlite.kernels import simd
from tensorlite.kernels.epilogue import finish
from tensorlite.kernels.errands import SPARE, TURN, ask_for_four, ask_for_row
from tensorlite.kernels.jit import inline
from tensorlite.kernels.packing import ACROSS, COLUMNS, IN_PLACE, ROWS, STRIDE

NEAR = 1 << 17  # outputs that stay in L2


@inline
def _run_errands(s, first, of_c, at, c_row, a, of_a, b, of_b):
    """What is asked for before the s-th turn."""
    ask_for_row(of_c, at + min(max(0, s - first), ROWS - 1) * c_row)
    ask_for_four(a, of_a, s)
    ask_for_four(b, of_b, s)


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
    the next: ROWS x `vectors` of c over one KC block, each output one chain of FMAs. Two steps a
    round: of one, counting takes a tenth of what a core can issue; sixteen were no faster and took
    ten seconds more to compile."""

    @inline
    def by_rows(a, i, b, j, depth, errands, tile, c, at, c_row, whole, add, bias, bias_at, biased):
        t = simd.tile(b, ROWS, vectors)
        width = COLUMNS * simd.lanes(b)
        for s in range(depth // TURN):
            _run_errands(s, *errands)
            here, there = i + s * TURN, j + s * TURN * width
            for p in range(0, TURN, 2):
                t = simd.outer_strided(t, a, here + p, STRIDE, b, there + p * width)
                t = simd.outer_strided(t, a, here + p + 1, STRIDE, b, there + p * width + width)
        for p in range(depth // TURN * TURN, depth):
            t = simd.outer_strided(t, a, i + p, STRIDE, b, j + p * width)
        _leave(t, tile, c, at, c_row, whole, add, bias, bias_at, biased)

    @inline
    def by_columns(
        a, i, step, b, j, depth, errands, tile, c, at, c_row, whole, add, bias, bias_at, biased
    ):
        t = simd.tile(b, ROWS, vectors)
        width = COLUMNS * simd.lanes(b)
        for s in range(depth // TURN):
            _run_errands(s, *errands)
            here, there = i + s * TURN * step, j + s * TURN * width
            for p in range(0, TURN, 2):
                t = simd.outer(t, a, here + p * step, b, there + p * width)
                t = simd.outer(t, a, here + p * step + step, b, there + p * width + width)
        for p in range(depth // TURN * TURN, depth):
            t = simd.outer(t, a, i + p * step, b, j + p * width)
        _leave(t, tile, c, at, c_row, whole, add, bias, bias_at, biased)

    return by_rows, by_columns


_rows_by_panel, _columns_by_panel = _micro_kernels(COLUMNS)
# For a last panel with no more columns than a vector: 65 columns take 5 halves, not 6.
_rows_by_half, _columns_by_half = _micro_kernels(1)


@inline
def _rows_by_column(a, i, b, j, depth, errands, tile):
    """As _rows_by_half, for one column: squares of a are transposed in registers, so that one
    multiply-add serves all rows. A vector has no fewer lanes, and `depth` is a multiple of them.

    It waits for one addition after the other, 4 cycles each, where half a panel takes 6 for as
    much (4,096 x 384 x 65 and 768 x 128 x 65 on a Zen 5: .93 of the time).
    """
    w = simd.lanes(b)
    width = COLUMNS * w
    v = simd.zero(b)
    for p in range(0, depth, w):
        if p % TURN == 0:
            _run_errands(p // TURN, *errands)
        square = simd.transpose(simd.tile_load(a, i + p, STRIDE, w, 1))
        v = simd.chain(square, b, j + p * width, width, v)
    simd.store(tile, w, v)  # where the first row has no column
    for r in range(ROWS):
        tile[r * width] = tile[w + r]


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
def product_tile(
    waiting, tile, origin, a_at, b_at, buffer, g, packed, panel, depth, c, at, c_row, rows, columns,
    add, bias_at, last, ending, of_a, of_b,
):  # fmt: skip
    """The g-th ROWS of `rows` rows by a panel: c[at + r c_row :][: columns] (+)= their products."""
    a, _, a_column, _, _, _ = origin
    bias, after, pre, y = ending
    w = simd.lanes(c)
    at += g * ROWS * c_row
    count = min(ROWS, rows - g * ROWS)
    biased = last and bias.size > 0
    # Lines of c come from L3 while the products run: 0.85 -> 1.0 of OpenBLAS. So do those that are
    # only written, if they do not stay in L2: on a Zen 4 S .95, M .93 to .98, 4,096 x 65 x 384 .78
    # to .84 of the time; where they do stay, 1.05.
    # A large activation's come from memory, to be written (4,096 x 384 x 1,536 with gelu on one
    # thread: forward .97, backward .93 of the time); a small one's do not (forward 1.03).
    ask_c, ask_y = add or c.size > NEAR, last and after != 0 and y.size > simd.FAR
    of_c = c, ask_c, pre, last and after < 0, y, ask_y
    turns = depth // TURN
    errands = max(0, turns - ROWS - SPARE), of_c, at, c_row, a, of_a, packed, of_b
    for r in range(turns, ROWS):  # for which there are no turns
        ask_for_row(of_c, at + r * c_row)
    whole = count == ROWS and (columns == COLUMNS * w or columns == w)
    i, step = a_at + g * ROWS, a_column
    if not IN_PLACE or count < ROWS:  # in the buffer, as far from a's first element as that says
        i, step = (simd.address(buffer) - simd.address(a)) // a.itemsize, ROWS
        if not IN_PLACE:
            i += g * ROWS * STRIDE
    if a_column == 1 and columns > w and not ACROSS:
        _rows_by_panel(
            buffer, g * ROWS * STRIDE, packed, panel, depth, errands, tile, c, at, c_row, whole,
            add, bias, bias_at, biased,
        )  # fmt: skip
    elif a_column == 1 and columns == 1 and depth % w == 0 and IN_PLACE and w >= ROWS:
        _rows_by_column(buffer, g * ROWS * STRIDE, packed, panel, depth, errands, tile)
    elif a_column == 1 and not ACROSS:
        _rows_by_half(
            buffer, g * ROWS * STRIDE, packed, panel, depth, errands, tile, c, at, c_row, whole,
            add, bias, bias_at, biased,
        )  # fmt: skip
    elif columns > w:
        _columns_by_panel(
            a, i, step, packed, panel, depth, errands, tile, c, at, c_row, whole, add, bias,
            bias_at, biased,
        )  # fmt: skip
    else:
        _columns_by_half(
            a, i, step, packed, panel, depth, errands, tile, c, at, c_row, whole, add, bias,
            bias_at, biased,
        )  # fmt: skip
    if not whole:
        _write(c, at, c_row, tile, count, columns, add, bias, bias_at, biased)
    if last and after != 0:
        finish(after, c, at, c_row, count, columns, pre, y)
