"""Schedules of the learning rate: step() after each optimizer.step() sets the next one.

The formulas are PyTorch's, most of which go from one rate to the next, so that the numbers are its
numbers and a rate changed by hand stays changed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from tensorlite.optim.optimizer import Optimizer


class LRScheduler:
    """The base of all schedules; a subclass defines get_lr().

    last_epoch: the steps done; -1 begins, and anything else continues with the "initial_lr" that
                the optimizer's groups hold
    """

    _beginning = False  # inside __init__: the rate of step 0 is wanted

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{name}: needs an Optimizer, got a {type(optimizer).__name__}")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{name}: to continue at last_epoch={last_epoch}, param_groups[{i}] must hold "
                    "an 'initial_lr'; load the optimizer's state first"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._begin()

    def _begin(self) -> None:
        self._step_count = 0
        self._beginning = True
        self.step()
        del self._beginning  # the class's False shows again

    def get_lr(self) -> list[float]:
        """The rate of each group at step last_epoch."""
        raise NotImplementedError(f"{type(self).__name__}: define get_lr()")

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return self._last_lr

    def step(self) -> None:
        """Set the rate of the next step."""
        self._step_count += 1
        self.last_epoch += 1
        self._set(self.get_lr())

    def restart(self) -> None:
        """Set the rate of step 0, whatever the rate is now."""
        self.last_epoch = 0
        self._set(self.get_first_lr())

    def get_first_lr(self) -> list[float]:
        """The rate of each group at step 0; a subclass whose get_lr goes on from a rate says."""
        return self.get_lr()

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    def _current(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What is needed to continue, without the optimizer and without functions."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state_dict()."""
        self.__dict__.update(state_dict)


class LambdaLR(LRScheduler):
    """base lr * lr_lambda(step); one function, or one for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(lambdas) != groups:
            raise ValueError(
                f"LambdaLR: needs a function for each of {groups} groups, got {lambdas}"
            )
        self.lr_lambdas = lambdas
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [
            base * factor(self.last_epoch)
            for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Functions are not saved; of callable objects, their attributes are."""
        state = super().state_dict()
        state["lr_lambdas"] = [
            dict(vars(factor)) if hasattr(factor, "__dict__") and not hasattr(factor, "__code__")
            else None
            for factor in self.lr_lambdas
        ]  # fmt: skip
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        rest = dict(state_dict)
        for factor, attributes in zip(self.lr_lambdas, rest.pop("lr_lambdas"), strict=True):
            if attributes is not None:
                vars(factor).update(attributes)
        super().load_state_dict(rest)


