"""Memory for what a kernel keeps while it runs."""

from __future__ import annotations

import numpy as np

from tensorlite.kernels.simd.vectors import (
    address,
    overload,
    vector_type,
)

LINE = 64  # bytes of a cache line


def scratch(x, n):
    """n elements of x's type, of no value yet, that begin with a cache line.

    A vector across two lines is loaded twice, and NumPy's own memory begins 16 bytes into one.
    """
    raise NotImplementedError


@overload(scratch, allocates=True)
def _(x, n):
    line = LINE * 8 // vector_type(x).dtype.bitwidth
    size = LINE // line

    def implementation(x, n):
        block = np.empty(n + line, x.dtype)
        skip = (-address(block)) % LINE // size
        return block[skip : skip + n]

    return implementation
