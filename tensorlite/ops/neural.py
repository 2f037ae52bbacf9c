"""Softmax, norms, activations, dropout, embedding: each a kernel forward and a kernel backward.

A vjp that runs on tensors (create_graph) is composed of ops instead of its kernel, so that it can
be differentiated again; `on_tape` tells the two apart.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorlite.autograd import Addend, Array, OpError, Variable, op, unwrap
from tensorlite.dtypes import as_float, to_numpy
from tensorlite.kernels import activation, norm, softmax as kernels
from tensorlite.kernels.embedding import embedding_backward_
from tensorlite.kernels.epilogue import ACTIVATIONS
from tensorlite.kernels.matmul import (
    linear_activation as linear_activation_kernel,
    product,
    product_activation_backward,
)
from tensorlite.ops.elementwise import exp, minus, mul, neg, plus, rsqrt, square
from tensorlite.ops.index import index_add
from tensorlite.ops.linalg import check_linear, linear, linear_gradients, matmul
from tensorlite.ops.reduce import mean, sum
from tensorlite.ops.shape import axis_of


def on_tape(*values: Any) -> bool:
    """Is a vjp given tensors, to be differentiated once more?"""
    return any(isinstance(value, Variable) for value in values)


# ---------------------------------------------------------------------------------------- softmax


def _over_rows(kernel: Any, dim: int, *arrays: Array) -> Array:
    """Run a kernel of rows over one axis of arrays of one shape."""
    shape = arrays[0].shape
    if not shape:
        return _over_rows(kernel, -1, *(x.reshape(1) for x in arrays)).reshape(())
    axis = axis_of(dim, len(shape))
    if axis == len(shape) - 1:
        return np.asarray(kernel(*map(_rows, arrays)).reshape(shape))
    moved = [np.moveaxis(x, axis, -1) for x in arrays]
    y = kernel(*map(_rows, moved)).reshape(moved[0].shape)
    return np.ascontiguousarray(np.moveaxis(y, -1, axis))


def _rows(x: Any) -> Any:
    """x as a matrix: (..., N) -> (R, N). A size of -1 would have no meaning beside a 0."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _floating(name: str, *arrays: Array | None) -> np.dtype[Any]:
    """The one floating-point type of all arrays, None aside."""
    kind = arrays[0].dtype  # type: ignore[union-attr]
    for x in arrays:
        if x is not None and x.dtype is not kind:
            break
    else:
        if kind.kind == "f":
            return kind
    kinds = {x.dtype for x in arrays if x is not None}
    kind = kinds.pop()
    if kinds or kind.kind != "f":
        got = ", ".join(sorted(map(str, (kind, *kinds))))
        raise OpError(f"{name}: needs tensors of one floating-point dtype, got {got}; use .float()")
    return kind


def _cast(name: str, x: Array, dtype: Any) -> Array:
    x = x if dtype is None else x.astype(to_numpy(dtype), copy=False)
    _floating(name, x)
    return x


@op(method=True, functional=True)
def softmax(x: Array, *, dim: int, dtype: Any = None) -> Array:
    """exp(x) / sum(exp(x)) over dim. A row of -inf only gives NaN."""
    return _over_rows(kernels.softmax, dim, _cast("softmax", x, dtype))


@softmax.vjp
def _(g: Any, out: Any, dim: int) -> Any:
    """gx = y (g - sum(g y))"""
    if on_tape(g):
        return mul(out, minus(g, sum(mul(g, out), dim, True)))
    return _over_rows(kernels.softmax_backward, dim, g, out)


@op(method=True, functional=True)
def log_softmax(x: Array, *, dim: int, dtype: Any = None) -> Array:
    """x - log(sum(exp(x))) over dim, without overflow."""
    return _over_rows(kernels.log_softmax, dim, _cast("log_softmax", x, dtype))


@log_softmax.vjp
def _(g: Any, out: Any, dim: int) -> Any:
    """gx = g - exp(y) sum(g)"""
    if on_tape(g):
        return minus(g, mul(exp(out), sum(g, dim, True)))
    return _over_rows(kernels.log_softmax_backward, dim, g, out)


# ------------------------------------------------------------------------------------------ norms


