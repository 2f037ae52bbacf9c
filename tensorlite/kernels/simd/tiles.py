"""Tiles of vectors: the registers of a matrix product, written as one value."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_model

from tensorlite.kernels.simd.vectors import (
    AMD,
    INT32,
    MANY_REGISTERS,
    REGISTER_BITS,
    RegisterModel,
    Vector,
    _address,
    _call,
    _constant,
    _load,
    _splat,
    vector_type,
)

# 32 registers hold 12 x 2 accumulators, two vectors of b and spare; 16 hold 6 x 2.
TILE_ROWS = 12 if MANY_REGISTERS else 6
TILE_COLUMNS = 2


class Tile(types.Type):
    """rows x columns vectors."""

    def __init__(self, vector: Vector, rows: int, columns: int) -> None:
        self.vector, self.rows, self.columns = vector, rows, columns
        self.llvm = ir.ArrayType(vector.llvm, rows * columns)
        super().__init__(f"tile({vector}, {rows}, {columns})")


register_model(Tile)(RegisterModel)


def _cells(builder: Any, tile: Tile, value: Any) -> list[list[Any]]:
    """The vectors of a tile, row by row."""
    return [
        [builder.extract_value(value, r * tile.columns + c) for c in range(tile.columns)]
        for r in range(tile.rows)
    ]


def _assemble(builder: Any, tile: Tile, cells: list[list[Any]]) -> Any:
    value = ir.Constant(tile.llvm, ir.Undefined)
    for number, cell in enumerate(cell for row in cells for cell in row):
        value = builder.insert_value(value, cell, number)
    return value


def _literal(*kinds: Any) -> bool:
    return all(isinstance(k, types.IntegerLiteral) for k in kinds)


@intrinsic(prefer_literal=True)
def tile(typing, x, rows, columns):
    """A tile of zeros."""
    if not _literal(rows, columns):
        return None
    kind = Tile(vector_type(x), rows.literal_value, columns.literal_value)

    def codegen(context, builder, signature, args):
        zeros = [[_constant(kind.vector, 0.0)] * kind.columns] * kind.rows
        return _assemble(builder, kind, zeros)

    return kind(x, rows, columns), codegen


def _scalar_at(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.load(builder.gep(data, [index]))


# A step of a product needs an element of a in every lane, for each row, and multiplies it by each
# vector of b. An Intel processor can load it as a part of the multiply-add, once for each vector,
# which it counts as one instruction; loaded on its own it is one more. With 8 rows of 12 so, a step
# has 30 instructions, not 38: .92 to .97 of the time where two programs share a core, the same
# where one has it alone. (All 12 would be more loads than a core has room for.) A compiler makes
# one load of two from one address; so each vector has an address of its own, of which the compiler
# cannot know that it is the same. A single row loads vectors of b so, each of which it uses once.
FUSED = 8 if REGISTER_BITS == 512 and not AMD else 0  # rows


def _broadcasts(builder: Any, vector: Vector, base: Any, step: Any, tile: tuple[int, int]) -> Any:
    """base[step r] in every lane, for each row and each vector of a tile's rows x columns."""
    rows, columns = tile
    bases = [base] * columns
    if rows > 1 and columns > 1 and FUSED:
        same = ir.InlineAsm(ir.FunctionType(base.type, [base.type]), "", "=r,0")
        bases = [builder.call(same, [base]) for _ in bases]
    for r in range(rows):
        own = bases if rows > 1 and r < FUSED else [base]
        scalars = [builder.load(builder.gep(p, [builder.mul(step, step.type(r))])) for p in own]
        vectors = [_splat(builder, scalar, vector.llvm) for scalar in scalars]
        yield vectors if len(vectors) == columns else vectors * columns


