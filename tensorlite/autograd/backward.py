"""`backward` and `grad`: the walk over the tape, in reverse.

Nodes are numbered as they are made, so whoever used a value has a higher number than what made it.
Walking by falling number therefore meets every node after all of its users: a node must have
received all of its gradient before it passes any on.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tensorlite.autograd import anomaly
from tensorlite.autograd.graph import Addend, Node, Piece, Variable, arithmetic, state, unwrap, wrap
from tensorlite.autograd.watch import post, region


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradient of tensors to the .grad of every leaf they depend on.

    tensors:      a scalar; or any, with grad_tensors: the gradient of something with respect to it
    retain_graph: keep the graph, to walk it again (default: as create_graph)
    create_graph: record the walk itself, for second derivatives
    inputs:       only these receive a gradient
    """
    retain = create_graph if retain_graph is None else retain_graph
    targets = None if inputs is None else _sequence(inputs)
    if targets is not None and not targets:
        raise RuntimeError("backward: inputs is empty; leave it out to reach every leaf")
    with region("backward: the walk"):
        found = _walk("backward", tensors, grad_tensors, targets, retain, create_graph)
        for variable, g, owned in found.values():
            _add_to_grad(variable, g, owned, create_graph)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of outputs with respect to inputs; no .grad is touched.

    allow_unused: None for an input that outputs do not depend on, which is an error otherwise
    materialize_grads: zeros for such an input
    """
    targets = _sequence(inputs)
    for i, x in enumerate(targets):
        if not x.tracked:
            raise RuntimeError(f"grad: inputs[{i}] does not require a gradient")
    retain = create_graph if retain_graph is None else retain_graph
    found = _walk("grad", outputs, grad_outputs, targets, retain, create_graph)
    gradients = []
    for i, x in enumerate(targets):
        if _edge(x) in found:
            _, g, owned = found[_edge(x)]
            gradients.append(g if create_graph else wrap(_own(g, owned)))
        elif materialize_grads:
            gradients.append(wrap(np.zeros_like(x.array)))
        elif allow_unused:
            gradients.append(None)
        else:
            raise RuntimeError(
                f"grad: outputs do not depend on inputs[{i}]; "
                "pass allow_unused=True to get None for it"
            )
    return tuple(gradients)


def _sequence(values: Any) -> Sequence[Any]:
    return (values,) if isinstance(values, Variable) else tuple(values)


def _edge(variable: Any) -> Any:
    """What a gradient of this variable is sent to: its node, or itself if it is a leaf."""
    if variable.base is not None and variable.seen != variable.version[0]:
        variable.refresh()
    return variable.node or variable


Found = dict[Any, tuple[Variable, Any, bool]]


def _walk(
    name: str,
    outputs: Any,
    gradients: Any,
    targets: Sequence[Any] | None,
    retain: bool,
    create: bool,
) -> Found:
    """Walk from outputs; return edge -> (variable, its gradient, ours alone) for what was asked."""
    outputs = _sequence(outputs)
    if gradients is None or isinstance(gradients, Variable):
        gradients = [gradients] * len(outputs)
    roots = [
        (_edge(root), _first_gradient(name, root, g, create))
        for root, g in zip(outputs, gradients, strict=True)
    ]
    asked = None if targets is None else {_edge(x): x for x in targets}
    reach = None if asked is None else _reaching([edge for edge, _ in roots], asked)
    received: dict[Any, Any] = {}  # node or leaf -> its gradient so far
    ours: set[Any] = set()  # those whose gradient is an array that nobody else holds
    heap: list[tuple[int, Node]] = []  # nodes that have received, the latest made on top
    found: Found = {}

    def send(edge: Any, g: Any, fresh: bool) -> None:
        if reach is not None and edge not in reach:
            return
        if edge in received:
            before = received[edge]
            if create:
                received[edge] = before + g
            elif edge in ours:
                if type(g) is not Addend:
                    arithmetic.add(before, g, before)
                elif before.flags.c_contiguous:
                    g.add_to(before)
                else:
                    arithmetic.add(before, g.whole(), before)
            else:
                g = g.whole() if type(g) is Addend else g
                received[edge] = total = arithmetic.add(before, g, g if fresh else None)
                if type(total) is np.ndarray:  # of arrays without axes NumPy makes numbers
                    ours.add(edge)
            return
        received[edge] = g.whole() if type(g) is Addend else g
        if fresh:
            ours.add(edge)
        if isinstance(edge, Node):
            heapq.heappush(heap, (-edge.number, edge))

    recording, state.recording = state.recording, create
    try:
        with np.errstate(all="ignore"):
            for edge, g in roots:
                send(edge, g, False)
            del roots
            while heap:
                node = heapq.heappop(heap)[1]
                g = received.pop(node)
                own = node in ours and asked is None
                if node.hooks:
                    g, own = _call_hooks(node, g, create), False
                if node.retained is not None and (variable := node.retained()) is not None:
                    _add_to_grad(variable, g, False, create)
                if asked is not None and node in asked:
                    found[node] = asked[node], g, False  # the walk goes on with it
                    if not _leads_on(node, reach):
                        continue
                if type(node) is Piece:
                    _fill_slot(node, g, received, heap)
                else:
                    if type(g) is list:
                        g = _without_gaps(node, g)
                    _pass_on(node, g, own, create, send, retain)
                if not retain:
                    node.free()
            for leaf, g in received.items():
                if asked is None or leaf in asked:
                    hooked = _call_hooks(leaf, g, create)
                    found[leaf] = leaf, hooked, leaf in ours and not leaf.hooks
    finally:
        state.recording = recording
    return found


def _first_gradient(name: str, root: Any, g: Any, create: bool) -> Any:
    """The gradient that the walk starts with: what was given, or 1 for a scalar."""
    if not root.tracked:
        raise RuntimeError(
            f"{name}: the tensor does not require grad and does not have a grad_fn; "
            "set requires_grad=True on what it is made from, outside no_grad"
        )
    if g is None:
        if root.array.size != 1:
            raise RuntimeError(
                f"{name}: grad can be implicitly created only for scalar outputs, got shape "
                f"{root.array.shape}; sum or mean it first, or pass gradient="
            )
        g = np.array(1, root.array.dtype).reshape(root.array.shape)
    elif np.shape(unwrap(g)) != root.array.shape:
        raise RuntimeError(
            f"{name}: the gradient must have the shape of the tensor, {root.array.shape}, "
            f"got {np.shape(unwrap(g))}"
        )
    if create:
        return g if isinstance(g, Variable) else wrap(g)
    return np.asarray(unwrap(g), dtype=root.array.dtype)


def _reaching(roots: Iterable[Any], asked: Iterable[Any]) -> set[Any]:
    """The nodes and leaves on a path from roots to what was asked."""
    seen, stack = set(roots), list(roots)
    while stack:
        node = stack.pop()
        if isinstance(node, Node):
            for parent in node.parents:
                if parent is not None and parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
    reach = {edge for edge in asked if edge in seen}
    for node in sorted((n for n in seen if isinstance(n, Node)), key=lambda n: n.number):
        if any(parent in reach for parent in node.parents):
            reach.add(node)
    return reach


def _leads_on(node: Node, reach: set[Any] | None) -> bool:
    return reach is not None and any(parent in reach for parent in node.parents)


def _pass_on(node: Node, g: Any, own: bool, create: bool, send: Any, retain: bool) -> None:
    """Run a node's vjp and send each gradient to its parent, in the parent's shape and dtype.

    own: nobody else holds g
    """
    if post.watcher is None:
        gradients = node.gradients(g, create)
    else:
        gradients = post.watcher.backward(node, g, create)
    if len(gradients) != len(node.parents):
        raise RuntimeError(
            f"vjp of {node.name}: must return {len(node.parents)} gradients, one per "
            f"positional argument, got {len(gradients)}"
        )
    if anomaly.switch.on:
        gradients = [gi.whole() if type(gi) is Addend else gi for gi in gradients]
        anomaly.check_backward(node, gradients, g)
    held = _held(node, None if own else g, gradients, retain)
    for i, (parent, gi) in enumerate(zip(node.parents, gradients, strict=True)):
        if parent is None or gi is None:
            continue
        like = parent if isinstance(parent, Node) else parent.array
        if type(gi) is np.ndarray and gi.dtype is like.dtype and gi.shape == like.shape:
            send(parent, gi, held is not None and _is_new(gi, held))
            continue
        if type(gi) is Addend:
            if not create and like.dtype == gi.dtype and like.shape == gi.shape:
                send(parent, gi, True)
                continue
            gi = gi.whole()
        whole = gi
        if not hasattr(gi, "shape"):
            gi = np.asarray(gi)
        if like.dtype is not None and (gi.shape != like.shape or gi.dtype != like.dtype):
            gi = _fit(gi, like, f"vjp of {node.name}: gradient {i}")
        new = type(gi) is np.ndarray and (gi is not whole and gi.base is None)
        send(parent, gi, new or (held is not None and _is_new(gi, held)))


def _held(node: Node, g: Any, gradients: Sequence[Any], retain: bool) -> set[int] | None:
    """The memory that others hold besides one of the gradients, by the numbers of its arrays: what
    is saved, and g unless it is None. A residual is the node's own, and the node is about to be
    freed unless the graph is retained. None: of the users' own functions nothing is known.
    """
    if not node.makes_new:
        return None
    held: set[int] = set()
    _add_memory(held, g)
    kept = () if retain else node.residuals
    for name, value in (node.saved or {}).items():
        if name not in kept:
            _add_memory(held, value)
    if len(gradients) > 1:  # what two of them share
        memories = [id(x if x.base is None else x.base) for x in gradients if type(x) is np.ndarray]
        if len(set(memories)) < len(memories):
            held.update(m for m in memories if memories.count(m) > 1)
    return held


def _add_memory(held: set[int], value: Any) -> None:
    """The numbers of an array and of what it is a view of; or of all in a tuple."""
    if type(value) is np.ndarray:
        held.add(id(value))
        if value.base is not None:
            held.add(id(value.base))
    elif type(value) is tuple:
        for part in value:
            _add_memory(held, part)


def _is_new(gi: Any, held: set[int]) -> bool:
    """Does nobody else hold this gradient's memory? Then a leaf may keep it without a copy, and
    what else arrives at the same place is added into it."""
    if type(gi) is not np.ndarray:
        return False
    memory = gi.base
    if memory is None:
        memory = gi
    elif type(memory) is not np.ndarray or memory.size != gi.size or not gi.flags.writeable:
        return False
    return id(memory) not in held


def _fit(g: Any, like: Any, what: str) -> Any:
    """Sum g over the axes along which its input was broadcast, and give it the input's dtype."""
    shape, dtype = tuple(like.shape), like.dtype
    array = unwrap(g)
    if array.dtype.kind != "f":
        raise RuntimeError(f"{what} must be floating point, got {array.dtype}")
    if array.shape != shape:
        extra = array.ndim - len(shape)
        kept = array.shape[max(extra, 0) :]
        if extra < 0 or any(n not in (1, m) for n, m in zip(shape, kept, strict=True)):
            raise RuntimeError(f"{what} must broadcast from shape {shape}, got {array.shape}")
        stretched = [extra + i for i, (n, m) in enumerate(zip(shape, kept, strict=True)) if n != m]
        g = g.sum((*range(extra), *stretched)).reshape(shape)
    if array.dtype != dtype:
        g = g.astype(dtype) if g is array else g.to(dtype)
    return g


