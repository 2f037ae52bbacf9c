"""Tensor: memory and views, indexing, NumPy's and Python's manners, creation, what is refused."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite as tl
from tensorlite.testing import gradcheck

# ---------------------------------------------------------------------------------- indexing


@st.composite
def shapes_and_indices(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape, and an index of ints, slices, None, Ellipsis, lists, arrays and masks that fits it.

    The mixtures that PyTorch and NumPy read differently, an int apart from an array, are left out;
    test_parity.py compares those with PyTorch.
    """
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    rows = draw(st.integers(1, 3))  # all integer arrays of an index have this length
    parts: list[Any] = []
    axis, arrays_in = 0, draw(st.booleans())
    ellipsis = draw(st.booleans())
    while axis < len(shape):
        n = shape[axis]
        kinds = ["slice", "none", "stop"] + (["array", "list", "mask"] if arrays_in else ["int"])
        kind = draw(st.sampled_from(kinds))
        if kind == "stop":
            break
        if kind == "none":
            parts.append(None)
            if len(parts) > 6:
                break
            continue
        if kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            a, b = draw(st.none() | st.integers(-n, n)), draw(st.none() | st.integers(-n, n))
            parts.append(slice(a, b, draw(st.none() | st.integers(1, 3))))
        elif kind == "mask":
            mask = np.zeros(n, np.bool_)
            mask[draw(st.permutations(range(n)))[: min(rows, n)]] = True
            if mask.sum() not in (1, rows):
                continue
            parts.append(mask)
        else:
            ids = draw(st.lists(st.integers(-n, n - 1), min_size=rows, max_size=rows))
            parts.append(ids if kind == "list" else np.array(ids))
        axis += 1
    if ellipsis and axis < len(shape):
        parts.append(Ellipsis)
    return shape, tuple(parts)


def as_tensors(index: Any) -> Any:
    """The same index with tensors in place of arrays."""
    return tuple(tl.tensor(part) if isinstance(part, np.ndarray) else part for part in index)


@given(shapes_and_indices())
@settings(max_examples=200)
def test_reading_at_an_index_is_numpys(case: Any) -> None:
    shape, index = case
    x = np.arange(float(math.prod(shape))).reshape(shape)
    y = tl.from_numpy(x)[as_tensors(index)]
    np.testing.assert_array_equal(y.numpy(), x[index])
    np.testing.assert_array_equal(tl.from_numpy(x)[index].numpy(), x[index])


@given(shapes_and_indices())
@settings(max_examples=150)
def test_writing_at_an_index_is_numpys(case: Any) -> None:
    shape, index = case
    x = np.zeros(shape)
    values = np.arange(1.0, 1.0 + x[index].size).reshape(x[index].shape)
    y = tl.from_numpy(x.copy())
    y[as_tensors(index)] = tl.tensor(values)
    x[index] = values
    np.testing.assert_array_equal(y.numpy(), x)
    y[index] = 0.5
    x[index] = 0.5
    np.testing.assert_array_equal(y.numpy(), x)


@given(shapes_and_indices())
@settings(max_examples=25)
def test_the_gradient_of_reading_and_writing_is_the_slope(case: Any) -> None:
    shape, index = case
    rng = np.random.default_rng(0)
    x = tl.tensor(rng.standard_normal(shape), requires_grad=True)
    v = tl.tensor(rng.standard_normal(x.detach().numpy()[index].shape), requires_grad=True)

    def function(x: Any, v: Any) -> Any:
        y = x * 1.0
        z = y[index].clone().sin()
        if len({*np.arange(x.numel()).reshape(shape)[index].reshape(-1).tolist()}) == v.numel():
            y[index] = v * v
        return y.sum() + (y * y).sum() + z.sum()

    assert gradcheck(function, [x, v])


def test_a_part_by_ints_and_slices_is_a_view() -> None:
    x = tl.zeros(3, 4)
    x[1][2] = 5.0
    x[:, 1:3][0, 0] = 7.0
    assert x[1, 2].item() == 5.0 and x[0, 1].item() == 7.0


