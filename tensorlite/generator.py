"""Generator: PyTorch's stream of random numbers on the CPU, drawn as arrays.

The stream is that of MT19937 (Matsumoto and Nishimura 1998), 32-bit words, seeded as NumPy's
RandomState seeds it, and each kind of number is made of the words as PyTorch makes it: one seed
gives the weights, batches and samples that books and lectures print. Draws are exact, normal ones
in float32 up to the last bit or two of logarithm and cosine.
"""

from __future__ import annotations

import math
import os
import secrets
import struct
import threading
from collections.abc import Iterator
from typing import Any, TypeAlias, cast

import numpy as np

from tensorlite.autograd import Array, unwrap, watch, wrap
from tensorlite.device import check_device, device as device_type
from tensorlite.kernels import twister
from tensorlite.kernels.shuffle import swap_

_State: TypeAlias = tuple[str, Array, int, int, float]  # of NumPy's RandomState

DEFAULT_SEED = 67280421310721  # of a new Generator, as in PyTorch
CHUNK = 1 << 16  # numbers made at a time: what is between words and numbers stays in the cache
MANY = 1 << 14  # numbers to be shuffled that are worth the kernel, which is compiled in .3 s
# 32-bit words below this are taken one a number; PyTorch takes two for larger ranges.
ONE_WORD = 1 << 28


