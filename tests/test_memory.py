"""Arrays begin with a cache line, large ones apart from each other; what is freed is kept, so that
the next costs no page faults."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy._core import multiarray

import tensorlite
from tensorlite.kernels.memory import LARGE, NAME, align_arrays

PROGRAM = """
import resource
import numpy as np
import tensorlite

def step():
    arrays = [np.ones(1 << 20, np.float32) for _ in range(4)]  # 4 MB each

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

step()
before = faults()
for _ in range(20):
    step()
print(faults() - before)
"""


def faults(**environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    # Small pages only: how many large ones the system grants is its own affair.
    clean |= {"NUMPY_MADVISE_HUGEPAGE": "0", **environment}
    command = [sys.executable, "-c", PROGRAM]
    output = subprocess.run(command, env=clean, check=True, capture_output=True, text=True).stdout
    return int(output)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_a_step_reuses_the_memory_of_the_one_before():
    assert faults() < 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_the_users_own_choice_is_kept():
    assert faults(MALLOC_MMAP_THRESHOLD_="65536") > 20 * 4 * 1000


def in_line(array):
    return array.ctypes.data % 64 == 0


@given(st.integers(0, 300), st.sampled_from([1, 1000, 1 << 16, 1 << 20]))
def test_arrays_begin_with_a_cache_line(size, unit):
    made = [np.empty(size * unit // 8), np.zeros(size * unit, np.uint8), np.arange(size) + 1]
    made.append(tensorlite.ones(size, 3).numpy())
    assert all(in_line(array) for array in made)
    assert not made[1].any()
    assert multiarray.get_handler_name(made[0]) == NAME


@given(st.lists(st.integers(LARGE, 4 * LARGE), min_size=2, max_size=6))
def test_large_arrays_do_not_lie_a_little_apart(sizes):
    made = [np.empty(size, np.uint8) for size in sizes]
    assert all(array.ctypes.data % 1024 == 0 for array in made)


@given(st.lists(st.integers(0, 1 << 14), min_size=1, max_size=8))
def test_a_resized_array_keeps_what_it_held_and_its_place_in_a_line(sizes):
    array = np.arange(100)
    for size in sizes:
        before = array.copy()
        array.resize(size, refcheck=False)
        kept = min(len(before), size)
        assert in_line(array)
        assert array.nbytes < LARGE or array.ctypes.data % 1024 == 0
        assert (array[:kept] == before[:kept]).all()
        assert not array[kept:].any()


def test_numpy_is_given_memory_functions_once():
    assert multiarray.get_handler_name() == NAME
    assert align_arrays() is False


def test_arrays_that_live_to_the_end_of_the_process_end_it_well():
    program = """
import builtins, sys, threading
import numpy as np
from_before = np.ones(1000)
import tensorlite

builtins.forever = [np.ones(n) for n in (1, 1000, 1 << 20)]
sys.forever = [tensorlite.ones(n) for n in (1, 1000, 1 << 20)]
elsewhere = []
thread = threading.Thread(target=lambda: elsewhere.append(np.ones(1000)))  # NumPy's own functions
thread.start(), thread.join()
sum = from_before + elsewhere.pop() + builtins.forever[1]
from_before = None
assert (sum == 3).all()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_memory_is_an_error_of_python():
    with pytest.raises(MemoryError):
        np.empty(1 << 60, np.uint8)
    with pytest.raises(MemoryError):
        np.zeros(1 << 60, np.uint8)
    array = np.ones(8, np.uint8)
    with pytest.raises(MemoryError):
        array.resize(1 << 60, refcheck=False)
    assert (array == 1).all()
