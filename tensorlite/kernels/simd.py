"""SIMD values inside Numba: vectors of the CPU's width, tiles of them, and what they can do.

A `Vector` is an LLVM vector that lives in a register; a variable that holds one is plain Python:

    @inline
    def scale(x, y, start, stop, factor):
        w = simd.lanes(x)
        f = simd.splat(factor)
        i = start
        while i + w <= stop:
            simd.store(y, i, simd.load(x, i) * f)
            i += w
        if i < stop:                                    # the tail goes through the same code
            simd.store_part(y, i, stop - i, simd.load_part(x, i, stop - i, f) * f)

The element type follows the data, so one source serves float32 and float64. `i` counts elements
from the array's first element, whatever its shape: arrays are contiguous, or i comes from strides.

    lanes(x)                    elements in a vector of x's type, known when compiling:
                                16, 8 or 4 of float32, half as many of float64
    load(x, i)  store(x, i, v)  lanes elements at x[i:]
    load_part(x, i, n, fill)    the first n lanes from memory, the others from the vector `fill`
    store_part(x, i, n, v)      the first n lanes only; n may be 0 or less, lanes or more
    splat(s)  zero(x)           a scalar in every lane; 0 of x's type
    + - * / unary-              on vectors
    fma(a, b, c)                a * b + c rounded once; nothing else is ever contracted
    maximum minimum absolute sqrt floor round (to even) copysign(a, sign)
    a < b  <=  >  >=  ==  !=    a Mask (False where a NaN is compared, but != is True)
    select(mask, a, b)          a where the mask is True, else b; masks combine by & and |
    first(x, n)                 the mask of lanes 0..n-1
    exp(v)  exp2_integer(v)     e to the v, within 1 ulp; 2 to the v for integral v
    total(v)  largest(v)        a scalar from all lanes by a fixed tree: halves onto halves
    lane(v, i)                  one lane as a scalar, i a literal
    prefetch(x, i)              ask for the cache line of x[i]
    address(x)                  x's address, to compare or to align

Tiles, for products of matrices (rows and columns are literals; columns count vectors):

    tile(x, rows, columns)               zeros
    outer(t, a, i, b, j)                 t[r, c] = fma(a[i + r], b[j + lanes * c :], t[r, c])
    outer_strided(t, a, i, s, b, j)      the same with a[i + s * r]
    tile_load(x, i, s, rows, columns)    t[r, c] = x[i + s * r + lanes * c :]
    tile_store(x, i, s, t)               x[i + s * r + lanes * c :] = t[r, c]
    tile_row(t, r, c)                    the vector t[r, c], r and c literals
    tile_set(t, r, c, v)                 the tile with v there
    transpose(t)                         of a lanes x 1 tile: lane c of row r <-> lane r of row c
    chain(t, x, i, v)                    for r: v = fma(x[i + r], t[r, 0], v), in this order

Nothing here lets the compiler choose an order of additions, so results are the same bits wherever
a function is inlined. Source of the approach: numba.extending's intrinsics over LLVM's vectors.
"""

from __future__ import annotations

import operator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, overload, register_model

INT32 = ir.IntType(32)


def _register_bits() -> int:
    """Bits of the widest vector register of the CPU that Numba compiles for."""
    if config.CPU_FEATURES:
        has = {f[1:] for f in config.CPU_FEATURES.split(",") if f.startswith("+")}
    elif config.CPU_NAME == "generic":
        has = set()
    else:
        has = {name for name, there in llvm.get_host_cpu_features().items() if there}
    return 512 if "avx512f" in has else 256 if "avx" in has else 128


REGISTER_BITS = _register_bits()
# 32 registers hold 12 x 2 accumulators, two vectors of b and spare; 16 hold 6 x 2.
MANY_REGISTERS = REGISTER_BITS == 512 or not llvm.get_default_triple().startswith(("x86", "i"))
TILE_ROWS = 12 if MANY_REGISTERS else 6
TILE_COLUMNS = 2


# ------------------------------------------------------------------------------------------ types


class Vector(types.Type):
    """A register of `lanes` values of a floating type."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.lanes = REGISTER_BITS // dtype.bitwidth
        self.element = ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
        self.llvm = ir.VectorType(self.element, self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"
        super().__init__(f"vector({dtype}, {self.lanes})")


class Mask(types.Type):
    """A truth value for every lane."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.llvm = ir.VectorType(ir.IntType(1), lanes)
        super().__init__(f"mask({lanes})")


