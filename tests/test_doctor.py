"""The doctor finds what is wrong and says what to do; warmup leaves nothing to compile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tensorlite import __main__ as command, doctor
from tensorlite.kernels import cache, jit, processor, simd

ROOT = Path(__file__).parents[1]


def remedies(findings):
    return [finding.remedy for finding in findings if finding.remedy]


def test_a_sound_installation_is_examined_without_complaint(monkeypatch, capsys):
    for look in ("threads", "launches", "ceilings"):  # what depends on other programs
        monkeypatch.setattr(doctor, look, lambda *_: iter(()))
    monkeypatch.setattr(sys, "argv", ["tensorlite", "doctor", "--seconds", "0"])
    assert command.main() == 0
    out = capsys.readouterr().out
    for word in ("Python", "numba", "SIMD", "the same bits", "all is well"):
        assert word in out


def test_speeds_are_measured_on_one_thread_and_on_all(monkeypatch):
    before = jit.get_num_threads()
    jit.set_num_threads(2)
    texts = [finding.text for finding in doctor.ceilings(0.01)]
    jit.set_num_threads(before)
    assert texts[0].startswith("1 thread:") and texts[1].startswith("2 threads:")
    assert all("GFLOP/s" in text and "GB/s" in text for text in texts[:2])


def test_tile_registers_that_the_system_keeps_are_a_finding(monkeypatch):
    monkeypatch.setattr(doctor, "FEATURES", {"avx512f", "amx-tile", "amx-bf16"})
    monkeypatch.setattr(simd, "TILES", False)
    assert "Linux 5.16" in remedies(doctor.processor())[0]
    monkeypatch.setattr(simd, "TILES", True)
    findings = list(doctor.processor())
    assert "by tile registers" in findings[0].text and not remedies(findings)


def test_tile_registers_can_be_left_alone():
    code = "from tensorlite.kernels import processor; print(processor.TILES)"
    environment = {**os.environ, processor.SWITCH: "0"}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert told.stdout == "False\n"


def test_launches_are_timed():
    assert " us to hand work to the threads" in next(doctor.launches()).text


@pytest.mark.parametrize("threads, remedy", [(1, "set_num_threads(4)"), (9, "OMP_NUM_THREADS=4")])
def test_too_many_threads_or_too_few_are_a_finding(threads, remedy, monkeypatch):
    monkeypatch.setattr(jit, "cores", lambda: 4)
    monkeypatch.setattr(jit, "get_num_threads", lambda: threads)
    assert remedy in remedies(doctor.threads())[0]


def test_a_cache_that_cannot_be_written_is_a_finding(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "CACHE_FOLDER", None)
    monkeypatch.setattr(cache, "CACHE_FOLDERS", [tmp_path / "none" / "tensorlite-0"])
    assert "TENSORLITE_CACHE_DIR" in remedies(doctor.cache())[0]


def test_a_wrong_kernel_is_a_finding(monkeypatch):
    product = doctor.product
    monkeypatch.setattr(doctor, "product", lambda a, b: product(a, b) + 1)
    assert "report it" in remedies(doctor.correctness())[0]


def test_clean_deletes_what_other_versions_left_and_nothing_else(monkeypatch, tmp_path):
    mine = tmp_path / f"tensorlite-{'0' * 16}"
    old = tmp_path / f"tensorlite-{'a' * 16}"
    theirs = tmp_path / f"tensorlite-{'b' * 16}"
    other = tmp_path / "tensorlite-notes"
    for folder in (mine, old, theirs, other):
        folder.mkdir()
        (folder / "kernel-1.bin").write_bytes(b"code")
    (theirs / "precious.txt").write_text("not ours")
    monkeypatch.setattr(cache, "CACHE_FOLDERS", [mine])
    assert "2 folders of other versions" in [f.text for f in doctor.cache()][1]
    assert doctor.clean() == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [mine.name, theirs.name, other.name]
    )
    assert (theirs / "precious.txt").exists() and (other / "kernel-1.bin").exists()


def test_after_warmup_training_and_decoding_compile_nothing():
    script = """
import gc
import tensorlite
from benchmarks.ours import Decoding, Training
from benchmarks.shapes import S
from numba.core.dispatcher import Dispatcher
from tensorlite.kernels.cache import DiskCache

def compiled():
    kernels = [d for d in gc.get_objects() if isinstance(d, Dispatcher)]
    kept = [d for d in kernels if isinstance(d._cache, DiskCache)]
    return {(d._cache.name, str(s)) for d in kept for s in d.signatures}

tensorlite.warmup()
before = compiled()
assert len(before) > 10
Training(S).step()
Decoding(S.config, 20).decode(3, 0)
print(sorted(compiled() - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
