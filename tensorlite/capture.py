"""A pass of ops, noted while it runs, to run again without Python: as a CUDA graph is, on the CPU.

    ids = tensorlite.tensor([[7]])
    with tensorlite.Capture() as step:
        logits = model(ids)           # runs, and is noted
    ids[0, 0] = 9
    step.replay()                     # the same on the same memory: logits are those of 9

Where ops are small, most of their time is Python's: a token of a model with 124M weights takes 16
ms on one thread and 14 replayed. The bits are the same, for the same kernels run.

What is noted is what becomes of memory. Kernels that follow each other become one function of
machine code (kernels/line.py); what NumPy computes is called again; views cost nothing, for their
memory is where it was. Everything else is a constant: sizes, Python's numbers, what NumPy did to a
tensor's array behind its back. So a pass must not depend on numbers that it reads from tensors, nor
draw random ones, and a parameter must be changed in place (as load_state_dict and optimizers do).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from tensorlite.autograd import OPS, no_grad, watch
from tensorlite.kernels.line import Call, Notes, line_of


class Capture:
    """Note the ops of this Python thread in a `with` block; `replay` runs them again.

    No gradient is recorded inside. RuntimeError where the block takes a number from a tensor, or a
    profiler or another capture is at work. Results of the block hold those of the last replay;
    clone() them to keep them.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []
        self._calls: list[Call] = []  # of kernels, since the last step that is not one
        self._inside = False  # an op: what it calls belongs to it
        self._ready = False

    def __enter__(self) -> Capture:
        if watch.post.watcher is not None:
            raise RuntimeError("Capture: a profiler or a capture is at work; leave its block first")
        if self._ready:
            raise RuntimeError("Capture: this one holds a pass already; make another")
        self._thread = threading.get_ident()
        self._mode = no_grad()
        self._mode.__enter__()
        watch.post.watcher = self
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        watch.post.watcher = None
        self._mode.__exit__()
        self._ready = kind is None
        if self._ready:
            self._end_line()
        else:
            self._steps, self._calls = [], []

    def replay(self) -> None:
        """Run everything again, on what the memory holds now; one thread at a time."""
        if not self._ready:
            raise RuntimeError("replay: nothing is captured; run a pass in the with block first")
        for step in self._steps:
            step()

    # ------------------------------------------------------------------------ what the tape calls

    def forward(
        self, name: str, function: Callable[..., Any], arrays: list[Any], options: dict[str, Any]
    ) -> Any:
        """Run an op's function, by kernels alone if it can be, and note it."""
        if self._inside or threading.get_ident() != self._thread:
            return function(*arrays, **options)
        self._inside = True
        try:
            by_kernels = OPS[name].op.by_kernels
            if by_kernels is not None:
                notes = Notes()
                with notes:
                    value = by_kernels(*arrays, **options)
                if value is not None:
                    self._calls += notes.calls
                    return value
            value = _as_arrays(function(*arrays, **options))
        finally:
            self._inside = False
        given = [x for x in (*arrays, *options.values()) if isinstance(x, np.ndarray)]
        if any(not _same_memory(y, given) for y in _results(value)):
            self._note(functools.partial(_compute, _results(value), function, arrays, options))
        return value

    def backward(self, node: Any, g: Any, create_graph: bool) -> Any:
        """Refuse: gradients belong to one pass."""
        raise RuntimeError("backward: a pass is being captured, in which no gradient is recorded")

    def change(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Change a tensor in place, and note it."""
        if self._inside or threading.get_ident() != self._thread:
            return function(*arguments)
        notes = Notes()
        with notes:
            by_kernels = function(*arguments)
        if by_kernels is True:
            self._calls += notes.calls
        else:
            self._note(functools.partial(function, *arguments))
        return by_kernels

    def read(self, what: str) -> None:
        """Refuse: what follows may depend on the number."""
        if not self._inside and threading.get_ident() == self._thread:
            raise RuntimeError(
                f"{what}: a pass is being captured, in which this would become a constant; "
                "do it outside the block"
            )

    def region(self, name: str) -> AbstractContextManager[object]:
        """Names of stretches of time are for profilers."""
        return nullcontext()

    def _note(self, step: Callable[[], object]) -> None:
        self._end_line()
        self._steps.append(step)

    def _end_line(self) -> None:
        if self._calls:
            self._steps.append(line_of(self._calls))
            self._calls = []


def _compute(
    out: list[np.ndarray], function: Callable[..., Any], arrays: list[Any], options: dict[str, Any]
) -> None:
    """Put the results of an op's function where they were the first time."""
    for y, value in zip(out, _results(_as_arrays(function(*arrays, **options))), strict=True):
        if y is not value:
            np.copyto(y, value)


def _as_arrays(value: Any) -> Any:
    """What an op's function returned, with NumPy's numbers as arrays."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_as_arrays(member) for member in value)
    return value


def _results(value: Any) -> list[np.ndarray]:
    """The arrays among what an op's function returned; the dict at the end is for a gradient."""
    members = value if isinstance(value, (tuple, list)) else [value]
    return [member for member in members if isinstance(member, np.ndarray)]


def _same_memory(y: np.ndarray, given: list[np.ndarray]) -> bool:
    return y.size == 0 or any(np.may_share_memory(y, x) for x in given)
