"""Where the time of a program goes, op by op, forward and backward.

    with tensorlite.profiler.profile() as p:
        loss = model.loss(ids, targets)
        loss.backward()
        optimizer.step()
    print(p.table())

Every op that this Python thread calls is timed from its arrays to its arrays, so what remains,
"outside ops", is Python: modules, the recording of the graph, the optimizer's bookkeeping. Ops that
an op calls belong to it. Time outside ops is given a name by `record_function`.

Bytes are those of the arrays that an op is given and gives back: what must pass through memory at
least if nothing is in a cache. Operations are known for products and attention.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorlite.autograd import watch

__all__ = ["Row", "profile", "record_function"]

record_function = watch.region


@dataclass
class Row:
    """What one op, or one region outside ops, cost in all.

    forward, backward: seconds        calls: of the forward pass
    flops: operations, 0 if unknown   bytes: given and returned
    """

    name: str
    calls: int = 0
    forward: float = 0.0
    backward: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0

    @property
    def seconds(self) -> float:
        return self.forward + self.backward


class profile:
    """Time the ops of this Python thread inside a `with` block; see the module for an example.

    rows:    by name, the most expensive first
    seconds: of the whole block
    outside: of it, in neither an op nor a named region
    """

    def __init__(self) -> None:
        self.found: dict[str, Row] = {}
        self.seconds = 0.0

    def __enter__(self) -> profile:
        if watch.here() is not None:
            raise RuntimeError(
                "profile: a profiler or a capture is at work in this thread; leave its block first"
            )
        self._inner: list[float] = [0.0]  # time of ops and regions inside each open one
        self._in_op = False
        watch.watchers[threading.get_ident()] = self
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds += time.perf_counter() - self._start
        del watch.watchers[threading.get_ident()]

    @property
    def rows(self) -> list[Row]:
        return sorted(self.found.values(), key=lambda row: -row.seconds)

    @property
    def outside(self) -> float:
        return self.seconds - sum(row.seconds for row in self.found.values())

    def table(self, limit: int | None = None) -> str:
        """The rows as text, `limit` of them at most, and what is left outside ops."""
        lines = [
            f"{'':28} {'calls':>7} {'forward':>10} {'backward':>10} {'share':>6} "
            f"{'GFLOP/s':>8} {'GB/s':>6}"
        ]
        for row in self.rows[:limit]:
            flops = f"{row.flops / row.seconds / 1e9:.1f}" if row.flops else ""
            moved = f"{row.bytes / row.seconds / 1e9:.1f}" if row.bytes else ""
            backward = _milliseconds(row.backward) if row.backward else ""
            lines.append(
                f"{row.name:28} {row.calls:7} {_milliseconds(row.forward):>10} {backward:>10} "
                f"{row.seconds / self.seconds:6.1%} {flops:>8} {moved:>6}"
            )
        hidden = self.rows[limit:] if limit is not None else []
        if hidden:
            rest = sum(row.seconds for row in hidden)
            lines.append(f"{f'{len(hidden)} more':28} {'':7} {_milliseconds(rest):>10}")
        lines.append(
            f"{'outside ops':28} {'':7} {_milliseconds(self.outside):>10} {'':10} "
            f"{self.outside / self.seconds:6.1%}"
        )
        lines.append(f"{'in all':28} {'':7} {_milliseconds(self.seconds):>10}")
        return "\n".join(lines)

    # ------------------------------------------------------------------- what the tape calls

    def forward(
        self, name: str, function: Callable[..., Any], arrays: list[Any], options: dict[str, Any]
    ) -> Any:
        """Run an op's function."""
        if self._in_op:
            return function(*arrays, **options)
        self._in_op = True
        start = time.perf_counter()
        try:
            value = function(*arrays, **options)
        finally:
            taken = time.perf_counter() - start
            self._in_op = False
            self._inner[-1] += taken
        row = self._row(name)
        row.calls += 1
        row.forward += taken
        results = list(value) if isinstance(value, (tuple, list)) else [value]
        row.bytes += _moved(arrays, results)
        if name in FORWARD_FLOPS:
            row.flops += FORWARD_FLOPS[name](arrays, results, options)
        return value

    def backward(self, node: Any, g: Any, create_graph: bool) -> Any:
        """Run a node's vjp."""
        if self._in_op:
            return node.gradients(g, create_graph)
        saved = dict(node.saved or {})
        self._in_op = True
        start = time.perf_counter()
        try:
            gradients = node.gradients(g, create_graph)
        finally:
            taken = time.perf_counter() - start
            self._in_op = False
            self._inner[-1] += taken
        row = self._row(node.op.name)
        row.backward += taken
        row.bytes += _moved([g, *saved.values()], gradients)
        if node.op.name in BACKWARD_FLOPS:
            row.flops += BACKWARD_FLOPS[node.op.name](g, gradients, saved)
        return gradients

    def change(self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Run a change in place."""
        self.forward(name, function, list(arguments), {})

    def made(self, array: Any) -> None:
        """Nothing to do."""

    def constant(self, what: str) -> None:
        """Nothing to do."""

    def region(self, name: str) -> _Region:
        """A stretch of time outside ops, by name."""
        return _Region(self, name)

    def _row(self, name: str) -> Row:
        if name not in self.found:
            self.found[name] = Row(name)
        return self.found[name]


class _Region:
    """Counts its own time, that of ops and regions inside it excepted."""

    def __init__(self, owner: profile, name: str) -> None:
        self.owner, self.name = owner, name

    def __enter__(self) -> None:
        self.owner._inner.append(0.0)
        self.start = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        taken = time.perf_counter() - self.start
        row = self.owner._row(self.name)
        row.calls += 1
        row.forward += taken - self.owner._inner.pop()
        self.owner._inner[-1] += taken


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


# ------------------------------------------------------------------------- bytes and operations


def _moved(given: Iterable[Any], returned: Iterable[Any]) -> float:
    """Bytes of the arrays in and out; a result that is a view of its argument moves nothing."""
    inputs = [x for x in map(_array, given) if x is not None]
    outputs = [x for x in map(_array, returned) if x is not None]
    fresh = [y for y in outputs if not any(_same_memory(y, x) for x in inputs)]
    return float(sum(map(_nbytes, [*inputs, *fresh]))) if fresh else 0.0


def _array(value: Any) -> np.ndarray | None:
    """The array in a tensor or an array; None for anything else."""
    array = getattr(value, "array", value)
    return array if isinstance(array, np.ndarray) else None


def _same_memory(x: np.ndarray, y: np.ndarray) -> bool:
    owner = y if y.base is None else y.base
    return x is y or (x.base is not None and (x.base is y or x.base is owner))


def _nbytes(x: np.ndarray) -> int:
    """Bytes that exist: an axis of stride 0 is one element seen many times."""
    sizes = [n for n, stride in zip(x.shape, x.strides, strict=True) if stride or n == 0]
    return int(np.prod(sizes, dtype=np.int64)) * x.itemsize


def _product_forward(arrays: list[Any], results: list[Any], options: dict[str, Any]) -> float:
    """2 per output and term: x (..., K)."""
    return 2.0 * float(results[0].size * arrays[0].shape[-1])


def _fused_loss_forward(arrays: list[Any], results: list[Any], options: dict[str, Any]) -> float:
    """The logits, and the gradients that are wanted: all three products cost the same."""
    x, weight = arrays[:2]  # (R, C), (V, C)
    return float(2 * x.size * weight.shape[0] * (1 + sum(options["needs"])))


def _attention_forward(arrays: list[Any], results: list[Any], options: dict[str, Any]) -> float:
    """Two products over the T x S scores that are seen."""
    q, k = arrays[:2]  # (B, H, T, D), (B, G, S, D)
    return float(4 * q.shape[0] * q.shape[1] * q.shape[3] * _seen(q, k, options["offset"]))


def _seen(q: Any, k: Any, offset: int) -> float:
    """The number of pairs of query i and key j <= i + offset."""
    last = np.arange(q.shape[2]) + offset + 1
    return float(np.clip(last, 0, k.shape[2]).sum())


def _linear_backward(g: Any, gradients: Any, saved: dict[str, Any]) -> float:
    """gx (..., K) and gw (N, K) cost as much as the forward product; the bias's sum is ignored."""
    large = [x for x in gradients[:2] if x is not None]
    return float(sum(2.0 * g.size * x.shape[-1] for x in large))


def _packed_backward(g: Any, gradients: Any, saved: dict[str, Any]) -> float:
    """As linear's; the panels (P, K, w) have K in the middle."""
    gx, gpanels = gradients[:2]
    inner = ([] if gx is None else [gx.shape[-1]]) + ([] if gpanels is None else [gpanels.shape[1]])
    return float(sum(2.0 * g.size * k for k in inner))


def _feed_forward(arrays: list[Any], results: list[Any], options: dict[str, Any]) -> float:
    """Its two products: x (..., K), up (N, K), down (M, N)."""
    x, up, _, down = arrays[:4]
    rows = x.size // max(x.shape[-1], 1)
    return float(2 * rows * (up.size + down.size))


def _feed_forward_backward(g: Any, gradients: Any, saved: dict[str, Any]) -> float:
    """Two products for each of the forward pass."""
    return 2.0 * _feed_forward([saved["x"], saved["up"], None, saved["down"]], [], {})


def _matmul_backward(g: Any, gradients: Any, saved: dict[str, Any]) -> float:
    gx, gy = gradients
    inner = [gx.shape[-1]] if gx is not None else []
    if gy is not None:
        inner.append(gy.shape[-2] if gy.ndim > 1 else gy.shape[-1])
    return float(sum(2.0 * g.size * k for k in inner))


def _attention_backward(g: Any, gradients: Any, saved: dict[str, Any]) -> float:
    """Five products, one of which makes the scores anew."""
    arrays = [saved["q"], saved["k"]]
    return 2.5 * _attention_forward(arrays, [], {"offset": saved["offset"]})


FORWARD_FLOPS: dict[str, Callable[[list[Any], list[Any], dict[str, Any]], float]] = {
    "matmul": _product_forward,
    "linear": _product_forward,
    "linear_activation": _product_forward,
    "packed_linear": _product_forward,
    "feed_forward": _feed_forward,
    "attention": _attention_forward,
    "fused_cross_entropy": _fused_loss_forward,
}
BACKWARD_FLOPS: dict[str, Callable[[Any, Any, dict[str, Any]], float]] = {
    "matmul": _matmul_backward,
    "linear": _linear_backward,
    "linear_activation": _linear_backward,
    "packed_linear": _packed_backward,
    "feed_forward": _feed_forward_backward,
    "attention": _attention_backward,
}
