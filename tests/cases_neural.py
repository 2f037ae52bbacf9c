"""A row for each of the ops of networks: softmax, norms, activations, dropout, embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

import naive
from row import Ids, Mask, OneOf, Real, Row


def _over(function: Any) -> Any:
    """A twin that works on rows, over any axis."""

    def reference(x: Any, dim: int) -> Any:
        moved = np.moveaxis(x, dim, -1)
        y = function(moved.reshape(-1, x.shape[dim])).reshape(moved.shape)
        return np.moveaxis(y, -1, dim).astype(x.dtype)

    return reference


def _layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    d = x - x.mean(-1, keepdims=True)
    y = d / np.sqrt((d * d).mean(-1, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).astype(x.dtype)


def _rms_norm(x: Any, weight: Any = None, eps: float = 0.1) -> Any:
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    return (y if weight is None else y * weight).astype(x.dtype)


def _typed(function: Any) -> Any:
    """A twin whose result has the type of its first array."""
    return lambda x, *rest: np.asarray(function(x, *rest), x.dtype)


def _gelu(x: Any, approximate: str) -> Any:
    return naive.gelu(x) if approximate == "none" else naive.gelu_tanh(x)


def _gelu_backward(g: Any, x: Any, approximate: str) -> Any:
    return g * (naive.gelu_slope(x) if approximate == "none" else naive.gelu_tanh_slope(x))


def _linear_activation(x: Any, weight: Any, bias: Any, activation: str) -> Any:
    return getattr(naive, activation)(x @ weight.T + (0 if bias is None else bias))


def _feed_forward(x: Any, up: Any, up_bias: Any, down: Any, down_bias: Any, activation: str) -> Any:
    y = _linear_activation(x, up, up_bias, activation)
    return y @ down.T + (0 if down_bias is None else down_bias)


def _packed_linear(x: Any, panels: Any, bias: Any, features: int, activation: str = "none") -> Any:
    y = x @ naive.unpacked(panels)[:features].T + (0 if bias is None else bias)
    return y if activation == "none" else getattr(naive, activation)(y)


EITHER = OneOf("none", "tanh")
AWAY = Real(away=[0])  # relu has a kink at 0

NEURAL = [
    Row("softmax", [Real("A b c")], _over(naive.softmax), {"dim": OneOf(-1, 1)}),
    Row("softmax", [Real("a b C")], _over(naive.softmax), {"dim": 0}),
    Row("log_softmax", [Real("A b c")], _over(naive.log_softmax), {"dim": OneOf(-1, 1)}),
    Row("layer_norm", [Real("A 4"), None, None], _layer_norm),
    Row("layer_norm", [Real("2 A 5"), Real("5"), None], _layer_norm),
    Row("layer_norm", [Real("A 3"), Real("3"), Real("3")], _layer_norm, {"eps": 0.1}),
    Row("rms_norm", [Real("A b"), None], _rms_norm, {"eps": 0.1}),
    Row("rms_norm", [Real("2 A b"), Real("b")], _rms_norm, {"eps": 0.1}),
    Row("gelu", [Real()], _typed(_gelu), {"approximate": EITHER}),
    Row("gelu_backward", [Real("A"), Real("A")], _typed(_gelu_backward), {"approximate": EITHER}),
    Row("silu", [Real()], naive.silu),
    Row("silu_backward", [Real("A"), Real("A")], lambda g, x: g * naive.silu_slope(x)),
    Row("relu", [AWAY], naive.relu),
    Row("relu_backward", [Real("A"), Real("A", away=[0])], lambda g, y: g * (y > 0)),
    Row("relu_squared", [AWAY], naive.relu_squared),
    Row("sigmoid", [Real()], naive.sigmoid),
    Row("tanh", [Real()], np.tanh),
    Row("erf", [Real()], _typed(naive.erf)),
    Row("swiglu", [Real("A B"), Real("A B")], lambda gate, up: naive.silu(gate) * up),
    Row(
        "linear_activation",
        [Real("A b"), Real("C b"), Real("C")],
        _typed(_linear_activation),
        {"activation": OneOf("gelu", "gelu_tanh", "silu")},
    ),
    Row(
        "feed_forward",
        [Real("A B c"), Real("N c"), Real("N"), Real("M N"), Real("M")],
        _typed(_feed_forward),
        {"activation": OneOf("gelu", "gelu_tanh", "silu")},
    ),
    Row(
        "feed_forward",
        [Real("A c"), Real("N c"), None, Real("M N"), None],
        _typed(_feed_forward),
        {"activation": "gelu_tanh"},
    ),
    Row("pack_weight", [Real("5 B")], naive.panels, {"width": OneOf(1, 2, 3)}),
    Row(
        "unpack_weight",
        [Real("2 B 3")],
        lambda panels, features: naive.unpacked(panels)[:features],
        {"features": OneOf(4, 6)},
    ),
    Row(
        "packed_linear",
        [Real("A B c"), Real("2 c 3"), Real("5")],
        _typed(_packed_linear),
        {"features": 5},
    ),
    Row(
        "packed_linear",
        [Real("A c"), Real("2 c 3"), None],
        _typed(_packed_linear),
        {"features": 4, "activation": OneOf("gelu", "gelu_tanh", "silu")},
    ),
    Row(
        "packed_embedding",
        [Real("2 C 3")],
        lambda panels, ids, features: naive.unpacked(panels)[ids],
        {"ids": Ids("A B", below=5), "features": 5},
    ),
    Row(
        "dropout",
        [Real("A B")],
        lambda x, kept, p: np.where(kept, x / x.dtype.type(1 - p), x.dtype.type(0)),
        {"kept": Mask("A B"), "p": 0.25},
    ),
    Row("dropout", [Real("A")], lambda x, kept, p: x * 0, {"kept": Mask("A"), "p": 1.0}),
    Row(
        "embedding", [Real("v C")], lambda weight, ids: weight[ids], {"ids": Ids("A B", below="v")}
    ),
]
