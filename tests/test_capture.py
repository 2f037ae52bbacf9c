"""A captured pass, replayed, gives the bits of its ops; and it says what it cannot keep."""

from __future__ import annotations

import copy
import math
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from test_ops import Draw, layouts, outputs, tensors

import tensorlite as tl
from cases import ROWS
from row import Row
from tensorlite import nn, profiler
from tensorlite.autograd import OPS, watch
from tensorlite.kernels.jit import Kernel
from tensorlite.nn import functional as F


def bits(values: Any) -> list[bytes]:
    return [x.detach().numpy().tobytes() for x in outputs(values)]


def shuffle(x: Any, rng: np.random.Generator) -> None:
    """Other values in the same memory, allowed wherever the old ones were."""
    if isinstance(x, np.ndarray) and x.ndim:
        x[...] = rng.permutation(x.reshape(-1)).reshape(x.shape)


# --------------------------------------------------------------------------------------- every op


REACHED = [row for row in ROWS if row.op != "_same_memory"]  # it belongs to graphs


@pytest.mark.parametrize("row", REACHED, ids=[f"{i}-{row.op}" for i, row in enumerate(REACHED)])
@given(data=st.data())
@settings(max_examples=3)
def test_an_op_replayed_on_other_values_gives_the_bits_of_the_op(row: Row, data: Any) -> None:
    draw = Draw(row, data, 4, row.only[0])
    draw.options = copy.deepcopy(draw.options)  # what is shuffled may be the row's own
    for inputs in zip(*map(layouts, draw.inputs), strict=True):
        given_ = tensors(list(inputs))
        with tl.Capture() as step:
            captured = draw.call(given_)
        for x in (*inputs, *draw.options.values()):
            shuffle(x, draw.rng)
        step.replay()
        with tl.no_grad():
            again = draw.call(
                tensors([np.copy(x) if isinstance(x, np.ndarray) else x for x in inputs])
            )
        assert bits(captured) == bits(again)


def test_what_kernels_compute_alone_becomes_one_line() -> None:
    norm, up, down = nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)

    def pass_(x: tl.Tensor) -> tl.Tensor:
        y = F.feed_forward(norm(x), up.weight, up.bias, down.weight, down.bias, activation="gelu")
        x = x + y
        q, k, v = F.split_heads(F.rms_norm(x, (8,)).repeat(1, 1, 3), [2, 2, 2])
        return x + F.merge_heads(F.causal_attention(q, k, v))

    x = tl.randn(1, 1, 8)
    with tl.Capture() as step:
        x + x
        norm(x)
        F.rms_norm(x, (8,))
        F.feed_forward(x, up.weight, up.bias, down.weight, down.bias, activation="gelu")
        up(x).view(4, 8).T[2:]
        q = x.view(1, 2, 1, 4)
        F.merge_heads(F.causal_attention(q, q, q))
    assert len(step._steps) == 1
    with tl.Capture() as step:
        y = pass_(x)
    x.copy_(tl.randn(1, 1, 8))
    step.replay()
    with tl.no_grad():
        assert bits(y) == bits(pass_(x))


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("dtype", [tl.float32, tl.float64])
def test_an_mlp_replayed_gives_its_bits_on_any_number_of_threads(
    rows: int, dtype: tl.dtype, all_threads: int
) -> None:
    mlp = nn.Sequential(nn.Linear(300, 700), nn.GELU(), nn.LayerNorm(700), nn.Linear(700, 50))
    mlp.to(dtype)
    x = tl.randn(rows, 300, dtype=dtype)
    with tl.Capture() as step:
        y = mlp(x)
    x.normal_()
    for threads in (1, all_threads):
        tl.set_num_threads(threads)
        step.replay()
        assert bits(y) == bits(mlp(x))


# ------------------------------------------------------------------------------ changes in place


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y, i: x.add_(y),
        lambda x, y, i: x.mul_(2.0).sub_(y),
        lambda x, y, i: x.copy_(y),
        lambda x, y, i: x.fill_(3.0),
        lambda x, y, i: x.__setitem__(1, y[0]),
        lambda x, y, i: x.__setitem__(i, y[:2]),
        lambda x, y, i: x[:, 1:].exp_(),
        lambda x, y, i: x.index_add_(0, i, y[:2], alpha=2),
        lambda x, y, i: x.index_fill_(1, i, 7.0),
        lambda x, y, i: x.index_copy_(0, i, y[:2]),
        lambda x, y, i: x.view(1, 1, 4, 3).index_copy_(2, i, y[:2].view(1, 1, 2, 3)),
        lambda x, y, i: x.masked_fill_(y > 0, 0.5),
    ],
)
def test_a_change_in_place_is_replayed(change: Any) -> None:
    x, y, i = tl.randn(4, 3), tl.randn(4, 3), tl.tensor([2, 0])
    with tl.Capture() as step:
        change(x, y, i)
    for tensor, values in ((x, tl.randn(4, 3)), (y, tl.randn(4, 3)), (i, tl.tensor([1, 2]))):
        tensor.copy_(values)
    expected = x.clone()
    change(expected, y, i)
    version = x._version
    step.replay()
    assert bits(x) == bits(expected)
    assert x._version == version, "a replay is seen by no graph: it is for passes without one"


