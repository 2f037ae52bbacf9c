"""Reading and writing along an axis, at places that an index names for each element.

    gather       y[o, j, i] = x[o, index[o, j, i], i]
    scatter      y[o, index[o, j, i], i] = source[o, j, i], the last of several
    scatter_add  y[o, index[o, j, i], i] += source[o, j, i], in ascending order of j

Arrays are contiguous: o counts what is before the axis, i what is after it. Whoever writes owns an
o, or a strip of i, so the order of additions is that of j. An index that points nowhere is left
out, and said: gather and the others return False then.
"""

from __future__ import annotations

import math

import numpy as np

from tensorlite.kernels.jit import inline, kernel, parallel_for

Array = np.ndarray

SMALL = 1 << 12  # elements below which NumPy is as quick
SPAN = 1 << 14  # elements of a task
STRIP = 1 << 6  # of i, that a task owns at least


@inline
def _gather_rows(task, x, index, y, wrong, n, m, inner, run):
    """Some rows of y: all i of an (o, j); where i is one, all j that are left of an o."""
    row, last = task * run, min(y.size // inner, (task + 1) * run)
    bad = False
    while row < last:
        o, j = row // m, row % m
        if inner == 1:
            count = min(last - row, m - j)
            source, ids, to = x[o * n : (o + 1) * n], index[row : row + count], y[row : row + count]
            for q in range(count):
                at = ids[q]
                right = 0 <= at < n
                to[q] = source[at if right else 0]
                bad |= not right
            row += count
        else:
            base, to = o * n * inner, row * inner
            for i in range(inner):
                at = index[to + i]
                right = 0 <= at < n
                y[to + i] = x[base + (at if right else 0) * inner + i]
                bad |= not right
            row += 1
    if bad:
        wrong[0] = True


@kernel
def _gather(x, index, y, wrong, n, m, inner):
    rows = y.size // inner
    run = max(1, SPAN // inner)
    parallel_for(_gather_rows, (rows + run - 1) // run, (x, index, y, wrong, n, m, inner, run))


@inline
def _put(to, ids, values, wrong, n, inner, add):
    """One row of values, i by i, or where i is one, j by j."""
    bad = False
    for i in range(len(ids)):
        at = ids[i]
        if 0 <= at < n:
            place = at if inner == 1 else at * inner + i
            to[place] = values[i] + to[place] if add else values[i]
        else:
            bad = True
    if bad:
        wrong[0] = True


@inline
def _scatter_strip(task, y, index, source, wrong, n, m, inner, strip, add):
    strips = (inner + strip - 1) // strip
    o, first = task // strips, task % strips * strip
    to = y[o * n * inner + first : (o + 1) * n * inner]
    rows, width = (1, m) if inner == 1 else (m, min(inner, first + strip) - first)
    for j in range(rows):
        row = (o * m + j) * inner + first
        _put(to, index[row : row + width], source[row : row + width], wrong, n, inner, add)


@kernel
def _scatter(y, index, source, wrong, n, m, inner, add):
    outer = index.size // (m * inner)
    strip = inner
    if outer < 8 and index.size > SPAN:
        strip = min(inner, STRIP)
    tasks = outer * ((inner + strip - 1) // strip)
    parallel_for(_scatter_strip, tasks, (y, index, source, wrong, n, m, inner, strip, add))


def fits(x: Array, dim: int, index: Array) -> bool:
    """Is this for the kernels: shapes that differ along dim alone, and enough of them?"""
    return (
        index.size >= SMALL and x.size > 0 and x.dtype.kind in "fiub"
        and x.ndim == index.ndim and x.flags.c_contiguous and x.dtype.isnative
        and x.shape[:dim] == index.shape[:dim] and x.shape[dim + 1 :] == index.shape[dim + 1 :]
    )  # fmt: skip


def gather(x: Array, dim: int, index: Array, y: Array) -> bool:
    """Fill y, of index's shape; for arrays that fit."""
    wrong = np.zeros(1, np.bool_)
    _gather(x.reshape(-1), _flat(index), y.reshape(-1), wrong, *_sizes(x, dim, index))
    return not wrong[0]


def scatter(y: Array, dim: int, index: Array, source: Array, add: bool) -> bool:
    """Write or add source, of index's shape and y's type, into y; for arrays that fit."""
    wrong = np.zeros(1, np.bool_)
    flat = np.ascontiguousarray(source).reshape(-1)
    _scatter(y.reshape(-1), _flat(index), flat, wrong, *_sizes(y, dim, index), add)
    return not wrong[0]


def _flat(index: Array) -> Array:
    return np.ascontiguousarray(index, np.int64).reshape(-1)


def _sizes(x: Array, dim: int, index: Array) -> tuple[int, int, int]:
    return x.shape[dim], index.shape[dim], math.prod(x.shape[dim + 1 :])
