"""Freed memory is kept, so that the next array costs no page faults."""

import os
import platform
import subprocess
import sys

import pytest

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
