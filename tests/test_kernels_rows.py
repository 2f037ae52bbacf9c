"""Softmax, activations and sums against their formulas, and their bits against cutting."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

import naive
from tensorlite.kernels import (
    activation,
    activation_vectors,
    elementwise,
    jit,
    reduce,
    simd,
    softmax,
)
from tensorlite.kernels.jit import kernel

W = simd.REGISTER_BITS // 32
SIZES = [1, 2, W // 2, W - 1, W, W + 1, 2 * W + 1, 130]
DTYPES = [np.float32, np.float64]
CLOSE = {np.float32: {"rtol": 4e-6, "atol": 1e-36}, np.float64: {"rtol": 2e-14, "atol": 1e-300}}


def random(*shape, dtype, seed, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def wide(x):
    """In a type with more digits."""
    return x.astype(np.longdouble)


def on_threads(n, function):
    before = jit.get_num_threads()
    jit.set_num_threads(n)
    try:
        return function()
    finally:
        jit.set_num_threads(before)


def same_bits(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


# ------------------------------------------------------------------------------------- activations

UNARY = ["erf", "gelu", "gelu_tanh", "silu", "relu", "relu_squared", "sigmoid", "tanh"]
FROM_INPUT = ["gelu", "gelu_tanh", "silu", "relu_squared"]
FROM_OUTPUT = ["relu", "sigmoid", "tanh"]


def numbers(n, dtype, seed):
    """Ordinary numbers, large ones, small ones, mixed."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-6, 6, n)
    x[::3] = rng.uniform(-14, 14, len(x[::3]))
    x[1::5] = 10 ** rng.uniform(-12, 1, len(x[1::5])) * rng.choice([-1, 1], len(x[1::5]))
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
@given(n=st.sampled_from([*SIZES, 4000]), seed=st.integers(0, 99))
def test_activations_follow_the_formula(name, dtype, n, seed):
    x = numbers(n, dtype, seed)
    y = getattr(activation, name)(x)
    assert y.dtype == dtype and y.shape == x.shape
    # x is rounded before exp(-x^2 / 2): its relative error grows with x^2.
    slack = 30 if name.startswith("gelu") else 1
    rtol = CLOSE[dtype]["rtol"] * slack
    expected = getattr(naive, name)(wide(x))
    np.testing.assert_allclose(y, expected, rtol=rtol, atol=CLOSE[dtype]["atol"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*FROM_INPUT, *FROM_OUTPUT])
@given(n=st.sampled_from([*SIZES, 4000]), seed=st.integers(0, 99))
def test_their_gradients_are_their_slopes(name, dtype, n, seed):
    x, g = numbers(n, dtype, seed), random(n, dtype=dtype, seed=seed)
    given_to_it = x if name in FROM_INPUT else getattr(activation, name)(x)
    gx = getattr(activation, f"{name}_backward")(g, given_to_it)
    slope = getattr(naive, f"{name}_slope")(wide(x))
    size = np.maximum(np.abs(slope), 1)  # where the slope passes through 0 its digits cancel
    assert np.all(np.abs(gx - wide(g) * slope) <= 10 * np.finfo(dtype).eps * size * np.abs(g))


@pytest.mark.parametrize("dtype", DTYPES)
@given(n=st.sampled_from([*SIZES, 4000]), seed=st.integers(0, 99))
def test_swiglu_and_its_gradients_follow_the_formula(dtype, n, seed):
    gate, up, g = numbers(n, dtype, seed), *(random(n, dtype=dtype, seed=i) for i in (1, 2))
    gate.flags.writeable = seed % 2 == 0  # as what is read from a file may be
    ggate, gup = activation.swiglu_backward(g, gate, up)
    s, slope = naive.silu(wide(gate)), naive.silu_slope(wide(gate))
    eps = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(activation.swiglu(gate, up), s * up, rtol=eps)
    np.testing.assert_allclose(gup, g * s, rtol=eps)
    np.testing.assert_allclose(ggate, g * up * slope, rtol=eps, atol=eps * np.abs(g * up).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["erf", "tanh", "sigmoid", "silu"])
def test_they_are_right_to_units_in_the_last_place(name, dtype):
    x = np.concatenate([np.linspace(-9, 9, 20001), np.linspace(-0.7, 0.7, 5001)]).astype(dtype)
    exact = naive.erf(x) if name == "erf" else getattr(naive, name)(wide(x))
    off = np.abs(getattr(activation, name)(x) - exact) / np.spacing(np.abs(exact).astype(dtype))
    assert np.max(off[exact != 0]) < 2.5


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_exponential_beside_one_gives_the_bits_of_the_sum(dtype):
    x = np.concatenate([np.linspace(-800, 800, 20_001), [-60, 88.5, 89, 710, np.inf, -np.inf]])
    x = np.append(x, np.nan).astype(dtype)
    expected = activation._run(_one_plus_exp, x)
    np.testing.assert_array_equal(activation._run(_one_plus_exp_beside, x), expected)


