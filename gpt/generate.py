"""The autoregressive loop: read what is there, choose a token, repeat.

Sequences of a batch advance in step: at each position, one that still has prompt reads it, and one
that has none left is given the token that the model chose. So every sequence has the positions it
would have alone, nothing is padded, and one cache serves all.

The window. A model sees at most block_size positions. When they are full, reading starts anew with
the later half of them, at position 0, whatever the kind of position embedding; so a token is chosen
from the last block_size / 2 to block_size tokens. Where the window begins is a function of the
position alone (`window_start`), so it is the same for all sequences and with and without a cache.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Sequence

import tensorlite
from gpt.cache import KVCache
from gpt.model import GPT
from gpt.reader import Reader
from gpt.sampling import Sampling, choose


def generate(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    sampling: Sampling | None = None,
    *,
    stop: Collection[int] = (),
    sequences: Sequence[int] | None = None,
    chunk: int | None = None,
    use_cache: bool = True,
) -> list[list[int]]:
    """The continuation of each prompt: max_tokens ids, or fewer if it ends with one of `stop`.

    sequences: the numbers that key the random draws, by default 0, 1, 2, ...; a prompt given alone
    with the number it had in a batch is continued as in the batch.
    chunk: the most positions to read in one pass; use_cache=False reads the whole window for each
    token. Both change time and memory, and not one bit of the result.
    """
    texts: list[list[int]] = [[] for _ in prompts]
    for row, token in stream(
        model, prompts, max_tokens, sampling,
        stop=stop, sequences=sequences, chunk=chunk, use_cache=use_cache,
    ):  # fmt: skip
        texts[row].append(token)
    return texts


def stream(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    sampling: Sampling | None = None,
    *,
    stop: Collection[int] = (),
    sequences: Sequence[int] | None = None,
    chunk: int | None = None,
    use_cache: bool = True,
) -> Iterator[tuple[int, int]]:
    """`generate`, one (row, token) at a time, as soon as it is known."""
    sampling = sampling or Sampling()
    sequences = range(len(prompts)) if sequences is None else sequences
    _check(model, prompts, max_tokens, sequences, chunk)
    texts = [list(prompt) for prompt in prompts]
    ends = [len(prompt) + max_tokens for prompt in prompts]
    cache = (
        KVCache(model.config, len(texts), dtype=next(model.parameters()).dtype)
        if use_cache
        else None
    )
    read = functools.partial(_read_whole, model) if cache is None else Reader(model, cache, chunk)
    was_training = model.training
    model.eval()
    try:
        n = min(len(text) for text in texts)  # positions known in every text
        start = 0
        while any(n < end for end in ends):
            if start != window_start(n, model.config.block_size):
                start = window_start(n, model.config.block_size)
                if cache is not None:
                    cache.length = 0
            seen = start if cache is None else start + cache.length
            logits = read([text[seen:n] for text in texts])  # (B, V)
            for row, text in enumerate(texts):
                if n < len(text):
                    continue  # it reads its prompt
                if n >= ends[row]:
                    text.append(text[-1])  # it is finished, and only keeps step
                    continue
                token = choose(logits[row], sampling, sequences[row], position=n)
                text.append(token)
                if token in stop:
                    ends[row] = n + 1
                yield row, token
            n += 1
    finally:
        model.train(was_training)


def window_start(n: int, block_size: int) -> int:
    """Where the window over n tokens begins: 0, and past block_size in strides of half of it."""
    stride = block_size - block_size // 2
    return max(0, -(-(n - block_size) // stride)) * stride


def _read_whole(model: GPT, ids: list[list[int]]) -> tensorlite.Tensor:
    """Logits (B, V) after the last of ids (B, T)."""
    with tensorlite.no_grad():
        x = model.features(tensorlite.tensor(ids, dtype=tensorlite.int64))  # (B, T, C)
        return model.head(x[:, -1])  # (B, C) -> (B, V)


def _check(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    sequences: Sequence[int],
    chunk: int | None,
) -> None:
    if not prompts or not all(prompts):
        raise ValueError("generate: needs at least one prompt of at least one token each")
    V = model.config.vocab_size
    for row, prompt in enumerate(prompts):
        for token in prompt:
            if not 0 <= token < V:
                raise ValueError(f"generate: ids must lie in [0, {V}), got {token} in prompt {row}")
    if max_tokens < 0:
        raise ValueError(f"generate: max_tokens must not be negative, got {max_tokens}")
    if len(sequences) != len(prompts):
        raise ValueError(
            f"generate: needs one sequence number for each of {len(prompts)} prompts, "
            f"got {len(sequences)}"
        )
    if chunk is not None and chunk < 1:
        raise ValueError(f"generate: chunk must be positive, got {chunk}")
