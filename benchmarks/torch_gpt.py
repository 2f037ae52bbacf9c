"""The peer: the same GPT in PyTorch, in the shape of nanoGPT, with a preallocated cache.

The names of parameters are those of gpt.GPT, so its weights can be copied over and the two sides
checked to compute the same loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.shapes import BETAS, CLIP, LEARNING_RATE, WEIGHT_DECAY, Shape, Step


class Attention(nn.Module):
    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.heads = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Any, cache: Any) -> Any:
        B, T, C = x.shape
        q, k, v = (
            part.view(B, T, self.heads, C // self.heads).transpose(1, 2)
            for part in self.qkv(x).split(C, dim=2)
        )  # (B, H, T, D)
        if cache is not None:
            keys, values, length = cache
            keys[:, :, length : length + T] = k
            values[:, :, length : length + T] = v
            k, v = keys[:, :, : length + T], values[:, :, : length + T]  # (B, H, S, D)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.up = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.down = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Any) -> Any:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = Attention(config)
        self.norm_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x: Any, cache: Any) -> Any:
        x = x + self.attn(self.norm_1(x), cache)
        return x + self.mlp(self.norm_2(x))


class GPT(nn.Module):
    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm_f = nn.LayerNorm(config.n_embd, bias=config.bias)

    def forward(self, ids: Any, caches: Any = None, start: int = 0) -> Any:
        """ids (B, T) -> logits (B, T, V); with caches, of the last position only (B, 1, V)."""
        positions = torch.arange(start, start + ids.shape[1])
        x = self.wte(ids) + self.wpe(positions)
        for layer, block in enumerate(self.h):
            x = block(x, caches and (*caches[layer], start))
        x = self.norm_f(x)
        return F.linear(x if caches is None else x[:, -1:], self.wte.weight)

    def loss(self, ids: Any, targets: Any) -> Any:
        logits = self(ids)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))

    def load(self, weights: dict[str, np.ndarray]) -> None:
        """Take over the weights of a gpt.GPT."""
        self.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})

    def caches(self, length: int) -> list[Any]:
        """Room for the keys and values of so many positions, in every layer."""
        c = self.config
        shape = (1, c.n_head, length, c.n_embd // c.n_head)
        return [(torch.zeros(shape), torch.zeros(shape)) for _ in range(c.n_layer)]


class Training:
    """A model, its optimizer, and one batch: `step()` is what is timed."""

    def __init__(self, step: Step, compiled: bool = False) -> None:
        self.model = GPT(step.config)
        for parameter in self.model.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim == 1]
        groups = [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, fused=True)
        self.loss = torch.compile(self.model.loss) if compiled else self.model.loss
        generator = torch.Generator().manual_seed(0)
        shape = (2, step.batch, step.length)
        self.ids, self.targets = torch.randint(step.config.vocab_size, shape, generator=generator)

    def step(self) -> float:
        loss = self.loss(self.ids, self.targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()  # type: ignore[no-any-return]


class Decoding:
    """A model with a full cache: `prefill` reads a prompt, `decode` one more token."""

    def __init__(self, config: Shape, length: int) -> None:
        self.model = GPT(config).eval()
        self.cache = self.model.caches(length)

    def prefill(self, ids: np.ndarray) -> Any:
        with torch.inference_mode():
            return self.model(torch.from_numpy(ids), self.cache, 0)

    def decode(self, token: int, position: int) -> int:
        with torch.inference_mode():
            logits = self.model(torch.tensor([[token]]), self.cache, position)
            return int(logits[0, -1].argmax())
