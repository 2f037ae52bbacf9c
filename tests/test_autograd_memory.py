"""The walk adds gradients in place where nobody else holds their memory, and only there."""

import tracemalloc
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import tensorlite as tl
from tensorlite import autograd
from tensorlite.nn import functional as F


def leaf(*values: float) -> tl.Tensor:
    return tl.tensor(values, dtype=tl.float64, requires_grad=True)


class Passes(autograd.Function):
    """x + y, whose backward hands out the gradient it was given, twice."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        return x + y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g, g


class Keeps(autograd.Function):
    """2 x, whose backward returns what it has kept elsewhere too."""

    kept: Any = None

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        Keeps.kept = 2 * g
        Keeps.copy = Keeps.kept.clone()
        return Keeps.kept


class Halves(Passes):
    """x + y, whose backward returns views of one array."""

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        both = tl.cat([g, g])
        return both[: len(g)], both[: len(g)]


OPS: dict[str, Any] = {
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "sub": lambda x, y: x - y,
    "turn": lambda x, y: x.T.reshape(4, 4) + y,
    "view": lambda x, y: x.view(2, 8).view(4, 4),
    "flip": lambda x, y: x.T,
    "product": lambda x, y: x @ y,
    "pieces": lambda x, y: tl.cat([*x.split(2), y[:1]])[1:],
    "total": lambda x, y: x + y.sum(),
    "row": lambda x, y: x + y[1],
    "pick": lambda x, y: x[tl.tensor([0, 0, 3, 1])] + y,
    "same": lambda x, y: x.double().contiguous().clone(),
    "passes": Passes.apply,
    "keeps": lambda x, y: Keeps.apply(x),
    "halves": Halves.apply,
}
STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(OPS)), st.integers(0, 9), st.integers(0, 9)),
    min_size=1,
    max_size=8,
)


def gradients(steps: Any, retained: Any, gradient: Any, how: str) -> list[np.ndarray]:
    """The gradients of two leaves and of the values in `retained`, while hooks keep those of
    others. Whole numbers, so that the order of additions does not show."""
    values = [tl.tensor(np.arange(16.0).reshape(4, 4) % 3 - 1).requires_grad_() for _ in range(2)]
    for name, i, j in steps:
        value = OPS[name](values[i % len(values)], values[j % len(values)])
        values.append(value.clamp(-9, 9) if name == "product" else value)
    kept = [v for i, v in enumerate(values[2:]) if i in retained]
    for value in kept:
        value.retain_grad()
    seen: list[Any] = []
    copies: list[Any] = []
    for value in (values[0], *values[2::2]):
        value.register_hook(seen.append)
        value.register_hook(lambda g: copies.append(g.clone()))
    before = [value.array.copy() for value in (*values, gradient)]
    match how:
        case "once":
            values[-1].backward(gradient)
        case "twice":
            values[-1].backward(gradient, retain_graph=True)
            first = [
                None if v.grad is None else v.grad.numpy().copy() for v in (*values[:2], *kept)
            ]
            values[-1].backward(gradient)
            for v, g in zip((*values[:2], *kept), first, strict=True):
                assert g is None or np.array_equal(v.grad.numpy(), 2 * g)
                if g is not None:
                    v.grad.array[...] = g
        case "on tape":
            values[-1].backward(gradient, create_graph=True)
    after = [value.array for value in (*values, gradient)]
    for x, y in zip(before, after, strict=True):
        assert np.array_equal(x, y)
    assert all(map(tl.equal, seen, copies))
    if Keeps.kept is not None:
        assert tl.equal(Keeps.kept, Keeps.copy)
    leaves = [value.grad for value in (*values[:2], *kept) if value.grad is not None]
    for g in leaves:
        others = [*values, gradient, *seen, *(h for h in leaves if h is not g)]
        assert not any(np.shares_memory(g.array, o.array) for o in others)
    return [g.detach().numpy() for g in leaves]


@given(STEPS, st.sets(st.integers(0, 7)), st.booleans())
def test_whoever_else_holds_a_gradient_finds_it_unchanged(steps, retained, transposed):
    Keeps.kept = None
    g = tl.tensor(np.arange(16.0).reshape(4, 4) % 5 - 2)
    g = g.T if transposed else g
    wanted = gradients(steps, retained, g, "on tape")
    for how in ("once", "twice"):
        found = gradients(steps, retained, g, how)
        assert len(found) == len(wanted)
        for x, y in zip(found, wanted, strict=True):
            assert np.array_equal(x, y)


def test_gradients_that_nobody_else_holds_are_added_in_place():
    """Ten arrive at one place, of which two exist at a time: their sum, and the one that comes."""
    x = tl.ones(1 << 20, dtype=tl.float64).requires_grad_()

    def peak() -> int:
        y = x * 2
        total = sum((y * float(i)).sum() for i in range(10))
        del y
        x.grad = None
        tracemalloc.start()
        try:
            total.backward()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak()  # what is compiled takes memory too
    assert peak() < 2.1 * x.array.nbytes
    assert (x.grad.numpy() == 90).all()


def test_a_leaf_keeps_a_new_gradient_without_a_copy():
    made: list[Any] = []

    class Doubles(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            new = g * 2
            made.append(new.array.ctypes.data)
            return new

    x = tl.ones(1000).requires_grad_()
    Doubles.apply(x).backward(tl.ones(1000))
    assert [x.grad.array.ctypes.data] == made


def test_what_grad_was_asked_for_on_the_way_stays_what_it_was():
    x = tl.ones(5).requires_grad_()
    y = x + 0.0  # passes on the very gradient that it is given
    z = (y * 3 + x * 4).sum()
    gy, gx = autograd.grad(z, [y, x])
    assert gy.tolist() == [3] * 5 and gx.tolist() == [7] * 5


def test_several_roots_may_be_given_one_gradient():
    x = tl.ones(3).requires_grad_()
    g = tl.tensor([1.0, 2.0, 3.0])
    autograd.backward([x + 0.0, x * 1.0, x * 2], [g, g, g])
    assert x.grad.tolist() == [4, 8, 12] and g.tolist() == [1, 2, 3]


@pytest.mark.parametrize("times", [1, 2])
def test_gradients_made_on_the_tape_are_each_ones_own(times):
    x, y = (tl.ones(3).requires_grad_() for _ in range(2))
    z = (x + y).sum()
    z.backward(create_graph=True)
    for _ in range(times):
        z.backward(retain_graph=True)
    assert x.grad.tolist() == y.grad.tolist() == [1 + times] * 3


def test_the_bits_of_a_gradient_do_not_tell_who_holds_it():
    """A row that three tokens share, behind a product with the same weight."""
    ids, target = tl.tensor([3, 3, 3, 1]), tl.tensor([0, 1, 2, 3])
    weight = tl.randn(7, 5, requires_grad=True)

    def gradient(retain: bool, anomaly: bool) -> Any:
        weight.grad = None
        with autograd.set_detect_anomaly(anomaly):
            x = F.embedding(ids, weight) * 0.3
            loss = F.linear_cross_entropy(x, weight, target) + F.linear(x, weight).sum()
            loss.backward(retain_graph=retain)
        return weight.grad

    found = [gradient(retain, anomaly) for retain in (False, True) for anomaly in (False, True)]
    assert all(tl.equal(found[0], other) for other in found)


def test_leaves_that_share_a_gradient_do_not_share_its_memory() -> None:
    x, y = leaf(1.0), leaf(2.0)
    g = tl.ones(1, dtype=tl.float64)
    (x + y).backward(g)
    x.grad.fill_(5.0)
    assert y.grad.item() == 1.0 and g.item() == 1.0


def test_a_leaf_does_not_keep_what_a_vjp_or_a_hook_still_holds() -> None:
    class ReturnsSaved(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x.detach())
            return (x * x / 2).sum()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return ctx.saved_tensors[0]

    x, seen = leaf(1.0, 2.0), []
    ReturnsSaved.apply(x).backward()
    x.grad.fill_(7.0)
    assert x.tolist() == [1.0, 2.0]
    x.grad = None
    x.register_hook(seen.append)
    (x * x).sum().backward()
    x.grad.fill_(7.0)
    assert seen[0].tolist() == [2.0, 4.0]


def test_gradients_that_are_returned_share_no_memory() -> None:
    x, y, v = leaf(1.0), leaf(2.0), tl.ones(1, dtype=tl.float64)
    gx, gy = autograd.grad(x + y, [x, y], v)
    gx.fill_(5.0)
    assert gy.item() == v.item() == 1.0


def test_an_output_that_is_a_leaf_gets_its_own_gradient() -> None:
    x = tl.tensor(2.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1.0


def test_a_gradient_of_few_rows_is_added_to_what_has_arrived() -> None:
    weight = tl.randn(50, 4, requires_grad=True)
    ids = tl.tensor([3, 7, 3])
    for loss in (  # the embedding's gradient arrives first, last, alone, or twice
        lambda: (weight[:] * 2.0).sum() + F.embedding(ids, weight).sum(),
        lambda: F.embedding(ids, weight).sum() + (weight * 2.0).sum(),
        lambda: F.embedding(ids, weight).sum(),
        lambda: F.embedding(ids, weight).sum() + F.embedding(ids, weight).sum(),
    ):
        expected = tl.autograd.grad(loss(), weight, create_graph=True)[0].detach()
        (found,) = tl.autograd.grad(loss(), weight)
        assert tl.equal(found, expected)
        weight.grad = None
        loss().backward()
        loss().backward()
        assert tl.equal(weight.grad, 2 * expected)
        with tl.autograd.detect_anomaly():
            assert tl.equal(tl.autograd.grad(loss(), weight)[0], expected)


def test_a_gradient_made_in_the_forward_pass_is_copied_only_while_the_graph_stays() -> None:
    x, weight = tl.randn(6, 4, requires_grad=True), tl.randn(5, 4, requires_grad=True)
    target = tl.tensor([0, 1, 2, 3, 4, 0])

    def gradients(retain: bool) -> list[Any]:
        x.grad = weight.grad = None
        loss = F.linear_cross_entropy(x, weight, target)
        loss.backward(retain_graph=retain)
        if retain:  # what was handed out must not be what the graph still needs
            x.grad.zero_()
            weight.grad.zero_()
            loss.backward()
        return [x.grad.clone(), weight.grad.clone()]

    for once, twice in zip(gradients(False), gradients(True), strict=True):
        assert tl.equal(once, twice)


def test_pieces_of_a_gradient_in_any_layout_are_joined() -> None:
    x = tl.randn(2, 3, 4 * 5, requires_grad=True)
    heads = x.view(2, 3, 4, 5).transpose(1, 2)
    a, b = heads.split(2, dim=1)
    (tl.cat([a, b], dim=1) ** 2).sum().backward()
    assert tl.allclose(x.grad, 2 * x)


def test_gradients_given_as_pieces_of_one_array_stay_the_callers():
    x = tl.zeros(4, 3).requires_grad_()
    whole = tl.ones(4, 3)
    for _ in range(2):  # what arrives second is added to what was kept of the first
        autograd.backward(x.split(2), whole.split(2))
    assert (x.grad.numpy() == 2).all()
    assert (whole.numpy() == 1).all()
    assert not np.shares_memory(x.grad.numpy(), whole.numpy())


def test_parts_of_one_tensor_add_up_in_one_array() -> None:
    """However often, and where the parts overlap; and what else arrives is left alone."""
    x = tl.arange(12.0).view(3, 4).requires_grad_()
    parts = x[0], x[:, 1], x[1:, 1:3], x.narrow(1, 2, 2), x[2, 3], x[0]
    outside = tl.ones(3, 4)
    weights = [tl.full(part.shape, 10.0**i) for i, part in enumerate(parts)]
    tensors = [*parts, x * 1]
    autograd.backward(tensors, [*weights, outside])
    expected = np.ones((3, 4))
    expected[0] += 1
    expected[:, 1] += 10
    expected[1:, 1:3] += 100
    expected[:, 2:] += 1000
    expected[2, 3] += 10000
    expected[0] += 100000
    assert (x.grad.numpy() == expected).all()
    assert (outside.numpy() == 1).all()
