"""The laws of the tape: what flows back, what is freed, what is refused."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite as tl
from tensorlite import autograd
from tensorlite.autograd import Function, Node, Variable, grad
from tensorlite.nn import functional as F
from tensorlite.testing import gradcheck


def leaf(*values: float) -> tl.Tensor:
    return tl.tensor(list(values), dtype=tl.float64, requires_grad=True)


# ----------------------------------------------------------------------------------------- the walk


def test_a_diamond_sends_its_gradient_on_once_it_has_all_of_it() -> None:
    calls = []

    class Counted(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            calls.append(g.item())
            return g * 2

    x = tl.tensor(3.0, requires_grad=True)
    y = Counted.apply(x)
    (y * y + y).backward()
    assert calls == [13.0]
    assert x.grad.item() == 26.0


def test_a_value_used_many_times_gets_the_sum() -> None:
    x = leaf(2.0)
    (x * x * x + x + x).sum().backward()
    assert x.grad.tolist() == [14.0]


def test_a_chain_of_5000_ops_needs_no_recursion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(5000):
        y = y + 1e-3
    y.sum().backward()
    assert x.grad.item() == 1.0


def test_a_chain_of_100000_ops_is_dropped_without_recursion() -> None:
    y = leaf(1.0)
    for _ in range(100_000):
        y = y * 1.0
    del y


@given(st.data())
@settings(max_examples=30)
def test_the_gradient_of_a_random_graph_is_its_slope(data: Any) -> None:
    plan = data.draw(
        st.lists(
            st.tuples(st.sampled_from("+*-"), st.integers(0, 30), st.integers(0, 30)),
            min_size=1,
            max_size=12,
        )
    )

    def function(*xs: Any) -> Any:
        values = list(xs)
        for kind, i, j in plan:
            a, b = values[i % len(values)], values[j % len(values)]
            values.append({"+": a + b, "*": a * b * 0.5, "-": a - b}[kind])
        return values[-1] + values[len(values) // 2]

    leaves = [leaf(0.3, -0.7), leaf(1.1), tl.ones(2, 1, dtype=tl.float64, requires_grad=True)]
    assert gradcheck(function, leaves)


def test_a_gradient_is_summed_over_broadcast_axes() -> None:
    x = tl.ones(3, 1, requires_grad=True)
    y = tl.ones(4, requires_grad=True)
    z = tl.ones((), requires_grad=True)
    (tl.ones(2, 3, 4) * x * y * z).sum().backward()
    assert x.grad.shape == (3, 1) and x.grad.tolist() == [[8.0]] * 3
    assert y.grad.tolist() == [6.0] * 4
    assert z.grad.item() == 24.0


def test_a_gradient_has_the_dtype_of_its_tensor() -> None:
    x = tl.ones(2, requires_grad=True)
    y = tl.ones(2, dtype=tl.float64, requires_grad=True)
    (x * y).sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (tl.float32, tl.float64)


def test_backward_twice_adds_up() -> None:
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]


def test_some_of_several_outputs_may_go_unused() -> None:
    x = leaf(1.0, 2.0, 3.0, 4.0)
    first, _, third = x.split([1, 2, 1])
    (first * 2 + third * 3).sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 0.0, 3.0]


# ------------------------------------------------------------------------------------ memory


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def tape_objects() -> int:
    return sum(isinstance(o, (Variable, Node)) for o in gc.get_objects())


@pytest.mark.parametrize("walk", [True, False])
def test_a_graph_dies_by_reference_count(no_collector: None, walk: bool) -> None:
    x = leaf(1.0, 2.0)

    def run() -> None:
        y = (x * x).exp()
        a, b = y.split(1)
        z = (a + b[0] + x.sum()).sum()
        z += y.sum()
        w = y * 1.0
        w[0] = 3.0 * x[1]
        if walk:
            (z + w.sum()).backward()
            x.grad = None

    run()
    before = tape_objects()
    for _ in range(5):
        run()
    assert tape_objects() == before


def test_a_function_of_the_users_leaves_nothing_behind(no_collector: None) -> None:
    class Exp(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.saved_tensors[0]

    x = leaf(1.0)
    before = tape_objects()
    Exp.apply(x)
    assert tape_objects() == before


def test_a_walk_frees_what_it_has_passed() -> None:
    x = tl.ones(1000, requires_grad=True)
    y = x.exp()
    kept = weakref.ref(y.array)
    z = (y * 1.0).sum()
    del y
    assert kept() is not None  # exp's vjp needs its result
    z.backward()
    assert kept() is None


def test_only_what_the_wanted_gradients_need_is_kept() -> None:
    x, y = tl.ones(3, requires_grad=True), tl.ones(3)
    z = x * y
    assert z.grad_fn is not None and set(z.grad_fn.saved) == {"y"}
    assert (x + y).grad_fn.saved == {}


def test_a_freed_graph_says_so() -> None:
    x = leaf(1.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"freed.*retain_graph=True"):
        y.backward()


def test_a_retained_graph_is_walked_twice() -> None:
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12.0


# ------------------------------------------------------------------------------------- grad, hooks


def test_grad_returns_and_touches_no_leaf() -> None:
    x, y = leaf(2.0), leaf(5.0)
    gx, gy = grad((x * y).sum(), [x, y])
    assert (gx.item(), gy.item()) == (5.0, 2.0)
    assert x.grad is None and y.grad is None


def test_grad_of_something_in_the_middle() -> None:
    x = leaf(2.0)
    y = x * 3
    z = y * y
    gy, gx = grad(z.sum(), [y, x])
    assert (gy.item(), gx.item()) == (12.0, 36.0)


def test_grad_walks_only_towards_its_inputs() -> None:
    class Refuses(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise AssertionError("this way leads to no input")

    x, y = leaf(1.0), leaf(1.0)
    assert grad((Refuses.apply(x) + y).sum(), y)[0].item() == 1.0


def test_an_unused_input_is_an_error_none_or_zeros() -> None:
    x, y = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match="allow_unused"):
        grad((x * 2).sum(), [x, y])
    assert grad((x * 2).sum(), [x, y], allow_unused=True)[1] is None
    assert grad((x * 2).sum(), [x, y], materialize_grads=True)[1].tolist() == [0.0]


def test_backward_with_inputs_fills_only_them() -> None:
    x, y = leaf(2.0), leaf(3.0)
    (x * y).sum().backward(inputs=[x])
    assert x.grad.item() == 3.0 and y.grad is None


def test_a_hook_sees_and_replaces_a_gradient() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert seen == [[1.0, 1.0]]
    assert x.grad.tolist() == [21.0, 21.0]
    handle.remove()
    x.grad = None
    y = x * 2
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_hook_on_a_leaf_sees_the_whole_gradient_once() -> None:
    x = leaf(1.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 2 + x * 3).sum().backward()
    assert seen == [5.0]


def test_retain_grad_keeps_the_gradient_of_a_result() -> None:
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.item() == 4.0 and y.retains_grad


# ------------------------------------------------------------------------------- second derivatives


def test_create_graph_gives_derivatives_of_any_order() -> None:
    x = leaf(0.7)
    y = x.sin().sum()
    for expected in (np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v), np.sin):
        (y,) = grad(y.sum(), x, create_graph=True)
        np.testing.assert_allclose(y.item(), expected(0.7), rtol=1e-12)


def test_backward_through_a_gradient_penalty() -> None:
    w = leaf(0.5, -1.0)
    x = leaf(2.0, 3.0)
    (g,) = grad((w * x * x).sum(), x, create_graph=True)
    (g * g).sum().backward()
    np.testing.assert_allclose(w.grad.tolist(), [8 * 0.5 * 4, 8 * -1.0 * 9])


def test_a_plain_backward_records_nothing() -> None:
    x = leaf(1.0)
    (x * x).sum().backward()
    assert not x.grad.requires_grad


# --------------------------------------------------------------------------------------- misuse


def test_backward_of_a_constant_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="does not require grad"):
        tl.ones(()).backward()


def test_backward_of_many_numbers_needs_a_gradient() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"scalar outputs, got shape \(2,\); sum or mean"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="must have the shape"):
        (x * 2).backward(tl.ones(3))


def test_only_floating_point_takes_a_gradient() -> None:
    with pytest.raises(RuntimeError, match="floating point"):
        tl.tensor([1], requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf variables"):
        (leaf(1.0) * 2).requires_grad_(False)


def op_with_vjp(returned: Any) -> Any:
    @autograd.op
    def faulty(x: Any, y: Any) -> Any:
        return x * y

    autograd.OPS.pop("faulty")
    faulty.vjp(lambda g: returned(g))
    return faulty


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda g: g, "Faulty.*must return 2 gradients"),
        (lambda g: (g[:1], g), r"Faulty.*gradient 0 must broadcast from shape \(2,\), got \(1,\)"),
        (lambda g: (g, g.astype(np.int64)), "Faulty.*gradient 1 must be floating point"),
    ],
)
def test_a_wrong_vjp_is_named(returned: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        op_with_vjp(returned)(leaf(1.0, 2.0), leaf(1.0, 2.0)).sum().backward()


def test_a_vjp_that_needs_what_its_op_does_not_give_is_named() -> None:
    @autograd.op
    def forgetful(x: Any) -> Any:
        return x * 2

    autograd.OPS.pop("forgetful")
    forgetful.rules(lambda g, scale: g * scale)
    with pytest.raises(TypeError, match=r"forgetful.*'scale'"):
        forgetful(leaf(1.0))


def test_a_tied_embedding_has_the_same_gradient_however_its_product_is_written() -> None:
    ids, x = tl.tensor([3, 7, 3]), tl.randn(3, 4)
    weight = tl.randn(50, 4, requires_grad=True)
    found = []
    for product in (lambda h: F.linear(h, weight), lambda h: h @ weight.T):
        weight.grad = None
        (product(F.embedding(ids, weight) * x) ** 2).sum().backward()
        found.append(weight.grad)
    assert tl.allclose(*found) and found[0].abs().sum() > 0


def test_an_op_of_several_says_that_it_needs_some() -> None:
    with pytest.raises((TypeError, RuntimeError, ValueError), match="cat"):
        tl.cat()


@pytest.mark.parametrize("answer", [lambda g: g.mean(0, keepdim=True), lambda g: g.double()])
def test_a_hook_must_keep_the_shape_and_dtype_of_a_gradient(answer):
    x, w = tl.ones(6, 4).requires_grad_(), tl.ones(4, 3).requires_grad_()
    y = x @ w
    y.register_hook(answer)
    with pytest.raises(RuntimeError, match="hook must return a gradient of the shape and dtype"):
        y.sum().backward()


def test_a_freed_graph_of_pieces_says_so():
    a, b = tl.ones(4).requires_grad_().split(2)
    whole = tl.cat([a, b])
    whole.sum().backward()
    with pytest.raises(RuntimeError, match="this graph was freed"):
        (a * 3).sum().backward()


def test_warnings_of_floating_point_come_back_however_a_walk_ends():
    before = np.geterr()
    x = tl.ones(2).requires_grad_()

    def hook(g):
        assert np.geterr()["divide"] == "ignore"
        with autograd.enable_grad():
            (tl.ones(2).requires_grad_() * 2).sum().backward()
        assert np.geterr()["divide"] == "ignore"
        raise KeyError

    y = x * 2
    y.register_hook(hook)
    with pytest.raises(KeyError):
        y.sum().backward()
    assert np.geterr() == before


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_is_summed_and_cast_for_an_input_that_was_both_stretched_and_converted(
    create_graph: bool,
) -> None:
    x = tl.ones(3, requires_grad=True)
    y = tl.ones(2, 3, dtype=tl.float64)
    for z in (x + y, y * x, tl.where(y > 0, x, y)):
        (g,) = tl.autograd.grad(z.sum(), x, create_graph=create_graph)
        assert g.dtype == tl.float32
        assert np.array_equal(g.detach().numpy(), [2, 2, 2])
