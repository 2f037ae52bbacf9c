"""Running sums and products, and the k largest, by kernels: what NumPy gives, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite as tl
from tensorlite.kernels.scan import cumulative
from tensorlite.kernels.top import MOST, top_places
from tensorlite.ops.order import argsort


@pytest.fixture(autouse=True)
def _threads():
    before = tl.get_num_threads()
    yield
    tl.set_num_threads(before)


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    data=st.data(),
    kind=st.sampled_from(["float32", "float64", "int64"]),
    multiply=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=200)
def test_running_results_are_numpys(shape, data, kind, multiply, threads, seed):
    dim = data.draw(st.integers(0, len(shape) - 1))
    tl.set_num_threads(threads)
    x = (np.random.default_rng(seed).standard_normal(shape) * 3).astype(kind)
    want = (np.cumprod if multiply else np.cumsum)(x, dim, x.dtype)
    assert cumulative(x, dim, multiply).tobytes() == want.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("shape", "dim"),
    [((90, 301), 1), ((90, 301), 0), ((3, 40, 200), 1), ((20_000,), 0), ((30, 7, 99), 2)],
)
def test_long_ones_too_and_through_the_ops(shape, dim, threads):
    tl.set_num_threads(threads)
    x = np.random.default_rng(0).uniform(-1.2, 1.2, shape).astype("float32")
    x[..., :5] = [np.inf, -0.0, np.nan, 0.0, 1.0]
    with np.errstate(all="ignore"):
        for name in ("cumsum", "cumprod"):
            want = getattr(np, name)(x, dim, np.float32)
            assert getattr(tl.tensor(x), name)(dim).numpy().tobytes() == want.tobytes()
    whole = tl.tensor(np.arange(x.size).reshape(shape) % 7 == 0)
    assert np.array_equal(whole.cumsum(dim).numpy(), np.cumsum(whole.numpy(), dim))


@given(
    rows=st.integers(0, 5),
    n=st.integers(1, 200),
    data=st.data(),
    kind=st.sampled_from(["float32", "float64", "int64"]),
    largest=st.booleans(),
    distinct=st.integers(1, 9),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=300)
def test_the_largest_are_the_first_of_a_stable_sort(
    rows, n, data, kind, largest, distinct, threads, seed
):
    k = data.draw(st.integers(1, min(n, MOST)))
    tl.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    x = rng.integers(-distinct, distinct + 1, (rows, n)).astype(kind)
    if kind != "int64":
        some = rng.random((rows, n)) < data.draw(st.sampled_from([0, 0.1, 0.9]))
        x[some] = rng.choice([np.nan, np.inf, -np.inf, -0.0], int(some.sum()))
    places = top_places(x, k, largest)
    kept = places[:, 0] >= 0
    assert np.array_equal(places[kept], argsort(x, -1, largest)[kept, :k])
    assert kept.all() or n > 8 * k


def test_topk_along_any_axis():
    x = np.random.default_rng(0).standard_normal((20, 300, 4)).astype("float32")
    for dim in (0, 1, 2):
        values, indices = tl.tensor(x).topk(3, dim)
        order = np.argsort(-x, dim, kind="stable").take(range(3), dim)
        assert np.array_equal(indices.numpy(), order)
        assert np.array_equal(values.numpy(), np.take_along_axis(x, order, dim))


@pytest.mark.parametrize("n", [500, 5000])
@pytest.mark.parametrize("kind", ["float32", "int64"])
@pytest.mark.parametrize("nans", [0, 3])
def test_topk_of_rows_in_the_worst_order(n, kind, nans):
    x = np.stack([np.arange(n), np.arange(n)[::-1], np.arange(n) // 7]).astype(kind)
    if kind == "float32":
        x[0, n // 2 : n // 2 + nans] = np.nan
    for k in (1, 10, MOST):
        for largest in (True, False):
            places = tl.tensor(x).topk(k, largest=largest).indices
            assert np.array_equal(places.numpy(), argsort(x, -1, largest)[:, :k])
