"""Vectors and masks: their types, and how they get to and from memory and scalars."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload as numba_overload, register_model

from tensorlite.kernels.inside import Inside
from tensorlite.kernels.processor import FEATURES
from tensorlite.kernels.simd.constants import kept

INT32 = ir.IntType(32)


def overload(function: Any, *, allocates: bool = False, **options: Any) -> Any:
    """numba.extending.overload; unless it allocates, arrays' references are not counted."""
    flags = {"pipeline_class": Inside, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    if not allocates:
        flags |= {"_nrt": False, "forceinline": True}
    return numba_overload(function, jit_options=flags, **options)


REGISTER_BITS = 512 if "avx512f" in FEATURES else 256 if "avx" in FEATURES else 128
MANY_REGISTERS = REGISTER_BITS == 512 or not llvm.get_default_triple().startswith(("x86", "i"))
AMD = llvm.get_host_cpu_name().startswith("znver")


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


@register_model(Vector)
@register_model(Mask)
class RegisterModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, kind.llvm)


def vector_type(kind: Any) -> Vector:
    """The vector type that belongs to an array, a scalar or a vector."""
    if isinstance(kind, Vector):
        return kind
    return Vector(kind.dtype if isinstance(kind, types.Array) else kind)


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
    if isinstance(scalar, ir.Constant) and not MANY_REGISTERS:
        value = kept(builder, scalar.constant, vector)
        if value is not None:
            return value
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
    """The mask of the lanes 0..n-1, for any 64-bit n: one comparison of integers as wide as the
    elements, so that they fill one register as these do."""
    number = ir.IntType(vector.dtype.bitwidth)
    if number != n.type:
        most = n.type(vector.lanes)
        n = builder.select(builder.icmp_signed("<", n, most), n, most)
        n = builder.select(builder.icmp_signed(">", n, n.type(0)), n, n.type(0))
        n = builder.trunc(n, number)
    wide = ir.VectorType(number, vector.lanes)
    numbers = ir.Constant(wide, [number(k) for k in range(vector.lanes)])
    return builder.icmp_signed("<", numbers, _splat(builder, n, wide))


def lanes(x):
    """Elements in a vector of x's type."""
    raise NotImplementedError


@overload(lanes, inline="always")
def _lanes(x):
    count = vector_type(x).lanes
    return lambda x: count


@intrinsic
def load(typing, x, i):
    """The vector at x[i:]."""
    vector = vector_type(x)

    def codegen(context, builder, signature, args):
        array, index = args
        return _load(builder, _address(context, builder, x, array, index, vector), vector)

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
def store_past(typing, x, i, v):
    """Write v to x[i:], which must be aligned to the vector, past the caches: what is written over
    whole need not be read first, and drives nothing else out."""

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, x, args[0], args[1], v)
        instruction = builder.store(args[2], pointer)
        instruction.align = v.dtype.bitwidth // 8 * v.lanes
        instruction.set_metadata("nontemporal", builder.module.add_metadata([INT32(1)]))
        return context.get_dummy_value()

    return types.void(x, types.intp, v), codegen


@intrinsic
def load_part(typing, x, i, n, fill):
    """The vector at x[i:], of which only the first n lanes are read; the others come from fill."""
    vector = vector_type(x)

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


def _prefetch(
    context: Any, builder: Any, x: Any, args: Any, nearness: int, to_write: int = 0
) -> Any:
    data = context.make_array(x)(context, builder, args[0]).data
    pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, INT32, INT32, INT32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, INT32(to_write), INT32(nearness), INT32(1)])
    return context.get_dummy_value()


@intrinsic
def prefetch(typing, x, i):
    """Ask for the cache line of x[i], to be read and written soon."""

    def codegen(context, builder, signature, args):
        return _prefetch(context, builder, x, args, 3)

    return types.void(x, types.intp), codegen


@intrinsic
def prefetch_to_write(typing, x, i):
    """Ask for the cache line of x[i], and that no other core has it: it is written soon."""

    def codegen(context, builder, signature, args):
        return _prefetch(context, builder, x, args, 3, to_write=1)

    return types.void(x, types.intp), codegen


@intrinsic
def prefetch_to_l2(typing, x, i):
    """Ask for the cache line of x[i], to be read later than what is in L1 now."""

    def codegen(context, builder, signature, args):
        return _prefetch(context, builder, x, args, 2)

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
def spread(typing, x, i):
    """x[i] in every lane."""
    vector = vector_type(x)

    def codegen(context, builder, signature, args):
        data = context.make_array(x)(context, builder, args[0]).data
        return _splat(builder, builder.load(builder.gep(data, [args[1]])), vector.llvm)

    return vector(x, types.intp), codegen


@intrinsic
def zero(typing, x):
    """A vector of zeros of x's type."""
    vector = vector_type(x)

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
