"""What the tape is made of: variables, the nodes that made them, and whether ops are recorded.

A node holds arrays and its parents, never a variable that it made: nothing points back, so a graph
dies by reference count.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
import weakref
from collections.abc import Callable, Generator, Sequence
from typing import Any, Self, TypeAlias, TypeVar, cast, overload

import numpy as np

# In an op's signature: a NumPy array when the op runs, a tensor when it is called. No static type
# says that; what callers see is in the generated stubs.
Array: TypeAlias = Any
Hook: TypeAlias = Callable[[Any], Any]
F = TypeVar("F", bound=Callable[..., Any])

numbers = itertools.count(1)


class Variable:
    """A value on the tape: an array, whether a gradient is wanted, and the node that made it."""

    __slots__ = ("array", "base", "grad", "hooks", "node", "seen", "tracked", "version")

    array: np.ndarray[Any, np.dtype[Any]]
    tracked: bool  # a gradient flows through it
    node: Node | None  # what made it; None for a leaf
    version: list[Any]  # [in-place changes of this memory, name of the last]; views share it
    base: Variable | None  # whose memory this is a view of
    seen: int | None  # a view's version when its node was right; None: made under no_grad
    grad: Any
    hooks: dict[int, Hook] | None  # of a leaf; those of other variables are their node's

    tensor: type[Variable]  # the subclass that results are made of

    def __init_subclass__(cls) -> None:
        if Variable in cls.__bases__:
            Variable.tensor = cls

    def refresh(self) -> None:
        """Make the node of a view right again after its memory was changed in place."""
        raise NotImplementedError


def wrap(array: Any, node: Node | None = None) -> Any:
    """A tensor around an array, without a copy: a constant, or the result of a node."""
    t = object.__new__(Variable.tensor)
    t.array = array if type(array) is np.ndarray else np.asarray(array)
    t.tracked = node is not None
    t.node = node
    t.version = [0, ""]
    t.base = t.grad = t.hooks = None
    return t


def unwrap(value: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    return value.array if isinstance(value, Variable) else value


class Node:
    """One recorded call: its parents, what its vjp needs, and the shape of its result."""

    __slots__ = (
        "__weakref__", "dtype", "hooks", "number", "op", "parents", "retained", "saved", "shape",
        "versions", "where",
    )  # fmt: skip

    op: Any
    number: int  # nodes are numbered as they are made, so a parent's number is always lower
    parents: Sequence[Node | Variable | None]  # a node, a leaf, or None: no gradient wanted
    saved: dict[str, Any] | None  # what the vjp needs, by name; None once freed
    versions: list[tuple[list[Any], int, str]]  # (version of a saved variable, its count, name)
    shape: Any  # of the result; several results: a tuple of (shape, dtype)
    dtype: Any
    hooks: dict[int, Hook] | None
    retained: weakref.ref[Variable] | None  # the variable whose .grad is wanted
    where: str  # the line that called the op, known in anomaly mode

    @property
    def name(self) -> str:
        """What grad_fn prints: PyTorch's name for this call."""
        name = self.op.grad_name
        return name(self) if callable(name) else f"{name}Backward0"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        return tuple((parent, 0) for parent in self.parents)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def gradients(self, g: Any, create_graph: bool) -> Sequence[Any]:
        """The vjp at g: one gradient per parent, unchecked; None where there is none."""
        saved = self.check()
        if create_graph:
            saved = self._on_tape(saved)
        op = self.op
        if op.vjp is None:
            return [
                None if parent is None else rule(g, *[saved[name] for name in names])
                for parent, (rule, names) in zip(self.parents, op.rules, strict=True)
            ]
        if op.vjp_asks_needs:
            saved = {**saved, "needs": tuple(parent is not None for parent in self.parents)}
        gradients = op.vjp(g, **saved)
        return gradients if isinstance(gradients, tuple) else (gradients,)

    def free(self) -> None:
        """Let go of everything: the walk has passed."""
        self.saved = None
        self.versions = []
        self.parents = ()

    def check(self) -> dict[str, Any]:
        """What was saved, unless it was freed or changed since."""
        if self.saved is None:
            raise RuntimeError(
                f"backward: this graph was freed (at {self.name}); "
                "pass retain_graph=True to walk it twice"
            )
        for version, count, name in self.versions:
            if version[0] != count:
                raise RuntimeError(
                    f"backward of {self.name}: its {name} has been modified by an inplace "
                    f"operation, {version[1]} (version {version[0]}, expected {count}); "
                    "change a clone() instead"
                )
        return self.saved

    def _on_tape(self, saved: dict[str, Any]) -> dict[str, Any]:
        """The saved inputs and output as tensors again, each at its place in the graph."""
        live = dict(saved)
        for name, value in saved.items():
            if name == "out" and isinstance(value, tuple):
                live[name] = tuple(wrap(y, piece_of(self, i, y)) for i, y in enumerate(value))
            elif name == "out":
                live[name] = wrap(value, self)
            elif name == self.op.variadic:
                live[name] = tuple(map(at_edge, value, self.parents))
            elif name in self.op.positions:
                live[name] = at_edge(value, self.parents[self.op.positions[name]])
        return live


