"""The machine's ceilings, measured on the spot: arithmetic peak and memory speed."""

from __future__ import annotations

import functools

from benchmarks.harness import Bench, Result
from tensorlite.kernels import machine, simd


@functools.cache
def peak(threads: int, quick: bool = False) -> float:
    """Operations a second of float32 products, a term counted as two."""
    return machine.peak(threads, 0.2 if quick else 1.0)


@functools.cache
def vector_peak(threads: int, quick: bool = False) -> float:
    """Those of fused multiply-adds, where products are made of something else."""
    return machine.vector_peak(threads, 0.2 if quick else 1.0)


@functools.cache
def read_bandwidth(threads: int, quick: bool = False) -> float:
    """Bytes a second read from memory."""
    return machine.read_bandwidth(threads, 0.2 if quick else 1.0)


@functools.cache
def copy_bandwidth(threads: int, quick: bool = False) -> float:
    """Bytes a second read and written together."""
    return machine.copy_bandwidth(threads, 0.2 if quick else 1.0)


def run(bench: Bench) -> None:
    """Peak, read and copy speed on each number of threads."""
    for n in bench.on_threads():
        figures = {
            "float32 peak": (peak(n, bench.quick), "FLOP/s"),
            "memory read": (read_bandwidth(n, bench.quick), "B/s"),
            "memory copy": (copy_bandwidth(n, bench.quick), "B/s"),
        }
        if simd.TILES:
            figures["float32 peak of vectors"] = (vector_peak(n, bench.quick), "FLOP/s")
        for case, (speed, unit) in figures.items():
            bench.add(Result("machine", case, n, {"machine": speed}, unit=unit))
