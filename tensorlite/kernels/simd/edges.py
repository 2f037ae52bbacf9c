"""Loads and stores that mind the end of a row, so that a loop needs no tail of its own."""

from __future__ import annotations

from tensorlite.kernels.simd.vectors import lanes, load, load_part, overload, store, store_part


def take(x, i, n, fill):
    """load_part(x, i, n, fill), and quick where all lanes are there."""
    raise NotImplementedError


@overload(take)
def _take(x, i, n, fill):
    def implementation(x, i, n, fill):
        if n >= lanes(x):
            return load(x, i)
        return load_part(x, i, n, fill)

    return implementation


def put(x, i, n, v):
    """store_part(x, i, n, v), and quick where all lanes are there."""
    raise NotImplementedError


@overload(put)
def _put(x, i, n, v):
    def implementation(x, i, n, v):
        if n >= lanes(x):
            store(x, i, v)
        else:
            store_part(x, i, n, v)

    return implementation