def _rank_one(context, builder, kind, t, a_kind, a, i, step, b_kind, b, j):
    """One step of a product."""
    vector = kind.vector
    n = ir.IntType(64)
    across = [
        _load(
            builder,
            _address(context, builder, b_kind, b, builder.add(j, n(c * vector.lanes)), vector),
            vector,
        )
        for c in range(kind.columns)
    ]
    cells = _cells(builder, kind, t)
    base = builder.gep(context.make_array(a_kind)(context, builder, a).data, [i])
    downs = _broadcasts(builder, vector, base, step, (kind.rows, kind.columns))
    for row, down in zip(cells, downs, strict=True):
        for c in range(kind.columns):
            row[c] = _call(builder, "fma", vector, [down[c], across[c], row[c]])
    return _assemble(builder, kind, cells)


@intrinsic
def outer(typing, t, a, i, b, j):
    """t[r, c] = fma(a[i + r], b[j + lanes * c :], t[r, c])."""

    def codegen(context, builder, signature, args):
        t_value, a_value, i_value, b_value, j_value = args
        one = ir.IntType(64)(1)
        return _rank_one(
            context, builder, t, t_value, a, a_value, i_value, one, b, b_value, j_value
        )

    return t(t, a, types.intp, b, types.intp), codegen


@intrinsic
def outer_strided(typing, t, a, i, s, b, j):
    """t[r, c] = fma(a[i + s * r], b[j + lanes * c :], t[r, c])."""

    def codegen(context, builder, signature, args):
        t_value, a_value, i_value, s_value, b_value, j_value = args
        return _rank_one(
            context, builder, t, t_value, a, a_value, i_value, s_value, b, b_value, j_value
        )

    return t(t, a, types.intp, types.intp, b, types.intp), codegen


def _cell_index(builder: Any, i: Any, s: Any, r: int, elements: int) -> Any:
    n = ir.IntType(64)
    return builder.add(builder.add(i, builder.mul(s, n(r))), n(elements))


@intrinsic(prefer_literal=True)
def tile_load(typing, x, i, s, rows, columns):
    """t[r, c] = x[i + s * r + lanes * c :]."""
    if not _literal(rows, columns):
        return None
    kind = Tile(vector_type(x), rows.literal_value, columns.literal_value)

    def codegen(context, builder, signature, args):
        array, i_value, s_value = args[:3]
        vector = kind.vector
        cells = []
        for r in range(kind.rows):
            row = []
            for c in range(kind.columns):
                at = _cell_index(builder, i_value, s_value, r, c * vector.lanes)
                row.append(_load(builder, _address(context, builder, x, array, at, vector), vector))
            cells.append(row)
        return _assemble(builder, kind, cells)

    return kind(x, types.intp, types.intp, rows, columns), codegen


@intrinsic
def tile_store(typing, x, i, s, t):
    """x[i + s * r + lanes * c :] = t[r, c]."""

    def codegen(context, builder, signature, args):
        array, i_value, s_value, value = args
        vector = t.vector
        for r, row in enumerate(_cells(builder, t, value)):
            for c, cell in enumerate(row):
                at = _cell_index(builder, i_value, s_value, r, c * vector.lanes)
                pointer = _address(context, builder, x, array, at, vector)
                builder.store(cell, pointer).align = vector.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, t), codegen


@intrinsic
def tile_plus(typing, t, x, i, s):
    """t[r, c] + x[i + s * r + lanes * c :]."""

    def codegen(context, builder, signature, args):
        value, array, i_value, s_value = args
        vector = t.vector
        cells = []
        for r, row in enumerate(_cells(builder, t, value)):
            sums = []
            for c, cell in enumerate(row):
                at = _cell_index(builder, i_value, s_value, r, c * vector.lanes)
                there = _load(builder, _address(context, builder, x, array, at, vector), vector)
                sums.append(builder.fadd(there, cell))
            cells.append(sums)
        return _assemble(builder, t, cells)

    return t(t, x, types.intp, types.intp), codegen


@intrinsic(prefer_literal=True)
def tile_row(typing, t, r, c):
    """The vector t[r, c]."""
    if not _literal(r, c):
        return None
    number = r.literal_value * t.columns + c.literal_value

    def codegen(context, builder, signature, args):
        return builder.extract_value(args[0], number)

    return t.vector(t, r, c), codegen


