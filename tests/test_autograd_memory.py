"""The walk adds gradients in place where nobody else holds their memory, and only there."""

import tracemalloc
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

import tensorlite as tl
from tensorlite import autograd


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


class Halves(autograd.Function):
    """x + y, whose backward returns views of one array."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        return x + y

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


def gradients(
    steps: Any, retained: Any, gradient: Any, how: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The gradients of two leaves and of the values in `retained`; and everything that the walk
    must leave as it is. Whole numbers, so that the order of additions does not show."""
    values = [tl.tensor(np.arange(16.0).reshape(4, 4) % 3 - 1).requires_grad_() for _ in range(2)]
    for name, i, j in steps:
        value = OPS[name](values[i % len(values)], values[j % len(values)])
        values.append(value.clamp(-9, 9) if name == "product" else value)
    kept = [v for i, v in enumerate(values[2:]) if i in retained]
    for value in kept:
        value.retain_grad()
    seen: list[Any] = []
    values[0].register_hook(seen.append)
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
    if Keeps.kept is not None:
        assert tl.equal(Keeps.kept, Keeps.copy)
    leaves = [value.grad for value in (*values[:2], *kept) if value.grad is not None]
    for g in leaves:
        others = [*values, gradient, *seen, *(h for h in leaves if h is not g)]
        assert how == "on tape" or not any(np.shares_memory(g.array, o.array) for o in others)
    return [g.detach().numpy() for g in leaves], before


@given(STEPS, st.sets(st.integers(0, 7)), st.booleans())
def test_whoever_else_holds_a_gradient_finds_it_unchanged(steps, retained, transposed):
    Keeps.kept = None
    g = tl.tensor(np.arange(16.0).reshape(4, 4) % 5 - 2)
    g = g.T if transposed else g
    wanted = gradients(steps, retained, g, "on tape")[0]
    for how in ("once", "twice"):
        found = gradients(steps, retained, g, how)[0]
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
