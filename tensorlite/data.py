"""Dataset, DataLoader, samplers: batches of examples, in the order that PyTorch draws.

Everything happens in the caller's process when it asks for the next batch. num_workers and the
other arguments about processes and pinned memory are accepted, and change nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Any, Generic, TypeVar

import numpy as np

from tensorlite.creation import as_tensor, from_numpy, tensor
from tensorlite.dtypes import float64
from tensorlite.generator import Generator, default_generator
from tensorlite.ops.join import stack
from tensorlite.random import multinomial
from tensorlite.tensor import Tensor

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# ---------------------------------------------------------------------------------------- datasets


class Dataset(Generic[T_co]):
    """Examples by number: a subclass defines __getitem__(index) and __len__().

    It may define __getitems__(indices) too, which gives the examples of a batch at once.
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__}: define __getitem__(index)")

    def __add__(self, other: Dataset[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Examples one after the other: a subclass defines __iter__()."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__}: define __iter__()")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Example i is (tensors[0][i], tensors[1][i], ...)."""

    def __init__(self, *tensors: Tensor) -> None:
        sizes = [len(t) for t in tensors]
        if len(set(sizes)) != 1:
            raise ValueError(f"TensorDataset: all tensors must have one length, got {sizes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class ConcatDataset(Dataset[T_co]):
    """The examples of several datasets, one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: needs at least one dataset")

    def __len__(self) -> int:
        return sum(map(len, self.datasets))

    def __getitem__(self, index: int) -> T_co:
        place = index + len(self) if index < 0 else index
        for dataset in self.datasets:
            if 0 <= place < len(dataset):
                return dataset[place]  # type: ignore[no-any-return]
            place -= len(dataset)
        raise IndexError(f"ConcatDataset: has {len(self)} examples, asked for number {index}")


class Subset(Dataset[T_co]):
    """The examples of a dataset with these numbers."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        if type(self).__getitem__ is not Subset.__getitem__:  # a subclass has its own
            return [self[i] for i in indices]
        return _examples(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset[Any]]:
    """Subsets of these lengths, or fractions that sum to 1, drawn at random without overlap."""
    n = len(dataset)
    sizes: list[Any] = list(lengths)
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1:
        if not all(0 <= fraction <= 1 for fraction in sizes):
            raise ValueError(f"random_split: fractions must lie in [0, 1], got {sizes}")
        sizes = [math.floor(n * fraction) for fraction in sizes]
        for i in range(n - sum(sizes)):  # what rounding left over, one to each in turn
            sizes[i % len(sizes)] += 1
        if 0 in sizes:
            warnings.warn(f"random_split: a subset is empty: {sizes}", stacklevel=2)
    if sum(sizes) != n:
        raise ValueError(
            f"random_split: lengths must sum to the {n} examples, or fractions to 1, got {lengths}"
        )
    order = (generator or default_generator).permutation(n).tolist()
    ends = accumulate(sizes)
    return [Subset(dataset, order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


# ---------------------------------------------------------------------------------------- samplers


class Sampler(Generic[T_co]):
    """The numbers of examples in some order: a subclass defines __iter__() (and __len__())."""

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__}: define __iter__()")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ..."""

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """All examples in random order, or num_samples drawn with replacement.

    Without a generator each pass draws a seed from the default one, and its order from that seed.
    """

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source, self.replacement = data_source, replacement
        self._num_samples, self.generator = num_samples, generator
        if self.num_samples <= 0:
            raise ValueError(
                f"RandomSampler: needs at least one example to draw, got {self.num_samples}"
            )

    @property
    def num_samples(self) -> int:
        """How many numbers a pass gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, wanted = len(self.data_source), self.num_samples
        stream = self.generator or Generator().manual_seed(_drawn_seed(None))
        if self.replacement:
            for start in range(0, wanted, 32):
                numbers = np.empty(min(32, wanted - start), np.int64)
                stream.integers_(numbers, 0, n)
                yield from numbers.tolist()
            return
        for _ in range(wanted // n):
            yield from stream.permutation(n).tolist()
        yield from stream.permutation(n).tolist()[: wanted % n]  # PyTorch draws it even for none

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The numbers of a list in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        stream = self.generator or default_generator
        return (self.indices[i] for i in stream.permutation(len(self.indices)).tolist())

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """num_samples numbers, i drawn with probability proportional to weights[i]."""

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        self.weights = as_tensor(weights, dtype=float64)
        if self.weights.ndim != 1 or num_samples <= 0:
            raise ValueError(
                "WeightedRandomSampler: needs a sequence of weights and a positive number of "
                f"samples, got shape {tuple(self.weights.shape)} and {num_samples}"
            )
        self.num_samples, self.replacement = num_samples, replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of batch_size numbers of a sampler; the last may be shorter, unless drop_last."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or batch_size <= 0:
            raise ValueError(f"batch_size: must be a positive number, got {batch_size!r}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        numbers = iter(self.sampler)
        while batch := list(islice(numbers, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _drawn_seed(generator: Generator | None) -> int:
    """A seed as PyTorch draws it: random_() of int64."""
    number = np.empty((), np.int64)
    (generator or default_generator).integers_(number, 0, 1 << 63)
    return int(number)


# -------------------------------------------------------------------------------------- DataLoader


class DataLoader(Generic[T_co]):
    """Batches of a dataset, pass after pass: for batch in DataLoader(dataset, batch_size=8): ...

    batch_size:    examples a batch; None: no batches, examples as they are
    shuffle:       each pass in an order of its own, drawn from generator
    sampler:       gives the numbers of the examples instead
    batch_sampler: gives the lists of numbers instead
    collate_fn:    makes a batch of a list of examples; by default `default_collate`
    drop_last:     leave out the last batch if it is shorter
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError(
                "DataLoader: an IterableDataset gives its examples in its own order; leave out "
                "shuffle, sampler and batch_sampler"
            )
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: give either a sampler or shuffle, not both")
        if batch_sampler is not None and (
            batch_size != 1 or shuffle or sampler is not None or drop_last
        ):
            raise ValueError(
                "DataLoader: a batch_sampler replaces batch_size, shuffle, sampler and drop_last; "
                "leave them out"
            )
        if batch_size is None and drop_last:
            raise ValueError("DataLoader: without batches (batch_size=None) there is none to drop")
        if sampler is None and not iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else None
            sampler = sampler or SequentialSampler(dataset)
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is not None:
            batch_sampler = BatchSampler(sampler or (), batch_size, drop_last)
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.num_workers, self.pin_memory = num_workers, pin_memory
        plain = default_convert if batch_sampler is None else default_collate
        self.collate_fn = plain if collate_fn is None else collate_fn

    def __iter__(self) -> Iterator[Any]:
        # The seed that PyTorch's workers would start from: drawn so that all later draws agree.
        _drawn_seed(self.generator)
        return map(self.collate_fn, self._uncollated())

    def _uncollated(self) -> Iterator[Any]:
        if not isinstance(self.dataset, IterableDataset):
            if self.batch_sampler is None:
                return (self.dataset[i] for i in self.sampler or ())
            return (_examples(self.dataset, indices) for indices in self.batch_sampler)
        if self.batch_size is None:
            return iter(self.dataset)
        # A BatchSampler cuts any iterable into lists.
        return iter(BatchSampler(self.dataset, self.batch_size, self.drop_last))

    def __len__(self) -> int:
        """The number of batches of a pass."""
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]


