"""Threads: how many, in forks, from several Python threads at once: on every pool the same bits."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tensorlite.kernels import jit

ROOT = Path(__file__).parents[1]
LAYERS = ["omp", "workqueue"] + (["tbb"] if importlib.util.find_spec("tbb") else [])


def run(script, **variables):
    """Run a script in a new process with these environment variables, and return what it prints."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "NUMBA_NUM", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**keep, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({}, 8),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "3,1"}, 3),
        ({"OMP_NUM_THREADS": "64"}, 8),
        ({"OMP_NUM_THREADS": "many"}, 8),
        ({"OMP_NUM_THREADS": "0"}, 8),
        ({"OMP_NUM_THREADS": "3", "NUMBA_NUM_THREADS": "8"}, 8),
    ],
    ids=str,
)
def test_the_environment_says_how_many_threads_to_begin_with(variables, expected, monkeypatch):
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jit.config, "NUMBA_NUM_THREADS", 8)
    assert jit._environment_threads() == expected


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS"])
def test_a_process_begins_with_the_threads_of_its_environment(variable):
    script = "from tensorlite.kernels import jit; print(jit.get_num_threads())"
    assert run(script, **{variable: "1"}) == "1\n"


def test_the_number_of_threads_is_checked():
    most = jit.config.NUMBA_NUM_THREADS
    for wrong in (0, -1, most + 1):
        with pytest.raises(ValueError, match=rf"must lie in \[1, {most}\], got {wrong}"):
            jit.set_num_threads(wrong)


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
    assert jit.threading_layer() == os.environ["NUMBA_THREADING_LAYER"]
    assert bits() == expected
"""
SEVERAL_PYTHON_THREADS = """
    wrong = []

    def work():
        wrong.extend(i for i in range(50) if bits() != expected)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(len(wrong))
"""
A_FORK = """
    def in_child(function):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            try:
                function()
            finally:
                sys.stdout.flush()
                os._exit(0)
        os.waitpid(child, 0)

    def compute():
        other = []
        worker = threading.Thread(target=lambda: other.append(bits() == expected))
        worker.start()
        worker.join()
        print(jit.get_num_threads(), bits() == expected, other[0])

    def ask_for_more():
        compute()
        jit.set_num_threads(1)
        try:
            jit.set_num_threads(2)
        except RuntimeError as error:
            print(error)
        in_child(compute)

    in_child(ask_for_more)
    compute()
"""


@pytest.mark.parametrize("layer", LAYERS)
def test_several_python_threads_at_once_get_the_same_bits(layer):
    script = textwrap.dedent(PRODUCTS) + textwrap.dedent(SEVERAL_PYTHON_THREADS)
    assert run(script, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="4") == "0\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("layer", LAYERS)
def test_forked_processes_compute_the_same_bits_on_one_thread(layer):
    script = textwrap.dedent(PRODUCTS) + textwrap.dedent(A_FORK)
    out = run(script, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="4").splitlines()
    assert out[0] == "1 True True"
    assert "must be 1 in a forked process, got 2" in out[1]
    assert out[2:] == ["1 True True", "4 True True"]  # the child's child, and the parent after all


def test_a_fork_before_the_first_kernel_keeps_its_threads():
    script = """
        import os
        import numpy as np
        from tensorlite.kernels import jit, matmul

        if os.fork() == 0:
            jit.set_num_threads(2)
            matmul.product(np.ones((200, 200)), np.ones((200, 200)))
            print(jit.get_num_threads(), flush=True)
            os._exit(0)
        os.wait()
    """
    assert run(script, NUMBA_NUM_THREADS="2") == "2\n"


@jit.inline
def _mark(task, x):
    x[task] = task


@jit.kernel
def _marked(x):
    jit.parallel_for(_mark, x.size, (x,))


@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 100])
def test_a_launch_runs_every_task_and_leaves_the_number_of_threads_alone(tasks):
    before = jit.get_num_threads()
    x = np.full(tasks, -1.0)
    _marked(x)
    assert np.array_equal(x, np.arange(tasks))
    assert jit.get_num_threads() == before


def test_few_tasks_do_not_shrink_the_pool():
    script = """
        import numpy as np
        from tensorlite.kernels import jit, matmul

        matmul.product(np.ones((9, 300), np.float32), np.ones((300, 300), np.float32))
        print(jit.get_num_threads())
    """
    assert run(script, NUMBA_NUM_THREADS="16") == "16\n"


def test_starting_the_pool_leaves_the_environment_as_it_was():
    script = """
        import os
        from tensorlite.kernels import jit

        jit.threading_layer()
        print(os.environ.get("GOMP_SPINCOUNT"))
    """
    assert run(script) == "None\n"
    assert run(script, GOMP_SPINCOUNT="10") == "10\n"


def test_a_python_thread_uses_the_number_of_threads_of_the_process():
    script = """
        import threading
        from tensorlite.kernels import jit

        jit.set_num_threads(3)
        worker = threading.Thread(target=lambda: print(jit.get_num_threads()))
        worker.start()
        worker.join()
    """
    assert run(script, NUMBA_NUM_THREADS="4") == "3\n"
