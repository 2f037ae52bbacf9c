"""Attention: softmax(q k^T scale) v, fused, and PyTorch's function with masks and dropout."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from tensorlite.autograd import Array, OpError, composed, is_grad_enabled, op, unwrap, watch
from tensorlite.kernels import attention as kernels
from tensorlite.kernels.attention_backward import attention_backward
from tensorlite.kernels.panels import WIDEST
from tensorlite.ops.compare import masked_fill
from tensorlite.ops.elementwise import minus, mul, plus
from tensorlite.ops.join import rejoined
from tensorlite.ops.linalg import matmul
from tensorlite.ops.neural import on_tape, softmax
from tensorlite.ops.reduce import sum
from tensorlite.ops.shape import Sizes, reshape, unsqueeze


@op
def attention(
    q: Array, k: Array, v: Array, *, scale: float, offset: int, length: Array | None = None
) -> Any:
    """softmax(q k^T scale) v over the keys j <= i + offset of query i, in memory linear in T and S.

    q (B, H, T, D), k and v (B, G, S, D), H a multiple of G -> (B, H, T, D). Query head h reads key
    head h // (H / G): Ainslie et al. 2023. A query without keys gets zeros. The bits of a query's
    result depend on its own position and keys only. Dao et al. 2022, FlashAttention.

    With length, an int64, only so many of the keys count, offset is length - T, and no gradient is
    known. Heads wider than the kernel takes go through plain ops and T x S scores.
    """
    if q.shape[-1] > WIDEST:
        if length is not None:
            S = int(length.item())
            k, v, offset = k[:, :, :S], v[:, :, :S], S - q.shape[2]
        return _plainly(q, k, v, scale, offset), {"lse": None}
    rows = (_by_rows(q), _by_rows(k), _by_rows(v))
    if length is None:
        out, lse = kernels.attention(*rows, scale, offset)
    else:
        out, lse = kernels.attention(*rows, scale, 0, length.reshape(1))
    return out, {"lse": lse}


@attention.by_kernels
def _(q: Array, k: Array, v: Array, **options: Any) -> Any:
    if q.shape[-1] <= WIDEST and all(x.size and x.strides[-1] == x.itemsize for x in (q, k, v)):
        return attention.op.function(q, k, v, **options)
    return None


def _by_rows(x: Array) -> Array:
    """x, or a copy of it, with contiguous rows."""
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


@attention.vjp
def _(g: Any, q: Any, k: Any, v: Any, out: Any, lse: Array, scale: float, offset: int) -> Any:
    if on_tape(g, q, k, v) or lse is None:
        return _gradients(g, q, k, v, scale, offset)
    rows = _by_rows
    return attention_backward(
        rows(g), rows(q), rows(k), rows(v), out, lse, scale, offset, *_gradients_like(q, k, v)
    )


@op(functional=True, view=True)
def split_heads(x: Array, *, heads: Sizes) -> tuple[Array, ...]:
    """The heads in x, (B, T, N D), as axes of their own: a view (B, n, T, D) for each n in `heads`.

    N is their sum; of [H, G, G] come queries, keys and values.
    """
    ends = [0, *accumulate(heads)]
    whole = ends[-1]
    if not heads or min(heads) < 1 or x.ndim != 3 or x.shape[2] % whole:
        raise OpError(
            f"split_heads: the last of three axes must hold {list(heads)} heads, positive numbers, "
            f"of one width, got shape {x.shape}"
        )
    B, T, C = x.shape
    y = x.reshape(B, T, whole, C // whole).swapaxes(1, 2)
    return tuple([y[:, a:b] for a, b in pairwise(ends)])


@split_heads.vjp
def _(g: Any) -> Any:
    return merge_heads(rejoined(g, 1))


@op(functional=True, view=True)
def merge_heads(x: Array) -> Array:
    """Heads side by side: (B, H, T, D) -> (B, T, H D); of what attention returns, a view."""
    if x.ndim != 4:
        raise OpError(f"merge_heads: takes (B, H, T, D), got shape {x.shape}")
    B, H, T, D = x.shape
    return x.swapaxes(1, 2).reshape(B, T, H * D), {"H": H}


@merge_heads.vjp
def _(g: Any, H: int) -> Any:
    return split_heads(g, [H])[0]


def _gradients_like(q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    """Memory for the gradients of q, k and v that were cut from one array, side by side in one: to
    join them again takes no copy then (see `split`). Of others, nothing."""
    B, H, T, D = q.shape
    G, S = k.shape[1:3]
    if q.base is None or q.base is not k.base or q.base is not v.base or T != S:
        return ()
    whole = np.empty((B, T, H + 2 * G, D), q.dtype).transpose(0, 2, 1, 3)
    return whole[:, :H], whole[:, H : H + G], whole[:, H + G :]


def _gradients(g: Any, q: Any, k: Any, v: Any, scale: float, offset: int) -> tuple[Any, Any, Any]:
    """The gradients by ops, with all T x S weights: for second derivatives.

    p = softmax(s),   gv = p^T g,   gs = p (g v^T - sum(g v^T p)) scale,   gq = gs k,   gk = gs^T q
    """
    shape = tuple(q.shape)
    q, k, v = _sharing(q, k, v)
    g = reshape(g, q.shape)
    p = _weights(q, k, scale, _hidden(q, k, offset))
    gp = matmul(g, v.mT)
    gs = mul(mul(p, minus(gp, sum(mul(gp, p), -1, True))), scale)
    gk, gv = sum(matmul(gs.mT, q), 2), sum(matmul(p.mT, g), 2)
    return reshape(matmul(gs, k), shape), gk, gv


def _sharing(q: Any, k: Any, v: Any) -> tuple[Any, Any, Any]:
    """Heads that share keys side by side: q (B, G, H / G, T, D), k and v (B, G, 1, S, D)."""
    B, H, T, D = q.shape
    G = k.shape[1]
    return reshape(q, (B, G, H // G, T, D)), unsqueeze(k, 2), unsqueeze(v, 2)


def _hidden(q: Any, k: Any, offset: int) -> Array:
    """True where query i does not see key j: j > i + offset; (T, S)."""
    hidden: Array = np.arange(k.shape[-2]) > np.arange(q.shape[-2])[:, None] + offset
    return hidden


def _weights(q: Any, k: Any, scale: float, hidden: Array | None = None, added: Any = None) -> Any:
    """softmax(q k^T scale + added), 0 where hidden: (..., T, S). A query that sees no key, or only
    keys at -inf, has zeros."""
    scores = mul(matmul(q, k.mT), scale)
    if added is not None:
        scores = plus(scores, added)
    if hidden is not None:
        scores = masked_fill(scores, hidden, -math.inf)
    unseeing = np.isneginf(unwrap(scores)).all(-1, keepdims=True)
    if not unseeing.any():
        return softmax(scores, dim=-1)
    return masked_fill(softmax(masked_fill(scores, unseeing, 0.0), dim=-1), unseeing, 0.0)


def _plainly(q: Any, k: Any, v: Any, scale: float, offset: int) -> Any:
    """Attention by ops."""
    shape = tuple(q.shape)
    q, k, v = _sharing(q, k, v)
    return reshape(matmul(_weights(q, k, scale, _hidden(q, k, offset)), v), shape)


@composed(functional=True)
def causal_attention(
    q: Any, k: Any, v: Any, *, scale: float | None = None, length: Any = None
) -> Any:
    """Attention in which query i sees the keys j <= i + (S - T): q (B, H, T, D), k, v (B, G, S, D).

    The last query sees all keys, so one rule serves training (S = T), reading in chunks and
    decoding from a cache (T = 1), with the same bits. scale defaults to 1 / sqrt(D).

    length: how many of the keys there are, an int64 tensor of one element: the bits of
    k[:, :, :length] and v[:, :, :length]. It is read whenever attention is computed, so that a
    captured pass (tensorlite.capture) sees a cache fill up.
    """
    _check("causal_attention", q, k, v)
    q_shape, k_shape = unwrap(q).shape, unwrap(k).shape
    if len(q_shape) != 4 or k_shape[0] != q_shape[0]:
        raise OpError(
            f"causal_attention: takes (B, H, T, D) and (B, G, S, D), got {q_shape} and {k_shape}"
        )
    (_, H, T, D), (_, G, S, _) = q_shape, k_shape
    if H % max(G, 1):
        raise OpError(
            f"causal_attention: query heads must be a multiple of key heads, got {H} and {G}"
        )
    if length is not None:
        S = _length(length, T, S)
        if is_grad_enabled() and any(getattr(x, "requires_grad", False) for x in (q, k, v)):
            k, v, length = k[:, :, :S], v[:, :, :S], None
    if T > S:
        raise OpError(
            f"causal_attention: there must be as many keys as queries, got {T} queries and {S} keys"
        )
    scale = 1 / math.sqrt(D) if scale is None else scale
    return attention(q, k, v, scale=scale, offset=S - T, length=length)


def _length(length: Any, T: int, S: int) -> int:
    """The number in `length`, checked."""
    array = unwrap(length)
    if not isinstance(array, np.ndarray) or array.dtype != np.int64 or array.size != 1:
        raise OpError(
            f"causal_attention: length must be an int64 tensor of one element, got {length}"
        )
    if not T <= array.item() <= S:
        raise OpError(
            f"causal_attention: length must lie in [T = {T}, S = {S}], got {array.item()}"
        )
    return int(array.item())


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
    T < S that differs from causal_attention). A query that sees no key gets zeros. Without mask and
    dropout no T x S matrix exists. enable_gqa: G divides H, and H / G heads in a row share keys.
    kept: 0 or 1 / (1 - p) for each weight, drawn by nn.functional for its dropout_p.
    """
    name = "scaled_dot_product_attention"
    _check(name, query, key, value)
    T, D = query.shape[-2:]
    S = key.shape[-2]
    heads, shared = (x.shape[-3] if x.ndim > 2 else 1 for x in (query, key))
    if heads != shared != 1 and not enable_gqa:
        raise OpError(
            f"{name}: query and key must have as many heads, got {heads} and {shared}; "
            "pass enable_gqa=True to share keys"
        )
    if enable_gqa and heads % max(shared, 1):
        raise OpError(
            f"{name}: query heads must be a multiple of key heads, got {heads} and {shared}"
        )
    scale = 1 / math.sqrt(D) if scale is None else scale
    batch = tuple(query.shape[:-3])
    plain = attn_mask is None and kept is None and value.shape[-1] == D
    if plain and tuple(key.shape[:-3]) == batch and heads % max(shared, 1) == 0:
        sequences = math.prod(batch)
        q = reshape(query, (sequences, heads, T, D))
        k, v = (reshape(x, (sequences, shared, S, D)) for x in (key, value))
        y = attention(q, k, v, scale=scale, offset=0 if is_causal else S)
        return reshape(y, tuple(query.shape))
    watch.constant(f"{name}, with a mask or other than its kernel takes")
    if shared not in (1, heads):
        key, value = (_repeat_heads(x, heads // shared) for x in (key, value))
    hidden = _hidden(query, key, 0) if is_causal else None
    added = attn_mask
    if attn_mask is not None and unwrap(attn_mask).dtype.kind == "b":
        unseen = ~unwrap(attn_mask)
        hidden, added = unseen if hidden is None else unseen | hidden, None
    elif attn_mask is not None and unwrap(attn_mask).dtype.kind != "f":
        raise OpError(f"{name}: attn_mask must be boolean or floating, got {attn_mask.dtype}")
    weights = _weights(query, key, scale, hidden, added)
    if kept is not None:
        weights = mul(weights, kept)
    return matmul(weights, value)


def _repeat_heads(x: Any, times: int) -> Any:
    """Every head `times` times in a row: (..., G, S, D) -> (..., G times, S, D)."""
    stretched = plus(unsqueeze(x, -3), np.zeros((times, 1, 1), unwrap(x).dtype))
    return reshape(stretched, (*x.shape[:-3], x.shape[-3] * times, *x.shape[-2:]))


def _check(name: str, q: Any, k: Any, v: Any) -> None:
    q, k, v = unwrap(q), unwrap(k), unwrap(v)
    if q.ndim < 2 or k.ndim != q.ndim or v.ndim != q.ndim:
        raise OpError(
            f"{name}: query, key and value must have as many axes, at least 2, got shapes "
            f"{q.shape}, {k.shape}, {v.shape}"
        )
    if q.shape[-1] != k.shape[-1] or k.shape[:-1] != v.shape[:-1]:
        raise OpError(
            f"{name}: query and key must have one width, key and value one length, got shapes "
            f"{q.shape}, {k.shape}, {v.shape}"
        )
    if not q.dtype == k.dtype == v.dtype or q.dtype.kind != "f":
        raise OpError(f"{name}: all must have one floating dtype, got {q.dtype}, {k.dtype}")
