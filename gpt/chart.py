"""Metrics -> loss.svg: the loss on training and held-out text over the steps, drawn by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 52
TRAIN, HELD_OUT = "#4c78a8", "#e4572e"

Point = tuple[float, float]


def loss_svg(metrics: Sequence[Mapping[str, Any]]) -> str:
    """A chart of `train_loss` (faint as measured, their running mean on top) and of `val_loss`
    over `step`, as the text of an SVG file."""
    train = [(m["step"], m["train_loss"]) for m in metrics if "train_loss" in m]
    held_out = [(m["step"], m["val_loss"]) for m in metrics if "val_loss" in m]
    points = train + held_out or [(0, 0)]
    x_ticks = ticks(0, max(x for x, _ in points))
    y_ticks = ticks(min(y for _, y in points), max(y for _, y in points))

    def place(point: Point) -> Point:
        """From (step, loss) to pixels; y grows downwards."""
        across = (point[0] - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (point[1] - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="13" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for y in y_ticks:
        _, at = place((0, y))
        drawn.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in x_ticks:
        at, _ = place((x, y_ticks[0]))
        label = f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x:g}</text>'
        drawn.append(label)
    drawn.append(f'<path d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="#888"/>')
    drawn.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" '
                 'text-anchor="middle">step</text>')  # fmt: skip
    drawn.append(f'<text x="{LEFT}" y="24" font-size="15">loss, nats per token</text>')
    drawn.append(f'<text x="{WIDTH - RIGHT - 190}" y="24" fill="{TRAIN}">training</text>')
    drawn.append(f'<text x="{WIDTH - RIGHT}" y="24" fill="{HELD_OUT}" text-anchor="end">'
                 f'held-out{f" {held_out[-1][1]:.3f}" if held_out else ""}</text>')  # fmt: skip
    drawn.append(_line([place(p) for p in train], TRAIN, 'stroke-opacity="0.3"'))
    drawn.append(_line([place(p) for p in running_mean(train)], TRAIN, 'stroke-width="2"'))
    drawn.append(_line([place(p) for p in held_out], HELD_OUT, 'stroke-width="2"'))
    for x, y in map(place, held_out):
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{HELD_OUT}"/>')
    return "\n".join([*drawn, "</svg>", ""])


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers evenly spaced from at most `low` to at least `high`: multiples of 1, 2 or
    5 times a power of ten, of which there are about as many as asked for."""
    span = high - low if high > low else 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    stride = next(m * power for m in (1, 2, 5, 10) if m * power * about >= span)
    first = math.floor(low / stride)
    last = max(math.ceil(high / stride), first + 1)
    return [round(i * stride, 12) for i in range(first, last + 1)]


def running_mean(points: Sequence[Point], memory: float = 0.8) -> list[Point]:
    """Each y replaced by an exponentially weighted mean of those so far."""
    means: list[Point] = []
    weight = total = 0.0
    for x, y in points:
        weight = memory * weight + 1
        total = memory * total + y
        means.append((x, total / weight))
    return means


def _line(points: Sequence[Point], colour: str, style: str) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-linejoin="round" {style}/>'
