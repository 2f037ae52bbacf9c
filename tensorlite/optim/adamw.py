"""Adam and AdamW: steps of the mean gradient, measured by the root of its mean square."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlite.autograd import wrap
from tensorlite.kernels.optimizer import adamw_
from tensorlite.optim.optimizer import Optimizer, by_key
from tensorlite.tensor import Tensor


class Adam(Optimizer):
    """p = p - lr m' / (sqrt(v') + eps), where

        m = beta1 m + (1 - beta1) g        m' = m / (1 - beta1^step)
        v = beta2 v + (1 - beta2) g^2      v' = v / (1 - beta2^step)

    and weight_decay is added to the gradient, g + weight_decay p. Kingma and Ba 2015. One pass over
    memory for each group. foreach, capturable, differentiable and fused are accepted and change
    nothing.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def check_options(self, group: dict[str, Any]) -> None:
        name = type(self).__name__
        for option in ("lr", "eps", "weight_decay"):
            if not group[option] >= 0:
                raise ValueError(f"{name}: {option} must not be negative, got {group[option]}")
        if not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"{name}: betas must lie in [0, 1), got {group['betas']}")
        if group["amsgrad"]:
            raise NotImplementedError(
                f"{name}: amsgrad=True is not part of tensorlite; leave it out"
            )

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for p in params:
            kept = self.state[p]
            if "step" not in kept:
                kept["step"] = wrap(np.zeros((), np.float32))
            kept["step"].array += 1
        beta1, beta2 = group["betas"]
        steps = by_key(params, lambda p: int(self.state[p]["step"].array))
        for (_, step), members in steps.items():
            values, g, m, v = self.arrays(members, ("exp_avg", "exp_avg_sq"), group["maximize"])
            adamw_(
                values,
                g,
                m,
                v,
                step=step,
                lr=float(group["lr"]),
                beta1=float(beta1),
                beta2=float(beta2),
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                decoupled=group["decoupled_weight_decay"],
            )
            self.written(members, values)


class AdamW(Adam):
    """Adam whose weight_decay shrinks p, by lr weight_decay p. Loshchilov and Hutter 2019."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
