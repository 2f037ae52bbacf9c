"""NumPy's loops on our threads, and choices without branches: NumPy's results, to the bit."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from numpy._core import umath

import tensorlite as tl
from tensorlite.kernels import loops
from tensorlite.kernels.choose import choose
from tensorlite.kernels.loops import SMALL, SPAN, on_threads, reduce_on_threads
from tensorlite.kernels.ordered import ordered

OPS = Path(tl.__file__).parent / "ops"
USED = sorted(
    {
        name
        for path in OPS.glob("*.py")
        for name in re.findall(r"(?:pointwise|change)\(np\.(\w+),", path.read_text())
    }
)
LENGTH = 2 * SPAN + 13


@pytest.fixture(autouse=True)
def _two_threads():
    before = tl.get_num_threads()
    tl.set_num_threads(2)
    yield
    tl.set_num_threads(before)


def same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def numbers(shape, kind, seed=0):
    """Some of them special."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal(shape) * 3).astype(kind)
    if np.dtype(kind).kind == "f":
        flat = x.reshape(-1)
        flat[: flat.size // 8] = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan], flat.size // 8)
    return x


# ---------------------------------------------------------------------------------------- pointwise


def test_there_are_functions_to_try():
    assert len(USED) > 40
    assert {"add", "exp", "less"} <= set(USED)


@pytest.mark.parametrize("name", [*USED, "clip"])
@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "bool"])
def test_a_function_in_shares_gives_the_bits_of_the_whole(name, kind):
    function = umath.clip if name == "clip" else getattr(np, name)
    inputs = tuple(numbers(LENGTH, kind, i) for i in range(function.nin))
    with np.errstate(all="ignore"):
        try:
            want = function(*inputs)
        except (TypeError, ValueError):  # not of these types; a negative power of a whole number
            return
        got = on_threads(function, inputs)
    if kind.startswith("float"):
        assert got is not None, "NumPy's loop was not found: has the layout of a ufunc changed?"
    assert got is None or same_bits(got, want)


@given(
    shapes=mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=4, max_side=5),
    kind=st.sampled_from(["float32", "float64", "int64"]),
    permute=st.randoms(use_true_random=False),
    seed=st.integers(0, 99),
)
@settings(max_examples=300)
def test_any_shapes_and_layouts_give_numpys_result(shapes, kind, permute, seed):
    """Transposed, in steps, stretched; also how the result lies in memory is NumPy's."""
    arrays = []
    for i, shape in enumerate(shapes.input_shapes):
        axes = permute.sample(range(len(shape)), len(shape))
        steps = [permute.choice([1, 1, 2]) for _ in shape]
        base = numbers(
            [shape[axis] * step for axis, step in zip(axes, steps, strict=True)], kind, i + seed
        )
        base = base[tuple(slice(None, None, step) for step in steps)]
        arrays.append(np.asarray(base).transpose(np.argsort(axes)))
    got = on_threads(np.add, tuple(arrays))
    with np.errstate(all="ignore"):
        want = np.add(*arrays)
    if got is not None:
        assert same_bits(got, want)
        assert _steps(got) == _steps(want)


def _steps(x):
    return [step for step, n in zip(x.strides, x.shape, strict=True) if n > 1]


@pytest.mark.parametrize("shape", [(LENGTH,), (70, 900), (3, 50, 400)])
def test_rows_columns_and_numbers_are_stretched(shape):
    x = numbers(shape, "float32")
    row, column = x[..., :1, :] if x.ndim > 1 else x, np.ascontiguousarray(x[..., :1])
    for y in (row, column, 2.5, np.float32(2.5), 3):
        for pair in ((x, y), (y, x)):
            with np.errstate(all="ignore"):
                got, want = on_threads(np.multiply, pair), np.multiply(*pair)
            assert got is not None or x.ndim == 3
            assert got is None or same_bits(got, want)


def test_a_result_goes_where_an_input_is_and_nowhere_else():
    x, y = numbers((300, 200), "float32"), numbers((300, 200), "float32", 1)
    with np.errstate(all="ignore"):
        want = x - y
        assert on_threads(np.subtract, (x, y), x) is x
    assert same_bits(x, want)
    before = x.copy()
    assert on_threads(np.add, (x.reshape(-1)[1:], 1.0), x.reshape(-1)[:-1]) is None  # they overlap
    assert on_threads(np.add, (y, 1.0), x.T) is None
    assert on_threads(np.less, (x, y), y) is None  # of another type
    assert on_threads(np.add, (y, y), x[:1]) is None
    assert same_bits(x, before)


