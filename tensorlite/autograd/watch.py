"""Where a profiler may stand: a watcher, if there is one, runs every op's function and vjp itself.

Without one this costs an op one comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol


class Watcher(Protocol):
    """What tensorlite.profiler is to the tape."""

    def forward(
        self, name: str, function: Callable[..., Any], arrays: list[Any], options: dict[str, Any]
    ) -> Any:
        """function(*arrays, **options), the forward pass of the op of that name."""

    def backward(self, node: Any, g: Any, create_graph: bool) -> Any:
        """node.gradients(g, create_graph)"""

    def region(self, name: str) -> AbstractContextManager[object]:
        """A stretch of time outside ops, by name."""


class _Post:
    watcher: Watcher | None = None


post = _Post()
_NOTHING: AbstractContextManager[object] = nullcontext()


def region(name: str) -> AbstractContextManager[object]:
    """Give the time inside this context, that of ops excepted, a name for the profiler."""
    return _NOTHING if post.watcher is None else post.watcher.region(name)
