"""Where a profiler or a capture may stand: a watcher, if there is one, runs every op's function and
vjp itself, and every change of a tensor in place.

Without one this costs an op one comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol


class Watcher(Protocol):
    """What tensorlite.profiler and tensorlite.capture are to the tape."""

    def forward(
        self, name: str, function: Callable[..., Any], arrays: list[Any], options: dict[str, Any]
    ) -> Any:
        """function(*arrays, **options), the forward pass of the op of that name."""

    def backward(self, node: Any, g: Any, create_graph: bool) -> Any:
        """node.gradients(g, create_graph)"""

    def change(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """function(*arguments), which writes into the array that is the first of them."""

    def read(self, what: str) -> None:
        """A number is about to be taken from a tensor, by .item() or the like."""

    def region(self, name: str) -> AbstractContextManager[object]:
        """A stretch of time outside ops, by name."""


class _Post:
    watcher: Watcher | None = None


post = _Post()
_NOTHING: AbstractContextManager[object] = nullcontext()


def region(name: str) -> AbstractContextManager[object]:
    """Give the time inside this context, that of ops excepted, a name for the profiler."""
    return _NOTHING if post.watcher is None else post.watcher.region(name)


def change(function: Callable[..., Any], *arguments: Any) -> None:
    """function(*arguments), which writes into the array that is the first of them."""
    if post.watcher is None:
        function(*arguments)
    else:
        post.watcher.change(function, arguments)


def read(what: str) -> None:
    """A number is about to be taken from a tensor."""
    if post.watcher is not None:
        post.watcher.read(what)
