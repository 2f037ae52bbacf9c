"""Threads: how many, in forks, from several Python threads at once, at exit: the same bits."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tensorlite.kernels import jit, pool

ROOT = Path(__file__).parents[1]


def run(script, **variables):
    """Run a script in a new process with these environment variables, and return what it prints."""
    keep = {
        k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**keep, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def threads():
    """Sets the number of threads, and sets it back."""
    before = jit.get_num_threads()
    yield jit.set_num_threads
    jit.set_num_threads(before)


# ------------------------------------------------------------------------------------- how many


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({}, 5),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "3,1"}, 3),
        ({"OMP_NUM_THREADS": "12"}, 12),
        ({"OMP_NUM_THREADS": "99999"}, jit.MOST_THREADS),
        ({"OMP_NUM_THREADS": "many"}, 5),
        ({"OMP_NUM_THREADS": "0"}, 5),
        ({"OMP_NUM_THREADS": "3", "NUMBA_NUM_THREADS": "8"}, 8),
    ],
    ids=str,
)
def test_the_environment_says_how_many_threads_to_begin_with(variables, expected, monkeypatch):
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jit, "cores", lambda: 5)
    assert jit._environment_threads() == expected


@pytest.mark.parametrize(
    "quota, expected",
    [("max 100000", 6), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 6), ("", 6)],
)
def test_a_containers_quota_limits_the_cores(quota, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda path: quota)
    assert jit.cores() == expected


def test_a_process_begins_with_the_threads_of_its_environment():
    script = "import tensorlite; print(tensorlite.get_num_threads())"
    assert run(script, OMP_NUM_THREADS="3") == "3\n"


@pytest.mark.parametrize("wrong", [0, -1, jit.MOST_THREADS + 1])
def test_the_number_of_threads_is_checked(wrong):
    with pytest.raises(ValueError, match=rf"must lie in \[1, {jit.MOST_THREADS}\], got {wrong}"):
        jit.set_num_threads(wrong)


def test_the_number_of_threads_is_that_of_the_process():
    script = """
        import threading
        from tensorlite.kernels import jit

        jit.set_num_threads(3)
        worker = threading.Thread(target=lambda: print(jit.get_num_threads()))
        worker.start()
        worker.join()
    """
    assert run(script) == "3\n"


# -------------------------------------------------------------------------------------- launches


@jit.inline
def _count(task, x):
    x[task] += task


@jit.kernel
def _counted(x):
    jit.parallel_for(_count, x.size, (x,))


@jit.inline
def _count_inside(task, x):
    jit.parallel_for(_count, x.shape[1], (x[task],))


@jit.kernel
def _counted_twice(x):
    jit.parallel_for(_count_inside, x.shape[0], (x,))


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_every_task_runs_once_on_any_number_of_threads(n, threads):
    threads(n)
    for tasks in (0, 1, 2, 3, 1000):
        x = np.zeros(tasks)
        for _ in range(100):
            _counted(x)
        assert np.array_equal(x, 100 * np.arange(tasks))
    assert jit.get_num_threads() == n


def test_a_loop_inside_a_loop_runs_every_task(threads):
    threads(3)
    x = np.zeros((50, 20))
    _counted_twice(x)
    assert np.array_equal(x, np.tile(np.arange(20), (50, 1)))


@jit.inline
def _who(task, seen, rounds):
    """Take some time, and mark whether others were at it meanwhile."""
    seen[task] = 1
    for _ in range(rounds):
        seen[task] = max(seen[task], pool.load(pool.GATE) % pool.PLACE + 1)


@jit.kernel
def _company(seen, rounds):
    jit.parallel_for(_who, seen.size, (seen, rounds))


def test_helpers_take_part_and_no_more_than_were_asked_for(threads):
    seen = np.zeros(200, np.int64)
    for n in (1, 2, 4):
        threads(n)
        most = 0
        for _ in range(20):  # a helper may come late, where others have the cores
            _company(seen, 10_000)
            most = max(most, seen.max())
            if most >= 2:
                break
        assert 1 <= most <= n
        assert most >= 2 or n == 1


# Each of these is a way in which a pool of threads can fail: aborting, hanging, or losing work.
PRODUCTS = """
    import os, sys, threading
    import numpy as np
    from tensorlite.kernels import jit, matmul

    random = np.random.default_rng(0)
    a, b = (random.standard_normal(s, dtype=np.float32) for s in ((150, 300), (300, 170)))

    def bits():
        return matmul.product(a, b).tobytes()

    jit.set_num_threads(1)
    expected = bits()
    jit.set_num_threads(4)
    assert bits() == expected

    def work(wrong, times):
        for i in range(times):
            if bits() != expected:
                wrong.append(i)

    def start(wrong, times):
        workers = [threading.Thread(target=work, args=(wrong, times)) for _ in range(4)]
        for worker in workers:
            worker.start()
        return workers
