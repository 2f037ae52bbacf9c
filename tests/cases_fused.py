"""A row for each of the fused ops, attention and cross-entropy, and for the parts of losses."""

from __future__ import annotations

from typing import Any

import numpy as np

import naive
from row import Ids, OneOf, Real, Row


def _attention(q: Any, k: Any, v: Any, scale: float, offset: int) -> Any:
    return naive.attention(q, k, v, q.dtype.type(scale), offset)[0]


def _losses(x: Any, target: Any, ignore_index: int, smoothing: float) -> Any:
    logp = naive.log_softmax(x)
    losses = -(1 - smoothing) * logp[np.arange(len(x)), target] - smoothing * logp.mean(1)
    return np.where(target == ignore_index, 0, losses).astype(x.dtype)


def _losses_backward(g: Any, x: Any, target: Any, ignore_index: int, smoothing: float) -> Any:
    slope = np.exp(naive.log_softmax(x)) - smoothing / x.shape[1]
    slope[np.arange(len(x)), target] -= 1 - smoothing
    return np.where(target[:, None] == ignore_index, 0, g[:, None] * slope).astype(x.dtype)


def _fused(x: Any, weight: Any, *options: Any) -> Any:
    *loss, scale = options
    return np.asarray(_losses(x @ weight.T, *loss).sum() * scale, x.dtype)


def _heads(x: Any, heads: Any) -> Any:
    B, T, C = x.shape
    y = np.moveaxis(x.reshape(B, T, 4, C // 4), 2, 1)
    return tuple(np.split(y, np.cumsum(heads)[:-1], axis=1))


CLASSES = {"target": Ids("A", below="c"), "ignore_index": OneOf(-100, 0)}
SMOOTHING = OneOf(0.0, 0.1)

FUSED = [
    Row(
        "attention",
        [Real("2 4 A c"), Real("2 2 B c"), Real("2 2 B c")],
        _attention,
        {"scale": 0.7, "offset": OneOf(-1, 0, 1, 9)},
    ),
    Row("split_heads", [Real("2 B 8")], _heads, {"heads": OneOf([2, 1, 1], (4,), [1, 3])}),
    Row(
        "merge_heads",
        [Real("A 3 B C")],
        lambda x: np.moveaxis(x, 1, 2).reshape(len(x), x.shape[2], 3 * x.shape[3]),
    ),
    Row("row_losses", [Real("A c")], _losses, {**CLASSES, "label_smoothing": SMOOTHING}),
    Row(
        "row_losses_backward",
        [Real("A"), Real("A c")],
        _losses_backward,
        {**CLASSES, "label_smoothing": SMOOTHING},
    ),
    Row(
        "fused_cross_entropy",
        [Real("A b"), Real("c b")],
        _fused,
        {**CLASSES, "label_smoothing": SMOOTHING, "scale": OneOf(1.0, 0.25)},
    ),
    Row("logsigmoid", [Real()], lambda x: -np.log1p(np.exp(-x))),
]
