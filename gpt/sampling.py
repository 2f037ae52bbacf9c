"""Logits -> next id: a chain of small pure functions.

    temperature -> top-k -> top-p -> draw

Each maps logits (..., V) to logits (..., V), with -inf for what is ruled out, and looks at each row
alone; `draw` maps them to ids (...). A draw advances no generator: its number is a function of
(seed, sequence, position), so a text depends neither on its batch mates nor on how it was computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import tensorlite
from tensorlite import Tensor


@dataclass(frozen=True)
class Sampling:
    """How to choose: temperature 0 takes the likeliest token, None switches a filter off."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"Sampling: temperature must not be negative, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"Sampling: top_k must be positive, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"Sampling: top_p must lie in (0, 1], got {self.top_p}")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"Sampling: seed must lie in [0, 2**64), got {self.seed}")


def choose(logits: Tensor, sampling: Sampling, sequence: int, position: int) -> int:
    """The token at this position of this sequence, from its logits (V,)."""
    if sampling.temperature == 0:
        return int(logits.argmax(-1).item())
    logits = scale(logits, sampling.temperature)
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p is not None:
        logits = keep_top_p(logits, sampling.top_p)
    u = uniform(sampling.seed, sequence, position)
    return int(draw(logits, tensorlite.tensor(u, dtype=tensorlite.float64)).item())


def scale(logits: Tensor, temperature: float) -> Tensor:
    """logits / temperature: below 1 sharper, above 1 flatter. The largest becomes 0 first, so that
    no temperature, however small, overflows."""
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Rule out what is less likely than the k-th likeliest token; ties with it stay."""
    smallest = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < smallest, -float("inf"))


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens whose probabilities reach p, at least one.

    Holtzman et al. 2020, nucleus sampling.
    """
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = tensorlite.softmax(ordered.double(), dim=-1)
    before = probabilities.cumsum(-1) - probabilities  # mass of all likelier tokens
    kept = ordered.masked_fill(before >= p, -float("inf"))
    kept[..., 0] = ordered[..., 0]
    filtered: Tensor = logits.scatter(-1, order, kept)
    return filtered


def draw(logits: Tensor, u: Tensor) -> Tensor:
    """Ids (...) where the running sum of the probabilities first exceeds u (...), u in [0, 1)."""
    sums = tensorlite.softmax(logits.double(), dim=-1).cumsum(-1)  # (..., V)
    target = u.unsqueeze(-1) * sums[..., -1:]  # the last sum is 1 but for rounding
    return (sums <= target).sum(-1)


def uniform(seed: int, sequence: int, position: int) -> float:
    """A number in [0, 1) that belongs to (seed, sequence, position) alone.

    Philox is made for this: a keyed permutation of a counter (Salmon et al. 2011).
    """
    counter = np.array([0, 0, position, sequence], dtype=np.uint64)
    word = int(np.random.Philox(key=seed, counter=counter).random_raw())
    return (word >> 11) * 2.0**-53
