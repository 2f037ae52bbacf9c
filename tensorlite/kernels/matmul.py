"""Matrix products of NumPy arrays of any strides, batched, with a bias or an activation.

Which kernel computes them: gemm.py for many rows, few_rows.py and few_parts.py for few. All of them
add in one order, which depends on k's size alone.
"""

from __future__ import annotations

from math import prod

import numpy as np

from tensorlite.kernels import simd
from tensorlite.kernels.epilogue import ACTIVATIONS, alone, alone_backward
from tensorlite.kernels.few_parts import MOST, gemm_few_rows_of_parts
from tensorlite.kernels.few_rows import KC as KC, gemm_few_rows, gemm_few_rows_by_panels
from tensorlite.kernels.gemm import READY, gemm, gemm_batched
from tensorlite.kernels.packing import COLUMNS
from tensorlite.kernels.parts import DEEP, SIDE

Array = np.ndarray

# Up to this many rows, packing b would cost more than it saves; and a product of parts of up to so
# many steps of a row by a panel (8 x 8 by 8 x 8: 10 -> 8 us).
SKINNY = {np.dtype(np.float32): MOST if simd.TILES else 8, np.dtype(np.float64): 8}
TINY = 16


def is_skinny(m: int, n: int, k: int, dtype: np.dtype) -> bool:
    """Whether a's rows are so few that b is not packed."""
    if m <= SKINNY[dtype]:
        return True
    return in_parts(dtype) and m * -(-n // SIDE) * -(-k // DEEP) <= TINY


def in_parts(dtype: np.dtype) -> bool:
    """Whether products of this dtype are computed by tile registers here; see parts.py."""
    return simd.TILES and dtype == np.float32


def _strided(x: Array) -> tuple[Array, int, int]:
    """A matrix as a flat array with its row and column strides, one of which is 1."""
    if x.flags.c_contiguous:
        return x.ravel(), x.shape[1], 1
    if x.flags.f_contiguous:
        return x.T.ravel(), 1, x.shape[0]
    return np.ascontiguousarray(x).ravel(), x.shape[1], 1


_NOTHING = {np.dtype(t): np.empty(0, t) for t in (np.float32, np.float64)}


def product(
    a: Array,
    b: Array,
    bias: Array | None = None,
    out: Array | None = None,
    accumulate: bool = False,
) -> Array:
    """a @ b + bias: (M, K) @ (K, N) + (N,) -> (M, N).

    With `out` (contiguous) the result is written there, or added to it with `accumulate`.
    """
    m, k = a.shape
    n = b.shape[1]
    c = np.empty((m, n), a.dtype) if out is None else out
    if c.size == 0:
        return c
    if k == 0:
        if not accumulate:
            c[:] = 0 if bias is None else bias
        return c
    nothing = _NOTHING[a.dtype]
    added = nothing if bias is None else bias
    b_flat, b_row, b_column = _strided(b)
    few = is_skinny(m, n, k, c.dtype)
    if few and in_parts(c.dtype):
        gemm_few_rows_of_parts(
            a.ravel(), b_flat, b_row, b_column, b_column, c.ravel(), added, accumulate, m, n, k
        )
    elif few:
        gemm_few_rows(a.ravel(), b_flat, b_row, b_column, c.ravel(), added, accumulate, m, n, k)
    else:
        gemm(
            *_strided(a), b_flat, b_row, b_column, c.ravel(), added, accumulate, m, n, k,
            0, nothing, nothing,
        )  # fmt: skip
    return c


def linear_activation(
    x: Array, weight: Array, bias: Array | None, name: str
) -> tuple[Array, Array]:
    """c = x @ weight.T + bias and the activation of c: (M, K), (N, K), (N,) -> (M, N) twice.

    name: one of ACTIVATIONS. It is computed while c is in L1, to the bits of the one alone.
    """
    (m, k), n = x.shape, len(weight)
    if is_skinny(m, n, k, x.dtype) or n == 0 or k == 0:
        c = product(x, weight.T, bias)
        return c, alone(name)(c)
    nothing = _NOTHING[x.dtype]
    c, y = np.empty((m, n), x.dtype), np.empty((m, n), x.dtype)
    gemm(
        *_strided(x), *_strided(weight.T), c.ravel(), nothing if bias is None else bias, False,
        m, n, k, ACTIVATIONS.index(name), nothing, y.ravel(),
    )  # fmt: skip
    return c, y


def product_activation_backward(
    g: Array, weight: Array, c: Array, name: str, y: Array | None = None
) -> tuple[Array, Array]:
    """The gradient of c where g is that of f(c) @ weight.T, and f(c), f the activation.

    gc = (g @ weight) f'(c): g (M, N), weight (N, K), c (M, K) -> gc and f(c), both (M, K). f(c) is
    computed anew unless it is given as y, which is where the two are small: a pass of its own over
    what is in L2 takes less than one tile by tile.
    """
    (m, n), k = g.shape, weight.shape[1]
    if y is not None or is_skinny(m, k, n, g.dtype) or n == 0 or k == 0:
        gc = alone_backward(name)(product(g, weight), c)
        return gc, alone(name)(c) if y is None else y
    nothing = _NOTHING[g.dtype]
    gc, y = np.empty((m, k), g.dtype), np.empty((m, k), g.dtype)
    gemm(
        *_strided(g), *_strided(weight), gc.ravel(), nothing, False, m, k, n,
        -ACTIVATIONS.index(name), c.ravel(), y.ravel(),
    )  # fmt: skip
    return gc, y


def panel_width(dtype: np.dtype) -> int:
    """Columns of a panel for this dtype on this processor."""
    return COLUMNS * simd.REGISTER_BITS // (8 * dtype.itemsize)


def panel_product(
    a: Array, panels: Array, n: int, bias: Array | None = None, name: str = ""
) -> tuple[Array, Array]:
    """c = a @ b + bias where b[k, j] = panels[j // w, k, j % w], and the activation `name` of c.

    a (M, K), panels (ceil(n / w), K, w) contiguous with w = panel_width(dtype), bias (n) -> (M, n)
    twice, c itself if there is no activation. The same bits as `product` and `linear_activation`.
    Vectors read panels as they lie; for tile registers they are packed, without transposing.
    """
    m, k = a.shape
    c = np.empty((m, n), a.dtype)
    nothing = _NOTHING[a.dtype]
    added = nothing if bias is None else bias
    if is_skinny(m, n, k, c.dtype):
        rows = a.ravel(), panels.ravel()
        if in_parts(c.dtype):
            width = panels.shape[2]
            gemm_few_rows_of_parts(*rows, width, 1, k, c.ravel(), added, False, m, n, k)
        else:
            gemm_few_rows_by_panels(*rows, c.ravel(), added, m, n, k)
        return c, alone(name)(c) if name else c
    y = np.empty((m, n), a.dtype) if name else nothing
    gemm(
        *_strided(a), panels.ravel(), 0, READY, c.ravel(), added, False, m, n, k,
        ACTIVATIONS.index(name), nothing, y.ravel(),
    )  # fmt: skip
    return c, y if name else c


def matmul(a: Array, b: Array) -> Array:
    """a @ b over the last two axes; the axes before them broadcast: (..., M, K) @ (..., K, N)."""
    if b.ndim == 2:
        rows = a if a.ndim == 2 else a.reshape(prod(a.shape[:-1]), a.shape[-1])
        return product(rows, b).reshape(*a.shape[:-1], b.shape[-1])
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    c = np.empty((*batch, m, n), a.dtype)
    if c.size == 0 or k == 0:
        c[:] = 0
        return c
    a_flat, a_bases, a_row, a_column = _batched(a, batch)
    b_flat, b_bases, b_row, b_column = _batched(b, batch)
    if len(a_bases) == 1 and not is_skinny(
        m, n, k, c.dtype
    ):  # one large product uses all threads inside
        gemm(
            a_flat, a_row, a_column, b_flat, b_row, b_column, c.ravel(), _NOTHING[a.dtype],
            False, m, n, k, 0, _NOTHING[a.dtype], _NOTHING[a.dtype],
        )  # fmt: skip
    else:
        gemm_batched(
            a_flat, a_bases, a_row, a_column, b_flat, b_bases, b_row, b_column, c.ravel(),
            _NOTHING[a.dtype], m, n, k,
        )  # fmt: skip
    return c


def _batched(x: Array, batch: tuple[int, ...]) -> tuple[Array, Array, int, int]:
    """A stack of matrices as a flat array, the offset of each, and the strides inside each."""
    rows, columns = x.shape[-2:]
    if x.flags.c_contiguous:
        flat, row, column = x.ravel(), columns, 1
    elif x.mT.flags.c_contiguous:
        flat, row, column = x.mT.ravel(), 1, rows
    else:
        flat, row, column = np.ascontiguousarray(x).ravel(), columns, 1
    count = int(np.prod(x.shape[:-2]))
    bases = np.arange(count).reshape(x.shape[:-2]) * (rows * columns)
    return flat, np.broadcast_to(bases, batch).ravel(), row, column