class Tile(types.Type):
    """rows x columns vectors."""

    def __init__(self, vector: Vector, rows: int, columns: int) -> None:
        self.vector, self.rows, self.columns = vector, rows, columns
        self.llvm = ir.ArrayType(vector.llvm, rows * columns)
        super().__init__(f"tile({vector}, {rows}, {columns})")


@register_model(Vector)
@register_model(Mask)
@register_model(Tile)
class RegisterModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, kind.llvm)


def _vector(kind: Any) -> Vector:
    """The vector type that belongs to an array, a scalar, a tile or a vector."""
    if isinstance(kind, Vector):
        return kind
    if isinstance(kind, Tile):
        return kind.vector
    return Vector(kind.dtype if isinstance(kind, types.Array) else kind)


def _floating(*kinds: Any) -> bool:
    return all(isinstance(k, Vector | types.Float) for k in kinds) and any(
        isinstance(k, Vector) for k in kinds
    )


# ----------------------------------------------------------------------------- memory and scalars


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any, vector: Vector) -> Any:
    """The address of array[index] as a pointer to a vector."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.llvm.as_pointer())


def _load(builder: Any, pointer: Any, vector: Vector) -> Any:
    value = builder.load(pointer)
    value.align = vector.dtype.bitwidth // 8  # elements are aligned, vectors need not be
    return value


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, scalar, INT32(0))
    zeros = ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, undefined, zeros)


def _constant(vector: Vector, value: float) -> ir.Constant:
    return ir.Constant(vector.llvm, [vector.element(value)] * vector.lanes)


def _call(builder: Any, name: str, vector: Vector, arguments: list[Any]) -> Any:
    """LLVM's own function `name` for this vector type."""
    kind = ir.FunctionType(vector.llvm, [vector.llvm] * len(arguments))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{vector.suffix}")
    return builder.call(function, arguments)


def _first(builder: Any, vector: Vector, n: Any) -> Any:
    """The mask of the lanes 0..n-1, for any 64-bit n."""
    wide = ir.VectorType(n.type, vector.lanes)
    numbers = ir.Constant(wide, [n.type(k) for k in range(vector.lanes)])
    return builder.icmp_signed("<", numbers, _splat(builder, n, wide))


def lanes(x):
    """Elements in a vector of x's type."""
    raise NotImplementedError


@overload(lanes, inline="always")
def _lanes(x):
    count = _vector(x).lanes
    return lambda x: count


@intrinsic
def load(typing, x, i):
    """The vector at x[i:]."""
    vector = _vector(x)

    def codegen(context, builder, signature, args):
        return _load(builder, _address(context, builder, x, *args, vector), vector)

    return vector(x, types.intp), codegen


@intrinsic
def store(typing, x, i, v):
    """Write the vector v to x[i:]."""

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, x, args[0], args[1], v)
        builder.store(args[2], pointer).align = v.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(x, types.intp, v), codegen


