"""What a program does between products: general ops on a million elements, without a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import peers, workloads
from benchmarks.harness import OURS, Bench, mean_of

N = 1024


def cases(library: Any, n: int) -> dict[str, Callable[[], Any]]:
    """Each op on its arguments: n x n of float32, and indices of int64."""
    functional = library.nn.functional
    x, y = (workloads.random(library, (n, n), seed) for seed in (0, 1))
    row, changed, mask = x[0].clone(), x.clone(), x > 0
    index = library.from_numpy(np.random.default_rng(0).integers(n, size=(n, n)))
    return {
        "x * y": lambda: x * y,
        "x + row": lambda: x + row,
        "x.mul_(0.5)": lambda: changed.mul_(0.5),
        "x ** 3": lambda: x**3,
        "exp": lambda: x.exp(),
        "clamp": lambda: x.clamp(-1, 1),
        "x > y": lambda: x > y,
        "where": lambda: library.where(mask, x, y),
        "masked_fill": lambda: x.masked_fill(mask, -1e9),
        "sum": lambda: x.sum(),
        "sum of rows": lambda: x.sum(1),
        "var of rows": lambda: x.var(1),
        "cumsum": lambda: x.cumsum(1),
        "softmax of columns": lambda: x.softmax(0),
        "argmax of columns": lambda: x.argmax(0),
        "transposed copy": lambda: x.t().contiguous(),
        "gather": lambda: x.gather(1, index),
        "scatter_add": lambda: x.scatter_add(1, index, y),
        "topk(10)": lambda: x.topk(10),
        "sort": lambda: x.sort(),
        "rand": lambda: library.rand(n, n),
        "randn": lambda: library.randn(n, n),
        "dropout": lambda: functional.dropout(x, 0.1),
    }


def run(bench: Bench) -> None:
    """General ops of 1,024 x 1,024 numbers against PyTorch, and their geometric mean."""
    n = N // 4 if bench.quick else N
    sides = {name: cases(library, n) for name, library in peers.libraries().items()}
    for threads in bench.on_threads():
        done = [
            bench.compare("ops", case, {name: side[case] for name, side in sides.items()})
            for case in sides[OURS]
        ]
        bench.add(mean_of("ops", threads, done))
