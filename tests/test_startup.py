"""Working ahead: one process compiles what a training step needs first, another the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tensorlite import startup
from tensorlite.kernels import (
    attention,
    attention_backward,
    cache,
    cross_entropy,
    elementwise,
    gemm,
    norm,
    optimizer,
    rows,
)

ROOT = Path(__file__).parents[1]
AHEAD = (
    attention._attention,
    attention_backward._attention_backward,
    norm._norm_backward,
    optimizer._sum_of_squares,
    optimizer._scale,
    optimizer._adamw,
    cross_entropy.cross_entropy_in_place,
    elementwise._add,
    rows._embedding_backward,
)


@pytest.fixture
def started(monkeypatch):
    """The commands of processes that would be started; none is."""
    commands = []

    def spawn(path, command, environment, **more):
        commands.append((command, environment))
        return os.getpid()  # nobody's child: to wait for it fails at once

    monkeypatch.setattr(startup.os, "posix_spawn", spawn)
    monkeypatch.setattr(startup.os, "waitpid", lambda process, options: None)
    monkeypatch.setattr(startup, "cores", lambda: 2)
    monkeypatch.delenv("TENSORLITE_AHEAD", raising=False)
    startup._start_beside.cache_clear()
    yield commands
    startup._start_beside.cache_clear()


def test_what_comes_after_the_products_is_compiled_and_no_product(monkeypatch):
    startup.compile_ahead(os.getppid())
    for kernel in AHEAD:
        assert any("float32" in str(signature) for signature in kernel.signatures), kernel


def test_without_its_parent_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(startup, "zeros", None)  # would fail if it were called
    startup.compile_ahead(os.getppid() + 1)


def test_the_kernels_that_are_needed_first_have_these_names():
    assert {kernel._cache.name for kernel in (norm._norm, gemm.gemm)} == set(startup.FIRST)


def test_one_process_is_started_for_what_a_training_step_needs_first(started):
    startup._at_miss("activation._gelu")
    assert started == []
    startup._at_miss("norm._norm")
    startup._at_miss("gemm.gemm")
    ((command, environment),) = started
    assert command[0] == sys.executable and f"compile_ahead({os.getpid()})" in command[-1]
    assert environment["TENSORLITE_AHEAD"] == "0"  # it starts none of its own


@pytest.mark.parametrize("reason", ["forbidden", "one core", "no folder", "no interpreter"])
def test_none_is_started_where_it_would_be_of_no_use(started, monkeypatch, reason):
    if reason == "forbidden":
        monkeypatch.setenv("TENSORLITE_AHEAD", "0")
    elif reason == "one core":
        monkeypatch.setattr(startup, "cores", lambda: 1)
    elif reason == "no folder":
        monkeypatch.setattr(cache, "CACHE_FOLDER", None)
    else:  # of a program that Python is a part of
        monkeypatch.setattr(startup.sys, "executable", "/usr/bin/editor")
    startup._at_miss("gemm.gemm")
    assert started == []


def test_a_system_that_starts_none_is_no_reason_to_fail(started, monkeypatch):
    def fail(*arguments, **more):
        raise OSError("no more processes")

    monkeypatch.setattr(startup.os, "posix_spawn", fail)
    startup._at_miss("gemm.gemm")


def test_a_first_process_finds_on_the_disk_what_it_has_not_compiled(tmp_path):
    script = """
import sys, time
from pathlib import Path
import tensorlite
from tensorlite import startup
startup.cores = lambda: 2  # whatever this machine has
tensorlite.nn.functional.layer_norm(tensorlite.ones(2, 8), (8,))
end = time.monotonic() + 120
while time.monotonic() < end and not list(Path(sys.argv[1]).rglob("attention._attention-*.bin")):
    time.sleep(0.05)
q = tensorlite.ones(1, 1, 2, 8)
tensorlite.nn.functional.causal_attention(q, q, q)
from tensorlite.kernels import attention
print(attention._attention._cache.hits)
"""
    environment = {k: v for k, v in os.environ.items() if k != "TENSORLITE_AHEAD"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**environment, "TENSORLITE_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"] and done.stderr == ""
