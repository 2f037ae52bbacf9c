"""The disk cache of kernels: whatever lies in it, results are right and nothing crashes."""

import hashlib
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tensorlite.kernels import cache, jit

ROOT = Path(__file__).parents[1]
ONES = np.ones(5)


def twice(x):
    return x * 2.0 + 1.0


def thrice(x):
    return x * 3.0 + 1.0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CACHE_FOLDERS", [tmp_path])
    monkeypatch.setattr(cache, "CACHE_FOLDER", tmp_path)
    return tmp_path


def run(function):
    """The kernel's result for ones, and whether it came from the disk, as in a new process."""
    fresh = jit.kernel(function)
    return fresh(ONES)[0], fresh._cache.hits == 1


def only_file(folder):
    (path,) = folder.iterdir()
    return path


def test_what_was_compiled_once_is_loaded(folder):
    assert run(twice) == (3.0, False)
    assert run(twice) == (3.0, True)
    assert run(thrice) == (4.0, False)
    assert len(list(folder.iterdir())) == 2


def damaged(content, where, how):
    if how == "truncated":
        return content[:where]
    if how == "a bit flipped":
        return content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]
    return content[:where] + bytes(len(content) - where)  # a hole, as after a power cut


@settings(max_examples=10)
@given(share=st.floats(0, 1, exclude_max=True), data=st.data())
def test_a_damaged_file_is_compiled_again_and_repaired(tmp_path_factory, share, data):
    how = data.draw(st.sampled_from(["truncated", "a bit flipped", "a hole"]))
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CACHE_FOLDERS", [folder])
        patch.setattr(cache, "CACHE_FOLDER", folder)
        run(twice)
        path = only_file(folder)
        content = path.read_bytes()
        worse = damaged(content, int(share * len(content)), how)
        path.write_bytes(worse)
        # The end of the file may have been zeros already.
        assert run(twice) == (3.0, worse == content)
        assert run(twice) == (3.0, True)


@pytest.mark.parametrize(
    "content",
    [pickle.dumps((["printf"], ("nonsense",))), pickle.dumps(None), b"", b"no pickle"],
    ids=["wrong parts", "nothing", "empty", "no pickle"],
)
def test_a_file_of_another_program_with_a_right_checksum_is_compiled_again(folder, content):
    fresh = jit.kernel(twice)
    fresh(ONES)
    _, key = fresh._cache._name_and_key(fresh.signatures[0])
    only_file(folder).write_bytes(hashlib.sha256(key + content).digest() + content)
    assert run(twice) == (3.0, False)
    assert run(twice) == (3.0, True)


def test_the_file_of_another_kernel_under_this_name_is_compiled_again(folder):
    run(twice)
    mine = only_file(folder)
    run(thrice)
    (other,) = (path for path in folder.iterdir() if path != mine)
    mine.write_bytes(other.read_bytes())
    assert run(twice) == (3.0, False)


def test_a_folder_in_the_place_of_a_file_costs_a_compilation(folder):
    run(twice)
    path = only_file(folder)
    path.unlink()
    path.mkdir()
    assert run(twice) == (3.0, False)
    assert run(twice) == (3.0, False)


def test_without_a_folder_kernels_run(folder, monkeypatch):
    monkeypatch.setattr(cache, "CACHE_FOLDERS", [folder / "nowhere"])
    monkeypatch.setattr(cache, "CACHE_FOLDER", None)
    assert run(twice) == (3.0, False)
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_read(folder, monkeypatch):
    run(twice)
    monkeypatch.setattr(cache, "CACHE_FOLDER", None)
    assert run(twice) == (3.0, True)
    assert run(thrice) == (4.0, False)
    assert len(list(folder.iterdir())) == 1


