"""What only processes of their own can show: peak memory, and how long it takes to get going."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import peers
from benchmarks.harness import OURS, Bench, Result, summary

ROOT = Path(__file__).parents[1]
MEMORY_GOAL = 0.7
CALLS = 3  # the peak is reached once gradients meet the optimizer's state


def child(side: str, case: str, calls: int, threads: int, **more: str) -> dict[str, float]:
    """Run `python -m benchmarks.child` and return the JSON it prints."""
    number = str(threads)
    # As pip leaves it, with its sources compiled to bytecode.
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = {
        **inherited, "OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number, "PYTHONPATH": str(ROOT),
        **more,
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.child", side, case, str(calls)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{side}, {case}: the process failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def run_memory(bench: Bench) -> None:
    """Peak memory of training M and L, and of attention over 4,096 and 8,192 positions."""
    threads = max(bench.thread_counts)
    for case in ["S"] if bench.quick else ["M", "L", "attention 4096", "attention 8192"]:
        child(OURS, case, 1, threads)  # compiles what is not on disk, which takes memory too
        found = {side: child(side, case, CALLS, threads) for side in peers.sides()}
        value = {side: figures["peak"] for side, figures in found.items()}
        result = Result("memory", case, threads, value, unit="B")
        result.extra["after import"] = {s: figures["before"] for s, figures in found.items()}
        for peer in list(value)[1:]:
            result.ratio[peer] = result.paired[peer] = value[OURS] / value[peer]
            if not case.startswith("attention"):
                result.goal[peer] = MEMORY_GOAL
        bench.add(result)


def run_startup(bench: Bench) -> None:
    """Import; the first training step S of a second process; and that of the very first one."""
    threads = max(bench.thread_counts)
    imports: dict[str, list[float]] = {side: [] for side in peers.sides()}
    steps: dict[str, list[float]] = {side: [] for side in peers.sides()}
    # A process that works ahead may still be writing when the folder goes.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cache = {"TENSORLITE_CACHE_DIR": folder}
        start = time.perf_counter()
        child(OURS, "S", 1, threads, **cache)
        very_first = time.perf_counter() - start
        for _ in range(2 if bench.quick else 7):
            for side in peers.sides():
                figures = child(side, "S", 1, threads, **cache)
                imports[side].append(figures["import"])
                steps[side].append(figures["first"])
    bench.add(summary("startup", "import", threads, imports))
    bench.add(summary("startup", "first step S after import", threads, steps))
    value = {OURS: very_first}
    bench.add(Result("startup", "process with its very first step, nothing cached", threads, value))
