"""What is measured as a whole process: python -m benchmarks.child SIDE CASE CALLS.

It imports one side only: the other must not be charged to it. It prints a line of JSON: seconds
that the import and the first call took, and bytes of peak memory before and after the calls.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import workloads
from benchmarks.shapes import STEPS

MODELS = {"tensorlite": "benchmarks.ours", "torch": "benchmarks.torch_gpt"}


def work(side: str, case: str) -> workloads.Work:
    """A training step, or attention over so many positions."""
    if case in STEPS:
        models: Any = importlib.import_module(MODELS[side])
        return models.Training(STEPS[case]).step  # type: ignore[no-any-return]
    length = int(case.split()[1])
    library = importlib.import_module(side)
    functional = importlib.import_module(f"{side}.nn.functional")
    return workloads.attention(library, functional, 1, 4, length, 64)


def peak_memory() -> int:
    """Bytes that were resident at most in this program.

    Linux counts in ru_maxrss the parent's memory too, from before the program was started.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(side: str, case: str, calls: str) -> dict[str, float]:
    start = time.perf_counter()
    importlib.import_module(side)
    imported, before = time.perf_counter(), peak_memory()
    run = work(side, case)
    run()
    first = time.perf_counter()
    for _ in range(int(calls) - 1):
        run()
    return {
        "import": imported - start,
        "first": first - imported,
        "before": before,
        "peak": peak_memory(),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
