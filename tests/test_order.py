"""topk chooses what a stable sort would put first, and adding at rows has the bits of np.add.at."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import tensorlite
from tensorlite.kernels import rows as rows_kernel
from tensorlite.ops import index, order


@given(
    st.sampled_from([(6000,), (3, 2050), (2100, 2), (2, 2500, 2), (0, 3000), (2, 40)]),
    st.integers(0, 600),
    st.booleans(),
    st.sampled_from(["distinct", "equal", "whole", "nan"]),
    st.integers(0, 5),
)
def test_topk_is_the_beginning_of_a_stable_sort(shape, k, largest, kind, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(np.float32)
    if kind == "equal":
        x = np.round(x)
    elif kind == "whole":
        x = rng.integers(-9, 9, shape)
    elif x.size and kind == "nan":
        x.reshape(-1)[rng.integers(0, x.size, 3)] = np.nan
    dim = int(np.argmax(shape))
    k = min(k, shape[dim])
    found = tensorlite.topk(tensorlite.from_numpy(x.copy()), k, dim, largest)
    places = order.argsort(x, dim, largest).take(np.arange(k), dim)
    assert found.indices.dtype == tensorlite.int64
    assert np.array_equal(found.indices.numpy(), places)
    np.testing.assert_array_equal(found.values.numpy(), np.take_along_axis(x, places, dim))


@given(
    st.sampled_from([(300,), (3, 200), (200, 3), (2, 150, 2), (0, 130), (130, 0)]),
    st.booleans(),
    st.sampled_from([np.float32, np.int32, np.float64]),
    st.integers(0, 9),
)
def test_argsort_is_numpys_stable_one_in_both_directions(shape, descending, dtype, seed):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal(shape) * 5).round(seed % 3).astype(dtype)
    for special in (-0.0, 0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45):
        if x.size and dtype != np.int32:
            x.reshape(-1)[rng.integers(0, x.size, 4)] = special
    dim = int(np.argmax(shape))
    ours = order.argsort(x, dim, descending)
    if descending:
        upwards = np.argsort(np.flip(x, dim), dim, kind="stable")
        theirs = x.shape[dim] - 1 - np.flip(upwards, dim)
    else:
        theirs = np.argsort(x, dim, kind="stable")
    assert ours.dtype == np.int64 and np.array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(st.integers(1, 40), st.integers(0, 300), st.integers(0, 5))
def test_rows_are_added_at_an_index_to_the_bits_of_numpys(dtype, rows, count, seed):
    rng = np.random.default_rng(seed)
    x, ids = rng.standard_normal((count, 7)).astype(dtype), rng.integers(-rows, rows, count)
    ours, theirs = (rng.standard_normal((rows, 7)).astype(dtype),) * 2
    ours = ours.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_kernel, "MANY", 1)
        index._add_at(ours, (ids,), x)
    np.add.at(theirs, (ids,), x)
    assert ours.tobytes() == theirs.tobytes()


def test_rows_of_the_array_itself_are_those_of_before():
    x = np.ones((400, 64), np.float32)
    ids = np.repeat([1, 2], [1, 399])
    tensorlite.from_numpy(x).index_add_(0, tensorlite.from_numpy(ids), tensorlite.from_numpy(x))
    assert x[:4, 0].tolist() == [1, 2, 400, 1]


def test_an_index_of_a_narrow_type_reaches_all_rows():
    ids = np.arange(100, dtype=np.int8).repeat(4) - np.int8(50)
    x = tensorlite.zeros(200, 64, requires_grad=True)
    x[ids].sum().backward()
    expected = np.zeros(200)
    np.add.at(expected, ids, 1)
    assert np.array_equal(x.grad[:, 0].numpy(), expected)


def test_memory_that_cannot_be_written_is_not_written():
    x = np.zeros((400, 64), np.float32)
    x.flags.writeable = False
    with pytest.raises(Exception, match="read-only"):
        tensorlite.from_numpy(x).index_add_(0, tensorlite.arange(400), tensorlite.ones(400, 64))
    assert x.sum() == 0


def test_a_row_that_is_not_there_is_refused():
    with pytest.raises(IndexError):
        index._add_at(np.zeros((4, 10000)), (np.array([1, 4]),), np.ones((2, 10000)))
