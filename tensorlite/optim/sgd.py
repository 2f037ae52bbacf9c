"""SGD: steps along the gradient, with momentum if wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlite.kernels.optimizer import sgd_
from tensorlite.optim.optimizer import Optimizer, by_key
from tensorlite.tensor import Tensor


class SGD(Optimizer):
    """p = p - lr b, b = momentum b + (1 - dampening) (g + weight_decay p).

    The first b is g + weight_decay p. nesterov steps along g + weight_decay p + momentum b.
    Sutskever et al. 2013. foreach, differentiable and fused are accepted and change nothing.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def check_options(self, group: dict[str, Any]) -> None:
        for option in ("lr", "momentum", "weight_decay"):
            if not group[option] >= 0:
                raise ValueError(f"SGD: {option} must not be negative, got {group[option]}")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs a momentum above 0 and no dampening, got momentum "
                f"{group['momentum']} and dampening {group['dampening']}"
            )

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        momentum, names = group["momentum"], ("momentum_buffer",) if group["momentum"] else ()
        for (_, begun), members in by_key(params, lambda p: bool(self.state[p])).items():
            values, g, *buffers = self.arrays(members, names, group["maximize"])
            # Without momentum the kernel needs room for g + weight_decay p.
            scratch = [np.zeros_like(array) for array in g] if group["weight_decay"] else g
            sgd_(
                values,
                g,
                buffers[0] if buffers else scratch,
                lr=float(group["lr"]),
                momentum=float(momentum),
                dampening=float(group["dampening"]) if begun and buffers else 0.0,
                weight_decay=float(group["weight_decay"]),
                nesterov=bool(group["nesterov"]),
            )
            self.written(members, values)
