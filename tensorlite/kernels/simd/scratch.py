"""Memory for what a kernel keeps while it runs."""

from __future__ import annotations

import numpy as np

from tensorlite.kernels.simd.vectors import (
    address,
    overload,
    vector_type,
)

UNIT = 1024  # bytes; see memory.py for why no two arrays should lie a little apart in their pages


def scratch(x, n):
    """n elements of x's type, of no value yet, that begin with a quarter of a page.

    A vector across two lines is loaded twice, and NumPy's own memory begins 16 bytes into one.
    """
    raise NotImplementedError


@overload(scratch, allocates=True)
def _(x, n):
    size = vector_type(x).dtype.bitwidth // 8
    unit = UNIT // size

    def implementation(x, n):
        block = np.empty(n + unit, x.dtype)
        skip = (-address(block)) % UNIT // size
        return block[skip : skip + n]

    return implementation
