"""Attention as users call it: PyTorch's function, ours, masks, and misuse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite as tl
from tensorlite.nn import functional as F
from tensorlite.ops.join import split
from tensorlite.testing import gradcheck


def random(shape, seed, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def some_mask(seed=9):
    """Random, but one query sees no key and another all."""
    mask = np.random.default_rng(seed).random((5, 7)) < 0.5
    mask[0], mask[1] = False, True
    return mask


QUERY, KEY = (2, 4, 5, 8), (2, 4, 7, 8)
TWO_HEADS = (2, 2, 7, 8)
CAUSAL, GQA = {"is_causal": True}, {"enable_gqa": True}
CASES = {
    "all keys": (QUERY, KEY, KEY, {}),
    "causal": (QUERY, KEY, KEY, CAUSAL),
    "causal, more queries than keys": (KEY, QUERY, QUERY, CAUSAL),
    "scale": (QUERY, KEY, KEY, {**CAUSAL, "scale": 0.3}),
    "two axes": ((5, 8), (7, 8), (7, 8), CAUSAL),
    "three axes": ((3, 5, 8), (3, 7, 8), (3, 7, 8), CAUSAL),
    "five axes": ((2, 1, 3, 5, 8), (2, 1, 3, 7, 8), (2, 1, 3, 7, 8), CAUSAL),
    "wider values": (QUERY, KEY, (2, 4, 7, 11), CAUSAL),
    "wide heads": ((1, 2, 5, 300), (1, 2, 5, 300), (1, 2, 5, 300), CAUSAL),
    "shared keys": (QUERY, TWO_HEADS, TWO_HEADS, {**GQA, **CAUSAL}),
    "shared keys under a mask": (QUERY, TWO_HEADS, TWO_HEADS, {**GQA, "attn_mask": some_mask()}),
    "one head of keys": (QUERY, (2, 1, 7, 8), (2, 1, 7, 8), {}),
    "one batch of keys": (QUERY, (1, 4, 7, 8), (1, 4, 7, 8), {}),
    "boolean mask": (QUERY, KEY, KEY, {"attn_mask": some_mask()}),
    "boolean mask and causal": (QUERY, KEY, KEY, {**CAUSAL, "attn_mask": some_mask()}),
    "added mask": (QUERY, KEY, KEY, {"attn_mask": random((2, 1, 5, 7), 3)}),
    "added mask of -inf": (
        QUERY, KEY, KEY, {"attn_mask": np.where(some_mask(), np.float32(0), np.float32(-np.inf))},
    ),
    "everything dropped": (QUERY, KEY, KEY, {"dropout_p": 1.0}),
    "dropout": (QUERY, KEY, KEY, {"dropout_p": 0.4}),
}  # fmt: skip


def value_and_gradients(library, function, arrays, options):
    library.manual_seed(5)
    inputs = [library.tensor(x, requires_grad=True) for x in arrays]
    options = {k: library.tensor(v) if k == "attn_mask" else v for k, v in options.items()}
    y = function(*inputs, **options)
    (y * y).sum().backward()
    return [y.detach().numpy(), *(x.grad.numpy() for x in inputs)]


@pytest.mark.parametrize("case", CASES)
def test_scaled_dot_product_attention_is_that_of_torch(case):
    torch = pytest.importorskip("torch")
    *shapes, options = CASES[case]
    arrays = [random(shape, seed) for seed, shape in enumerate(shapes)]
    theirs = torch.nn.functional.scaled_dot_product_attention
    ours = value_and_gradients(tl, F.scaled_dot_product_attention, arrays, options)
    for x, y in zip(ours, value_and_gradients(torch, theirs, arrays, options), strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("case", ["boolean mask", "added mask", "shared keys under a mask"])
def test_gradients_under_masks_are_slopes(case):
    *shapes, options = CASES[case]
    inputs = [tl.tensor(random(s, i, np.float64)) for i, s in enumerate(shapes)]
    mask = tl.tensor(options["attn_mask"])
    shared = case.startswith("shared")

    def function(*qkv):
        return F.scaled_dot_product_attention(*qkv, attn_mask=mask, enable_gqa=shared)

    assert gradcheck(function, [x.requires_grad_() for x in inputs])


def test_causal_attention_lets_the_last_query_see_all_keys():
    q, k, v = (
        tl.tensor(random(s, i)) for i, s in enumerate([(1, 2, 3, 8), (1, 2, 7, 8), (1, 2, 7, 8)])
    )
    y = F.causal_attention(q, k, v)
    mask = tl.tensor(np.tril(np.ones((3, 7), np.bool_), 4))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [32, 300])
def test_causal_attention_in_chunks_gives_the_bits_of_the_whole(width):
    q, k, v = (tl.tensor(random((2, 2, 40, width), i)) for i in range(3))
    whole = F.causal_attention(q, k, v).numpy()
    for start, stop in [(0, 1), (0, 7), (7, 8), (8, 40), (39, 40)]:
        part = F.causal_attention(q[:, :, start:stop], k[:, :, :stop], v[:, :, :stop])
        assert np.array_equal(part.numpy(), whole[:, :, start:stop])


@pytest.mark.parametrize("dim", [-1, 1])
def test_gradients_of_one_cut_array_are_joined_without_a_copy(dim):
    whole = random((2, 10, 64), 0)
    ends = np.cumsum([0, 4, 4, 2] if dim == 1 else [0, 32, 16, 16])
    pieces = tuple(np.split(whole, ends[1:-1], axis=dim))
    joined = split.op.vjp(pieces, dim)
    assert np.shares_memory(joined, whole) and np.array_equal(joined, whole)
    some = split.op.vjp(pieces[:2], dim)
    assert np.shares_memory(some, whole)
    assert np.array_equal(some, np.concatenate(pieces[:2], dim))
    for other in [pieces[::-1], (*pieces[:2], pieces[2].copy()), pieces[::2], (pieces[0], *pieces)]:
        joined = split.op.vjp(other, dim)
        assert not np.shares_memory(joined, whole)
        assert np.array_equal(joined, np.concatenate(other, dim))


def test_gradients_of_heads_that_lie_in_another_order_are_joined_without_a_copy():
    whole = random((2, 10, 8, 4), 0).transpose(0, 2, 1, 3)
    joined = split.op.vjp((whole[:, :5], whole[:, 5:7], whole[:, 7:]), 1)
    assert np.shares_memory(joined, whole) and np.array_equal(joined, whole)


def test_attention_of_one_projection_has_the_gradients_of_separate_ones():
    B, T, heads, D = 2, 10, (4, 2, 2), 8
    x = tl.tensor(random((B, T, sum(heads) * D), 1), requires_grad=True)

    def attend(pieces):
        q, k, v = (x.view(B, T, -1, D).transpose(1, 2) for x in pieces)
        y = F.causal_attention(q, k, v)
        (y * y).sum().backward()

    widths = [h * D for h in heads]
    attend(x.split(widths, dim=-1))
    parts = [tl.tensor(p.detach().numpy().copy(), requires_grad=True) for p in x.split(widths, -1)]
    attend(parts)
    assert np.array_equal(x.grad.numpy(), np.concatenate([p.grad.numpy() for p in parts], -1))


def test_second_derivatives_pass_through_masks_and_sharing():
    shapes = [(1, 2, 3, 2), (1, 1, 3, 2), (1, 1, 3, 2)]
    inputs = [tl.tensor(random(s, i, np.float64), requires_grad=True) for i, s in enumerate(shapes)]

    def slopes(*qkv):
        y = F.causal_attention(*qkv)
        return tl.autograd.grad((y * y).sum(), qkv, create_graph=True)

    assert gradcheck(slopes, inputs)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 4, 5, 8), (1, 2, 7, 8), (1, 2, 7, 8)], {}, "as many heads, got 4 and 2"),
        ([(1, 3, 5, 8), (1, 2, 7, 8), (1, 2, 7, 8)], GQA, "multiple of key heads, got 3 and 2"),
        ([(1, 2, 5, 8), (1, 2, 7, 9), (1, 2, 7, 9)], {}, "one width"),
        ([(1, 2, 5, 8), (1, 2, 7, 8), (1, 2, 6, 8)], {}, "one length"),
        ([(5, 8), (1, 7, 8), (1, 7, 8)], {}, "as many axes"),
        (
            [(1, 2, 5, 8), (1, 2, 7, 8), (1, 2, 7, 8)],
            {"attn_mask": np.ones((5, 7), np.int64)},
            "attn_mask must be boolean or floating, got tensorlite.int64",
        ),
    ],
)
def test_misuse_of_scaled_dot_product_attention_is_explained(shapes, options, message):
    options = {k: tl.tensor(v) if k == "attn_mask" else v for k, v in options.items()}
    with pytest.raises(RuntimeError, match=message):
        F.scaled_dot_product_attention(*(tl.zeros(s) for s in shapes), **options)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(4, 5, 8), (4, 7, 8), (4, 7, 8)], r"takes \(B, H, T, D\)"),
        ([(1, 3, 5, 8), (1, 2, 7, 8), (1, 2, 7, 8)], "multiple of key heads, got 3 and 2"),
        ([(1, 2, 7, 8), (1, 2, 5, 8), (1, 2, 5, 8)], "got 7 queries and 5 keys"),
    ],
)
def test_misuse_of_causal_attention_is_explained(shapes, message):
    with pytest.raises(RuntimeError, match=message):
        F.causal_attention(*(tl.zeros(s) for s in shapes))


def test_types_must_agree():
    q, k = tl.zeros(1, 1, 2, 4), tl.zeros(1, 1, 2, 4, dtype=tl.float64)
    with pytest.raises(RuntimeError, match="one floating dtype"):
        F.causal_attention(q, k, k)


def test_heads_are_split_and_merged_without_a_copy():
    x = tl.randn(2, 3, 8 * 5).requires_grad_()
    q, k, v = F.split_heads(x, [4, 2, 2])
    assert [tuple(y.shape) for y in (q, k, v)] == [(2, 4, 3, 5), (2, 2, 3, 5), (2, 2, 3, 5)]
    assert all(np.shares_memory(y.array, x.array) for y in (q, k, v))
    y = F.causal_attention(q, k, v)
    assert np.shares_memory(F.merge_heads(y).array, y.array)
    whole = np.ones((2, 3, 8, 5), np.float32).transpose(0, 2, 1, 3)  # as attention makes it
    joined = F.split_heads.op.vjp((whole[:, :4], whole[:, 4:6], whole[:, 6:]))
    assert joined.shape == x.shape and np.shares_memory(joined, whole)


@pytest.mark.parametrize(
    ("shape", "heads"),
    [((2, 3, 16), [3, 2]), ((3, 16), [4]), ((2, 3, 16), []), ((2, 3, 4), [-1, 5])],
)
def test_heads_that_do_not_fit_are_refused(shape, heads):
    with pytest.raises(RuntimeError, match="split_heads: the last of three axes must hold"):
        F.split_heads(tl.ones(shape), heads)
    with pytest.raises(RuntimeError, match="merge_heads: takes"):
        F.merge_heads(tl.ones(shape))


@given(
    T=st.integers(1, 5), more=st.integers(0, 300), room=st.integers(0, 300),
    heads=st.sampled_from([(1, 1), (4, 2), (3, 1)]), width=st.sampled_from([1, 8, 300]),
)  # fmt: skip
@settings(max_examples=25)
def test_a_length_gives_the_bits_of_so_many_keys(T, more, room, heads, width):
    S = T + more
    q = tl.randn(2, heads[0], T, width)
    k, v = (tl.randn(2, heads[1], S + room, width) for _ in range(2))
    k[:, :, S:], v[:, :, S:] = math.nan, math.inf
    length = tl.tensor([S])
    y = F.causal_attention(q, k, v, length=length)
    expected = F.causal_attention(q, k[:, :, :S], v[:, :, :S])
    assert y.numpy().tobytes() == expected.numpy().tobytes()
    gradients = []
    for cut in (False, True):
        leaves = [x.clone().requires_grad_() for x in (q, k, v)]
        a, b, c = leaves
        if cut:
            F.causal_attention(a, b[:, :, :S], c[:, :, :S]).sum().backward()
        else:
            F.causal_attention(a, b, c, length=length).sum().backward()
        gradients.append([x.grad.numpy().tobytes() for x in leaves])
    assert gradients[0] == gradients[1]


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (tl.tensor([3.0]), "length must be an int64 tensor of one element"),
        (tl.tensor([3, 4]), "length must be an int64 tensor of one element"),
        (3, "length must be an int64 tensor of one element"),
        (tl.tensor([1]), r"length must lie in \[T = 2, S = 5\], got 1"),
        (tl.tensor([6]), r"length must lie in \[T = 2, S = 5\], got 6"),
    ],
)
def test_a_length_that_cannot_be_is_explained(length, message):
    q, k = tl.zeros(1, 1, 2, 4), tl.zeros(1, 1, 5, 4)
    with pytest.raises(RuntimeError, match=f"causal_attention: {message}"):
        F.causal_attention(q, k, k, length=length)
