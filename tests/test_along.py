"""gather, scatter and scatter_add by kernels: what NumPy gives, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite as tl
from tensorlite.testing import gradcheck

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def naive(y, dim, index, source, change):
    """One element after the other, in ascending order of position."""
    y = y.copy()
    for at in np.ndindex(index.shape):
        to = (*at[:dim], index[at], *at[dim + 1 :])
        y[to] = change(y[to], source[at])
    return y


@given(
    shape=shapes,
    data=st.data(),
    kind=st.sampled_from(["float32", "float64", "int64"]),
    id_kind=st.sampled_from(["int64", "int32"]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=200)
def test_elements_go_where_their_index_says(shape, data, kind, id_kind, threads, seed):
    rng = np.random.default_rng(seed)
    dim = data.draw(st.integers(0, len(shape) - 1))
    other = list(shape)
    other[dim] = data.draw(st.integers(1, 6))
    before = tl.get_num_threads()
    tl.set_num_threads(threads)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tensorlite.kernels.along.SMALL", 0)
            x = (rng.standard_normal(shape) * 9).astype(kind)
            source = (rng.standard_normal(other) * 9).astype(kind)
            index = rng.integers(0, shape[dim], other).astype(id_kind)
            X, ids, S = tl.tensor(x), tl.tensor(index), tl.tensor(source)
            got = X.gather(dim, ids).numpy()
            assert np.array_equal(got, np.take_along_axis(x, index, dim))
            got = X.scatter(dim, ids, S).numpy()
            assert np.array_equal(got, naive(x, dim, index, source, lambda old, new: new))
            got = X.scatter_add(dim, ids, S).numpy()
            assert np.array_equal(got, naive(x, dim, index, source, lambda old, new: old + new))
    finally:
        tl.set_num_threads(before)


@pytest.mark.parametrize(
    ("shape", "dim", "count"),
    [((300, 70), 1, 90), ((300, 70), 0, 500), ((9, 40, 33), 1, 50), ((70_000,), 0, 90_000)],
)
def test_large_ones_give_numpys_bits_on_any_number_of_threads(shape, dim, count):
    rng = np.random.default_rng(0)
    other = list(shape)
    other[dim] = count
    x = rng.standard_normal(shape).astype("float32")
    source = rng.standard_normal(other).astype("float32")
    index = rng.integers(0, shape[dim], other)
    mesh = list(np.ogrid[tuple(map(slice, other))])
    mesh[dim] = index
    added = x.copy()
    np.add.at(added, tuple(mesh), source)
    put = x.copy()
    put[tuple(mesh)] = source
    sevens = x.copy()
    sevens[tuple(mesh)] = 7
    before = tl.get_num_threads()
    try:
        for threads in (1, 2, 3):
            tl.set_num_threads(threads)
            X, ids, S = tl.tensor(x), tl.tensor(index), tl.tensor(source)
            assert X.scatter_add(dim, ids, S).numpy().tobytes() == added.tobytes()
            assert X.scatter(dim, ids, S).numpy().tobytes() == put.tobytes()
            assert X.gather(dim, ids).numpy().tobytes() == x[tuple(mesh)].tobytes()
            assert X.scatter(dim, ids, 7.0).numpy().tobytes() == sevens.tobytes()
    finally:
        tl.set_num_threads(before)


@pytest.mark.parametrize("wrong", [-1, 70])
def test_an_index_that_points_nowhere_is_an_error_and_changes_nothing(wrong):
    x = tl.randn(300, 70)
    index = tl.zeros(300, 90, dtype=tl.int64)
    index[299, 89] = wrong
    kept = x.clone()
    for call in (
        lambda: x.gather(1, index),
        lambda: x.scatter_(1, index, tl.ones(300, 90)),
        lambda: x.scatter_add_(1, index, tl.ones(300, 90)),
    ):
        with pytest.raises(IndexError, match=r"index must lie in \[0, 70\), got"):
            call()
    assert tl.equal(x, kept)


def test_gradients_of_large_ones_are_their_slopes():
    rng = np.random.default_rng(0)
    index = tl.tensor(rng.integers(0, 3, (2, 4)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tensorlite.kernels.along.SMALL", 0)
        x = tl.randn(2, 3, dtype=tl.float64, requires_grad=True)
        y = tl.randn(2, 4, dtype=tl.float64, requires_grad=True)
        assert gradcheck(lambda x: x.gather(1, index).sin(), [x])
        assert gradcheck(lambda x, y: x.scatter_add(1, index, y).sin(), [x, y])
