"""Activations, and the two layers of an MLP with one between them.

A vjp that runs on tensors (create_graph) is composed of ops instead of its kernel; see neural.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorlite.autograd import Array, OpError, op
from tensorlite.dtypes import as_float
from tensorlite.kernels import activation
from tensorlite.kernels.epilogue import ACTIVATIONS
from tensorlite.kernels.matmul import (
    linear_activation as linear_activation_kernel,
    product,
    product_activation_backward,
)
from tensorlite.ops.elementwise import exp, minus, mul, neg, plus, square
from tensorlite.ops.linalg import (
    check_linear,
    in_order,
    linear,
    linear_gradients,
    matmul,
    rows_of,
)
from tensorlite.ops.neural import floating, on_tape


@op(functional=True)
def gelu(x: Array, *, approximate: str = "none") -> Array:
    """x Phi(x), Phi the normal distribution function; "tanh": x sigmoid(2 u), u = sqrt(2 / pi)
    (x + 0.044715 x^3). Hendrycks and Gimpel 2016."""
    if approximate not in ("none", "tanh"):
        raise OpError(f"gelu: approximate must be 'none' or 'tanh', got '{approximate}'")
    floating("gelu", x)
    return activation.gelu(x) if approximate == "none" else activation.gelu_tanh(x)


@gelu.vjp
def _(g: Any, x: Any, approximate: str) -> Any:
    return gelu_backward(g, x, approximate=approximate)


@op
def gelu_backward(g: Array, x: Array, *, approximate: str) -> Array:
    """g times the derivative of gelu."""
    exact = approximate == "none"
    return activation.gelu_backward(g, x) if exact else activation.gelu_tanh_backward(g, x)


@gelu_backward.vjp
def _(h: Any, g: Any, x: Any, approximate: str) -> Any:
    if approximate == "none":
        density = mul(exp(mul(square(x), -0.5)), 1 / math.sqrt(2 * math.pi))
        second = mul(density, minus(2.0, square(x)))
    else:
        c, a = math.sqrt(2 / math.pi), 0.044715
        s = sigmoid(mul(mul(x, plus(mul(square(x), a), 1.0)), 2 * c))
        slope = mul(plus(mul(square(x), 3 * a), 1.0), 2 * c)  # of 2 u
        rest = mul(s, minus(1.0, s))
        # s x'' + 2 s' + x s'', s' = rest slope, s'' = rest slope^2 (1 - 2 s) + rest slope'
        curve = plus(mul(square(slope), minus(1.0, mul(s, 2.0))), mul(x, 12 * a * c))
        second = mul(rest, plus(mul(slope, 2.0), mul(x, curve)))
    return gelu_backward(h, x, approximate=approximate), mul(mul(h, g), second)


@op(functional=True)
def silu(x: Array) -> Array:
    """x sigmoid(x)"""
    floating("silu", x)
    return activation.silu(x)


@silu.vjp
def _(g: Any, x: Any) -> Any:
    return silu_backward(g, x)


@op
def silu_backward(g: Array, x: Array) -> Array:
    """g times the derivative of silu."""
    return activation.silu_backward(g, x)


@silu_backward.vjp
def _(h: Any, g: Any, x: Any) -> Any:
    s = sigmoid(x)
    second = mul(mul(s, minus(1.0, s)), plus(mul(x, minus(1.0, mul(s, 2.0))), 2.0))
    return silu_backward(h, x), mul(mul(h, g), second)


@op(method=True, functional=True, inplace=True)
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))"""
    return activation.sigmoid(as_float(x))


@sigmoid.vjp
def _(g: Any, out: Any) -> Any:
    if on_tape(g, out):
        return mul(g, mul(out, minus(1.0, out)))
    return activation.sigmoid_backward(g, out)


