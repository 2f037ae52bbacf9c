"""KVCache: the keys and values of positions already read, so that each is computed once.

Keys and values stay valid because attention is causal and positions are fixed: nothing that comes
later changes them. What a cache saves is everything but attention itself, which still looks back
over all positions for every new one.

A cache is an argument of the model, never a part of it. A pass opens it for its positions, every
layer appends its keys and values there, and `length` advances once per pass, in `GPT`: a pass that
fails leaves the cache as it was, and setting `length` back forgets the positions after it.

Where a pass writes, and how many keys attention sees, are numbers in the cache's memory, not in the
program: so one captured pass (tensorlite.capture) serves every position.
"""

from __future__ import annotations

import numpy as np

import tensorlite
from gpt.config import GPTConfig
from tensorlite import Tensor


class KVCache:
    """Room for max_length positions (None: block_size) of batch_size sequences, in every layer.

    ValueError if max_length or batch_size is out of range, and from `open` if there is no room.
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int = 1,
        max_length: int | None = None,
        dtype: tensorlite.dtype = tensorlite.float32,
    ) -> None:
        if max_length is None:
            max_length = config.block_size
        if not 1 <= max_length <= config.block_size:
            raise ValueError(
                f"KVCache: max_length must lie in [1, block_size = {config.block_size}], "
                f"got {max_length}"
            )
        if batch_size < 1:
            raise ValueError(f"KVCache: batch_size must be positive, got {batch_size}")
        shape = (config.n_layer, batch_size, config.kv_heads, max_length, config.head_width)
        self.keys = tensorlite.zeros(shape, dtype=dtype)
        self.values = tensorlite.zeros(shape, dtype=dtype)
        self.batch_size = batch_size
        self.max_length = max_length
        self.length = 0
        self._places = np.zeros(max_length, np.int64)  # of the positions of this pass
        self._end = np.zeros(1, np.int64)  # the length after it

    def open(self, count: int) -> Tensor:
        """Make way for `count` positions behind the first `length`; returns their numbers (count,).

        The next call with that count writes into the same memory.
        """
        end = self.length + count
        if end > self.max_length:
            raise ValueError(
                f"KVCache: holds {self.max_length} positions, {self.length} used, "
                f"cannot read {count} more"
            )
        self._places[:count] = np.arange(self.length, end)
        self._end[0] = end
        return tensorlite.from_numpy(self._places[:count])

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Write k, v (B, H, T, D) at the positions that are open; return all keys and values of the
        layer (B, H, max_length, D), without copying them, and how many of them there are."""
        B, _, T, _ = k.shape
        if self.batch_size != B:
            raise ValueError(f"KVCache: made for batch_size {self.batch_size}, got {B}")
        if k.dtype != self.keys.dtype:
            raise ValueError(
                f"KVCache: made for {self.keys.dtype}, got {k.dtype}; pass dtype= when making it"
            )
        if not self.length == self._places[0] == self._end[0] - T:
            raise ValueError(f"KVCache: call open({T}) before a pass of {T} positions appends")
        places = tensorlite.from_numpy(self._places[:T])
        keys, values = self.keys[layer], self.values[layer]
        keys.index_copy_(2, places, k)
        values.index_copy_(2, places, v)
        return keys, values, tensorlite.from_numpy(self._end)

    def __repr__(self) -> str:
        layers, _, heads, _, width = self.keys.shape
        return (
            f"KVCache({self.length} of {self.max_length} positions, batch_size={self.batch_size}, "
            f"{layers} layers, {heads} heads of width {width})"
        )
