"""Losses as users call them: PyTorch's values and gradients, the fused projection, misuse."""

import itertools

import numpy as np
import pytest

import tensorlite as tl
from tensorlite.nn import functional as F
from tensorlite.testing import gradcheck

REDUCTIONS = ["mean", "sum", "none"]


def random(shape, seed, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def draw_ids(shape, below, seed=0):
    """Class ids, among them -100, which PyTorch ignores."""
    ids = np.random.default_rng(seed).integers(0, below, shape)
    ids.reshape(-1)[::5] = -100
    return ids


def probabilities(shape, axis):
    p = np.exp(random(shape, 7))
    return p / p.sum(axis, keepdims=True)


WEIGHT = np.abs(random(9, 5))
IDS, PICTURE = draw_ids(12, 9), draw_ids((3, 4, 5), 9)
CASES = {
    "rows": ((12, 9), IDS, {}),
    "smoothed": ((12, 9), IDS, {"label_smoothing": 0.1}),
    "weighted": ((12, 9), IDS, {"weight": WEIGHT}),
    "weighted and smoothed": ((12, 9), IDS, {"weight": WEIGHT, "label_smoothing": 0.1}),
    "another id ignored": ((12, 9), np.abs(IDS) % 9, {"ignore_index": 3}),
    "one row": ((9,), np.array(4), {}),
    "pictures": ((3, 9, 4, 5), PICTURE, {}),
    "weighted pictures": ((3, 9, 4, 5), PICTURE, {"weight": WEIGHT, "label_smoothing": 0.2}),
    "probabilities": ((12, 9), probabilities((12, 9), 1), {}),
    "smoothed probabilities": ((12, 9), probabilities((12, 9), 1), {"label_smoothing": 0.1}),
    "weighted probabilities": ((12, 9), probabilities((12, 9), 1), {"weight": WEIGHT}),
    "pictures of probabilities": ((2, 9, 4), probabilities((2, 9, 4), 1), {}),
    "everything ignored": ((4, 9), np.full(4, -100), {}),
    "no rows": ((0, 9), np.zeros(0, np.int64), {}),
}


def value_and_gradient(library, function, x, target, options):
    options = {k: library.tensor(v) if k == "weight" else v for k, v in options.items()}
    x = library.tensor(x, requires_grad=True)
    y = function(x, library.tensor(target), **options)
    (y * y).sum().backward()
    return y.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize(("case", "reduction"), list(itertools.product(CASES, REDUCTIONS)))
def test_cross_entropy_is_that_of_torch(case, reduction):
    torch = pytest.importorskip("torch")
    shape, target, options = CASES[case]
    arguments = random(shape, 1) * 3, target, {**options, "reduction": reduction}
    theirs = value_and_gradient(torch, torch.nn.functional.cross_entropy, *arguments)
    for x, y in zip(value_and_gradient(tl, F.cross_entropy, *arguments), theirs, strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "reduction"),
    list(itertools.product(["rows", "weighted", "pictures", "everything ignored"], REDUCTIONS)),
)
def test_nll_loss_is_that_of_torch(case, reduction):
    torch = pytest.importorskip("torch")
    shape, target, options = CASES[case]
    arguments = random(shape, 1), target, {**options, "reduction": reduction}
    theirs = value_and_gradient(torch, torch.nn.functional.nll_loss, *arguments)
    for x, y in zip(value_and_gradient(tl, F.nll_loss, *arguments), theirs, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_probabilities_may_want_a_gradient_too():
    x = tl.tensor(random((3, 5), 1, np.float64), requires_grad=True)
    p = tl.tensor(np.abs(random((3, 5), 2, np.float64)), requires_grad=True)
    assert gradcheck(lambda x, p: F.cross_entropy(x, p, label_smoothing=0.1), (x, p))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_fused_projection_gives_the_loss_of_its_logits(reduction, smoothing):
    x, weight, ids = random((3, 4, 6), 1), random((9, 6), 2), draw_ids((3, 4), 9)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    results = []
    for fused in (True, False):
        a, w = (tl.tensor(y, requires_grad=True) for y in (x, weight))
        if fused:
            loss = F.linear_cross_entropy(a, w, tl.tensor(ids), **options)
        else:
            logits = F.linear(a, w).view(12, 9)
            loss = F.cross_entropy(logits, tl.tensor(ids.reshape(-1)), **options)
            loss = loss.view(3, 4) if reduction == "none" else loss
        (loss * 3).sum().backward()
        results.append([y.numpy() for y in (loss.detach(), a.grad, w.grad)])
    for one, other in zip(*results, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_fused_projection_skips_gradients_that_nobody_wants():
    x, w = tl.tensor(random((5, 6), 1)), tl.tensor(random((9, 6), 2), requires_grad=True)
    ids = tl.tensor(np.arange(5))
    F.linear_cross_entropy(x, w, ids).backward()
    assert x.grad is None and w.grad.shape == (9, 6)
    with tl.no_grad():
        assert not F.linear_cross_entropy(x, w, ids).requires_grad


def test_the_fused_loss_can_be_differentiated_twice():
    x = tl.tensor(random((3, 4), 1, np.float64), requires_grad=True)
    w = tl.tensor(random((5, 4), 2, np.float64), requires_grad=True)
    ids = tl.tensor(np.array([1, -100, 4]))

    def slopes(x, w):
        loss = F.linear_cross_entropy(x, w, ids, label_smoothing=0.1)
        return tl.autograd.grad(loss * loss, (x, w), create_graph=True)

    assert gradcheck(slopes, (x, w))


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (np.array([0, 9, 1]), IndexError, r"must lie in \[0, 9\).*got 9 at \(1,\)"),
        (np.array([0, 1, -1]), IndexError, r"got -1 at \(2,\)"),
        (np.array([0, 1]), RuntimeError, r"\(3,\), got \(2,\)"),
        (np.array([0.0, 1.0, 2.0], np.float32), RuntimeError, "must be integers, got float32"),
    ],
)
def test_bad_targets_are_explained(loss, ids, error, message):
    with pytest.raises(error, match=message):
        loss(tl.zeros(3, 9), tl.tensor(ids))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"reduction": "avg"}, "got 'avg'"), ({"label_smoothing": 1.5}, r"lie in \[0, 1\], got 1.5")],
)
def test_bad_options_are_explained(options, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        F.cross_entropy(tl.zeros(3, 9), tl.zeros(3, dtype=tl.int64), **options)
    with pytest.raises((RuntimeError, ValueError), match=message):
        F.linear_cross_entropy(
            tl.zeros(3, 4), tl.zeros(9, 4), tl.zeros(3, dtype=tl.int64), **options
        )


def test_the_fused_projection_explains_sizes_that_do_not_fit():
    with pytest.raises(RuntimeError, match=r"\(3, 4\), \(9, 5\)"):
        F.linear_cross_entropy(tl.zeros(3, 4), tl.zeros(9, 5), tl.zeros(3, dtype=tl.int64))
    with pytest.raises(RuntimeError, match="float"):
        F.linear_cross_entropy(
            tl.zeros(3, 4), tl.zeros(9, 4, dtype=tl.float64), tl.zeros(3, dtype=tl.int64)
        )


def test_mixed_types_are_explained():
    with pytest.raises(RuntimeError, match="cross_entropy"):
        F.cross_entropy(tl.zeros(3, 9, dtype=tl.int64), tl.zeros(3, dtype=tl.int64))