@intrinsic(prefer_literal=True)
def tile_set(typing, t, r, c, v):
    """The tile t with v in place of t[r, c]."""
    if not _literal(r, c):
        return None
    number = r.literal_value * t.columns + c.literal_value

    def codegen(context, builder, signature, args):
        return builder.insert_value(args[0], args[3], number)

    return t(t, r, c, t.vector), codegen


def _transposed(builder: Any, vector: Vector, rows: list[Any]) -> list[Any]:
    """Transpose lanes x lanes values in registers, by shuffles that are one instruction each.

    First inside the 128-bit parts of each register (unpack), then the parts themselves (swap).
    """
    lanes = vector.lanes
    part = min(lanes, 128 // vector.dtype.bitwidth)  # elements in a 128-bit part

    def shuffle(x, y, picks):
        indices = ir.Constant(ir.VectorType(INT32, lanes), picks)
        return builder.shuffle_vector(x, y, indices)

    def unpack(x, y, unit, upper):
        """Interleave the lower or upper halves of every part, `unit` elements at a time."""
        picks: list[int] = []
        for base in range(0, lanes, part):
            start = base + (part // 2 if upper else 0)
            for at in range(start, start + part // 2, unit):
                picks += range(at, at + unit)
                picks += range(lanes + at, lanes + at + unit)
        return shuffle(x, y, picks)

    # After this, rows[g + j] holds columns j, part + j, 2 part + j, ... of `part` rows from g on.
    unit = 1
    while unit < part:
        if unit == 1:
            for g in range(0, lanes, 2):
                x, y = rows[g], rows[g + 1]
                rows[g], rows[g + 1] = unpack(x, y, 1, False), unpack(x, y, 1, True)
        else:
            for g in range(0, lanes, 4):
                a, b, c, d = rows[g : g + 4]
                rows[g : g + 4] = [
                    unpack(a, c, 2, False),
                    unpack(a, c, 2, True),
                    unpack(b, d, 2, False),
                    unpack(b, d, 2, True),
                ]
        unit *= 2

    # Now the parts are elements of a square matrix of parts; swap its off-diagonal blocks.
    distance = 1
    while distance * part < lanes:
        for g in range(lanes // part):
            if g & distance:
                continue
            for j in range(part):
                low, high = g * part + j, (g + distance) * part + j
                x, y = rows[low], rows[high]
                picks_low, picks_high = [], []
                for p in range(lanes // part):
                    here = range(p * part, (p + 1) * part)
                    if p & distance:
                        picks_low += [lanes + k - distance * part for k in here]
                        picks_high += [lanes + k for k in here]
                    else:
                        picks_low += list(here)
                        picks_high += [k + distance * part for k in here]
                rows[low], rows[high] = shuffle(x, y, picks_low), shuffle(x, y, picks_high)
        distance *= 2
    return rows


@intrinsic
def transpose(typing, t):
    """Lane c of row r <-> lane r of row c, of a tile with as many rows as lanes and one column."""
    if not (isinstance(t, Tile) and t.columns == 1 and t.rows == t.vector.lanes):
        return None

    def codegen(context, builder, signature, args):
        rows = [row[0] for row in _cells(builder, t, args[0])]
        return _assemble(builder, t, [[r] for r in _transposed(builder, t.vector, rows)])

    return t(t), codegen


@intrinsic
def chain(typing, t, x, i, s, v):
    """v = fma(x[i + s r], t[r, 0], v) for r = 0, 1, ..., in this order."""

    def codegen(context, builder, signature, args):
        t_value, array, i_value, step, value = args
        for r, row in enumerate(_cells(builder, t, t_value)):
            at = builder.add(i_value, builder.mul(step, ir.IntType(64)(r)))
            scalar = _scalar_at(context, builder, x, array, at)
            down = _splat(builder, scalar, t.vector.llvm)
            value = _call(builder, "fma", t.vector, [down, row[0], value])
        return value

    return v(t, x, types.intp, types.intp, v), codegen