@op
def layer_norm(x: Array, weight: Array | None, bias: Array | None, *, eps: float = 1e-5) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis. Ba et al. 2016."""
    _floating("layer_norm", x, weight, bias)
    y, center, rstd = norm.layer_norm(_rows(x), weight, bias, eps)
    return y.reshape(x.shape), {"center": center, "rstd": rstd}


@layer_norm.vjp
def _(
    g: Any, x: Any, weight: Any, center: Array, rstd: Array, eps: float, needs: tuple[bool, ...]
) -> Any:
    if on_tape(g):
        d = minus(x, mean(x, -1, True))
        return _norm_gradients(g, d, weight, eps, True)
    gx, gw, gb = norm.layer_norm_backward(_rows(g), _rows(x), weight, center, rstd, needs[2])
    return gx.reshape(x.shape), gw, gb


@op
def rms_norm(x: Array, weight: Array | None, *, eps: float | None = None) -> Any:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis. Zhang and Sennrich 2019.

    eps defaults to the spacing of numbers at 1 in x's dtype.
    """
    kind = _floating("rms_norm", x, weight)
    added = float(np.finfo(kind).eps) if eps is None else eps
    y, rstd = norm.rms_norm(_rows(x), weight, added)
    return y.reshape(x.shape), {"rstd": rstd, "added": added}


@rms_norm.vjp
def _(g: Any, x: Any, weight: Any, rstd: Array, added: float) -> Any:
    if on_tape(g):
        return _norm_gradients(g, x, weight, added, False)[:2]
    gx, gw = norm.rms_norm_backward(_rows(g), _rows(x), weight, rstd)
    return gx.reshape(x.shape), gw


def _norm_gradients(g: Any, d: Any, weight: Any, eps: float, centered: bool) -> tuple[Any, ...]:
    """The gradients by ops, of x, weight and bias; d is x, or x - mean."""
    rstd = rsqrt(plus(mean(square(d), -1, True), eps))
    n = mul(d, rstd)
    h = g if weight is None else mul(g, weight)
    inner = minus(h, mul(n, mean(mul(h, n), -1, True)))
    if centered:
        inner = minus(inner, mean(h, -1, True))
    gw = None if weight is None else sum(_rows(mul(g, n)), 0)
    return mul(inner, rstd), gw, sum(_rows(g), 0)


# ------------------------------------------------------------------------------------ activations


@op(functional=True)
def gelu(x: Array, *, approximate: str = "none") -> Array:
    """x Phi(x), Phi the normal distribution function; "tanh": x sigmoid(2 u), u = sqrt(2 / pi)
    (x + 0.044715 x^3). Hendrycks and Gimpel 2016."""
    if approximate not in ("none", "tanh"):
        raise OpError(f"gelu: approximate must be 'none' or 'tanh', got '{approximate}'")
    _floating("gelu", x)
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
    _floating("silu", x)
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
    _floating("relu_squared", x)
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
    _floating("swiglu", gate, up)
    return activation.swiglu(gate, up)


@swiglu.vjp
def _(g: Any, gate: Any, up: Any) -> Any:
    if on_tape(g, gate, up):
        return silu_backward(mul(g, up), gate), mul(g, silu(gate))
    return activation.swiglu_backward(g, gate, up)


@op(functional=True)
def linear_activation(x: Array, weight: Array, bias: Array | None, *, activation: str) -> Any:
    """activation(x @ weight.T + bias) in one pass: (..., K), (N, K), (N) -> (..., N).

    activation: gelu, gelu_tanh, relu, relu_squared or silu. The same bits as linear and the
    activation after it.
    """
    _check_activation("linear_activation", activation)
    check_linear("linear_activation", x, weight, bias)
    c, y = linear_activation_kernel(_rows(x), weight, _plain(bias), activation)
    shape = (*x.shape[:-1], len(weight))
    return y.reshape(shape), {"c": c.reshape(shape)}


def _check_activation(name: str, activation: str) -> None:
    if activation not in ACTIVATIONS[1:]:
        known = ", ".join(ACTIVATIONS[1:-1])
        raise OpError(
            f"{name}: activation must be {known} or {ACTIVATIONS[-1]}, got '{activation}'"
        )


