"""Changes in place: the tape follows them, or says that it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings, strategies as st

import tensorlite as tl
from tensorlite.testing import gradcheck


def leaf(*values: float) -> tl.Tensor:
    return tl.tensor(list(values), dtype=tl.float64, requires_grad=True)


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


# ------------------------------------------------------------------------------- random programs

# Values stay near 1, so that differences of the loss are precise.
VIEWS = [
    lambda t: t[1:] if t.ndim and len(t) > 1 else t[...],
    lambda t: t[0] if t.ndim else t[...],
    lambda t: t[..., ::2] if t.ndim else t[...],
    lambda t: t.transpose(0, -1),
    lambda t: t.view(-1) if t.is_contiguous() else t[...],
    lambda t: t.unsqueeze(0),
    lambda t: t.diagonal() if t.ndim == 2 else t[...],
    lambda t: t.split(1)[-1] if t.ndim else t[...],
    lambda t: t.unbind()[-1] if t.ndim else t[...],
]
CHANGES = [
    lambda t, v: t.add_(v),
    lambda t, v: t.add_(v, alpha=2),
    lambda t, v: t.mul_(v),
    lambda t, v: t.mul_(t).sin_(),
    lambda t, v: t.div_(v * v + 1),
    lambda t, v: t.sin_(),
    lambda t, v: t.sigmoid_(),
    lambda t, v: t.copy_(v),
    lambda t, v: t.zero_(),
    lambda t, v: t.lerp_(v.expand(t.shape), 0.3),
    lambda t, v: t.masked_fill_(t.detach() > 0.21, 0.1),
    lambda t, v: t.__setitem__(0, v) if t.ndim else t.fill_(v),
    lambda t, v: t.__setitem__([-1], v) if t.ndim else t.fill_(v),
]
VALUES = [
    lambda t, v: t * v,
    lambda t, v: t.sin(),
    lambda t, v: t.tanh(),
    lambda t, v: t.clone(),
    lambda t, v: (t * t).cos() + v,
]
STEPS = st.tuples(
    st.sampled_from(["view", "change", "change", "value"]),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 20),
)


@given(st.lists(STEPS, min_size=2, max_size=8))
@settings(max_examples=150)
def test_a_program_of_views_and_changes_is_right_or_refused(steps: Any) -> None:
    def program(x: Any, w: Any) -> Any:
        tensors = [x * 1.5, w * w, tl.full((2, 3), 0.3, dtype=tl.float64)]
        for kind, i, j, k in steps:
            t, other = tensors[i % len(tensors)], tensors[j % len(tensors)]
            if kind == "view":
                tensors.append(VIEWS[k % len(VIEWS)](t))
            elif kind == "change":
                CHANGES[k % len(CHANGES)](t, other.sum() * 0.1)
            else:
                tensors.append(VALUES[k % len(VALUES)](t, other.sum() * 0.1))
        return sum((t * (i + 1)).sum() for i, t in enumerate(tensors))

    x = tl.linspace(-1, 1, 6, dtype=tl.float64).view(2, 3).requires_grad_()
    w = leaf(0.3, 0.9)
    try:
        program(x, w).backward()
    except RuntimeError as error:
        assume("modified by an inplace" not in str(error))  # refused, in so many words
        raise
    assert gradcheck(program, [x, w])


@pytest.mark.parametrize("layout", ["whole", "strided", "transposed"])
@pytest.mark.parametrize("overlap", [False, True])
def test_slices_written_directly_are_those_of_a_copy(layout: str, overlap: bool) -> None:
    """Where no graph is recorded index_copy_ and its kin write into the memory of x at once."""
    wide = tl.randn(2, 3, 6, 10)
    whole = {
        "whole": wide,
        "strided": wide[:, :, :, ::2],
        "transposed": wide.transpose(2, 3),
    }[layout]
    for dim in range(4):
        n = whole.shape[dim]
        index = tl.tensor([n - 1, 0])
        x = whole.clone() if layout == "whole" else whole
        source = x.narrow(dim, n - 2, 2) if overlap else tl.randn(x.narrow(dim, 0, 2).shape)
        expected = [
            x.index_copy(dim, index, source),
            x.index_add(dim, index, source, alpha=0.5),
            x.index_fill(dim, index, 3.0),
        ]
        before = x.clone()
        for result, change in zip(
            expected,
            (
                lambda x, s, dim=dim, index=index: x.index_copy_(dim, index, s),
                lambda x, s, dim=dim, index=index: x.index_add_(dim, index, source=s, alpha=0.5),
                lambda x, s, dim=dim, index=index: x.index_fill_(dim, index, value=3.0),
            ),
            strict=True,
        ):
            version = x._version
            assert change(x, source) is x
            assert x._version == version + 1
            assert x.numpy().tobytes() == result.numpy().tobytes()
            x.copy_(before)


def test_slices_that_do_not_fit_are_named_and_leave_x_alone() -> None:
    x = tl.zeros(1, 1, 4, 2)
    for index, source, message in (
        (tl.tensor([4]), tl.ones(1, 1, 1, 2), r"index_copy_: index must lie in \[0, 4\), got 4"),
        (tl.tensor([-1]), tl.ones(1, 1, 1, 2), r"index_copy_: index must lie in \[0, 4\), got -1"),
        (tl.tensor([1]), tl.ones(1, 1, 3, 2), "index_copy_: "),
    ):
        with pytest.raises((RuntimeError, IndexError), match=message):
            x.index_copy_(2, index, source)
    assert x.sum().item() == 0
