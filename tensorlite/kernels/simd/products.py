"""The micro-kernel of a product of matrices: a loop of rank-one updates of a tile in registers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tensorlite.kernels.simd.tiles import _broadcasts, _literal
from tensorlite.kernels.simd.vectors import (
    Vector,
    _call,
    _constant,
    _load,
    vector_type,
)

INT64 = ir.IntType(64)


@intrinsic(prefer_literal=True)
def multiply(
    typing, c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_step, depth, rows, columns, add
):
    """c[r, :] (+)= the sum over p < depth of a[r, p] b[p, :], each output one chain, p ascending.

    c[r, :] are `columns` vectors at c[c_at + c_row r], b[p, :] as many at b[b_at + b_step p], and
    a[r, p] is a[a_at + a_row r + a_step p]. rows, columns, a_row and add (begin with c, not with
    0) are literals. The loop is a function of its own: inlined and unrolled among the values of a
    caller, its accumulators went to the stack and back in every step (28 GFLOP/s, not 114).
    """
    if not (_literal(a_row, rows, columns) and isinstance(add, types.BooleanLiteral)):
        return None
    vector = vector_type(c)
    i = types.intp
    literal = (rows.literal_value, columns.literal_value, a_row.literal_value, add.literal_value)

    def codegen(context, builder, signature, args):
        def place(kind, array, index):
            return builder.gep(context.make_array(kind)(context, builder, array).data, [index])

        function = _micro_kernel(builder.module, vector, *literal)
        c_place = place(c, args[0], args[1])
        a_place, b_place = place(a, args[3], args[4]), place(b, args[7], args[8])
        builder.call(function, [c_place, args[2], a_place, args[6], b_place, args[9], args[10]])
        return context.get_dummy_value()

    return types.void(c, i, i, a, i, a_row, i, b, i, i, i, rows, columns, add), codegen


def _micro_kernel(
    module: ir.Module, vector: Vector, rows: int, columns: int, a_row: int, add: bool
) -> ir.Function:
    """void (c, c_row, a, a_step, b, b_step, depth): pointers, and strides in elements."""
    name = f"multiply.{vector.suffix}.{rows}x{columns}.{a_row}.{'add' if add else 'set'}"
    known = module.globals.get(name)
    if known is not None:
        return known
    pointer = vector.element.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, INT64] * 3 + [INT64])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    c, c_row, a, a_step, b, b_step, depth = function.args
    entry, loop, end = (function.append_basic_block(n) for n in ("entry", "loop", "end"))
    cells = [(r, q) for r in range(rows) for q in range(columns)]

    def vector_at(base: Any, index: Any) -> Any:
        return builder.bitcast(builder.gep(base, [index]), vector.llvm.as_pointer())

    def c_at(r: int, q: int) -> Any:
        return vector_at(c, builder.add(builder.mul(c_row, INT64(r)), INT64(q * vector.lanes)))

    builder = ir.IRBuilder(entry)
    before = [_load(builder, c_at(r, q), vector) if add else _constant(vector, 0) for r, q in cells]
    builder.cbranch(builder.icmp_signed(">", depth, INT64(0)), loop, end)

    builder.position_at_end(loop)

    def variable(start: Any) -> Any:
        phi = builder.phi(start.type)
        phi.add_incoming(start, entry)
        return phi

    left, a_here, b_here = variable(depth), variable(a), variable(b)
    sums = [variable(value) for value in before]
    across = [
        _load(builder, vector_at(b_here, INT64(q * vector.lanes)), vector) for q in range(columns)
    ]
    after = []
    downs = _broadcasts(builder, vector, a_here, INT64(a_row), (rows, columns))
    for down, (_, q), row_sum in zip((d for row in downs for d in row), cells, sums, strict=True):
        after.append(_call(builder, "fma", vector, [down, across[q], row_sum]))
    still_left = builder.sub(left, INT64(1))
    for phi, value in (
        (left, still_left),
        (a_here, builder.gep(a_here, [a_step])),
        (b_here, builder.gep(b_here, [b_step])),
        *zip(sums, after, strict=True),
    ):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed(">", still_left, INT64(0)), loop, end)

    builder.position_at_end(end)
    results = []
    for start, value in zip(before, after, strict=True):
        phi = builder.phi(vector.llvm)
        phi.add_incoming(start, entry)
        phi.add_incoming(value, loop)
        results.append(phi)
    for (r, q), value in zip(cells, results, strict=True):
        builder.store(value, c_at(r, q)).align = vector.dtype.bitwidth // 8
    builder.ret_void()
    return function
