"""A line of kernel calls runs them again with what they were given, and passes on their errors."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tensorlite.kernels.jit import Kernel, inline, kernel, parallel_for
from tensorlite.kernels.line import Notes, line_of


@inline
def _times(task, x, factor, y, flags):
    y[task] = x[task] * factor * (1 if flags[0] else -1) + flags[1]


@kernel
def _scaled(x, factor, y, flags, nothing):
    parallel_for(_times, x.size, (x, factor, y, flags))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_line_hands_over_numbers_arrays_tuples_and_none(dtype: Any) -> None:
    with Notes() as calls:
        x, y, z = (np.arange(5, dtype=dtype) for _ in range(3))
        _scaled(x, dtype(0.1), y, (True, 7), None)
        _scaled(y[::2], dtype(-3), z[:3], (False, -1), None)
    expected = y.tobytes(), z.tobytes()
    line = line_of(calls)
    y[:], z[:3] = 0, 0
    ends = y, z
    del calls, y, z
    gc.collect()
    line()
    assert (ends[0].tobytes(), ends[1].tobytes()) == expected


@kernel
def _failing(x):
    if x[0] > 0:
        raise ValueError("not this one")


def test_an_error_of_a_kernel_is_an_error_of_the_line():
    x = np.zeros(1)
    with Notes() as calls:
        _failing(x)
    line = line_of(calls)
    line()
    x[0] = 1
    with pytest.raises(RuntimeError, match="replay: a kernel raised an error"):
        line()
    x[0] = 0
    line()


def test_a_line_does_not_start_the_threads_again() -> None:
    """They are started by the first kernel of a process, which may be captured."""
    script = """
import tensorlite
x = tensorlite.ones(1, 8)
with tensorlite.Capture() as step:
    y = x + x
(line,) = step._steps
print([kernel.__name__ for kernel, _ in line.calls])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['walk']\n"


def test_notes_may_nest_and_leave_no_trace() -> None:
    x = np.zeros(1)
    with Notes() as outer:
        _failing(x)
        with Notes() as inner:
            _failing(x)
        _failing(x)
    _failing(x)
    assert (len(outer), len(inner)) == (2, 1)
    assert "__call__" not in vars(Kernel)
