"""Loops on raw arrays, compiled by Numba: the only part of the tree that knows of it."""

from tensorlite.kernels.memory import keep_freed_memory

keep_freed_memory()
