"""Where the time of a training step goes, op by op: python -m benchmarks profile [--step M]."""

from __future__ import annotations

from rich.console import Console

from benchmarks.harness import Bench
from benchmarks.ours import Training
from benchmarks.shapes import STEPS
from tensorlite import profiler


def run(bench: Bench, console: Console, name: str) -> None:
    """Print the profile of several steps, after some that compile and warm up."""
    training = Training(STEPS[name])
    steps = 3 if bench.quick else max(3, int(30 / STEPS[name].flops * 1e10))
    for threads in bench.on_threads():
        for _ in range(2):
            training.step()
        with profiler.profile() as profile:
            for _ in range(steps):
                training.step()
        console.print(f"[bold]training step {name}, {threads} threads, {steps} steps[/bold]")
        console.print(profile.table(), highlight=False)
