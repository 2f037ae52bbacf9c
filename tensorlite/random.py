"""Random tensors: rand, randn, randint, randperm, multinomial, ...; uniform_ and others in place.

All draw from the default generator, which manual_seed starts anew, or from generator=. The same
seed and the same calls give PyTorch's numbers; generator.py says how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensorlite import dtypes
from tensorlite.autograd import Array, composed, is_grad_enabled, unwrap, wrap
from tensorlite.creation import empty, empty_like
from tensorlite.generator import Generator, default_generator
from tensorlite.ops import convert
from tensorlite.ops.methods import Methods
from tensorlite.tensor import Tensor

# -------------------------------------------------------------------------- the default generator


def manual_seed(seed: int) -> Generator:
    """Start the default generator's stream of this seed."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default generator anew with a seed from the operating system, and return it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator started with."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Where the default generator stands: a uint8 tensor, byte for byte PyTorch's."""
    state: Tensor = default_generator.get_state()
    return state


def set_rng_state(new_state: Tensor) -> None:
    """Continue the default generator from a state."""
    default_generator.set_state(new_state)


# --------------------------------------------------------------------------------------- in place


def _refill(name: str, x: Tensor, fill: Callable[[Array], None]) -> Tensor:
    """Let fill overwrite the array of x; the gradient of what was there is zero."""
    if is_grad_enabled() and (x.requires_grad or (x.base is not None and x.base.tracked)):
        draws = np.empty_like(x.array)
        convert.check_may_change(name, x)
        fill(draws)
        convert.in_place(name, convert.copy, x, draws)
    else:
        fill(x.array)
        convert.changed(name, x)
    return x


def _must_float(name: str, x: Tensor) -> None:
    if x.array.dtype.kind != "f":
        raise RuntimeError(f"{name}: needs a floating-point tensor, got {x.dtype}")


def uniform_(
    self: Tensor, low: float = 0.0, high: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite with numbers drawn uniformly from [low, high)."""
    _must_float("uniform_", self)
    if not low <= high:
        raise RuntimeError(f"uniform_: low must not exceed high, got {low} and {high}")
    stream = generator or default_generator
    return _refill("uniform_", self, lambda x: stream.uniform_(x, float(low), float(high)))


def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite with normally distributed numbers of this mean and standard deviation."""
    _must_float("normal_", self)
    if not std >= 0:
        raise RuntimeError(f"normal_: std must not be negative, got {std}")
    stream = generator or default_generator
    return _refill("normal_", self, lambda x: stream.normal_(x, float(mean), float(std)))


def exponential_(
    self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None
) -> Tensor:  # fmt: skip
    """Overwrite with numbers of density lambd exp(-lambd x)."""
    _must_float("exponential_", self)
    if not lambd > 0:
        raise RuntimeError(f"exponential_: lambd must be positive, got {lambd}")
    stream = generator or default_generator
    return _refill("exponential_", self, lambda x: stream.exponential_(x, float(lambd)))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with ones, each with probability p (a number or a tensor), and zeros."""
    stream = generator or default_generator
    if isinstance(p, Tensor):
        each = np.broadcast_to(p.array, self.array.shape)
        _check_probabilities("bernoulli_", each)
        return _refill("bernoulli_", self, lambda x: stream.bernoulli_each_(x, each))
    _check_probabilities("bernoulli_", np.asarray(p))
    return _refill("bernoulli_", self, lambda x: stream.bernoulli_(x, float(p)))


def _check_probabilities(name: str, p: Array) -> None:
    if not ((p >= 0) & (p <= 1)).all():
        raise RuntimeError(f"{name}: probabilities must lie in [0, 1], got {p.min()} to {p.max()}")


