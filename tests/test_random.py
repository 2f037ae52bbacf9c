"""The same seed gives PyTorch's numbers, draw by draw; and what a generator's manners are.

Where torch is installed, draws are compared with its own; the recorded values hold without it.
"""

import copy
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, strategies as st

import tensorlite
from tensorlite.generator import CHUNK, Generator
from tensorlite.tensor import Tensor

# Call -> what torch 2.13 gives after manual_seed(123).
RECORDED = {
    "rand(5)": [0.296111941, 0.516562283, 0.251670718, 0.68855679, 0.0739724636],
    "rand(3, dtype=float64)": [0.368895870664273, 0.013365949855291825, 0.5917800383018739],
    "randn(3)": [-0.111467116, 0.120362945, -0.369634509],
    "randn(17)": [0.337370187, -1.02047193, -0.16895628],
    "randint(10, (6,))": [2, 9, 2, 0, 0, 2],
    "randint(-3, 2 ** 40, (2,))": [1093948758531, 542991746040],
    "randperm(8)": [6, 2, 1, 3, 4, 7, 0, 5],
    "empty(3).exponential_()": [0.460284412, 0.0134560782, 0.895949125],
    "empty(6).bernoulli_(0.5)": [1.0, 1.0, 0.0, 1.0, 1.0, 0.0],
    "tensor([0.1, 0.2, 0.3, 0.4]).multinomial(3)": [1, 3, 2],
}


def torch_for(call):
    """torch, if it draws this from its own stream; on Intel's CPUs some comes from elsewhere."""
    torch = pytest.importorskip("torch")
    for kind, canary in (("bernoulli", "bernoulli_"), ("exponential", "exponential_"),
                         ("multinomial", "exponential_")):  # fmt: skip
        if kind in call:
            states = []
            for library in (tensorlite, torch):
                generator = library.Generator().manual_seed(1)
                getattr(library.empty(64), canary)(generator=generator)
                states.append(generator.get_state().tolist())
            if states[0] != states[1]:
                pytest.skip(f"torch draws {canary} from Intel's library on this CPU")
    return torch


def evaluate(call, library):
    library.manual_seed(123)
    return eval("library." + call.replace("float64", "library.float64"))


@pytest.mark.parametrize("call", RECORDED)
def test_recorded_values_come_again(call):
    values = evaluate(call, tensorlite).numpy().reshape(-1)
    expected = RECORDED[call]
    np.testing.assert_allclose(values[: len(expected)], expected, rtol=5e-7)


@pytest.mark.parametrize("call", RECORDED)
def test_recorded_values_are_torchs(call):
    torch = torch_for(call)
    values = evaluate(call, torch).numpy().reshape(-1)
    np.testing.assert_allclose(values[: len(RECORDED[call])], RECORDED[call], rtol=5e-7)


SIZES = [0, 1, 2, 3, 15, 16, 17, 31, 32, 100, CHUNK - 1, CHUNK + 1, 2 * CHUNK + 7]
EXACT = [
    "rand({n})",
    "rand({n}, dtype=library.float64)",
    "rand(2, {n})",
    "empty({n}).uniform_(-0.07, 0.07)",
    "empty({n}).uniform_(2, 1000)",
    "randn({n}, dtype=library.float64)",
    "randint(2 ** 28 - 1, ({n},))",
    "randint(2 ** 28, ({n},))",
    "randint(-7, 12, ({n},))",
    "randint(5, ({n},), dtype=library.int32)",
    "randint(5, ({n},), dtype=library.float32)",
    "randint_like(library.zeros({n}), 9)",
    "rand_like(library.zeros({n}))",
    "empty({n}, dtype=library.int64).random_()",
    "empty({n}, dtype=library.int32).random_()",
    "empty({n}, dtype=library.uint8).random_()",
    "empty({n}, dtype=library.bool).random_()",
    "empty({n}, dtype=library.float32).random_()",
    "empty({n}, dtype=library.float64).random_()",
    "empty({n}, dtype=library.int64).random_(50)",
    "empty({n}, dtype=library.int64).random_(50, 60)",
    "empty({n}).exponential_()",
    "empty({n}).exponential_(3)",
    "empty({n}).bernoulli_(0.3)",
    "empty({n}, dtype=library.bool).bernoulli_(0.3)",
    "bernoulli(library.linspace(0, 1, {n}))",
    "bernoulli(library.linspace(0, 1, {n}, dtype=library.float64))",
    "bernoulli(library.zeros({n}), 0.7)",
    "randperm({n})",
]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("call", EXACT)
def test_a_draw_and_the_one_after_it_equal_torchs(call, n):
    torch = torch_for(call)
    results = []
    for library in (tensorlite, torch):
        library.manual_seed(5)
        drawn = eval(f"library.{call.format(n=n)}")
        results.append((drawn.numpy(), library.rand(1).item()))
    (ours, our_next), (theirs, their_next) = results
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if "float64" in call and "rand" in call:  # log, sin and cos of another library
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    else:
        np.testing.assert_array_equal(ours, theirs)
    assert our_next == their_next


