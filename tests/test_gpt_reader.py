"""A reader's logits are the model's, to the bit, captured or not."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from test_gpt_model import SHAPES, bits, make, random_ids

import tensorlite
from gpt import GPT, KVCache, Reader


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest) -> GPT:
    return make(SHAPES[request.param]).eval()


@given(
    batch=st.integers(1, 3),
    lengths=st.lists(st.sampled_from([1, 1, 1, 2, 5]), min_size=1, max_size=9),
    chunk=st.sampled_from([None, 1, 2]),
    columns=st.booleans(),
    threads=st.sampled_from([1, 2]),
)
@settings(max_examples=10)
def test_logits_are_those_of_the_whole_text_however_it_is_read(
    model: GPT,
    all_threads: int,
    batch: int,
    lengths: list[int],
    chunk: int | None,
    columns: bool,
    threads: int,
) -> None:
    ids = random_ids(model, batch, 24).numpy()
    read = Reader(copy.deepcopy(model), KVCache(model.config, batch), chunk)
    if columns:
        read.model.for_decoding()
    n = 0
    for length in lengths:
        if n + length > 24:
            break
        tensorlite.set_num_threads(min(threads, all_threads))
        logits = read(ids[:, n : n + length])
        tensorlite.set_num_threads(all_threads)
        n += length
        assert read.cache.length == n
        assert bits(logits) == bits(model(tensorlite.from_numpy(ids[:, :n]))[:, -1])


def test_a_length_set_back_and_changed_weights_are_seen(model: GPT) -> None:
    ids = random_ids(model, 1, 12).numpy()
    read = Reader(copy.deepcopy(model), KVCache(model.config))
    for n in range(10):
        read(ids[:, n : n + 1])
    read.cache.length = 4
    read.model.load_state_dict(make(model.config, seed=5).state_dict())
    read.cache.length = 0
    for n in range(12):
        logits = read(ids[:, n : n + 1])
    assert bits(logits) == bits(read.model(tensorlite.from_numpy(ids))[:, -1])


def test_a_token_that_cannot_be_read_changes_nothing(model: GPT) -> None:
    ids = random_ids(model, 1, 24).numpy()
    read = Reader(model, KVCache(model.config))
    for n in range(24):
        with pytest.raises(IndexError, match=r"ids must lie in \[0, 31\), got 31"):
            read([[31]])
        assert read.cache.length == n
        logits = read(ids[:, n : n + 1])
    with pytest.raises(ValueError, match=r"24 positions, 24 used, cannot (append|read) 1"):
        read([[3]])
    assert bits(logits) == bits(model(tensorlite.from_numpy(ids))[:, -1])


def test_a_model_in_training_is_not_captured() -> None:
    model = make(SHAPES["gpt2"]).train()
    read = Reader(model, KVCache(model.config))
    assert np.isfinite(read([[3]]).numpy()).all()
    assert read._step is None
