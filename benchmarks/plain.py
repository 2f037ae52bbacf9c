"""A GPT written out in plain ops, as lectures write it, and trained: the same lines in each
library.

Attention is two products with a mask, a softmax and dropout between them; GELU is spelled out with
its tanh. The seed is the same, so are weights and dropout, and so must the losses be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.harness import Bench
from benchmarks.shapes import CLIP, LEARNING_RATE, STEPS, Step

DROPOUT = 0.1
SEED = 1337


class Plain:
    """A model of a library, and its optimizer: `step()` is what is timed."""

    def __init__(self, library: Any, step: Step) -> None:
        self.library, self.functional = library, library.nn.functional
        self.config = config = step.config
        c = config.n_embd
        library.manual_seed(SEED)
        self.tokens = library.nn.Embedding(config.vocab_size, c)
        self.places = library.nn.Embedding(step.length, c)
        shapes = {"qkv": (c, 3 * c), "out": (c, c), "up": (c, 4 * c), "down": (4 * c, c)}
        self.layers = [
            {name: library.nn.Linear(*shape) for name, shape in shapes.items()}
            | {name: library.nn.LayerNorm(c) for name in ("norm 1", "norm 2")}
            for _ in range(config.n_layer)
        ]
        self.norm = library.nn.LayerNorm(c)
        self.head = library.nn.Linear(c, config.vocab_size, bias=False)
        modules = [self.tokens, self.places, self.norm, self.head]
        modules += [module for layer in self.layers for module in layer.values()]
        self.parameters = [p for module in modules for p in module.parameters()]
        self.optimizer = library.optim.AdamW(self.parameters, lr=LEARNING_RATE)
        batch = np.random.default_rng(0).integers(
            config.vocab_size, size=(2, step.batch, step.length)
        )
        self.ids, self.targets = (library.from_numpy(part) for part in batch)
        ones = library.ones(step.length, step.length)
        self.later = library.triu(ones, diagonal=1) == 1

    def dropout(self, x: Any) -> Any:
        return self.functional.dropout(x, DROPOUT)

    def attention(self, layer: Any, x: Any) -> Any:
        """x (B, T, C) -> (B, T, C)"""
        B, T, C = x.shape
        heads = self.config.n_head
        q, k, v = (
            part.view(B, T, heads, C // heads).transpose(1, 2)
            for part in layer["qkv"](x).split(C, dim=2)
        )  # (B, H, T, D)
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(C // heads))  # (B, H, T, T)
        scores = scores.masked_fill(self.later, float("-inf"))
        y = self.dropout(self.functional.softmax(scores, dim=-1)) @ v
        return self.dropout(layer["out"](y.transpose(1, 2).contiguous().view(B, T, C)))

    def mlp(self, layer: Any, x: Any) -> Any:
        """x (B, T, C) -> (B, T, C)"""
        x = layer["up"](x)
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)
        return self.dropout(layer["down"](0.5 * x * (1.0 + self.library.tanh(inner))))

    def loss(self) -> Any:
        x = self.tokens(self.ids) + self.places(self.library.arange(self.ids.shape[1]))
        x = self.dropout(x)  # (B, T, C)
        for layer in self.layers:
            x = x + self.attention(layer, layer["norm 1"](x))
            x = x + self.mlp(layer, layer["norm 2"](x))
        logits = self.head(self.norm(x)).view(-1, self.config.vocab_size)
        return self.functional.cross_entropy(logits, self.targets.view(-1))

    def step(self) -> float:
        loss = self.loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.library.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()
        return float(loss.item())


def run(bench: Bench) -> None:
    """Training steps of a GPT in plain ops, the same code on both sides, of the sizes S and M."""
    for name in ("S",) if bench.quick else ("S", "M"):
        step = STEPS[name]
        for _ in bench.on_threads():
            sides = {side: Plain(library, step) for side, library in peers.libraries().items()}
            losses = [[model.step() for _ in range(3)] for model in sides.values()]
            if not np.allclose(losses, losses[0], rtol=1e-4):
                raise RuntimeError(f"plain: the two sides compute different losses: {losses}")
            turns: dict[str, Callable[[], Any]] = {side: m.step for side, m in sides.items()}
            bench.compare("plain", name, turns, flops=step.flops, items=step.tokens)
