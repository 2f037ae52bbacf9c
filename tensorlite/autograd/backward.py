"""`backward` and `grad`: the walk over the tape, in reverse.

Nodes are numbered as they are made, so whoever used a value has a higher number than what made it.
Walking by falling number therefore meets every node after all of its users: a node must have
received all of its gradient before it passes any on.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from tensorlite.autograd import anomaly
from tensorlite.autograd.graph import Addend, Node, Piece, Variable, arithmetic, state, unwrap, wrap
from tensorlite.autograd.silence import silence
from tensorlite.autograd.watch import here, region, watchers


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
    edges: Sequence[Any] = [_edge(root) for root in outputs]
    arriving = [
        _first_gradient(name, root, g, create) for root, g in zip(outputs, gradients, strict=True)
    ]
    asked = None if targets is None else {_edge(x): x for x in targets}
    reach = None if asked is None else _reaching(edges, asked)
    received: dict[Any, Any] = {}  # node or leaf -> its gradient so far
    heap: list[tuple[int, Node]] = []  # nodes that have received, the latest made on top
    found: Found = {}

    recording, state.recording = state.recording, create
    try:
        with silence():
            _send(edges, arriving, received, heap, reach, create)
            while heap:
                node = heapq.heappop(heap)[1]
                g = received.pop(node)
                if node.hooks:
                    g = _call_hooks(node, g, create)
                if node.retained is not None and (variable := node.retained()) is not None:
                    _add_to_grad(variable, g, False, create)
                if asked is not None and node in asked:
                    found[node] = asked[node], g, False  # the walk goes on with it
                    if not _leads_on(node, reach):
                        continue
                if type(node) is Piece:
                    _fill_slot(node, g, received, heap)
                    edges, arriving = (), []
                else:
                    if type(g) is list:
                        g = _without_gaps(node, g)
                    edges, arriving = node.parents, _gradients(node, g, create)
                if not retain:
                    node.free()
                g = None  # from here on whoever holds it, or what was saved, is somebody else
                _send(edges, arriving, received, heap, reach, create)
            for leaf in received:
                if asked is None or leaf in asked:
                    ours = not leaf.hooks and _is_ours(received, leaf)
                    found[leaf] = leaf, _call_hooks(leaf, received[leaf], create), ours
    finally:
        state.recording = recording
    return found


def _send(
    edges: Sequence[Any],
    arriving: list[Any],
    received: dict[Any, Any],
    heap: list[tuple[int, Node]],
    reach: set[Any] | None,
    create: bool,
) -> None:
    """Hand each edge the gradient that arrives there; `arriving` lets go of it."""
    for i, edge in enumerate(edges):
        if edge is None or arriving[i] is None or (reach is not None and edge not in reach):
            continue
        if edge not in received:
            g = arriving[i]
            received[edge] = g.whole() if type(g) is Addend else g
            arriving[i] = g = None
            if isinstance(edge, Node):
                heapq.heappush(heap, (-edge.number, edge))
        elif create:
            received[edge] = received[edge] + arriving[i]
        else:
            _add(received, edge, arriving, i)
    arriving.clear()  # also of what nobody asked for


def _add(received: dict[Any, Any], edge: Any, arriving: list[Any], i: int) -> None:
    """received[edge] += arriving[i], in the memory of one of them if that is ours."""
    ours = _is_ours(received, edge)
    before = received[edge]
    if type(arriving[i]) is Addend:  # never as a whole: its sum would be another, in its last bits
        if not (ours and before.flags.c_contiguous):
            received[edge] = before = np.array(before, order="C")
        arriving[i].add_to(before)
    elif ours:
        arithmetic.add(before, arriving[i], before)
    else:
        out = arriving[i] if _is_ours(arriving, i) else None
        received[edge] = arithmetic.add(before, arriving[i], out)


def _is_ours(holder: Any, key: Any) -> bool:
    """Is the array holder[key] held by `holder` alone, and its memory by it alone? Then it may be
    written to, or become a leaf's .grad. By the count of references, as PyTorch decides it too:
    whoever might look at the array later, be it a node, a tensor or the caller, holds one."""
    if getrefcount(holder[key]) > _ALONE or type(holder[key]) is not np.ndarray:
        return False
    array = holder[key]
    if not array.flags.writeable:
        return False
    if array.base is None:
        return bool(array.flags.owndata)
    if getrefcount(array.base) > _ALONE or type(array.base) is not np.ndarray:
        return False
    return bool(array.base.flags.owndata) and array.base.size == array.size


_nobodys = [np.empty(0)]
_ALONE = getrefcount(_nobodys[0])  # the holder's reference, and that of the question itself


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


def _gradients(node: Node, g: Any, create: bool) -> list[Any]:
    """A node's vjp at g: a gradient for each parent that wants one, in its shape and dtype."""
    watcher = here() if watchers else None
    if watcher is None:
        gradients = list(node.gradients(g, create))
    else:
        gradients = list(watcher.backward(node, g, create))
    if len(gradients) != len(node.parents):
        raise RuntimeError(
            f"vjp of {node.name}: must return {len(node.parents)} gradients, one per "
            f"positional argument, got {len(gradients)}"
        )
    if anomaly.switch.on:
        arrays = [gi.whole() if type(gi) is Addend else gi for gi in gradients]
        anomaly.check_backward(node, arrays, g)
    for i, (parent, gi) in enumerate(zip(node.parents, gradients, strict=True)):
        if parent is None or gi is None:
            gradients[i] = None
            continue
        like = parent if isinstance(parent, Node) else parent.array
        kind = type(gi)
        if (
            (kind is np.ndarray or (kind is Addend and not create))
            and gi.dtype is like.dtype and gi.shape == like.shape
        ):  # fmt: skip
            continue
        if kind is Addend:
            gi = gi.whole()
        elif not hasattr(gi, "shape"):
            gi = np.asarray(gi)
        if like.dtype is not None and (gi.shape != like.shape or gi.dtype != like.dtype):
            gi = _fit(gi, like, f"vjp of {node.name}: gradient {i}")
        gradients[i] = gi
    return gradients


