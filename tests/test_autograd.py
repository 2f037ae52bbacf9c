"""The laws of the tape: what flows back, what is freed, what is refused."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite as tl
from tensorlite import autograd
from tensorlite.autograd import Function, Node, Variable, grad
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


def test_leaves_that_share_a_gradient_do_not_share_its_memory() -> None:
    x, y = leaf(1.0), leaf(2.0)
    g = tl.ones(1, dtype=tl.float64)
    (x + y).backward(g)
    x.grad.fill_(5.0)
    assert y.grad.item() == 1.0 and g.item() == 1.0


def test_an_output_that_is_a_leaf_gets_its_own_gradient() -> None:
    x = tl.tensor(2.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1.0


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


# ---------------------------------------------------------------------------- recording or not


def test_no_grad_and_enable_grad_nest() -> None:
    x = leaf(1.0)
    with tl.no_grad():
        assert not (x * 2).requires_grad
        with tl.enable_grad():
            assert (x * 2).requires_grad
        assert not tl.is_grad_enabled()
    assert (x * 2).requires_grad


@pytest.mark.parametrize(
    "decorator", [tl.no_grad, tl.no_grad(), tl.inference_mode, tl.inference_mode()]
)
def test_the_modes_decorate(decorator: Any) -> None:
    @decorator
    def twice(x: Any) -> Any:
        return x * 2

    assert not twice(leaf(1.0)).requires_grad
    assert tl.is_grad_enabled()


def test_a_decorated_generator_leaves_its_caller_alone() -> None:
    @tl.no_grad()
    def steps() -> Iterator[bool]:
        got = yield tl.is_grad_enabled()
        yield got

    g = steps()
    assert next(g) is False
    assert tl.is_grad_enabled()
    assert g.send(True) is True


def test_set_grad_enabled_acts_at_once_and_as_a_context() -> None:
    tl.set_grad_enabled(False)
    try:
        assert not tl.is_grad_enabled()
        with tl.set_grad_enabled(True):
            assert tl.is_grad_enabled()
        assert not tl.is_grad_enabled()
    finally:
        tl.set_grad_enabled(True)
    with tl.set_grad_enabled(False):
        assert not tl.is_grad_enabled()
    assert tl.is_grad_enabled()


def test_inference_mode_can_be_told_no() -> None:
    with tl.inference_mode(False):
        assert tl.is_grad_enabled() and not tl.is_inference_mode_enabled()
    with tl.inference_mode():
        assert not tl.is_grad_enabled() and tl.is_inference_mode_enabled()


def test_the_mode_belongs_to_its_thread() -> None:
    seen = []
    with tl.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tl.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_an_exception_leaves_the_mode_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError), tl.no_grad():
        1 / 0  # noqa: B018
    assert tl.is_grad_enabled()


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


# -------------------------------------------------------------------------------------- in place


def test_a_value_changed_after_its_use_is_an_error_that_names_both_ops() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    z = y.exp()
    z.add_(1)
    with pytest.raises(RuntimeError, match=r"ExpBackward0.*modified by an inplace.*add_"):
        z.sum().backward()


def test_a_changed_value_that_nobody_needs_is_fine() -> None:
    x = leaf(1.0, 2.0)
    y = x + 1
    z = y * 3
    y.zero_()
    z.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_change_through_detach_is_noticed() -> None:
    x = leaf(1.0)
    y = x.exp()
    y.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.backward()


def test_a_leaf_that_requires_a_gradient_is_changed_under_no_grad_only() -> None:
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="view of a leaf"):
        x[0].mul_(2)
    with pytest.raises(RuntimeError, match="leaf"):
        x[0] = 1.0
    with tl.no_grad():
        x.add_(1)
        x[0] = 7.0
    assert x.item() == 7.0 and x.is_leaf and x.requires_grad


IN_PLACE = {
    "add_": lambda y, w: y.add_(w),
    "mul_ that needs the old value": lambda y, w: y.mul_(w),
    "exp_ that needs the new value": lambda y, w: y.exp_(),
    "+=": lambda y, w: y.__iadd__(w),
    "x.mul_(x)": lambda y, w: y.mul_(y),
    "lerp_, of several ops": lambda y, w: y.lerp_(w, 0.3),
    "fill_": lambda y, w: y.fill_(0.5),
    "copy_": lambda y, w: y.copy_(w),
    "masked_fill_": lambda y, w: y.masked_fill_(y > 0, 0.25),
    "y[0] = w": lambda y, w: y.__setitem__(0, w[1]),
    "y[mask] = 0": lambda y, w: y.__setitem__(y.detach() > 0, 0.0),
    "y[[1, 0]] = w": lambda y, w: y.__setitem__([1, 0], w),
    "a view, scaled": lambda y, w: y[0].mul_(3),
    "a view of a view": lambda y, w: y.view(2, -1)[0].mul_(w[:1]),
    "a strided view": lambda y, w: y.view(1, -1).t()[1:].mul_(w[1:].view(-1, 1)),
    "y[0] += w": lambda y, w: y.__setitem__(0, y[0].__iadd__(w[0])),
}


@pytest.mark.parametrize("change", IN_PLACE.values(), ids=IN_PLACE)
def test_the_gradient_through_an_in_place_change_is_the_slope(change: Any) -> None:
    def function(x: Any, w: Any) -> Any:
        y = x * 2.0
        before = y.sin()
        y = y.clone()
        change(y, w)
        return y * y + before

    assert gradcheck(function, [leaf(0.4, -0.3), leaf(0.9, 1.3)])


def test_a_view_made_before_a_change_of_its_base_follows_it() -> None:
    def function(x: Any) -> Any:
        y = x * 1.0
        early = y[1:]
        y.mul_(3.0)
        return early * early

    assert gradcheck(function, [leaf(0.4, -0.3, 0.2)])


def test_a_base_and_its_other_views_follow_a_change_of_a_view() -> None:
    def function(x: Any, w: Any) -> Any:
        y = x * 1.0
        first, last = y[:2], y[1:]
        first.mul_(w)
        return (last * last).sum() + (y * y).sum() + first.sum()

    assert gradcheck(function, [leaf(0.4, -0.3, 0.2), leaf(0.9, 1.3)])


def test_a_buffer_that_receives_recorded_values_is_on_the_tape() -> None:
    x = leaf(2.0, 3.0)
    buffer = tl.zeros(3, dtype=tl.float64)
    view = buffer[1:]
    buffer[:2] = x * x
    assert buffer.requires_grad and view.requires_grad
    (view * tl.tensor([1.0, 5.0], dtype=tl.float64)).sum().backward()
    assert x.grad.tolist() == [0.0, 6.0]


def test_a_view_made_under_no_grad_is_not_changed_in_grad_mode() -> None:
    y = leaf(1.0, 2.0) * 1
    with tl.no_grad():
        view = y[0]
    with pytest.raises(RuntimeError, match="no_grad"):
        view.mul_(leaf(2.0)[0])


def test_an_expanded_tensor_is_not_written() -> None:
    x = tl.zeros(1).expand(3)
    with pytest.raises((RuntimeError, ValueError)):
        x.add_(tl.ones(3))


def test_in_place_results_must_fit() -> None:
    x = tl.zeros(2)
    with pytest.raises(RuntimeError, match="broadcast shape"):
        x.add_(tl.ones(3, 2))
    with pytest.raises(RuntimeError, match="can't be cast"):
        tl.zeros(2, dtype=tl.int64).add_(0.5)


# ------------------------------------------------------------------------------ a user's own op


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, scale: float) -> Any:
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * x * scale

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        assert ctx.needs_input_grad == (True, False)
        (x,) = ctx.saved_tensors
        return 3 * x * x * g * ctx.scale, None


class ExpOfOutput(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.saved_tensors[0]


class SumAndProduct(Function):
    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        return x + y, x * y

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g_sum: Any, g_product: Any) -> Any:
        x, y = ctx.saved_tensors
        return g_sum + g_product * y, g_sum + g_product * x


@pytest.mark.parametrize(
    "function",
    [lambda x, y: Cube.apply(x, 2.0) * y, lambda x, y: ExpOfOutput.apply(x * y),
     lambda x, y: SumAndProduct.apply(x, y), lambda x, y: SumAndProduct.apply(x, y)[1]],
)  # fmt: skip
def test_a_users_op_has_the_gradient_it_says_and_a_second_one(function: Any) -> None:
    leaves = [leaf(0.4, -0.3), leaf(0.9, 1.3)]
    assert gradcheck(function, leaves)

    def first(*xs: Any) -> Any:
        y = function(*xs)
        y = y[0] + y[1] if isinstance(y, tuple) else y
        return tuple(grad((y * y).sum(), xs, create_graph=True))

    assert gradcheck(first, leaves)


def test_a_users_op_prints_its_name() -> None:
    assert "grad_fn=<CubeBackward>" in repr(Cube.apply(leaf(1.0), 2.0))


def test_a_users_op_that_returns_too_few_gradients_is_named() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x + y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    with pytest.raises(RuntimeError, match=r"Wrong.*2 gradients.*got 1"):
        Wrong.apply(leaf(1.0), leaf(1.0)).sum().backward()


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


# -------------------------------------------------------------------------------------- anomalies


def test_anomaly_mode_names_the_op_where_the_first_nan_arose() -> None:
    x = leaf(1.0, -1.0)
    with autograd.detect_anomaly(), pytest.raises(RuntimeError, match=r"log made the first nan"):
        (x.log() * 2).sum()


def test_anomaly_mode_names_the_op_where_the_first_infinity_arose() -> None:
    x = leaf(1.0, 0.0)
    with autograd.detect_anomaly(), pytest.raises(RuntimeError, match=r"reciprocal.*infinity"):
        x.reciprocal()


def test_anomaly_mode_names_the_op_whose_gradient_went_wrong_and_its_line() -> None:
    x = leaf(0.0)
    with autograd.detect_anomaly():
        y = x.sqrt()
        with pytest.raises(RuntimeError, match=r"SqrtBackward0.*infinity.*test_autograd.py.*sqrt"):
            y.sum().backward()


def test_a_mask_of_infinities_is_no_anomaly() -> None:
    x = leaf(1.0, 2.0)
    with autograd.detect_anomaly():
        y = x.masked_fill(tl.tensor([True, False]), float("-inf"))
        y.exp().sum().backward()
    assert x.grad.tolist() == [0.0, pytest.approx(np.exp(2.0))]


def test_anomaly_mode_is_off_unless_asked_for() -> None:
    assert not autograd.is_anomaly_enabled()
    assert leaf(-1.0).log().isnan().item()
    autograd.set_detect_anomaly(True)
    try:
        assert autograd.is_anomaly_enabled()
    finally:
        autograd.set_detect_anomaly(False)
