"""Loads and stores that mind the end of a row, so that a loop needs no tail of its own."""

from __future__ import annotations

from tensorlite.kernels.simd.vectors import (
    address,
    lanes,
    load,
    load_part,
    overload,
    store,
    store_part,
    store_past,
    vector_type,
)


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


# Elements beyond which a result is written past the caches: 8 MB of float32. Whoever reads it next
# would hardly find it there.
FAR = 1 << 21
# How far ahead of its use, in elements, to ask for what lies in memory: 8 KB of float32, or a row
# if that is longer.
AHEAD = 1 << 11


def stretch(x, i, stop, past):
    """How many elements to write to x[i:stop] next: a vector's, or fewer up to `stop`; if past,
    fewer to begin with, so that the vectors after them are aligned."""
    raise NotImplementedError


@overload(stretch)
def _stretch(x, i, stop, past):
    size = vector_type(x).dtype.bitwidth // 8

    def implementation(x, i, stop, past):
        n = lanes(x)
        if past:
            n -= (address(x) // size + i) % n
        return min(n, stop - i)

    return implementation


def put_past(x, i, n, v, past):
    """put(x, i, n, v); if past, whole vectors go past the caches, where `stretch` has led."""
    raise NotImplementedError


@overload(put_past)
def _put_past(x, i, n, v, past):
    def implementation(x, i, n, v, past):
        if n < lanes(x):
            store_part(x, i, n, v)
        elif past:
            store_past(x, i, v)
        else:
            store(x, i, v)

    return implementation
