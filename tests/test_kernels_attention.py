"""Attention: right, and each query's bits its own, however the work is cut."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

import naive
from tensorlite.kernels import jit, simd
from tensorlite.kernels.attention import BLOCK, CHUNK, attention
from tensorlite.kernels.attention_backward import BACK_KEYS, BACK_ROWS, LARGE, attention_backward

W = simd.REGISTER_BITS // 32
WIDTHS = [1, 3, W - 1, W, W + 1, 2 * W, 2 * W + 1, 64, 80]
LENGTHS = [1, 2, 5, 13, W - 1, W, W + 1, 33, BACK_ROWS + 1, BACK_KEYS + 1, CHUNK + 1, 150]
DTYPES = [np.float32, np.float64]


def close(dtype):
    return {"rtol": 1e-4, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-12}


def random(shape, dtype, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def qkv(B, H, G, T, S, D, dtype, extra=0):
    """Queries, keys and values of random numbers, and a gradient for the output."""
    shapes = [(B, H, T, D), (B, G, S, D), (B, G, S, D), (B, H, T, D)]
    return [random(shape, dtype, seed) for seed, shape in enumerate(shapes)]


def on_threads(n, function, *args, **keywords):
    before = jit.get_num_threads()
    jit.set_num_threads(n)
    try:
        return function(*args, **keywords)
    finally:
        jit.set_num_threads(before)


def forward_and_backward(q, k, v, g, scale, offset):
    out, lse = attention(q, k, v, scale, offset)
    return out, lse, *attention_backward(g, q, k, v, out, lse, scale, offset)


def same(left, right):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(left, right, strict=True))


shapes = st.tuples(
    st.integers(1, 2),  # B
    st.sampled_from([(1, 1), (2, 2), (4, 2), (3, 1)]),  # H, G
    st.sampled_from(LENGTHS),  # T
    st.sampled_from(LENGTHS),  # S
    st.sampled_from(WIDTHS),  # D
)


@pytest.mark.parametrize("dtype", DTYPES)
@given(shape=shapes, causal=st.booleans())
def test_attention_and_its_gradients_are_their_formulas(dtype, shape, causal):
    B, (H, G), T, S, D = shape
    offset = S - T if causal else S
    q, k, v, g = qkv(B, H, G, T, S, D, dtype)
    out, lse, gq, gk, gv = forward_and_backward(q, k, v, g, D**-0.5, offset)
    expected_out, expected_lse, _ = naive.attention(q, k, v, D**-0.5, offset)
    np.testing.assert_allclose(out, expected_out, **close(dtype))
    np.testing.assert_allclose(lse, expected_lse, **close(dtype))
    expected = naive.attention_backward(g, q, k, v, D**-0.5, offset)
    for x, y in zip((gq, gk, gv), expected, strict=True):
        np.testing.assert_allclose(x, y, **close(dtype))


@pytest.mark.parametrize("length", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_long_rows_pass_through_several_blocks(length):
    q, k, v, g = qkv(1, 1, 1, 9, length, 8, np.float64)
    k[:, :, BLOCK // 2 :] *= 5  # the maximum grows on the way
    results = forward_and_backward(q, k, v, g, 1.0, length - 9)
    out, lse, _ = naive.attention(q, k, v, 1.0, length - 9)
    expected = (out, lse, *naive.attention_backward(g, q, k, v, 1.0, length - 9))
    for x, y in zip(results, expected, strict=True):
        np.testing.assert_allclose(x, y, **close(np.float64))


@given(T=st.integers(1, 4), S=st.integers(1, 5), D=st.integers(1, 4), offset=st.integers(-2, 5))
def test_gradients_agree_with_finite_differences(T, S, D, offset):
    q, k, v, g = qkv(1, 2, 1, T, S, D, np.float64)
    gradients = forward_and_backward(q, k, v, g, 0.7, offset)[2:]
    h = 1e-6
    for x, gradient in zip((q, k, v), gradients, strict=True):
        for i in np.ndindex(x.shape):
            x[i] += h
            above = (attention(q, k, v, 0.7, offset)[0] * g).sum()
            x[i] -= 2 * h
            below = (attention(q, k, v, 0.7, offset)[0] * g).sum()
            x[i] += h
            assert gradient[i] == pytest.approx((above - below) / (2 * h), abs=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    heads=st.sampled_from([(1, 1), (4, 2), (3, 1)]),
    T=st.sampled_from([40, CHUNK + 9, BLOCK + 30]),
    D=st.sampled_from([5, 32, 64]),
    data=st.data(),
)
def test_a_sequence_in_chunks_gives_the_bits_of_the_whole(dtype, heads, T, D, data):
    q, k, v, _ = qkv(1, *heads, T, T, D, dtype)
    whole = attention(q, k, v, 0.3, 0)
    start = data.draw(st.integers(0, T - 1))
    stop = data.draw(st.sampled_from([start + 1, min(T, start + 4), T]))
    part = attention(q[:, :, start:stop], k[:, :, :stop], v[:, :, :stop], 0.3, start)
    assert same(part, [x[:, :, start:stop] for x in whole])


def test_every_single_token_gives_the_bits_of_the_whole():
    T = BLOCK + 40
    q, k, v, _ = qkv(1, 2, 1, T, T, 24, np.float32)
    whole = attention(q, k, v, 0.3, 0)
    for t in range(T):
        one = attention(q[:, :, t : t + 1], k[:, :, : t + 1], v[:, :, : t + 1], 0.3, t)
        assert same(one, [x[:, :, t : t + 1] for x in whole])


@given(T=st.sampled_from([3, 20, 100]), D=st.sampled_from([3, 16, 40]))
def test_a_sequence_in_a_batch_gives_the_bits_of_the_sequence_alone(T, D):
    q, k, v, g = qkv(3, 4, 2, T, T, D, np.float32)
    batch = forward_and_backward(q, k, v, g, 0.3, 0)
    for b in range(3):
        alone = forward_and_backward(*(x[b : b + 1] for x in (q, k, v, g)), 0.3, 0)
        assert same(alone, [x[b : b + 1] for x in batch])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(2, 4, 2, 70, 90, 20), (1, 2, 1, 230, 230, 33), (1, 3, 3, 9, 300, 64)]
)
def test_threads_do_not_change_a_bit(dtype, shape):
    q, k, v, g = qkv(*shape, dtype)
    offset = shape[4] - shape[3]
    one = on_threads(1, forward_and_backward, q, k, v, g, 0.2, offset)
    two = on_threads(2, forward_and_backward, q, k, v, g, 0.2, offset)
    assert same(one, two)


def test_a_large_head_gives_the_bits_of_a_small_one():
    D = 128
    T, less = LARGE // D + 40, LARGE // D - 30
    q, k, v, g = qkv(1, 2, 1, T // 2, T // 2, D, np.float64)  # two heads share keys
    whole = forward_and_backward(q, k, v, g, 0.1, 0)
    part = forward_and_backward(*(x[:, :, : less // 2] for x in (q, k, v, g)), 0.1, 0)
    assert same([x[:, :, : less // 2] for x in whole[:3]], part[:3])  # out, lse, gq
    expected = naive.attention_backward(g, q, k, v, 0.1, 0)
    for x, y in zip(whole[2:], expected, strict=True):
        np.testing.assert_allclose(x, y, **close(np.float64))


@given(T=st.sampled_from([1, 7, 60]), D=st.sampled_from([1, 8, 33]))
def test_views_into_one_buffer_give_the_same_bits_and_take_the_gradients(T, D):
    B, H, G = 2, 4, 2
    buffer = random((B, T, (H + 2 * G) * D), np.float32, 5)
    g = random((B, H, T, D), np.float32, 6)

    def parts(x):
        heads = x.reshape(B, T, H + 2 * G, D).transpose(0, 2, 1, 3)
        return heads[:, :H], heads[:, H : H + G], heads[:, H + G :]

    views = parts(buffer)
    copies = [x.copy() for x in views]
    expected = forward_and_backward(*copies, g, 0.3, 0)
    out, lse = attention(*views, 0.3, 0)
    assert same((out, lse), expected[:2])
    assert out.transpose(0, 2, 1, 3).flags.c_contiguous
    gradient = np.full_like(buffer, 7)
    attention_backward(g, *views, out, lse, 0.3, 0, *parts(gradient))
    assert same(parts(gradient), expected[2:])


def test_gradients_lie_as_what_they_belong_to():
    q, k, v, g = qkv(2, 4, 2, 9, 9, 8, np.float32)
    q = np.ascontiguousarray(q.swapaxes(1, 2)).swapaxes(1, 2)
    v = np.broadcast_to(v[:, :1], v.shape)  # has no order of its own
    _, _, gq, gk, gv = forward_and_backward(q, k, v, g, 0.3, 0)
    assert gq.strides == q.strides and gk.strides == k.strides and gv.flags.c_contiguous
    plain = forward_and_backward(*map(np.ascontiguousarray, (q, k, v, g)), 0.3, 0)
    assert same((gq, gk, gv), plain[2:])


def test_keys_that_nobody_sees_do_not_matter():
    T = 30
    q, k, v, g = qkv(1, 1, 1, T, T, 8, np.float32)
    before = forward_and_backward(q, k, v, g, 0.3, 0)
    k[:, :, 20:], v[:, :, 20:] = 1e4, -3e4
    after = forward_and_backward(q, k, v, g, 0.3, 0)
    assert same([x[:, :, :20] for x in before[:3]], [x[:, :, :20] for x in after[:3]])
    absent = attention(q[:, :, :20], k[:, :, :20], v[:, :, :20], 0.3, 0)
    assert same(absent, [x[:, :, :20] for x in after[:2]])


def test_a_query_without_keys_gets_zeros_and_passes_no_gradient():
    q, k, v, g = qkv(1, 2, 2, 20, 7, 8, np.float32)
    out, lse, gq, gk, gv = forward_and_backward(q, k, v, g, 0.3, -13)
    assert (out[:, :, :13] == 0).all() and (lse[:, :, :13] == -np.inf).all()
    assert (gq[:, :, :13] == 0).all()
    seeing = forward_and_backward(q[:, :, 13:], k, v, g[:, :, 13:], 0.3, 0)
    assert same(seeing, (out[:, :, 13:], lse[:, :, 13:], gq[:, :, 13:], gk, gv))


def test_huge_scores_do_not_overflow():
    q, k, v, g = qkv(1, 1, 1, 20, 20, 8, np.float32)
    q *= 1e18
    k *= 1e18
    results = forward_and_backward(q, k, v, g, 1.0, 0)
    assert np.isfinite(results[0]).all() and np.isfinite(results[1]).all()
    best = naive.attention(q.astype(np.float64), k.astype(np.float64), v, 1.0, 0)[2].argmax(-1)
    assert np.array_equal(results[0][0, 0], v[0, 0, best[0, 0]])


def test_nan_stays_in_its_row():
    q, k, v, _ = qkv(1, 1, 1, 20, 20, 8, np.float32)
    clean = attention(q, k, v, 0.3, 0)[0]
    q[0, 0, 7, 3] = np.nan
    out = attention(q, k, v, 0.3, 0)[0]
    assert np.isnan(out[0, 0, 7]).all()
    assert same([np.delete(out, 7, 2)], [np.delete(clean, 7, 2)])


@pytest.mark.parametrize("shape", [(0, 1, 1, 2, 2, 4), (1, 1, 1, 0, 2, 4), (1, 1, 1, 2, 0, 4)])
def test_empty_sizes_give_zeros_of_the_right_shapes(shape):
    q, k, v, g = qkv(*shape, np.float32)
    results = forward_and_backward(q, k, v, g, 1.0, 0)
    assert [x.shape for x in results] == [q.shape, q.shape[:3], q.shape, k.shape, v.shape]
    assert not any(x.any() for i, x in enumerate(results) if i != 1)


def test_memory_is_linear_in_the_length():
    code = """
import resource, numpy as np
from tensorlite.kernels.attention import attention
from tensorlite.kernels.attention_backward import attention_backward
def run(T):
    q = np.ones((1, 1, T, 16), np.float32)
    out, lse = attention(q, q, q, 0.1, 0)
    attention_backward(q, q, q, q, out, lse, 0.1, 0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(run(8), run(16384))
"""
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    ).stdout
    small, large = map(int, output.split())
    assert large - small < 64 * 1024  # KB; all scores would take 1 GB


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("H", "T", "S"), [(4, 20, 20), (8, 5, 9), (4, 9, 5), (4, 40, 110)])
def test_many_heads_that_share_a_task_have_the_bits_of_each_alone(H, T, S, threads):
    B, G, D = 20, 4, 8
    q, k, v, g = qkv(B, H, G, T, S, D, np.float32)
    together = on_threads(threads, forward_and_backward, q, k, v, g, 0.5, S - T)
    for b in range(B):
        alone = forward_and_backward(*(x[b : b + 1] for x in (q, k, v, g)), 0.5, S - T)
        assert same([x[b : b + 1] for x in together], alone)
