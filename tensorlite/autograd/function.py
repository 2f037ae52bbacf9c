"""`Function`: an op of one's own, its forward and backward written on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorlite.autograd import anomaly
from tensorlite.autograd.graph import (
    Node,
    Variable,
    enable_grad,
    no_grad,
    numbers,
    piece_of,
    state,
    unwrap,
    wrap,
)


class Context:
    """What forward keeps for backward. Any attribute may be set on it."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._constant: set[int] = set()
        self._materialize = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep inputs or outputs; a later change in place is noticed."""
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        return self._saved

    def mark_non_differentiable(self, *outputs: Any) -> None:
        """These outputs carry no gradient."""
        self._constant = {id(output) for output in outputs}

    def set_materialize_grads(self, value: bool) -> None:
        """False: backward gets None, not zeros, for an output that nobody used."""
        self._materialize = value


class Function:
    """An op of one's own:

        class Square(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return 2 * x * g

        y = Square.apply(x)

    backward returns one gradient per argument of forward, None where there is none. With
    setup_context(ctx, inputs, output) defined, forward takes no ctx.
    """

    @staticmethod
    def forward(*args: Any, **keywords: Any) -> Any:
        raise NotImplementedError("Function: define forward as a static method")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("Function: define backward as a static method")

    setup_context: Any = None

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward, and record it if an argument needs a gradient."""
        context = Context()
        context.needs_input_grad = tuple(isinstance(x, Variable) and x.tracked for x in args)
        recording = state.recording and any(context.needs_input_grad)
        with no_grad():
            if cls.setup_context is None:
                output = cls.forward(context, *args)
            else:
                output = cls.forward(*args)
                cls.setup_context(context, args, output)
        if not recording:
            return output
        return _record(cls, context, args, output)


def _record(cls: type[Function], context: Context, args: Sequence[Any], output: Any) -> Any:
    """The outputs of forward as results of a new node.

    They are new tensors on the same memory: the context may hold those that forward made, and
    would otherwise hold the node that holds the context.
    """
    node = object.__new__(FunctionNode)
    node.op = cls
    node.context = context
    node.number = next(numbers)
    node.parents = [(x.node or x) if wanted else None
                    for x, wanted in zip(args, context.needs_input_grad, strict=True)]  # fmt: skip
    node.hooks = node.retained = None
    node.where = anomaly.caller() if anomaly.switch.on else ""
    node.saved = {}
    node.versions = [(t.version, t.version[0], "saved tensor")
                     for t in context._saved if isinstance(t, Variable)]  # fmt: skip
    several = isinstance(output, tuple)
    outputs = output if several else (output,)
    for y in outputs:
        if not isinstance(y, Variable):
            raise TypeError(f"{cls.__name__}: forward must return tensors, got {type(y).__name__}")
    node.made = [id(y) for y in outputs]
    node.shape = tuple((y.array.shape, y.array.dtype) for y in outputs)
    node.dtype = None
    if not several:
        node.shape, node.dtype = node.shape[0]
    results = []
    for i, y in enumerate(outputs):
        result = wrap(y.array)
        result.version = y.version
        if id(y) not in context._constant and y.array.dtype.kind == "f":
            result.tracked = True
            result.node = piece_of(node, i, y.array) if several else node
        results.append(result)
    return tuple(results) if several else results[0]


class FunctionNode(Node):
    """One recorded call of a Function."""

    __slots__ = ("context", "made")
    context: Any
    made: list[int]  # the ids of forward's outputs

    @property
    def name(self) -> str:
        return f"{self.op.__name__}Backward"

    def gradients(self, g: Any, create_graph: bool) -> Sequence[Any]:
        self.check()
        context = self.context
        given = [x if x is None or isinstance(x, Variable) else wrap(x)
                 for x in (g if isinstance(g, tuple) else (g,))]  # fmt: skip
        kept = context._saved
        if create_graph:
            context._saved = tuple(self._made_here(t) for t in kept)
        with enable_grad() if create_graph else no_grad():
            gradients = self.op.backward(context, *given)
        context._saved = kept
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        return gradients if create_graph else [unwrap(gradient) for gradient in gradients]

    def _made_here(self, saved: Any) -> Any:
        """A saved output at its place in the graph; anything else as it is."""
        if not isinstance(saved, Variable) or id(saved) not in self.made:
            return saved
        i = self.made.index(id(saved))
        return wrap(saved.array, self if self.dtype else piece_of(self, i, saved.array))

    def free(self) -> None:
        super().free()
        self.context = None
