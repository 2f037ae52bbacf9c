"""`@op`: a function of arrays and its vjp become a function of tensors that records itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, overload

import numpy as np

from tensorlite.autograd import anomaly, watch
from tensorlite.autograd.graph import (
    Node,
    Variable,
    numbers,
    piece_of,
    state,
    unwrap,
    wrap,
)

F = TypeVar("F", bound=Callable[..., Any])
GradName = str | Callable[[Node], str] | None

METHODS: dict[str, Callable[..., Any]] = {}  # name on Tensor -> function
FUNCTIONAL: dict[str, Callable[..., Any]] = {}  # name in nn.functional -> function
IN_PLACE: dict[str, Callable[..., Any]] = {}  # name on Tensor -> the function it applies in place
OPS: dict[str, OpFunction] = {}


class OpFunction(Protocol):
    """An op as it is called: tensors in, tensors out; or arrays in, arrays out."""

    op: Op

    def __call__(self, *args: Any, **keywords: Any) -> Any: ...

    def vjp(self, vjp: Callable[..., Any]) -> None:
        """Declare the vjp: (g, what it needs by name) -> one gradient per positional argument."""

    def rules(self, *rules: Callable[..., Any] | None) -> None:
        """Declare one vjp per positional argument, None where there is no gradient."""

    def by_kernels(self, function: F) -> F:
        """Declare how kernels alone compute it, for a capture; None: not these arrays."""

    def directly(self, function: F) -> F:
        """Declare how x.op_() changes x where nothing is recorded; True: by kernels alone."""


@overload
def op(function: Callable[..., Any], /) -> OpFunction: ...


@overload
def op(
    function: None = None,
    *,
    sizes: bool = ...,
    view: bool = ...,
    grad_name: GradName = ...,
    **places: bool | str,
) -> Callable[[Callable[..., Any]], OpFunction]: ...


def op(
    function: Callable[..., Any] | None = None,
    *,
    sizes: bool = False,
    view: bool = False,
    grad_name: GradName = None,
    **places: bool | str,
) -> Any:
    """Make an op of a function of arrays, or of arrays and numbers.

        @op                                   # inside arrays, outside tensors (or arrays: then
        def mul(x, y):                        # arrays come out, and nothing is recorded)
            return x * y

        @mul.vjp
        def _(g, x, y):
            return g * y, g * x

        mul.rules(lambda g, y: g * y, lambda g, x: g * x)      # the same, a rule an argument

    Positional parameters are differentiable arrays, keyword-only ones everything else; a caller may
    write those without names too, in their order. The function returns a value, or several in a
    tuple, or (value, residuals): a dict of what only the vjp needs.

    A vjp's parameters after g name what it needs (inputs, `out`, residuals, keyword arguments, or
    of an input x its `x_shape`), and only that is kept; with rules, only what the wanted gradients
    need. It returns a gradient per positional parameter, in a tuple if there are several, None
    where there is none. `needs`, where a function or a vjp declares it, is filled in: whose
    gradient is wanted, a bool each.

    sizes:     the arguments after the first may be written one by one: x.view(2, 3)
    view:      the result may share the memory of the first argument
    grad_name: what grad_fn prints before Backward0, if not the op's name; or node -> all of it
    places:    method=, functional=, inplace= (True or a name), see `exposed`
    """
    if function is None:
        return functools.partial(op, sizes=sizes, view=view, grad_name=grad_name, **places)
    record = Op(function, grad_name, sizes)
    arity = -1 if record.variadic else len(record.positions)
    asks_needs = record.asks_needs
    new, array_type = object.__new__, np.ndarray
    nothing: dict[str, Any] = {}
    options_in_order = record.options
    most = -1 if record.variadic else len(options_in_order)
    names = frozenset(options_in_order)

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        outside = False
        options = keywords
        if keywords or len(args) != arity:
            if sizes and len(args) > 2:
                args = (args[0], args[1:])
            # The usual cases, quickly: some options without their names, the others with theirs.
            extra = len(args) - arity
            if extra == 1 and most > 0 and not keywords:
                keywords = {options_in_order[0]: args[arity]}
                args = args[:arity]
            elif 0 <= extra <= most and names.issuperset(keywords):
                if extra:
                    given = len(keywords) + extra
                    unnamed = zip(options_in_order, args[arity:], strict=False)
                    keywords = {**dict(unnamed), **keywords}
                    if len(keywords) < given:
                        record.bind(args, keywords)  # which says what is given twice
                    args = args[:arity]
            else:
                args, keywords = record.bind(args, keywords)
            options = keywords
            for value in keywords.values():
                if isinstance(value, Variable):
                    options = {name: unwrap(value) for name, value in keywords.items()}
                    outside = True
                    break
        arrays = []
        mask, bit = 0, 1  # of the arguments that want a gradient
        for x in args:
            if isinstance(x, Variable):
                if x.base is not None and x.seen != x.version[0]:
                    x.refresh()
                outside = True
                arrays.append(x.array)
                if x.tracked:
                    mask |= bit
            else:
                arrays.append(x)
            bit += bit
        if mask and not state.recording:
            mask = 0
        if asks_needs:
            options["needs"] = tuple([mask >> i & 1 == 1 for i in range(len(arrays))])

        try:
            watcher = watch.here() if watch.watchers else None
            if watcher is None:
                value = function(*arrays, **options)
            else:
                value = watcher.forward(record.name, function, arrays, options)
        except (ValueError, IndexError, RuntimeError) as error:
            raise record.named(error) from error
        residuals = nothing
        if type(value) is tuple and type(value[-1]) is dict:
            residuals = value[-1]
            value = value[0] if len(value) == 2 else value[:-1]
        if not outside:
            return value
        if type(value) is not array_type:
            if isinstance(value, (tuple, list)):
                return record.several(args, arrays, mask, value, residuals, keywords, view)
            value = np.asarray(value)
        elif value is arrays[0] and isinstance(args[0], Variable):  # there was nothing to do
            return args[0]
        if anomaly.switch.on:
            anomaly.check_forward(record.name, [value], [*arrays, *options.values()])

        result = new(Variable.tensor)
        result.array = value
        result.version = [0, ""]
        result.grad = result.hooks = result.base = None
        if view and value.base is not None:
            share_memory(result, args[0])
        if mask and record.differentiable and value.dtype.kind == "f":
            node = record.node(args, arrays, mask, value, result.version, residuals, keywords)
            node.shape = value.shape
            node.dtype = value.dtype
            result.node = node
            result.tracked = True
        else:
            result.node = None
            result.tracked = False
        return result

    def vjp(vjp: Callable[..., Any]) -> None:
        names = record.names_needed(vjp)
        record.vjp = vjp
        record.vjp_asks_needs = "needs" in names
        record.vjp_names = tuple(name for name in names if name != "needs")
        record.differentiable = True

    def rules(*rules: Callable[..., Any] | None) -> None:
        if len(rules) != arity:
            raise TypeError(f"{record.name}: {arity} positional arguments, but {len(rules)} rules")
        record.rules = [(r, record.names_needed(r)) for r in (rule or _nothing for rule in rules)]
        record.differentiable = True

    def by_kernels(function: F) -> F:
        record.by_kernels = function
        return function

    def directly(function: F) -> F:
        record.directly = function
        return function

    public: Any = call
    public.op, public.vjp, public.rules = record, vjp, rules
    public.by_kernels, public.directly = by_kernels, directly
    OPS[record.name] = public
    return exposed(public, **places)


def _nothing(g: Any) -> None:
    """The rule of an argument that has no gradient."""


def exposed(
    function: Any,
    *,
    method: bool | str = False,
    functional: bool | str = False,
    inplace: bool | str = False,
) -> Any:
    """Put a function on Tensor (method=; in place, with a trailing _) or in nn.functional."""
    name = function.__name__
    for registry, place, default in (
        (METHODS, method, name),
        (FUNCTIONAL, functional, name),
        (IN_PLACE, inplace, f"{name}_"),
    ):
        if place:
            registry[default if place is True else str(place)] = function
    return function


def composed(**places: bool | str) -> Callable[[F], F]:
    """Expose a plain function that is written with ops, as `op` exposes an op."""
    return functools.partial(exposed, **places)


class OpError(RuntimeError, ValueError):
    """Arguments that an op cannot work with. PyTorch raises RuntimeError, NumPy ValueError."""


class Op:
    """What is known of an op: its function, its parameters, its vjp or rules."""

    def __init__(self, function: Callable[..., Any], grad_name: GradName, sizes: bool) -> None:
        self.function = function
        self.sizes = sizes
        self.name = function.__name__
        camel = "".join(part.capitalize() for part in self.name.strip("_").split("_"))
        self.grad_name = grad_name or camel
        parameters = inspect.signature(function).parameters.values()
        inputs = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        options = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        self.variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self.positions = {p.name: i for i, p in enumerate(inputs)}
        self.defaults = {p.name: p.default for p in (*inputs, *options)}
        self.options = [p.name for p in options if p.name != "needs"]
        self.asks_needs = "needs" in self.defaults
        self.differentiable = False
        self.vjp: Callable[..., Any] | None = None
        self.vjp_names: tuple[str, ...] = ()
        self.vjp_asks_needs = False
        self.rules: list[tuple[Callable[..., Any], tuple[str, ...]]] = []
        self.by_kernels: Callable[..., Any] | None = None
        self.directly: Callable[..., Any] | None = None
        self._plans: dict[int, tuple[tuple[str, int], ...]] = {}

    def names_needed(self, vjp: Callable[..., Any]) -> tuple[str, ...]:
        return tuple(inspect.signature(vjp).parameters)[1:]

    # ------------------------------------------------------------------------------- arguments

    def bind(
        self, args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Sort the arguments of a call into positional ones and named ones."""
        arity = len(self.positions)
        if not keywords and self.variadic is None and 0 <= len(args) - arity <= len(self.options):
            return args[:arity], dict(zip(self.options, args[arity:], strict=False))
        if self.variadic is not None:
            packed = bool(args) and isinstance(args[0], (list, tuple))
            given, extra = (tuple(args[0]), args[1:]) if packed else (args, ())
            if "tensors" in keywords:
                given = tuple(keywords.pop("tensors"))
        else:
            given, extra = args[:arity], args[arity:]
            given += tuple(self._named(list(self.positions)[len(given) :], keywords))
        if len(extra) > len(self.options):
            most = arity + len(self.options)
            raise TypeError(f"{self.name}: takes {most} arguments at most, got {len(args)}")
        for name, value in zip(self.options, extra, strict=False):
            if name in keywords:
                raise TypeError(f"{self.name}: got two values for '{name}'")
            keywords[name] = value
        for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):  # NumPy's names
            if theirs in keywords and ours in self.options:
                keywords[ours] = keywords.pop(theirs)
        return given, keywords

    def _named(self, missing: list[str], keywords: dict[str, Any]) -> Iterator[Any]:
        """Positional parameters that the caller named, or left at their defaults."""
        for name in missing:
            alias = ("input", "other")[min(self.positions[name], 1)]  # PyTorch's names
            value = keywords.pop(name, keywords.pop(alias, self.defaults[name]))
            if value is inspect.Parameter.empty:
                raise TypeError(f"{self.name}: argument '{name}' is missing")
            yield value

    def named(self, error: Exception, name: str = "") -> Exception:
        """An error of the function, NumPy's perhaps, with the op's name in front, or another."""
        text = str(error)
        name = name or self.name.lstrip("_")
        text = text if text.startswith(name) else f"{name}: {text}"
        if isinstance(error, (NotImplementedError, RecursionError, watch.CaptureError)):
            return error
        return IndexError(text) if isinstance(error, IndexError) else OpError(text)

    # ------------------------------------------------------------------------------- recording

    def node(
        self,
        args: Sequence[Any],
        arrays: Sequence[Any],
        mask: int,
        out: Any,
        out_version: list[Any],
        residuals: dict[str, Any],
        keywords: dict[str, Any],
    ) -> Node:
        """Record a call: its parents, and what its vjp needs."""
        node = object.__new__(Node)
        node.op = self
        node.number = next(numbers)
        node.parents = [(x.node or x) if mask >> i & 1 else None for i, x in enumerate(args)]
        node.hooks = node.retained = None
        node.where = anomaly.caller() if anomaly.switch.on else ""
        saved: dict[str, Any] = {}
        versions = []
        plan = self._plans.get(mask)
        for name, i in self._plan(mask) if plan is None else plan:
            if i >= 0:
                saved[name] = arrays[i]
                x = args[i]
                if isinstance(x, Variable):
                    versions.append((x.version, x.version[0], name))
            elif i == _SHAPE:
                saved[name] = np.shape(arrays[self.positions[name[:-6]]])
            elif i == _OUT:
                saved["out"] = out
                versions.append((out_version, 0, "result"))
            elif i == _ALL:
                saved[name] = tuple(arrays)
                versions += [
                    (x.version, x.version[0], name) for x in args if isinstance(x, Variable)
                ]
            elif name in residuals:
                saved[name] = residuals[name]
            else:
                value = keywords.get(name, self.defaults.get(name, inspect.Parameter.empty))
                if isinstance(value, Variable):
                    versions.append((value.version, value.version[0], name))
                    value = value.array
                elif value is inspect.Parameter.empty:
                    raise TypeError(
                        f"vjp of {self.name}: needs '{name}', which {self.name} neither takes "
                        "nor returns as a residual"
                    )
                saved[name] = value
        node.saved = saved
        node.versions = versions
        return node

    def _plan(self, mask: int) -> tuple[tuple[str, int], ...]:
        """What to keep when the arguments in mask want a gradient: names, and where they are."""
        names = self.vjp_names
        if self.rules:
            wanted = [used for i, (_, used) in enumerate(self.rules) if mask >> i & 1]
            names = tuple(dict.fromkeys(name for used in wanted for name in used))
        shapes = {f"{name}_shape": _SHAPE for name in self.positions}
        places = {**self.positions, **shapes, "out": _OUT, self.variadic or "": _ALL}
        plan = tuple((name, places.get(name, _NAMED)) for name in names)
        self._plans[mask] = plan
        return plan

    def several(
        self,
        args: Sequence[Any],
        arrays: Sequence[Any],
        mask: int,
        values: Sequence[Any],
        residuals: dict[str, Any],
        keywords: dict[str, Any],
        view: bool,
    ) -> tuple[Any, ...]:
        """The results of an op with several, each with its piece of one node."""
        if anomaly.switch.on:
            anomaly.check_forward(self.name, values, [*arrays, *keywords.values()])
        results = tuple(map(wrap, values))
        if view:
            for result in results:
                share_memory(result, args[0])
        if mask and self.differentiable:
            out = tuple(result.array for result in results)
            node = self.node(args, arrays, mask, out, [0, ""], residuals, keywords)
            node.shape = tuple((array.shape, array.dtype) for array in out)
            node.dtype = None
            if node.saved and "out" in node.saved:
                node.versions += [(y.version, y.version[0], "result") for y in results]
            for i, result in enumerate(results):
                if result.array.dtype.kind == "f":
                    result.node = piece_of(node, i, result.array)
                    result.tracked = True
        return results


_OUT, _ALL, _NAMED, _SHAPE = -1, -2, -3, -4  # places in a plan that are no position


def share_memory(result: Any, source: Any) -> None:
    """Make result a view of source, if it is one: they count their changes together."""
    if not isinstance(source, Variable):
        return
    owner = result.array.base
    if owner is None or not (owner is source.array or owner is source.array.base):
        return
    result.version = source.version
    result.base = source if source.base is None else source.base
    if (source.tracked and not state.recording) or (
        source.base is not None and source.seen is None
    ):
        result.seen = None  # not on the tape
    else:
        result.seen = source.version[0]
