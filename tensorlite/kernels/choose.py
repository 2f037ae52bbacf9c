"""One of two values, as a condition says, elementwise, on all threads.

Both are loaded and one is kept, without a branch: NumPy takes a branch for each element, and a
processor that guesses it wrongly loses 20 cycles (a million of random conditions: 3.9 -> .1 ms).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorlite.kernels.elementwise import span_of
from tensorlite.kernels.jit import inline, kernel, parallel_for

Array = np.ndarray

SMALL = 1 << 13  # elements below which NumPy is as quick
SHORT = 1 << 8  # elements of a condition that is sooner repeated than begun again


@inline
def _block(task, condition, x, y, out, span):
    """A condition that is smaller begins again at its end; x and y are whole, or a single value,
    with a loop for each case: vectors can be made only of one that has no questions to ask."""
    i, stop = task * span, min(out.size, (task + 1) * span)
    while i < stop:
        k = i % condition.size
        n = min(stop - i, condition.size - k)
        c, to = condition[k : k + n], out[i : i + n]
        if x.size == 1 and y.size == 1:
            a, b = x[0], y[0]
            for q in range(n):
                to[q] = a if c[q] else b
        elif x.size == 1:
            a, no = x[0], y[i : i + n]
            for q in range(n):
                b = no[q]
                to[q] = a if c[q] else b
        elif y.size == 1:
            yes, b = x[i : i + n], y[0]
            for q in range(n):
                a = yes[q]
                to[q] = a if c[q] else b
        else:
            yes, no = x[i : i + n], y[i : i + n]
            for q in range(n):
                a, b = yes[q], no[q]
                to[q] = a if c[q] else b
        i += n


@kernel
def _choose(condition, x, y, out):
    span = span_of(out.size)
    parallel_for(_block, (out.size + span - 1) // span, (condition, x, y, out, span))


def choose(condition: Array, x: Any, y: Any) -> Array:
    """x where condition holds, else y, broadcast: a bool array, and arrays of one type or numbers.

    A number becomes the array's type.
    """
    size = 0
    for z in (condition, x, y):
        if type(z) is np.ndarray:
            size += z.size
    if size < SMALL or not (type(x) is np.ndarray or type(y) is np.ndarray):
        return np.where(condition, x, y)
    condition = np.asarray(condition)
    kind = (x if type(x) is np.ndarray else y).dtype
    a, b = (z if type(z) is np.ndarray else np.asarray(z, kind) for z in (x, y))
    try:
        shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
    except ValueError:
        return np.where(condition, x, y)  # which says what does not fit
    size = math.prod(shape)
    whole = [z.size == 1 or (z.size == size and z.flags.c_contiguous) for z in (a, b)]
    if a.dtype != b.dtype or condition.dtype != np.bool_ or size == 0 or not all(whole):
        return np.where(condition, x, y)
    lead = next((i for i, n in enumerate(condition.shape) if n != 1), condition.ndim)
    inner = condition.shape[lead:]
    stretched = inner != shape[len(shape) - len(inner) :]  # along others than the first axes
    if stretched or condition.size < SHORT:
        condition = np.broadcast_to(condition, shape)
    c = np.ascontiguousarray(condition).reshape(-1).view(np.uint8)
    out = np.empty(shape, kind)
    _choose(c, a.reshape(-1), b.reshape(-1), out.reshape(-1))
    return out
