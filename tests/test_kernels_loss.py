"""Cross-entropy, alone and fused with its projection, and the embedding's gradient: against their
formulas, and their bits against cutting."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tensorlite.kernels import cross_entropy as loss, jit, simd
from tensorlite.kernels.rows import STRIP, embedding_backward_, put_rows

W = simd.REGISTER_BITS // 32
WIDTHS = [1, 2, W - 1, W, W + 1, 4 * W, 4 * W + 1, 65, 200]
ROWS = [1, loss.ROWS - 1, loss.ROWS, loss.ROWS + 1, 60]
DTYPES = [np.float32, np.float64]
IGNORE = -100


def random(*shape, dtype=np.float32, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def draw_targets(rows, vocabulary, seed=0):
    """Targets of which some are ignored."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, vocabulary, rows)
    targets[rng.random(rows) < 0.2] = IGNORE
    return targets


def naive(x, targets, smoothing):
    """Losses and gradients of the logits, row by row."""
    x = x.astype(np.longdouble)
    losses, gradients = np.zeros(len(x), x.dtype), np.zeros_like(x)
    for r, t in enumerate(targets):
        if t == IGNORE:
            continue
        lse = np.log(np.exp(x[r] - x[r].max()).sum()) + x[r].max()
        losses[r] = (1 - smoothing) * (lse - x[r, t]) + smoothing * (lse - x[r]).mean()
        gradients[r] = np.exp(x[r] - lse) - smoothing / x.shape[1]
        gradients[r, t] -= 1 - smoothing
    return losses, gradients


def gradient(g, x, targets, smoothing):
    _, lse = loss.cross_entropy(x, targets, IGNORE, smoothing)
    return loss.cross_entropy_backward(g, x, targets, IGNORE, smoothing, lse)


def close(dtype):
    return {"rtol": 1e-5, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-13, "atol": 1e-13}


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    rows=st.sampled_from(ROWS),
    n=st.sampled_from(WIDTHS),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    scale=st.sampled_from([1e-4, 1, 30]),
)
def test_cross_entropy_and_its_gradient_follow_the_formula(dtype, rows, n, smoothing, scale):
    x = random(rows, n, dtype=dtype, seed=1) * dtype(scale)
    targets = draw_targets(rows, n)
    g = random(rows, dtype=dtype, seed=2)
    losses, gradients = naive(x, targets, smoothing)
    before = x.copy()
    np.testing.assert_allclose(
        loss.cross_entropy(x, targets, IGNORE, smoothing)[0], losses, **close(dtype)
    )
    gx = gradient(g, x, targets, smoothing)
    np.testing.assert_allclose(gx, gradients * g[:, None], **close(dtype))
    assert np.array_equal(x, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunk", [1, 48 * 30, 1 << 23])
@given(
    rows=st.sampled_from([1, 47, 48, 49, 130]),
    vocabulary=st.sampled_from([1, 30, 65]),
    smoothing=st.sampled_from([0.0, 0.2]),
)
def test_the_fused_loss_is_the_loss_of_the_product(dtype, chunk, rows, vocabulary, smoothing):
    x, weight = random(rows, 20, dtype=dtype, seed=1), random(vocabulary, 20, dtype=dtype, seed=2)
    targets = draw_targets(rows, vocabulary)
    before, loss.CHUNK = loss.CHUNK, chunk
    try:
        ours = loss.linear_cross_entropy(x, weight, targets, IGNORE, smoothing, 0.5, (True, True))
        without = loss.linear_cross_entropy(
            x, weight, targets, IGNORE, smoothing, 0.5, (False, False)
        )
    finally:
        loss.CHUNK = before
    losses, gradients = naive(x.astype(np.longdouble) @ weight.T, targets, smoothing)
    gradients *= 0.5
    for mine, theirs in zip(ours, (losses, gradients @ weight, gradients.T @ x), strict=True):
        np.testing.assert_allclose(mine, theirs, **close(dtype))
    assert without[1] is None and without[2] is None
    assert np.array_equal(without[0], ours[0])


@given(rows=st.sampled_from(ROWS), n=st.sampled_from([65, 1000]), data=st.data())
def test_threads_and_other_rows_do_not_change_a_bit(rows, n, data):
    x, g, targets = random(rows, n, seed=1), random(rows, seed=2), draw_targets(rows, n)
    hidden, weight = random(rows, 40, seed=3), random(n, 40, seed=4)

    def everything():
        return [
            *loss.cross_entropy(x, targets, IGNORE, 0.1),
            gradient(g, x, targets, 0.1),
            *loss.linear_cross_entropy(hidden, weight, targets, IGNORE, 0.1, 1.0, (True, True)),
        ]

    jit.set_num_threads(1)
    one = everything()
    jit.set_num_threads(2)
    two = everything()
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a, b)
    row = slice(r := data.draw(st.integers(0, rows - 1)), r + 1)
    assert np.array_equal(loss.cross_entropy(x[row], targets[row], IGNORE, 0.1)[0], one[0][row])
    fused = loss.linear_cross_entropy(
        hidden[row], weight, targets[row], IGNORE, 0.1, 1.0, (True, False)
    )
    assert np.array_equal(fused[0], one[3][row]) and np.array_equal(fused[1], one[4][row])


