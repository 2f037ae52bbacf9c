"""What a row of the tests of ops is made of: how to call an op, on what, and what it should give.

    Row("exp", [Real()], np.exp)
    Row("log", [Real(low=0.1)], np.log)
    Row("mul", [Real(), Real()], np.multiply)
    Row("sum", [Real("A B C")], lambda x, dim: x.sum(dim), {"dim": OneOf(0, -1, (0, 2))})
    Row("gather", [Real("A b")], np.take_along_axis, {"dim": 1, "index": Ids("A C", below="b")})

A row has the op's name (as in autograd.OPS), its positional inputs, a reference that takes the
same arrays and then the options in their order, and the options. An op may have several rows;
test_ops.py fails where one has none.

Shapes are letters: the same letter is the same length everywhere in a row, a capital one may be 0,
a small one is at least 1. Without a shape an input takes any, and all such inputs of a row
broadcast against each other. Inputs and options may be

    Real(shape, low, high, distinct, away)   floating point; the gradient is checked
    Ids(shape, below)                        int64 in [0, below): a letter or a number
    Mask(shape)                              bool
    Shape("A b")                             a tuple of these lengths
    OneOf(...)                               one of these values
    anything else                            itself

Further: tol, the relative error allowed in float32 (float64: squared); slope=False and twice=False,
where a derivative, or a second one, makes no sense; only, dtypes other than float32 and float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Real:
    """Random numbers in [low, high]; distinct: 1/8 apart; away: not within 0.05 of these."""

    shape: str | None = None
    low: float = -2.0
    high: float = 2.0
    distinct: bool = False
    away: Sequence[float] = ()


@dataclass(frozen=True)
class Ids:
    """Random int64 in [0, below)."""

    shape: str | None = None
    below: str | int = 5
    distinct: bool = False


@dataclass(frozen=True)
class Mask:
    """Random booleans."""

    shape: str | None = None


@dataclass(frozen=True)
class Shape:
    """A tuple of lengths."""

    letters: str


class OneOf:
    """One of several values."""

    def __init__(self, *values: Any) -> None:
        self.values = values


@dataclass(frozen=True)
class Row:
    """How to call an op, and what it should give."""

    op: str
    inputs: Sequence[Any]
    reference: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    tol: float = 2e-5
    slope: bool = True
    twice: bool = True
    only: Sequence[Any] = (np.float32, np.float64)
