"""Gradients of many parameters at once: clipping, and parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tensorlite.autograd import no_grad, watch, wrap
from tensorlite.kernels import optimizer as kernels
from tensorlite.ops.join import cat


def _gradients(parameters: Any) -> list[Any]:
    many = [parameters] if hasattr(parameters, "grad") else list(parameters)
    return [p.grad for p in many if p.grad is not None]


def get_total_norm(
    tensors: Iterable[Any], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Any:
    """The norm of all elements of all tensors taken as one vector."""
    watch.constant("get_total_norm")
    arrays = [np.ascontiguousarray(t.array) for t in tensors]
    if not arrays:
        return wrap(np.zeros((), np.float32))
    kind = arrays[0].dtype
    if norm_type == 2:
        total = math.sqrt(kernels.sum_of_squares(arrays))
    elif math.isinf(norm_type):
        total = max(float(np.abs(x).max(initial=0)) for x in arrays)
    else:
        total = sum(float((np.abs(x) ** norm_type).sum()) for x in arrays) ** (1 / norm_type)
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(
            f"get_total_norm: the norm of order {norm_type} must be finite, got {total}; "
            "detect_anomaly() names the op where it arose"
        )
    return wrap(np.asarray(total, kind))


@no_grad()
def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Any:
    """Scale all gradients by max_norm / norm if their common norm is larger; return the norm.

    Pascanu, Mikolov and Bengio 2013. As in PyTorch the divisor is norm + 1e-6.
    """
    gradients = _gradients(parameters)
    norm = get_total_norm(gradients, norm_type, error_if_nonfinite)
    factor = float(max_norm) / (float(norm) + 1e-6)
    if not factor >= 1:  # a NaN scales too, so that it is seen
        if all(g.is_contiguous() for g in gradients):
            kernels.scale_([g.array for g in gradients], factor)
        else:
            for g in gradients:
                g.mul_(factor)
    return norm


@no_grad()
def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of every gradient to [-clip_value, clip_value]."""
    for g in _gradients(parameters):
        g.clamp_(-clip_value, clip_value)


def parameters_to_vector(parameters: Iterable[Any]) -> Any:
    """All parameters, flattened, one after the other."""
    return cat([p.reshape(-1) for p in parameters])


@no_grad()
def vector_to_parameters(vec: Any, parameters: Iterable[Any]) -> None:
    """The reverse: write the elements of vec into the parameters."""
    parameters = list(parameters)
    needed = sum(p.numel() for p in parameters)
    if vec.numel() != needed:
        raise ValueError(
            f"vector_to_parameters: the parameters hold {needed} elements, got {vec.numel()}"
        )
    start = 0
    for p in parameters:
        p.copy_(vec[start : start + p.numel()].view(p.shape))
        start += p.numel()