def random_(
    self: Tensor, low: int | None = None, high: int | None = None, *,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Overwrite with whole numbers from [low, high), or [0, low), or all that the dtype counts."""
    stream = generator or default_generator
    if low is None:
        count, one_word = _COUNTS[self.array.dtype.name]
        return _refill("random_", self, lambda x: stream.integers_(x, 0, count, one_word))
    start, end = (0, int(low)) if high is None else (int(low), int(high))
    _check_range("random_", start, end)
    return _refill("random_", self, lambda x: stream.integers_(x, start, end))


# How many whole numbers a dtype tells apart, from 0 on; and whether one word makes one.
_COUNTS = {
    "float32": ((1 << 24) + 1, True),
    "float64": ((1 << 53) + 1, False),
    "int64": (1 << 63, False),
    "int32": (1 << 31, True),
    "uint8": (1 << 8, True),
    "bool": (2, True),
}


def _check_range(name: str, low: int, high: int) -> None:
    if low >= high:
        raise RuntimeError(f"{name}: the range [low, high) is empty: [{low}, {high})")


# ------------------------------------------------------------------------------------ new tensors


def rand(
    *size: Any, generator: Generator | None = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """Numbers drawn uniformly from [0, 1): rand(2, 3)."""
    return uniform_(empty(*size, **rest), generator=generator).requires_grad_(requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """Normally distributed numbers of mean 0 and deviation 1: randn(2, 3)."""
    return normal_(empty(*size, **rest), generator=generator).requires_grad_(requires_grad)


def randint(
    low: Any = None,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    requires_grad: bool = False,
    **rest: Any,
) -> Tensor:
    """Whole numbers from [low, high): randint(2, 5, (3,)); from [0, high): randint(5, (3,))."""
    if size is None:
        high, size = None, high
    if size is None:
        raise TypeError("randint: needs a size: randint(high, size) or randint(low, high, size)")
    low, high = (0, low) if high is None else (low or 0, high)
    x = empty(size, dtype=dtypes.int64 if dtype is None else dtype, **rest)
    return random_(x, low, high, generator=generator).requires_grad_(requires_grad)


def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, requires_grad: bool = False,
    **rest: Any,
) -> Tensor:  # fmt: skip
    """The numbers 0 to n - 1 in random order."""
    if n < 0:
        raise RuntimeError(f"randperm: n must not be negative, got {n}")
    x = empty(n, dtype=dtypes.int64 if dtype is None else dtype, **rest)
    x.array[...] = (generator or default_generator).permutation(int(n))
    return x.requires_grad_(requires_grad)


def rand_like(
    input: Tensor, *, generator: Generator | None = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """Numbers drawn uniformly from [0, 1), in the shape and dtype of input."""
    return uniform_(empty_like(input, **rest), generator=generator).requires_grad_(requires_grad)


def randn_like(
    input: Tensor, *, generator: Generator | None = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """Normally distributed numbers, in the shape and dtype of input."""
    return normal_(empty_like(input, **rest), generator=generator).requires_grad_(requires_grad)


def randint_like(
    input: Tensor, low: int, high: int | None = None, *, generator: Generator | None = None,
    requires_grad: bool = False, **rest: Any,
) -> Tensor:  # fmt: skip
    """Whole numbers from [low, high), or [0, low), in the shape and dtype of input."""
    x = random_(empty_like(input, **rest), low, high, generator=generator)
    return x.requires_grad_(requires_grad)


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
    requires_grad: bool = False, **rest: Any,
) -> Tensor:  # fmt: skip
    """Normally distributed numbers: of one mean and std and a size, or of tensors of them."""
    means, stds = unwrap(mean), unwrap(std)
    if (np.asarray(stds) < 0).any():
        raise RuntimeError(f"normal: std must not be negative, got {np.min(stds)}")
    if size is not None:
        x = normal_(empty(size, **rest), mean, std, generator=generator)
        return x.requires_grad_(requires_grad)
    tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
    if not tensors:
        raise TypeError("normal: needs a size where neither mean nor std is a tensor")
    x = empty(np.broadcast_shapes(np.shape(means), np.shape(stds)), dtype=tensors[0].dtype)
    x.array[...] = normal_(x, generator=generator).array * stds + means
    return x.requires_grad_(requires_grad)


def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Ones and zeros: one with the probability that input says there, or p, in its dtype."""
    _must_float("bernoulli", input)
    return bernoulli_(empty_like(input), input.detach() if p is None else p, generator=generator)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Places drawn with probabilities proportional to the weights: (V) or (R, V) -> (.., samples).

    Weights must be finite, none negative, and some positive in every row; without replacement there
    must be num_samples places at least.
    """
    _must_float("multinomial", input)
    weights = np.atleast_2d(input.array)
    if weights.ndim > 2 or weights.shape[-1] == 0:
        raise RuntimeError(f"multinomial: shape must be (V) or (R, V), got {tuple(input.shape)}")
    if num_samples < 1 or (not replacement and num_samples > weights.shape[-1]):
        raise RuntimeError(
            f"multinomial: cannot draw {num_samples} of {weights.shape[-1]} places "
            f"{'with' if replacement else 'without'} replacement"
        )
    if not (np.isfinite(weights) & (weights >= 0)).all() or not (weights.sum(-1) > 0).all():
        raise RuntimeError(
            "multinomial: weights must be finite and not negative, with some of each row positive"
        )
    stream = generator or default_generator
    places = stream.multinomial(np.ascontiguousarray(weights), num_samples, replacement)
    return wrap(places if input.ndim == 2 else places[0])  # type: ignore[no-any-return]


_METHODS = (uniform_, normal_, exponential_, bernoulli_, random_, bernoulli, multinomial)
for _method in _METHODS:
    setattr(Methods, _method.__name__, composed(method=True)(_method))
