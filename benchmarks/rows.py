"""What is bound by memory: softmax, norms, GELU, cross-entropy, AdamW, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import machine, peers, workloads
from benchmarks.harness import OURS, Bench

GOAL = 0.7
# How to run it; on which shape; how often that passes through memory at least: softmax reads x and
# writes y, then reads g and y and writes gx, cross-entropy reads x twice and writes gx; and about
# how many operations an element costs, an exponential counted as one, for the roofline.
CASES: dict[str, tuple[Callable[..., workloads.Work], tuple[int, int], int, int]] = {
    "softmax": (workloads.softmax, (4096, 1024), 5, 9),
    "layer norm": (workloads.layer_norm, (4096, 768), 5, 22),
    "rms norm": (workloads.rms_norm, (4096, 768), 5, 14),
    "gelu": (workloads.gelu, (4096, 1536), 5, 25),
    "cross-entropy": (workloads.cross_entropy, (256, 50257), 3, 8),
}
ADAMW = (7, 14)  # it reads the weight, its gradient and both moments, and writes all but one


def run(bench: Bench) -> None:
    """Rows and elements larger than L2, against PyTorch, with the memory's speed as the bound."""
    for threads in bench.on_threads():
        for name, (work, shape, *counts) in CASES.items():
            sides = peers.both_sides(work, *shape)
            _compare(bench, threads, f"{name} {shape}", sides, shape[0] * shape[1], *counts)
        size = 1 << (22 if bench.quick else 25)
        sides = peers.both_sides(workloads.adamw, size, module="optim")
        _compare(bench, threads, f"AdamW {size:,}", sides, size, *ADAMW)


def _compare(
    bench: Bench,
    threads: int,
    case: str,
    sides: dict[str, Callable[[], Any]],
    elements: int,
    passes: int,
    operations: int,
) -> None:
    moved = 4.0 * passes * elements
    result = bench.compare(
        "rows", case, sides, bytes=moved, flops=operations * elements, goal={"torch": GOAL}
    )
    speed = moved / result.value[OURS]
    result.extra["share of copy speed"] = speed / machine.copy_bandwidth(threads, bench.quick)
