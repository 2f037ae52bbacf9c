"""Linear layers whose weight lies as products read it: packed once, then read in straight lines.

A weight (N, K) becomes panels (ceil(N / w), K, w), w of its rows turned in each: panels[p, k, q] is
weight[p w + q, k], 0 beyond the last row. w follows the dtype and the processor's vectors. Panels
of another width, made elsewhere or converted, give the same result, no quicker than a plain weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlite.autograd import Array, op, unwrap
from tensorlite.kernels.matmul import (
    linear_activation as linear_activation_kernel,
    panel_product,
    panel_width,
    product,
)
from tensorlite.ops.activation import activation_backward, check_activation
from tensorlite.ops.index import index_add
from tensorlite.ops.linalg import check_linear, in_order, linear_gradients, rows_of
from tensorlite.ops.neural import check_ids, on_tape


@op(functional=True)
def pack_weight(weight: Array, *, width: int | None = None) -> Array:
    """The panels of a weight: (N, K) -> (ceil(N / w), K, w), for `packed_linear`.

    width: w; by default what is quickest here
    """
    if weight.ndim != 2 or weight.dtype.kind != "f":
        raise RuntimeError(
            f"pack_weight: takes a floating matrix (N, K), got {weight.dtype} {weight.shape}"
        )
    n, k = weight.shape
    w = panel_width(weight.dtype) if width is None else width
    panels = np.zeros(((n + w - 1) // w, k, w), weight.dtype)
    whole = n // w
    panels[:whole] = weight[: whole * w].reshape(whole, w, k).transpose(0, 2, 1)
    if whole * w < n:
        panels[whole, :, : n - whole * w] = weight[whole * w :].T
    return panels


@op(functional=True)
def unpack_weight(panels: Array, *, features: int) -> Array:
    """The weight (features, K) that was packed into panels."""
    check_panels("unpack_weight", panels, features)
    _, k, w = panels.shape
    weight = np.empty((len(panels) * w, k), panels.dtype)
    weight.reshape(len(panels), w, k)[...] = panels.transpose(0, 2, 1)
    return weight[:features]


pack_weight.rules(lambda g, weight_shape: unpack_weight(g, features=weight_shape[0]))
unpack_weight.rules(lambda g, panels_shape: pack_weight(g, width=panels_shape[2]))


def check_panels(name: str, panels: Array, features: int) -> None:
    """Raise unless they are the panels of a weight of so many rows."""
    shape = panels.shape
    if len(shape) != 3 or shape[0] != (features + shape[2] - 1) // shape[2]:
        raise RuntimeError(
            f"{name}: {features} features need panels (ceil({features} / w), K, w), got {shape}"
        )


# ---------------------------------------------------------------------------------------- the layer


@op(functional=True)
def packed_linear(
    x: Array, panels: Array, bias: Array | None, *, features: int, activation: str = "none"
) -> Any:
    """f(x @ weight.T + bias): (..., K), panels of (features, K), (features) -> (..., features).

    activation: none, or f: gelu, gelu_tanh, relu, relu_squared or silu. The same bits as `linear`
    and `linear_activation`.
    """
    check_panels("packed_linear", panels, features)
    name = "" if activation == "none" else activation
    if name:
        check_activation("packed_linear", name)
    bias = None if bias is None else np.ascontiguousarray(bias)
    if panels.shape[2] == panel_width(panels.dtype) and panels.size and x.size:
        check_linear("packed_linear", x, _shape_of_weight(panels, features), bias)
        c, y = panel_product(rows_of(x), np.ascontiguousarray(panels), features, bias, name)
    else:
        weight = unpack_weight(panels, features=features)
        check_linear("packed_linear", x, weight, bias)
        if name:
            c, y = linear_activation_kernel(rows_of(x), weight, bias, name)
        else:
            c = y = product(rows_of(x), weight.T, bias)
    shape = (*x.shape[:-1], features)
    return y.reshape(shape), {"c": c.reshape(shape) if name else None}


def _shape_of_weight(panels: Array, features: int) -> Array:
    """An array of the weight's shape and dtype, to be checked; it has no memory of its own."""
    return np.broadcast_to(panels[0, 0, 0], (features, panels.shape[1]))


@packed_linear.by_kernels
def _(
    x: Array, panels: Array, bias: Array | None, *, features: int, activation: str = "none"
) -> Any:
    quick = panels.flags.c_contiguous and panels.shape[2:] == (panel_width(panels.dtype),)
    if not (quick and panels.size and in_order(x, bias)):
        return None
    return packed_linear.op.function(x, panels, bias, features=features, activation=activation)


@packed_linear.vjp
def _(
    g: Any, x: Any, panels: Any, bias: Any, out: Any, c: Any, features: int, activation: str,
    needs: Any,
) -> Any:  # fmt: skip
    if c is not None:
        if on_tape(g):
            c = packed_linear(x, panels, bias, features=features)
        g = activation_backward(activation, g, c, out)
    weight = unpack_weight(panels, features=features) if needs[0] else None
    gx, gweight, gbias = linear_gradients(g, x, weight, needs)
    width = panels.shape[2]
    return gx, None if gweight is None else pack_weight(gweight, width=width), gbias


@op(functional=True)
def packed_embedding(panels: Array, *, ids: Array, features: int) -> Array:
    """Rows of the weight by their ids: panels of (features, K), ids (...) -> (..., K)."""
    check_panels("packed_embedding", panels, features)
    check_ids("packed_embedding", ids, features)
    width = panels.shape[2]
    return panels[ids // width, :, ids % width]


@packed_embedding.vjp
def _(g: Any, ids: Any, features: int, panels_shape: tuple[int, ...]) -> Any:
    flat = np.ascontiguousarray(unwrap(ids), np.int64).reshape(-1)
    nothing = np.zeros((features, panels_shape[1]), unwrap(g).dtype)
    return pack_weight(index_add(nothing, 0, flat, rows_of(g)), width=panels_shape[2])
