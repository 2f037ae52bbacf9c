"""Sorting, the k largest, distinct values, counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlite.autograd import Array, Variable, composed, op, unwrap, wrap
from tensorlite.ops.index import gather
from tensorlite.ops.reduce import ValuesAndIndices
from tensorlite.ops.shape import axis_of


@op(method=True)
def argsort(x: Array, *, dim: int = -1, descending: bool = False, stable: bool = False) -> Array:
    """Where the sorted elements stand along an axis; equal ones in their order, nan as largest."""
    if x.ndim == 0:
        return np.zeros((), np.int64)
    d = axis_of(dim, x.ndim)
    if not descending:
        return np.argsort(x, d, kind="stable")
    # Sorting the reversed axis upwards and reversing it again keeps equal elements in their order.
    upwards = np.argsort(np.flip(x, d), d, kind="stable")
    return x.shape[d] - 1 - np.flip(upwards, d)


@composed(method=True)
def sort(
    x: Array, dim: int = -1, descending: bool = False, stable: bool = False
) -> ValuesAndIndices:
    """(values, indices) in ascending or descending order along an axis."""
    indices = argsort(x, dim, descending, stable)
    return ValuesAndIndices(gather(x, dim, indices), indices)


@op
def _top(x: Array, *, k: int, dim: int, largest: bool) -> Array:
    d = axis_of(dim, x.ndim)
    if not 0 <= k <= x.shape[d]:
        raise RuntimeError(f"topk: k must lie in [0, {x.shape[d]}], got {k}")
    order = argsort(x, d, largest)
    return order[(slice(None),) * d + (slice(k),)]


@composed(method=True)
def topk(
    x: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesAndIndices:
    """The k largest (or smallest) elements along an axis, in order, and where they stand."""
    indices = _top(x, k, dim, largest)
    return ValuesAndIndices(gather(x, dim, indices), indices)


@composed(method=True)
def unique(
    x: Array,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements (or slices along dim), ascending; and which is where; and how many."""
    found: Any = np.unique(  # type: ignore[call-overload]
        unwrap(x), return_inverse=return_inverse, return_counts=return_counts, axis=dim
    )
    like = wrap if isinstance(x, Variable) else np.asarray
    return tuple(map(like, found)) if isinstance(found, tuple) else like(found)


@op(method=True)
def bincount(x: Array, *, weights: Array | None = None, minlength: int = 0) -> Array:
    """How often each of 0, 1, 2, ... occurs in a vector; or the sum of its weights."""
    return np.bincount(x, weights, minlength)


@op
def searchsorted(sorted_sequence: Array, values: Array, *, right: bool = False) -> Array:
    """Where values would be inserted into an ascending vector to keep its order."""
    at = np.searchsorted(sorted_sequence, values, "right" if right else "left")
    return np.asarray(at, np.int64)
