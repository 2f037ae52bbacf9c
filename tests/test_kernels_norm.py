"""Layer norm and RMS norm against their formulas, and their bits against cutting."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tensorlite.kernels import jit, norm, simd
from tensorlite.kernels.reduce import BLOCK_ROWS

W = simd.REGISTER_BITS // 32
WIDTHS = [1, 2, W - 1, W, W + 1, 4 * W - 1, 4 * W, 4 * W + 1, 130]
ROWS = [1, 2, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS + 5]
DTYPES = [np.float32, np.float64]


def random(*shape, dtype, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def naive_forward(x, w, b, eps, centered):
    x, w, b = (z.astype(np.longdouble) for z in (x, w, b))
    mean = x.mean(1, keepdims=True) if centered else 0
    n = (x - mean) / np.sqrt(((x - mean) ** 2).mean(1, keepdims=True) + eps)
    return n * w + (b if centered else 0)


def naive_backward(g, x, w, eps, centered):
    g, x, w = (z.astype(np.longdouble) for z in (g, x, w))
    mean = x.mean(1, keepdims=True) if centered else 0
    rstd = 1 / np.sqrt(((x - mean) ** 2).mean(1, keepdims=True) + eps)
    n, h = (x - mean) * rstd, g * w
    c = h.mean(1, keepdims=True) if centered else 0
    gx = rstd * (h - c - n * (h * n).mean(1, keepdims=True))
    # Terms cancel (with two columns gx is 0), so errors are measured against the terms' size.
    sizes = (rstd * np.abs(h)).max(), np.abs(g * n).sum(0).max(), np.abs(g).sum(0).max()
    return (gx, (g * n).sum(0), g.sum(0)), sizes


def forward(x, w, b, eps, centered):
    return norm.layer_norm(x, w, b, eps) if centered else norm.rms_norm(x, w, eps)


def backward(g, x, w, saved, centered):
    function = norm.layer_norm_backward if centered else norm.rms_norm_backward
    return function(g, x, w, *saved)


@pytest.mark.parametrize("centered", [True, False], ids=["layer", "rms"])
@pytest.mark.parametrize("dtype", DTYPES)
@given(rows=st.sampled_from(ROWS), n=st.sampled_from(WIDTHS), scale=st.sampled_from([1e-3, 1, 1e4]))
def test_norms_and_their_gradients_follow_the_formula(centered, dtype, rows, n, scale):
    x = random(rows, n, dtype=dtype, seed=1) * dtype(scale) + dtype(scale)
    g, w, b = (random(*s, dtype=dtype, seed=i) for i, s in enumerate([(rows, n), (n,), (n,)]))
    tolerance = 2e-4 if dtype == np.float32 else 1e-11
    y, *saved = forward(x, w, b, 1e-5, centered)
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(y, naive_forward(x, w, b, 1e-5, centered), **close)
    if n == 1 and centered:
        return  # the derivative is 0 up to the rounding of x - mean, times rstd = 1 / sqrt(eps)
    expected, sizes = naive_backward(g, x, w, 1e-5, centered)
    for ours, theirs, size in zip(
        backward(g, x, w, saved, centered), expected, sizes, strict=False
    ):
        np.testing.assert_allclose(ours / size, theirs / size, rtol=0, atol=tolerance)


@pytest.mark.parametrize("centered", [True, False], ids=["layer", "rms"])
@given(rows=st.sampled_from(ROWS), n=st.sampled_from([*WIDTHS, 384]), data=st.data())
def test_threads_and_other_rows_do_not_change_a_bit(centered, rows, n, data):
    x, g = random(rows, n, dtype=np.float32, seed=1), random(rows, n, dtype=np.float32, seed=2)
    w, b = random(n, dtype=np.float32, seed=3), random(n, dtype=np.float32, seed=4)
    results = []
    for threads in (1, 3):
        jit.set_num_threads(threads)
        y, *saved = forward(x, w, b, 1e-5, centered)
        results.append([y, *saved, *backward(g, x, w, saved, centered)])
    for one, two in zip(*results, strict=True):
        assert np.array_equal(one, two)
    row = data.draw(st.integers(0, rows - 1))
    alone, *saved = forward(x[row : row + 1], w, b, 1e-5, centered)
    assert np.array_equal(alone[0], y[row])
    gx = backward(g[row : row + 1], x[row : row + 1], w, saved, centered)[0]
    assert np.array_equal(gx[0], results[0][-3 if centered else -2][row])


def test_without_weight_and_bias_they_are_one_and_zero():
    x, g = random(5, 20, dtype=np.float32, seed=1), random(5, 20, dtype=np.float32, seed=2)
    ones, zeros = np.ones(20, np.float32), np.zeros(20, np.float32)
    y, *saved = norm.layer_norm(x, None, None, 1e-5)
    assert np.array_equal(y, norm.layer_norm(x, ones, zeros, 1e-5)[0])
    assert np.array_equal(
        norm.layer_norm_backward(g, x, None, *saved)[0],
        norm.layer_norm_backward(g, x, ones, *saved)[0],
    )


def test_a_nan_or_infinity_stays_in_its_row():
    x = random(3, 40, dtype=np.float32, seed=1)
    x[0, 3], x[2, 39] = np.nan, np.inf
    y = norm.layer_norm(x, None, None, 1e-5)[0]
    assert np.isnan(y[0]).all() and np.isnan(y[2]).all() and np.isfinite(y[1]).all()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_nothing_in_gives_nothing_out(shape):
    x, w = np.ones(shape, np.float32), np.ones(shape[1], np.float32)
    y, mean, rstd = norm.layer_norm(x, w, None, 1e-5)
    gx, gw, gb = norm.layer_norm_backward(x, x, w, mean, rstd)
    assert y.shape == gx.shape == shape and gw.shape == gb.shape == w.shape
    assert not gw.any() and not gb.any()


def test_gradients_of_what_is_not_there_are_none():
    x = random(3, 20, dtype=np.float32, seed=1)
    w = random(20, dtype=np.float32, seed=2)
    _, *saved = norm.layer_norm(x, w, None, 1e-5)
    gx, gw, gb = norm.layer_norm_backward(x, x, w, *saved)
    for weight, bias in ((w, False), (None, True), (None, False)):
        part = norm.layer_norm_backward(x, x, weight, *saved, bias=bias)
        assert [y is None for y in part] == [False, weight is None, not bias]
        if weight is not None:
            assert np.array_equal(part[0], gx) and np.array_equal(part[1], gw)
        if bias:
            assert np.array_equal(part[2], gb)
    assert norm.rms_norm_backward(x, x, None, saved[1])[1] is None


def test_any_layout_will_do():
    x, w = random(20, 3, dtype=np.float32, seed=1).T, random(40, dtype=np.float32, seed=2)[::2]
    y, *saved = norm.layer_norm(x, w, w, 1e-5)
    expected = norm.layer_norm(x.copy("C"), w.copy(), w.copy(), 1e-5)[0]
    assert np.array_equal(y, expected)
    for ours, theirs in zip(
        norm.layer_norm_backward(y, x, w, *saved),
        norm.layer_norm_backward(y, x.copy("C"), w.copy(), *saved),
        strict=True,
    ):
        assert np.array_equal(ours, theirs)
