"""Floating point without warnings, for a stretch of Python: 1 / 0 is inf, silently."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy._core import umath

# Where NumPy keeps how it treats floating-point errors, and that it should not care.
_variable: Any = umath._extobj_contextvar
with np.errstate(all="ignore"):
    _careless = _variable.get()


class _Silence(threading.local):
    """`with silence:` is `with np.errstate(all="ignore"):` in a fifth of its .8 us."""

    def __init__(self) -> None:
        self.tokens: list[Any] = []  # of those inside of each other

    def __enter__(self) -> None:
        self.tokens.append(_variable.set(_careless))

    def __exit__(self, *exception: object) -> None:
        _variable.reset(self.tokens.pop())


silence = _Silence()