@intrinsic
def load_part(typing, x, i, n, fill):
    """The vector at x[i:], of which only the first n lanes are read; the others come from fill."""
    vector = _vector(x)

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, x, args[0], args[1], vector)
        mask = _first(builder, vector, args[2])
        kind = ir.FunctionType(vector.llvm, [pointer.type, INT32, mask.type, vector.llvm])
        name = f"llvm.masked.load.{vector.suffix}.p0"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        align = INT32(vector.dtype.bitwidth // 8)
        return builder.call(function, [pointer, align, mask, args[3]])

    return vector(x, types.intp, types.intp, vector), codegen


@intrinsic
def store_part(typing, x, i, n, v):
    """Write the first n lanes of v to x[i:]."""

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, x, args[0], args[1], v)
        mask = _first(builder, v, args[2])
        kind = ir.FunctionType(ir.VoidType(), [v.llvm, pointer.type, INT32, mask.type])
        name = f"llvm.masked.store.{v.suffix}.p0"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        builder.call(function, [args[3], pointer, INT32(v.dtype.bitwidth // 8), mask])
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, v), codegen


@intrinsic
def prefetch(typing, x, i):
    """Ask for the cache line of x[i], to be read and written soon."""

    def codegen(context, builder, signature, args):
        data = context.make_array(x)(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, INT32(0), INT32(3), INT32(1)])
        return context.get_dummy_value()

    return types.void(x, types.intp), codegen


@intrinsic
def address(typing, x):
    """The address of x's first element."""

    def codegen(context, builder, signature, args):
        data = context.make_array(x)(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.intp(x), codegen


@intrinsic
def splat(typing, s):
    """The scalar s in every lane."""
    vector = Vector(s)

    def codegen(context, builder, signature, args):
        return _splat(builder, args[0], vector.llvm)

    return vector(s), codegen


@intrinsic
def zero(typing, x):
    """A vector of zeros of x's type."""
    vector = _vector(x)

    def codegen(context, builder, signature, args):
        return _constant(vector, 0.0)

    return vector(x), codegen


@intrinsic(prefer_literal=True)
def lane(typing, v, i):
    """Lane i of v, a scalar."""
    if not isinstance(i, types.IntegerLiteral):
        return None

    def codegen(context, builder, signature, args):
        return builder.extract_element(args[0], INT32(i.literal_value))

    return v.dtype(v, i), codegen


# ------------------------------------------------------------------------------------- arithmetic


def _operator(symbol: Any, emit: Any, result: Any = None) -> None:
    """Make a Python operator work on two vectors, or a vector and a scalar of its type."""

    @infer_global(symbol)
    class Typing(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and _floating(*args):
                vector = next(a for a in args if isinstance(a, Vector))
                return signature(result(vector) if result else vector, vector, vector)
            return None

    @lower_builtin(symbol, Vector, Vector)
    def lowering(context, builder, signature, args):
        return emit(builder, *args)


_operator(operator.add, lambda b, x, y: b.fadd(x, y))
_operator(operator.sub, lambda b, x, y: b.fsub(x, y))
_operator(operator.mul, lambda b, x, y: b.fmul(x, y))
_operator(operator.truediv, lambda b, x, y: b.fdiv(x, y))
_operator(operator.iadd, lambda b, x, y: b.fadd(x, y))
_operator(operator.isub, lambda b, x, y: b.fsub(x, y))
_operator(operator.imul, lambda b, x, y: b.fmul(x, y))
_operator(operator.itruediv, lambda b, x, y: b.fdiv(x, y))
for _symbol, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _operator(
        _symbol,
        lambda b, x, y, sign=_sign: b.fcmp_ordered(sign, x, y),
        lambda v: Mask(v.lanes),
    )
_operator(operator.ne, lambda b, x, y: b.fcmp_unordered("!=", x, y), lambda v: Mask(v.lanes))


@overload(operator.neg)
def _negative(x):
    return (lambda x: _fneg(x)) if isinstance(x, Vector) else None


def _elementwise(name: str, count: int, emit: Any) -> Any:
    """An intrinsic from `count` vectors of one type to one vector."""

    def make(context, builder, signature, args):
        return emit(builder, signature.return_type, args)

    def one(typing, x):
        return (x(x), make) if isinstance(x, Vector) else None

    def two(typing, x, y):
        return (x(x, x), make) if isinstance(x, Vector) else None

    def three(typing, x, y, z):
        return (x(x, x, x), make) if isinstance(x, Vector) else None

    function = {1: one, 2: two, 3: three}[count]
    function.__name__ = function.__qualname__ = name
    return intrinsic(function)


def _llvm(name: str, count: int) -> Any:
    return _elementwise(name, count, lambda b, vector, args: _call(b, name, vector, list(args)))


_fneg = _elementwise("negative", 1, lambda b, vector, args: b.fneg(args[0]))
fma = _llvm("fma", 3)
sqrt = _llvm("sqrt", 1)
floor = _llvm("floor", 1)
round = _llvm("roundeven", 1)
absolute = _llvm("fabs", 1)
copysign = _llvm("copysign", 2)
# One instruction each; where a lane of x or y is NaN the result is y's lane.
maximum = _elementwise(
    "maximum", 2, lambda b, vector, args: b.select(b.fcmp_ordered(">", *args), *args)
)
minimum = _elementwise(
    "minimum", 2, lambda b, vector, args: b.select(b.fcmp_ordered("<", *args), *args)
)


@intrinsic
def select(typing, mask, a, b):
    """a where the mask is True, else b."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return a(mask, a, a), codegen


@intrinsic
def first(typing, x, n):
    """The mask of lanes 0..n-1 for vectors of x's type; n may lie outside [0, lanes]."""
    vector = _vector(x)

    def codegen(context, builder, signature, args):
        return _first(builder, vector, args[1])

    return Mask(vector.lanes)(x, types.intp), codegen


def _mask_operator(symbol: Any, emit: Any) -> None:
    @infer_global(symbol)
    class Typing(AbstractTemplate):
        def generic(self, args, kws):
            both = len(args) == 2 and all(isinstance(a, Mask) for a in args)
            return signature(args[0], *args) if both else None

    @lower_builtin(symbol, Mask, Mask)
    def lowering(context, builder, signature, args):
        return emit(builder, *args)


_mask_operator(operator.and_, lambda b, x, y: b.and_(x, y))
_mask_operator(operator.or_, lambda b, x, y: b.or_(x, y))


def _tree(builder: Any, value: Any, lanes: int, combine: Any) -> Any:
    """Fold the upper half onto the lower until one lane is left."""
    undefined = ir.Constant(value.type, ir.Undefined)
    while lanes > 1:
        lanes //= 2
        low = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes)))
        high = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes, 2 * lanes)))
        value = combine(
            builder.shuffle_vector(value, undefined, low),
            builder.shuffle_vector(value, undefined, high),
        )
        undefined = ir.Constant(value.type, ir.Undefined)
    return builder.extract_element(value, INT32(0))