NEARLY = [
    "randn({n})",
    "randn_like(library.zeros({n}))",
    "empty({n}).normal_(3, 0.2)",
    "normal(1.0, 2.0, ({n},))",
    "normal(library.ones({n}), 2.0)",
    "normal(1.0, library.ones({n}))",
    "normal(library.zeros({n}), library.ones({n}))",
]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("call", NEARLY)
def test_normal_draws_equal_torchs_to_the_last_digits(call, n):
    torch = pytest.importorskip("torch")
    results = []
    for library in (tensorlite, torch):
        library.manual_seed(5)
        drawn = eval(f"library.{call.format(n=n)}")
        results.append((drawn.numpy(), library.randn(1).item(), library.rand(1).item()))
    (ours, *our_next), (theirs, *their_next) = results
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=3e-7)
    np.testing.assert_allclose(our_next, their_next, rtol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 9])
@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("shape", [(9,), (4, 9)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_multinomial_draws_what_torch_draws(samples, replacement, shape, dtype):
    torch = torch_for("multinomial")
    weights = np.random.RandomState(0).rand(*shape).astype(dtype)
    results = []
    for library in (tensorlite, torch):
        library.manual_seed(6)
        drawn = library.multinomial(library.from_numpy(weights), samples, replacement)
        results.append((drawn.numpy(), library.rand(1).item()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


@pytest.mark.parametrize("method", ["uniform_", "normal_", "exponential_"])
def test_a_transposed_tensor_is_filled_in_the_order_of_its_memory(method):
    torch = torch_for(method)
    results = []
    for library in (tensorlite, torch):
        library.manual_seed(7)
        x = library.zeros(4, 3, 5)
        getattr(x.permute(2, 0, 1), method)()
        getattr(x[:, :, ::2], method)()
        results.append(x.numpy())
    np.testing.assert_allclose(*results, rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4, 7), (2, CHUNK)])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_mask_keeps_what_torchs_dropout_keeps(shape, p):
    torch = torch_for("bernoulli")
    mask = Generator().manual_seed(8).keep_mask(shape, 1 - p)
    torch.manual_seed(8)
    np.testing.assert_array_equal(mask, torch.dropout(torch.ones(shape), p, True).numpy() != 0)


# ------------------------------------------------------------------------------------- generators


@given(st.lists(st.sampled_from(["rand(3)", "randn(3)", "randn(20)", "randint(9, (625,))"])))
def test_a_state_continues_the_stream_here_and_is_torchs_byte_for_byte(calls):
    tensorlite.manual_seed(99)
    for call in calls:
        eval(f"tensorlite.{call}")
    state = tensorlite.get_rng_state()
    expected = tensorlite.randn(7)
    tensorlite.manual_seed(1)
    tensorlite.set_rng_state(state)
    assert tensorlite.randn(7).tolist() == expected.tolist()

    torch = pytest.importorskip("torch")
    torch.manual_seed(99)
    for call in calls:
        eval(f"torch.{call}")
    np.testing.assert_array_equal(state.numpy(), torch.get_rng_state().numpy())


def test_a_state_of_torch_continues_here():
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    torch.randn(5)
    generator = Generator()
    generator.set_state(tensorlite.from_numpy(torch.get_rng_state().numpy()))
    assert tensorlite.rand(50, generator=generator).tolist() == torch.rand(50).tolist()
    assert generator.initial_seed() == 3


def test_a_generator_has_a_stream_of_its_own():
    tensorlite.manual_seed(1)
    expected = tensorlite.rand(4).tolist()
    tensorlite.manual_seed(1)
    own = Generator().manual_seed(1)
    assert tensorlite.rand(2, generator=own).tolist() == expected[:2]
    assert tensorlite.rand(4).tolist() == expected
    assert tensorlite.rand(2, generator=own).tolist() == expected[2:]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_a_copied_generator_continues_alike(copied):
    generator = Generator().manual_seed(4)
    tensorlite.randn(3, generator=generator)
    twin = copied(generator)
    clone = generator.clone_state()
    draws = tensorlite.randn(9, generator=generator).tolist()
    assert tensorlite.randn(9, generator=twin).tolist() == draws
    assert tensorlite.randn(9, generator=clone).tolist() == draws


def test_a_fresh_generator_has_one_seed_and_seed_finds_another():
    assert tensorlite.rand(3, generator=Generator()).tolist() == (
        tensorlite.rand(3, generator=Generator()).tolist()
    )
    a, b = Generator(), Generator()
    assert a.seed() != b.seed()
    assert a.initial_seed() != b.initial_seed()
    assert tensorlite.rand(3, generator=a).tolist() != tensorlite.rand(3, generator=b).tolist()


@pytest.mark.parametrize("seed", [0, -1, 2**32 + 7, 2**64 - 1])
def test_seeds_of_all_sizes_give_torchs_streams(seed):
    torch = pytest.importorskip("torch")
    ours, theirs = Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    assert ours.initial_seed() == theirs.initial_seed()
    assert tensorlite.rand(3, generator=ours).tolist() == torch.rand(3, generator=theirs).tolist()


@pytest.mark.parametrize("state", [np.zeros(5056, np.uint8), np.zeros(9, np.uint8), np.zeros(5056)])
def test_foreign_bytes_are_no_state(state):
    with pytest.raises((RuntimeError, TypeError), match="set_state"):
        Generator().set_state(tensorlite.from_numpy(state))


# ------------------------------------------------------------------------------ statistics and laws


def test_draws_have_the_moments_of_their_distributions():
    tensorlite.manual_seed(0)
    n = 200_000
    for x, mean, variance in (
        (tensorlite.rand(n), 1 / 2, 1 / 12),
        (tensorlite.randn(n), 0, 1),
        (tensorlite.randn(n, dtype=tensorlite.float64), 0, 1),
        (tensorlite.empty(n).exponential_(2), 1 / 2, 1 / 4),
        (tensorlite.empty(n).bernoulli_(0.3), 0.3, 0.21),
        (tensorlite.randint(0, 6, (n,)), 2.5, 35 / 12),
    ):
        values = x.numpy().astype(np.float64)
        assert abs(values.mean() - mean) < 0.01
        assert abs(values.var() - variance) < 0.02


@given(st.integers(0, 200), st.integers(0, 5))
def test_a_permutation_holds_every_number_once(n, seed):
    order = tensorlite.randperm(n, generator=Generator().manual_seed(seed))
    assert sorted(order.tolist()) == list(range(n))


def test_a_draw_in_place_stops_the_gradient_and_counts_as_a_change():
    x = tensorlite.ones(3, requires_grad=True)
    y = x * 2
    version = y._version
    y.normal_()
    assert y._version == version + 1
    (y + x).sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_a_view_that_is_filled_takes_its_base_along():
    x = tensorlite.ones(2, 3, requires_grad=True)
    y = x * 2
    y[0].uniform_()
    y.sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [2, 2, 2]]


def test_a_leaf_that_requires_grad_may_be_filled_under_no_grad_only():
    x = tensorlite.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        x.uniform_()
    assert x.tolist() == [1, 1, 1]
    with tensorlite.no_grad():
        assert x.uniform_() is x
    assert x.tolist() != [1, 1, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tensorlite.rand(3, dtype=tensorlite.int64), "uniform_: needs a floating-point"),
        (lambda: tensorlite.randn(3, dtype=tensorlite.bool), "normal_: needs a floating-point"),
        (lambda: tensorlite.empty(3).uniform_(2, 1), "low must not exceed high"),
        (lambda: tensorlite.empty(3).normal_(0, -1), "std must not be negative"),
        (lambda: tensorlite.empty(3).exponential_(0), "lambd must be positive"),
        (lambda: tensorlite.empty(3).bernoulli_(1.5), r"must lie in \[0, 1\]"),
        (lambda: tensorlite.empty(3).bernoulli_(float("nan")), r"must lie in \[0, 1\]"),
        (lambda: tensorlite.randint(3, 3, (2,)), "is empty"),
        (lambda: tensorlite.randperm(-1), "must not be negative"),
        (lambda: tensorlite.multinomial(tensorlite.ones(3), 4), "cannot draw 4 of 3"),
        (lambda: tensorlite.multinomial(tensorlite.zeros(3), 1), "some of each row positive"),
        (lambda: tensorlite.multinomial(tensorlite.tensor([1, -1.0]), 1), "not negative"),
        (lambda: tensorlite.multinomial(tensorlite.ones(2, 2, 2), 1), "shape must be"),
        (lambda: Generator("cuda"), "only 'cpu' exists"),
        (lambda: Generator().manual_seed(2**64), "seed must lie"),
    ],
)
def test_a_draw_that_cannot_be_made_says_why(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


def test_a_size_must_be_given():
    with pytest.raises(TypeError, match="needs a size"):
        tensorlite.randint(3)
    with pytest.raises(TypeError, match="needs a size"):
        tensorlite.normal(0.0, 1.0)


def test_gradients_can_be_asked_for_at_birth():
    assert tensorlite.randn(2, requires_grad=True).requires_grad
    assert isinstance(tensorlite.rand(2), Tensor)


@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(
        st.sampled_from([0, 1, 2, 311, 312, 623, 624, 625, 1023, 1025, 5000]), max_size=5
    ),
    data=st.data(),
)
def test_numbers_are_made_of_numpys_words_wherever_a_draw_ends(seed, sizes, data):
    stream, words = Generator().manual_seed(seed), np.random.RandomState(seed)
    for n in sizes:
        kind = data.draw(st.sampled_from(["words", "u24", "u53", "bernoulli"]))
        z = words.randint(0, 1 << 32, n if kind in ("words", "u24") else 2 * n, np.uint32)
        pairs = z[0::2].astype(np.uint64) << np.uint64(32) | z[1::2] if len(z) == 2 * n else z
        u53 = (pairs & np.uint64((1 << 53) - 1)) * 2.0**-53
        if kind == "words":
            assert np.array_equal(stream.words(n), z)
        elif kind == "u24":
            assert np.array_equal(stream.u24(n), (z & 0xFFFFFF).astype(np.float32) / (1 << 24))
        elif kind == "u53":
            assert np.array_equal(stream.u53(n), u53)
        else:
            p = data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
            assert np.array_equal(stream.keep_mask((n,), p), u53 < p)


def test_python_threads_share_a_stream_and_no_number_comes_twice():
    stream = Generator().manual_seed(3)
    drawn = [np.empty(0)] * 4

    def draw(i):
        drawn[i] = np.concatenate([stream.u53(997) for _ in range(40)])

    threads = [threading.Thread(target=draw, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = np.sort(np.concatenate(drawn))
    assert np.array_equal(together, np.sort(Generator().manual_seed(3).u53(4 * 40 * 997)))