@linear_activation.vjp
def _(g: Any, x: Any, weight: Any, bias: Any, out: Any, c: Any, activation: str, needs: Any) -> Any:
    if on_tape(g):
        c = linear(x, weight, bias)
    return linear_gradients(_activation_backward(activation, g, c, out), x, weight, needs)


def _activation_backward(activation: str, g: Any, c: Any, y: Any) -> Any:
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
    _check_activation("feed_forward", activation)
    check_linear("feed_forward", x, up, up_bias)
    c, y = linear_activation_kernel(_rows(x), up, _plain(up_bias), activation)
    check_linear("feed_forward", y, down, down_bias)
    out = product(y, down.T, _plain(down_bias))
    return out.reshape(*x.shape[:-1], len(down)), {"c": c, "y": y if y.size <= _KEPT else None}


def _plain(bias: Array | None) -> Array | None:
    return None if bias is None else np.ascontiguousarray(bias)


@feed_forward.vjp
def _(
    g: Any, x: Any, up: Any, up_bias: Any, down: Any, c: Any, y: Any, activation: str, needs: Any
) -> Any:
    h = _rows(g)
    if on_tape(g):
        c = linear(_rows(x), up, up_bias)
        y = _ACTIVATIONS[activation](c)
        gc = _activation_backward(activation, matmul(h, down), c, y)
    else:
        gc, y = product_activation_backward(h, down, c, activation, y)
    gx, gup, gup_bias = linear_gradients(gc, _rows(x), up, needs[:3])
    _, gdown, gdown_bias = linear_gradients(h, y, down, (False, *needs[3:]))
    return None if gx is None else gx.reshape(x.shape), gup, gup_bias, gdown, gdown_bias


_ACTIVATIONS: dict[str, Any] = {
    "gelu": gelu,
    "gelu_tanh": lambda x: gelu(x, approximate="tanh"),
    "relu": relu,
    "relu_squared": relu_squared,
    "silu": silu,
}


@op(method=True, inplace=True)
def erf(x: Array) -> Array:
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return activation.erf(as_float(x))


erf.rules(lambda g, x: mul(g, mul(exp(neg(square(x))), 2 / math.sqrt(math.pi))))


# ---------------------------------------------------------------------------- dropout, embedding


@op
def dropout(x: Array, *, kept: Array, p: float) -> Array:
    """x / (1 - p) where kept, else 0. Srivastava et al. 2014."""
    _floating("dropout", x)
    if p == 1:
        return np.zeros_like(x)
    return activation.masked(x, kept, x.dtype.type(1) / x.dtype.type(1 - p))


dropout.rules(lambda g, kept, p: dropout(g, kept=kept, p=p))


@op
def embedding(weight: Array, *, ids: Array, padding_idx: int | None = None) -> Any:
    """weight[ids]: weight (V, C), ids (...) -> (..., C)."""
    if weight.ndim != 2:
        raise OpError(f"embedding: the weight must be a matrix, got shape {weight.shape}")
    if ids.dtype.kind not in "iu":
        raise OpError(f"embedding: ids must be integers, got {ids.dtype}; use .long()")
    if ids.size and not (ids.min() >= 0 and ids.max() < len(weight)):
        place = tuple(int(i) for i in np.argwhere((ids < 0) | (ids >= len(weight)))[0])
        raise IndexError(
            f"embedding: ids must lie in [0, {len(weight)}), got {ids[place]} at {place}"
        )
    # take is the faster one, but copies all of a weight that is not in order.
    rows = weight.take(ids, 0) if weight.flags.c_contiguous else weight[ids]
    return rows, {"num_rows": len(weight)}


@embedding.vjp
def _(g: Any, ids: Any, padding_idx: int | None, num_rows: int) -> Any:
    flat = np.ascontiguousarray(unwrap(ids), np.int64).reshape(-1)
    rows_of_g = _rows(g)
    if padding_idx is not None:
        rows_of_g = mul(rows_of_g, (flat != padding_idx)[:, None].astype(unwrap(g).dtype))
    if on_tape(g):
        nothing = np.zeros((num_rows, g.shape[-1]), unwrap(g).dtype)
        return index_add(nothing, 0, flat, rows_of_g)
    shape = (num_rows, rows_of_g.shape[1])
    return Addend(shape, g.dtype, lambda gw: embedding_backward_(gw, rows_of_g, flat))
