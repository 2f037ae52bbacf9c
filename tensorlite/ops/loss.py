"""Losses: cross-entropy (also fused with its projection), negative log-likelihood, squared error.

Row losses are one op over a kernel; what reduces them, weights them or gives them other shapes is
composed of ops. reduction is "mean", "sum" or "none", as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorlite.autograd import Array, OpError, Variable, composed, op, unwrap, watch
from tensorlite.kernels import cross_entropy as kernels
from tensorlite.ops.activation import sigmoid
from tensorlite.ops.along import gather
from tensorlite.ops.compare import masked_fill, minimum
from tensorlite.ops.elementwise import abs, exp, log1p, minus, mul, neg, plus, square
from tensorlite.ops.linalg import linear, matmul
from tensorlite.ops.neural import log_softmax, softmax
from tensorlite.ops.reduce import sum
from tensorlite.ops.shape import movedim, reshape, unsqueeze

# ---------------------------------------------------------------------------------- rows of logits


@op
def row_losses(x: Array, *, target: Array, ignore_index: int, label_smoothing: float) -> Array:
    """logsumexp(x) - x[target] of each row: x (R, V), target (R) -> (R); 0 where it is ignored.

    With label smoothing s: (1 - s) times that, plus s times the mean of logsumexp(x) - x[c] over c.
    """
    losses, lse = kernels.cross_entropy(x, target, ignore_index, label_smoothing)
    return losses, {"lse": lse}


@row_losses.vjp
def _(
    g: Array, x: Array, target: Array, ignore_index: int, label_smoothing: float, lse: Array
) -> Any:
    return row_losses_backward(
        g, x, target=target, ignore_index=ignore_index, label_smoothing=label_smoothing, lse=lse
    )


@op
def row_losses_backward(
    g: Array,
    x: Array,
    *,
    target: Array,
    ignore_index: int,
    label_smoothing: float,
    lse: Array | None = None,
) -> Array:
    """g (softmax(x) - (1 - s) [c = target] - s / V): the gradient of `row_losses`.

    lse: the logarithm of the sum of exponentials of each row in two parts, if it is known
    """
    if lse is None:
        lse = kernels.cross_entropy(x, target, ignore_index, 0.0)[1]
    return kernels.cross_entropy_backward(g, x, target, ignore_index, label_smoothing, lse)


@row_losses_backward.vjp
def _(
    h: Array, g: Array, x: Array, target: Array, ignore_index: int, label_smoothing: float
) -> Any:
    kept = (unwrap(target) != ignore_index).astype(unwrap(x).dtype)
    ones = np.ones_like(kept)
    slope = row_losses_backward(
        ones, x, target=target, ignore_index=ignore_index, label_smoothing=label_smoothing
    )
    p = softmax(x, dim=-1)
    scaled = mul(h, unsqueeze(mul(g, kept), -1))
    gx = mul(p, minus(scaled, sum(mul(scaled, p), -1, True)))
    return sum(mul(h, slope), -1), gx


# ----------------------------------------------------------------------------------- cross-entropy


@composed(functional=True)
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-log softmax(input)[target]: logits (N, C), (C) or (N, C, ...), classes (N), () or (N, ...).

    Targets of the input's shape are probabilities of the classes. Those equal to ignore_index count
    for nothing, and the mean is over the others. weight (C) weighs the classes; the mean is then
    divided by the weights of the targets. Label smoothing: Szegedy et al. 2016, section 7.
    """
    _check_options("cross_entropy", reduction, label_smoothing)
    _check_types("cross_entropy", input)
    shape = tuple(input.shape)
    axis = 0 if len(shape) == 1 else 1
    rest = shape[:axis] + shape[axis + 1 :]
    x = movedim(input, axis, -1) if len(shape) > 2 else input
    x = reshape(x, (-1, shape[axis]))
    if tuple(target.shape) == shape and unwrap(target).dtype.kind == "f":
        y = movedim(target, axis, -1) if len(shape) > 2 else target
        losses = _against_probabilities(x, reshape(y, (-1, shape[axis])), weight, label_smoothing)
        return _reduced(reshape(losses, rest), reduction, max(len(unwrap(losses)), 1), "Div")
    ids = _checked_targets("cross_entropy", target, rest, shape[axis], ignore_index)
    if weight is None:
        losses = row_losses(
            x, target=ids, ignore_index=ignore_index, label_smoothing=label_smoothing
        )
        count = np.count_nonzero(ids != ignore_index)
    else:
        losses, count = _weighted(x, ids, weight, ignore_index, label_smoothing)
    return _reduced(reshape(losses, rest), reduction, count)


