"""Reader: reads tokens into a cache and gives the logits of the next, the inner step of decoding.

To read a single token of each sequence takes as many ops as to read a page, each on little, with
Python between them. So that pass is captured and then replayed: the same kernels on the same
memory, hence the same bits. A token of 124M weights on one thread 17.1 -> 14.4 ms; of 4 layers, 128
wide, where nearly all of it was Python, .44 -> .07 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import tensorlite
from gpt.cache import KVCache
from gpt.model import GPT
from tensorlite import Tensor

# Single tokens that are read op by op first: a capture takes as long as it saves in some 30 tokens.
EAGER = 8


class Reader:
    """reader(ids): the logits (B, V) after ids (B, T), a row for each sequence of the cache.

    chunk: the most positions to read in one pass. Between calls parameters and cache may be changed
    in place, or replaced as a whole (for_decoding, to), but a single parameter may not be replaced,
    nor a hook added. The next call overwrites the logits. What cannot be captured is read op by op:
    models in training or with hooks, and everything under a profiler. ValueError if ids are no
    integers (B, T) with T > 0.
    """

    def __init__(self, model: GPT, cache: KVCache, chunk: int | None = None) -> None:
        self.model = model
        self.cache = cache
        self.chunk = chunk
        self._ids = tensorlite.zeros((cache.batch_size, 1), dtype=tensorlite.int64)
        self._singles = 0
        self._capturable = True
        self._captured: tuple[tensorlite.Capture, Tensor] | None = None  # and its logits
        self._memory: tuple[int, ...] = ()  # that it is a capture of; (): there is none

    def __call__(self, ids: Sequence[Sequence[int]] | np.ndarray) -> Tensor:
        rows = np.asarray(ids)
        if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype.kind not in "iu":
            raise ValueError(
                f"Reader: ids must be integers (B, T) with T > 0, got {rows.dtype} {rows.shape}"
            )
        if rows.shape == self._ids.shape and self._replays():
            self._ids.numpy()[...] = rows
            return self._replay() if self._memory == self._memory_now() else self._capture()
        return self._read(rows)

    def _read(self, rows: np.ndarray) -> Tensor:
        tokens = tensorlite.from_numpy(rows.astype(np.int64))  # (B, T)
        T = tokens.shape[1]
        step = self.chunk or T
        with tensorlite.no_grad():
            for i in range(0, T, step):
                x = self.model.features(tokens[:, i : i + step], self.cache)  # (B, step, C)
            return self.model.head(x[:, -1])  # (B, C) -> (B, V)

    def _replays(self) -> bool:
        """Is a single token to be read by a captured pass?"""
        self._singles += 1
        may = self._singles > EAGER and self._capturable and not self.model.training
        return may and tensorlite.Capture.possible()

    def _memory_now(self) -> tuple[int, ...]:
        """Where the model and the cache are, by a part of each."""
        parts = (next(self.model.parameters()), self.cache.keys, self.cache.values)
        return tuple(part.data_ptr() for part in parts)

    def _capture(self) -> Tensor:
        before = self.cache.length
        try:
            with tensorlite.Capture() as step:
                x = self.model.features(self._ids, self.cache)  # (B, 1, C)
                logits = self.model.head(x[:, -1])  # (B, V)
        except tensorlite.CaptureError:
            self._capturable, self.cache.length = False, before
            return self._read(self._ids.numpy())
        self._captured, self._memory = (step, logits), self._memory_now()
        return logits

    def _replay(self) -> Tensor:
        assert self._captured is not None
        step, logits = self._captured
        self.cache.open(1)
        step.replay()
        self.cache.length += 1
        return logits

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: it captures its own."""
        return {**self.__dict__, "_captured": None, "_memory": ()}