@elementwise.unary
@jit.inline
def _one_plus_exp(x):
    return 1.0 + simd.exp(x)


@elementwise.unary
@jit.inline
def _one_plus_exp_beside(x):
    return 1.0 + simd.exp_beside_one(x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_of_lanes_is_no_number_of_a_formula(dtype):
    x = np.arange(1, 2 * W + 1, dtype=dtype)
    y = np.empty_like(x)
    _first_lane(x, y)  # 1, which exponentials keep in memory as a float
    assert y[0] == 1 and not y[1 : simd.REGISTER_BITS // (8 * x.itemsize)].any()


@kernel
def _first_lane(x, y):
    simd.store(y, 0, simd.select(simd.first(x, 1), simd.load(x, 0), simd.zero(x)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_infinity_and_nan_come_out_as_they_should(dtype):
    inf, nan = np.inf, np.nan
    x = np.array([0.0, -0.0, inf, -inf, nan, 1e30, -1e30], dtype)
    expected = {
        "erf": [0.0, -0.0, 1, -1, nan, 1, -1],
        "gelu": [0.0, -0.0, inf, nan, nan, 1e30, 0],  # -inf * 0 is NaN, as in PyTorch
        "gelu_tanh": [0.0, -0.0, inf, nan, nan, 1e30, 0],
        "silu": [0.0, -0.0, inf, nan, nan, 1e30, 0],
        "relu": [0.0, -0.0, inf, 0, nan, 1e30, 0],
        "sigmoid": [0.5, 0.5, 1, 0, nan, 1, 0],
        "tanh": [0.0, -0.0, 1, -1, nan, 1, -1],
    }
    for name, values in expected.items():
        y = getattr(activation, name)(x)
        np.testing.assert_array_equal(y, np.array(values, dtype), err_msg=name)
    ones = np.ones_like(x)
    for name in ("gelu", "gelu_tanh", "silu"):
        slope = getattr(activation, f"{name}_backward")(ones, x)
        assert np.isnan(slope[4]) and slope[5] == 1 and abs(slope[6]) < 1e-30, name
    y = activation.relu(x)
    np.testing.assert_array_equal(activation.relu_backward(ones, y), [0, 0, 1, 0, 1, 1, 0])


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "tanh", "relu"])
@given(data=st.data())
def test_an_activation_has_the_same_bits_wherever_it_stands(name, data):
    function = getattr(activation, name)
    x = numbers(elementwise.SMALL + elementwise.BLOCK + 5, np.float32, 1)
    whole = on_threads(1, lambda: function(x))
    assert same_bits(on_threads(3, lambda: function(x)), whole)
    start = data.draw(st.integers(0, len(x) - 1))
    stop = data.draw(st.integers(start + 1, min(len(x), start + 100)))
    assert same_bits(function(x[start:stop]), whole[start:stop])
    for step in (2, -1, 3):
        assert same_bits(function(x[::step]), whole[::step].copy())


@kernel
def epilogue(x, y):
    for i in range(0, x.size, simd.lanes(x)):
        simd.put(y, i, x.size - i, activation_vectors.gelu_vector(simd.take(x, i, x.size - i, 0.0)))


def test_an_epilogue_with_the_same_function_gives_the_same_bits():
    x = numbers(1000, np.float32, 1)
    y = np.empty_like(x)
    epilogue(x, y)
    assert same_bits(y, activation.gelu(x))


@pytest.mark.parametrize("n", [0, 1, 7, 1000, elementwise.SMALL + 3])
def test_masking_keeps_and_scales(n):
    x, kept = random(n, dtype=np.float32, seed=1), np.random.default_rng(2).random(n) < 0.7
    factor = np.float32(1) / np.float32(0.7)
    y = activation.masked(x, kept, factor)
    assert np.array_equal(y, np.where(kept, x * factor, np.float32(0)))


# ----------------------------------------------------------------------------------------- softmax

ROWS = [1, 3, 64]


def logits(rows, n, dtype, seed):
    """Rows of all kinds: ordinary, with -inf, with huge and tiny values, with a NaN, only -inf."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, n)) * rng.choice([0.1, 1, 20], (rows, 1))
    x[rng.random((rows, n)) < 0.1] = -np.inf
    for r in range(rows):
        kind = rng.integers(8)
        if kind < 4:
            x[r, rng.integers(n)] = [np.nan, 1e30, -1e30, np.inf][kind]
        elif kind == 4:
            x[r] = -np.inf
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@given(rows=st.sampled_from(ROWS), n=st.sampled_from(SIZES), seed=st.integers(0, 99))
def test_softmax_and_its_logarithm_follow_the_formula(dtype, rows, n, seed):
    x, g = logits(rows, n, dtype, seed), random(rows, n, dtype=dtype, seed=seed)
    eps = 8 * np.finfo(dtype).eps
    # x - max is rounded before the exponential: an error of eps |x - max| in its logarithm.
    with np.errstate(invalid="ignore"):
        spread = np.nanmax(np.where(np.isfinite(x), np.abs(x), 0), 1, keepdims=True)
    spread = np.minimum(spread, 200)

    y, z, s = softmax.softmax(x), softmax.log_softmax(x), softmax.logsumexp(x)
    exact = naive.softmax(wide(x)), naive.log_softmax(wide(x)), naive.logsumexp(wide(x))
    for ours, theirs in zip((y, z, s[:, None]), exact, strict=True):
        assert ours.dtype == dtype
        assert np.array_equal(np.isnan(ours), np.isnan(theirs))
        assert np.array_equal(np.isinf(ours), np.isinf(theirs))
        fine = np.isfinite(theirs)
        allowed = eps * (1 + spread) * np.maximum(np.abs(theirs), 1 if ours is not y else 0)
        assert np.all(np.abs(ours[fine] - theirs[fine]) <= allowed[fine] + np.finfo(dtype).tiny)

    clean = ~np.isnan(y).any(1)
    gx = softmax.softmax_backward(g, y)[clean]
    expected = naive.softmax_backward(wide(g), wide(y))[clean]
    np.testing.assert_allclose(gx, expected, rtol=0, atol=eps * 4)
    gz = softmax.log_softmax_backward(g, z)[clean]
    expected = naive.log_softmax_backward(wide(g), wide(z))[clean]
    np.testing.assert_allclose(gz, expected, rtol=0, atol=eps * 4 * n)


def test_a_masked_position_gets_exactly_nothing():
    x = random(5, 40, dtype=np.float32, seed=1)
    x[:, 30:] = -np.inf
    y = softmax.softmax(x)
    assert not y[:, 30:].any() and np.allclose(y.sum(1), 1)
    assert not softmax.softmax_backward(x.clip(-1, 1), y)[:, 30:].any()
    assert np.isneginf(softmax.log_softmax(x)[:, 30:]).all()


def test_a_row_of_nothing_gives_nan_and_a_sum_of_nothing_minus_infinity():
    x = np.full((2, 20), -np.inf, np.float32)
    x[1, 3] = 0
    for y in (softmax.softmax(x), softmax.log_softmax(x)):
        assert np.isnan(y[0]).all() and not np.isnan(y[1]).any()
    assert np.array_equal(softmax.logsumexp(x), [-np.inf, 0])
    assert np.array_equal(softmax.logsumexp(np.empty((3, 0))), [-np.inf] * 3)
    assert np.array_equal(softmax.logsumexp(np.array([[np.inf, 0.0]])), [np.inf])


@given(n=st.sampled_from([*SIZES, 400]), data=st.data())
def test_a_row_has_the_same_bits_alone_and_on_any_number_of_threads(n, data):
    rows = max(2, 3 * softmax.SMALL // n // 2)
    x, g = logits(rows, n, np.float32, 1), random(rows, n, dtype=np.float32, seed=2)
    row = data.draw(st.integers(0, rows - 1))
    one = slice(row, row + 1)
    y, z = softmax.softmax(x), softmax.log_softmax(x)
    for function, *inputs in (
        (softmax.softmax, x),
        (softmax.log_softmax, x),
        (softmax.logsumexp, x),
        (softmax.softmax_backward, g, y),
        (softmax.log_softmax_backward, g, z),
    ):
        whole = on_threads(3, lambda f=function, i=inputs: f(*i))
        assert same_bits(on_threads(1, lambda f=function, i=inputs: f(*i)), whole)
        assert same_bits(function(*(i[one] for i in inputs)), whole[one])


# -------------------------------------------------------------------------------------------- sums

LONG = [reduce.PIECE - 1, reduce.PIECE, reduce.PIECE + 1, 3 * reduce.PIECE + 7]
TALL = [reduce.BLOCK_ROWS - 1, reduce.BLOCK_ROWS, reduce.BLOCK_ROWS + 1, 3 * reduce.BLOCK_ROWS + 2]


def assert_sums(ours, x, axis):
    """Within the rounding errors of a sum whose longest chain is about 200 additions."""
    exact = wide(x).sum(axis)
    allowed = 20 * np.finfo(x.dtype).eps * np.sqrt((wide(x) ** 2).sum(axis)) + np.abs(exact) * 1e-7
    assert np.all(np.abs(ours - exact) <= allowed)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    rows=st.sampled_from([1, 2, 5, *TALL]),
    n=st.sampled_from(SIZES),
    scale=st.sampled_from([1, 1e30]),
)
def test_sums_over_rows_and_columns_are_right(dtype, rows, n, scale):
    x = random(rows, n, dtype=dtype, seed=1, scale=scale)
    assert_sums(reduce.row_sum(x), x, 1)
    assert_sums(reduce.column_sum(x), x, 0)


@pytest.mark.parametrize("n", LONG)
def test_long_rows_and_wide_matrices_are_summed_in_pieces(n):
    x = random(3, n, dtype=np.float32, seed=1)
    assert_sums(reduce.row_sum(x), x, 1)
    assert_sums(reduce.column_sum(x), x, 0)
    longest = reduce.PIECE // (4 * W)  # chain of additions, each of which rounds
    tenths = reduce.row_sum(np.full((1, 10**6), 0.1, np.float32))
    assert tenths == pytest.approx(1e5, rel=longest * 2.0**-24)


@pytest.mark.parametrize("shape", [(3, reduce.SMALL), (reduce.SMALL // 4, 5), (400, 700)])
def test_a_row_is_summed_to_the_same_bits_alone_and_on_any_number_of_threads(shape):
    x = random(*shape, dtype=np.float32, seed=1)
    y = on_threads(1, lambda: reduce.row_sum(x))
    assert same_bits(on_threads(3, lambda: reduce.row_sum(x)), y)
    assert same_bits(reduce.row_sum(x[1:2]), y[1:2])


@given(rows=st.sampled_from([*TALL, 700]), n=st.sampled_from([1, 5, W + 1, 300]), data=st.data())
def test_a_column_has_the_same_bits_alone_and_on_any_number_of_threads(rows, n, data):
    x = random(rows, n, dtype=np.float32, seed=1)
    y = on_threads(1, lambda: reduce.column_sum(x))
    assert same_bits(on_threads(3, lambda: reduce.column_sum(x)), y)
    column = data.draw(st.integers(0, n - 1))
    assert same_bits(reduce.column_sum(x[:, column : column + 1]), y[column : column + 1])


def test_sums_of_nothing_are_zero():
    assert np.array_equal(reduce.row_sum(np.empty((3, 0), np.float32)), np.zeros(3, np.float32))
    assert np.array_equal(reduce.column_sum(np.empty((0, 3))), np.zeros(3))
    assert softmax.softmax(np.empty((0, 4))).shape == (0, 4)
    assert activation.gelu(np.empty((2, 0))).shape == (2, 0)


def test_infinities_and_nans_pass_through_sums():
    x = np.ones((70, 40), np.float32)
    x[65, 3], x[2, 39] = np.inf, np.nan
    columns, rows = reduce.column_sum(x), reduce.row_sum(x)
    assert np.isinf(columns[3]) and np.isnan(columns[39]) and np.isfinite(columns[:3]).all()
    assert np.isinf(rows[65]) and np.isnan(rows[2]) and np.isfinite(rows[3:65]).all()


# --------------------------------------------------------------------------------- other processors

OTHER = """
import numpy as np
from tensorlite.kernels import activation, norm, reduce, simd, softmax
assert simd.REGISTER_BITS == 128
for n in (1, 3, 4, 5, 37):
    x = np.random.default_rng(n).standard_normal((70, n)).astype(np.float32) * 3
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(softmax.softmax(x), e / e.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(activation.silu(x), x / (1 + np.exp(-x)), rtol=1e-5)
    d = x - x.mean(1, keepdims=True)
    y = d / np.sqrt((d * d).mean(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(norm.layer_norm(x, None, None, 1e-5)[0], y, atol=1e-5)
    np.testing.assert_allclose(reduce.column_sum(x), x.sum(0), atol=1e-4)
"""


def test_vectors_of_any_width_give_the_same_values(tmp_path):
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "TENSORLITE_CACHE_DIR": str(tmp_path),
    }
    subprocess.run([sys.executable, "-c", OTHER], env=environment, check=True, timeout=300)


def test_the_references_themselves_are_right():
    """math knows some of these functions too."""
    x = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(naive.erf(x), [math.erf(v) for v in x], rtol=1e-15)
    np.testing.assert_allclose(naive.sigmoid(x), [1 / (1 + math.exp(-v)) for v in x], rtol=1e-15)
    np.testing.assert_allclose(
        np.asarray(naive.gelu(x), float),
        [v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x],
        rtol=1e-12,
    )
