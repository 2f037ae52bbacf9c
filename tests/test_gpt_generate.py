"""Generation: the same seed gives the same text, whatever the batch, the chunks, the cache (E5)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

import tensorlite
from gpt import GPT, GPTConfig, Sampling, generate, stream
from gpt.generate import window_start
from gpt.tokenizer import ByteTokenizer, StreamDecoder

BLOCK = 10
TINY = GPTConfig(vocab_size=13, block_size=BLOCK, n_layer=2, n_head=2, n_embd=16)
SHAPES = {
    "learned": TINY,
    "sinusoidal": replace(TINY, position="sinusoidal", norm_position="post"),
    "rope": replace(TINY, position="rope", n_kv_head=1, norm="rms", activation="swiglu"),
}

prompts = st.lists(
    st.lists(st.integers(0, 12), min_size=1, max_size=2 * BLOCK), min_size=1, max_size=4
)
samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 2.0]),
    top_k=st.sampled_from([None, 5]),
    top_p=st.sampled_from([None, 0.9]),
    seed=st.integers(0, 2**64 - 1),
)


def make(config: GPTConfig) -> GPT:
    tensorlite.manual_seed(4)
    model = GPT(config)
    with tensorlite.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8.0)
    return model


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest) -> GPT:
    return make(SHAPES[request.param])


@given(prompts, samplings, st.integers(1, BLOCK + 1), st.integers(0, 2 * BLOCK))
@settings(max_examples=12)
def test_a_text_depends_on_neither_batch_nor_chunks_nor_cache(
    model: GPT, batch: list[list[int]], sampling: Sampling, chunk: int, max_tokens: int
) -> None:
    together = generate(model, batch, max_tokens, sampling)
    assert [len(text) for text in together] == [max_tokens] * len(batch)
    assert generate(model, batch, max_tokens, sampling, chunk=chunk) == together
    assert generate(model, batch, max_tokens, sampling, use_cache=False) == together
    for row, prompt in enumerate(batch):
        assert generate(model, [prompt], max_tokens, sampling, sequences=[row]) == [together[row]]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=2 * BLOCK))
@settings(max_examples=5)
def test_greedy_takes_the_likeliest_token_of_a_plain_forward_pass(
    model: GPT, prompt: list[int]
) -> None:
    [text] = generate(model, [prompt], 2 * BLOCK, Sampling(temperature=0))
    ids = list(prompt)
    for token in text:
        window = ids[window_start(len(ids), BLOCK) :]
        assert model(tensorlite.tensor([window]))[0, -1].argmax().item() == token
        ids.append(token)


@given(st.integers(1, 100), st.integers(1, 400))
def test_the_window_holds_between_half_a_block_and_a_block(block_size: int, n: int) -> None:
    width = n - window_start(n, block_size)
    assert width == n if n <= block_size else block_size // 2 < width <= block_size
    assert window_start(n, block_size) <= window_start(n + 1, block_size)


def test_seeds_and_sequences_give_different_texts() -> None:
    model = make(TINY)
    texts = {
        tuple(generate(model, [[1]], 20, Sampling(seed=seed), sequences=[sequence])[0])
        for seed in range(3)
        for sequence in range(3)
    }
    assert len(texts) == 9


def test_a_stop_token_ends_its_text_only() -> None:
    model = make(TINY)
    batch = [[1, 2], [3], [4, 5, 6]]
    free = generate(model, batch, 30, Sampling(seed=1))
    stop = free[0][3]
    stopped = generate(model, batch, 30, Sampling(seed=1), stop={stop})
    for long, short in zip(free, stopped, strict=True):
        end = long.index(stop) + 1 if stop in long else len(long)
        assert short == long[:end]


def test_tokens_are_streamed_as_soon_as_they_are_known() -> None:
    model = make(TINY)
    batch = [[1, 2, 3], [4]]
    whole = generate(model, batch, 5, Sampling(seed=2))
    parts: list[list[int]] = [[], []]
    order = []
    for row, token in stream(model, batch, 5, Sampling(seed=2)):
        parts[row].append(token)
        order.append(row)
    assert parts == whole
    assert order == [1, 1, 0, 1, 0, 1, 0, 1, 0, 0]


def test_generating_leaves_training_mode_and_the_generator_as_they_were() -> None:
    model = make(replace(TINY, dropout=0.5))
    state = tensorlite.get_rng_state().tolist()
    assert generate(model, [[1]], 5) == generate(model, [[1]], 5)
    assert model.training
    started = stream(model, [[1]], 5)
    next(started)
    started.close()
    assert model.training
    assert tensorlite.get_rng_state().tolist() == state


def test_streamed_text_never_holds_half_a_character() -> None:
    tokenizer = ByteTokenizer()
    tensorlite.manual_seed(0)
    model = GPT(replace(TINY, vocab_size=tokenizer.vocab_size))
    decoder = StreamDecoder(tokenizer)
    ids, pieces = [], []
    prompt = tokenizer.encode("é")
    for _, token in stream(model, [prompt], 60, Sampling(seed=3)):
        ids.append(token)
        pieces.append(decoder.push(token))
    pieces.append(decoder.finish())
    assert "".join(pieces) == tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([], 1), "needs at least one prompt of at least one token each"),
        (([[1], []], 1), "needs at least one prompt of at least one token each"),
        (([[1], [2, 13]], 1), r"ids must lie in \[0, 13\), got 13 in prompt 1"),
        (([[1]], -1), "max_tokens must not be negative, got -1"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    arguments: tuple[list[list[int]], int], sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"generate: {sentence}"):
        generate(make(TINY), *arguments)


def test_bad_options_are_refused_in_a_sentence() -> None:
    model = make(TINY)
    with pytest.raises(ValueError, match="one sequence number for each of 2 prompts, got 1"):
        generate(model, [[1], [2]], 1, sequences=[0])
    with pytest.raises(ValueError, match="chunk must be positive, got 0"):
        generate(model, [[1]], 1, chunk=0)
