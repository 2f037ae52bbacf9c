"""Copies and casts; and in-place changes, which the tape sees as a new value in the same memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tensorlite.autograd import (
    Array,
    Variable,
    is_anomaly_enabled,
    is_grad_enabled,
    op,
    unwrap,
    watch,
    wrap,
)
from tensorlite.kernels.ordered import ordered
from tensorlite.ops.elementwise import zero
from tensorlite.ops.index import parse, take_at, write, written
from tensorlite.ops.pointwise import check_fits, put
from tensorlite.ops.quiet import quiet


@op(method=True)
def clone(x: Array) -> Array:
    """A copy, its elements in order."""
    return x.copy() if x.flags.c_contiguous else ordered(x)


clone.rules(lambda g: g)


@op(method=True)
def contiguous(x: Array) -> Array:
    """x itself if its elements lie in order in memory, else a copy where they do."""
    return ordered(x)


contiguous.rules(lambda g: g)


@op(grad_name="ToCopy")
def cast(x: Array, *, numpy: np.dtype[Any]) -> Array:
    """x in another type; x itself if it has it."""
    return x if x.dtype == numpy else quiet.run(x.astype, numpy)


cast.rules(lambda g: g)  # the tape gives it the type of x


@op
def fill(x: Array, value: Any) -> Array:
    """value everywhere, in the shape and type of x."""
    return np.full_like(x, value)


@fill.directly
def _fill_all(x: Array, value: Any) -> None:
    put(x, value)


fill.rules(lambda g: zero(g), lambda g: g.sum())


@op
def copy(x: Array, src: Array) -> Array:
    """src, broadcast to the shape of x and in its type."""
    return np.broadcast_to(src, x.shape).astype(x.dtype)


@copy.directly
def _copy_all(x: Array, src: Any) -> None:
    shape = np.shape(src)
    if len(shape) > x.ndim:
        raise RuntimeError(f"the shape {list(shape)} does not broadcast to {list(x.shape)}")
    put(x, src)


copy.rules(lambda g: zero(g), lambda g: g)

# ----------------------------------------------------------------------------------------- in place


def in_place(name: str, function: Callable[..., Any], x: Any, *args: Any, **keywords: Any) -> Any:
    """Put function(x, ...) in the memory of x; x becomes what function made.

    The function may have kept x for its vjp, so what it kept is a copy of the old value.
    """
    record = is_grad_enabled() and _on_tape((x, x.base, *args, *keywords.values()))
    if x.base is not None and x.seen != x.version[0]:
        x.refresh()
    source = x
    if not record and not is_anomaly_enabled() and hasattr(function, "op") and function.op.directly:
        _change_directly(name, function.op, x, args, keywords)
        changed(name, x)
        return x
    if record:
        watch.constant(f"{name} with a gradient")
        check_may_change(name, x)
        if not hasattr(function, "op"):  # several ops, any of which may keep x
            source = wrap(x.array.copy(), x.node)
    y = function(source, *args, **keywords)
    if y is x:
        return x
    value = y.array
    check_fits(x.array, value, name)
    if record and y.node is not None:
        _keep_old_value(y.node, x)
    watch.change(name, put, x.array, value)
    changed(name, x)
    if record:
        rebind(x, cast(y, x.array.dtype).node)
    return x


def _change_directly(name: str, record: Any, x: Any, args: Any, keywords: dict[str, Any]) -> None:
    given, named = record.bind((x, *args), keywords)
    options = {key: unwrap(value) for key, value in named.items()}
    try:
        change = functools.partial(record.directly, **options) if options else record.directly
        watch.change(name, change, *map(unwrap, given))
    except (ValueError, IndexError, RuntimeError) as error:
        raise record.named(error, name) from error


def _on_tape(values: tuple[Any, ...]) -> bool:
    return any(isinstance(value, Variable) and value.tracked for value in values)


def check_may_change(name: str, x: Any) -> None:
    """Raise if a change of x in place cannot be recorded."""
    if x.tracked and x.node is None:
        raise RuntimeError(
            f"{name}: a leaf Variable that requires grad is being used in an in-place operation; "
            "change it under no_grad()"
        )
    if x.base is None:
        return
    if x.seen is None:
        raise RuntimeError(
            f"{name}: a view was created in no_grad mode and is being modified inplace with grad "
            "mode enabled; make the view with grad mode enabled, or change a clone() of it"
        )
    if x.base.tracked and x.base.node is None:
        raise RuntimeError(
            f"{name}: a view of a leaf Variable that requires grad is being used in an in-place "
            "operation; change it under no_grad()"
        )
    if 0 in x.array.strides and x.array.size > 1:
        raise RuntimeError(f"{name}: more than one element refers to one place; clone() it first")


def _keep_old_value(node: Any, x: Any) -> None:
    """Let a node that kept the array of x keep a copy: the array is about to change."""
    kept = [name for name, value in node.saved.items() if value is x.array]
    for name in kept:
        node.saved[name] = x.array.copy()
    node.versions = [entry for entry in node.versions if entry[2] not in kept]


def changed(name: str, x: Any) -> None:
    """Count a change of x's memory: whoever needs the old value will notice."""
    x.version[0] += 1
    x.version[1] = name


def rebind(x: Any, node: Any) -> None:
    """x, whose memory has been written, is now the result of node; and so is its part of its base.

    The base becomes a `written` of its old value, and x a part of the new base. Other views of the
    base notice by its version, and are read from the new base at their next use (Tensor.refresh).
    """
    base = x.base
    if base is None:
        x.node, x.tracked = node, node is not None
        return
    value = wrap(x.array, node)
    old = wrap(base.array, base.node)
    if node is not None or base.tracked:
        new = _same_memory(old, value, positions_in(base.array, x.array))
        base.node, base.tracked = new.node, new.tracked
    x.refresh()


@op(grad_name="CopySlices")
def _same_memory(base: Array, value: Array, *, positions: Array) -> Array:
    """base, in whose memory value has been written already."""
    return base[...]


_same_memory.rules(
    lambda g, positions: written(g.reshape(-1), 0.0, ((), (positions,))).reshape(g.shape),
    lambda g, positions: take_at(g.reshape(-1), (positions,)),
)


def positions_in(base: Array, view: Array) -> Array:
    """For each element of a view, where it stands among the elements of its base in order."""
    addresses = _addresses(base).reshape(-1)
    order = np.argsort(addresses)
    return order[np.searchsorted(addresses, _addresses(view), sorter=order)]


def _addresses(x: Array) -> Array:
    address = np.full(x.shape, x.__array_interface__["data"][0], np.int64)
    for axis, stride in enumerate(x.strides):
        steps = np.arange(x.shape[axis]) * stride
        address += steps.reshape((-1,) + (1,) * (x.ndim - axis - 1))
    return address


def part_of_base(x: Any) -> Any:
    """A view read anew from its base: its place on the tape."""
    at = positions_in(x.base.array, x.array)
    return take_at(x.base.reshape(-1), (at,))


def assign(x: Any, at: Any, value: Any) -> None:
    """x[at] = value"""
    parsed = parse(at, x.array.ndim)
    if not _convertible(value):
        value = np.asarray(value)
    if is_grad_enabled() and _on_tape((x, x.base, value)):
        in_place("setitem", lambda x, value: written(x, value, parsed), x, value)
        return
    try:
        watch.change("setitem", write, x.array, parsed, unwrap(value))
    except (ValueError, IndexError) as error:
        raise written.op.named(error) from error
    changed("setitem", x)


def _convertible(value: Any) -> bool:
    return isinstance(value, (Variable, np.ndarray, int, float))