def _fill_slot(piece: Piece, g: Any, received: dict[Any, Any], heap: list[Any]) -> None:
    """Give the node of an op with several results the gradient of one of them."""
    node: Any = piece.parents[0]
    if node not in received:
        received[node] = [None] * len(node.shape)
        heapq.heappush(heap, (-node.number, node))
    slots = received[node]
    before = slots[piece.index]
    slots[piece.index] = g if before is None else before + g


def _without_gaps(node: Node, slots: list[Any]) -> tuple[Any, ...]:
    """Zeros for the results that nobody used."""
    return tuple(
        np.zeros(shape, dtype) if g is None else g
        for g, (shape, dtype) in zip(slots, node.shape, strict=True)
    )


def _call_hooks(edge: Any, g: Any, create: bool) -> Any:
    """Let the hooks of a node or a leaf see its gradient, and replace it."""
    if not edge.hooks:
        return g
    for hook in list(edge.hooks.values()):
        answer = hook(g if create else wrap(g))
        if answer is not None:
            g = answer if create else unwrap(answer)
    return g


def _own(g: Any, owned: bool) -> Any:
    """g as an array of its own, in order in memory."""
    return g if owned and g.flags.c_contiguous else np.array(g, order="C")


def _add_to_grad(variable: Any, g: Any, owned: bool, create: bool) -> None:
    """variable.grad += g"""
    if create:
        variable.grad = g if variable.grad is None else variable.grad + g
    elif variable.grad is None:
        variable.grad = wrap(_own(g, owned))
    elif variable.grad.tracked:
        variable.grad = wrap(variable.grad.array + g)
    else:
        arithmetic.add(variable.grad.array, g, variable.grad.array)
        variable.grad.version[0] += 1
        variable.grad.version[1] = "backward"
