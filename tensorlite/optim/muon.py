"""Muon: steps along the momentum of a matrix with its singular values made about equal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorlite.autograd import Array
from tensorlite.kernels.matmul import matmul
from tensorlite.kernels.optimizer import sum_of_squares
from tensorlite.optim.optimizer import Optimizer
from tensorlite.tensor import Tensor


class Muon(Optimizer):
    """p = p (1 - lr weight_decay) - lr' U, for matrices only; Jordan et al. 2024.

        b = momentum b + (1 - momentum) g
        u = (1 - momentum) g + momentum b with nesterov, else b
        U = `orthogonalized`(u)

    lr' is lr sqrt(max(1, rows / columns)); or with adjust_lr_fn="match_rms_adamw"
    .2 lr sqrt(max(rows, columns)), for which rates found for AdamW do (Liu et al. 2025). Use AdamW
    for embeddings, gains and biases. PyTorch computes U in bfloat16; here it has the parameter's
    precision.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def check_options(self, group: dict[str, Any]) -> None:
        for option in ("lr", "momentum", "weight_decay"):
            if not group[option] >= 0:
                raise ValueError(f"Muon: {option} must not be negative, got {group[option]}")
        if group["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                "Muon: adjust_lr_fn must be 'original' or 'match_rms_adamw', got "
                f"{group['adjust_lr_fn']!r}"
            )
        for p in group["params"]:
            if p.ndim != 2:
                raise ValueError(
                    f"Muon: parameters must be matrices, got shape {tuple(p.shape)}; "
                    "give the others to AdamW"
                )

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        lr, momentum = float(group["lr"]), float(group["momentum"])
        values, gradients, buffers = self.arrays(params, ("momentum_buffer",), False)
        for value, g, b in zip(values, gradients, buffers, strict=True):
            b += (1 - momentum) * (g - b)
            u = g + momentum * (b - g) if group["nesterov"] else b
            u = orthogonalized(u, group["ns_coefficients"], group["ns_steps"], group["eps"])
            rows, columns = value.shape
            if group["adjust_lr_fn"] == "match_rms_adamw":
                factor = 0.2 * math.sqrt(max(rows, columns))
            else:
                factor = math.sqrt(max(1, rows / columns)) if columns else 1.0
            value *= 1 - lr * group["weight_decay"]
            value -= lr * factor * u
        self.written(params, values)


def orthogonalized(
    x: Array, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Array:
    """About U V^T of x = U S V^T: each singular value s, divided by the norm of x, goes through

        s = a s + b s^3 + c s^5

    `steps` times, which brings all but the tiniest near 1: with (3.4445, -4.7750, 2.0315) and 5
    steps between .68 and 1.14. It takes products of matrices only (Newton and Schulz).
    """
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    x = np.ascontiguousarray(x.T if tall else x)
    x = x / x.dtype.type(max(math.sqrt(sum_of_squares([x])), eps))
    for _ in range(steps):
        gram = matmul(x, x.T)  # (M, M), M the shorter side
        x = a * x + matmul(b * gram + c * matmul(gram, gram), x)
    return x.T if tall else x
