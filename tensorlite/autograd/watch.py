"""Where a profiler or a capture may stand, and run every op's function and vjp of its thread
itself, and every change of a tensor in place.

Without one this costs an op one look at an empty dict.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import get_ident
from typing import Any, Protocol


class CaptureError(RuntimeError):
    """What a pass does cannot be captured."""


class Watcher(Protocol):
    """What tensorlite.profiler and tensorlite.capture are to the tape."""

    def forward(
        self, name: str, function: Callable[..., Any], arrays: list[Any], options: dict[str, Any]
    ) -> Any:
        """function(*arrays, **options), the forward pass of the op of that name."""

    def backward(self, node: Any, g: Any, create_graph: bool) -> Any:
        """node.gradients(g, create_graph)"""

    def change(self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """function(*arguments), which writes into the array that is the first of them."""

    def made(self, array: Any) -> None:
        """A tensor has been made of no other: by zeros, arange and the like."""

    def constant(self, what: str) -> None:
        """Something that depends on the values in a tensor, or on chance, is about to be done where
        nobody watches: a number is taken from it by .item(), NumPy looks through it."""

    def region(self, name: str) -> AbstractContextManager[object]:
        """A stretch of time outside ops, by name."""


watchers: dict[int, Watcher] = {}  # by Python thread
_NOTHING: AbstractContextManager[object] = nullcontext()


def here() -> Watcher | None:
    """Who watches this thread."""
    return watchers.get(get_ident()) if watchers else None


def change(name: str, function: Callable[..., Any], *arguments: Any) -> None:
    """function(*arguments), which writes into the array that is the first of them."""
    watcher = here()
    if watcher is None:
        function(*arguments)
    else:
        watcher.change(name, function, arguments)


def made(array: Any) -> None:
    """Say that a tensor has been made of no other."""
    watcher = here()
    if watcher is not None:
        watcher.made(array)


def constant(what: str) -> None:
    """Say that what follows depends on values, or on chance, and is no op."""
    watcher = here()
    if watcher is not None:
        watcher.constant(what)


def region(name: str) -> AbstractContextManager[object]:
    """Give the time inside this context, that of ops excepted, a name for the profiler."""
    watcher = here()
    return _NOTHING if watcher is None else watcher.region(name)
