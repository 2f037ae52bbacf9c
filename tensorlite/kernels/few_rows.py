"""The matrix product for few rows of a, as decoding needs it: b is read once and never packed.

It is bound by the memory that b lies in. Where b's columns are contiguous (a weight (N, K) seen as
its transpose), squares of lanes x lanes are transposed in registers: 64 shuffles for 256 elements
cost less than reading them. The order of additions is that of matmul.py, to the bit.
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.jit import inline, kernel, parallel_for

# The order of additions: one chain of FMAs over each block of KC, the blocks added in turn. In the
# packed product 12 x 256 of a and 256 x 32 of b pass through L1; longer blocks gained nothing.
KC = 256
SMALL = 1 << 17  # multiply-adds below which a second thread does not pay for its launch
STRIP = 4  # vectors of a row of b taken together where its rows are contiguous


@inline
def _few_rows(
    task, a, a_base, a_row, b, b_base, b_row, b_column, c, c_base, bias, accumulate, m, n, k, c_row,
    span,
):  # fmt: skip
    """c[:, span * task :][: span] for few contiguous rows of a: b is read once, never packed."""
    w = simd.lanes(c)
    width = w if b_row == 1 else STRIP * w
    sums = np.empty(m * width, c.dtype)
    zero = simd.zero(c)
    for j in range(task * span, min(n, (task + 1) * span), width):
        columns = min(width, n - j)
        for k0 in range(0, k, KC):
            depth = min(KC, k - k0)
            source = b_base + k0 * b_row + j * b_column
            sums[:] = 0
            if b_row == 1:
                _few_rows_by_columns(
                    sums, a, a_base + k0, a_row, m, b, source, b_column, columns, depth
                )
            else:
                _few_rows_by_rows(sums, a, a_base + k0, a_row, m, b, source, b_row, columns, depth)
            add = accumulate or k0 > 0
            biased = k0 + depth == k and bias.size > 0
            for r in range(m):
                for q in range(0, columns, w):
                    here = c_base + r * c_row + j + q
                    v = simd.load(sums, r * width + q)
                    if add:
                        v = simd.load_part(c, here, columns - q, zero) + v
                    if biased:
                        v = v + simd.load_part(bias, j + q, columns - q, zero)
                    simd.store_part(c, here, columns - q, v)


@inline
def _few_rows_by_rows(sums, a, a_at, a_row, m, b, source, b_row, columns, depth):
    """sums[r, :] += a[r, k] * b[k, :], k ascending, a strip of a contiguous row of b at a time."""
    w = simd.lanes(b)
    zero = simd.zero(b)
    for p in range(depth):
        for q in range(0, columns, w):
            row = simd.load_part(b, source + p * b_row + q, columns - q, zero)
            for r in range(m):
                here = r * STRIP * w + q
                x = simd.splat(a[a_at + r * a_row + p])
                simd.store(sums, here, simd.fma(x, row, simd.load(sums, here)))


def _few_rows_by_columns(sums, a, a_at, a_row, m, b, source, b_column, columns, depth):
    """The same where b's columns are contiguous: lanes x lanes squares, transposed in registers."""
    raise NotImplementedError


@simd.overload(_few_rows_by_columns, inline="always")
def _(sums, a, a_at, a_row, m, b, source, b_column, columns, depth):
    w = simd.vector_type(b).lanes

    def implementation(sums, a, a_at, a_row, m, b, source, b_column, columns, depth):
        p = 0
        if columns == w:
            while p + w <= depth:
                square = simd.transpose(simd.tile_load(b, source + p, b_column, w, 1))
                for r in range(m):
                    v = simd.chain(square, a, a_at + r * a_row + p, simd.load(sums, r * w))
                    simd.store(sums, r * w, v)
                p += w
        column = np.zeros(w, b.dtype)
        while p < depth:
            for q in range(columns):
                column[q] = b[source + p + q * b_column]
            v = simd.load(column, 0)
            for r in range(m):
                x = simd.splat(a[a_at + r * a_row + p])
                simd.store(sums, r * w, simd.fma(x, v, simd.load(sums, r * w)))
            p += 1

    return implementation


@kernel
def gemm_few_rows(a, a_row, b, b_row, b_column, c, bias, accumulate, m, n, k):
    """The same product, to the bit, for few rows of a."""
    span = n if m * n * k < SMALL else 8 * simd.lanes(c)
    parallel_for(
        _few_rows,
        (n + span - 1) // span,
        (a, 0, a_row, b, 0, b_row, b_column, c, 0, bias, accumulate, m, n, k, n, span),
    )