class Generator:
    """A stream of random numbers of its own: Generator().manual_seed(3)."""

    # Kernels run while other Python threads do; whoever holds the one has the use of the other.
    _lock, _room = threading.Lock(), np.empty(twister.ROOM, np.uint32)

    def __init__(self, device: Any = "cpu") -> None:
        check_device(device)
        self.manual_seed(DEFAULT_SEED)

    @property
    def device(self) -> device_type:
        """Where it draws: cpu."""
        return device_type()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of this seed. Negative seeds count down from 2^64."""
        seed = int(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            raise RuntimeError(f"manual_seed: the seed must lie in [-2^63, 2^64), got {seed}")
        self._seed = seed % (1 << 64)
        seeded = np.random.RandomState(self._seed & 0xFFFFFFFF).get_state(legacy=True)
        self._begin(*cast(_State, seeded)[1:3])
        self._next_normal: float | None = None
        return self

    def _begin(self, words: Array, place: int) -> None:
        """Let the stream stand here: its last 624 words, and which of them comes next."""
        key, at = np.array(words, np.uint32), np.array([place], np.int64)
        with self._lock:
            self._key, self._place = key, at

    def seed(self) -> int:
        """Start anew with a seed from the operating system, and return it."""
        self.manual_seed(secrets.randbits(64))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that the stream started with."""
        return self._seed

    # ------------------------------------------------------------------------------------- state

    def get_state(self) -> Any:
        """Where the stream stands: a uint8 tensor of 5056 elements, byte for byte PyTorch's."""
        with self._lock:
            key, position = self._key.copy(), int(self._place[0])
        fresh = position == 624 and key[0] == self._seed & 0xFFFFFFFF  # nothing was drawn
        header = _HEADER.pack(self._seed, 625 - position, 1, 0 if fresh else position)
        normal = self._next_normal
        tail = _TAIL.pack(0.0, normal or 0.0, 0.0, normal is not None, 0.0, False)
        state = header + np.asarray(key).astype("<u8").tobytes() + tail
        return wrap(np.frombuffer(state, np.uint8).copy())

    def set_state(self, new_state: Any) -> None:
        """Continue the stream from where get_state() was taken, here or in PyTorch."""
        state = np.asarray(unwrap(new_state))
        if state.dtype != np.uint8 or state.shape != (STATE_BYTES,):
            raise TypeError(
                f"set_state: must be a uint8 tensor of {STATE_BYTES} elements from get_state(), "
                f"got {state.dtype} of shape {state.shape}"
            )
        content = state.tobytes()
        seed, left, seeded, position = _HEADER.unpack_from(content)
        position = 624 if left == 1 else position
        if not seeded or not 0 < position <= 624:
            raise RuntimeError("set_state: these bytes are no state of a generator")
        self._seed = seed
        key = np.frombuffer(content, "<u8", 624, _HEADER.size).astype(np.uint32)
        self._begin(key, position)
        _, normal, _, valid, _, _ = _TAIL.unpack_from(content, _HEADER.size + 624 * 8)
        self._next_normal = normal if valid else None

    def clone_state(self) -> Generator:
        """Another generator that continues as this one."""
        clone = Generator()
        clone.set_state(self.get_state())
        return clone

    def __reduce__(self) -> Any:
        return _from_state, (unwrap(self.get_state()),)

    # ------------------------------------------------------------------------------------- words

    def words(self, n: int) -> Array:
        """The next n words: uint32."""
        watch.constant("random numbers")
        words = np.empty(n, np.uint32)
        with self._lock:
            twister.words(self._key, self._place, words)
        return words

    def pairs(self, n: int) -> Array:
        """n numbers of two words, the first one above: uint64."""
        words = self.words(2 * n)
        return words[0::2].astype(np.uint64) << np.uint64(32) | words[1::2]

    def u53(self, n: int) -> Array:
        """n numbers in [0, 1) of 53 bits: float64."""
        return self._uniform(np.empty(n))

    def u24(self, n: int) -> Array:
        """n numbers in [0, 1) of 24 bits: float32."""
        return self._uniform(np.empty(n, np.float32))

    def _uniform(self, x: Array) -> Array:
        """x, filled with numbers in [0, 1)."""
        watch.constant("random numbers")
        with self._lock:
            twister.uniform(self._key, self._place, self._room, x)
        return x

    # ------------------------------------------------------------------ into arrays, in their order

    def uniform_(self, x: Array, low: float = 0.0, high: float = 1.0) -> None:
        """Fill x, float32 or float64, with numbers in [low, high)."""
        for part in _chunks(x):
            u = self.u24(part.size) if x.dtype == np.float32 else self.u53(part.size)
            _put(part, u, low, high - low)

    def normal_(self, x: Array, mean: float = 0.0, std: float = 1.0) -> None:
        """Fill x, float32 or float64, with normally distributed numbers (Box and Muller 1958)."""
        if x.size >= 16 and x.flags.c_contiguous:
            self._normal_blocks(x.reshape(-1), mean, std)
        else:
            for part in _chunks(x):
                normals = [self._one_normal() * std + mean for _ in range(part.size)]
                part[...] = np.reshape(normals, part.shape)

    def _normal_blocks(self, x: Array, mean: float, std: float) -> None:
        """Blocks of 16: 8 distances and 8 angles give 16 numbers. The last block may overlap."""
        uniform = self.u24 if x.dtype == np.float32 else self.u53
        whole = x.size // 16 * 16
        for start in range(0, whole, CHUNK):
            part = x[start : min(start + CHUNK, whole)]
            _put(part, _box_muller(uniform(part.size)), mean, std)
        if whole < x.size:
            # PyTorch fills the whole of x with uniforms first: those of the tail go unused.
            uniform(x.size - whole)
            _put(x[-16:], _box_muller(uniform(16)), mean, std)

    def _one_normal(self) -> float:
        """Two at a time: the second is kept for the next call."""
        watch.constant("random numbers")
        if self._next_normal is None:
            turn, distance = self.u53(2).tolist()
            r = math.sqrt(-2 * math.log1p(-distance))
            self._next_normal = r * math.sin(2 * math.pi * turn)
            return r * math.cos(2 * math.pi * turn)
        normal, self._next_normal = self._next_normal, None
        return normal

    def exponential_(self, x: Array, rate: float = 1.0) -> None:
        """Fill x with exponentially distributed numbers of mean 1 / rate."""
        for part in _chunks(x):
            part[...] = (-1 / rate * np.log1p(-self.u53(part.size))).reshape(part.shape)

    def integers_(self, x: Array, low: int, high: int, one_word: bool | None = None) -> None:
        """Fill x, of any type, with whole numbers in [low, high), each of one word, or of two."""
        span = high - low
        for part in _chunks(x):
            draws: Array
            if span < ONE_WORD if one_word is None else one_word:
                draws = self.words(part.size) % np.uint32(span)
            else:
                draws = self.pairs(part.size) % np.uint64(span)
            part[...] = (draws.astype(np.int64) + low).reshape(part.shape)

    def bernoulli_(self, x: Array, p: float) -> None:
        """Fill x, of any type, with ones, each with probability p, and zeros."""
        watch.constant("random numbers")
        limit = math.ceil(p * 2.0**53)  # u53 < p, asked of the bits
        for part in _chunks(x):
            ready = part.dtype == np.bool_ and part.flags.c_contiguous
            ones = part.reshape(-1) if ready else np.empty(part.size, np.bool_)
            with self._lock:
                twister.below(self._key, self._place, self._room, limit, ones)
            if not ready:
                part[...] = ones.reshape(part.shape)

    def bernoulli_each_(self, x: Array, p: Array) -> None:
        """Fill x with ones, each with its own probability in p (of the shape of x), and zeros."""
        uniform = self.u53 if p.dtype == np.float64 else self.u24
        x[...] = (uniform(p.size) < p.reshape(-1)).reshape(x.shape)

    # -------------------------------------------------------------------------------- new arrays

    def keep_mask(self, shape: tuple[int, ...], p: float) -> Array:
        """True with probability p: bool, what dropout(1 - p) keeps."""
        mask = np.empty(shape, np.bool_)
        self.bernoulli_(mask, p)
        return mask

    def permutation(self, n: int) -> Array:
        """The numbers 0 to n - 1 in random order: int64 (Fisher and Yates)."""
        remaining = np.arange(n, 1, -1)
        partners = self.words(max(n - 1, 0)) % remaining + np.arange(max(n - 1, 0))
        if n >= MANY:
            numbers = np.arange(n)
            swap_(numbers, partners)
            return numbers
        order = list(range(n))
        for i, j in enumerate(partners.tolist()):
            order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)

    def multinomial(self, weights: Array, samples: int, replacement: bool) -> Array:
        """Places drawn with probability weight / row sum: (R, V) -> (R, samples).

        Without replacement, and for one sample: the largest of weight / an exponential draw.
        """
        if replacement and samples > 1:
            u = self.u53(len(weights) * samples).reshape(-1, samples)
            sums = np.cumsum(weights, -1, dtype=weights.dtype)
            sums /= sums[:, -1:]
            rows = [np.searchsorted(row, draws) for row, draws in zip(sums, u, strict=True)]
            return np.array(rows, np.int64).reshape(-1, samples)
        race = np.empty_like(weights)
        self.exponential_(race)
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide(weights, race, out=race)
        if samples == 1:
            return np.asarray(race.argmax(-1, keepdims=True))
        return np.argsort(-race, -1, kind="stable")[:, :samples]