def test_what_is_not_for_threads_is_left_to_numpy():
    x = numbers(LENGTH, "float32")
    swapped = x.astype(">f4")
    assert on_threads(np.exp, (swapped,)) is None
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view("float32")
    assert on_threads(np.exp, (unaligned,)) is None
    assert on_threads(np.add, (x, x.astype("float64"))) is None
    assert on_threads(np.add, (x, x[1:])) is None
    assert on_threads(np.divmod, (x, x)) is None
    tl.set_num_threads(1)
    assert on_threads(np.exp, (x,)) is None


def test_a_function_that_is_laid_out_otherwise_is_left_to_numpy(monkeypatch):
    class Moved(ctypes.Structure):
        _fields_ = (("new", ctypes.c_int32), *loops._Function._fields_)

    x = numbers(LENGTH, "float32")
    monkeypatch.setattr(loops, "_Function", Moved)
    loops._loop.cache_clear()
    try:
        assert on_threads(np.exp, (x,)) is None
    finally:
        loops._loop.cache_clear()


# --------------------------------------------------------------------------------------- reductions


@pytest.mark.parametrize("kind", ["float32", "float64", "int64"])
@pytest.mark.parametrize("function", [np.add, np.multiply, np.maximum, np.minimum])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((300, 1000), (1,)), ((40, 5, 99), (2, 1)), ((2000, 16), (1,)), ((3, 7, 129, 101), (2, 3))],
)
def test_rows_are_reduced_to_numpys_bits(function, shape, axes, kind):
    x = numbers(shape, kind)
    with np.errstate(all="ignore"):
        got, want = reduce_on_threads(function, x, axes), function.reduce(x, axes)
    assert got is not None
    assert same_bits(got, want)


@pytest.mark.parametrize("function", [np.add, np.multiply, np.maximum, np.minimum])
def test_a_long_row_has_the_same_bits_alone_and_on_any_number_of_threads(function):
    x = np.random.default_rng(0).uniform(0.99, 1.01, (3, SMALL + 12345)).astype("float32")
    rows = reduce_on_threads(function, x, (1,))
    assert np.allclose(rows, function.reduce(x.astype("float64"), 1), rtol=1e-5)
    for threads in (1, 2, 3):
        tl.set_num_threads(threads)
        assert same_bits(reduce_on_threads(function, x, (1,)), rows)
        for row, value in zip(x, rows, strict=True):
            assert same_bits(reduce_on_threads(function, row, (0,)), value.reshape(()))


def test_reductions_that_are_not_for_threads_are_left_to_numpy():
    x = numbers((300, 1000), "float32")
    assert reduce_on_threads(np.add, x, (0,)) is None
    assert reduce_on_threads(np.add, x.T, (1,)) is None
    assert reduce_on_threads(np.add, x > 0, (1,)) is None
    assert reduce_on_threads(np.add, x.reshape(-1, 4), (1,)) is None


def test_ops_of_large_tensors_are_those_of_small_ones():
    """Through the ops: in two halves, which are small, and at once."""
    x = tl.tensor(numbers((2, SMALL), "float32"))
    y = tl.tensor(numbers((2, SMALL), "float32", 1))
    assert x.numel() > SMALL >= x[0].numel()

    def sums(x, y):
        return tl.stack([(x * y).sum(-1), x.amax(-1), (y - x).clamp(-1, 1).mean(-1)])

    functions = [
        lambda x, y: (x * y - 1.5).exp() / (1 + y.abs()),
        lambda x, y: tl.where(x > y, x, 0.0),
        lambda x, y: x.masked_fill(y < 0, -1.0),
        lambda x, y: x.clone().mul_(2.0).add_(y).sub_(y, alpha=0.5).div_(3),
        lambda x, y: x.clamp(max=1) + y.clamp(min=-0.5),
        lambda x, y: x**3 + y**2 + y**-1,
        sums,
    ]
    for function in functions:
        whole = function(x, y)
        halves = [function(x[i], y[i]) for i in range(2)]
        dim = 1 if function is sums else 0
        assert same_bits(whole.numpy(), tl.stack(halves, dim).numpy())


# ------------------------------------------------------------------------------------------ choices


@given(
    shapes=mutually_broadcastable_shapes(num_shapes=3, min_dims=0, max_dims=4, max_side=4),
    kind=st.sampled_from(["float32", "float64", "int64", "int32", "uint8", "bool"]),
    number=st.sampled_from(["", "x", "y"]),
    transposed=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=300)
