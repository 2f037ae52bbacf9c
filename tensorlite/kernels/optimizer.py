"""The optimizers' steps, and the norm that gradients are clipped by: one pass over memory each.

A GPT has some 150 parameters, half of them tiny, so a kernel takes lists of arrays: one call and
one launch for all of them, cut into blocks of one size. Arrays reach compiled code as a table of
their addresses. A step is bound by memory, so all that happens to an element happens at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tensorlite.kernels import simd
from tensorlite.kernels.jit import allocating, inline, kernel, parallel_for

Array = np.ndarray
Arrays = Sequence[Array]

BLOCK = 1 << 14  # elements that a task takes and a partial sum covers; 64 KB of float32
SMALL = 1 << 15  # elements below which a second thread does not pay for its launch

# ------------------------------------------------------------------------------------------- AdamW


@inline
def _adamw_vector(p, g, m, v, c):
    """The new p, m, v; c holds the constants in the order of `adamw_`."""
    g = simd.fma(simd.splat(c[1]), p, g)
    m = simd.fma(simd.splat(c[2]), g - m, m)
    v = simd.fma(simd.splat(c[4]) * g, g, v * simd.splat(c[3]))
    denominator = simd.sqrt(v) / simd.splat(c[6]) + simd.splat(c[7])
    p = simd.fma(simd.splat(c[5]), m / denominator, p * simd.splat(c[0]))
    return p, m, v


@inline
def _adamw_block(block, x, table, starts, c):
    w = simd.lanes(x)
    tensor, first, n = _part_of_block(block, table, starts)
    p_at, g_at = _place(x, table[0, tensor], first), _place(x, table[1, tensor], first)
    m_at, v_at = _place(x, table[2, tensor], first), _place(x, table[3, tensor], first)
    i = 0
    while i + w <= n:
        p, m, v = _adamw_vector(
            simd.load(x, p_at + i),
            simd.load(x, g_at + i),
            simd.load(x, m_at + i),
            simd.load(x, v_at + i),
            c,
        )
        simd.store(x, p_at + i, p)
        simd.store(x, m_at + i, m)
        simd.store(x, v_at + i, v)
        i += w
    if i < n:
        zero = simd.zero(x)
        p, m, v = _adamw_vector(
            simd.load_part(x, p_at + i, n - i, zero),
            simd.load_part(x, g_at + i, n - i, zero),
            simd.load_part(x, m_at + i, n - i, zero),
            simd.load_part(x, v_at + i, n - i, zero),
            c,
        )
        simd.store_part(x, p_at + i, n - i, p)
        simd.store_part(x, m_at + i, n - i, m)
        simd.store_part(x, v_at + i, n - i, v)


@kernel
def _adamw(x, table, constants):
    starts = _blocks(table)
    if np.sum(table[-1]) > SMALL:
        parallel_for(_adamw_block, starts[-1], (x, table, starts, constants))
    else:
        for block in range(starts[-1]):
            _adamw_block(block, x, table, starts, constants)


def adamw_(
    p: Arrays,
    g: Arrays,
    m: Arrays,
    v: Arrays,
    *,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool = True,
) -> None:
    """p = p (1 - lr decay) - lr m' / (sqrt(v') + eps), overwriting p, m and v.

        m = beta1 m + (1 - beta1) g        m' = m / (1 - beta1^step)
        v = beta2 v + (1 - beta2) g^2      v' = v / (1 - beta2^step)

    p, g, m, v: lists of as many contiguous arrays, those at one place of one shape, all of one
    type. step counts from 1. Not decoupled, the decay is added to the gradient, g + decay p, and p
    is not shrunk: Adam with L2 (Kingma and Ba 2015). Decoupled: Loshchilov and Hutter 2019.
    """
    shrink = 1 - lr * weight_decay if decoupled else 1.0
    added = 0.0 if decoupled else weight_decay
    size = -lr / (1 - beta1**step)
    root = math.sqrt(1 - beta2**step)
    constants = [shrink, added, 1 - beta1, beta2, 1 - beta2, size, root, eps]
    if p:
        _adamw(p[0].ravel(), _table(p, g, m, v), np.array(constants, p[0].dtype))


# --------------------------------------------------------------------------------------------- SGD


@inline
def _sgd_vector(p, g, b, c, nesterov):
    """The new p and b; c holds the constants in the order of `sgd_`."""
    g = simd.fma(simd.splat(c[1]), p, g)
    b = simd.fma(simd.splat(c[3]), g, b * simd.splat(c[2]))
    move = simd.fma(simd.splat(c[2]), b, g) if nesterov else b
    return simd.fma(simd.splat(c[0]), move, p), b


@inline
def _sgd_block(block, x, table, starts, c, nesterov):
    w = simd.lanes(x)
    tensor, first, n = _part_of_block(block, table, starts)
    p_at, g_at = _place(x, table[0, tensor], first), _place(x, table[1, tensor], first)
    b_at = _place(x, table[2, tensor], first)
    i = 0
    while i + w <= n:
        p, b = simd.load(x, p_at + i), simd.load(x, b_at + i)
        p, b = _sgd_vector(p, simd.load(x, g_at + i), b, c, nesterov)
        simd.store(x, p_at + i, p)
        simd.store(x, b_at + i, b)
        i += w
    if i < n:
        zero = simd.zero(x)
        p = simd.load_part(x, p_at + i, n - i, zero)
        b = simd.load_part(x, b_at + i, n - i, zero)
        g = simd.load_part(x, g_at + i, n - i, zero)
        p, b = _sgd_vector(p, g, b, c, nesterov)
        simd.store_part(x, p_at + i, n - i, p)
        simd.store_part(x, b_at + i, n - i, b)


@kernel
def _sgd(x, table, constants, nesterov):
    starts = _blocks(table)
    if np.sum(table[-1]) > SMALL:
        parallel_for(_sgd_block, starts[-1], (x, table, starts, constants, nesterov))
    else:
        for block in range(starts[-1]):
            _sgd_block(block, x, table, starts, constants, nesterov)


def sgd_(
    p: Arrays,
    g: Arrays,
    b: Arrays,
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """p = p - lr b, b = momentum b + (1 - dampening) (g + decay p), overwriting p and b.

    p, g, b: lists of as many contiguous arrays, those at one place of one shape, all of one type.
    PyTorch's first step has no dampening: pass 0 and b of zeros. Without momentum b is scratch and
    may be g itself: it becomes g + decay p. Nesterov steps along g + decay p + momentum b.
    """
    constants = [-lr, weight_decay, momentum, 1 - dampening]
    if p:
        _sgd(p[0].ravel(), _table(p, g, b), np.array(constants, p[0].dtype), nesterov)


# ----------------------------------------------------------------------------------- norms, scaling


@inline
def _sum_of_squares_block(block, x, table, starts, sums):
    """Four vectors of sums, taken in turn, added as a tree: the latency of one is hidden."""
    w = simd.lanes(x)
    tensor, first, n = _part_of_block(block, table, starts)
    at = _place(x, table[0, tensor], first)
    zero = simd.zero(x)
    s0, s1, s2, s3 = zero, zero, zero, zero
    i = 0
    while i + 4 * w <= n:
        a, b = simd.load(x, at + i), simd.load(x, at + i + w)
        c, d = simd.load(x, at + i + 2 * w), simd.load(x, at + i + 3 * w)
        s0, s1 = simd.fma(a, a, s0), simd.fma(b, b, s1)
        s2, s3 = simd.fma(c, c, s2), simd.fma(d, d, s3)
        i += 4 * w
    while i < n:
        a = simd.load_part(x, at + i, n - i, zero)
        s0 = simd.fma(a, a, s0)
        i += w
    sums[block] = simd.total((s0 + s1) + (s2 + s3))


@kernel
def _sum_of_squares(x, table):
    starts = _blocks(table)
    sums = np.empty(starts[-1], np.float64)
    if np.sum(table[-1]) > SMALL:
        parallel_for(_sum_of_squares_block, starts[-1], (x, table, starts, sums))
    else:
        for block in range(starts[-1]):
            _sum_of_squares_block(block, x, table, starts, sums)
    result = 0.0
    for block in range(starts[-1]):
        result += sums[block]
    return result


def sum_of_squares(x: Arrays) -> float:
    """sum(x^2) over contiguous arrays of one type; sums of blocks are added up in float64."""
    return float(_sum_of_squares(x[0].ravel(), _table(x))) if x else 0.0


@inline
def _scale_block(block, x, table, starts, factor):
    w = simd.lanes(x)
    tensor, first, n = _part_of_block(block, table, starts)
    at = _place(x, table[0, tensor], first)
    i = 0
    while i + w <= n:
        simd.store(x, at + i, simd.load(x, at + i) * simd.splat(factor[0]))
        i += w
    if i < n:
        v = simd.load_part(x, at + i, n - i, simd.zero(x))
        simd.store_part(x, at + i, n - i, v * simd.splat(factor[0]))


@kernel
def _scale(x, table, factor):
    starts = _blocks(table)
    if np.sum(table[-1]) > SMALL:
        parallel_for(_scale_block, starts[-1], (x, table, starts, factor))
    else:
        for block in range(starts[-1]):
            _scale_block(block, x, table, starts, factor)


def scale_(x: Arrays, factor: float) -> None:
    """x = factor x, in place, for contiguous arrays of one type."""
    if x:
        _scale(x[0].ravel(), _table(x), np.array([factor], x[0].dtype))


# ------------------------------------------------------------------------------ tables of addresses


_HEAD = object.__basicsize__  # bytes of an object before what its type adds: for an array, `data`


def _table(*lists: Arrays) -> Array:
    """A row for every list of arrays, then a row of sizes: (lists + 1, tensors).

    An array is named by where Python's object lies, at a tenth of the cost of its address, which
    compiled code finds there.
    """
    assert all(set(map(type, arrays)) <= {Array} for arrays in lists), "only arrays have elements"
    rows = [list(map(id, arrays)) for arrays in lists]
    return np.array([*rows, [x.size for x in lists[0]]], np.int64)


@intrinsic
def _word(typing, address):
    """The 64-bit word at an address."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        return builder.load(builder.inttoptr(args[0], word.as_pointer()))

    return types.intp(types.intp), codegen


@allocating
def _blocks(table):
    """The number of the first block of each tensor; last, the number of all blocks. From here on
    the table has the addresses of the arrays' elements."""
    sizes = table[-1]
    for row in range(len(table) - 1):
        for t in range(len(sizes)):
            table[row, t] = _word(table[row, t] + _HEAD)
    starts = np.zeros(len(sizes) + 1, np.int64)
    for t in range(len(sizes)):
        starts[t + 1] = starts[t] + (sizes[t] + BLOCK - 1) // BLOCK
    return starts


@inline
def _part_of_block(block, table, starts):
    """The tensor that a block lies in, the block's first element there, and its length."""
    tensor = np.searchsorted(starts, block, side="right") - 1
    first = (block - starts[tensor]) * BLOCK
    return tensor, first, min(BLOCK, table[-1, tensor] - first)


@inline
def _place(x, address, first):
    """The index by which x, any array of the type, reaches element `first` of what lies there."""
    return (address - simd.address(x)) // x.itemsize + first