@op(method=True, functional=True, inplace=True)
def tanh(x: Array) -> Array:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))"""
    return activation.tanh(as_float(x))


@tanh.vjp
def _(g: Any, out: Any) -> Any:
    if on_tape(g, out):
        return mul(g, minus(1.0, square(out)))
    return activation.tanh_backward(g, out)


@op(method=True, functional=True, inplace=True)
def relu(x: Array) -> Array:
    """max(x, 0), and 0 for its derivative at 0."""
    return activation.relu(x) if x.dtype.kind == "f" else np.maximum(x, x.dtype.type(0))


@relu.vjp
def _(g: Any, out: Any) -> Any:
    return relu_backward(g, out)


@op
def relu_backward(g: Array, y: Array) -> Array:
    """g where the output y is positive, else 0."""
    return activation.relu_backward(g, y)


@relu_backward.vjp
def _(h: Any, y: Any) -> Any:
    return relu_backward(h, y), None


@op(functional=True)
def relu_squared(x: Array) -> Array:
    """max(x, 0)^2. So et al. 2021, Primer."""
    floating("relu_squared", x)
    return activation.relu_squared(x)


@relu_squared.vjp
def _(g: Any, x: Any) -> Any:
    if on_tape(g, x):
        return mul(g, mul(relu(x), 2.0))
    return activation.relu_squared_backward(g, x)


@op(functional=True)
def swiglu(gate: Array, up: Array) -> Array:
    """silu(gate) up. Shazeer 2020."""
    if gate.shape != up.shape:
        raise OpError(f"swiglu: gate and up must have one shape, got {gate.shape} and {up.shape}")
    floating("swiglu", gate, up)
    return activation.swiglu(gate, up)


@swiglu.vjp
def _(g: Any, gate: Any, up: Any) -> Any:
    if on_tape(g, gate, up):
        return silu_backward(mul(g, up), gate), mul(g, silu(gate))
    return activation.swiglu_backward(g, gate, up)


@op(method=True, inplace=True)
def erf(x: Array) -> Array:
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return activation.erf(as_float(x))


erf.rules(lambda g, x: mul(g, mul(exp(neg(square(x))), 2 / math.sqrt(math.pi))))


# ------------------------------------------------------------------------------------ inside an MLP


@op(functional=True)
def linear_activation(x: Array, weight: Array, bias: Array | None, *, activation: str) -> Any:
    """activation(x @ weight.T + bias) in one pass: (..., K), (N, K), (N) -> (..., N).

    activation: gelu, gelu_tanh, relu, relu_squared or silu. The same bits as linear and the
    activation after it.
    """
    check_activation("linear_activation", activation)
    check_linear("linear_activation", x, weight, bias)
    c, y = linear_activation_kernel(rows_of(x), weight, _vector(bias), activation)
    shape = (*x.shape[:-1], len(weight))
    return y.reshape(shape), {"c": c.reshape(shape)}


def check_activation(name: str, activation: str) -> None:
    if activation not in ACTIVATIONS[1:]:
        known = ", ".join(ACTIVATIONS[1:-1])
        raise OpError(
            f"{name}: activation must be {known} or {ACTIVATIONS[-1]}, got '{activation}'"
        )


@linear_activation.vjp
def _(g: Any, x: Any, weight: Any, bias: Any, out: Any, c: Any, activation: str, needs: Any) -> Any:
    if on_tape(g):
        c = linear(x, weight, bias)
    return linear_gradients(activation_backward(activation, g, c, out), x, weight, needs)


def activation_backward(activation: str, g: Any, c: Any, y: Any) -> Any:
    """g times the derivative of an activation at c, where it has the value y."""
    match activation:
        case "gelu" | "gelu_tanh":
            return gelu_backward(g, c, approximate="none" if activation == "gelu" else "tanh")
        case "silu":
            return silu_backward(g, c)
        case "relu_squared":
            return mul(g, mul(relu(c), 2.0))
        case _:
            return relu_backward(g, y)


_KEPT = 1 << 21  # values of f; 8 MB of float32


@op(functional=True)
def feed_forward(
    x: Array,
    up: Array,
    up_bias: Array | None,
    down: Array,
    down_bias: Array | None,
    *,
    activation: str,
) -> Any:
    """f(x @ up.T + up_bias) @ down.T + down_bias, the two layers of an MLP and f between them.

    x (..., K), up (N, K), up_bias (N), down (M, N), down_bias (M) -> (..., M). activation: gelu,
    gelu_tanh, relu, relu_squared or silu. f is computed as the product's tiles are finished. Of a
    large f the values (..., N) are not kept for the gradient, but computed again in the same way.
    The same bits as the three ops.
    """
    check_activation("feed_forward", activation)
    check_linear("feed_forward", x, up, up_bias)
    c, y = linear_activation_kernel(rows_of(x), up, _vector(up_bias), activation)
    check_linear("feed_forward", y, down, down_bias)
    out = product(y, down.T, _vector(down_bias))
    return out.reshape(*x.shape[:-1], len(down)), {"c": c, "y": y if y.size <= _KEPT else None}


@feed_forward.by_kernels
def _(*arrays: Any, activation: str) -> Any:
    return feed_forward.op.function(*arrays, activation=activation) if in_order(*arrays) else None


def _vector(bias: Array | None) -> Array | None:
    return None if bias is None else np.ascontiguousarray(bias)


@feed_forward.vjp
def _(
    g: Any, x: Any, up: Any, up_bias: Any, down: Any, c: Any, y: Any, activation: str, needs: Any
) -> Any:
    h = rows_of(g)
    if on_tape(g):
        c = linear(rows_of(x), up, up_bias)
        y = _ACTIVATIONS[activation](c)
        gc = activation_backward(activation, matmul(h, down), c, y)
    else:
        gc, y = product_activation_backward(h, down, c, activation, y)
    gx, gup, gup_bias = linear_gradients(gc, rows_of(x), up, needs[:3])
    _, gdown, gdown_bias = linear_gradients(h, y, down, (False, *needs[3:]))
    return None if gx is None else gx.reshape(x.shape), gup, gup_bias, gdown, gdown_bias


_ACTIVATIONS: dict[str, Any] = {
    "gelu": gelu,
    "gelu_tanh": lambda x: gelu(x, approximate="tanh"),
    "relu": relu,
    "relu_squared": relu_squared,
    "silu": silu,
}