# ----------------------------------------------------------------------------- what is not noted


def test_numbers_of_python_are_constants_and_results_hold_the_last_replay() -> None:
    x, factor = tl.tensor([1.0, 2.0]), 3.0
    with tl.Capture() as step:
        y = x * factor
    factor = 5.0
    x[0] = 10.0
    assert y.tolist() == [3.0, 6.0]
    step.replay()
    assert y.tolist() == [30.0, 6.0]


def test_what_another_thread_computes_is_not_noted() -> None:
    x, y = tl.ones(4), tl.ones(4, 4)
    seen: list[Any] = []

    def other() -> None:
        y @ y
        y.add_(1.0)
        float(y.sum())
        w = tl.ones(2, requires_grad=True)
        (w * 2).sum().backward()
        with tl.Capture() as own:
            doubled = y + y
        y.add_(1.0)
        own.replay()
        seen.append(doubled[0].tolist())
        with profiler.profile() as p:
            y @ y
        seen.append([row.name for row in p.rows])

    with tl.Capture() as step:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        z = x + x
    x.fill_(2.0)
    step.replay()
    assert z.tolist() == [4.0] * 4
    assert y.tolist() == [[3.0] * 4] * 4
    assert seen == [[6.0] * 4, ["matmul"]]


def hooked(x: Any) -> Any:
    module = nn.Identity()
    module.register_forward_hook(lambda *_: None)
    return module(x)


@pytest.mark.parametrize(
    ("what", "use"),
    [
        ("item", lambda x: x[0].item()),
        ("item", lambda x: float(x[0])),
        ("tolist", lambda x: x.tolist()),
        ("bool", lambda x: 1 if x[0] > 0 else 2),
        ("random numbers", lambda x: F.dropout(x, 0.5)),
        ("random numbers", lambda x: tl.randn(3)),
        ("random numbers", lambda x: tl.randn(1)),
        ("backward", lambda x: tl.ones(1, requires_grad=True).mul(2).backward()),
        ("one_hot", lambda x: F.one_hot(x.long())),
        ("nonzero", lambda x: x.nonzero()),
        ("nonzero", lambda x: tl.where(x > 0)),
        ("unique", lambda x: tl.unique(x)),
        ("equal", lambda x: tl.equal(x, x)),
        ("allclose", lambda x: tl.allclose(x, x)),
        ("repeat_interleave", lambda x: x.repeat_interleave(x.long())),
        ("index", lambda x: x[x.long()[0]]),
        ("index", lambda x: x[[x.long()[0], 0]]),
        ("index", lambda x: x[(x > 0).to(tl.uint8)]),
        ("index", lambda x: x.__setitem__(x.long()[0], 5.0)),
        ("narrow", lambda x: x.narrow(0, x.long()[0], 1)),
        ("tensor", lambda x: tl.tensor(x)),
        ("tensor", lambda x: tl.tensor([x[0], x[1]])),
        ("tensor", lambda x: tl.full((2,), x[0])),
        ("tensor", lambda x: tl.Tensor(x)),
        ("deepcopy", lambda x: copy.deepcopy(x)),
        ("cross_entropy", lambda x: F.cross_entropy(x.view(1, 3), x[:1].long())),
        ("nll_loss", lambda x: F.nll_loss(x.view(1, 3), x[:1].long())),
        ("step", lambda x: tl.optim.SGD([x], lr=0.1).step()),
        ("get_total_norm", lambda x: nn.utils.get_total_norm([x])),
        ("forward hook", hooked),
        (
            "scaled_dot_product_attention",
            lambda x: F.scaled_dot_product_attention(*[x.view(1, 3, 1)] * 3, x.view(1, 3) > 0),
        ),
    ],
)
def test_a_pass_that_would_not_be_the_same_again_is_refused(what: str, use: Any) -> None:
    x = tl.ones(3)
    tl.manual_seed(0)
    tl.randn(1)  # a second draw is at hand
    step = tl.Capture()
    with pytest.raises(tl.CaptureError, match=f"^{what}"), tl.enable_grad(), step:
        if what == "backward":
            with tl.enable_grad():
                use(x)
        use(x)
    assert not watch.watchers
    assert "__call__" not in vars(Kernel)
    with pytest.raises(RuntimeError, match="replay: nothing is captured"):
        step.replay()
    assert x[0].item() == 1.0


