"""Attention, MLP, Block, GPT: in the order of understanding. One Block serves GPT-2 and Llama.

Shape letters:

    B  batch              T  query positions, the ones being read now
    C  model width        S  key positions, T and those in the cache before it
    V  vocabulary         H  query heads    G  key and value heads    D  head width, C / H

Query i sees keys j <= i + (S - T). One rule for training (S = T), prefill, reading in chunks
and decoding (T = 1), and one path: the line `cache.append(...)` is all that a cache changes.
The results are the same bits however a sequence is cut, and whatever else is in the batch.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import TypeAlias

import numpy as np

import tensorlite
from gpt.cache import KVCache
from gpt.config import GPTConfig
from tensorlite import Tensor, nn
from tensorlite.nn import functional as F

Rotation: TypeAlias = tuple[Tensor, Tensor]  # cosines and sines, both (T, D / 2)


class Attention(nn.Module):
    """Causal self-attention with H query heads over G shared key and value heads.

    Vaswani et al. 2017, section 3.2; sharing: Ainslie et al. 2023, grouped-query attention.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads = (config.n_head, config.kv_heads, config.kv_heads)
        widths = (config.n_head + 2 * config.kv_heads) * config.head_width
        self.qkv = nn.Linear(config.n_embd, widths, bias=config.bias)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rotation: Rotation | None, cache: KVCache | None) -> Tensor:
        """(B, T, C) -> (B, T, C)"""
        q, k, v = F.split_heads(self.qkv(x), self.heads)  # (B, H, T, D), (B, G, T, D) twice
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        length = None
        if cache is not None:
            k, v, length = cache.append(self.layer, k, v)  # (B, G, room, D), of which S count
        y = F.causal_attention(q, k, v, length=length)  # (B, H, T, D)
        y = F.merge_heads(y)  # (B, T, C), heads side by side
        return self.dropout(self.out(y))


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + D/2]) by its position's angle: (B, H, T, D) -> (B, H, T, D).

    Products of turned queries and keys depend on the distance of their positions only.
    Su et al. 2021, RoFormer; paired by halves as in Llama's public weights.
    """
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return tensorlite.cat([a * cosines - b * sines, b * cosines + a * sines], dim=-1)


class MLP(nn.Module):
    """The feed-forward layer, at every position alone: C -> 4C -> C, or gated for swiglu.

    relu2 is relu squared (So et al. 2021, Primer); swiglu is silu(gate) * up (Shazeer 2020).
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        names = {"gelu": "gelu_tanh", "relu2": "relu_squared"}
        self.activation = names.get(config.activation, config.activation)
        if config.activation == "swiglu":
            self.gate = nn.Linear(config.n_embd, config.mlp_width, bias=config.bias)
        self.up = nn.Linear(config.n_embd, config.mlp_width, bias=config.bias)
        self.down = nn.Linear(config.mlp_width, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)"""
        if self.activation == "swiglu":
            y = self.down(F.swiglu(self.gate(x), self.up(x)))  # (B, T, 4C) -> (B, T, C)
        elif isinstance(self.up, nn.PackedLinear):  # with the activation on the way
            y = self.down(self.up.linear(x, self.activation))
        else:
            up, down = self.up, self.down
            y = F.feed_forward(
                x, up.weight, up.bias, down.weight, down.bias, activation=self.activation
            )
        return self.dropout(y)


class Block(nn.Module):
    """Attention, then the MLP, each added to the residual stream.

    pre:  x + f(norm(x)), where the stream itself is never normalized (GPT-2, Llama)
    post: norm(x + f(x)), as in the first transformer
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.pre = config.norm_position == "pre"
        self.norm_1 = make_norm(config)
        self.attn = Attention(config, layer)
        self.norm_2 = make_norm(config)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, rotation: Rotation | None, cache: KVCache | None) -> Tensor:
        """(B, T, C) -> (B, T, C)"""
        if self.pre:
            x = x + self.attn(self.norm_1(x), rotation, cache)
            return x + self.mlp(self.norm_2(x))
        x = self.norm_1(x + self.attn(x, rotation, cache))
        return self.norm_2(x + self.mlp(x))


def make_norm(config: GPTConfig) -> nn.Module:
    """Layer norm (Ba et al. 2016) or RMS norm (Zhang and Sennrich 2019), over C."""
    if config.norm == "rms":
        return nn.RMSNorm(config.n_embd, eps=1e-5)
    return nn.LayerNorm(config.n_embd, eps=1e-5, bias=config.bias)


