"""A pass of ops, noted while it runs, to run again without Python: what a CUDA graph is to a GPU.

    ids = tensorlite.tensor([[7]])
    with tensorlite.Capture() as step:
        logits = model(ids)           # runs, and is noted
    ids[0, 0] = 9
    step.replay()                     # the same on the same memory: logits are those of 9

Where ops are small, most of their time is Python's; what is gained says gpt/reader.py. The bits are
the same, for the same kernels run.

What is noted is what ops make of memory. Kernels that follow each other become one function of
machine code (kernels/line.py); what NumPy computes inside an op is called again; views cost
nothing, for their memory is where it was; tensors made in the block, by zeros and the like, are
filled again. Sizes and Python's numbers are constants, and so is what a program does to a tensor's
.numpy(). What would depend on values and is no op is refused: taking a number from a tensor, random
draws, looking for nonzero elements, an optimizer's step. Parameters may be changed in place, as
load_state_dict and optimizers do, but not replaced.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from tensorlite.autograd import OPS, no_grad, watch
from tensorlite.autograd.watch import CaptureError
from tensorlite.kernels.line import Call, Notes, line_of


class Capture:
    """Note the ops of this Python thread in a `with` block; `replay` runs them again.

    No gradient is recorded inside. CaptureError, a RuntimeError, where the block does what cannot
    be noted; RuntimeError where a profiler or another capture is at work in this thread. Results of
    the block hold those of the last replay; clone() them to keep them. A replay counts no change in
    place, so a graph that needs the old values does not notice.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []
        self._calls: list[Call] = []  # of kernels, since the last step that is not one
        self._inside = False  # an op: what it does belongs to it
        self._ready = False

    @staticmethod
    def possible() -> bool:
        """Is nothing at work in this thread that watches its ops?"""
        return watch.here() is None

    def __enter__(self) -> Capture:
        if not self.possible():
            raise RuntimeError(
                "Capture: a profiler or a capture is at work in this thread; leave its block first"
            )
        if self._ready:
            raise RuntimeError("Capture: this one holds a pass already; make another")
        self._mode = no_grad()
        self._mode.__enter__()
        watch.watchers[threading.get_ident()] = self
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        del watch.watchers[threading.get_ident()]
        self._mode.__exit__()
        if kind is None:
            self._end_line()
            self._ready = True
        else:
            self._steps, self._calls = [], []

    def replay(self) -> None:
        """Run everything again, on what the memory holds now; one thread at a time.

        Errors are those of the ops, where NumPy computes; kernels look at nothing, and leave out
        rows that do not exist.
        """
        if not self._ready:
            raise RuntimeError("replay: nothing is captured; run a pass in the with block first")
        outer = watch.here()
        if isinstance(outer, Capture) and not outer._inside:
            outer.change("replay", self._run, ())
        else:
            self._run()

    def _run(self) -> None:
        for step in self._steps:
            step()

    def __reduce__(self) -> Any:
        raise TypeError("Capture: holds machine code, which can be neither copied nor pickled")

    # ------------------------------------------------------------------------ what the tape calls

    def forward(
        self, name: str, function: Callable[..., Any], arrays: list[Any], options: dict[str, Any]
    ) -> Any:
        """Run an op's function, by kernels alone if it can be, and note it."""
        if self._inside:
            return function(*arrays, **options)
        self._inside = True
        try:
            by_kernels = OPS[name].op.by_kernels
            if by_kernels is not None:
                with Notes() as calls:
                    value = by_kernels(*arrays, **options)
                if value is not None:
                    self._calls += calls
                    return value
            value = _as_arrays(function(*arrays, **options))
        finally:
            self._inside = False
        given = [x for x in (*arrays, *options.values()) if isinstance(x, np.ndarray)]
        out = _results(value)
        if not all(_lies_in(y, given) for y in out):
            options = {k: list(v) if isinstance(v, list) else v for k, v in options.items()}
            self._note(functools.partial(_compute, name, out, function, arrays, options))
        elif any(isinstance(x, np.ndarray) and not x.ndim for x in options.values()) and any(
            y.size for y in out
        ):
            self.constant(name)  # a view whose place is a number in a tensor
        return value

    def backward(self, node: Any, g: Any, create_graph: bool) -> Any:
        """Refuse: gradients belong to one pass."""
        raise CaptureError("backward: a pass is being captured, in which no gradient is recorded")

    def change(self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Change a tensor in place, and note it; the function returns True if only kernels did."""
        if self._inside:
            function(*arguments)
            return
        self._inside = True
        try:
            with Notes() as calls:
                by_kernels = function(*arguments)
        finally:
            self._inside = False
        if by_kernels is True:
            self._calls += calls
        else:
            self._note(functools.partial(function, *arguments))

    def made(self, array: Any) -> None:
        """Note what a new tensor is filled with."""
        if not self._inside:
            self._note(functools.partial(np.copyto, array, array.copy()))

    def constant(self, what: str) -> None:
        """Refuse: what follows would be done once."""
        if not self._inside:
            raise CaptureError(
                f"{what}: depends on values, or on chance, and a pass is being captured, in which "
                "it would become a constant; do it outside the block"
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
    name: str,
    out: list[np.ndarray],
    function: Callable[..., Any],
    arrays: list[Any],
    options: dict[str, Any],
) -> None:
    """Put the results of an op's function where they were the first time."""
    for y, value in zip(out, _results(_as_arrays(function(*arrays, **options))), strict=True):
        if y.shape != value.shape:
            raise RuntimeError(
                f"replay: {name} gave the shape {y.shape} when it was captured, now {value.shape}; "
                "sizes must not depend on values"
            )
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


def _lies_in(y: np.ndarray, given: list[np.ndarray]) -> bool:
    """Is y a view of one of these?"""
    return y.size == 0 or any(np.may_share_memory(y, x) for x in given)
