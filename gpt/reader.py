"""Reader: reads tokens into a cache and gives the logits of the next, the inner step of decoding.

To read a single token of each sequence takes as many ops as to read a page, each on little, with a
fifth of the time spent in Python between them. So that pass is captured the first time, and then
replayed: the same kernels on the same memory, so the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import tensorlite
from gpt.cache import KVCache
from gpt.model import GPT
from tensorlite import Tensor


class Reader:
    """reader(ids): the logits (B, V) after ids, a row for each sequence of the cache.

    chunk: the most positions to read in one pass. Parameters and what is in the cache may be
    changed in place between calls, but not replaced; the next call overwrites the logits.
    """

    def __init__(self, model: GPT, cache: KVCache, chunk: int | None = None) -> None:
        self.model = model
        self.cache = cache
        self.chunk = chunk
        self._ids = tensorlite.zeros((cache.batch_size, 1), dtype=tensorlite.int64)
        self._step: tensorlite.Capture | None = None
        self._logits: Tensor | None = None

    def __call__(self, ids: Sequence[Sequence[int]] | np.ndarray) -> Tensor:
        rows = np.asarray(ids, np.int64)
        if rows.shape == self._ids.shape and not self.model.training:
            return self._read_one(rows)
        tokens = tensorlite.from_numpy(rows)  # (B, T)
        T = rows.shape[1]
        step = self.chunk or T
        with tensorlite.no_grad():
            for i in range(0, T, step):
                x = self.model.features(tokens[:, i : i + step], self.cache)  # (B, step, C)
            return self.model.head(x[:, -1])  # (B, C) -> (B, V)

    def _read_one(self, ids: np.ndarray) -> Tensor:
        self._ids.numpy()[...] = ids
        if self._step is None or self._logits is None:
            with tensorlite.Capture() as step:
                x = self.model.features(self._ids, self.cache)  # (B, 1, C)
                self._logits = self.model.head(x[:, -1])
            self._step = step
        else:
            self.cache.open(1)
            self._step.replay()
            self.cache.length += 1
        return self._logits
