"""gradcheck: derivatives against differences; assert_close: values against values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tensorlite.autograd import Array, enable_grad, grad, unwrap, wrap
from tensorlite.generator import Generator
from tensorlite.tensor import Tensor


class GradcheckError(RuntimeError):
    """A derivative that is not that of the function; the message says where."""


# --------------------------------------------------------------------------------------- gradcheck


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    **rest: Any,
) -> bool:
    """Is backward through func(*inputs) what central differences of step eps find?

    Each output's derivative by each element of each input that requires a gradient is compared:
    |backward - differences| <= atol + rtol |differences|. The inputs should be float64. The same
    backward twice must agree up to nondet_tol. GradcheckError tells which element differs, or with
    raise_exception=False the answer is False. Other arguments of torch's gradcheck are accepted.
    """
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    try:
        _check_inputs(arguments, eps)
        _check_gradients(func, arguments, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    **rest: Any,
) -> bool:
    """gradcheck of backward itself: its derivatives by the inputs and by the outputs' gradients.

    grad_outputs: one for each output of func; by default drawn at random, always the same
    """
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if grad_outputs is None:
        stream = Generator()
        gradients = [
            _random_like(output, stream, gen_non_contig_grad_outputs)
            for output in _outputs(func, arguments)
            if output.requires_grad
        ]
    else:
        gradients = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)

    def first_derivatives(*values: Any) -> Any:
        given, seeds = values[: len(arguments)], values[len(arguments) :]
        wanted = [x for x in given if _wants_gradient(x)]
        outputs = [output for output in _outputs(func, given) if output.requires_grad]
        found = grad(outputs, wanted, list(seeds), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        first_derivatives, (*arguments, *gradients), eps, atol, rtol, raise_exception, nondet_tol
    )


def _wants_gradient(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _random_like(output: Tensor, stream: Generator, strided: bool) -> Tensor:
    shape = (*output.shape, 2) if strided else tuple(output.shape)
    draws = np.empty(shape, output.array.dtype)
    stream.normal_(draws)
    g: Tensor = wrap(draws[..., 0] if strided else draws)
    return g.requires_grad_()


def _outputs(func: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    """The floating-point tensors that func returns."""
    with enable_grad():
        returned = func(*inputs)
    outputs = returned if isinstance(returned, (tuple, list)) else (returned,)
    return [y for y in outputs if isinstance(y, Tensor) and y.is_floating_point()]


def _check_inputs(inputs: Sequence[Any], eps: float) -> None:
    wanted = [x for x in inputs if _wants_gradient(x)]
    if not wanted:
        raise ValueError(
            "gradcheck: at least one input must require a gradient, but none does; "
            "pass requires_grad=True when you make it"
        )
    for i, x in enumerate(inputs):
        if not _wants_gradient(x):
            continue
        if x.array.dtype != np.float64:
            warnings.warn(
                f"gradcheck: input {i} should be float64, got {x.dtype}: differences of step {eps} "
                "drown in rounding",
                stacklevel=3,
            )
        if 0 in x.array.strides and x.array.size > 1:
            raise RuntimeError(
                f"gradcheck: the elements of input {i} share memory (it was expanded), so that one "
                "cannot be changed alone; pass x.contiguous()"
            )


def _check_gradients(
    func: Callable[..., Any],
    inputs: Sequence[Any],
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
) -> None:
    outputs = _outputs(func, inputs)
    places = [i for i, x in enumerate(inputs) if _wants_gradient(x)]
    # slopes[o][k]: d outputs[o] / d inputs[places[k]], (*output's shape, *input's shape)
    slopes = _differences(func, inputs, places, outputs, eps)
    for o, output in enumerate(outputs):
        if not output.requires_grad and any(y.requires_grad for y in outputs):
            continue  # a by-product
        if output.requires_grad:
            backwards = _backwards(output, [inputs[i] for i in places])
            _check_repeatable(o, output, [inputs[i] for i in places], nondet_tol)
        else:  # then nothing may depend on the inputs
            backwards = [np.zeros(slope.shape) for slope in slopes[o]]
        for k, i in enumerate(places):
            _compare(o, i, output, backwards[k], slopes[o][k], atol, rtol)


def _differences(
    func: Callable[..., Any],
    inputs: Sequence[Any],
    places: Sequence[int],
    outputs: Sequence[Tensor],
    eps: float,
) -> list[list[Array]]:
    """(func(x + eps) - func(x - eps)) / (2 eps), for one element of the inputs after the other."""
    slopes = [[np.zeros((*y.shape, *inputs[i].shape)) for i in places] for y in outputs]
    for k, i in enumerate(places):
        x = inputs[i].array
        for at in np.ndindex(x.shape):
            before = x[at]
            both = []
            for step in (eps, -eps):
                x[at] = before + step
                both.append([y.array.astype(np.float64) for y in _outputs(func, inputs)])
                x[at] = before
            for o, (above, below) in enumerate(zip(*both, strict=True)):
                slopes[o][k][(..., *at)] = (above - below) / (2 * eps)
    return slopes


def _backwards(output: Tensor, inputs: Sequence[Tensor]) -> list[Array]:
    """d output / d inputs, a row by each element of the output: one backward for each."""
    slopes = [np.zeros((*output.shape, *x.shape)) for x in inputs]
    for at in np.ndindex(*output.shape):
        one = np.zeros(output.shape, output.array.dtype)
        one[at] = 1
        found = grad(output, inputs, wrap(one), retain_graph=True, allow_unused=True)
        for slope, g in zip(slopes, found, strict=True):
            if g is not None:
                slope[at] = g.array
    return slopes


def _check_repeatable(o: int, output: Tensor, inputs: Sequence[Tensor], tolerance: float) -> None:
    seed = _random_like(output, Generator(), False).detach()
    first, second = (
        grad(output, inputs, seed, retain_graph=True, allow_unused=True) for _ in range(2)
    )
    for a, b in zip(first, second, strict=True):
        if a is not None and np.abs(a.array - b.array).max(initial=0.0) > tolerance:
            raise GradcheckError(f"gradcheck: backward of output {o} differs from call to call")


def _compare(
    o: int, i: int, output: Tensor, backwards: Array, slopes: Array, atol: float, rtol: float
) -> None:
    off = np.abs(backwards - slopes)
    # Not `off > ...`: a NaN on either side must not pass.
    wrong = ~((off <= atol + rtol * np.abs(slopes)) | (backwards == slopes))
    if not wrong.any():
        return
    worst = np.where(wrong, np.where(np.isnan(off), np.inf, off), -1).argmax()
    at = tuple(map(int, np.unravel_index(worst, off.shape)))
    y_at, x_at = at[: output.ndim], at[output.ndim :]
    note = "" if output.requires_grad else "; the output does not require a gradient"
    raise GradcheckError(
        f"gradcheck: d output {o}{list(y_at) or ''} / d input {i}{list(x_at) or ''}: "
        f"backward gives {backwards[at]:.8g}, differences {slopes[at]:.8g} "
        f"({wrong.sum()} of {wrong.size} derivatives differ){note}"
    )


# ------------------------------------------------------------------------------------ assert_close

_TOLERANCES = {np.dtype(np.float32): (1.3e-6, 1e-5), np.dtype(np.float64): (1e-7, 1e-7)}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_dtype: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
    **rest: Any,
) -> None:
    """Raise AssertionError unless |actual - expected| <= atol + rtol |expected| everywhere.

    Tensors, arrays, numbers, and lists and dicts of them. Without tolerances, PyTorch's: rtol and
    atol 1.3e-6 and 1e-5 for float32, 1e-7 both for float64, equality for all else.
    """
    if (rtol is None) != (atol is None):
        raise ValueError("assert_close: give both rtol and atol, or neither")
    for path, a, b in _pairs(actual, expected, ""):
        complaint = _complaint(a, b, rtol, atol, equal_nan, check_dtype, check_stride)
        if complaint:
            if path:
                complaint += f"\n\nThe failure occurred for item {path}"
            raise AssertionError(
                complaint if msg is None else msg(complaint) if callable(msg) else msg
            )


def _pairs(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """What is to be compared, and where in the containers it stands."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            missing, extra = [k for k in b if k not in a], [k for k in a if k not in b]
            raise AssertionError(
                f"assert_close: the keys differ{path and f' in {path}'}: missing {missing}, "
                f"unexpected {extra}"
            )
        for key in b:
            yield from _pairs(a[key], b[key], f"{path}[{key!r}]")
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            raise AssertionError(
                f"assert_close: the lengths differ{path and f' in {path}'}: {len(a)} != {len(b)}"
            )
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _pairs(x, y, f"{path}[{i}]")
    else:
        yield path, a, b


