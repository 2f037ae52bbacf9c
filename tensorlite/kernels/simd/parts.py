"""float32 in three parts of bfloat16, and the tile registers that multiply such parts.

See kernels/parts.py for what is made of them. A tile register holds 16 rows of 64 bytes: of c, 16
numbers each; of a and b, 16 pairs of bfloat16. The registers are the processor's alone, no value
of LLVM's: tmm0 to tmm3 hold a tile of c of 2 x 2 of them, tmm4 and tmm5 two of a, tmm6 and tmm7
two of b. Their instructions: Intel's manual, volume 2, TDPBF16PS and TILELOADD.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from tensorlite.kernels.processor import TILES
from tensorlite.kernels.simd.tiles import Tile, _assemble, _cells, _literal
from tensorlite.kernels.simd.vectors import (
    INT32,
    Vector,
    _address,
    _call,
    _load,
    _splat,
    vector_type,
)

PAIRS = 16  # of a row of a tile register, and rows of it
TILE = PAIRS * PAIRS  # float32 that take as much room as a tile register
# Parts of a and of b (0: high, 1: middle, 2: low) that are multiplied, in the order in which their
# products are added; one of the two stays from one product to the next.
PRODUCTS = ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0))
LINE = 64  # bytes of a cache line
FLUSH = 0x8040  # of the word that governs vectors: numbers below the normal ones count as 0


def _assembler(builder: Any, text: str, arguments: Any = ()) -> Any:
    """Instructions that LLVM leaves where they are, $0, $1, ... their arguments in registers."""
    kind = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
    constraints = ",".join(["r"] * len(arguments) + ["~{memory}"])
    builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), arguments)


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index])


# ------------------------------------------------------------------------------------ the registers


@intrinsic
def tiles_begin(typing, rows):
    """Before this thread's tile registers are used. Those of c and a (0 to 5) get so many rows,
    1 to 16, those of b 16, of 64 bytes each. A product of registers takes a cycle a row."""

    def codegen(context, builder, signature, args):
        # The palette, 14 bytes of nothing, then bytes of a row (two bytes each) and rows of all 8.
        settings = bytes([1]) + bytes(15) + bytes([64, 0] * 8) + bytes(16) + bytes([16] * 8)
        whole = ir.ArrayType(ir.IntType(8), 64)
        where = cgutils.alloca_once(builder, whole)
        builder.store(ir.Constant(whole, bytearray(settings.ljust(64, b"\0"))), where)
        count = builder.trunc(args[0], ir.IntType(8))
        for register in range(6):
            builder.store(count, cgutils.gep_inbounds(builder, where, 0, 48 + register))
        _assembler(builder, "ldtilecfg ($0)", [where])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@intrinsic
def tiles_end(typing):
    """After: the registers are empty, and cost the system nothing when it changes threads."""

    def codegen(context, builder, signature, args):
        _assembler(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


def _registers(rows: Any, columns: Any) -> list[tuple[int, int]]:
    return [(r, c) for r in range(rows.literal_value) for c in range(columns.literal_value)]


@intrinsic(prefer_literal=True)
def tiles_zero(typing, rows, columns):
    """A tile of c of so many registers, 1 or 2 each way, becomes 0."""
    if not _literal(rows, columns):
        return None

    def codegen(context, builder, signature, args):
        text = "\n".join(f"tilezero %tmm{2 * r + c}" for r, c in _registers(rows, columns))
        _assembler(builder, text)
        return context.get_dummy_value()

    return types.void(rows, columns), codegen


def _step(cells: list[tuple[int, int]]) -> list[str]:
    """The products of a step for these registers of c, and the loads that they need. A register is
    loaded as soon as nobody needs what it held, not when somebody needs what it will hold."""
    products: list[str] = []
    loads: dict[int, list[str]] = {}  # by the product after which they come
    loaded: dict[int, int] = {}  # register -> byte
    used: dict[int, int] = {}  # register -> product
    for of_a, of_b in PRODUCTS:
        for r, c in cells:
            x, y = 4 + r, 6 + c
            for operand, register, half, part in ((0, x, r, of_a), (1, y, c, of_b)):
                byte = 4 * TILE * (2 * part + half)
                if loaded.get(register) != byte:
                    loaded[register] = byte
                    text = f"tileloadd {byte}(${operand},$2), %tmm{register}"
                    loads.setdefault(used.get(register, -1), []).append(text)
                used[register] = len(products)
            products.append(f"tdpbf16ps %tmm{y}, %tmm{x}, %tmm{2 * r + c}")
    lines = loads.get(-1, [])
    for number, product in enumerate(products):
        lines += [product, *loads.get(number, [])]
    return lines


@intrinsic(prefer_literal=True)
def tiles_multiply(typing, a, i, b, j, rows, columns):
    """The tile of c += one step of a product: 32 terms, of packed parts a[i:] and b[j:].

    Of each operand there lie the high parts, one register after the other, the middle, the low.
    The next step's are asked for, and registers loaded early. A core alone has 350 GFLOP/s either
    way; one that another program uses too has 75, by the first 120, by both 145.
    """
    if not _literal(rows, columns):
        return None

    def codegen(context, builder, signature, args):
        # What the next step reads, to be asked for while this one's products run.
        sides = (rows.literal_value, columns.literal_value)
        ahead = [
            f"prefetcht0 {4 * (6 + 2 * part + half) * TILE + byte}(${operand})"
            for part in range(3)
            for operand, halves in enumerate(sides)
            for half in range(halves)
            for byte in range(0, 4 * TILE, LINE)
        ]
        lines = _step(_registers(rows, columns))
        share = -(-len(ahead) // sum("tdp" in line for line in lines))
        text = []
        for line in lines:
            text.append(line)
            if "tdp" in line:
                text += ahead[:share]
                del ahead[:share]
        places = [
            _place(context, builder, a, args[0], args[1]),
            _place(context, builder, b, args[2], args[3]),
        ]
        _assembler(builder, "\n".join(text), [*places, ir.IntType(64)(64)])
        return context.get_dummy_value()

    return types.void(a, types.intp, b, types.intp, rows, columns), codegen


@intrinsic(prefer_literal=True)
def tiles_store(typing, x, i, rows, columns):
    """The tile of c goes to x[i:], rows of 2 x 16 numbers."""
    if not _literal(rows, columns):
        return None

    def codegen(context, builder, signature, args):
        text = "\n".join(
            f"tilestored %tmm{2 * r + c}, {64 * c + 128 * PAIRS * r}($0,$1)"
            for r, c in _registers(rows, columns)
        )
        _assembler(builder, text, [_place(context, builder, x, *args[:2]), ir.IntType(64)(128)])
        return context.get_dummy_value()

    return types.void(x, types.intp, rows, columns), codegen


# ---------------------------------------------------------------------------------------- the parts


def _parts(builder: Any, vector: Vector, v: Any) -> tuple[Any, Any, Any]:
    """Three vectors of numbers with 8 significant bits, the sum of which is v.

    A number is rounded to its upper 16 bits, halves away from 0. What is left of one with 24
    significant bits has 16, and what is left of that 8.
    """
    whole = ir.VectorType(INT32, vector.lanes)

    def rounded(x: Any) -> Any:
        half, upper = (ir.Constant(whole, [INT32(n)] * vector.lanes) for n in (0x8000, 0xFFFF0000))
        bits = builder.add(builder.bitcast(x, whole), half)
        return builder.bitcast(builder.and_(bits, upper), vector.llvm)

    high = rounded(v)
    rest = builder.fsub(v, high)
    middle = rounded(rest)
    return high, middle, builder.fsub(rest, middle)


@intrinsic
def split(typing, v):
    """A 3 x 1 tile: the high, middle and low part of v, whose sum it is."""
    kind = Tile(v, 3, 1)

    def codegen(context, builder, signature, args):
        return _assemble(builder, kind, [[p] for p in _parts(builder, v, args[0])])

    return kind(v), codegen


@intrinsic
def outer_parts(typing, t, a, i, plane, b, j):
    """For each product of parts, row p of t, one of a's and one of b's:
    t[p, c] = fma(part of a at a[i + plane number], part of b[j + lanes c :], t[p, c])."""
    if not (isinstance(t, Tile) and t.rows == len(PRODUCTS)):
        return None
    vector = t.vector

    def codegen(context, builder, signature, args):
        t_value, a_value, i_value, plane_value, b_value, j_value = args
        n = i_value.type
        downs = []
        for part in range(3):
            at = builder.add(i_value, builder.mul(plane_value, n(part)))
            scalar = builder.load(_place(context, builder, a, a_value, at))
            downs.append(_splat(builder, scalar, vector.llvm))
        rows = _cells(builder, t, t_value)
        for c in range(t.columns):
            at = builder.add(j_value, n(c * vector.lanes))
            value = _load(builder, _address(context, builder, b, b_value, at, vector), vector)
            across = _parts(builder, vector, value)
            for row, (of_a, of_b) in zip(rows, PRODUCTS, strict=True):
                row[c] = _call(builder, "fma", vector, [downs[of_a], across[of_b], row[c]])
        return _assemble(builder, t, rows)

    return t(t, a, types.intp, types.intp, b, types.intp), codegen


@intrinsic
def add_chains(typing, t, first, second):
    """t + (first[p] + second[p]) for each product of parts in turn; t is one row."""
    if not (isinstance(t, Tile) and t.rows == 1):
        return None

    def codegen(context, builder, signature, args):
        sums, chains, others = (
            _cells(builder, kind, value)
            for kind, value in zip((t, first, second), args, strict=True)
        )
        for c in range(t.columns):
            for one, other in zip(chains, others, strict=True):
                sums[0][c] = builder.fadd(sums[0][c], builder.fadd(one[c], other[c]))
        return _assemble(builder, t, sums)

    return t(t, first, second), codegen


@intrinsic
def split_pairs(typing, v, w):
    """A 3 x 1 tile of pairs of bfloat16: in each lane of a row, a part of v and the same of w."""
    kind = Tile(v, 3, 1)

    def codegen(context, builder, signature, args):
        whole = ir.VectorType(INT32, v.lanes)
        sixteen = ir.Constant(whole, [INT32(16)] * v.lanes)
        cells = []
        for parts in zip(*(_parts(builder, v, x) for x in args), strict=True):
            low, high = (builder.bitcast(part, whole) for part in parts)
            pair = builder.or_(builder.lshr(low, sixteen), high)
            cells.append([builder.bitcast(pair, v.llvm)])
        return _assemble(builder, kind, cells)

    return kind(v, w), codegen


# ------------------------------------------------------------------------- numbers below the normal


@intrinsic
def flush_denormals(typing):
    """Let vectors take and give 0 for what is below the normal numbers, as tile registers do;
    returns what `restore_denormals` takes.

    LLVM knows nothing of it, but moves no load or store across: what is computed from loads after
    this one, and stored before the other, is computed in between.
    """

    def codegen(context, builder, signature, args):
        before, during = (cgutils.alloca_once(builder, INT32) for _ in range(2))
        _assembler(builder, "stmxcsr ($0)", [before])
        value = builder.load(before)
        builder.store(builder.or_(value, INT32(FLUSH)), during)
        _assembler(builder, "ldmxcsr ($0)", [during])
        return value

    return types.int32(), codegen


@intrinsic
def restore_denormals(typing, before):
    """End what flush_denormals began."""

    def codegen(context, builder, signature, args):
        place = cgutils.alloca_once(builder, INT32)
        builder.store(args[0], place)
        _assembler(builder, "ldmxcsr ($0)", [place])
        return context.get_dummy_value()

    return types.void(types.int32), codegen


def is_parted(x: Any) -> bool:
    """Whether products of x's type are made of parts here."""
    return TILES and vector_type(x).dtype.bitwidth == 32
