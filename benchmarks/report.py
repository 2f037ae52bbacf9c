"""Results as tables: in the terminal, in a JSON file, and in the README."""

from __future__ import annotations

import json
import platform
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import peers
from benchmarks.harness import OURS, Result
from tensorlite import doctor
from tensorlite.kernels import jit, simd

START, END = "<!-- benchmarks: python -m benchmarks --readme -->", "<!-- /benchmarks -->"


# -------------------------------------------------------------------------------- in the terminal


def show(console: Console, results: list[Result]) -> None:
    """One table for one benchmark; behind ~ stands the median ratio of neighbouring turns."""
    others = sorted({side for r in results for side in r.ratio})
    table = Table(title=results[0].benchmark, title_justify="left", header_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("threads", justify="right")
    for name in (OURS if others else "", *others):
        table.add_column(name, justify="right")
    for peer in others:
        table.add_column(f"/ {peer}", justify="right")
    table.add_column("speed", justify="right")
    table.add_column("")
    for result in results:
        values = [next(iter(result.value.values()), None)]
        values += [result.value.get(peer) for peer in others]
        table.add_row(
            result.case,
            str(result.threads),
            *("" if value is None else quantity(value, result.unit) for value in values),
            *(_ratio(result, peer) for peer in others),
            speed(result),
            _remarks(result),
        )
    console.print(table)


def _ratio(result: Result, peer: str) -> str:
    if peer not in result.ratio:
        return ""
    text = f"{result.ratio[peer]:.2f}"
    if abs(result.paired[peer] - result.ratio[peer]) >= 0.05:
        text += f" ~{result.paired[peer]:.2f}"
    if peer in result.goal:
        met = result.ratio[peer] <= result.goal[peer]
        sign, color = ("<=", "green") if met else (">", "red")
        text += f" [{color}]{sign} {result.goal[peer]:g}[/{color}]"
    return text


def _remarks(result: Result) -> str:
    words = []
    for name, value in result.extra.items():
        if name == "exponent":
            words.append(f"grows as its {value:.2f}th power")
        elif name.startswith("share"):
            words.append(f"{value:.0%} of {name.removeprefix('share of ')}")
        elif name == "after import":
            words.append(", ".join(f"{side} {quantity(v, 'B')}" for side, v in value.items()))
            words[-1] += " of it after import"
    return "; ".join(words)


def speed(result: Result) -> str:
    """What our side does a second, of what was counted."""
    seconds = result.value.get(OURS)
    if result.unit != "s" or not seconds:
        return ""
    parts = []
    if result.items:
        parts.append(f"{result.items / seconds:,.0f} tokens/s")
    if result.flops:
        parts.append(f"{result.flops / seconds / 1e9:.0f} GFLOP/s")
    if result.bytes and not result.items:
        parts.append(f"{result.bytes / seconds / 1e9:.1f} GB/s")
    return ", ".join(parts)


def quantity(value: float, unit: str) -> str:
    """A number with the prefix that suits it.

    >>> quantity(0.0000123, "s"), quantity(2.5e9, "B")
    ('12.3 us', '2.50 GB')
    """
    steps = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n")]
    if unit == "s":
        steps = steps[3:]
    factor, prefix = next(((f, p) for f, p in steps if abs(value) >= f), steps[-1])
    return f"{value / factor:.3g} {prefix}{unit}" if value < 1e12 else f"{value:.3g} {unit}"


# --------------------------------------------------------------------------------------- in JSON


def facts() -> dict[str, Any]:
    """Where and with what the figures were made."""
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    if peers.HAS_TORCH:
        versions["torch"] = str(peers.torch().__version__)
    return {
        "date": date.today().isoformat(),
        "cpu": doctor.processor_name(),
        "cores": jit.cores(),
        "processor": doctor.processor_kind(),
        "simd": simd.REGISTER_BITS,
        "versions": versions,
        "caveats": peers.caveats(),
    }


def write_json(path: Path, results: list[Result], about: dict[str, Any]) -> None:
    """Add the results to a file; those that were measured again replace the old ones."""
    kept = []
    if path.exists():
        new = {(r.benchmark, r.case, r.threads) for r in results}
        kept = [r for r in read_json(path)[0] if (r.benchmark, r.case, r.threads) not in new]
    content = {**about, "results": [r.as_json() for r in [*kept, *results]]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> tuple[list[Result], dict[str, Any]]:
    about = json.loads(path.read_text())
    return [Result(**fields) for fields in about.pop("results")], about


# ------------------------------------------------------------------------------------ in the README


def write_readme(readme: Path, results: list[Result], about: dict[str, Any]) -> None:
    """Replace, between the two markers, the table of this kind of processor; others stay."""
    text = readme.read_text()
    before, start, rest = text.partition(START)
    old, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{readme}: needs a line '{START}' and, below it, a line '{END}'")
    kept = re.findall(r"^#### (On [^\n]+)\n(.*?)(?=^####|\Z)", old, re.M | re.S)
    tables = dict(kept)
    title = f"On {about['processor']}, with vectors of {about['simd']} bits"
    tables[title] = f"\n{markdown(results, about)}\n"
    parts = [f"#### {title}\n{tables[title]}" for title in sorted(tables, reverse=True)]
    readme.write_text(f"{before}{START}\n{''.join(parts)}{END}{after}")


def markdown(results: list[Result], about: dict[str, Any]) -> str:
    """The figures that a reader asks for first, on the largest number of threads."""
    most = max(result.threads for result in results)
    sides = [side for side in _NAMES if any(side in result.value for result in results)]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"Measured on {about['cores']} cores of an {about['cpu']}, {about['date']}, with "
        f"{versions}: medians of turns, {most} threads.",
        "",
        f"| | tensorlite | {' | '.join(_NAMES[side] for side in sides)} | ratio of times |",
        f"|---|---|{'---|' * len(sides)}---|",
    ]
    for result in _summarized(results, most):
        cells = [_cell(result, side) for side in (OURS, *sides)]
        ratios = [f"{ratio:.2f} of {_NAMES[side]}" for side, ratio in result.ratio.items()]
        lines.append(f"| {_title(result)} | {' | '.join(cells)} | {', '.join(ratios)} |")
    return "\n".join([*lines, ""])


_NAMES = {
    "numpy": "NumPy",
    "torch": "PyTorch",
    "torch.compile": "torch.compile",
    "memory": "the memory",
}
_README = ("matmul", "linear+gelu", "rows", "attention", "training", "plain", "memory", "prefill",
           "decoding", "ops", "overhead", "startup")  # fmt: skip


def _summarized(results: list[Result], threads: int) -> list[Result]:
    """Of benchmarks with many rows the geometric mean, in the order of _README."""
    chosen = []
    for name in _README:
        rows = [r for r in results if r.benchmark == name and r.threads in (threads, 1)]
        rows = [r for r in rows if r.threads == threads] or rows
        if name in ("matmul", "ops"):
            rows = [r for r in rows if r.case == "geometric mean"]
        elif name == "memory":
            rows = [r for r in rows if not r.case.startswith("attention")]
        chosen += rows
    return chosen


def _title(result: Result) -> str:
    titles = {
        "training": "training step ",
        "plain": "training step in plain ops, with dropout, ",
        "memory": "peak memory of training ",
        "attention": "attention forward and backward, ",
        "decoding": "decoding, 124M float32, ",
        "prefill": "prefill, 124M float32, ",
        "matmul": "matrix products of S, M and L, ",
        "linear+gelu": "linear + bias + GELU, forward and backward, ",
        "ops": "general ops of a million elements, ",
        "overhead": "8 x 8 ",
        "startup": "",
    }
    return titles.get(result.benchmark, "") + result.case


def _cell(result: Result, side: str) -> str:
    if side not in result.value:
        return ""
    value = result.value[side]
    if result.items:
        return f"{result.items / value:,.0f} tokens/s"
    return quantity(value, result.unit)
