"""The two ways of a product: multiply-adds of vectors, or parts of float32 in tile registers.

Which one is known when a kernel is compiled, from the dtype and the processor. Both pack a by
panels of rows and b by panels of columns, one block of k after the other, and compute a tile of c
from a panel of each: see packing.py and tile.py for the one, parts.py for the other.
"""

from __future__ import annotations

from typing import Any

from tensorlite.kernels import packing, parts, simd, tile
from tensorlite.kernels.few_rows import KC
from tensorlite.kernels.jit import source
from tensorlite.kernels.parts import WAITING as WAITING


def _constant(of_vectors: Any, of_parts: Any) -> Any:
    """A function of an array whose value is known by its dtype, when compiling."""

    def function(x):
        raise NotImplementedError

    @simd.overload(function, inline="always")
    def _(x):
        value = of_parts(x) if simd.is_parted(x) else of_vectors(x)
        return lambda x: value

    return function


def _lanes(x: Any) -> int:
    return simd.vector_type(x).lanes


# Rows of a tile, and elements of a panel of so many rows of a, one block of k deep.
tile_rows = _constant(lambda x: packing.ROWS, lambda x: parts.SIDE)
rows_room = _constant(
    lambda x: packing.ROWS * packing.STRIDE, lambda x: KC // parts.DEEP * parts.STEP
)
# Elements of an unfinished tile of c and what is computed beside it, and of the room for packing.
tile_room = _constant(
    lambda x: packing.ROWS * packing.COLUMNS * _lanes(x),
    lambda x: (3 * parts.SIDE + 1) * parts.SIDE,
)
# For packing, or what a square of transposed rows reads beyond those of the last panel.
room = _constant(
    lambda x: max(_lanes(x) ** 2, -packing.ROWS % _lanes(x) * packing.STRIDE), lambda x: parts.ROOM
)
# Rows of a that are packed for all blocks of k at a time, and for one.
flat = _constant(lambda x: packing.FLAT, lambda x: parts.FLAT)
most = _constant(lambda x: 16 * packing.ROWS, lambda x: parts.MOST)
# Rows of a that are worth a task at least.
least = _constant(lambda x: 4 * packing.ROWS, lambda x: 2 * parts.SIDE)
# Whether a tile reads panels of plain numbers, which weights can be kept in.
reads_panels = _constant(lambda x: True, lambda x: False)
# Whether packing asks for what is packed next.
asks_packing = _constant(lambda x: False, lambda x: True)


def columns_room(x, panels, k):
    """Elements that so many packed panels of b take, k deep."""
    raise NotImplementedError


@simd.overload(columns_room)
def _(x, panels, k):
    if simd.is_parted(x):
        return lambda x, panels, k: panels * parts.room_for_panel(k)
    width = packing.COLUMNS * _lanes(x)
    return lambda x, panels, k: panels * width * k


def begin(x, rows):
    """Before a thread computes tiles of x's type, of so many rows of c in all."""
    raise NotImplementedError


@simd.overload(begin)
def _(x, rows):
    if simd.is_parted(x):
        return lambda x, rows: simd.tiles_begin(min(rows, parts.PAIRS))
    return lambda x, rows: None


def end(x):
    """After it has computed them."""
    raise NotImplementedError


@simd.overload(end)
def _(x):
    return (lambda x: simd.tiles_end()) if simd.is_parted(x) else (lambda x: None)


def pack_rows(packed, a, base, row_stride, column_stride, rows, depth):
    """Panels of rows of a, rows_room(a) elements apart; after the last there is room(a)."""
    raise NotImplementedError


@simd.overload(pack_rows)
def _(packed, a, base, row_stride, column_stride, rows, depth):
    way = parts if simd.is_parted(a) else packing
    return source(way.pack_rows)


def pack_columns(task, packed, b, base, row_stride, column_stride, jump, n, k, run, room, ahead):
    """`run` panels of b, packed[block][panel]. Those of b are `jump` elements a column apart,
    columns within one column_stride. What lies `ahead` may be asked for."""
    raise NotImplementedError


@simd.overload(pack_columns)
def _(task, packed, b, base, row_stride, column_stride, jump, n, k, run, room, ahead):
    way = parts if simd.is_parted(b) else packing
    return source(way.pack_columns)


def product_tile(
    waiting, tile, origin, a_at, b_at, buffer, g, packed, panel, depth, c, at, c_row, rows, columns,
    add, bias_at, last, ending, of_a, of_b,
):  # fmt: skip
    """The g-th tile of `rows` rows by a panel: c[at + r c_row :][: columns] (+)= their products.

    a[a_at], b[b_at]: the block's first elements, where they lie unpacked; buffer, packed[panel]:
    where they are packed. A tile may be left `waiting`, WAITING numbers that are 0 to begin with.
    origin: a, its strides by row and column, b, its strides
    ending: bias, and what follows the last block of k; see epilogue.py
    of_a, of_b: what of a, and of packed, is asked for meanwhile; see errands.py
    """
    raise NotImplementedError


@simd.overload(product_tile)
def _(
    waiting, tile, origin, a_at, b_at, buffer, g, packed, panel, depth, c, at, c_row, rows, columns,
    add, bias_at, last, ending, of_a, of_b,
):  # fmt: skip
    return source(parts.product_tile if simd.is_parted(c) else _of_vectors)


_of_vectors = tile.product_tile


def complete(waiting, tile, origin, c, c_row, ending):
    """After the last tile: none is left waiting."""
    raise NotImplementedError


@simd.overload(complete)
def _(waiting, tile, origin, c, c_row, ending):
    if simd.is_parted(c):
        return source(parts.complete)
    return lambda waiting, tile, origin, c, c_row, ending: None
