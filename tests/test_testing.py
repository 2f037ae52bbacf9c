"""gradcheck finds wrong derivatives and says where; assert_close agrees with torch's."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

import tensorlite
from tensorlite import float32, float64, int64
from tensorlite.autograd import Function
from tensorlite.testing import GradcheckError, assert_close, gradcheck, gradgradcheck

X = [[0.3, -1.2, 0.7], [2.0, 0.1, -0.4]]


def leaf(values=X, dtype=float64):
    return tensorlite.tensor(values, dtype=dtype, requires_grad=True)


class WrongAtOnePlace(Function):
    """x^2 whose gradient is 1 % too large at element (1, 2)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        factor = tensorlite.ones_like(x)
        factor[1, 2] = 1.01
        return 2 * x * g * factor


class WrongSecondDerivative(Function):
    """x^3 whose backward leaves x^2 off the tape."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x.detach() ** 2


class Fickle(Function):
    """x^2 whose backward is right up to noise."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g + 1e-9 * tensorlite.rand(2, 3, dtype=float64)


# --------------------------------------------------------------------------------------- gradcheck


def test_right_derivatives_pass():
    y = tensorlite.tensor([1.0, 2.0, 3.0], dtype=float64, requires_grad=True)
    assert gradcheck(lambda x, y: (x * y).exp(), (leaf(), y))
    assert gradcheck(lambda x: (x.sin(), x.sum(0)), leaf())
    assert gradgradcheck(lambda x, y: (x * y).exp(), (leaf(), y))
    assert gradgradcheck(lambda x: (x.sin(), x.sum(0)), leaf(), gen_non_contig_grad_outputs=True)


def test_a_wrong_derivative_is_found_and_its_element_named():
    with pytest.raises(GradcheckError, match=r"d output 0\[1, 2\] / d input 0\[1, 2\]: backward"):
        gradcheck(WrongAtOnePlace.apply, leaf())
    assert not gradcheck(WrongAtOnePlace.apply, leaf(), raise_exception=False)
    assert gradcheck(WrongAtOnePlace.apply, leaf(), rtol=0.1)


def test_only_gradgradcheck_sees_a_wrong_second_derivative():
    assert gradcheck(WrongSecondDerivative.apply, leaf())
    with pytest.raises(GradcheckError, match="d output 0"):
        gradgradcheck(WrongSecondDerivative.apply, leaf())


def test_a_backward_that_differs_from_call_to_call_is_found():
    with pytest.raises(GradcheckError, match="from call to call"):
        gradcheck(Fickle.apply, leaf())
    assert gradcheck(Fickle.apply, leaf(), nondet_tol=1e-6)


def test_an_output_off_the_tape_is_found():
    with pytest.raises(GradcheckError, match="does not require a gradient"):
        gradcheck(lambda x: x.detach() * 2, leaf())
    assert gradcheck(lambda x: x.detach() * 0, leaf())
    assert gradcheck(lambda x: (x * 2, x.detach() * 3), leaf())  # a by-product


def test_a_nan_in_a_derivative_does_not_pass():
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: (x * math.nan).sum(), leaf())


def test_inputs_that_need_no_gradient_and_whole_numbers_are_left_alone():
    mask, ids = tensorlite.tensor([True, False, True]), tensorlite.tensor([1, 0])

    def function(x, mask, ids, exponent):
        return tensorlite.where(mask, x, 0.0)[ids] ** exponent, x.argmax()

    x = leaf()
    before = x.tolist()
    assert gradcheck(function, (x, mask, ids, 2))
    assert x.tolist() == before
    assert x.grad is None


def test_views_that_require_a_gradient_can_be_checked():
    x = tensorlite.tensor(X, dtype=float64).t().requires_grad_()
    assert gradcheck(lambda x: x.exp() @ x.t(), x)


def test_gradcheck_works_inside_no_grad():
    with tensorlite.no_grad():
        assert gradcheck(lambda x: x.exp(), leaf())


def test_misuse_of_gradcheck_is_explained():
    with pytest.raises(ValueError, match="at least one input must require a gradient"):
        gradcheck(lambda x: x, tensorlite.tensor([1.0]))
    with pytest.warns(UserWarning, match="should be float64"):
        gradcheck(lambda x: x * 2, leaf(dtype=float32), eps=1e-2, atol=1e-2)
    with pytest.raises(RuntimeError, match="share memory"):
        gradcheck(lambda x: x * 2, tensorlite.ones(1, dtype=float64).expand(3).requires_grad_())


@pytest.mark.parametrize("function", ["sin", "exp", "floor", "sum", "abs"])
def test_gradcheck_and_torchs_agree(function):
    torch = pytest.importorskip("torch")
    values = [0.5, -0.25, 1e-7, 3.0]  # at 1e-7 the step crosses the kink of abs
    results = []
    for library, check in ((tensorlite, gradcheck), (torch, torch.autograd.gradcheck)):
        x = library.tensor(values, dtype=library.float64, requires_grad=True)
        results.append(check(lambda x: getattr(x, function)(), (x,), raise_exception=False))
    assert results[0] == results[1]