def test_masked_huge_and_broken_logits_behave():
    x = np.zeros((4, 40), np.float32)
    x[0, 1:] = -np.inf  # all certainty on the target
    x[1, 3] = 1e30
    x[2, 5] = np.nan
    x[3, 0] = -np.inf  # an impossible target
    targets = np.array([0, 3, 0, 0])
    losses, _ = loss.cross_entropy(x, targets, IGNORE, 0.0)
    assert losses[0] == 0 and losses[1] == 0 and np.isnan(losses[2]) and losses[3] == np.inf
    gx = gradient(np.ones(4, np.float32), x, targets, 0.0)
    assert not gx[:2].any() and np.isnan(gx[2]).any() and np.isfinite(gx[3]).all()


def test_an_ignored_row_of_nans_has_no_gradient():
    x = np.full((1, 20), np.nan, np.float32)
    targets = np.array([IGNORE])
    assert loss.cross_entropy(x, targets, IGNORE, 0.1)[0].tolist() == [0]
    assert not gradient(np.ones(1, np.float32), x, targets, 0.1).any()


def test_without_rows_there_is_no_loss_and_no_gradient():
    x, targets = np.ones((0, 7), np.float32), np.zeros(0, np.int64)
    weight = np.ones((9, 7), np.float32)
    losses, gx, gw = loss.linear_cross_entropy(x, weight, targets, IGNORE, 0, 1, (True, True))
    assert losses.shape == (0,) and gx.shape == (0, 7) and not gw.any()
    assert gradient(losses, x, targets, 0).shape == (0, 7)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    rows=st.sampled_from([0, 1, 5, 300]),
    columns=st.sampled_from([1, W, STRIP - 1, STRIP, 2 * STRIP + 3]),
    vocabulary=st.sampled_from([1, 3, 50]),
)
def test_embedding_gradients_add_up_in_order_of_position(dtype, rows, columns, vocabulary):
    g = random(rows, columns, dtype=dtype, seed=1)
    ids = np.random.default_rng(2).integers(0, vocabulary, rows)
    before = random(vocabulary, columns, dtype=dtype, seed=3)
    expected = before.copy()
    for r, v in enumerate(ids):
        expected[v] += g[r]
    for threads in (1, 2):
        jit.set_num_threads(threads)
        gw = before.copy()
        embedding_backward_(gw, g, ids)
        assert np.array_equal(gw, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    heads=st.sampled_from([(1, 1), (2, 3), (1, 12)]),
    count=st.sampled_from([1, 2, 200]),
    room=st.sampled_from([1, 7, 300]),
    width=st.sampled_from([1, W - 1, W, W + 1, 2 * W + 3]),
    spread=st.sampled_from([1, 2]),
)
def test_rows_are_put_where_numbers_point_in_ascending_order(
    dtype, heads, count, room, width, spread
):
    before = random(*heads, spread * room, width, dtype=dtype, seed=1)
    source = random(*heads, spread * count, width, dtype=dtype, seed=2)[:, :, ::spread]
    rows = np.random.default_rng(3).integers(0, room, count)
    expected = before.copy()
    for t, row in enumerate(rows):
        expected[:, :, row * spread] = source[:, :, t]
    for threads in (1, 2):
        jit.set_num_threads(threads)
        x = before.copy()
        assert put_rows(x[:, :, ::spread], rows, source)
        assert np.array_equal(x, expected)


def test_rows_that_the_kernel_cannot_put_are_left_to_others():
    x = np.zeros((1, 2, 4, 3), np.float32)
    rows, source = np.array([1]), np.ones((1, 2, 1, 3), np.float32)
    read_only = x.copy()
    read_only.flags.writeable = False
    assert not put_rows(x, rows, source.astype(np.float64))
    assert not put_rows(x, rows, source[:, :1])
    assert not put_rows(x, rows, x[:, :, 2:3])
    assert not put_rows(x, rows.astype(np.int32), source)
    assert not put_rows(x, np.arange(4)[1::3][:1], np.ones((1, 2, 1, 6))[..., ::2])
    assert not put_rows(read_only, rows, source)
    assert not x.any()
    # Captured rows may change behind the checks: a kernel writes into no other array.
    assert put_rows(x[:, :, 1:3], np.array([-1]), source)
    assert put_rows(x[:, :, 1:3], np.array([2]), source)
    assert not x.any()


def test_equal_logits_share_the_gradient_however_large_they_are():
    for size in (0.0, 1e4, 1e8):
        x, targets = np.full((1, 2), size, np.float32), np.array([0])
        assert gradient(np.ones(1, np.float32), x, targets, 0.0).tolist() == [[-0.5, 0.5]]