def test_a_full_disk_leaves_no_half_file(folder, monkeypatch):
    write = Path.write_bytes

    def write_half(path, content):
        write(path, content[: len(content) // 2])
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_half)
        assert run(twice) == (3.0, False)
    assert list(folder.iterdir()) == []


def test_a_folder_that_vanishes_costs_a_compilation(folder):
    folder.rmdir()
    assert run(twice) == (3.0, False)


def test_a_changed_kernel_source_or_version_changes_the_folder(tmp_path, monkeypatch):
    (tmp_path / "simd").mkdir()
    for name in ("matmul.py", "simd/vectors.py"):
        (tmp_path / name).write_text("KC = 256\n")
    monkeypatch.setattr(cache, "KERNELS", tmp_path)
    before = cache._fingerprint()
    assert cache._fingerprint() == before
    (tmp_path / "simd/vectors.py").write_text("KC = 255\n")
    after = cache._fingerprint()
    assert after != before
    monkeypatch.setattr(cache.config, "CPU_FEATURES", "+avx2")
    assert cache._fingerprint() != after
    monkeypatch.setattr(cache.config, "CPU_FEATURES", None)
    monkeypatch.setattr(cache.numba, "__version__", "0")
    assert cache._fingerprint() != after


SOURCE = """
from tensorlite.kernels.jit import inline, kernel

@inline
def factor():
    return {factor}

@kernel
def scaled(x):
    return x * factor()
"""


def test_a_kernel_of_another_package_follows_its_source(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("package") / "theirs.py"

    def scaled(factor):
        path.write_text(SOURCE.format(factor=factor))
        space = {"__name__": "theirs"}
        exec(compile(path.read_text(), str(path), "exec"), space)
        return space["scaled"](ONES)[0], space["scaled"]._cache.hits

    assert scaled(2.0) == (2.0, 0)
    assert scaled(2.0) == (2.0, 1)
    assert scaled(3.0) == (3.0, 0)


def test_what_was_typed_into_an_interpreter_is_not_kept(folder):
    space = {"__name__": "__main__"}
    for factor in (2.0, 3.0):
        exec(compile(SOURCE.format(factor=factor), "<stdin>", "exec"), space)
        assert space["scaled"](ONES)[0] == factor
    assert list(folder.iterdir()) == []


def plus(term):
    @jit.allocating
    def add(x):
        return x + term

    def added(x):
        return add(x)

    return added


def indexed(table):
    def looked_up(x):
        return x + table[700]

    return looked_up


def test_closures_are_told_apart_by_what_they_hold(folder):
    assert [run(plus(term)) for term in (1, 2, 1)] == [(2.0, False), (3.0, False), (2.0, True)]
    # NumPy prints long arrays with their middle left out.
    long = np.zeros(2000)
    assert run(indexed(long)) == (1.0, False)
    changed = long.copy()
    changed[700] = 5.0
    assert run(indexed(changed)) == (6.0, False)


SCRIPT = textwrap.dedent(
    """
    import sys
    import numpy as np
    from tensorlite.kernels.cache import CACHE_FOLDER
    from tensorlite.kernels.jit import inline, kernel, parallel_for

    @inline
    def body(task, x, y):
        y[task] = x[task] * 2 + task

    @kernel
    def doubled(x):
        y = np.empty_like(x)
        parallel_for(body, x.size, (x, y))
        return y

    x = np.arange(100.0)
    sys.stdin.readline()
    assert np.array_equal(doubled(x), 3 * x)
    print(doubled._cache.hits, CACHE_FOLDER)
    """
)


def start(script, folder):
    environment = {
        **os.environ,
        "TENSORLITE_CACHE_DIR": str(folder),
        "TENSORLITE_AHEAD": "0",  # what this process does is what is tested
        "PYTHONPATH": str(ROOT),
    }
    pipe = subprocess.PIPE
    command = [sys.executable, str(script)]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)


def finish(process):
    out, _ = process.communicate("go\n", timeout=100)
    assert process.returncode == 0
    return out.strip().split(" ", 1)


def test_processes_that_compile_the_same_kernel_at_once_do_not_disturb_each_other(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    racing = [start(script, tmp_path / "cache") for _ in range(3)]
    for process in racing:  # all have imported, none has compiled
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in racing:
        finish(process)
    assert finish(start(script, tmp_path / "cache"))[0] == "1"
    (folder,) = (tmp_path / "cache").iterdir()
    assert {path.suffix for path in folder.iterdir()} == {".bin"}


def test_a_process_whose_folder_cannot_be_made_compiles_each_time(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "file").write_text("")
    assert finish(start(script, tmp_path / "file" / "cache")) == ["0", "None"]


def test_functions_of_different_processes_are_told_apart_in_machine_code(tmp_path):
    """Of one name and signature; else code from the disk may be linked with functions of ours."""
    script = """
        import os, sys
        import numpy as np
        from tensorlite.kernels import jit

        def shifted(amount):
            @jit.kernel
            def shift(x):
                x[0] += amount
            return shift

        def names():
            one, two = shifted(1.0), shifted(2.0)
            for kernel in (one, two):
                kernel(np.zeros(3))
                print(next(iter(kernel.overloads.values())).fndesc.mangled_name, flush=True)

        names()
        child = os.fork()
        if child == 0:
            names()
            os._exit(0)
        os.waitpid(child, 0)
        names()
    """
    seen = []
    for number in range(2):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, "TENSORLITE_CACHE_DIR": str(tmp_path / str(number)),
                 "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seen += done.stdout.split()
    assert len(seen) == 12
    assert len(set(seen)) == 12