def test_a_part_by_tensors_is_a_copy() -> None:
    x = tl.zeros(3)
    x[[0, 1]].fill_(1.0)
    x[x == 0].fill_(1.0)
    assert x.tolist() == [0.0, 0.0, 0.0]


def test_a_mask_from_a_column_writes_as_generation_programs_do() -> None:
    logits = tl.tensor([[1.0, 3.0, 2.0], [6.0, 4.0, 5.0]])
    v, _ = tl.topk(logits, 2)
    logits[logits < v[:, [-1]]] = -float("inf")
    assert logits.tolist() == [[-math.inf, 3.0, 2.0], [6.0, -math.inf, 5.0]]


# --------------------------------------------------------------------------------- memory and views


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.view(6, 4), lambda x: x.reshape(-1), lambda x: x.transpose(0, 2),
        lambda x: x.permute(2, 0, 1), lambda x: x[1], lambda x: x[..., None, 1:],
        lambda x: x.unsqueeze(1), lambda x: x.squeeze(), lambda x: x.flatten(1), lambda x: x.mT,
        lambda x: x.split(1, 2)[1], lambda x: x.chunk(2)[1], lambda x: x.unbind(1)[2],
        lambda x: x.narrow(1, 0, 2), lambda x: x[0].diagonal(), lambda x: x.detach(),
        lambda x: x.data, lambda x: tl.from_numpy(x.numpy()), lambda x: tl.as_tensor(x.numpy()),
    ],
)  # fmt: skip
def test_a_view_shares_memory(view: Any) -> None:
    x = tl.zeros(2, 3, 4)
    view(x).fill_(1.0)
    assert x.sum().item() > 0


@pytest.mark.parametrize(
    "copied",
    [lambda x: x.clone(), lambda x: x.mT.contiguous(), lambda x: tl.tensor(x), lambda x: x + 0,
     lambda x: x.mT.reshape(-1), lambda x: x.to(tl.float64), lambda x: x.flip(0),
     lambda x: x.to(tl.float32, copy=True), lambda x: tl.tensor(x.numpy()), copy.deepcopy],
)  # fmt: skip
def test_a_copy_does_not(copied: Any) -> None:
    x = tl.zeros(2, 3)
    copied(x).fill_(1.0)
    assert x.sum().item() == 0


def test_nothing_to_do_returns_the_tensor_itself() -> None:
    x = tl.zeros(2, 3)
    assert x.contiguous() is x and x.float() is x and x.to("cpu") is x and x.cpu() is x


def test_views_count_their_changes_together() -> None:
    x = tl.zeros(2, 3)
    before = x._version
    x[0].add_(1)
    x.view(-1).mul_(2)
    assert x._version == before + 2 == x.t()._version


# ------------------------------------------------------------------------------------------- NumPy


