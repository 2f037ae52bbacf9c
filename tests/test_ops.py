"""Every op, row by row: its value, types, layouts, its gradient and the gradient of that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tensorlite as tl
from cases import ROWS
from row import Ids, Mask, OneOf, Real, Row, Shape
from tensorlite.autograd import OPS, grad, unwrap, wrap
from tensorlite.testing import gradcheck

NAMES = [f"{i}-{row.op}" for i, row in enumerate(ROWS)]
every_row = pytest.mark.parametrize("row", ROWS, ids=NAMES)
DIFFERENTIABLE = [row for row in ROWS if row.slope and OPS[row.op].op.differentiable]
every_differentiable_row = pytest.mark.parametrize(
    "row", DIFFERENTIABLE, ids=[f"{i}-{row.op}" for i, row in enumerate(DIFFERENTIABLE)]
)


class Draw:
    """One example of a row: lengths for its letters, then random inputs and options."""

    def __init__(self, row: Row, data: Any, longest: int, dtype: Any) -> None:
        self.row, self.data, self.longest, self.dtype = row, data, longest, dtype
        self.lengths: dict[str, int] = {}
        self.rng = np.random.default_rng(data.draw(st.integers(0, 10**6), "seed"))
        self.full = tuple(data.draw(st.lists(st.integers(0, longest), max_size=3), "shape"))
        self.inputs = [self.value(x) for x in row.inputs]
        self.options = {name: self.value(x) for name, x in row.options.items()}

    def length(self, letter: str) -> int:
        if letter.isdigit():
            return int(letter)
        if letter not in self.lengths:
            least = 0 if letter.isupper() else 1
            self.lengths[letter] = self.data.draw(st.integers(least, self.longest), letter)
        return self.lengths[letter]

    def shape(self, letters: str | None) -> tuple[int, ...]:
        if letters is not None:
            return tuple(map(self.length, letters.split()))
        # Any part of the full shape that broadcasts to it.
        kept = self.full[self.data.draw(st.integers(0, len(self.full)), "axes left out") :]
        return tuple(n if self.data.draw(st.booleans(), "whole axis") else 1 for n in kept)

    def value(self, what: Any) -> Any:
        if isinstance(what, OneOf):
            return self.data.draw(st.sampled_from(what.values))
        if isinstance(what, Shape):
            return self.shape(what.letters)
        if isinstance(what, Mask):
            return np.asarray(self.rng.random(self.shape(what.shape)) < 0.5)
        if isinstance(what, Ids):
            below = what.below if isinstance(what.below, int) else self.length(what.below)
            if what.distinct:
                return self.rng.permutation(below)[: self.shape(what.shape)[0]]
            return np.asarray(self.rng.integers(0, below, self.shape(what.shape)))
        if isinstance(what, Real):
            return self.real(what)
        return what

    def real(self, what: Real) -> Any:
        shape = self.shape(what.shape)
        n = int(np.prod(shape))
        x = self.rng.uniform(what.low, what.high, shape)
        if what.distinct:
            x = (self.rng.permutation(n) - n / 2 + 0.3).reshape(shape) / 8
        for kink in what.away:
            near = np.abs(x - kink) < 0.05
            x = np.where(near, kink + np.where(x < kink, -0.1, 0.1), x)
        return np.asarray(x, self.dtype)

    def call(self, inputs: list[Any]) -> Any:
        return OPS[self.row.op](*inputs, **self.options)

    def expected(self) -> list[Any]:
        y = self.row.reference(*self.inputs, *self.options.values())
        return list(y) if isinstance(y, tuple) else [y]


def outputs(y: Any) -> list[Any]:
    return list(y) if isinstance(y, tuple) else [y]


def tensors(inputs: list[Any]) -> list[Any]:
    return [wrap(x) if isinstance(x, np.ndarray) else x for x in inputs]


def layouts(x: Any) -> list[Any]:
    """x in C order, in Fortran order, and as every second element of something larger."""
    if not isinstance(x, np.ndarray):
        return [x, x, x]
    wide = np.zeros([2 * n for n in x.shape], x.dtype)
    part = wide[(slice(None, None, 2),) * x.ndim] if x.ndim else wide
    part[...] = x
    return [x.copy(order="C"), x.copy(order="F"), part]


def test_every_op_has_a_row() -> None:
    missing = set(OPS) - {row.op for row in ROWS}
    assert not missing, f"tests/cases.py: a row is missing for {sorted(missing)}"


def test_every_row_is_of_an_op() -> None:
    assert {row.op for row in ROWS} <= set(OPS)


@every_row
@given(data=st.data())
@settings(max_examples=8)
def test_the_value_is_that_of_the_reference_in_every_type_and_layout(row: Row, data: Any) -> None:
    for dtype in row.only:
        draw = Draw(row, data, 4, dtype)
        tol = row.tol if dtype is np.float32 else row.tol**2
        expected = draw.expected()
        before = [np.copy(unwrap(x)) for x in draw.inputs]
        for inputs in zip(*map(layouts, draw.inputs), strict=True):
            results = outputs(draw.call(tensors(list(inputs))))
            assert len(results) == len(expected)
            for result, value in zip(results, expected, strict=True):
                assert type(result) is tl.Tensor
                assert result.shape == np.shape(value)
                if result.is_floating_point():
                    assert result.dtype.numpy == np.asarray(value).dtype
                np.testing.assert_allclose(result.array, value, rtol=tol, atol=tol)
            for x, y in zip(inputs, before, strict=True):
                np.testing.assert_array_equal(x, y, "an input was changed")


@every_row
@given(data=st.data())
@settings(max_examples=5)
def test_on_arrays_it_gives_arrays_of_the_same_bits(row: Row, data: Any) -> None:
    draw = Draw(row, data, 3, row.only[0])
    plain = outputs(draw.call(draw.inputs))
    for x, y in zip(plain, outputs(draw.call(tensors(draw.inputs))), strict=True):
        assert not isinstance(x, tl.Tensor)
        np.testing.assert_array_equal(x, y.array)


def differentiable_call(row: Row, data: Any) -> tuple[Any, list[Any]]:
    """A function of the inputs whose gradient is to be checked, and those inputs."""
    draw = Draw(row, data, 3, np.float64)
    at = [
        i
        for i, what in enumerate(row.inputs)
        if isinstance(what, Real) and draw.inputs[i].size <= 60
    ]
    leaves = [tl.tensor(draw.inputs[i], requires_grad=True) for i in at]

    def function(*xs: Any) -> Any:
        inputs = tensors(draw.inputs)
        for i, x in zip(at, xs, strict=True):
            inputs[i] = x
        return draw.call(inputs)

    return function, leaves


@every_differentiable_row
@given(data=st.data())
@settings(max_examples=6)
def test_the_gradient_is_the_slope(row: Row, data: Any) -> None:
    function, leaves = differentiable_call(row, data)
    assert gradcheck(function, leaves)


@pytest.mark.parametrize("row", [row for row in DIFFERENTIABLE if row.twice], ids=lambda r: r.op)
@given(data=st.data())
@settings(max_examples=4)
def test_the_gradient_of_the_gradient_is_its_slope(row: Row, data: Any) -> None:
    function, leaves = differentiable_call(row, data)
    ys = outputs(function(*leaves))
    rng = np.random.default_rng(0)
    weights = [tl.tensor(rng.uniform(0.5, 1.5, y.shape), requires_grad=True) for y in ys]

    def first(*given: Any) -> Any:
        xs, gs = given[: len(leaves)], given[len(leaves) :]
        found = grad(outputs(function(*xs)), xs, gs, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None and g.requires_grad)

    if first(*leaves, *weights):
        assert gradcheck(first, [*leaves, *weights])
