"""Loops on raw arrays, compiled by Numba: the only part of the tree that knows of it."""

from tensorlite.kernels.memory import align_arrays, keep_freed_memory

keep_freed_memory()
align_arrays()
