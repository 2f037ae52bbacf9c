"""The three training steps that everything is measured on, and the recipe they share.

This file imports neither side, so that the process of one is not charged with the other.
"""

from __future__ import annotations

from dataclasses import dataclass

LEARNING_RATE = 1e-3
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
CLIP = 1.0


@dataclass(frozen=True)
class Shape:
    """A GPT, by the names of gpt.GPTConfig; the defaults are GPT-2's smallest."""

    vocab_size: int = 50257
    block_size: int = 1024
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    bias: bool = True


@dataclass(frozen=True)
class Step:
    """A training step: the model's shape, and B windows of T tokens."""

    name: str
    config: Shape
    batch: int
    length: int

    @property
    def tokens(self) -> int:
        return self.batch * self.length

    @property
    def parameters(self) -> int:
        """Weights of the matrices, which all the arithmetic is about; the tied head once."""
        c = self.config
        return c.n_layer * 12 * c.n_embd**2 + c.vocab_size * c.n_embd

    @property
    def flops(self) -> float:
        """Of forward and backward: 6 per weight and token, and half of attention's T x T."""
        c = self.config
        attention = c.n_layer * 3 * 2.0 * self.length * c.n_embd  # 3 passes of half of 4 T C
        return self.tokens * (6.0 * self.parameters + attention)


# S is nanoGPT's recipe for a laptop, M its Shakespeare model for a GPU, L is GPT-2.
S = Step("S", Shape(65, 64, n_layer=4, n_head=4, n_embd=128, bias=False), 12, 64)
M = Step("M", Shape(65, 256, n_layer=6, n_head=6, n_embd=384, bias=False), 16, 256)
L = Step("L", Shape(block_size=64), 4, 64)
STEPS = {step.name: step for step in (S, M, L)}


@dataclass(frozen=True)
class Linear:
    """A linear layer of a training step: (rows, inputs) -> (rows, outputs)."""

    name: str
    rows: int
    inputs: int
    outputs: int

    @property
    def flops(self) -> float:
        """Of each of its three products."""
        return 2.0 * self.rows * self.inputs * self.outputs


def linears(step: Step) -> list[Linear]:
    """The kinds of linear layers of a step."""
    c = step.config.n_embd
    sizes = {
        "qkv": (c, 3 * c),
        "out": (c, c),
        "up": (c, 4 * c),
        "down": (4 * c, c),
        "head": (c, step.config.vocab_size),
    }
    return [Linear(f"{step.name} {name}", step.tokens, *size) for name, size in sizes.items()]