def _fit(g: Any, like: Any, what: str) -> Any:
    """Sum g over the axes along which its input was broadcast, and give it the input's dtype."""
    shape, dtype = tuple(like.shape), like.dtype
    array = unwrap(g)
    plain = g is array
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
        g = g.astype(dtype) if plain else g.to(dtype)
    return g


def _fill_slot(piece: Piece, g: Any, received: dict[Any, Any], heap: list[Any]) -> None:
    """Give the node of an op with several results the gradient of one of them."""
    piece.check()
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
            new, old = unwrap(answer), unwrap(g)
            if new.shape != old.shape or new.dtype != old.dtype:
                raise RuntimeError(
                    "backward: a hook must return a gradient of the shape and dtype it was given, "
                    f"{old.shape} and {old.dtype}, got {new.shape} and {new.dtype}"
                )
            g = answer if create else new
    return g


def _own(g: Any, owned: bool) -> Any:
    """g as an array of its own, in order in memory."""
    return g if owned and g.flags.c_contiguous else np.array(g, order="C")


def _add_to_grad(variable: Any, g: Any, owned: bool, create: bool) -> None:
    """variable.grad += g"""
    if create:  # a copy on the tape: others may be given the same g
        variable.grad = g.clone() if variable.grad is None else variable.grad + g
    elif variable.grad is None:
        variable.grad = wrap(_own(g, owned))
    elif variable.grad.tracked:
        variable.grad = wrap(variable.grad.array + g)
    else:
        arithmetic.add(variable.grad.array, g, variable.grad.array)
        variable.grad.version[0] += 1
        variable.grad.version[1] = "backward"