def test_numpy_and_back_without_a_copy() -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert tl.from_numpy(x).numpy() is x
    assert np.asarray(tl.from_numpy(x)) is x
    assert np.array(tl.ones(2), dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize("sign", ["+", "-", "*", "/", "**", "@", "<", "=="])
def test_an_array_on_the_left_leaves_the_operator_to_the_tensor(sign: str) -> None:
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    x = tl.tensor([[2.0, 0.5], [1.0, 3.0]], dtype=tl.float64, requires_grad=True)
    for line in (f"a {sign} x", f"x {sign} a"):
        y = eval(line, {"a": a, "x": x})
        assert type(y) is tl.Tensor
        assert y.requires_grad == (sign not in "<==")
        expected = eval(line, {"a": a, "x": x.detach().numpy()})
        np.testing.assert_allclose(y.detach().numpy(), expected)


def test_a_numpy_number_on_the_left_too() -> None:
    x = tl.ones(2, requires_grad=True)
    y = np.float64(3.0) * x
    assert type(y) is tl.Tensor and y.dtype == tl.float32 and y.requires_grad


def test_a_numpy_function_takes_a_tensor() -> None:
    assert np.exp(tl.zeros(2)).tolist() == [1.0, 1.0]
    assert np.stack([tl.ones(2), tl.zeros(2)]).shape == (2, 2)


def test_a_memory_map_becomes_a_tensor(tmp_path: Any) -> None:
    np.arange(10, dtype=np.uint16).tofile(tmp_path / "ids.bin")
    ids = np.memmap(tmp_path / "ids.bin", dtype=np.uint16, mode="r")
    assert tl.from_numpy(ids[2:5].astype(np.int64)).tolist() == [2, 3, 4]


def test_numbers_that_tensors_cannot_hold_are_refused_with_advice() -> None:
    with pytest.raises(TypeError, match=r"must be float32, .* got float16; convert it with astype"):
        tl.from_numpy(np.zeros(2, np.float16))


# ------------------------------------------------------------------------------------------ Python


def test_one_element_tensors_are_numbers() -> None:
    x = tl.tensor(2.5)
    assert (float(x), int(x), bool(x), x.item()) == (2.5, 2, True, 2.5)
    assert f"{x:.2f} {tl.tensor(3):03d} {x}" == "2.50 003 2.5"
    assert [10, 20, 30][tl.tensor(1)] == 20
    assert list(range(tl.tensor(3))) == [0, 1, 2]
    assert math.sqrt(tl.tensor(4.0)) == 2.0


def test_a_tensor_is_a_sequence_of_its_rows() -> None:
    x = tl.arange(6).view(3, 2)
    assert len(x) == 3 and [row.tolist() for row in x] == [[0, 1], [2, 3], [4, 5]]
    *_, last = x
    assert last.tolist() == [4, 5]
    assert 5 in x and 7 not in x


def test_a_tensor_is_a_key_by_identity() -> None:
    x, y = tl.ones(2), tl.ones(2)
    assert len({x, y, x}) == 2


def test_a_deep_copy_keeps_what_a_leaf_is() -> None:
    x = tl.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad and y.grad.tolist() == [2.0, 2.0] and y.grad is not x.grad
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 2)


def test_a_tensor_is_pickled() -> None:
    x = tl.arange(4).view(2, 2).t()
    assert pickle.loads(pickle.dumps(x)).tolist() == x.tolist()
    assert pickle.loads(pickle.dumps(tl.float32)) is tl.float32
    assert pickle.loads(pickle.dumps(x.shape)) == (2, 2)


def test_shapes_print_and_add_up_as_sizes() -> None:
    size = tl.zeros(2, 3).shape
    assert repr(size) == "torch.Size([2, 3])" and size.numel() == 6
    assert repr(size[:1]) == "torch.Size([2])" and repr(size + (4,)) == "torch.Size([2, 3, 4])"  # noqa: RUF005
    assert size == (2, 3) and isinstance(size, tuple)


def test_dtypes_print_under_the_package_s_name() -> None:
    assert repr(tl.float32) == "tensorlite.float32" and tl.float is tl.float32
    assert repr(tl.ones(1, dtype=tl.float64)) == "tensor([1.], dtype=tensorlite.float64)"


def test_the_default_dtype_can_be_changed() -> None:
    tl.set_default_dtype(tl.float64)
    try:
        assert tl.zeros(1).dtype == tl.tensor([1.0]).dtype == (tl.tensor([1]) / 2).dtype
        assert tl.get_default_dtype() == tl.float64
        assert repr(tl.zeros(1)) == "tensor([0.])"
    finally:
        tl.set_default_dtype(tl.float32)


