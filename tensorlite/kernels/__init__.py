"""Loops on raw arrays, compiled by Numba: the only part of the tree that knows of it."""
