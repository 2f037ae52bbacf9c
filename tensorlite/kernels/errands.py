"""What a tile of a product asks for while it runs.

A tile takes one or two microseconds, in which what is needed next can come from L3 or memory: its
lines of c, its share of the next panel of b and of the rows of a that are packed next. A core has
16 to 24 misses open at a time, and one that is asked for 60 lines before its products stands
still until most have come (11 % of 4,096 x 384 x 1,152 on a Sapphire Rapids). So they are asked
for while the products run, a few every TURN steps: M's products .87 to .93 of the time, L's .87
to .95, with vectors of 256 bits .94 to .98 in the mean.
"""

from __future__ import annotations

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline
from tensorlite.kernels.packing import LINE

TURN = 16  # steps of a product from one errand to the next; even
SPARE = 2  # turns that a line of c has to arrive in


@inline
def errand(x, at, row, rows, width, turns):
    """How a tile asks for `rows` rows of x, `width` elements each, four lines in each of so many
    turns -> start, d, e, step: those of the first turn are at start, start + d, start + e and
    start + d + e, and `step` further in each turn. What they do not reach is asked for at once."""
    line = LINE // x.itemsize
    if rows <= 0 or width <= 0:
        return 0, 0, 0, 0
    if width <= 2 * line and rows <= 2 * turns:  # two rows a turn
        return at, line, row, 2 * row
    step, reached = (width + turns - 1) // max(1, turns), 0
    if step <= line:  # a line a turn of each row
        reached = min(rows, 4)
    elif step <= 4 * line:
        reached = 1
    for r in range(reached, rows):
        for i in range(0, width, line):
            simd.prefetch_to_l2(x, at + r * row + i)
    if reached > 1:
        return at, row, 2 * row if reached > 2 else 0, step
    return (at, step >> 2, step >> 1, step) if reached == 1 else (at, 0, 0, 0)


@inline
def ask_for_row(of_c, at):
    """Fetch the lines of c, pre and y, where they are wanted, that make up a tile's row at `at`."""
    c, ask_c, pre, ask_pre, y, ask_y = of_c
    w = simd.lanes(c)
    if ask_c:
        simd.prefetch_to_write(c, at)
        simd.prefetch_to_write(c, at + w)
    if ask_pre:
        simd.prefetch(pre, at)
        simd.prefetch(pre, at + w)
    if ask_y:
        simd.prefetch_to_write(y, at)
        simd.prefetch_to_write(y, at + w)


@inline
def ask_for_four(x, of_x, s):
    """Fetch the lines of an errand's s-th turn."""
    start, d, e, step = of_x
    start += s * step
    simd.prefetch_to_l2(x, start)
    simd.prefetch_to_l2(x, start + d)
    simd.prefetch_to_l2(x, start + e)
    simd.prefetch_to_l2(x, start + d + e)
