"""A reader's logits are the model's, to the bit, captured or not."""

import copy
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from test_gpt_model import SHAPES, bits, make, random_ids

import tensorlite
from gpt import GPT, KVCache, Reader, generate
from tensorlite import profiler


@pytest.fixture(autouse=True)
def soon(monkeypatch: Any) -> None:
    """Capture from the second token on."""
    monkeypatch.setattr("gpt.reader.EAGER", 1)


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


@pytest.mark.parametrize("how", ["for_decoding", "double and back", "cache"])
def test_what_is_replaced_as_a_whole_is_captured_anew(how: str) -> None:
    model = make(SHAPES["gpt2"]).eval()
    ids = random_ids(model, 1, 12).numpy()
    read = Reader(model, KVCache(model.config))
    for n in range(6):
        read(ids[:, n : n + 1])
    match how:
        case "for_decoding":
            model.for_decoding()
        case "double and back":
            model.double().float()
        case "cache":
            read.cache.keys, read.cache.values = read.cache.keys.clone(), read.cache.values.clone()
    with tensorlite.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.25)
    read.cache.length = 0
    with pytest.raises(IndexError):  # a capture that fails is none
        read([[31]])
    for n in range(12):
        logits = read(ids[:, n : n + 1])
    assert bits(logits) == bits(model(tensorlite.from_numpy(ids))[:, -1])


def test_a_token_that_cannot_be_read_changes_nothing(model: GPT) -> None:
    ids = random_ids(model, 1, 24).numpy()
    read = Reader(model, KVCache(model.config))
    for n in range(24):
        with pytest.raises(IndexError, match=r"ids must lie in \[0, 31\), got 31"):
            read([[31]])
        assert read.cache.length == n
        logits = read(ids[:, n : n + 1])
    with pytest.raises(ValueError, match=r"24 positions, 24 used, cannot read 1"):
        read([[3]])
    assert bits(logits) == bits(model(tensorlite.from_numpy(ids))[:, -1])


class Looking(GPT):
    def head(self, x: tensorlite.Tensor) -> tensorlite.Tensor:
        assert float(x.sum()) < 1e9
        return super().head(x)


@pytest.mark.parametrize("why", ["training", "a part in training", "hooks", "profiler", "item"])
def test_what_cannot_be_captured_is_read_op_by_op(why: str) -> None:
    model = make(replace(SHAPES["gpt2"], dropout=0.5)).eval()
    ids = random_ids(model, 1, 6).numpy()
    read = Reader(model, KVCache(model.config))
    expected = [bits(read(ids[:, n : n + 1])) for n in range(6)]
    calls = []
    match why:
        case "training":
            model.train()
        case "a part in training":
            model.h[1].attn.train()
        case "hooks":
            model.norm_f.register_forward_hook(lambda *_: calls.append(1))
        case "item":
            model.__class__ = Looking
    read = Reader(model, KVCache(model.config))
    for n in range(6):
        with profiler.profile() if why == "profiler" else nullcontext():
            logits = read(ids[:, n : n + 1])
        assert read.cache.length == n + 1
        if "training" in why:
            assert np.isfinite(logits.numpy()).all()
        else:
            assert bits(logits) == expected[n]
    assert read._captured is None
    assert len(calls) == (6 if why == "hooks" else 0)


def test_threads_may_write_texts_at_the_same_time(model: GPT) -> None:
    prompts = [[1, 2, 3], [4], [5, 6]]
    expected = [generate(model, [prompt], 12) for prompt in prompts]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(5):
            found = pool.map(lambda prompt: generate(model, [prompt], 12), prompts)
            assert list(found) == expected


def test_a_copy_of_a_reader_reads_on_by_itself() -> None:
    model = make(SHAPES["gpt2"]).eval()
    ids = random_ids(model, 1, 12).numpy()
    read = Reader(model, KVCache(model.config))
    for n in range(6):
        read(ids[:, n : n + 1])
    other = copy.deepcopy(read)
    for n in range(6, 12):
        logits = bits(read(ids[:, n : n + 1]))
        assert bits(other(ids[:, n : n + 1])) == logits


@pytest.mark.parametrize("ids", [[[]], [[1.7]], [1, 2], [["a"]], np.zeros((1, 2, 3), int)])
def test_ids_that_are_none_are_explained(ids: Any) -> None:
    model = make(SHAPES["gpt2"]).eval()
    with pytest.raises(ValueError, match=r"Reader: ids must be integers \(B, T\) with T > 0, got"):
        Reader(model, KVCache(model.config))(ids)
