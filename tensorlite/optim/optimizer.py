"""Optimizer: groups of parameters with their options, and what is remembered of each parameter."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tensorlite.autograd import Array, enable_grad, wrap
from tensorlite.autograd.watch import constant, region
from tensorlite.ops.convert import changed
from tensorlite.tensor import Tensor


class Optimizer:
    """The base of all optimizers; a subclass defines `update`, or a step() of its own.

    params: tensors, (name, tensor) pairs, or dicts {"params": tensors, option: value, ...}: groups
    defaults: the options of a group that does not say

    `param_groups` are these dicts; changing one's "lr" takes effect at the next step. `state` is
    what is remembered, a dict for each tensor.
    """

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, (Tensor, Mapping)):
            raise TypeError(
                f"{type(self).__name__}: params must be an iterable of tensors or of dicts, got "
                f"a {type(params).__name__}; put it in a list"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: got an empty list of parameters")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own: {"params": tensors, option: value, ...}."""
        name = type(self).__name__
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"{name}: a group must be a dict with 'params', got {param_group!r}")
        group = {**self.defaults, **param_group}
        params = group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError(
                f"{name}: params must have an order that is the same in each run, got a set; "
                "pass a list"
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        if params and all(isinstance(p, tuple) for p in params):
            group["param_names"] = [key for key, _ in params]
            params = [p for _, p in params]
        others = {id(p) for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: can only optimize tensors, got a {type(p).__name__}")
            if not (p.is_leaf or p.retains_grad):
                raise ValueError(f"{name}: parameter {i} is no leaf: it is the result of an op")
            if id(p) in others:
                raise ValueError(f"{name}: parameter {i} appears in more than one group")
        once = list({id(p): p for p in params}.values())
        if len(once) < len(params):
            warnings.warn(
                f"{name}: a group has a parameter twice; it is updated once a step", stacklevel=3
            )
            params = once
        group["params"] = params
        self.check_options(group)
        self.param_groups.append(group)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of a group is out of its range; a subclass says."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or with set_to_none=False write zeros into them."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.grad.detach()
                    p.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        closure: computes the loss and its gradients first; its result is returned
        """
        constant("step")
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with region(f"{type(self).__name__}.step"):
            for group in self.param_groups:
                self.update(group, [p for p in group["params"] if p.grad is not None])
        return loss

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        """Update parameters of a group, those that have a gradient."""
        raise NotImplementedError(f"{type(self).__name__}: define update() or step()")

    # ------------------------------------------------------------------------------ for the kernels

    def arrays(
        self, params: Sequence[Tensor], states: Sequence[str], maximize: bool
    ) -> list[list[Array]]:
        """The values, the gradients and the states of these names, contiguous, for a kernel.

        Kernels reach them by their addresses, so whatever does not fit must be found here. A state
        that does not exist begins as zeros. maximize changes the signs of the gradients.
        """
        values, gradients = [], []
        rest: list[list[Array]] = [[] for _ in states]
        for p in params:
            if not p.array.flags.writeable:
                raise RuntimeError(
                    f"{type(self).__name__}: the memory of a parameter must be writable; "
                    "clone() what was made from a read-only array"
                )
            values.append(_contiguous(p.array))
            g = _contiguous(self._fitting("gradient", p.grad, p))
            gradients.append(np.asarray(-g) if maximize else g)  # of no axes -g is a number
            kept = self.state[p]
            for name, arrays in zip(states, rest, strict=True):
                if name not in kept:
                    kept[name] = wrap(np.zeros(p.array.shape, p.array.dtype))
                arrays.append(self._fitting(name, kept[name], p))
        return [values, gradients, *rest]

    def _fitting(self, name: str, tensor: Any, p: Tensor) -> Array:
        array: Array = tensor.array
        if array.shape != p.array.shape or array.dtype != p.array.dtype:
            raise RuntimeError(
                f"{type(self).__name__}: the {name} of a parameter must be {p.array.dtype} of "
                f"shape {p.array.shape} as the parameter, got {array.dtype} of shape "
                f"{array.shape}; convert the model before making its optimizer"
            )
        return array

    def written(self, params: Sequence[Tensor], values: Sequence[Array]) -> None:
        """Note that the kernel has overwritten the values: graphs that need the old ones see it."""
        for p, array in zip(params, values, strict=True):
            if array is not p.array:  # it lies in memory in another order
                p.array[...] = array
            changed(f"{type(self).__name__}.step", p)

    # ---------------------------------------------------------------------------------- saved state

    def state_dict(self) -> dict[str, Any]:
        """What is needed to continue: {"state", "param_groups"}, with numbers for parameters.

        The tensors are the optimizer's own, not copies.
        """
        numbers: dict[int, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                numbers[id(p)] = len(numbers)
        state = {numbers[id(p)]: kept for p, kept in self.state.items() if kept}
        groups = [
            {**group, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state_dict(), of as many groups of as many parameters; values are copied.

        Nothing is changed when something does not fit.
        """
        name = type(self).__name__
        saved = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in self.param_groups]
        saved_sizes = [len(group["params"]) for group in saved]
        if sizes != saved_sizes:
            raise ValueError(
                f"{name}.load_state_dict: the groups must have {sizes} parameters as here, got "
                f"{saved_sizes}"
            )
        own = [p for group in self.param_groups for p in group["params"]]
        numbers = [number for group in saved for number in group["params"]]
        by_number = dict(zip(numbers, own, strict=True))
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for number, kept in state_dict["state"].items():
            p = by_number.get(number)
            if p is None:
                raise ValueError(f"{name}.load_state_dict: no group names parameter {number}")
            what = f"{name}.load_state_dict: parameter {number}"
            state[p] = {key: _copied(what, key, value, p) for key, value in kept.items()}
        groups = [
            {**self.defaults, **theirs, "params": ours["params"]}
            for theirs, ours in zip(saved, self.param_groups, strict=True)
        ]
        self.state, self.param_groups = state, groups

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def _contiguous(x: Array) -> Array:
    return x if x.flags.c_contiguous else x.copy()


def _copied(what: str, key: str, value: Any, p: Tensor) -> Any:
    """A copy; tensors with axes must have the parameter's shape and take its dtype."""
    if not isinstance(value, Tensor):
        return value
    if value.array.ndim == 0:
        return wrap(value.array.copy())
    if value.array.shape != p.array.shape:
        raise ValueError(
            f"{what} has shape {p.array.shape}, its {key} must have it too, got {value.array.shape}"
        )
    return wrap(np.array(value.array, p.array.dtype, order="C"))


def by_key(
    params: Iterable[Tensor], key: Callable[[Tensor], Any]
) -> dict[tuple[Any, Any], list[Tensor]]:
    """Parameters that one call of a kernel may take: of one dtype and one key."""
    members: dict[tuple[Any, Any], list[Tensor]] = {}
    for p in params:
        members.setdefault((p.array.dtype, key(p)), []).append(p)
    return members
