"""How the cost of a training step grows with each of its sizes, and shrinks with threads."""

from __future__ import annotations

import math
from dataclasses import replace

import tensorlite
from benchmarks.harness import OURS, Bench, Result, take_turns
from benchmarks.ours import Training
from benchmarks.shapes import S, Step

BASE = Step("base", replace(S.config, n_embd=256, block_size=1024), 4, 128)


def _length(value: int) -> Step:
    return replace(BASE, length=value)


def _width(value: int) -> Step:
    return replace(BASE, config=replace(BASE.config, n_embd=value))


def _batch(value: int) -> Step:
    return replace(BASE, batch=value)


def _layers(value: int) -> Step:
    return replace(BASE, config=replace(BASE.config, n_layer=value))


AXES = {
    "T": (_length, (32, 64, 128, 256, 512, 1024)),
    "C": (_width, (64, 128, 256, 512, 768)),
    "B": (_batch, (1, 2, 4, 8, 16)),
    "layers": (_layers, (1, 2, 4, 8, 16)),
}


def run(bench: Bench) -> None:
    """One axis at a time from (T 128, C 256, B 4, 4 layers), and the same step on each thread."""
    with bench.on(max(bench.thread_counts)):
        for axis, (make, values) in AXES.items():
            for value in values[:3] if bench.quick else values:
                _measure(bench, axis, value, make(value))
    for threads in range(1, tensorlite.get_num_threads() + 1):
        with bench.on(threads):
            _measure(bench, "threads", threads, BASE)


def _measure(bench: Bench, axis: str, value: int, step: Step) -> None:
    times = take_turns({OURS: Training(step).step}, 1.0, 3 if bench.quick else 9)[OURS]
    median = sorted(times)[len(times) // 2]
    result = Result("scaling", f"{axis} = {value}", bench.threads, {OURS: median})
    result.flops, result.items = step.flops, step.tokens
    result.extra.update(axis=axis, at=value)
    before = [r for r in bench.results if r.extra.get("axis") == axis]
    if before:  # the slope in a double logarithmic plot: 1 is linear, 2 quadratic
        last = before[-1]
        growth = math.log(median / last.value[OURS]) / math.log(value / last.extra["at"])
        result.extra["exponent"] = growth
    bench.add(result)