def _against_probabilities(x: Any, y: Any, weight: Any, smoothing: float) -> Any:
    """-sum_c y_c log p_c, the probabilities y (R, V) smoothed towards 1 / V."""
    if smoothing:
        y = plus(mul(y, 1 - smoothing), smoothing / x.shape[-1])
    terms = mul(y, log_softmax(x, dim=-1))
    return neg(sum(terms if weight is None else mul(terms, weight), -1))


def _weighted(
    x: Any, ids: Array, weight: Any, ignore_index: int, smoothing: float
) -> tuple[Any, Any]:
    """Losses weighed by class, and the sum of the targets' weights."""
    logp = log_softmax(x, dim=-1)
    ignored = ids == ignore_index
    classes = np.where(ignored, 0, ids)
    each = np.where(ignored, 0, unwrap(weight)[classes])
    losses = mul(neg(_picked(logp, classes)), each)
    if smoothing:
        everywhere = neg(sum(mul(logp, weight), -1))
        losses = plus(mul(losses, 1 - smoothing), mul(everywhere, smoothing / x.shape[-1]))
    return masked_fill(losses, ignored, 0.0), each.sum()


def _picked(x: Any, classes: Array) -> Any:
    """x[r, classes[r]] of each row."""
    return reshape(gather(x, dim=1, index=classes[:, None]), (-1,))


@composed(functional=True)
def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """-input[target]: log-probabilities (N, C), (C) or (N, C, ...), classes (N), () or (N, ...)."""
    _check_options("nll_loss", reduction)
    _check_types("nll_loss", input)
    shape = tuple(input.shape)
    axis = 0 if len(shape) == 1 else 1
    rest = shape[:axis] + shape[axis + 1 :]
    x = movedim(input, axis, -1) if len(shape) > 2 else input
    ids = _checked_targets("nll_loss", target, rest, shape[axis], ignore_index)
    ignored = ids == ignore_index
    classes = np.where(ignored, 0, ids)
    losses = neg(_picked(reshape(x, (-1, shape[axis])), classes))
    each = ~ignored
    if weight is not None:
        each = np.where(ignored, 0, unwrap(weight)[classes])
        losses = mul(losses, each)
    return _reduced(reshape(masked_fill(losses, ignored, 0.0), rest), reduction, each.sum())


def _checked_targets(
    name: str, target: Any, shape: tuple[int, ...], classes: int, ignore_index: int
) -> Array:
    """Class ids as a flat int64 array."""
    watch.constant(name)
    ids = unwrap(target)
    if ids.dtype.kind not in "iu":
        raise OpError(f"{name}: targets must be integers, got {ids.dtype}; use .long()")
    if ids.shape != shape:
        raise OpError(
            f"{name}: targets must have the input's shape without its classes, {shape}, "
            f"got {ids.shape}"
        )
    flat = ids.reshape(-1).astype(np.int64, copy=False)
    wrong = ((flat < 0) | (flat >= classes)) & (flat != ignore_index)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong.reshape(shape))[0])
        raise IndexError(
            f"{name}: targets must lie in [0, {classes}) or be ignore_index {ignore_index}, "
            f"got {ids[place]} at {place}"
        )
    return flat


# ------------------------------------------------------------------- projection and loss in one op


