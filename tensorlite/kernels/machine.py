"""What this machine can do at most, measured: its arithmetic peak and its memory's speed.

A kernel's distance to these two ceilings says whether it is worth more work (Williams et al. 2009,
"Roofline"). Each figure is the best of several rounds: other programs only ever slow one down.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tensorlite.kernels import parts, simd
from tensorlite.kernels.jit import get_num_threads, inline, kernel, parallel_for, set_num_threads

ROWS, COLUMNS = simd.TILE_ROWS, simd.TILE_COLUMNS
DEPTH = 64  # the panels stay in L1: 64 x 12 of a, 64 x 32 of b are 11 KB
STEPS = 2  # of a product by tile registers: 24 KB of both operands
READ = 8  # vectors a round, in chains of their own: one chain would wait for its own additions


@inline
def _multiply_add(task, out, a, b, rounds):
    """The matrix product's micro-kernel on panels that never leave L1."""
    t = simd.tile(a, ROWS, COLUMNS)
    width = COLUMNS * simd.lanes(a)
    for _ in range(rounds):
        for p in range(DEPTH):
            t = simd.outer(t, a, p * ROWS, b, p * width)
    simd.tile_store(out, task * ROWS * width, width, t)


@kernel
def _multiply_adds(out, a, b, rounds, tasks):
    parallel_for(_multiply_add, tasks, (out, a, b, rounds))


@inline
def _multiply_tiles(task, out, a, b, rounds):
    """The same of tile registers; out takes a tile of c of 32 x 32 from each task."""
    simd.tiles_begin(parts.PAIRS)
    simd.tiles_zero(2, 2)
    for i in range(rounds):
        step = i % STEPS * parts.STEP
        simd.tiles_multiply(a, step, b, step, 2, 2)
    simd.tiles_store(out, task * parts.SIZE, 2, 2)
    simd.tiles_end()


@kernel
def _multiplies_of_tiles(out, a, b, rounds, tasks):
    parallel_for(_multiply_tiles, tasks, (out, a, b, rounds))


@inline
def _read(task, out, x, size):
    """The sum of x[size * task :][:size]; size is a multiple of READ vectors."""
    w = simd.lanes(x)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = simd.zero(x)
    for i in range(task * size, (task + 1) * size, READ * w):
        s0 = s0 + simd.load(x, i)
        s1 = s1 + simd.load(x, i + w)
        s2 = s2 + simd.load(x, i + 2 * w)
        s3 = s3 + simd.load(x, i + 3 * w)
        s4 = s4 + simd.load(x, i + 4 * w)
        s5 = s5 + simd.load(x, i + 5 * w)
        s6 = s6 + simd.load(x, i + 6 * w)
        s7 = s7 + simd.load(x, i + 7 * w)
    out[task] = simd.total((s0 + s1) + (s2 + s3) + ((s4 + s5) + (s6 + s7)))


@kernel
def _reads(out, x, size, tasks):
    parallel_for(_read, tasks, (out, x, size))


@inline
def _copy(task, y, x, size):
    w = simd.lanes(x)
    for i in range(task * size, (task + 1) * size, w):
        simd.store(y, i, simd.load(x, i))


@kernel
def _copies(y, x, size, tasks):
    parallel_for(_copy, tasks, (y, x, size))


@inline
def _mark(task, marks):
    marks[task] = task


@kernel
def launch(marks):
    """One task a mark, which do nothing to speak of: what a launch costs."""
    parallel_for(_mark, marks.size, (marks,))


def peak(threads: int, seconds: float = 0.3) -> float:
    """float32 products from registers and L1, in operations a second: a multiplication and an
    addition of each term. By tile registers, where there are any; see parts.py."""
    if not simd.TILES:
        return vector_peak(threads, seconds)
    a, b = (np.ones((STEPS + 1) * parts.STEP, np.float32) for _ in range(2))
    out = np.empty(threads * parts.SIZE, np.float32)
    rounds = 10_000  # about 2 ms
    work = 2.0 * parts.SIZE * parts.DEEP * rounds * threads
    return work / _best(threads, seconds, lambda: _multiplies_of_tiles(out, a, b, rounds, threads))


def vector_peak(threads: int, seconds: float = 0.3, dtype: type[np.floating] = np.float32) -> float:
    """Fused multiply-adds of vectors from registers and L1, in operations a second (two each)."""
    width = COLUMNS * simd.REGISTER_BITS // (8 * np.dtype(dtype).itemsize)
    a, b = np.ones(ROWS * DEPTH, dtype), np.full(width * DEPTH, 1e-6, dtype)
    out = np.empty(threads * ROWS * width, dtype)
    rounds = 1000  # about 5 ms
    work = 2.0 * ROWS * width * DEPTH * rounds * threads
    return work / _best(threads, seconds, lambda: _multiply_adds(out, a, b, rounds, threads))


def read_bandwidth(threads: int, seconds: float = 0.3, megabytes: int = 256) -> float:
    """Bytes a second from a block of memory that no cache holds."""
    x, tasks, size = _block(megabytes)
    out = np.empty(tasks, x.dtype)
    return x.nbytes / _best(threads, seconds, lambda: _reads(out, x, size, tasks))


def reader(size: float, megabytes: int = 256) -> Callable[[], None]:
    """What reads so many bytes, and does nothing else, from a block that no cache holds."""
    x, tasks, length = _block(megabytes)
    out = np.empty(tasks, x.dtype)
    times, rest = divmod(int(size) // (4 * length), tasks)

    def read() -> None:
        for _ in range(times):
            _reads(out, x, length, tasks)
        _reads(out, x, length, rest)

    return read


def copy_bandwidth(threads: int, seconds: float = 0.3, megabytes: int = 256) -> float:
    """Bytes a second, read and written, from one half of such a block to the other."""
    x, tasks, size = _block(megabytes // 2)
    y = np.ones_like(x)
    return 2 * x.nbytes / _best(threads, seconds, lambda: _copies(y, x, size, tasks))


def _block(megabytes: int) -> tuple[np.ndarray, int, int]:
    """A float32 block of whole tasks of 1 MB, their number, and the elements of each."""
    return np.ones(megabytes << 18, np.float32), megabytes, 1 << 18


def _best(threads: int, seconds: float, run: Callable[[], None]) -> float:
    """The shortest of many runs on so many threads, in seconds."""
    before = get_num_threads()
    set_num_threads(threads)
    try:
        run()  # compiles
        shortest, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            run()
            shortest = min(shortest, time.perf_counter() - start)
        return shortest
    finally:
        set_num_threads(before)
