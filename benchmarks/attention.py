"""Causal attention, forward and backward, from short rows to long ones."""

from __future__ import annotations

from benchmarks import peers, workloads
from benchmarks.harness import Bench

LENGTHS = (64, 256, 1024, 4096)
WIDTHS = (32, 64, 128)
FEATURES = 512  # heads times width
TOKENS = 4096  # sequences times length
GOAL = 0.8


def flops(batch: int, heads: int, length: int, width: int) -> float:
    """Half of T x T: two products forward, and five backward, which makes the scores anew."""
    return (2 + 5) * 2.0 * batch * heads * (length * length / 2) * width


def run(bench: Bench) -> None:
    """T 64 to 4,096 and D 32 to 128, always 4,096 tokens of 512 features, against PyTorch."""
    for _ in bench.on_threads():
        for length in LENGTHS[:2] if bench.quick else LENGTHS:
            for width in WIDTHS:
                shape = (TOKENS // length, FEATURES // width, length, width)
                # Reads q, k, v and writes out; reads those and g and writes three gradients.
                bench.compare(
                    "attention", f"T {length} D {width} (B {shape[0]} H {shape[1]})",
                    peers.both_sides(workloads.attention, *shape), flops=flops(*shape),
                    bytes=4.0 * 12 * TOKENS * FEATURES, goal={"torch": GOAL},
                )  # fmt: skip
