"""Writing text with a cache, one token at a time, and reading a prompt: GPT-2 with 124M weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.harness import OURS, Bench
from benchmarks.ours import Decoding
from benchmarks.shapes import Shape
from tensorlite.kernels.machine import reader

GPT2 = Shape()
SMALL = Shape(5000, n_layer=2, n_head=4, n_embd=256)
PROMPT = 512
TOKENS = 8  # written in one timed call


def run(bench: Bench) -> None:
    """Prefill of 512 tokens, and decoding after it, against PyTorch with a preallocated cache."""
    config = SMALL if bench.quick else GPT2
    ours = Decoding(config, PROMPT + TOKENS)
    sides, weights = {OURS: ours}, ours.weights
    if peers.HAS_TORCH:
        sides["torch"] = peers.torch_gpt().Decoding(config, PROMPT + TOKENS)
        sides["torch"].model.load(weights)
    ids = np.random.default_rng(0).integers(config.vocab_size, size=(1, PROMPT))
    # A token needs every weight once, but of the position table one row.
    weight_bytes = sum(w.nbytes for name, w in weights.items() if name != "wpe.weight")
    cache_bytes = 4 * 2 * config.n_layer * PROMPT * config.n_embd
    matrices = sum(w.size for name, w in weights.items() if name.startswith("h.") and w.ndim > 1)

    def write(side: Decoding) -> list[int]:
        token, written = 1, []
        for i in range(TOKENS):
            token = side.decode(token, PROMPT + i)
            written.append(token)
        return written

    for _ in bench.on_threads():
        bench.compare(
            "prefill", f"{PROMPT} tokens",
            {name: lambda side=side: side.prefill(ids) for name, side in sides.items()},
            goal={"torch": 0.8}, items=PROMPT,
            flops=2.0 * matrices * PROMPT + 2.0 * config.n_layer * PROMPT**2 * config.n_embd,
        )  # fmt: skip
        logits = [np.asarray(side.prefill(ids)) for side in sides.values()]
        if not all(np.allclose(logits[0], other, atol=1e-3) for other in logits):
            raise RuntimeError("decoding: the two sides compute different logits")
        moved = TOKENS * (weight_bytes + cache_bytes)
        turns: dict[str, Callable[[], Any]] = {
            name: lambda side=side: write(side) for name, side in sides.items()
        }  # fmt: skip
        # In turns with both: the memory's speed changes with what the machine's other users do.
        turns["memory"] = reader(moved)
        result = bench.compare(
            "decoding", f"after {PROMPT} tokens", turns, goal={"torch": 0.75, "memory": 1 / 0.85},
            items=TOKENS, bytes=moved, flops=TOKENS * weight_bytes / 2,
        )  # fmt: skip
        result.extra["share of the memory's read speed"] = 1 / result.paired["memory"]