class GPT(nn.Module):
    """A decoder-only transformer: `model(ids)` are the logits of each next token.

    >>> model = GPT(GPTConfig(vocab_size=65, block_size=8, n_layer=2, n_head=2, n_embd=16))
    >>> model(tensorlite.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 65])
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        C = config.n_embd
        self.wte: nn.Embedding | nn.PackedEmbedding = nn.Embedding(config.vocab_size, C)
        if config.position == "learned":
            self.wpe = nn.Embedding(config.block_size, C)
        elif config.position == "sinusoidal":
            table = sinusoids(config.block_size, C)
            self.register_buffer("sines", tensorlite.from_numpy(table), persistent=False)
        else:
            for name, table in zip(("cos", "sin"), angles(config), strict=True):
                self.register_buffer(name, tensorlite.from_numpy(table), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        # After post-norm blocks the stream is normalized already.
        self.norm_f = make_norm(config) if config.norm_position == "pre" else nn.Identity()
        if not config.tie_weights:
            self.lm_head = nn.Linear(C, config.vocab_size, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """GPT-2's start: normal of deviation .02, biases 0, gains 1; the 2 n_layer projections into
        the residual stream smaller by sqrt(2 n_layer), so that their sum has the same deviation.
        Radford et al. 2019, section 2.3."""
        residual = 0.02 / math.sqrt(2 * self.config.n_layer)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                into_stream = name.endswith(("attn.out", "mlp.down"))
                nn.init.normal_(module.weight, std=residual if into_stream else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Logits of the token after each position: ids (B, T) -> (B, T, V).

        With a cache, ids continue the sequences in it and are added to it, and no gradient is
        recorded. ValueError where the positions do not fit into block_size or the cache.
        """
        with recording_unless(cache):
            return self.head(self.features(ids, cache))

    def features(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """What the last layer hands to the output projection: ids (B, T) -> (B, T, C)."""
        with recording_unless(cache):
            x, rotation = self.embed(ids, cache)
            for block in self.h:
                x = block(x, rotation, cache)
            x = self.norm_f(x)
            if cache is not None:
                cache.length += ids.shape[1]
            return x

    def embed(self, ids: Tensor, cache: KVCache | None) -> tuple[Tensor, Rotation | None]:
        """Tokens after those in the cache: (B, T) -> (B, T, C), and the rotation for rope."""
        if ids.ndim != 2 or ids.shape[1] == 0:
            raise ValueError(f"GPT: ids must have shape (B, T) with T > 0, got {tuple(ids.shape)}")
        T = ids.shape[1]
        start = 0 if cache is None else cache.length
        if start + T > self.config.block_size:
            raise ValueError(
                f"GPT: block_size is {self.config.block_size} positions, {start} used, "
                f"cannot read {T} more"
            )
        places = slice(0, T) if cache is None else cache.open(T)
        x = self.wte(ids)  # (B, T, C)
        rotation = None
        match self.config.position:
            case "learned":
                x = x + self.wpe.weight[places]  # + (T, C)
            case "sinusoidal":
                x = x + self.sines[places]  # + (T, C)
            case "rope":
                rotation = self.cos[places], self.sin[places]  # both (T, D / 2)
        return self.dropout(x), rotation

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats of targets (B, T) after ids (B, T); the (B T, V) logits never
        exist as a whole."""
        x = self.features(ids)
        x = x.view(-1, self.config.n_embd)  # (B, T, C) -> (B T, C)
        return F.linear_cross_entropy(x, self.head_weight, targets.reshape(-1))

    def head(self, x: Tensor) -> Tensor:
        """The projection of features onto the vocabulary: (..., C) -> (..., V)."""
        output = self.wte if self.config.tie_weights else self.lm_head
        if isinstance(output, nn.PackedLinear):
            return output.linear(x)
        return F.linear(x, output.weight)

    @property
    def head_weight(self) -> Tensor:
        """The output projection (V, C): the token embedding itself if tied."""
        return self.wte.weight if self.config.tie_weights else self.lm_head.weight

    def for_decoding(self) -> GPT:
        """Pack the matrices of products; returns the model, whose results keep their bits.

        One position's products then read memory in straight lines, at its speed, and a text's need
        not pack the matrices anew. What is trained from then on are the packed ones, under names
        of their own; hooks of the layers that are replaced are gone.
        """
        for module in list(self.modules()):
            for name, part in list(module.named_children()):
                if type(part) is nn.Linear:
                    packed = nn.PackedLinear(part.weight, part.bias)
                    setattr(module, name, packed.train(part.training))
        if self.config.tie_weights and isinstance(self.wte, nn.Embedding):
            self.wte = nn.PackedEmbedding(self.wte.weight).train(self.wte.training)
        return self

    def num_parameters(self) -> int:
        """Trained numbers, a shared matrix counted once."""
        return sum(p.numel() for p in self.parameters())

    def extra_repr(self) -> str:
        """One line on top of the tree."""
        tied = ", output tied to wte" if self.config.tie_weights else ""
        return f"{self.num_parameters():,} parameters, block_size={self.config.block_size}{tied}"


def recording_unless(cache: KVCache | None) -> AbstractContextManager[object]:
    """No gradient flows into a cache, so none is recorded with one: better none than a part."""
    recording: AbstractContextManager[object] = tensorlite.set_grad_enabled(
        cache is None and tensorlite.is_grad_enabled()
    )
    return recording


def sinusoids(length: int, width: int) -> np.ndarray:
    """Fixed positions (length, width): feature 2i of position p is sin(p / 10000^(2i / width)), and
    2i + 1 its cosine. Vaswani et al. 2017, section 3.5."""
    p = np.arange(length, dtype=np.float64)[:, None]  # (length, 1)
    feature = np.arange(width)
    phase = p / 10000 ** ((feature - feature % 2) / width)  # (length, width)
    return np.where(feature % 2 == 0, np.sin(phase), np.cos(phase)).astype(np.float32)


def angles(config: GPTConfig) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of p / 10000^(2i / D), both (block_size, D / 2), for `rotate`."""
    p = np.arange(config.block_size, dtype=np.float64)[:, None]  # (block_size, 1)
    i = np.arange(config.head_width // 2)
    phase = p / 10000 ** (2 * i / config.head_width)  # (block_size, D / 2)
    return np.cos(phase).astype(np.float32), np.sin(phase).astype(np.float32)
