"""matmul in every combination of ranks, linear, and einsum against NumPy, with their gradients."""

import numpy as np
import pytest

import tensorlite
from tensorlite.nn import functional as F
from tensorlite.testing import gradcheck, gradgradcheck

RANKS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((5, 2, 3), (3, 4)),
    ((3,), (5, 3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)),
]
EQUATIONS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,kj", [(2, 3), (4, 3)]),
    ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
    ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 6)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ("bi,oij,bj->bo", [(2, 3), (4, 3, 5), (2, 5)]),
    ("i,j->ij", [(3,), (4,)]),
    ("ij,ij->", [(2, 3), (2, 3)]),
    ("ij->ji", [(2, 3)]),
    ("ijk->k", [(2, 3, 4)]),
    ("i...->...", [(2, 3, 4)]),
    ("ii", [(3, 3)]),
    ("iij->ji", [(3, 3, 2)]),
]


def random(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def leaf(array):
    return tensorlite.from_numpy(array).requires_grad_()


@pytest.mark.parametrize("left,right", RANKS)
def test_matmul_follows_numpy_in_every_rank(left, right):
    a, b = random(*left), random(*right, seed=1)
    result = tensorlite.matmul(tensorlite.from_numpy(a), tensorlite.from_numpy(b))
    assert tuple(result.shape) == (a @ b).shape
    np.testing.assert_allclose(result.numpy(), a @ b, atol=1e-12)


@pytest.mark.parametrize("left,right", RANKS)
def test_gradients_of_matmul_match_finite_differences(left, right):
    inputs = leaf(random(*left)), leaf(random(*right, seed=1))
    assert gradcheck(tensorlite.matmul, inputs)
    assert gradgradcheck(tensorlite.matmul, inputs)


@pytest.mark.parametrize("equation,shapes", EQUATIONS)
def test_einsum_follows_numpy(equation, shapes):
    arrays = [random(*shape, seed=i) for i, shape in enumerate(shapes)]
    result = tensorlite.einsum(equation, *map(tensorlite.from_numpy, arrays))
    np.testing.assert_allclose(result.numpy(), np.einsum(equation, *arrays), atol=1e-12)


@pytest.mark.parametrize("equation,shapes", EQUATIONS)
def test_gradients_of_einsum_match_finite_differences(equation, shapes):
    inputs = tuple(leaf(random(*shape, seed=i)) for i, shape in enumerate(shapes))
    assert gradcheck(lambda *xs: tensorlite.einsum(equation, *xs), inputs)


@pytest.mark.parametrize("rows", [(4,), (2, 4), (2, 3, 4)])
@pytest.mark.parametrize("biased", [True, False])
def test_linear_is_a_product_with_the_transpose_and_a_bias(rows, biased):
    x, weight, bias = random(*rows), random(5, 4, seed=1), random(5, seed=2)
    inputs = [leaf(x), leaf(weight)] + ([leaf(bias)] if biased else [])
    expected = x @ weight.T + (bias if biased else 0)
    np.testing.assert_allclose(F.linear(*inputs).detach().numpy(), expected, atol=1e-12)
    assert gradcheck(F.linear, tuple(inputs))
    assert gradgradcheck(F.linear, tuple(inputs))


@pytest.mark.parametrize("k", [5, 300])
def test_linear_equals_the_product_and_the_sum_to_the_bit(k):
    x, weight, bias = (
        tensorlite.from_numpy(random(*s, seed=i, dtype=np.float32))
        for i, s in enumerate([(9, k), (7, k), (7,)])
    )
    assert tensorlite.equal(F.linear(x, weight, bias), x @ weight.T + bias)


def test_integers_multiply_exactly():
    a, b = tensorlite.arange(6).view(2, 3), tensorlite.arange(12).view(3, 4)
    assert (a @ b).tolist() == (np.arange(6).reshape(2, 3) @ np.arange(12).reshape(3, 4)).tolist()
    assert (a @ b).dtype == tensorlite.int64


def test_the_named_products_are_matmul_with_a_fixed_rank():
    a, b, v = (tensorlite.from_numpy(random(*s)) for s in [(2, 3), (3, 4), (3,)])
    stack = tensorlite.from_numpy(random(5, 3, 2))
    assert tensorlite.equal(tensorlite.mm(a, b), a @ b)
    assert tensorlite.equal(tensorlite.mv(a, v), a @ v)
    assert tensorlite.equal(tensorlite.dot(v, v), v @ v)
    assert tensorlite.equal(tensorlite.bmm(stack, stack.mT), stack @ stack.mT)
    np.testing.assert_allclose(tensorlite.outer(v, v).numpy(), np.outer(v.numpy(), v.numpy()))


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda x: x @ tensorlite.ones(4, 5), r"matmul: inner sizes differ: \(2, 3\) @ \(4, 5\)"),
        (lambda x: x @ tensorlite.tensor(1.0), "at least one axis"),
        (lambda x: x @ tensorlite.ones(3, 2, dtype=tensorlite.float64), "one dtype"),
        (lambda x: x.expand(4, 2, 3) @ tensorlite.ones(5, 3, 2), "batch sizes do not broadcast"),
        (lambda x: tensorlite.mm(x, tensorlite.ones(3)), "mm: takes two matrices"),
        (lambda x: F.linear(x, tensorlite.ones(5, 4)), "linear: the input's last size"),
        (lambda x: F.linear(x, tensorlite.ones(5, 3), tensorlite.ones(4)), r"bias .* \(5,\)"),
        (lambda x: tensorlite.einsum("ij,jk->ik", x), "names 2 operands, got 1"),
        (lambda x: tensorlite.einsum("ijk->i", x), "must name the axes"),
        (lambda x: tensorlite.einsum("ij->iz", x), "each letter of the output"),
        (lambda x: tensorlite.einsum("ij,jk->ik", x, tensorlite.ones(4, 5)), "'j' has the sizes"),
    ],
)
def test_wrong_shapes_are_told_in_a_sentence(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(tensorlite.ones(2, 3))
