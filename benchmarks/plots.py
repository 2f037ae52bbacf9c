"""Results as pictures: a roofline, bars of training and decoding, curves of scaling."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import OURS, Result

SIDES = {
    OURS: "tab:orange",
    "numpy": "tab:gray",
    "torch": "tab:blue",
    "torch.compile": "tab:cyan",
    "memory": "lightgray",
}
KINDS = {"matmul": "o", "linear+gelu": "s", "rows": "^", "attention": "D", "decoding": "*"}


def draw(results: list[Result], folder: Path) -> Iterator[Path]:
    """Write a PNG for each kind of picture that there are results for."""
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in {"roofline": _roofline, "bars": _bars, "scaling": _scaling}.items():
        figure = picture(pyplot, results)
        if figure is not None:
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=120, bbox_inches="tight")
            pyplot.close(figure)
            yield path


def _roofline(pyplot: Any, results: list[Result]) -> Any:
    """GFLOP/s over FLOP/byte, under the two ceilings measured in the same run, per thread count."""
    ceilings = {
        (r.case, r.threads): r.value["machine"] for r in results if r.benchmark == "machine"
    }
    counted = [r for r in results if r.benchmark in KINDS and r.flops and r.bytes]
    threads = sorted({r.threads for r in counted} & {t for _, t in ceilings})
    if not threads:
        return None
    figure, axes = pyplot.subplots(
        1, len(threads), figsize=(7.5 * len(threads), 6), squeeze=False, sharey=True
    )
    for axis, n in zip(axes[0], threads, strict=True):
        peak, memory = ceilings["float32 peak", n], ceilings["memory read", n]
        low, high = 0.1, 1000.0
        knee = peak / memory
        axis.plot([low, knee, high], [low * memory / 1e9, peak / 1e9, peak / 1e9], "k-", lw=1.5)
        axis.text(high, peak / 1e9 * 1.06, f"peak {peak / 1e9:.0f} GFLOP/s", ha="right")
        vectors = ceilings.get(("float32 peak of vectors", n))
        if vectors:
            axis.plot([vectors / memory, high], [vectors / 1e9] * 2, "k--", lw=1.0)
            text = f"of vectors {vectors / 1e9:.0f} GFLOP/s"
            axis.text(high, vectors / 1e9 * 0.94, text, ha="right", va="top")
        for result in (r for r in counted if r.threads == n):
            intensity = result.flops / result.bytes
            for side, seconds in result.value.items():
                axis.plot(
                    intensity, result.flops / seconds / 1e9, KINDS[result.benchmark],
                    color=SIDES[side], ms=9 if result.benchmark == "decoding" else 5, alpha=0.75,
                )  # fmt: skip
        axis.set(xscale="log", yscale="log", xlim=(low, high))
        _along(axis, f"memory {memory / 1e9:.0f} GB/s", low * 1.3, memory / 1e9)
        axis.set_title(f"{n} thread{'s' * (n > 1)}")
        axis.set_xlabel("arithmetic intensity, FLOP per byte of memory at least")
        axis.grid(True, which="both", alpha=0.2)
    axes[0][0].set_ylabel("GFLOP/s")
    shown = {side for r in counted for side in r.value}
    handles = [
        pyplot.Line2D([], [], color=color, marker="o", ls="", label=side)
        for side, color in SIDES.items() if side in shown
    ] + [
        pyplot.Line2D([], [], color="black", mfc="none", marker=mark, ls="", label=kind)
        for kind, mark in KINDS.items() if any(r.benchmark == kind for r in counted)
    ]  # fmt: skip
    axes[0][-1].legend(handles=handles, loc="lower right")
    return figure


def _along(axis: Any, text: str, x: float, slope: float) -> None:
    """Write above the line y = slope x, in its direction."""
    (x0, y0), (x1, y1) = axis.transData.transform([(x, slope * x), (10 * x, 10 * slope * x)])
    angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
    axis.text(
        x, 1.15 * slope * x, text, rotation=angle, rotation_mode="anchor", va="bottom", ha="left"
    )


def _bars(pyplot: Any, results: list[Result]) -> Any:
    """Tokens a second in training and decoding, by side, on the largest number of threads."""
    kinds = ("training", "plain", "prefill", "decoding")
    shown = sorted(
        (r for r in results if r.benchmark in kinds), key=lambda r: kinds.index(r.benchmark)
    )
    if not shown:
        return None
    most = max(r.threads for r in shown)
    shown = [r for r in shown if r.threads == most]
    figure, axes = pyplot.subplots(1, len(shown), figsize=(2.6 * len(shown), 4), squeeze=False)
    for axis, result in zip(axes[0], shown, strict=True):
        names = list(result.value)
        speeds = [result.items / result.value[name] for name in names]
        bars = axis.bar(names, speeds, color=[SIDES[name] for name in names], width=0.6)
        axis.bar_label(
            bars, [f"{speed:,.0f}" if speed >= 100 else f"{speed:.1f}" for speed in speeds]
        )
        name = "training, plain ops," if result.benchmark == "plain" else result.benchmark
        axis.set_title(f"{name} {result.case}", fontsize=10)
        axis.tick_params(axis="x", rotation=20)
        axis.margins(y=0.12)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0][0].set_ylabel(f"tokens a second, {most} threads")
    figure.tight_layout()
    return figure


def _scaling(pyplot: Any, results: list[Result]) -> Any:
    """Seconds of a training step over each of its sizes, with the line of proportional growth."""
    rows = [r for r in results if r.benchmark == "scaling"]
    ticker = importlib.import_module("matplotlib.ticker")
    axes_names = list(dict.fromkeys(r.extra["axis"] for r in rows))
    if not axes_names:
        return None
    figure, axes = pyplot.subplots(
        1, len(axes_names), figsize=(3.2 * len(axes_names), 3.6), squeeze=False, sharey=True
    )
    for axis, name in zip(axes[0], axes_names, strict=True):
        points = sorted((r.extra["at"], r.value[OURS]) for r in rows if r.extra["axis"] == name)
        at, seconds = zip(*points, strict=True)
        axis.plot(at, [1e3 * s for s in seconds], "o-", color=SIDES[OURS])
        power = -1 if name == "threads" else 1
        line = [1e3 * seconds[0] * (a / at[0]) ** power for a in at]
        axis.plot(at, line, "k:", lw=1, label="ideal" if power < 0 else "proportional")
        axis.set(xscale="log", yscale="log")
        axis.set_xticks(at, [str(a) for a in at])
        axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_formatter(ticker.NullFormatter())
        axis.set_xlabel(name)
        axis.legend(fontsize=8)
        axis.grid(True, alpha=0.2)
    axes[0][0].set_ylabel("ms a training step")
    figure.tight_layout()
    return figure