@composed(functional=True)
def linear_cross_entropy(
    input: Any,
    weight: Any,
    target: Any,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """cross_entropy(input @ weight.T, target), without ever holding all logits.

    input (..., C), weight (V, C), target (...) int64 -> scalar, or (...) without a reduction. A
    chunk of logits at a time is made, turned into its own gradient, and used for those of input and
    weight (after Wijmans et al. 2024, "Cut your losses", and Hsu et al. 2024, Liger kernels).
    """
    _check_options("linear_cross_entropy", reduction, label_smoothing)
    _check_types("linear_cross_entropy", input, weight)
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        raise OpError(
            "linear_cross_entropy: the input's last size must be the weight's second: "
            f"{tuple(input.shape)}, {tuple(weight.shape)}"
        )
    rest = tuple(input.shape[:-1])
    ids = _checked_targets("linear_cross_entropy", target, rest, weight.shape[0], ignore_index)
    x = reshape(input, (-1, input.shape[-1]))
    options = {"target": ids, "ignore_index": ignore_index, "label_smoothing": label_smoothing}
    if reduction == "none":
        return reshape(row_losses(linear(x, weight, None), **options), rest)
    count = np.count_nonzero(ids != ignore_index) if reduction == "mean" else 1
    scale = 1 / count if count else math.nan
    return fused_cross_entropy(x, weight, scale=scale, **options)


@op
def fused_cross_entropy(
    x: Array,
    weight: Array,
    *,
    target: Array,
    ignore_index: int,
    label_smoothing: float,
    scale: float,
    needs: tuple[bool, bool] = (False, False),
) -> Any:
    """scale times the sum of row_losses(x @ weight.T); its gradients are made on the way."""
    losses, gx, gweight = kernels.linear_cross_entropy(
        x, weight, target, ignore_index, label_smoothing, scale, needs
    )
    # The sum is made in float64: thousands of losses add up.
    loss = np.asarray(losses.sum(dtype=np.float64) * scale, x.dtype)
    return loss, {"gx": gx, "gweight": gweight}


@fused_cross_entropy.vjp
def _(
    g: Any,
    x: Any,
    weight: Any,
    target: Array,
    ignore_index: int,
    label_smoothing: float,
    scale: float,
    gx: Any,
    gweight: Any,
) -> Any:
    if not isinstance(g, Variable):
        if g == 1:
            return gx, gweight
        return (None if gx is None else gx * g), (None if gweight is None else gweight * g)
    # A second derivative is wanted: the gradient as a function of x and weight.
    logits = linear(x, weight, None)
    each = mul(g, np.full(len(target), scale, unwrap(x).dtype))
    options = {"target": target, "ignore_index": ignore_index, "label_smoothing": label_smoothing}
    glogits = row_losses_backward(each, logits, **options)
    return matmul(glogits, weight), matmul(glogits.mT, x)


# ----------------------------------------------------------------------------------- other losses


@composed(functional=True)
def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)^2"""
    _check_options("mse_loss", reduction)
    losses = square(minus(input, target))
    return _reduced(losses, reduction, unwrap(losses).size, "MseLoss")


@op(functional=True)
def logsigmoid(x: Array) -> Array:
    """log(1 / (1 + exp(-x))) = min(x, 0) - log(1 + exp(-|x|))"""
    return np.asarray(minus(minimum(x, np.zeros_like(x)), log1p(exp(neg(abs(x))))))


logsigmoid.rules(lambda g, x: mul(g, sigmoid(neg(x))))


@composed(functional=True)
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """-w (pos_weight t log p + (1 - t) log(1 - p)) with p = sigmoid(input), t the target."""
    _check_options("binary_cross_entropy_with_logits", reduction)
    if tuple(input.shape) != tuple(target.shape):
        raise OpError(
            "binary_cross_entropy_with_logits: input and target must have one shape, got "
            f"{tuple(input.shape)} and {tuple(target.shape)}"
        )
    positive = 1.0 if pos_weight is None else plus(mul(minus(pos_weight, 1.0), target), 1.0)
    # log(1 - p) = log p - input
    losses = minus(mul(minus(1.0, target), input), mul(logsigmoid(input), positive))
    if weight is not None:
        losses = mul(losses, weight)
    return _reduced(losses, reduction, unwrap(losses).size, "BinaryCrossEntropyWithLogits")


def _check_options(name: str, reduction: str, label_smoothing: float = 0.0) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise OpError(f"{name}: reduction must be 'mean', 'sum' or 'none', got '{reduction}'")
    if not 0 <= label_smoothing <= 1:
        raise OpError(f"{name}: label_smoothing must lie in [0, 1], got {label_smoothing}")


def _check_types(name: str, *inputs: Any) -> None:
    kinds = {unwrap(x).dtype for x in inputs}
    if len(kinds) > 1 or kinds.pop().kind != "f":
        got = ", ".join(str(unwrap(x).dtype) for x in inputs)
        raise OpError(f"{name}: takes one floating dtype, got {got}; convert with .float()")


@op(grad_name=lambda node: f"{(node.saved or {}).get('kind', 'NllLoss')}Backward0")
def averaged(total: Array, *, count: float, kind: str) -> Array:
    """total / count, under PyTorch's name for the loss."""
    return np.divide(total, total.dtype.type(count))


averaged.rules(lambda g, count, kind: g / count)


def _reduced(losses: Any, reduction: str, count: Any, kind: str = "NllLoss") -> Any:
    """The losses, their sum, or their sum divided by count: without any NaN, with no gradient."""
    if reduction == "none":
        return losses
    total = sum(losses)
    if reduction == "sum":
        return total
    return averaged(total, float(count), kind) if count else plus(mul(total, 0.0), math.nan)