def test_a_named_argument_may_have_pytorchs_or_numpys_name() -> None:
    x = tl.arange(6.0).view(2, 3)
    assert x.sum(dim=1).tolist() == x.sum(axis=1).tolist() == tl.sum(input=x, dim=1).tolist()
    assert x.sum(axis=1, keepdims=True).shape == (2, 1)
    assert tl.add(input=x, other=1).tolist() == tl.add(x, other=1).tolist()
    assert tl.mul(x, other=2).tolist() == (2 * x).tolist()


def test_floating_point_makes_no_noise() -> None:
    with np.errstate(all="raise"):
        x = tl.tensor([0.0, -1.0, 1e38], requires_grad=True)
        y = (1 / x) + x.log() + x * 1e38 + x.sqrt() + x**0.5 + x.exp()
        y.sum().backward()
        tl.tensor([math.nan, math.inf]).long()
        tl.zeros(0).mean()
        tl.tensor([1.0]).var()


# ------------------------------------------------------------------------------------------ misuse


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: tl.ones(2, 3) + tl.ones(4), RuntimeError, "plus: .*broadcast"),
        (lambda: tl.ones(2, 3).view(4), ValueError, "view: cannot reshape"),
        (lambda: tl.ones(2, 3).t().view(6), RuntimeError, r"use reshape\(...\)"),
        (lambda: tl.ones(3) + "a", TypeError, "tensors or numbers, got str"),
        (lambda: tl.ones(2).sum(3), IndexError, "sum: Dimension out of range"),
        (lambda: tl.ones(2).sum(nothing=1), TypeError, "nothing"),
        (lambda: tl.softmax(tl.ones(2), 0, None, 4), TypeError, "softmax: takes 3 arguments"),
        (lambda: tl.exp(), TypeError, "exp: argument 'x' is missing"),
        (lambda: tl.ones(2, device="cuda"), RuntimeError, "only 'cpu' exists"),
        (lambda: tl.ones(2).backward(), RuntimeError, "does not require grad"),
        (lambda: tl.ones(2, requires_grad=True).numpy(), RuntimeError, r"detach\(\)"),
        (lambda: tl.ones(2).no_such_thing, AttributeError, "no_such_thing"),
        (lambda: tl.tensor(["a"]), TypeError, "must be numbers"),
        (lambda: tl.tensor([[1], [2, 3]]), ValueError, "inhomogeneous"),
        (lambda: tl.arange(3)[::-1], ValueError, "step must be greater than zero"),
        (lambda: tl.arange(3)[4], IndexError, "out of bounds"),
        (lambda: tl.arange(3)[0, 0], IndexError, "too many indices"),
        (lambda: bool(tl.ones(2)), RuntimeError, "ambiguous"),
        (lambda: tl.tensor([1]).mean(), RuntimeError, "must be floating point, got int64"),
        (lambda: tl.zeros(-1), RuntimeError, "must not be negative"),
        (lambda: tl.zeros(2).split([1, 2]), RuntimeError, r"must sum to 2, got \[1, 2\]"),
    ],
)
def test_misuse_says_what_must_hold_and_what_came(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


# ---------------------------------------------------------------------------------------- exactness


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 10**6))
@settings(max_examples=40)
def test_a_row_s_sum_does_not_depend_on_the_other_rows(n: int, rows: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((rows, n)).astype(np.float32)
    for reduce in (tl.sum, tl.mean, tl.var, tl.logsumexp):
        whole = reduce(tl.tensor(x), -1).numpy()
        alone = np.concatenate([reduce(tl.tensor(x[i : i + 1]), -1).numpy() for i in range(rows)])
        assert whole.tobytes() == alone.tobytes()


def test_elementwise_bits_do_not_depend_on_the_place() -> None:
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    for name in ("exp", "log", "sin", "cos", "sqrt", "rsqrt", "tanh", "sigmoid", "square"):
        function = getattr(tl, name)
        whole = function(tl.tensor(np.abs(x))).numpy()
        for start in (1, 3, 17, 996):
            part = function(tl.tensor(np.abs(x[start:]))).numpy()
            assert whole[start:].tobytes() == part.tobytes(), name
