"""The optimizers' kernels: their formulas, their edges, and the same bits on every thread count."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import naive
from tensorlite.kernels import jit, optimizer

SIZES = [0, 1, 3, 7, 8, 15, 16, 17, 63, 65, optimizer.BLOCK - 1, optimizer.BLOCK + 1]
SIZES += [2 * optimizer.BLOCK, 3 * optimizer.BLOCK + 5]
DTYPES = [np.float32, np.float64]
ADAMW = {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}
SGD = {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}


def close(dtype):
    return {"rtol": 2e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-14}


def random(sizes, dtype, seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(n).astype(dtype) for n in sizes]


def on_threads(n, function, *args, **keywords):
    before = jit.get_num_threads()
    jit.set_num_threads(n)
    try:
        return function(*args, **keywords)
    finally:
        jit.set_num_threads(before)


sizes = st.lists(st.sampled_from(SIZES), min_size=1, max_size=5)


@pytest.mark.parametrize("dtype", DTYPES)
@given(sizes=sizes, step=st.integers(1, 1000), decoupled=st.booleans())
def test_adamw_is_its_formula(dtype, sizes, step, decoupled):
    p, g, m, v = (random(sizes, dtype, seed) for seed in range(4))
    v = [x * x for x in v]
    options = {**ADAMW, "step": step, "decoupled": decoupled}
    expected = [naive.adamw(*one, **options) for one in zip(p, g, m, v, strict=True)]
    gradients = [x.copy() for x in g]
    optimizer.adamw_(p, g, m, v, **options)
    for got, wanted in zip(zip(p, m, v, strict=True), expected, strict=True):
        for x, y in zip(got, wanted, strict=True):
            np.testing.assert_allclose(x, y, **close(dtype))
    for x, y in zip(g, gradients, strict=True):
        assert np.array_equal(x, y)


@pytest.mark.parametrize("decoupled", [True, False])
def test_adamw_follows_pytorch(decoupled):
    torch = pytest.importorskip("torch")
    p = random([1000, 7], np.float32, 0)
    m, v = ([np.zeros_like(x) for x in p] for _ in range(2))
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in p]
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    other = kind(theirs, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(1, 6):
        g = random([1000, 7], np.float32, step)
        for x, y in zip(theirs, g, strict=True):
            x.grad = torch.tensor(y)
        other.step()
        optimizer.adamw_(p, g, m, v, **ADAMW, step=step, decoupled=decoupled)
    for x, y in zip(p, theirs, strict=True):
        np.testing.assert_allclose(x, y.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@given(sizes=sizes, nesterov=st.booleans())
def test_sgd_is_its_formula(dtype, sizes, nesterov):
    p, g, b = (random(sizes, dtype, seed) for seed in range(3))
    options = {**SGD, "nesterov": nesterov}
    expected = [naive.sgd(*one, **options) for one in zip(p, g, b, strict=True)]
    optimizer.sgd_(p, g, b, **options)
    for got, wanted in zip(zip(p, b, strict=True), expected, strict=True):
        for x, y in zip(got, wanted, strict=True):
            np.testing.assert_allclose(x, y, **close(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@given(sizes=sizes)
def test_sum_of_squares_and_scale_are_their_formulas(dtype, sizes):
    x = random(sizes, dtype, 0)
    wide = sum(float((y.astype(np.float64) ** 2).sum()) for y in x)
    assert optimizer.sum_of_squares(x) == pytest.approx(
        wide, rel=1e-6 if dtype == np.float32 else 1e-12
    )
    expected = [y * dtype(0.37) for y in x]
    optimizer.scale_(x, 0.37)
    for y, z in zip(x, expected, strict=True):
        assert np.array_equal(y, z)


@given(sizes=sizes)
def test_threads_do_not_change_a_bit(sizes):
    sizes = [*sizes, 5 * optimizer.BLOCK + 3]  # large enough for two threads
    results = []
    for threads in (1, 2):
        p, g, m, v = (random(sizes, np.float32, seed) for seed in range(4))
        v = [x * x for x in v]
        norm = on_threads(threads, optimizer.sum_of_squares, g)
        on_threads(threads, optimizer.scale_, g, 0.5)
        on_threads(threads, optimizer.adamw_, p, g, m, v, **ADAMW, step=3)
        on_threads(threads, optimizer.sgd_, p, g, m, **SGD, nesterov=False)
        results.append((norm, np.concatenate([*p, *g, *m, *v])))
    assert results[0][0] == results[1][0]
    assert np.array_equal(results[0][1], results[1][1])


@given(sizes=sizes)
def test_a_parameter_steps_the_same_alone_and_among_others(sizes):
    def step(which):
        p, g, m, v = ([random(sizes, np.float32, s)[i] for i in which] for s in range(4))
        v = [x * x for x in v]
        optimizer.adamw_(p, g, m, v, **ADAMW, step=2)
        return p

    together = step(range(len(sizes)))
    for i, x in enumerate(together):
        assert np.array_equal(step([i])[0], x)


def test_nothing_beyond_the_arrays_is_touched():
    room = [np.full(40, 7.0, np.float32) for _ in range(4)]
    views = [[x[8:27]] for x in room]
    optimizer.adamw_(*views, **ADAMW, step=1)
    for x in room:
        assert (x[:8] == 7).all() and (x[27:] == 7).all()
    assert (room[0][8:27] != 7).all()


def test_an_infinite_gradient_shows():
    g = [np.array([1, np.inf], np.float32), np.array([np.nan], np.float32)]
    assert optimizer.sum_of_squares(g[:1]) == np.inf
    assert np.isnan(optimizer.sum_of_squares(g))


def test_empty_lists_are_fine():
    assert optimizer.sum_of_squares([]) == 0.0
    optimizer.scale_([], 2.0)
    optimizer.adamw_([], [], [], [], **ADAMW, step=1)
    optimizer.sgd_([], [], [], **SGD, nesterov=False)