"""


def after(products, script):
    return textwrap.dedent(products) + textwrap.dedent(script)


def test_several_python_threads_at_once_get_the_same_bits():
    script = """
        wrong = []
        workers = start(wrong, 50)
        for n in (1, 3, 2, 7):
            jit.set_num_threads(n)
            work(wrong, 10)
        for worker in workers:
            worker.join()
        print(len(wrong))
    """
    assert run(after(PRODUCTS, script)) == "0\n"


def test_a_forked_process_computes_the_same_bits_alone_and_on_threads_of_its_own():
    script = """
        def in_child(function):
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                function()
                sys.stdout.flush()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0

        def compute():
            print(jit.get_num_threads(), bits() == expected)
            jit.set_num_threads(3)
            wrong = []
            for worker in start(wrong, 5):
                worker.join()
            print(jit.get_num_threads(), len(wrong))

        def compute_and_fork():
            compute()
            in_child(compute)

        wrong = []
        workers = start(wrong, 100)  # their launches are under way when the process forks
        in_child(compute_and_fork)
        for worker in workers:
            worker.join()
        print(jit.get_num_threads(), bits() == expected, len(wrong))
    """
    out = run(after(PRODUCTS, script)).splitlines()
    assert out == ["1 True", "3 0", "1 True", "3 0", "4 True 0"]


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs a system that lets threads be kept off a core, and two cores",
)
def test_helpers_are_kept_off_the_core_of_the_launch_and_follow_it():
    script = """
        def allowed():
            return {frozenset(os.sched_getaffinity(h.native_id)) for h in jit._threads.helpers}

        import time
        from tensorlite.kernels import pool

        mine = os.sched_getaffinity(0)
        jit.set_num_threads(2)
        while pool.words[pool.NUMBERS] == 0:  # a launch before that is made without the helper
            time.sleep(0.001)
        for core in sorted(mine)[:2]:
            os.sched_setaffinity(0, {core})  # moves this thread
            assert bits() == expected
            print(allowed() == {frozenset(mine - {core})})
            os.sched_setaffinity(0, mine)
        jit.set_num_threads(len(mine) + 1)  # more than there are cores: all may run on all
        assert bits() == expected
        print(allowed() == {frozenset(mine)})
    """
    assert run(after(PRODUCTS, script)).splitlines() == ["True"] * 3


def test_a_process_ends_in_peace_while_its_threads_work():
    script = """
        wrong = []
        threading.Thread(target=work, args=(wrong, 10**9), daemon=True).start()
        bits()
        print("end")
    """
    for _ in range(3):
        assert run(after(PRODUCTS, script)) == "end\n"


def test_kernels_run_after_the_threads_were_dismissed():
    script = """
        jit._threads.stop()
        print(bits() == expected)
    """
    assert run(after(PRODUCTS, script)) == "True\n"


def test_a_system_without_more_threads_is_served_by_fewer(monkeypatch, threads):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    threads(2)
    monkeypatch.setattr(jit.threading.Thread, "start", refuse)
    threads(len(jit._threads.helpers) + 5)
    x = np.zeros(1000)
    _counted(x)
    assert np.array_equal(x, np.arange(1000))
