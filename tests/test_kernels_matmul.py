"""The matrix product: right, and the same bits however the work is cut."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tensorlite.kernels import activation, epilogue, jit, matmul, packing, parts, simd

WIDTH = simd.TILE_COLUMNS * simd.REGISTER_BITS // 32
EDGES = [1, 2, 7, 8, 9, 12, 13, 15, 16, 17, WIDTH - 1, WIDTH, WIDTH + 1, 65, 97]
DEPTHS = [1, 2, 15, 16, 17, 100, matmul.KC - 1, matmul.KC, matmul.KC + 1, 2 * matmul.KC + 3]
DTYPES = [np.float32, np.float64]
FLAT = {np.float32: parts.FLAT if simd.TILES else packing.FLAT, np.float64: packing.FLAT}


def random(shape, dtype, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def naive(a, b):
    """The contract, term by term: chains of fused multiply-adds in blocks of KC.

    A float32 product is exact in float64, so rounding product + sum once is done there, up to a
    double rounding that the tolerance covers.
    """
    wide = np.longdouble if a.dtype == np.float64 else np.float64
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for k0 in range(0, a.shape[1], matmul.KC):
        block = np.zeros_like(c)
        for k in range(k0, min(k0 + matmul.KC, a.shape[1])):
            exact = a[:, k, None].astype(wide) * b[None, k].astype(wide)
            block = (exact + block).astype(a.dtype)
        c = block if k0 == 0 else c + block
    return c


def in_parts(x):
    """High, middle and low part of float32, each of 8 significant bits."""
    found = []
    for _ in range(3):
        bits = (x.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
        found.append(bits.view(np.float32))
        x = x - found[-1]
    assert not x.any()
    return found


def naive_of_parts(a, b):
    """The contract of parts.py, term by term; see `naive` for how a step is rounded once."""
    (m, k), n = a.shape, b.shape[1]
    padded = -(-k // parts.DEEP) * parts.DEEP
    of_a = in_parts(np.pad(a, ((0, 0), (0, padded - k))))
    of_b = in_parts(np.pad(b, ((0, padded - k), (0, 0))))
    c = np.zeros((m, n), np.float32)
    for k0 in range(0, padded, matmul.KC):
        block = np.zeros_like(c)
        for step in range(k0, min(k0 + matmul.KC, padded), parts.DEEP):
            for i, j in ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0)):
                chains = []
                for start in (step, step + 16):
                    chain = np.zeros_like(c)
                    for p in range(start, start + 16):
                        exact = of_a[i][:, p, None].astype(float) * of_b[j][None, p].astype(float)
                        chain = (exact + chain).astype(np.float32)
                    chains.append(chain)
                block = block + (chains[0] + chains[1])
        c = block if k0 == 0 else c + block
    return c


def on_threads(n, function):
    before = jit.get_num_threads()
    jit.set_num_threads(n)
    try:
        return function()
    finally:
        jit.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@given(m=st.sampled_from(EDGES), n=st.sampled_from(EDGES), k=st.sampled_from(DEPTHS))
def test_product_is_the_sum_of_the_contract(dtype, m, n, k):
    a, b, bias = random((m, k), dtype, 1), random((k, n), dtype, 2), random(n, dtype, 3)
    in_tiles = simd.TILES and dtype == np.float32
    expected = naive_of_parts(a, b) if in_tiles else naive(a, b)
    assert not in_tiles or np.array_equal(matmul.product(a, b), expected)
    close = {"rtol": 1e-6, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-15, "atol": 1e-14}
    np.testing.assert_allclose(matmul.product(a, b), expected, **close)
    np.testing.assert_allclose(matmul.product(a, b, bias), expected + bias, **close)


@given(
    m=st.sampled_from([1, 3, 40]),
    k=st.sampled_from([1, 64, 700]),
    spread=st.sampled_from([0, 3, 10]),
    seed=st.integers(0, 99),
)
def test_product_is_as_exact_as_a_chain_of_multiply_adds(m, k, spread, seed):
    random = np.random.default_rng(seed)
    a, b = (
        random.standard_normal(s) * np.exp2(random.integers(-spread, spread + 1, s))
        for s in ((m, k), (k, 40))
    )
    a, b = a.astype(np.float32), b.astype(np.float32)
    exact, size = a.astype(float) @ b.astype(float), np.abs(a).astype(float) @ np.abs(b)
    ours, chain = (np.abs(c - exact) / size for c in (matmul.product(a, b), naive(a, b)))
    assert ours.max() <= 2.0**-24 * 2 * np.sqrt(k + 8)
    assert np.sqrt(np.mean(ours**2)) <= np.sqrt(np.mean(chain**2)) * 1.1 + 2.0**-27


@pytest.mark.parametrize("dtype", DTYPES)
@given(m=st.sampled_from(EDGES), n=st.sampled_from(EDGES), k=st.sampled_from(DEPTHS))
def test_every_layout_gives_the_same_bits(dtype, m, n, k):
    a, b = random((m, k), dtype, 1), random((k, n), dtype, 2)
    expected = matmul.product(a, b)
    wide_a, wide_b = random((m, k + 3), dtype, 4), random((k, n + 5), dtype, 5)
    wide_a[:, 1:-2], wide_b[:, 2:-3] = a, b
    for x in (np.asfortranarray(a), wide_a[:, 1:-2]):
        for y in (b, np.asfortranarray(b), wide_b[:, 2:-3]):
            assert np.array_equal(matmul.product(x, y), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("part, more", [(2, -9), (2, 1), (1, 0)])
def test_rows_packed_for_some_blocks_of_k_at_a_time_have_the_bits_of_few(part, more, dtype):
    m, k, n = FLAT[dtype] // part + more, 2 * matmul.KC + 3, 300
    a, b, bias = random((m, k), dtype, 1), random((k, n), dtype, 2), random(n, dtype, 3)
    before = random((m, n), dtype, 4)
    for x in (a, np.asfortranarray(a)):
        for y in (b, np.asfortranarray(b)):
            whole, added = matmul.product(x, y, bias), before.copy()
            matmul.product(x, y, out=added, accumulate=True)
            for some in (slice(0, 9), slice(m - 30, m)):
                part = before[some].copy()
                matmul.product(a[some], b, out=part, accumulate=True)
                assert np.array_equal(whole[some], matmul.product(a[some], b, bias))
                assert np.array_equal(added[some], part)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    m=st.sampled_from([1, 5, 8, 9, 30, 200]),
    n=st.sampled_from([65, 300]),
    k=st.sampled_from([64, 300]),
    data=st.data(),
)
def test_rows_and_threads_do_not_change_a_bit(dtype, m, n, k, data):
    a, b, bias = random((m, k), dtype, 1), random((k, n), dtype, 2), random(n, dtype, 3)
    for right in (b, np.asfortranarray(b)):
        whole = on_threads(1, lambda right=right: matmul.product(a, right, bias))
        assert np.array_equal(
            on_threads(2, lambda right=right: matmul.product(a, right, bias)), whole
        )
        start = data.draw(st.integers(0, m - 1))
        stop = data.draw(st.integers(start + 1, m))
        assert np.array_equal(matmul.product(a[start:stop], right, bias), whole[start:stop])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [64, 272, 384, 1040])
@pytest.mark.parametrize("n", [1, 17, 33, 65, 97])
def test_a_last_column_has_the_bits_of_one_among_others(n, k, dtype):
    """Alone in its panel, it is computed otherwise than beside others."""
    rng = np.random.default_rng(0)
    a, b = (
        rng.standard_normal((100, k)).astype(dtype),
        rng.standard_normal((n + 7, k)).astype(dtype),
    )
    wide = matmul.product(a, b.T)
    assert np.array_equal(matmul.product(a, b[:n].T), wide[:, :n])
    bias = rng.standard_normal(n).astype(dtype)
    assert np.array_equal(matmul.product(a, b[:n].T, bias), wide[:, :n] + bias)
    for threads in (1, 2):
        before = jit.get_num_threads()
        jit.set_num_threads(threads)
        try:
            many = np.concatenate([a] * 8)
            assert np.array_equal(matmul.product(many, b[:n].T)[300:400], wide[:, :n])
        finally:
            jit.set_num_threads(before)


@given(m=st.sampled_from([3, 9, 40]), n=st.sampled_from([5, 33]), k=st.sampled_from([4, 260]))
def test_batches_broadcast_and_equal_single_products(m, n, k):
    a, b = random((3, 1, m, k), np.float32, 1), random((2, k, n), np.float32, 2)
    for x in (
        a,
        np.ascontiguousarray(a.mT).mT,
        np.ascontiguousarray(a.swapaxes(0, 2)).swapaxes(0, 2),
    ):
        for y in (b, np.ascontiguousarray(b.mT).mT):
            c = matmul.matmul(x, y)
            assert c.shape == (3, 2, m, n)
            for i in range(3):
                for j in range(2):
                    assert np.array_equal(c[i, j], matmul.product(a[i, 0], b[j]))
    flat = matmul.matmul(a[:, 0], b[0])
    assert np.array_equal(flat[1], matmul.product(a[1, 0], b[0]))


@pytest.mark.parametrize("m", [1, 3, 30])
def test_accumulating_adds_to_what_is_there(m):
    a, b, start = (random(s, np.float32, i) for i, s in enumerate([(m, 20), (20, 40), (m, 40)]))
    for right in (b, np.asfortranarray(b)):
        out = start.copy()
        assert matmul.product(a, right, out=out, accumulate=True) is out
        assert np.array_equal(out, start + matmul.product(a, right))


@pytest.mark.parametrize("m", range(1, 9))
@pytest.mark.parametrize("n, k", [(1030, 600), (5000, 70), (4100, 257), (66000, 20)])
def test_few_rows_have_the_bits_of_many_in_every_layout(m, n, k):
    a, b, bias = random((m, k), np.float32, 1), random((k, n), np.float32, 2), random(n, float, 3)
    bias = bias.astype(np.float32)
    many = matmul.product(np.tile(a, (9, 1)), b, bias)[:m]
    for right in (b, np.asfortranarray(b)):
        for threads in (1, 2):
            few = on_threads(threads, lambda right=right: matmul.product(a, right, bias))
            assert np.array_equal(few, many)


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0)])
def test_empty_sizes_give_zeros_of_the_right_shape(shape):
    m, n, k = shape
    c = matmul.product(np.ones((m, k), np.float32), np.ones((k, n), np.float32))
    assert c.shape == (m, n) and not c.any()


@pytest.mark.parametrize("m", [1, 20])
def test_infinities_and_nans_pass_through(m):
    a, b = np.ones((m, 3), np.float32), np.ones((3, 70), np.float32)
    b[1, 2], b[1, 66] = np.inf, np.nan
    c = matmul.product(a, b)
    assert np.isinf(c[:, 2]).all() and np.isnan(c[:, 66]).all()
    assert np.isfinite(np.delete(c, [2, 66], axis=1)).all()


def test_sums_that_are_flushed_to_minus_zero_are_the_same_alone():
    """k ends within a step: what of it is added as 0 among many rows is so alone, too."""
    two = 2.0 ** -np.arange(80)
    a, b = np.zeros((40, 20)), np.zeros((20, 40))
    a[:, :4] = [
        two[58] + two[67], -two[58], -two[54] * (1 + two[9] + two[18] + two[23]), two[54] + two[63],
    ]  # fmt: skip
    b[:4] = two[[59, 59, 54, 54], None]
    a[:, [15, 19]], b[[15, 19]] = -two[70], two[70]
    a, b = a.astype(np.float32), b.astype(np.float32)
    many, alone = matmul.product(a, b), matmul.product(a[:1], b)
    assert np.array_equal(many[:1].view(np.uint32), alone.view(np.uint32))


@given(
    m=st.sampled_from([1, 2, 20, 40]),
    k=st.sampled_from([3, 40, 300]),
    n=st.sampled_from([3, 40]),
    data=st.data(),
)
def test_what_is_not_finite_meets_only_its_row_and_column(m, k, n, data):
    """Infinities, NaN, numbers near the largest and near the smallest."""
    odd = st.sampled_from([np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 1e-38, 1e-42, 0.0])
    a, b, bias = (random(s, np.float32, i) for i, s in enumerate([(m, k), (k, n), (n,)]))
    plain = matmul.product(a, b, bias)
    row, column, p = (data.draw(st.integers(0, size - 1)) for size in (m, n, k))
    a[row, p], b[p, column] = data.draw(odd), data.draw(odd)
    with np.errstate(all="ignore"):
        expected = naive(a, b) + bias
        for x in (a, np.asfortranarray(a)):
            for y in (b, np.asfortranarray(b)):
                c = matmul.product(x, y, bias)
                np.testing.assert_allclose(c, expected, rtol=1e-5, atol=1e-5)
                alone = matmul.product(a[row : row + 1], y, bias)
                assert np.array_equal(alone[0], c[row], equal_nan=True)
    others = np.ones((m, n), bool)
    others[row] = others[:, column] = False
    assert np.array_equal(c[others], plain[others])


@pytest.mark.parametrize(
    "name,dtype",
    [*((n, np.float32) for n in epilogue.ACTIVATIONS[1:]), ("relu", float)],
)
@pytest.mark.parametrize("shape", [(1, 70, 20), (30, 65, 300), (100, 33, 5), (9, 0, 3), (9, 3, 0)])
def test_an_activation_in_the_epilogue_is_the_one_alone_to_the_bit(name, dtype, shape):
    m, n, k = shape
    x, weight, bias = random((m, k), dtype, 1), random((n, k), dtype, 2), random(n, dtype, 3)
    c, y = matmul.linear_activation(x, weight, bias, name)
    assert np.array_equal(c, matmul.product(x, weight.T, bias))
    assert np.array_equal(y, getattr(activation, name)(c))
    g = random((m, n), dtype, 4)
    pre = random((m, k), dtype, 5)
    gpre, again = matmul.product_activation_backward(g, weight, pre, name)
    assert np.array_equal(again, getattr(activation, name)(pre))
    gsame, same = matmul.product_activation_backward(g, weight, pre, name, again)
    assert same is again and np.array_equal(gsame, gpre)
    alone = epilogue.alone_backward(name)
    assert np.array_equal(gpre, alone(matmul.product(g, weight), pre))