def test_choices_are_numpys(shapes, kind, number, transposed, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tensorlite.kernels.choose.SMALL", 0)
        c, x, y = (numbers(shape, kind, i + seed) for i, shape in enumerate(shapes.input_shapes))
        c = c > 0 if kind != "bool" else c
        if transposed and c.ndim > 1:
            c = np.asfortranarray(c)
            x = np.asfortranarray(x)
        if kind != "bool":
            x, y = (1 if number == "x" else x), (0 if number == "y" else y)
        got, want = choose(c, x, y), np.where(c, x, y)
        assert same_bits(np.asarray(got), want)


@pytest.mark.parametrize("c_shape", [(64, 50, 60), (50, 60), (60,), (64, 1, 60), (64, 1, 1), ()])
def test_conditions_begin_again_where_they_end(c_shape):
    x, y = numbers((64, 50, 60), "float32"), numbers((64, 50, 60), "float32", 1)
    c = np.random.default_rng(2).random(c_shape) > 0.5
    for a, b in ((x, y), (x, 1.0), (-np.inf, y), (x, y[:1])):
        assert same_bits(choose(c, a, b), np.where(c, a, b).astype("float32"))


# ---------------------------------------------------------------------------------------- in order


@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    kind=st.sampled_from(["float32", "float64", "int64", "int32", "bool"]),
    permute=st.randoms(use_true_random=False),
    spare=st.integers(0, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=300)
def test_axes_that_changed_places_are_copied_in_order(sizes, kind, permute, spare, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tensorlite.kernels.ordered.SMALL", 0)
        patch.setattr("tensorlite.kernels.ordered.SHORT", 1)
        base = numbers((*sizes[:-1], sizes[-1] + spare), kind, seed)[..., : sizes[-1]]
        x = base.transpose(permute.sample(range(len(sizes)), len(sizes)))
        y = ordered(x)
        assert y.flags.c_contiguous
        assert same_bits(y, np.ascontiguousarray(x))
        assert (y is x) == x.flags.c_contiguous


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_large_ones_too(threads):
    tl.set_num_threads(threads)
    for shape in ((300, 257), (3, 70, 130), (2, 3, 40, 90), (2, 3, 4, 40, 90)):
        x = tl.tensor(numbers(shape, "float32"))
        for dims in ((-1, -2), (0, -1), (0, 1)):
            y = x.transpose(*dims)
            want = np.ascontiguousarray(y.numpy())
            assert same_bits(y.contiguous().numpy(), want)
            assert same_bits(y.clone().numpy(), want)
            assert same_bits(y.reshape(-1).numpy(), want.reshape(-1))
            with np.errstate(invalid="ignore"):
                assert same_bits((y + tl.tensor(want)).numpy(), want + want)


def test_a_reshape_is_a_view_wherever_it_can_be():
    x = tl.zeros(4, 200, 300)
    y = x.transpose(0, 1).reshape(200, 4, 3, 100)  # only axes that follow each other are split
    y[0, 0, 0, 0] = 1.0
    assert x[0, 0, 0] == 1
    with pytest.raises(RuntimeError, match="reshape"):
        x.transpose(0, 1).reshape(7, -1)


# -------------------------------------------------------------------------------------------- sums


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("n", [5, 255, 256, 1000, 4097, SMALL + 5])
def test_a_row_has_the_same_sum_alone_and_among_others(n, kind):
    x = tl.tensor(np.random.default_rng(0).standard_normal((4, n)).astype(kind))
    sums = x.sum(-1), x.mean(-1), x.reshape(2, 2, n).sum((1, 2))
    wanted = x.numpy().astype("float64").sum(-1)
    assert np.allclose(sums[0].numpy(), wanted, atol=1e-5 * n**0.5)
    for threads in (1, 2, 3):
        tl.set_num_threads(threads)
        for i in range(4):
            assert same_bits(x[i].sum().numpy(), sums[0][i].numpy())
            assert same_bits(x[i : i + 1].sum(-1).numpy(), sums[0][i : i + 1].numpy())
            assert same_bits(x[i].mean().numpy(), sums[1][i].numpy())
        assert same_bits(x[:2].sum().numpy(), sums[2][0].numpy())
        assert x.sum(1, keepdim=True).shape == (4, 1)
        assert x.sum(keepdim=True).shape == (1, 1)


def test_a_sum_overflows_silently_at_every_size():
    for n in (4, 300, SMALL + 5):
        x = tl.full((n,), 3e38)
        assert x.sum().item() == np.inf
        x[0] = -np.inf
        assert tl.isnan((x * np.inf).sum())


# -------------------------------------------------------------------------- what large tensors keep


def test_whole_numbers_of_few_bits_are_added_up_in_a_wider_type():
    b = np.random.default_rng(0).integers(0, 200, (5000, 40)).astype("uint8")
    for threads in (1, 2):
        tl.set_num_threads(threads)
        assert tl.tensor(b).sum().item() == int(b.astype("int64").sum())
        assert np.array_equal(tl.tensor(b).sum(1).numpy(), b.sum(1, dtype="int64"))
        assert reduce_on_threads(np.add, b, (1,)) is None
        for name in ("norm", "var", "std", "mean"):
            with pytest.raises(RuntimeError, match="floating point, got uint8"):
                getattr(tl.tensor(b), name)()


@pytest.mark.parametrize("name", ["pow", "atan2", "mul", "div", "fmod", "remainder"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_what_lies_in_another_order_has_the_same_bits_on_any_number_of_threads(name, kind):
    rng = np.random.default_rng(0)
    x = np.abs(rng.standard_normal((400, 500))).astype(kind)
    y = rng.standard_normal((400, 500)).astype(kind)
    for other in (y[::-1], y[:, ::-1], np.asfortranarray(y)):
        for pair in ((x, other), (other, x)):
            found = []
            for threads in (1, 2):
                tl.set_num_threads(threads)
                found.append(getattr(tl, name)(*map(tl.from_numpy, pair)).numpy())
            assert same_bits(*found)


def test_logic_takes_numbers_as_they_are():
    x = tl.tensor(np.arange(SMALL + 9) % 3)
    assert tl.equal(tl.logical_and(x, 0.5), x != 0)
    assert tl.logical_or(x, 0.5).all()
    assert tl.equal(tl.logical_and(x, float("nan")), x != 0)
    assert tl.equal(tl.logical_xor(x.to(tl.uint8), -3), x == 0)


@pytest.mark.filterwarnings("error")
def test_large_tensors_overflow_silently():
    x = tl.zeros(SMALL + 9)
    assert (x + 1e300).max().item() == np.inf
    assert x.clone().add_(2**200).max().item() == np.inf
    assert tl.where(x > 0, x, 1e300).min().item() == np.inf
    index = tl.zeros(1, SMALL + 9, dtype=tl.int64)
    assert x[None].scatter(1, index, 1e300)[0, 0].item() == np.inf
    tl.zeros(1, 9, dtype=tl.int64).scatter(1, index, (x / 0)[None])


def test_a_number_is_put_into_a_tensors_type_at_every_size():
    for n in (4, SMALL + 9):
        x, index = tl.zeros(1, n, dtype=tl.uint8), tl.zeros(1, n, dtype=tl.int64)
        for value in (300, float("nan"), -1e9):
            with pytest.raises(RuntimeError, match="must fit into uint8, got"):
                x.scatter(1, index, value)
        assert x.scatter(1, index, -3)[0, 0].item() == 253
        y = tl.full((1, n), -3, dtype=tl.int64).scatter(1, index, value=2.5, reduce="add")
        assert y[0, 0].item() == 2 * n - 3
        with pytest.raises(RuntimeError, match="negative"):
            (x + 1) ** -1


def test_triangles_keep_the_type():
    for kind in (tl.float32, tl.float64, tl.int64, tl.uint8, tl.bool):
        for n in (3, 400):
            x = tl.ones(2, n, n, dtype=kind)
            assert x.tril(-1).dtype == x.triu(1).dtype == kind
            assert np.array_equal(x.tril(-1).numpy(), np.tril(x.numpy(), -1))
            assert np.array_equal(x.triu(1).numpy(), np.triu(x.numpy(), 1))


def test_messages_name_the_method_that_was_called():
    for n in (4, SMALL + 9):
        x = tl.zeros(n, dtype=tl.int64)
        with pytest.raises(RuntimeError, match=r"add_: result type float32"):
            x.add_(1.5)
        with pytest.raises(RuntimeError, match=r"__iadd__: result type float32"):
            x += 1.5
        with pytest.raises(RuntimeError, match=r"mul_: output with shape"):
            x.mul_(tl.zeros(2, n, dtype=tl.int64))
        with pytest.raises(RuntimeError, match=r"copy_: .*broadcast"):
            x.copy_(tl.zeros(1, n))
        with pytest.raises(RuntimeError, match=rf"shapes \(3,\) \({n},\)"):
            tl.where(tl.zeros(3) > 0, x, x)