def _examples(dataset: Any, indices: Sequence[int]) -> list[Any]:
    if callable(getattr(dataset, "__getitems__", None)):
        return dataset.__getitems__(indices)  # type: ignore[no-any-return]
    return [dataset[i] for i in indices]


def default_collate(batch: Sequence[Any]) -> Any:
    """One example of the form of those in the list, with a new first axis in its tensors.

    Tensors, arrays and numbers become tensors; dicts, tuples and lists are gone into; strings stay
    as they are.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        shapes = {tuple(x.shape) for x in batch}
        if len(shapes) > 1:
            raise RuntimeError(
                f"default_collate: the tensors of a batch must have one shape, got {shapes}; "
                "pad them in a collate_fn of your own"
            )
        return stack(list(batch))
    if isinstance(first, (np.ndarray, np.generic)):
        return default_collate([as_tensor(x) for x in batch])
    if isinstance(first, float):
        return tensor(batch, dtype=float64)
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([example[key] for example in batch]) for key in first}
    if isinstance(first, Sequence):
        if any(len(example) != len(first) for example in batch):
            raise RuntimeError("default_collate: the examples of a batch must have one length")
        parts = [default_collate(part) for part in zip(*batch, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    raise TypeError(
        "default_collate: examples must be tensors, arrays, numbers, strings, dicts or lists, got "
        f"a {type(first).__name__}; pass a collate_fn of your own"
    )


def default_convert(data: Any) -> Any:
    """An example with tensors in place of arrays."""
    if isinstance(data, np.ndarray) and data.dtype.kind in "fiub":
        return from_numpy(data)
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        parts = [default_convert(value) for value in data]
        return type(data)(*parts) if hasattr(data, "_fields") else parts
    return data