def test_one_watcher_at_a_time_and_one_pass_in_a_capture() -> None:
    with tl.Capture() as step, pytest.raises(RuntimeError, match="a capture is at work"):
        tl.Capture().__enter__()
    with pytest.raises(RuntimeError, match="holds a pass already"), step:
        pass
    with (
        profiler.profile(),
        pytest.raises(RuntimeError, match="Capture: a profiler"),
        tl.Capture(),
    ):
        pass


def test_an_error_inside_an_op_leaves_nothing_behind() -> None:
    with pytest.raises(RuntimeError, match="inner sizes differ"), tl.Capture():
        tl.ones(2, 3) @ tl.ones(2, 3)
    assert not watch.watchers
    assert "__call__" not in vars(Kernel)
    assert (tl.ones(2, 3) @ tl.ones(3, 2)).tolist() == [[3.0, 3.0], [3.0, 3.0]]


def test_an_error_in_a_replay_is_that_of_the_op() -> None:
    ids = tl.tensor([1])
    table = nn.Embedding(3, 2)
    with tl.Capture() as step:
        y = table(ids)
    ids[0] = 5
    with pytest.raises(IndexError, match=r"ids must lie in \[0, 3\), got 5"):
        step.replay()
    ids[0] = 2
    step.replay()
    assert bits(y) == bits(table.weight[2:])


def test_tensors_made_in_the_block_are_filled_again() -> None:
    x = tl.tensor([1.0, 2.0, 3.0])
    with tl.Capture() as step:
        total = tl.zeros(3)
        total.add_(x)
        largest = x.new_full((3,), -math.inf)
        largest[...] = tl.maximum(largest, x)
        count = tl.arange(3)
        count += tl.tensor([1, 1, 1])
        last = x.new_zeros(()) + tl.eye(3)[1, 1]
    x.mul_(-1)
    for _ in range(3):
        step.replay()
    assert total.tolist() == largest.tolist() == [-1.0, -2.0, -3.0]
    assert count.tolist() == [1, 2, 3]
    assert last.item() == 1.0


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("take_at", lambda x: x[x > 0]),
        ("take_at", lambda x: x.masked_select(x > 0)),
        ("bincount", lambda x: tl.bincount(x.clamp(min=0).long())),
    ],
)
def test_a_size_that_changes_is_an_error(name: str, use: Any) -> None:
    x = tl.tensor([1.0, 2.0, 0.0])
    with tl.Capture() as step:
        use(x)
    x.copy_(tl.tensor([0.0, 0.0, 1.0]))
    with pytest.raises(RuntimeError, match=f"replay: {name} gave the shape"):
        step.replay()


def test_a_replay_in_a_capture_is_a_part_of_it() -> None:
    x, q = tl.ones(2), tl.randn(1, 1, 3, 300)  # heads so wide go through other ops
    with tl.Capture() as inner:
        y = x * 2
        a = F.causal_attention(q, q, q)
    with tl.Capture() as outer:
        inner.replay()
        z = y + 1
    x.fill_(5.0)
    q.copy_(tl.randn(1, 1, 3, 300))
    outer.replay()
    assert z.tolist() == [11.0, 11.0]
    assert bits(a) == bits(F.causal_attention(q, q, q))
    assert len(outer._steps) == 2


def test_options_are_those_of_the_capture() -> None:
    x, axes = tl.tensor([[1.0, 2.0], [3.0, 4.0]]), [0]
    with tl.Capture() as step:
        y = x.sum(axes)
    axes[0] = 1
    x.mul_(2)
    step.replay()
    assert y.tolist() == [8.0, 12.0]


def test_a_graph_in_the_block_is_not_captured() -> None:
    w = tl.ones(3, requires_grad=True)
    with (
        pytest.raises(tl.CaptureError, match="setitem with a gradient"),
        tl.Capture(),
        tl.enable_grad(),
    ):
        y = w * 2
        y[0] = 7.0


def test_machine_code_is_neither_copied_nor_pickled() -> None:
    with tl.Capture() as step:
        tl.ones(3)
    with pytest.raises(TypeError, match="Capture: holds machine code"):
        copy.deepcopy(step)


def test_no_gradient_is_recorded_inside() -> None:
    linear = nn.Linear(2, 2)
    with tl.Capture():
        assert not tl.is_grad_enabled()
        assert not linear(tl.ones(1, 2)).requires_grad
    assert tl.is_grad_enabled()


def test_every_op_that_claims_kernels_alone_is_in_the_table() -> None:
    """So that the first test of this file replays it in all layouts."""
    claimed = {name for name, function in OPS.items() if function.op.by_kernels is not None}
    assert claimed == {
        "add", "attention", "feed_forward", "layer_norm", "linear", "packed_linear", "plus",
        "rms_norm",
    }  # fmt: skip
    assert claimed <= {row.op for row in ROWS}