def _complaint(
    actual: Any,
    expected: Any,
    rtol: float | None,
    atol: float | None,
    equal_nan: bool,
    check_dtype: bool,
    check_stride: bool,
) -> str:
    """What is wrong, or nothing."""
    if actual is None or expected is None:
        return "" if actual is expected else f"None mismatch: {actual} is not {expected}"
    a, b = np.asarray(unwrap(actual)), np.asarray(unwrap(expected))
    for x, value in ((a, actual), (b, expected)):
        if x.dtype.kind not in "fiub":
            raise TypeError(f"assert_close: cannot compare a {type(value).__name__}")
    numbers = isinstance(actual, (int, float)) and isinstance(expected, (int, float))
    if a.shape != b.shape:
        return f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}."
    if check_dtype and not numbers and a.dtype != b.dtype:
        return f"The values for attribute 'dtype' do not match: {a.dtype} != {b.dtype}."
    if check_stride and a.strides != b.strides:
        return f"The values for attribute 'stride()' do not match: {a.strides} != {b.strides}."
    if rtol is None or atol is None:
        pairs = [_TOLERANCES.get(x.dtype, (0.0, 0.0)) for x in (a, b)]
        rtol, atol = max(r for r, _ in pairs), max(t for _, t in pairs)
    x, y = _comparable(a, b)
    exact = rtol == atol == 0
    with np.errstate(all="ignore"):
        off = np.abs(x - y)
        relative = off / np.abs(y)
        close = x == y
        if not exact:
            close |= (off <= atol + rtol * np.abs(y)) & np.isfinite(y)
    if equal_nan:
        close |= (x != x) & (y != y)
    if close.all():
        return ""
    verdict = "Scalars" if a.ndim == 0 else "Tensor-likes"
    verdict += f" are not {'equal' if exact else 'close'}!\n\n"
    allowed = ["" if exact else f" (up to {most} allowed)" for most in (atol, rtol)]
    if a.ndim == 0:
        return (
            f"{verdict}Expected {b.item()} but got {a.item()}.\n"
            f"Absolute difference: {off.item()}{allowed[0]}\n"
            f"Relative difference: {relative.item()}{allowed[1]}"
        )
    count = int((~close).sum())
    return (
        f"{verdict}Mismatched elements: {count} / {close.size} ({count / close.size:.1%})\n"
        f"Greatest absolute difference: {_worst(off, close)}{allowed[0]}\n"
        f"Greatest relative difference: {_worst(relative, close)}{allowed[1]}"
    )


def _comparable(a: Array, b: Array) -> tuple[Array, Array]:
    """In one type, in which differences are no less than 0."""
    common = np.result_type(a, b)
    if common.kind != "f":
        common = np.dtype(np.int64)
    return a.astype(common), b.astype(common)


def _worst(off: Array, close: Array) -> str:
    at = np.where(close, -1, np.where(off == off, off, np.inf)).argmax()
    place = tuple(map(int, np.unravel_index(at, off.shape)))
    return f"{off[place].item()} at index {place}"
