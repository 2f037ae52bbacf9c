"""Results larger than the caches are written past them: the same bits as those of a few rows."""

import numpy as np
import pytest

from tensorlite.kernels import activation, cross_entropy, elementwise, jit, norm, simd, softmax

N = 1003  # no multiple of a vector, so that rows begin anywhere in one
ROWS = simd.FAR // N + 40
SOME = [0, 1, 7, ROWS - 1]


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((ROWS, N), np.float32) for _ in range(2)]


def of_rows(x, g, weight, targets):
    """What each kernel makes of rows, by name; every array has a row for each."""
    y, mean, rstd = norm.layer_norm(x, weight, weight, 1e-5)
    _, rms = norm.rms_norm(x, weight, 1e-5)
    p = softmax.softmax(x)
    _, lse = cross_entropy.cross_entropy(x, targets, -100, 0.1)
    own = x.copy()
    elementwise.add(own, g, own)
    return {
        "softmax": p,
        "softmax_backward": softmax.softmax_backward(g, p),
        "layer_norm": y,
        "layer_norm_backward": norm.layer_norm_backward(g, x, weight, mean, rstd)[0],
        "rms_norm_backward": norm.rms_norm_backward(g, x, weight, rms)[0],
        "gelu": activation.gelu(x),
        "gelu_tanh_backward": activation.gelu_tanh_backward(g, x),
        "add": elementwise.add(x, g),
        "add in place": own,
        "cross_entropy_backward": cross_entropy.cross_entropy_backward(
            g[:, 0].copy(), x, targets, -100, 0.1, lse
        ),
    }


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_written_past_the_caches_has_the_bits_of_a_few_rows(arrays, threads):
    x, g = arrays
    weight = np.linspace(0.5, 2, N, dtype=np.float32)
    targets = np.arange(ROWS) % N
    targets[1] = -100
    assert x.size > simd.FAR
    before = jit.get_num_threads()
    jit.set_num_threads(threads)
    try:
        large = of_rows(x, g, weight, targets)
    finally:
        jit.set_num_threads(before)
    few = of_rows(x[SOME], g[SOME], weight, targets[SOME])
    for name, expected in few.items():
        assert np.array_equal(large[name][SOME], expected), name
    # Nothing is left out between the rows: all of a plain function of elements, and of softmax,
    # which writes a row while it computes the next one, the last row of every task too.
    parts = [softmax.softmax(x[i : i + 500]) for i in range(0, ROWS, 500)]
    assert np.array_equal(large["softmax"], np.concatenate(parts))
    assert np.array_equal(large["add"], x + g) and np.array_equal(large["add in place"], x + g)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 3, 16, 17])
def test_softmax_of_many_short_rows_is_that_of_few(n, dtype):
    x = np.random.default_rng(n).standard_normal((simd.FAR // n + 5, n)).astype(dtype)
    step = len(x) // 3
    parts = [softmax.softmax(x[i : i + step]) for i in range(0, len(x), step)]
    assert np.array_equal(softmax.softmax(x), np.concatenate(parts))
