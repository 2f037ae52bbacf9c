"""The chain from logits to the next id, each link against a plain NumPy twin."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite
from gpt.sampling import Sampling, choose, draw, keep_top_k, keep_top_p, scale, uniform
from tensorlite import Tensor

Row = list[float]
rows = st.lists(
    # Quarters: ties occur, and sums of probabilities stay away from the thresholds drawn below.
    st.integers(-24, 24).map(lambda n: n / 4),
    min_size=1,
    max_size=12,
)


def row_of(logits: Row) -> Tensor:
    return tensorlite.tensor(logits, dtype=tensorlite.float32)


def softmax(logits: Row) -> Any:
    e = np.exp(np.array(logits, dtype=np.float64) - max(logits))
    return e / e.sum()


@given(rows, st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_temperature_divides_up_to_a_shift(logits: Row, temperature: float) -> None:
    scaled = scale(row_of(logits), temperature).tolist()
    assert max(scaled) == 0
    np.testing.assert_allclose(
        softmax(scaled), softmax([x / temperature for x in logits]), rtol=1e-5
    )


def test_the_smallest_temperature_does_not_overflow() -> None:
    scaled = scale(row_of([3e38, -3e38, 1.0]), 1e-30)
    assert choose(row_of([1.0, 3e38, -3e38]), Sampling(temperature=1e-30), 0, 0) == 1
    assert not any(math.isnan(x) for x in scaled.tolist())


@given(rows, st.integers(1, 14))
def test_top_k_keeps_the_k_likeliest_and_their_ties(logits: Row, k: int) -> None:
    threshold = sorted(logits, reverse=True)[:k][-1]
    expected = [x if x >= threshold else -math.inf for x in logits]
    assert keep_top_k(row_of(logits), k).tolist() == expected


@given(rows, st.sampled_from([1e-9, 0.31, 0.5003, 0.77, 0.993, 1.0]))
def test_top_p_keeps_the_fewest_that_reach_p(logits: Row, p: float) -> None:
    order = sorted(range(len(logits)), key=lambda i: -logits[i])
    probabilities = softmax(logits)
    kept: set[int] = set()
    mass = 0.0
    for i in order:
        if kept and mass >= p - 1e-12 and p < 1:
            break
        kept.add(i)
        mass += probabilities[i]
    expected = [x if i in kept else -math.inf for i, x in enumerate(logits)]
    assert keep_top_p(row_of(logits), p).tolist() == expected


@given(rows, st.floats(0, 1, exclude_max=True))
@settings(max_examples=100)
def test_a_draw_is_the_inverse_of_the_running_sum(logits: Row, u: float) -> None:
    token = int(draw(row_of(logits), tensorlite.tensor(u, dtype=tensorlite.float64)).item())
    sums = np.cumsum(softmax(logits))
    assert 0 <= token < len(logits)
    assert sums[token] >= u - 1e-6
    assert token == 0 or sums[token - 1] <= u + 1e-6


@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2**-53])
def test_a_draw_never_takes_what_is_ruled_out(u: float) -> None:
    logits = row_of([-math.inf, 0.0, -math.inf, 1.0, -math.inf])
    assert int(draw(logits, tensorlite.tensor(u, dtype=tensorlite.float64)).item()) in (1, 3)


def test_draws_follow_the_probabilities() -> None:
    logits = row_of([0.0, 1.0, 2.0, -math.inf])
    counts = np.zeros(4)
    for position in range(3000):
        counts[choose(logits, Sampling(seed=7), 0, position)] += 1
    np.testing.assert_allclose(counts / 3000, [0.0900, 0.2447, 0.6652, 0], atol=0.03)


def test_links_work_on_each_row_alone() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 4, 9)).astype(np.float32)
    u = np.random.default_rng(1).random((3, 4))
    x = tensorlite.from_numpy(logits)
    ids = draw(keep_top_p(keep_top_k(scale(x, 0.7), 5), 0.8), tensorlite.from_numpy(u))
    assert ids.shape == (3, 4)
    for i in np.ndindex(3, 4):
        row = keep_top_p(keep_top_k(scale(x[i], 0.7), 5), 0.8)
        assert draw(row, tensorlite.tensor(u[i], dtype=tensorlite.float64)).item() == ids[i].item()


def test_greedy_takes_the_first_of_the_likeliest() -> None:
    greedy = Sampling(temperature=0)
    assert choose(row_of([0.5, 2.0, -1.0, 2.0]), greedy, sequence=0, position=3) == 1


def test_draws_are_keyed_by_seed_sequence_and_position() -> None:
    numbers = {uniform(s, q, p) for s in (0, 1, 2**63) for q in range(4) for p in range(4)}
    assert len(numbers) == 48
    assert all(0 <= u < 1 for u in numbers)
    assert uniform(5, 1, 2) == uniform(5, 1, 2)
    many = [uniform(3, 0, p) for p in range(2000)]
    assert abs(np.mean(many) - 0.5) < 0.03
    assert abs(np.corrcoef(many[:-1], many[1:])[0, 1]) < 0.06


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"temperature": -1.0}, "temperature must not be negative, got -1.0"),
        ({"temperature": math.nan}, "temperature must not be negative, got nan"),
        ({"top_k": 0}, "top_k must be positive, got 0"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, r"top_p must lie in \(0, 1\], got 1.5"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"Sampling: {sentence}"):
        Sampling(**wrong)