_HEADER = struct.Struct("<QiiQ")  # seed, words left before the next twist (+ 1), seeded, position
_TAIL = struct.Struct("<dddi4xf?3x")  # -, the second normal, -, whether there is one, -, -
STATE_BYTES = _HEADER.size + 624 * 8 + _TAIL.size


def _from_state(state: Array) -> Generator:
    generator = Generator()
    generator.set_state(state)
    return generator


def _chunks(x: Array) -> Iterator[Array]:
    """Parts of x to write to, in the order of its memory, as PyTorch fills tensors."""
    if x.flags.c_contiguous:
        flat = x.reshape(-1)
        for start in range(0, x.size, CHUNK):
            yield flat[start : start + CHUNK]
    elif x.size:
        yield x.transpose(sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis])))


def _put(part: Array, draws: Array, offset: float, scale: float) -> None:
    """part = draws * scale + offset, rounded once as by a fused multiply-add."""
    if scale != 1.0 or offset != 0.0:
        kind = part.dtype.type
        draws = draws * np.float64(kind(scale)) + np.float64(kind(offset))
    part[...] = draws.reshape(part.shape)


def _box_muller(u: Array) -> Array:
    """Uniform numbers in blocks of 16 -> normal ones."""
    kind = u.dtype.type
    blocks = u.reshape(-1, 2, 8)
    r = np.sqrt(kind(-2) * np.log(1 - blocks[:, 0]))
    angle = kind(2 * math.pi) * blocks[:, 1]
    return np.stack([r * np.cos(angle), r * np.sin(angle)], 1).reshape(-1)


def _forget_lock() -> None:
    """In a forked process: whoever held it is not there."""
    Generator._lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)
default_generator = Generator()
default_generator.seed()
