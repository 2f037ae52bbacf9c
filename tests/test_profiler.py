"""The profiler accounts for every op, and for all of the time."""

import threading
import time

import numpy as np
import pytest

import tensorlite
from tensorlite import autograd, profiler
from tensorlite.nn import functional as F


def tensors(*shapes):
    return [tensorlite.ones(shape).requires_grad_() for shape in shapes]


def rows(profile):
    return {row.name: row for row in profile.rows}


def test_ops_are_counted_forward_and_backward():
    x, y = tensors((60, 40), (40, 80))
    with profiler.profile() as p:
        for _ in range(2):
            (x @ y).sum().backward()
    found = rows(p)
    assert found["matmul"].calls == found["sum"].calls == 2
    assert found["matmul"].forward > 0 and found["matmul"].backward > 0
    assert found["matmul"].flops == 2 * 3 * (2 * 60 * 40 * 80)
    # Forward x, y and the product; backward its gradient, which is one number seen 4,800 times,
    # what was saved, and both gradients.
    forward, backward = 2400 + 3200 + 4800, 1 + (2400 + 3200) + (2400 + 3200)
    assert found["matmul"].bytes == 2 * 4 * (forward + backward)


def test_a_packed_linear_counts_the_products_of_a_plain_one():
    x = tensorlite.randn(6, 40, requires_grad=True)
    weight = tensorlite.randn(50, 40, requires_grad=True)
    panels = F.pack_weight(weight.detach(), width=16).requires_grad_()
    with profiler.profile() as p:
        F.linear(x, weight).sum().backward()
        F.packed_linear(x, panels, None, features=50).sum().backward()
    found = rows(p)
    assert found["packed_linear"].flops == found["linear"].flops == 3 * (2 * 6 * 40 * 50)


def test_shares_and_the_rest_are_the_whole():
    (x,) = tensors((100, 100))
    with profiler.profile() as p:
        (x * x + x).sum().backward()
        time.sleep(0.02)
    assert p.outside >= 0.02
    assert sum(row.seconds for row in p.rows) + p.outside == pytest.approx(p.seconds)
    assert [row.seconds for row in p.rows] == sorted((r.seconds for r in p.rows), reverse=True)


def test_a_named_region_counts_its_own_time_only():
    (x,) = tensors((400, 400))
    with profiler.profile() as p, profiler.record_function("outer"):
        time.sleep(0.01)
        with profiler.record_function("inner"):
            time.sleep(0.02)
            x @ x
    found = rows(p)
    assert 0.01 <= found["outer"].seconds < 0.02 <= found["inner"].seconds
    assert found["inner"].seconds + found["outer"].seconds + found["matmul"].seconds <= p.seconds


def test_a_view_moves_no_bytes():
    (x,) = tensors((30, 40))
    with profiler.profile() as p:
        x.reshape(40, 30)
        x.transpose(0, 1)
        x.expand(5, 30, 40)
    assert [row.bytes for row in p.rows] == [0, 0, 0]


def test_what_an_op_calls_belongs_to_it():
    @autograd.op
    def twice_product(x, y):
        return tensorlite.Tensor.matmul(x, y) * 2

    x, y = (np.ones((3, 3), np.float32) for _ in range(2))
    with profiler.profile() as p:
        twice_product(x, y)
    assert list(rows(p)) == ["twice_product"]


def test_nothing_is_watched_outside_the_block_nor_after_an_error():
    (x,) = tensors((2, 2))
    with pytest.raises(ZeroDivisionError), profiler.profile() as p:
        x + x
        1 / 0  # noqa: B018
    before = p.rows[0].calls
    x + x
    assert p.rows[0].calls == before == 1
    with profiler.record_function("free"):
        pass
    assert len(p.rows) == 1


def test_an_op_that_fails_does_not_stop_the_count():
    x, y = tensors((2, 3), (2, 3))
    with profiler.profile() as p:
        with pytest.raises(RuntimeError):
            x @ y
        x @ y.T
    assert rows(p)["matmul"].calls == 1


def test_two_profiles_at_once_are_refused():
    with (
        profiler.profile(),
        pytest.raises(RuntimeError, match="profile: a profiler or a"),
    ):
        profiler.profile().__enter__()


def test_other_threads_are_not_counted():
    (x,) = tensors((2, 2))
    with profiler.profile() as p:
        worker = threading.Thread(target=lambda: (x @ x).sum().backward())
        worker.start()
        worker.join()
    assert p.rows == []


def test_the_table_names_the_most_expensive_first_and_sums_up_the_rest():
    (x,) = tensors((200, 200))
    with profiler.profile() as p:
        with profiler.record_function("rest"):
            time.sleep(0.05)
        (x @ x).sum()
    lines = p.table(limit=1).splitlines()
    assert lines[1].startswith("rest") and "%" in lines[1]
    assert lines[2].startswith("2 more")
    assert lines[3].startswith("outside ops") and lines[4].startswith("in all")
    assert "matmul" in p.table() and "GFLOP/s" in p.table()
