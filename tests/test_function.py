"""autograd.Function: ops of a user's own, first and second derivatives, and what they leave."""

from __future__ import annotations

from typing import Any

import pytest

import tensorlite as tl
from tensorlite.autograd import Function, grad
from tensorlite.testing import gradcheck


def leaf(*values: float) -> tl.Tensor:
    return tl.tensor(list(values), dtype=tl.float64, requires_grad=True)


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