# ------------------------------------------------------------------------------------ assert_close

NUMBERS = st.sampled_from(
    [0.0, -0.0, 1.0, 1 + 1e-6, 1 + 2e-6, 1.1, 1e-5, 1.1e-5, 1e-7, 2e-7, 1e10, math.inf, -math.inf,
     math.nan]
)  # fmt: skip


def verdict(check, *arguments, **options):
    try:
        check(*arguments, **options)
    except AssertionError as error:
        return str(error)
    return None


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4),
    st.sampled_from(["float32", "float64"]),
    st.booleans(),
    st.sampled_from([{}, {"rtol": 0.0, "atol": 0.0}, {"rtol": 0.5, "atol": 0.1}]),
)
def test_assert_close_judges_as_torchs(pairs, dtype, equal_nan, options):
    torch = pytest.importorskip("torch")
    a, b = np.array(pairs, dtype).T
    ours = verdict(assert_close, *map(tensorlite.tensor, (a, b)), equal_nan=equal_nan, **options)
    theirs = verdict(
        torch.testing.assert_close, *map(torch.tensor, (a, b)), equal_nan=equal_nan, **options
    )
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert ours.split("\n")[:3] == theirs.split("\n")[:3]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1.0, 2.0], [1.0, 2.5]),
        ([1, 2, 3], [1, 5, 3]),
        ([[1.0, 2.0]], [[3.0, 2.0]]),
        ([True, False], [True, True]),
    ],
)
def test_assert_close_says_what_torchs_says(a, b):
    torch = pytest.importorskip("torch")
    ours = verdict(assert_close, tensorlite.tensor(a), tensorlite.tensor(b))
    theirs = verdict(torch.testing.assert_close, torch.tensor(a), torch.tensor(b))
    if isinstance(a[0], int):  # torch divides them in float32
        ours, theirs = ours.split("Greatest rel")[0], theirs.split("Greatest rel")[0]
    assert ours == theirs


def test_assert_close_looks_into_containers():
    a = {"w": [tensorlite.ones(2), 3], "n": None}
    assert_close(a, {"w": [tensorlite.ones(2), 3], "n": None})
    with pytest.raises(AssertionError, match=r"for item \['w'\]\[0\]"):
        assert_close(a, {"w": [tensorlite.zeros(2), 3], "n": None})
    with pytest.raises(AssertionError, match=r"lengths differ in \['w'\]: 2 != 1"):
        assert_close(a, {"w": [tensorlite.ones(2)], "n": None})
    with pytest.raises(AssertionError, match=r"missing \['m'\], unexpected \['n'\]"):
        assert_close(a, {"w": [tensorlite.ones(2), 3], "m": None})
    with pytest.raises(AssertionError, match="None mismatch"):
        assert_close(a, {"w": [tensorlite.ones(2), 3], "n": 0})


def test_assert_close_wants_equal_shapes_and_dtypes():
    x = tensorlite.ones(2)
    with pytest.raises(AssertionError, match=r"'shape' do not match: \(2,\) != \(1, 2\)"):
        assert_close(x, tensorlite.ones(1, 2))
    with pytest.raises(AssertionError, match="'dtype' do not match: float32 != float64"):
        assert_close(x, x.double())
    assert_close(x, x.double(), check_dtype=False)
    with pytest.raises(AssertionError, match="'stride"):
        y = tensorlite.ones(2, 3)
        assert_close(y, tensorlite.ones(3, 2).t(), check_stride=True)


def test_assert_close_tells_neighbouring_large_integers_apart():
    a = tensorlite.tensor([2**62], dtype=int64)
    assert_close(a, a.clone())
    with pytest.raises(AssertionError, match="not equal"):
        assert_close(a, a + 1)


def test_assert_close_takes_numbers_arrays_and_a_message():
    assert_close(1.0, 1.0 + 1e-9)
    assert_close(np.ones(2), np.ones(2))
    with pytest.raises(AssertionError, match=r"not close!\n\nExpected 2\.0 but got 1\.0"):
        assert_close(1.0, 2.0)
    with pytest.raises(AssertionError, match=r"^mine$"):
        assert_close(1.0, 2.0, msg="mine")
    with pytest.raises(AssertionError, match=r"^mine: Scalars"):
        assert_close(1.0, 2.0, msg=lambda text: f"mine: {text}")
    with pytest.raises(ValueError, match="both rtol and atol"):
        assert_close(1.0, 1.0, rtol=0.1)
    with pytest.raises(TypeError, match="cannot compare a str"):
        assert_close("a", "a")