class Piece(Node):
    """One result of an op with several; its gradient goes to slot `index` of the op's node."""

    __slots__ = ("index",)
    index: int

    def gradients(self, g: Any, create_graph: bool) -> Sequence[Any]:
        return (g,)


def piece_of(node: Node, index: int, array: Any) -> Piece:
    """The node of one of several results."""
    piece = object.__new__(Piece)
    piece.op = node.op
    piece.number = next(numbers)
    piece.parents = [node]
    piece.index = index
    piece.saved = {}
    piece.versions = []
    piece.shape = array.shape
    piece.dtype = array.dtype
    piece.hooks = piece.retained = None
    piece.where = node.where
    return piece


def at_edge(array: Any, edge: Node | Variable | None) -> Any:
    """An input's array as the tensor it came from: the leaf itself, or a result of its node."""
    if edge is None:
        return array
    if isinstance(edge, Node):
        return wrap(array, edge)
    if edge.array is not array:
        raise RuntimeError("backward: create_graph: the .data of a leaf was replaced since its use")
    return edge


class RemovableHandle:
    """What registering a hook returns: remove() takes the hook away again."""

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        self.hooks = hooks
        self.id = next(numbers)
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away."""
        self.hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class _Arithmetic:
    """How the walk adds two arrays of one shape and type: add(x, y, out), out may be None, or one
    of the two. The ops put a faster function here."""

    add: Callable[..., Any] = staticmethod(np.add)


arithmetic = _Arithmetic()


class Addend:
    """A gradient that is mostly zeros, as what is to be added: the walk adds it to what has arrived
    at the same place, and only where nothing has makes the array of its own.

    add_to: adds it to a contiguous array, in place
    """

    __slots__ = ("add_to", "dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any, add_to: Callable[[Any], None]) -> None:
        self.shape, self.dtype, self.add_to = shape, dtype, add_to

    def whole(self) -> Any:
        """It as an array."""
        total = np.zeros(self.shape, self.dtype)
        self.add_to(total)
        return total


# --------------------------------------------------------------------------------- recording or not


class _State(threading.local):
    recording = True
    inference = False


state = _State()


class _Mode:
    """Whether ops are recorded, in this thread: a context manager and a decorator."""

    recording: bool
    inference: bool | None = None

    def __enter__(self) -> None:
        self.before = state.recording, state.inference
        state.recording = self.recording
        if self.inference is not None:
            state.inference = self.inference

    def __exit__(self, *exception: object) -> None:
        state.recording, state.inference = self.before

    def _copy(self) -> _Mode:
        """One context a call, so that a decorated function may call itself."""
        copy = object.__new__(type(self))
        copy.recording, copy.inference = self.recording, self.inference
        return copy

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generate(*args: Any, **keywords: Any) -> Generator[Any, Any, Any]:
                # The mode holds while the generator runs, not while its caller does.
                generator = function(*args, **keywords)
                answer = None
                try:
                    while True:
                        with self._copy():
                            value = generator.send(answer)
                        answer = yield value
                except StopIteration as end:
                    return end.value
                finally:
                    generator.close()

            return cast(F, generate)

        @functools.wraps(function)
        def run(*args: Any, **keywords: Any) -> Any:
            with self._copy():
                return function(*args, **keywords)

        return cast(F, run)


class _Plain(_Mode):
    """A mode without arguments, which may decorate with or without its parentheses."""

    @overload
    def __new__(cls) -> Self: ...

    @overload
    def __new__(cls, function: F, /) -> F: ...  # type: ignore[misc]

    def __new__(cls, function: Any = None) -> Any:
        mode = object.__new__(cls)
        return mode if function is None else mode(function)


class no_grad(_Plain):
    """Ops are not recorded: results need no gradient."""

    recording = False


class enable_grad(_Plain):
    """Ops are recorded, also inside no_grad."""

    recording = True


class inference_mode(_Mode):
    """As no_grad; is_inference_mode_enabled() is True inside."""

    @overload
    def __new__(cls, mode: bool = ...) -> Self: ...

    @overload
    def __new__(cls, mode: F, /) -> F: ...  # type: ignore[misc]

    def __new__(cls, mode: Any = True) -> Any:
        self = object.__new__(cls)
        self.inference = mode if isinstance(mode, bool) else True
        self.recording = not self.inference
        return self(mode) if callable(mode) else self


class set_grad_enabled(_Mode):
    """Switch recording on or off from here on, or for a `with` block."""

    def __init__(self, mode: bool) -> None:
        self.recording = bool(mode)
        self.before = state.recording, state.inference
        state.recording = self.recording

    def __enter__(self) -> None:
        state.recording = self.recording

    def __call__(self, function: F) -> F:
        state.recording = self.before[0]  # as a decorator it acts inside the function only
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Are ops recorded in this thread?"""
    return state.recording


def is_inference_mode_enabled() -> bool:
    """Is this thread inside inference_mode?"""
    return state.inference
