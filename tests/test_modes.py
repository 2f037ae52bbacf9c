"""Recording or not: no_grad and its like, and anomaly mode."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tensorlite as tl
from tensorlite import autograd


def leaf(*values: float) -> tl.Tensor:
    return tl.tensor(list(values), dtype=tl.float64, requires_grad=True)


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
        with pytest.raises(RuntimeError, match=r"SqrtBackward0.*infinity.*test_modes.py.*sqrt"):
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
