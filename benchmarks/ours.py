"""Our side: a GPT of the gpt package in training and in decoding, as the other side has it."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

import tensorlite
from benchmarks import peers
from benchmarks.shapes import BETAS, CLIP, LEARNING_RATE, WEIGHT_DECAY, Shape, Step
from gpt import GPT, GPTConfig, KVCache, Reader
from tensorlite import nn, optim, profiler


class Training:
    """A model, its optimizer, and one batch: `step()` is what is timed."""

    def __init__(self, step: Step) -> None:
        tensorlite.manual_seed(0)
        self.model = GPT(GPTConfig(**asdict(step.config)))
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim == 1]
        groups = [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS)
        shape = (2, step.batch, step.length)
        batch = np.random.default_rng(0).integers(step.config.vocab_size, size=shape)
        self.ids, self.targets = (tensorlite.from_numpy(part) for part in batch)

    def step(self) -> float:
        loss = self.model.loss(self.ids, self.targets)
        loss.backward()
        with profiler.record_function("clip_grad_norm_"):
            nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.item())


class Decoding:
    """A model and its cache: `prefill` reads a prompt, `decode` one more token."""

    def __init__(self, config: Shape, length: int) -> None:
        tensorlite.manual_seed(0)
        self.model = GPT(GPTConfig(**asdict(config))).eval()
        self.weights = peers.weights(self.model)  # under the names they have before they are packed
        self.model.for_decoding()
        self.cache = KVCache(self.model.config, max_length=length)
        self.read = Reader(self.model, self.cache)

    def prefill(self, ids: np.ndarray) -> tensorlite.Tensor:
        """Logits after the prompt: as in `generate`, of its last position only."""
        self.cache.length = 0
        with tensorlite.inference_mode():
            return self.model.head(
                self.model.features(tensorlite.from_numpy(ids), self.cache)[:, -1:]
            )

    def decode(self, token: int, position: int) -> int:
        self.cache.length = position
        return int(self.read([[token]]).argmax().item())
