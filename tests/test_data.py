"""Datasets and loaders: PyTorch's order of examples, and its batches."""

from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given, strategies as st

import tensorlite
from tensorlite import data
from tensorlite.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)


def libraries():
    """(library, its data module) of ours and of torch."""
    torch = pytest.importorskip("torch")
    return [(tensorlite, data), (torch, torch.utils.data)]


def plain(value):
    """Tensors and containers as lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


# ---------------------------------------------------------------------------------- order and seeds


@given(
    n=st.integers(1, 40),
    batch_size=st.none() | st.integers(1, 9),
    drop_last=st.booleans(),
    shuffle=st.booleans(),
    own=st.booleans(),
)
def test_loaders_give_torchs_batches_pass_after_pass(n, batch_size, drop_last, shuffle, own):
    drop_last = drop_last and batch_size is not None
    results = []
    for library, module in libraries():
        library.manual_seed(3)
        generator = library.Generator().manual_seed(4) if own else None
        dataset = module.TensorDataset(library.arange(n), library.arange(n) * 0.5)
        loader = module.DataLoader(
            dataset, batch_size, shuffle, drop_last=drop_last, generator=generator
        )
        seen = [len(loader)]
        for _ in range(2):
            for i, batch in enumerate(loader):
                seen.append(plain(batch))
                if i == 1:
                    seen.append(library.rand(2).tolist())  # draws in between
        seen.append(library.rand(1, generator=generator).item())
        results.append(seen)
    assert results[0] == results[1]


@pytest.mark.parametrize("n", [1, 31, 32, 33, 70])
@pytest.mark.parametrize("options", [{}, {"replacement": True}, {"num_samples": 100}])
def test_random_samplers_draw_what_torchs_draw(n, options):
    results = []
    for library, module in libraries():
        library.manual_seed(5)
        own = library.Generator().manual_seed(6)
        seen = []
        for generator in (None, own):
            sampler = module.RandomSampler(range(n), generator=generator, **options)
            seen += [len(sampler), list(sampler), list(sampler)]
        results.append([seen, library.rand(1).item(), library.rand(1, generator=own).item()])
    assert results[0] == results[1]


def test_weighted_and_subset_samplers_draw_what_torchs_draw():
    results = []
    for library, module in libraries():
        library.manual_seed(5)
        weighted = module.WeightedRandomSampler([0.1, 0.9, 0.4, 0.7, 3.0, 0.6], 9)
        subset = module.SubsetRandomSampler([7, 8, 9, 20])
        results.append([list(weighted), list(subset), list(subset), library.rand(1).item()])
    assert results[0] == results[1]


@pytest.mark.parametrize("lengths", [[3, 7], [0.3, 0.3, 0.4], [0.95, 0.05], [10], [1.0]])
def test_random_split_splits_as_torchs(lengths):
    results = []
    for library, module in libraries():
        library.manual_seed(7)
        n = 10 if isinstance(lengths[0], int) else 33
        parts = module.random_split(list(range(n)), lengths)
        own = module.random_split(range(n), lengths, library.Generator().manual_seed(1))
        results.append([[list(part) for part in (*parts, *own)], library.rand(1).item()])
    assert results[0] == results[1]


def test_the_order_without_torch():
    tensorlite.manual_seed(0)
    assert [batch.tolist() for batch in DataLoader(range(10), 4, shuffle=True)] == [
        [6, 7, 1, 4],
        [2, 0, 9, 8],
        [3, 5],
    ]


@given(st.integers(1, 30), st.integers(1, 7), st.integers(0, 3))
def test_a_pass_in_random_order_gives_every_example_once(n, batch_size, seed):
    tensorlite.manual_seed(seed)
    batches = list(DataLoader(range(n), batch_size, shuffle=True))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(n))


# ----------------------------------------------------------------------------------------- datasets


class Squares(Dataset):
    def __len__(self):
        return 7

    def __getitem__(self, i):
        if i >= 7:
            raise IndexError(i)
        return i, float(i * i)


class Countdown(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n, 0, -1))


def test_a_dataset_of_ones_own_is_batched():
    batches = list(DataLoader(Squares(), batch_size=3))
    assert plain(batches[1]) == [[3, 4, 5], [9.0, 16.0, 25.0]]
    assert batches[0][0].dtype == tensorlite.int64
    assert batches[0][1].dtype == tensorlite.float64


def test_datasets_are_joined_and_cut():
    both = Squares() + Squares()
    assert len(both) == 14 and both[8] == (1, 1.0) and both[-1] == (6, 36.0)
    with pytest.raises(IndexError, match="has 14 examples, asked for number 14"):
        both[14]
    part = Subset(both, [13, 0])
    assert list(part) == [(6, 36.0), (0, 0.0)]
    assert plain(list(DataLoader(Subset(part, [1, 0]), 2))) == [[[0, 6], [0.0, 36.0]]]
    assert isinstance(both, ConcatDataset)


def test_a_dataset_may_give_a_batch_at_once():
    class AtOnce(Squares):
        calls = 0

        def __getitems__(self, indices):
            AtOnce.calls += 1
            return [self[i] for i in indices]

    assert plain(list(DataLoader(AtOnce(), 4))) == plain(list(DataLoader(Squares(), 4)))
    assert AtOnce.calls == 2


def test_a_subset_with_a_getitem_of_its_own_is_asked_for_each_example():
    class Doubled(Subset):
        def __getitem__(self, i):
            return 2 * super().__getitem__(i)

    assert plain(list(DataLoader(Doubled(range(9), [1, 2]), 2))) == [[2, 4]]


@given(st.integers(0, 12), st.none() | st.integers(1, 5), st.booleans())
def test_iterable_datasets_are_batched_as_torchs(n, batch_size, drop_last):
    drop_last = drop_last and batch_size is not None
    results = []
    for library, module in libraries():
        library.manual_seed(2)

        class Numbers(module.IterableDataset):
            def __iter__(self):
                return iter(range(n))

        loader = module.DataLoader(Numbers(), batch_size, drop_last=drop_last)
        results.append([plain(list(loader)), plain(list(loader)), library.rand(1).item()])
    assert results[0] == results[1]


def test_an_iterable_dataset_has_a_length_where_it_says_one():
    class Sized(Countdown):
        def __len__(self):
            return self.n

    assert len(DataLoader(Sized(7), 3)) == 3
    assert len(DataLoader(Sized(7), 3, drop_last=True)) == 2
    assert len(DataLoader(Sized(7), None)) == 7
    with pytest.raises(TypeError):
        len(DataLoader(Countdown(7), 3))


# ---------------------------------------------------------------------------------------- collation

Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: [1, 2],
        lambda lib: [1.5, 2.5],
        lambda lib: [True, False],
        lambda lib: ["a", "b"],
        lambda lib: [(1, "a"), (2, "b")],
        lambda lib: [[1, 2.0], [3, 4.0]],
        lambda lib: [{"x": 1, "y": [1.0]}, {"x": 2, "y": [2.0]}],
        lambda lib: [Point(1, 2.0), Point(3, 4.0)],
        lambda lib: [np.ones(2, np.float32), np.zeros(2, np.float32)],
        lambda lib: [np.float32(1), np.float32(2)],
        lambda lib: [np.int64(1), np.int64(2)],
        lambda lib: [lib.ones(2, 3), lib.zeros(2, 3)],
        lambda lib: [(lib.ones(2), np.arange(3)), (lib.zeros(2), np.arange(3))],
    ],
)
def test_batches_are_collated_as_torchs(make):
    results = []
    for library, module in libraries():
        result = module.default_collate(make(library))
        results.append((plain(result), kinds(result)))
    assert results[0] == results[1]


def kinds(value):
    """The types in a structure, dtypes by their names."""
    if hasattr(value, "dtype"):
        return str(value.dtype).split(".")[-1]
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [kinds(item) for item in value]
    return type(value).__name__


def test_gradients_flow_through_a_batch():
    x = tensorlite.ones(3, requires_grad=True)
    default_collate([x, x * 2]).sum().backward()
    assert x.grad.tolist() == [3, 3, 3]


def test_a_collate_fn_of_ones_own_makes_the_batches():
    assert list(DataLoader([3, 1, 2], 2, collate_fn=sorted)) == [[1, 3], [2]]


def test_examples_that_make_no_batch_are_told():
    with pytest.raises(RuntimeError, match="must have one shape"):
        default_collate([tensorlite.ones(2), tensorlite.ones(3)])
    with pytest.raises(RuntimeError, match="must have one length"):
        default_collate([[1, 2], [1]])
    with pytest.raises(TypeError, match="got a NoneType; pass a collate_fn"):
        default_collate([None, None])


# ------------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataLoader(Countdown(3), shuffle=True), "in its own order"),
        (lambda: DataLoader([1], sampler=[0], shuffle=True), "either a sampler or shuffle"),
        (lambda: DataLoader([1], 2, batch_sampler=[[0]]), "a batch_sampler replaces"),
        (lambda: DataLoader([1], None, drop_last=True), "there is none to drop"),
        (lambda: DataLoader([1], 0), "must be a positive number, got 0"),
        (lambda: DataLoader([], shuffle=True), "at least one example"),
        (lambda: BatchSampler([1], 1.5, False), "must be a positive number, got 1.5"),
        (lambda: RandomSampler([1], num_samples=0), "at least one example"),
        (lambda: WeightedRandomSampler([[1.0]], 1), "a sequence of weights"),
        (lambda: TensorDataset(tensorlite.ones(2), tensorlite.ones(3)), r"got \[2, 3\]"),
        (lambda: ConcatDataset([]), "at least one dataset"),
        (lambda: random_split([1, 2], [1, 2]), "must sum to the 2 examples"),
        (lambda: random_split([1, 2], [-0.5, 1.5]), r"fractions must lie in \[0, 1\]"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_empty_subset_is_warned_of():
    with pytest.warns(UserWarning, match="a subset is empty"):
        random_split([1], [0.5, 0.5])


def test_an_unfinished_class_says_what_to_define():
    with pytest.raises(NotImplementedError, match="define __getitem__"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match="define __iter__"):
        list(IterableDataset())
    with pytest.raises(NotImplementedError, match="define __iter__"):
        list(data.Sampler())


def test_samplers_and_batch_samplers_replace_the_order():
    assert plain(list(DataLoader(range(5), 2, sampler=[4, 0, 2]))) == [[4, 0], [2]]
    assert plain(list(DataLoader(range(5), batch_sampler=[[4], [0, 2]]))) == [[4], [0, 2]]
    assert len(DataLoader(range(5), batch_sampler=[[4], [0, 2]])) == 2
    assert list(DataLoader(range(3), None)) == [0, 1, 2]
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    assert len(SubsetRandomSampler([3, 4])) == 2
    assert [len(BatchSampler(range(7), 3, drop)) for drop in (False, True)] == [3, 2]
