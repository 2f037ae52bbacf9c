"""The words of MT19937 (Matsumoto and Nishimura 1998), and numbers made of them, in vectors.

The generator's next 624 words need the last 624, each two of its neighbours and one 397 further: so
a vector of them at a time can be made, which the compiler sees. Its words are made into numbers
while they are in L1 (a million float32 in [0, 1): 2.0 ms in PyTorch and NumPy, here .3).

    key (624) uint32, place (1) int64: the state, changed as words are drawn; see generator.py
"""

from __future__ import annotations

import numpy as np

from tensorlite.kernels.jit import apart, inline, kernel

Array = np.ndarray

N = 624  # words of the state
_M = 397
_MATRIX, _UPPER, _LOWER = 0x9908B0DF, 0x80000000, 0x7FFFFFFF
ROOM = 1 << 11  # words that are made into numbers at a time: 8 KB


@inline
def _mixed(here, following, far):
    y = (here & _UPPER) | (following & _LOWER)
    return far ^ (y >> 1) ^ ((y & 1) * _MATRIX)


@apart
def _fill(key, place, words, n):
    """The next n words."""
    done, at = 0, place[0]
    while done < n:
        if at == N:
            for i in range(N - _M):
                key[i] = _mixed(key[i], key[i + 1], key[i + _M])
            for i in range(N - _M, N - 1):
                key[i] = _mixed(key[i], key[i + 1], key[i + _M - N])
            key[N - 1] = _mixed(key[N - 1], key[0], key[_M - 1])
            at = 0
        count = min(n - done, N - at)
        source, to = key[at : at + count], words[done : done + count]
        for i in range(count):
            y = np.uint64(source[i])
            y ^= y >> np.uint64(11)
            y ^= (y << np.uint64(7)) & np.uint64(0x9D2C5680)
            y ^= (y << np.uint64(15)) & np.uint64(0xEFC60000)
            to[i] = y ^ (y >> np.uint64(18))
        at += count
        done += count
    place[0] = at


@kernel
def words(key, place, out):
    """The words themselves: out uint32."""
    _fill(key, place, out, out.size)


@inline
def _u53(pair):
    """53 bits of two words, of which the first lies first in memory and is the upper half."""
    swapped = (pair << np.uint64(32)) | (pair >> np.uint64(32))
    return np.int64(swapped & np.uint64((1 << 53) - 1))


@kernel
def uniform(key, place, room, out):
    """Numbers in [0, 1): float32 of 24 bits of a word, or float64 of 53 of two. room: ROOM words"""
    each = out.itemsize // 4
    for start in range(0, out.size, ROOM // each):
        part = out[start : start + ROOM // each]
        _fill(key, place, room, part.size * each)
        if each == 1:
            for i in range(part.size):
                part[i] = np.float32(np.int32(room[i] & 0xFFFFFF)) * np.float32(2.0**-24)
        else:
            pairs = room.view(np.uint64)
            for i in range(part.size):
                part[i] = np.float64(_u53(pairs[i])) * 2.0**-53


@kernel
def below(key, place, room, limit, out):
    """Whether each number of 53 bits is less than limit: out bool."""
    pairs = room.view(np.uint64)
    for start in range(0, out.size, ROOM // 2):
        part = out[start : start + ROOM // 2]
        _fill(key, place, room, 2 * part.size)
        for i in range(part.size):
            part[i] = _u53(pairs[i]) < limit