@intrinsic
def total(typing, v):
    """The sum of the lanes: halves are added onto halves, an order fixed by the width alone."""

    def codegen(context, builder, signature, args):
        return _tree(builder, args[0], v.lanes, builder.fadd)

    return v.dtype(v), codegen


@intrinsic
def largest(typing, v):
    """The largest lane."""

    def codegen(context, builder, signature, args):
        def larger(a, b):
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return _tree(builder, args[0], v.lanes, larger)

    return v.dtype(v), codegen


@intrinsic
def exp2_integer(typing, v):
    """2 to the v for integral v in [-126, 127] (float32), [-1022, 1023] (float64)."""
    bits, mantissa, bias = (32, 23, 127) if v.dtype.bitwidth == 32 else (64, 52, 1023)
    whole = ir.VectorType(ir.IntType(bits), v.lanes)

    def codegen(context, builder, signature, args):
        def same(number):
            return ir.Constant(whole, [ir.IntType(bits)(number)] * v.lanes)

        n = builder.add(builder.fptosi(args[0], whole), same(bias))
        return builder.bitcast(builder.shl(n, same(mantissa)), v.llvm)

    return v(v), codegen


def exp(x):
    """e to the x in every lane; see the overload below."""
    raise NotImplementedError


@overload(exp)
def _exp(x):
    """exp(x) = 2^n exp(r), n = round(x / ln 2), r = x - n ln 2, |r| <= 0.35.

    ln 2 is subtracted in two parts so that r keeps all its bits. exp(r) is a polynomial of degree 6
    (float32) or Taylor's of degree 13 (float64). 2^n is multiplied in two halves, so that results
    beyond the normal range become 0, a subnormal number or inf as they should. NaN stays NaN.
    """
    if not isinstance(x, Vector):
        return None
    kind = np.float32 if x.dtype.bitwidth == 32 else np.float64
    single = kind is np.float32
    low, high = (kind(-105), kind(90)) if single else (kind(-750), kind(711))
    log2e = kind(1.4426950408889634)
    ln2_high = kind(0.693359375) if single else kind(6.93147180369123816490e-01)
    ln2_low = kind(-2.12194440e-4) if single else kind(1.90821492927058770002e-10)
    half, one = kind(0.5), kind(1)
    # Coefficients of r^2 and up; 1 + r is added last, in one rounding. float32: Cephes expf.
    if single:
        p = tuple(
            kind(c)
            for c in (
                1.9875691500e-4,
                1.3981999507e-3,
                8.3334519073e-3,
                4.1665795894e-2,
                1.6666665459e-1,
                5.0000001201e-1,
            )
        )
        c0, c1, c2, c3, c4, c5 = p

        def implementation(x):
            v = select(x < splat(low), splat(low), select(x > splat(high), splat(high), x))
            n = round(v * splat(log2e))
            r = fma(n, splat(-ln2_high), v)
            r = fma(n, splat(-ln2_low), r)
            y = splat(c0)
            y = fma(y, r, splat(c1))
            y = fma(y, r, splat(c2))
            y = fma(y, r, splat(c3))
            y = fma(y, r, splat(c4))
            y = fma(y, r, splat(c5))
            y = fma(y, r * r, r) + splat(one)
            m = floor(n * splat(half))
            return y * exp2_integer(m) * exp2_integer(n - m)

        return implementation

    factorial, coefficients = 1.0, []
    for k in range(1, 14):
        factorial *= k
        coefficients.append(kind(1 / factorial))
    t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13 = coefficients[1:]

    def implementation64(x):
        v = select(x < splat(low), splat(low), select(x > splat(high), splat(high), x))
        n = round(v * splat(log2e))
        r = fma(n, splat(-ln2_high), v)
        r = fma(n, splat(-ln2_low), r)
        y = splat(t13)
        y = fma(y, r, splat(t12))
        y = fma(y, r, splat(t11))
        y = fma(y, r, splat(t10))
        y = fma(y, r, splat(t9))
        y = fma(y, r, splat(t8))
        y = fma(y, r, splat(t7))
        y = fma(y, r, splat(t6))
        y = fma(y, r, splat(t5))
        y = fma(y, r, splat(t4))
        y = fma(y, r, splat(t3))
        y = fma(y, r, splat(t2))
        y = fma(y, r * r, r) + splat(one)
        m = floor(n * splat(half))
        return y * exp2_integer(m) * exp2_integer(n - m)

    return implementation64


