"""The functions behind the layers: ops that declare themselves functional, and what is no op.

An editor or a type checker reads functional.pyi, which tests/stubs.py writes from the registry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tensorlite import random
from tensorlite.autograd import FUNCTIONAL, unwrap, watch, wrap
from tensorlite.ops import activation, attention, join, linalg, loss, neural, packed  # noqa: F401
from tensorlite.ops.elementwise import true_divide
from tensorlite.ops.reduce import norm
from tensorlite.tensor import Tensor

globals().update(FUNCTIONAL)


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """weight[input]: ids (...) of rows in weight (V, C) -> (..., C). The row padding_idx gets no
    gradient."""
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    return neural.embedding(weight, ids=input, padding_idx=padding_idx)


def layer_norm(
    input: Any,
    normalized_shape: Iterable[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes, those of normalized_shape.

    var is the mean of (x - mean)^2. Ba, Kiros and Hinton 2016.
    """
    flat, arguments = _over_last_axes("layer_norm", input, normalized_shape, weight, bias)
    y = neural.layer_norm(flat, *arguments, eps=eps)
    return y if flat is input else y.view(input.shape)


def rms_norm(
    input: Any, normalized_shape: Iterable[int], weight: Any = None, eps: float | None = None
) -> Any:
    """x / sqrt(mean(x^2) + eps) * weight over the last axes, those of normalized_shape.

    eps defaults to the spacing of numbers at 1 in x's dtype. Zhang and Sennrich 2019.
    """
    flat, arguments = _over_last_axes("rms_norm", input, normalized_shape, weight)
    y = neural.rms_norm(flat, *arguments, eps=eps)
    return y if flat is input else y.view(input.shape)


def _over_last_axes(name: str, x: Any, shape: Iterable[int], *parameters: Any) -> tuple[Any, Any]:
    """x with the normalized axes as one, and the parameters flattened."""
    shape = tuple(shape)
    if len(shape) == 1 and unwrap(x).shape[-1:] == shape:  # the usual case, quickly
        for p in parameters:
            if p is not None and unwrap(p).shape != shape:
                break
        else:
            return x, parameters
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"{name}: normalized_shape must be the input's last sizes: {shape}, got input "
            f"{tuple(x.shape)}"
        )
    for parameter in parameters:
        if parameter is not None and tuple(parameter.shape) != shape:
            raise RuntimeError(
                f"{name}: weight and bias must have the shape {shape}, got {tuple(parameter.shape)}"
            )
    if len(shape) == 1:
        return x, parameters
    flat = x.reshape(*x.shape[: -len(shape)], math.prod(shape))
    return flat, tuple(None if p is None else p.reshape(-1) for p in parameters)


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """x with each element kept with probability 1 - p, then divided by 1 - p. Srivastava 2014.

    Draws from the default generator, one number an element, in training only.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must lie in [0, 1], got {p}")
    if not training or p == 0:
        return input
    kept = random.default_generator.keep_mask(input.shape, 1 - p)
    result = neural.dropout(input, kept=kept, p=p)
    return input.copy_(result) if inplace else result


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(query key^T scale + mask) value; see ops.attention. dropout_p zeroes weights."""
    kept = None
    if dropout_p > 0:
        shape = (*query.shape[:-1], key.shape[-2])
        mask = random.default_generator.keep_mask(shape, 1 - dropout_p)
        kept = neural.dropout(np.ones(shape, query.dtype.numpy), kept=mask, p=dropout_p)
    return attention.scaled_dot_product_attention(
        query, key, value, attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa,
        kept=kept,
    )  # fmt: skip


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """1 at each id, 0 elsewhere: (...) -> (..., num_classes), int64."""
    watch.constant("one_hot")
    ids = tensor.array
    if ids.dtype != np.int64:
        raise RuntimeError(f"one_hot: ids must be int64, got {tensor.dtype}; use .long()")
    if num_classes == -1:
        if ids.size == 0:
            raise RuntimeError("one_hot: without ids the number of classes must be given")
        num_classes = int(ids.max()) + 1
    if ids.size and not (ids.min() >= 0 and ids.max() < num_classes):
        wrong = ids[(ids < 0) | (ids >= num_classes)][0]
        raise RuntimeError(f"one_hot: ids must lie in [0, {num_classes}), got {wrong}")
    ones = np.zeros((*ids.shape, num_classes), np.int64)
    np.put_along_axis(ones, ids[..., None], 1, -1)
    return wrap(ones)


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """x / max(|x|_p, eps), the norm taken over dim."""
    length = norm(input, p=p, dim=dim, keepdim=True)
    return true_divide(input, Tensor.clamp(length, min=eps))
