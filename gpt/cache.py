"""KVCache: the keys and values of positions already read, so that each is computed once.

Keys and values stay valid because attention is causal and positions are fixed: nothing that comes
later changes them. What a cache saves is everything but attention itself, which still looks back
over all positions for every new one.

A cache is an argument of the model, never a part of it. `append` writes and returns views; `length`
advances once per forward pass, in `GPT`, so a pass that fails leaves the cache as it was, and
setting `length` back forgets the positions after it.
"""

from __future__ import annotations

from typing import Any

import tensorlite
from gpt.config import GPTConfig
from tensorlite import Tensor


class KVCache:
    """Room for max_length positions (None: block_size) of batch_size sequences, in every layer.

    ValueError if max_length or batch_size is out of range, and from `append` if there is no room.
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
        self._views_of: tuple[int, int] | None = None
        self._views: list[tuple[Tensor, ...]] = []

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k, v (B, H, T, D) behind the first `length` positions of the layer; return all of
        its keys and values so far, (B, H, length + T, D), without copying them."""
        B, _, T, _ = k.shape
        if self.length + T > self.max_length:
            raise ValueError(
                f"KVCache: holds {self.max_length} positions, {self.length} used, cannot append {T}"
            )
        if self.batch_size != B:
            raise ValueError(f"KVCache: made for batch_size {self.batch_size}, got {B}")
        if k.dtype != self.keys.dtype:
            raise ValueError(
                f"KVCache: made for {self.keys.dtype}, got {k.dtype}; pass dtype= when making it"
            )
        end = self.length + T
        if layer == 0 or self._views_of != (self.length, end):
            self._open_views(end)
        new_k, new_v, all_k, all_v = self._views[layer]
        new_k[...] = k
        new_v[...] = v
        return all_k, all_v

    def _open_views(self, end: int) -> None:
        """For each layer the places of its new keys and values, and all of both up to `end`.

        Once a pass, with its first layer: a view costs as much as any op.
        """
        self._views_of = (self.length, end)
        both = (self.keys, self.values)
        places = [x[:, :, :, self.length : end].unbind(0) for x in both]
        wholes = [x[:, :, :, :end].unbind(0) for x in both]
        self._views = list(zip(*places, *wholes, strict=True))

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: its views must be of its own keys and values."""
        return {**self.__dict__, "_views_of": None, "_views": []}

    def __repr__(self) -> str:
        layers, _, heads, _, width = self.keys.shape
        return (
            f"KVCache({self.length} of {self.max_length} positions, batch_size={self.batch_size}, "
            f"{layers} layers, {heads} heads of width {width})"
        )
