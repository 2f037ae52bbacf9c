"""How a tensor prints: as PyTorch prints it, digit for digit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorlite import dtypes
from tensorlite.autograd import Array


@dataclass
class Options:
    """What set_printoptions sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


options = Options()

_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors print: digits, the size from which they are summarised, and so on.

    profile: "default", "short" or "full" sets all at once
    """
    given = dict(_PROFILES[profile]) if profile is not None else {}
    named = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems,
             "linewidth": linewidth}  # fmt: skip
    given.update({name: value for name, value in named.items() if value is not None})
    for name, value in given.items():
        setattr(options, name, value)
    options.sci_mode = sci_mode


class _Format:
    """One width for all numbers of a tensor, and fixed or scientific notation for all."""

    def __init__(self, x: Array) -> None:
        self.floating = x.dtype.kind == "f"
        self.integral = True
        self.scientific = False
        self.width = 1
        values = x.reshape(-1)
        if not self.floating:
            self.width = max((len(str(value)) for value in values.tolist()), default=1)
            return
        values = values[np.isfinite(values) & (values != 0)].astype(np.float64)
        if values.size == 0:
            return
        sizes = np.abs(values)
        small, large = sizes.min(), sizes.max()
        precision = options.precision
        self.integral = bool((values == np.ceil(values)).all())
        self.scientific = bool(large / small > 1000 or large > 1e8 or small < 1e-4)
        if options.sci_mode is not None:
            self.scientific = options.sci_mode
        if self.scientific:
            width = max(len(f"{v:.{precision}e}") for v in values.tolist())
        elif self.integral:
            width = max(len(f"{v:.0f}") + 1 for v in values.tolist())
        else:
            width = max(len(f"{v:.{precision}f}") for v in values.tolist())
        self.width = max(self.width, width)

    def __call__(self, value: Any) -> str:
        if not self.floating:
            text = str(value)
        elif self.scientific:
            text = f"{value:{self.width}.{options.precision}e}"
        elif self.integral:
            text = f"{value:.0f}"
            text += "" if math.isinf(value) or math.isnan(value) else "."
        else:
            text = f"{value:.{options.precision}f}"
        return " " * (self.width - len(text)) + text


def to_text(x: Array, prefix: str, suffixes: list[str]) -> str:
    """tensor([...], dtype=..., grad_fn=...): prefix, elements, and what else is worth knowing."""
    usual = x.dtype in (dtypes.default.numpy, np.int64, np.bool_)
    if x.size == 0:
        elements = "[]"
        notes = [f"size={x.shape}"] if x.ndim != 1 else []
        usual = x.dtype == dtypes.default.numpy
    else:
        summarize = x.size > options.threshold
        form = _Format(_edges(x) if summarize else x)
        elements = _rows(x, len(prefix), summarize, form)
        notes = []
    if not usual:
        notes.append(f"dtype={dtypes.dtype.of(x.dtype)}")
    text = prefix + elements
    width = len(text) - text.rfind("\n") + 1
    for note in notes + suffixes:
        if width + len(note) + 2 > options.linewidth:
            text += ",\n" + " " * len(prefix) + note
            width = len(prefix) + len(note)
        else:
            text += ", " + note
            width += len(note) + 2
    return text + ")"


def _edges(x: Array) -> Array:
    """The elements that a summary shows."""
    k = options.edgeitems
    for axis in range(x.ndim):
        if x.shape[axis] > 2 * k:
            x = np.concatenate([x.take(range(k), axis), x.take(range(-k, 0), axis)], axis)
    return x


def _rows(x: Array, indent: int, summarize: bool, form: _Format) -> str:
    if x.ndim == 0:
        return str(form(x.item()))
    k = options.edgeitems
    cut = summarize and len(x) > 2 * k
    shown = [x[:k], x[len(x) - k :]] if cut else [x]
    if x.ndim == 1:
        parts = [[form(value) for value in part.tolist()] for part in shown]
        words: list[str] = [*parts[0], " ...", *parts[1]] if cut else parts[0]
        per_line = max(1, (options.linewidth - indent) // (form.width + 2))
        lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = [[_rows(row, indent + 1, summarize, form) for row in part] for part in shown]
    rows = [*parts[0], "...", *parts[1]] if cut else parts[0]
    return "[" + ("," + "\n" * int(x.ndim - 1) + " " * (indent + 1)).join(rows) + "]"