# ------------------------------------------------------------------------------------------ tiles


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
    kind = Tile(_vector(x), rows.literal_value, columns.literal_value)

    def codegen(context, builder, signature, args):
        zeros = [[_constant(kind.vector, 0.0)] * kind.columns] * kind.rows
        return _assemble(builder, kind, zeros)

    return kind(x, rows, columns), codegen


def _scalar_at(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.load(builder.gep(data, [index]))


def _rank_one(context, builder, kind, t, a_kind, a, rows_at, b_kind, b, j):  # one step of a product
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
    for r, row in enumerate(cells):
        down = _splat(builder, _scalar_at(context, builder, a_kind, a, rows_at(r)), vector.llvm)
        for c in range(kind.columns):
            row[c] = _call(builder, "fma", vector, [down, across[c], row[c]])
    return _assemble(builder, kind, cells)


@intrinsic
def outer(typing, t, a, i, b, j):
    """t[r, c] = fma(a[i + r], b[j + lanes * c :], t[r, c])."""

    def codegen(context, builder, signature, args):
        t_value, a_value, i_value, b_value, j_value = args

        def rows_at(r):
            return builder.add(i_value, ir.IntType(64)(r))

        return _rank_one(context, builder, t, t_value, a, a_value, rows_at, b, b_value, j_value)

    return t(t, a, types.intp, b, types.intp), codegen


@intrinsic
def outer_strided(typing, t, a, i, s, b, j):
    """t[r, c] = fma(a[i + s * r], b[j + lanes * c :], t[r, c])."""

    def codegen(context, builder, signature, args):
        t_value, a_value, i_value, s_value, b_value, j_value = args

        def rows_at(r):
            return builder.add(i_value, builder.mul(s_value, ir.IntType(64)(r)))

        return _rank_one(context, builder, t, t_value, a, a_value, rows_at, b, b_value, j_value)

    return t(t, a, types.intp, types.intp, b, types.intp), codegen


def _cell_index(builder: Any, i: Any, s: Any, r: int, elements: int) -> Any:
    n = ir.IntType(64)
    return builder.add(builder.add(i, builder.mul(s, n(r))), n(elements))


@intrinsic(prefer_literal=True)
def tile_load(typing, x, i, s, rows, columns):
    """t[r, c] = x[i + s * r + lanes * c :]."""
    if not _literal(rows, columns):
        return None
    kind = Tile(_vector(x), rows.literal_value, columns.literal_value)

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
        picks = []
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
def chain(typing, t, x, i, v):
    """v = fma(x[i + r], t[r, 0], v) for r = 0, 1, ..., in this order."""

    def codegen(context, builder, signature, args):
        t_value, array, i_value, value = args
        for r, row in enumerate(_cells(builder, t, t_value)):
            at = builder.add(i_value, ir.IntType(64)(r))
            scalar = _scalar_at(context, builder, x, array, at)
            down = _splat(builder, scalar, t.vector.llvm)
            value = _call(builder, "fma", t.vector, [down, row[0], value])
        return value

    return v(t, x, types.intp, v), codegen
