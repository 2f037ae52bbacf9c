"""Anomaly mode: name the op where the first NaN or infinity arose, forward or backward.

A value is an anomaly only where it arises: -inf that was an argument (a mask) may pass, but an
infinity of finite arguments, or a NaN of arguments without one, is an error.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tensorlite.autograd.graph import Node, unwrap

_PACKAGE = str(Path(__file__).parents[1])


class _Switch:
    on = False


switch = _Switch()


class set_detect_anomaly:
    """Switch anomaly mode on or off from here on, or for a `with` block."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = switch.on
        switch.on = bool(mode) and check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        switch.on = self.before


class detect_anomaly(set_detect_anomaly):
    """Inside this context an op that makes the first NaN or infinity is an error that names it."""

    def __init__(self, check_nan: bool = True) -> None:
        self.before = switch.on
        self.check_nan = check_nan

    def __enter__(self) -> None:
        self.before = switch.on
        switch.on = self.check_nan


def is_anomaly_enabled() -> bool:
    """Is anomaly mode on?"""
    return switch.on


def check_forward(name: str, values: Iterable[Any], arguments: Iterable[Any]) -> None:
    """Raise if a value holds a NaN or an infinity that no argument held."""
    arose = _arose(values, arguments)
    if arose:
        raise RuntimeError(f"anomaly: {name} made the first {arose}, at {caller()}")


def check_backward(node: Node, gradients: Iterable[Any], g: Any) -> None:
    """Raise if a gradient holds a NaN or an infinity that neither g nor the saved values held."""
    arose = _arose(gradients, [g])
    if arose:
        where = f"; the op was called at {node.where}" if node.where else ""
        raise RuntimeError(f"anomaly: {node.name} returned the first {arose} as a gradient{where}")


def caller() -> str:
    """The innermost line outside this package."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(_PACKAGE):
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return "an unknown line"


def _arose(values: Iterable[Any], arguments: Iterable[Any]) -> str:
    nan, inf = _holds(values)
    if not (nan or inf):
        return ""
    nan_before, inf_before = _holds(arguments)
    if nan and not nan_before:
        return "nan"
    if inf and not (inf_before or nan_before):
        return "infinity"
    return ""


def _holds(values: Iterable[Any]) -> tuple[bool, bool]:
    """(any NaN, any infinity) among the floating-point arrays and numbers."""
    nan = inf = False
    for value in map(unwrap, values):
        if isinstance(value, (list, tuple)):
            n, i = _holds(value)
        elif isinstance(value, (float, np.floating)) or getattr(value, "dtype", np.intp) in (
            np.float32,
            np.float64,
        ):
            n, i = bool(np.isnan(value).any()), bool(np.isinf(value).any())
        else:
            continue
        nan, inf = nan or n, inf or i
    return nan, inf
