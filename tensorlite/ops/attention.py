"""Attention: softmax(q k^T scale) v, fused, and PyTorch's function with masks and dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorlite.autograd import Array, OpError, composed, op, unwrap
from tensorlite.kernels import attention as kernels
from tensorlite.kernels.attention_backward import attention_backward
from tensorlite.ops.compare import masked_fill
from tensorlite.ops.elementwise import minus, mul, plus
from tensorlite.ops.linalg import matmul
from tensorlite.ops.neural import on_tape, softmax
from tensorlite.ops.reduce import sum
from tensorlite.ops.shape import reshape, unsqueeze


@op
def attention(q: Array, k: Array, v: Array, *, scale: float, offset: int) -> Any:
    """softmax(q k^T scale) v over the keys j <= i + offset of query i, in memory linear in T and S.

    q (B, H, T, D), k and v (B, G, S, D), H a multiple of G -> (B, H, T, D). Query head h reads key
    head h // (H / G): Ainslie et al. 2023. A query without keys gets zeros. The bits of a query's
    result depend on its own position and keys only. Dao et al. 2022, FlashAttention.
    """
    out, lse = kernels.attention(_by_rows(q), _by_rows(k), _by_rows(v), scale, offset)
    return out, {"lse": lse}


def _by_rows(x: Array) -> Array:
    """x, or a copy of it, with contiguous rows."""
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


@attention.vjp
def _(g: Any, q: Any, k: Any, v: Any, out: Any, lse: Array, scale: float, offset: int) -> Any:
    if on_tape(g, q, k, v):
        return _gradients(g, q, k, v, scale, offset)
    rows = _by_rows
    return attention_backward(rows(g), rows(q), rows(k), rows(v), out, lse, scale, offset)


def _gradients(g: Any, q: Any, k: Any, v: Any, scale: float, offset: int) -> tuple[Any, Any, Any]:
    """The gradients by ops, with all T x S weights: for second derivatives.

    p = softmax(s),   gv = p^T g,   gs = p (g v^T - sum(g v^T p)) scale,   gq = gs k,   gk = gs^T q
    """
    B, H, T, D = q.shape
    G, S = k.shape[1:3]
    heads = (B, G, H // G, T, D)  # those that share keys side by side
    q, g = reshape(q, heads), reshape(g, heads)
    k, v = unsqueeze(k, 2), unsqueeze(v, 2)
    hidden = np.arange(S) > np.arange(T)[:, None] + offset
    scores = masked_fill(mul(matmul(q, k.mT), scale), hidden, -math.inf)
    p = masked_fill(softmax(scores, dim=-1), hidden, 0.0)  # a row of -inf only is NaN
    gp = matmul(g, v.mT)
    gs = mul(mul(p, minus(gp, sum(mul(gp, p), -1, True))), scale)
    gk, gv = sum(matmul(gs.mT, q), 2), sum(matmul(p.mT, g), 2)
    return reshape(matmul(gs, k), (B, H, T, D)), gk, gv


@composed(functional=True)
def causal_attention(q: Any, k: Any, v: Any, *, scale: float | None = None) -> Any:
    """Attention in which query i sees the keys j <= i + (S - T): q (B, H, T, D), k, v (B, G, S, D).

    The last query sees all keys, so one rule serves training (S = T), reading in chunks and
    decoding from a cache (T = 1), with the same bits. scale defaults to 1 / sqrt(D).
    """
    _check("causal_attention", q, k, v)
    if q.ndim != 4 or k.shape[0] != q.shape[0]:
        raise OpError(
            "causal_attention: takes (B, H, T, D) and (B, G, S, D), got "
            f"{tuple(q.shape)} and {tuple(k.shape)}"
        )
    if q.shape[1] % max(k.shape[1], 1):
        raise OpError(
            f"causal_attention: query heads must be a multiple of key heads, got {q.shape[1]} and "
            f"{k.shape[1]}"
        )
    if q.shape[2] > k.shape[2]:
        raise OpError(
            f"causal_attention: there must be as many keys as queries, got {q.shape[2]} queries "
            f"and {k.shape[2]} keys"
        )
    if scale is None:
        scale = 1 / math.sqrt(q.shape[-1])
    return attention(q, k, v, scale=scale, offset=k.shape[2] - q.shape[2])


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    kept: Any = None,
) -> Any:
    """softmax(query key^T scale + mask) value, as PyTorch has it.

    query (..., H, T, D), key (..., G, S, D), value (..., G, S, E) -> (..., H, T, E). A boolean mask
    is True where a key may be seen, any other is added. is_causal lets query i see keys j <= i (for
    T < S that differs from causal_attention). Without mask and dropout no T x S matrix exists.
    kept: 0 or 1 / (1 - p) for each weight, drawn by nn.functional for its dropout_p.
    """
    name = "scaled_dot_product_attention"
    _check(name, query, key, value)
    if is_causal and attn_mask is not None:
        raise OpError(f"{name}: is_causal and attn_mask exclude each other")
    T, D = query.shape[-2:]
    S = key.shape[-2]
    scale = 1 / math.sqrt(D) if scale is None else scale
    if query.ndim > 2 and query.shape[-3] != key.shape[-3] and not enable_gqa:
        raise OpError(
            f"{name}: query and key must have as many heads, got {query.shape[-3]} and "
            f"{key.shape[-3]}; pass enable_gqa=True to share keys"
        )
    batch = tuple(query.shape[:-2])
    plain = attn_mask is None and kept is None and value.shape[-1] == D
    if plain and tuple(key.shape[:-3]) == tuple(query.shape[:-3]):
        heads = (-1, batch[-1]) if batch else (1, 1)
        keys = (-1, key.shape[-3]) if batch else (1, 1)
        q = reshape(query, (*heads, T, D))
        k, v = reshape(key, (*keys, S, D)), reshape(value, (*keys, S, D))
        y = attention(q, k, v, scale=scale, offset=0 if is_causal else S)
        return reshape(y, (*batch, T, D))
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        times = query.shape[-3] // key.shape[-3]
        key, value = (_repeat_heads(x, times) for x in (key, value))
    scores = mul(matmul(query, key.mT), scale)
    if is_causal:
        attn_mask = np.tril(np.ones((T, S), np.bool_))
    if attn_mask is not None and unwrap(attn_mask).dtype == np.bool_:
        scores = masked_fill(scores, ~unwrap(attn_mask), -math.inf)
    elif attn_mask is not None:
        scores = plus(scores, attn_mask)
    weights = softmax(scores, dim=-1)
    if kept is not None:
        weights = mul(weights, kept)
    return matmul(weights, value)


def _repeat_heads(x: Any, times: int) -> Any:
    """Every head `times` times in a row: (..., G, S, D) -> (..., G times, S, D)."""
    stretched = plus(unsqueeze(x, -3), np.zeros((times, 1, 1), unwrap(x).dtype))
    return reshape(stretched, (*x.shape[:-3], x.shape[-3] * times, *x.shape[-2:]))


def _check(name: str, q: Any, k: Any, v: Any) -> None:
    if q.ndim < 2 or k.ndim != q.ndim or v.ndim != q.ndim:
        raise OpError(
            f"{name}: query, key and value must have as many axes, at least 2, got shapes "
            f"{tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}"
        )
    if q.shape[-1] != k.shape[-1] or tuple(k.shape[:-1]) != tuple(v.shape[:-1]):
        raise OpError(
            f"{name}: query and key must have one width, key and value one length, got shapes "
            f"{tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}"
        )
    if not unwrap(q).dtype == unwrap(k).dtype == unwrap(v).dtype or unwrap(q).dtype.kind != "f":
        raise OpError(f"{name}: all must have one floating dtype, got {q.dtype}, {k.dtype}")
