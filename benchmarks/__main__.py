"""python -m benchmarks [NAMES...]: measure, print, and keep the figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import (
    attention,
    decoding,
    general,
    machine,
    overhead,
    peers,
    plain,
    plots,
    process,
    products,
    profile,
    report,
    rows,
    scaling,
    training,
)
from benchmarks.harness import Bench

ROOT = Path(__file__).parents[1]
BENCHMARKS: dict[str, Callable[[Bench], None]] = {
    "machine": machine.run,
    "matmul": products.run,
    "linear-gelu": products.run_linear_gelu,
    "rows": rows.run,
    "attention": attention.run,
    "ops": general.run,
    "overhead": overhead.run,
    "training": training.run,
    "plain": plain.run,
    "decoding": decoding.run,
    "memory": process.run_memory,
    "startup": process.run_startup,
    "scaling": scaling.run,
}


def arguments() -> argparse.Namespace:
    described = "\n".join(f"  {name:12} {run.__doc__}" for name, run in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="tensorlite against NumPy and PyTorch, in turns, in one run.",
        epilog=f"names:\n{described}\n  profile      Where the time of a training step goes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = [*BENCHMARKS, "profile"]
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; default: all")
    parser.add_argument("--threads", default=None, help="numbers of threads, as 1,2; default: all")
    parser.add_argument("--quick", action="store_true", help="small cases, few rounds")
    parser.add_argument("--compile", action="store_true", help="torch.compile too; takes a minute")
    parser.add_argument("--step", default="S", choices=["S", "M", "L"], help="what to profile")
    parser.add_argument("--json", type=Path, help="add the results to this file")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the results as PNG files")
    parser.add_argument(
        "--readme",
        action="store_true",
        help="rewrite README.md's table from --json; measures nothing",
    )
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in known:
            parser.error(f"unknown name {name!r}; known are {', '.join(known)}")
    if chosen.readme and not (chosen.json and chosen.json.exists()):
        parser.error("--readme: needs the results of an earlier run, --json FILE")
    return chosen


def main() -> int:
    chosen = arguments()
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    if chosen.readme:
        report.write_readme(ROOT / "README.md", *report.read_json(chosen.json))
        return 0
    bench = Bench(quick=chosen.quick, with_compile=chosen.compile)
    bench.thread_counts = thread_counts(chosen.threads)
    about = report.facts()
    for caveat in about["caveats"]:
        console.print(f"[yellow]note:[/yellow] {caveat}")
    for name in chosen.names or BENCHMARKS:
        if name == "profile":
            profile.run(bench, console, chosen.step)
            continue
        before = len(bench.results)
        with console.status(name) as status:
            bench.on_result = lambda r, s=status: s.update(f"{r.benchmark}: {r.case}")  # type: ignore[misc]
            BENCHMARKS[name](bench)
        for group in by_benchmark(bench.results[before:]):
            report.show(console, group)
        if chosen.json:
            report.write_json(chosen.json, bench.results, about)
    if chosen.plots:
        results = report.read_json(chosen.json)[0] if chosen.json else bench.results
        for path in plots.draw(results, chosen.plots):
            console.print(f"drawn: {path}")
    return 0


def thread_counts(text: str | None) -> tuple[int, ...]:
    """The numbers asked for, or one thread and all."""
    most = peers.most_threads()
    if text is None:
        return (1, most) if most > 1 else (1,)
    return tuple(int(part) for part in text.split(","))


def by_benchmark(results: list) -> list[list]:  # type: ignore[type-arg]
    """Results in groups of one benchmark each, in order."""
    groups: dict[str, list] = {}  # type: ignore[type-arg]
    for result in results:
        groups.setdefault(result.benchmark, []).append(result)
    return list(groups.values())


if __name__ == "__main__":
    sys.exit(main())
