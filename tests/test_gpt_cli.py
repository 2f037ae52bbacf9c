"""The command line: what it writes where, its exit codes, and its sentences."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpt.cli import main
from gpt.console import duration

TINY = [
    "--tokenizer=char", "--n-layer=1", "--n_head=2", "--n-embd=16", "--block-size=12",
    "--batch-size=3", "--steps=8", "--eval-every=4", "--eval-batches=2", "--sample-tokens=6",
    "--checkpoint-every=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text("the tensor keeps the gradient of every loss it has seen.\n" * 40)
    return path


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", str(text), *TINY, "--out", str(folder)]) == 0
    return folder


def test_train_reports_and_ends_with_a_sample(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(text), *TINY, "--out", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, *_ = out.splitlines()
    assert re.fullmatch(rf"text   {text}: 2,\d\d\d bytes to learn from, 2\d\d held out", first)
    number = r"[\d,.]+"
    evaluation = (
        f"^step 4/8  loss {number}  held-out {number}  {number} bits/byte  {number} tokens/s  "
        r"\d:\d\d left$"
    )
    assert re.search(evaluation, out, re.MULTILINE)
    last = re.search(r"^step 8/8  .*  done\n((?:.|\n){6})\n\Z", out, re.MULTILINE)
    assert last is not None
    assert set(last[1]) <= set(text.read_text())


def test_without_out_each_run_has_its_own_folder(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["train", str(text), *TINY, "--steps=1"]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["default", "default-2"]


def test_generate_writes_the_prompt_and_the_same_text_again(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", str(run), "--prompt", "the ", "--max-tokens", "20"]
    texts = []
    for more in ([], [], ["--threads", "1"], ["--seed", "5"], ["--top-k", "1"]):
        assert main([*command, *more]) == 0
        texts.append(capsys.readouterr().out)
    assert all(t.startswith("the ") and len(t) == 4 + 20 + 1 for t in texts)
    assert texts[0] == texts[1] == texts[2]
    assert len(set(texts)) == 3


def test_generate_without_a_prompt_begins_a_text(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(run), "--max-tokens", "9", "--temperature", "0"]) == 0
    assert len(capsys.readouterr().out) == 10


def test_eval_measures_held_out_and_other_text(
    run: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(run)]) == 0
    held_out = capsys.readouterr().out
    assert "held-out part of" in held_out
    last_line = (run / "metrics.jsonl").read_text().splitlines()[-1]
    val_loss = re.search(r'"val_loss": ([\d.]+)', last_line)
    assert val_loss is not None
    assert held_out.startswith(f"{float(val_loss[1]):.4f} nats per token, ")
    other = tmp_path / "other.txt"
    other.write_text("the loss of the tensor\n")
    assert main(["eval", str(run), str(other)]) == 0
    assert f"bits per byte on {other}: 22 tokens, 22 bytes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        ("", 2, ""),
        ("trian", 2, "gpt: unknown command 'trian'; did you mean 'train'?"),
        ("train --n-layers 2", 2, "unknown option '--n-layers'; did you mean '--n-layer'?"),
        ("train --n-layer two", 2, "invalid literal"),
        ("train --n-layer", 2, "--n-layer"),
        ("train --norm batch", 2, "'batch'"),
        ("train --n-head 3", 2, "n_embd must be a multiple of n_head, got 128 and 3"),
        ("train --steps 0", 2, "steps must be positive, got 0"),
        ("train --steps 5 --minutes 1", 2, "--steps and --minutes exclude each other"),
        ("train --preset gpt3", 2, "unknown preset 'gpt3'; did you mean 'gpt2'?"),
        ("train --preset", 2, ""),
        ("train --threads 0", 2, "got 0"),
        ("train --threads 100000", 2, "got 100000"),
        ("train missing.txt", 1, "no file or folder missing.txt"),
        ("train empty.txt", 1, "empty.txt is empty"),
        ("train binary.txt", 1, "binary.txt is not UTF-8"),
        ("train short.txt --tokenizer byte", 1, "use more text or a smaller block_size"),
        ("train --resume nowhere", 1, "nowhere is not a run: it has no config.json"),
        ("train --resume RUN --n-layer 3", 2, "leave out --n-layer"),
        ("train other.txt --resume RUN", 2, "leave out other.txt"),
        ("train short.txt --out RUN", 1, "RUN holds a run already"),
        ("train short.txt --out short.txt", 1, "short.txt"),
        ("generate", 2, "run"),
        ("generate nowhere", 1, "nowhere is not a run"),
        ("generate foreign", 1, "is not of a run of gpt"),
        ("generate RUN --prompt Ω", 1, "the character 'Ω' at position 0"),
        ("generate RUN --top-p 2", 2, "top_p must lie in (0, 1], got 2.0"),
        ("generate RUN --max-tokens -1", 2, "max-tokens must not be negative, got -1"),
        ("generate RUN --temprature 1", 2, "did you mean '--temperature'?"),
        ("eval RUN missing.txt", 1, "no file or folder missing.txt"),
        ("eval RUN --batch-size 0", 2, "batch-size must be positive, got 0"),
    ],
)
def test_bad_input_gives_one_sentence(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], command: str, code: int, sentence: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("RUN").symlink_to(run)
    Path("empty.txt").touch()
    Path("binary.txt").write_bytes(b"\xff\xfe\x00")
    Path("short.txt").write_text("too short")
    Path("foreign").mkdir()
    Path("foreign/config.json").write_text('{"model_type": "gpt2"}')
    before = sorted(tmp_path.iterdir())
    assert main(command.split()) == code
    out, err = capsys.readouterr()
    assert sentence in err
    assert err.count("\n") <= 1
    assert out == "" or command == ""
    assert sorted(tmp_path.iterdir()) == before or sorted(Path("runs").iterdir()) == []


def test_help_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "gpt generate" in capsys.readouterr().out
    for command in ("train", "generate", "eval"):
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert not end.value.code
        assert f"usage: gpt {command}" in capsys.readouterr().out


def test_durations_read_like_a_clock() -> None:
    assert [duration(s) for s in (0, 59.6, 61, 3599, 3661)] == [
        "0:00", "1:00", "1:01", "59:59", "1:01:01"
    ]  # fmt: skip


# -------------------------------------------------------------------------------------- processes


def start(*arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gpt", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # type: ignore[call-overload]  # fmt: skip


def wait_for_step(folder: Path, step: int) -> None:
    for _ in range(3600):
        metrics = folder / "metrics.jsonl"
        if metrics.exists() and f'"step": {step},' in metrics.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"no step {step} within three minutes")


LONG = [*TINY, "--steps=3000", "--log-every=1", "--eval-every=100000", "--checkpoint-every=50"]


def test_ctrl_c_saves_and_says_how_to_go_on(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start("train", str(text), *LONG, "--out", str(folder))
    wait_for_step(folder, 5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"gpt train --resume {folder}" in err
    assert "Traceback" not in out + err
    saved = re.search(r"saved at step (\d+)", err)
    assert saved is not None
    last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
    assert f'"step": {saved[1]},' in last


def test_a_killed_process_resumes_to_the_same_bytes(text: Path, tmp_path: Path) -> None:
    command = [*LONG[:-4], "--steps=120", "--log-every=1", "--checkpoint-every=20"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert main(["train", str(text), *command, "--out", str(whole)]) == 0
    process = start("train", str(text), *command, "--out", str(killed), "--threads=1")
    for step in (30, 75):
        wait_for_step(killed, step)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        process = start("train", "--resume", str(killed))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    weights = [(folder / "model.safetensors").read_bytes() for folder in (killed, whole)]
    assert weights[0] == weights[1]


def test_a_full_disk_costs_no_checkpoint(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert main(["train", str(text), *TINY, "--steps=1", "--out", str(folder)]) == 0
    size = (folder / "state.safetensors").stat().st_size
    cut = tmp_path / "cut"
    process = start(
        "train", str(text), *TINY, "--out", str(cut),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, size - 1)),
        env=os.environ | {"NUMBA_CACHE_DIR": ""},
    )  # fmt: skip
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert re.fullmatch(r"gpt train: step 3 cannot be saved \(.*File too large.*\n", err)
    assert not (cut / "state.safetensors").exists()
    assert not list(cut.glob(".*.tmp"))
    assert main(["train", "--resume", str(cut)]) == 0


def test_a_reader_that_leaves_ends_the_program_quietly(run: Path) -> None:
    process = start("generate", str(run), "--max-tokens", "4000")
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 1