class StepLR(LRScheduler):
    """The rate times gamma after every step_size steps."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._current()
        return [rate * self.gamma for rate in self._current()]

    def get_first_lr(self) -> list[float]:
        return self.base_lrs


class LinearLR(LRScheduler):
    """The base rate times a factor from start_factor to end_factor, in total_iters steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must lie in (0, 1], got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must lie in [0, 1], got {end_factor}")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.start_factor for rate in self._current()]
        if self._beginning or self.last_epoch > self.total_iters:
            return self._current()
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return [rate * (1.0 + rise / before) for rate in self._current()]

    def get_first_lr(self) -> list[float]:
        return [base * self.start_factor for base in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi step / T_max)) / 2. Loshchilov and Hutter 2017."""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        low, now = self.eta_min, self.last_epoch
        if self._beginning:
            return self._current()
        if self._step_count == 1 and now > 0:
            return self._of_cosine(math.cos(now * math.pi / self.T_max))
        if (now - 1 - self.T_max) % (2 * self.T_max) == 0:  # it was at the bottom: nothing to scale
            rise = 1 - math.cos(math.pi / self.T_max)
            rates = zip(self._current(), self.base_lrs, strict=True)
            return [rate + (base - low) * rise / 2 for rate, base in rates]
        height = 1 + math.cos(math.pi * now / self.T_max)
        before = 1 + math.cos(math.pi * (now - 1) / self.T_max)
        return [height / before * (rate - low) + low for rate in self._current()]

    def get_first_lr(self) -> list[float]:
        return self._of_cosine(1.0)

    def _of_cosine(self, cosine: float) -> list[float]:
        low = self.eta_min
        return [low + (base - low) * (1 + cosine) / 2 for base in self.base_lrs]


class SequentialLR(LRScheduler):
    """One schedule after the other: the next begins, at its step 0, at each milestone."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedulers need {len(schedulers) - 1} "
                f"milestones, got {len(milestones)}"
            )
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise ValueError("SequentialLR: all schedulers must be of the same optimizer")
        self.optimizer = optimizer
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        self.last_epoch = last_epoch + 1
        # Each scheduler has set the rate of its own beginning; only the first one's counts.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._undo()
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._begin()
        self._last_lr = first.get_last_lr()

    def _undo(self) -> None:
        for scheduler in self._schedulers:
            if isinstance(scheduler, SequentialLR):
                scheduler._undo()
            else:
                scheduler.last_epoch -= 1

    def step(self) -> None:
        """Set the rate of the next step."""
        self.last_epoch += 1
        place = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[place]
        if place > 0 and self._milestones[place - 1] == self.last_epoch:
            scheduler.restart()
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["_schedulers"] = [scheduler.state_dict() for scheduler in self._schedulers]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        rest = dict(state_dict)
        for scheduler, state in zip(self._schedulers, rest.pop("_schedulers"), strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict(rest)


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, and down to that start / final_div_factor.

    The way up takes pct_start of total_steps (or of epochs * steps_per_epoch); with three_phase the
    way back to the start is as long, and the last part follows. The momentum (or the first beta)
    goes the other way, between base_momentum and max_momentum. Smith and Topin 2018.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: needs total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps <= 0:
            raise ValueError(f"OneCycleLR: total_steps must be positive, got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must lie in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        defaults = optimizer.defaults
        if cycle_momentum and not {"momentum", "betas"} & defaults.keys():
            raise ValueError(
                "OneCycleLR: cycle_momentum needs an optimizer with momentum or betas; "
                "pass cycle_momentum=False"
            )
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        self.cycle_momentum, self.use_beta1 = cycle_momentum, "betas" in defaults
        # (last step, rate at its start, rate at its end, momentum at its start, at its end)
        up = (pct_start * total_steps - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        if three_phase:
            back = 2 * pct_start * total_steps - 2
            self.phases = [
                up,
                (back, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                (total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        else:
            down = (total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")
            self.phases = [up, down]
        if last_epoch == -1:
            groups = optimizer.param_groups
            high = _for_each_group("max_momentum", groups, max_momentum)
            low = _for_each_group("base_momentum", groups, base_momentum)
            for i, peak in enumerate(_for_each_group("max_lr", groups, max_lr)):
                groups[i]["initial_lr"] = peak / div_factor
                groups[i]["max_lr"] = peak
                groups[i]["min_lr"] = groups[i]["initial_lr"] / final_div_factor
                if cycle_momentum:
                    groups[i]["max_momentum"], groups[i]["base_momentum"] = high[i], low[i]
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        now = self.last_epoch
        if now > self.total_steps:
            raise ValueError(f"OneCycleLR: has {self.total_steps} steps, this would be step {now}")
        ends = [end for end, *_ in self.phases]
        place = next((i for i, end in enumerate(ends) if now <= end), len(ends) - 1)
        start = ends[place - 1] if place else 0.0
        end, *names = self.phases[place]
        fraction = (now - start) / (end - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[names[0]], group[names[1]], fraction))
            if self.cycle_momentum:
                momentum = self._between(group[names[2]], group[names[3]], fraction)
                if self.use_beta1:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return rates

    def _between(self, start: float, end: float, fraction: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * fraction + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * fraction) + 1)


def _for_each_group(
    name: str, groups: Sequence[Any], value: float | Sequence[float]
) -> list[float]:
    values = list(value) if isinstance(value, Sequence) else [value] * len(groups)
    if len(values) != len(groups):
        raise ValueError(f"OneCycleLR: needs one {name} for {len(groups)} groups, got {values}")
    return values
