"""Training: the schedule, evaluation, and E4: an interrupted run ends with the same bytes."""

import json
import math
import shutil
import xml.etree.ElementTree as ET
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt.checkpoint
import gpt.files
import tensorlite
from gpt.checkpoint import Run, RunError
from gpt.config import GPTConfig, TrainingConfig
from gpt.training import (
    Diverged,
    Progress,
    Session,
    evaluate,
    learning_rate,
    make_optimizer,
    prepare,
    take_step,
    train,
)

MODEL = GPTConfig(block_size=12, n_layer=1, n_head=2, n_embd=16, dropout=0.2)
TRAINING = TrainingConfig(
    tokenizer="char", steps=7, batch_size=3, accumulate=2, eval_every=3, eval_batches=2,
    sample_tokens=5, checkpoint_every=2, log_every=1, learning_rate=1e-2,
)  # fmt: skip
TIMES = ("seconds", "tokens_per_second")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["a", "tensor", "keeps", "the", "gradient", "of", "every", "loss", "it", "has", "seen"]
    draws = np.random.default_rng(0).integers(len(words), size=600)
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(" ".join(words[i] for i in draws) + ".\n")
    return path


@pytest.fixture
def run(text: Path, tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", MODEL, TRAINING, (str(text),))


@pytest.fixture(scope="module")
def undisturbed(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run that nobody interrupts."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(Run.create(folder, MODEL, TRAINING, (str(text),)))
    return folder


def finish(run: Run) -> list[Progress]:
    return list(train(prepare(run)))


def metrics_apart_from_time(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def assert_same_end(folder: Path, undisturbed: Path) -> None:
    model = "model.safetensors"
    assert (folder / model).read_bytes() == (undisturbed / model).read_bytes()
    assert metrics_apart_from_time(folder) == metrics_apart_from_time(undisturbed)


# --------------------------------------------------------------------------------------- schedule


def test_the_learning_rate_warms_up_and_follows_a_cosine() -> None:
    t = TrainingConfig(steps=2000, warmup_steps=100, learning_rate=1e-3, min_learning_rate=1e-4)
    assert learning_rate(t, 0) == pytest.approx(1e-3 / 101)
    assert learning_rate(t, 99) == pytest.approx(1e-3 * 100 / 101)
    assert learning_rate(t, 100) == pytest.approx(1e-3)
    assert learning_rate(t, 1050) == pytest.approx(5.5e-4)
    assert learning_rate(t, 2000) == pytest.approx(1e-4)


def test_warm_up_takes_a_tenth_of_a_short_run_at_most() -> None:
    assert learning_rate(TrainingConfig(steps=50, learning_rate=1e-3), 5) == pytest.approx(1e-3)


def test_matrices_alone_are_decayed(run: Run) -> None:
    model = prepare(run).model
    optimizer = make_optimizer(model, TRAINING)
    decayed, kept = optimizer.param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (TRAINING.weight_decay, 0.0)
    assert all(p.ndim == 2 for p in decayed["params"])
    assert all(p.ndim == 1 for p in kept["params"])
    assert sum(p.numel() for p in [*decayed["params"], *kept["params"]]) == model.num_parameters()


def test_a_step_accumulates_the_mean_gradient_of_its_batches(run: Run) -> None:
    session = prepare(replace(run, training=replace(TRAINING, grad_clip=0.0)))
    model = session.model
    model.dropout.p = 0.0
    for block in model.h:
        block.attn.dropout.p = block.mlp.dropout.p = 0.0
    batches = [session.batches.next(3, 12) for _ in range(2)]
    session.batches.step = 0
    ids, targets = (tensorlite.from_numpy(np.concatenate(x)) for x in zip(*batches, strict=True))
    whole = model.loss(ids, targets)
    whole.backward()
    norm = math.sqrt(
        sum((p.grad.numpy().astype(np.float64) ** 2).sum() for p in model.parameters())
    )
    model.zero_grad()
    loss, grad_norm = take_step(session, lr=1e-3)
    assert loss == pytest.approx(whole.item(), rel=1e-5)
    assert grad_norm == pytest.approx(norm, rel=1e-4)
    assert session.at.tokens == 2 * 3 * 12


# ------------------------------------------------------------------------------------- evaluation


def test_evaluation_is_the_mean_over_every_held_out_token(run: Run) -> None:
    session = prepare(run)
    model, tokens = session.model.eval(), session.corpus.validation
    nats, bits = evaluate(model, tokens, batch_size=4)
    total = 0.0
    for start in range(0, tokens.num_predicted, 12):
        window = tokens.ids[start : start + 13].astype(np.int64)
        logits = model(tensorlite.tensor(window[None, :-1])).detach().numpy()[0].astype(np.float64)
        log_sums = np.log(np.exp(logits).sum(-1))
        total += (log_sums - logits[np.arange(len(window) - 1), window[1:]]).sum()
    assert nats == pytest.approx(total / tokens.num_predicted, rel=1e-5)
    # A character of this text is a byte.
    assert bits == pytest.approx(nats / math.log(2), rel=1e-6)


def test_evaluation_and_samples_do_not_disturb_training(text: Path, tmp_path: Path) -> None:
    quiet = replace(TRAINING, eval_every=1000, sample_tokens=0, log_every=1000)
    ends = []
    for name, training in (("talkative", TRAINING), ("quiet", quiet)):
        run = Run.create(tmp_path / name, MODEL, training, (str(text),))
        finish(run)
        ends.append((run.folder / "model.safetensors").read_bytes())
    assert ends[0] == ends[1]


def test_training_learns_and_says_how_it_goes(run: Run) -> None:
    steps = finish(replace(run, training=replace(TRAINING, steps=60, eval_every=30)))
    assert steps[-1].metrics.train_loss < 0.8 * steps[0].metrics.train_loss
    assert [p.finished for p in steps] == [False] * 59 + [True]
    assert [p.metrics.step for p in steps if p.sample is not None] == [30, 60]
    assert all(len(p.sample) == 5 for p in steps if p.sample is not None)


def test_the_folder_holds_what_it_promises(undisturbed: Path) -> None:
    assert {path.name for path in undisturbed.iterdir()} == {
        "config.json", "tokenizer.json", "corpus.npz", "model.safetensors",
        "state.safetensors", "metrics.jsonl", "loss.svg",
    }  # fmt: skip
    lines = [json.loads(line) for line in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    always = {"step", "tokens", "train_loss", "lr", "grad_norm", "tokens_per_second", "seconds"}
    for line in lines:
        evaluated = {"val_loss", "bits_per_byte"} if line["step"] in (3, 6, 7) else set()
        assert set(line) == always | evaluated
        assert line["tokens"] == line["step"] * 2 * 3 * 12
    drawing = ET.fromstring((undisturbed / "loss.svg").read_text())
    circles = drawing.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 3


def test_the_saved_model_is_the_trained_one(run: Run) -> None:
    session = prepare(run)
    steps = list(train(session))
    loaded = Run.open(run.folder)
    assert loaded.model.vocab_size == session.tokenizer.vocab_size
    corpus = loaded.load_corpus(loaded.load_tokenizer())
    nats, bits = evaluate(loaded.load_model(), corpus.validation, batch_size=3)
    assert (nats, bits) == (steps[-1].metrics.val_loss, steps[-1].metrics.bits_per_byte)


def test_a_run_by_minutes_walks_the_whole_schedule_in_its_time(run: Run) -> None:
    finish(replace(run, training=replace(TRAINING, steps=1)))  # compiles
    timed = Run.create(
        run.folder.parent / "timed",
        MODEL,
        replace(TRAINING, steps=100, minutes=0.05, eval_every=10_000),
        run.files,
    )
    steps = finish(timed)
    assert 2.0 < steps[-1].metrics.seconds < 4.5
    rates = [p.metrics.lr for p in steps]
    assert max(rates) > 0.9e-2
    assert rates[-1] < 2e-3
    assert finish(Run.open(timed.folder)) == []


# --------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("stop", [1, 2, 3, 6])
def test_a_run_that_was_stopped_ends_with_the_same_bytes(
    run: Run, undisturbed: Path, stop: int
) -> None:
    with closing(train(prepare(run))) as steps:
        for progress in steps:
            if progress.metrics.step == stop:
                break
    assert len(finish(Run.open(run.folder))) == 7 - stop
    assert_same_end(run.folder, undisturbed)


def test_the_number_of_threads_changes_no_byte(run: Run, undisturbed: Path) -> None:
    threads = tensorlite.get_num_threads()
    try:
        with closing(train(prepare(run))) as steps:
            tensorlite.set_num_threads(1)
            for _ in range(3):
                next(steps)
        finish(Run.open(run.folder))
    finally:
        tensorlite.set_num_threads(threads)
    assert_same_end(run.folder, undisturbed)


def test_a_finished_run_has_nothing_left_to_do(run: Run, undisturbed: Path) -> None:
    finish(run)
    assert finish(Run.open(run.folder)) == []
    assert_same_end(run.folder, undisturbed)


def test_a_kill_between_any_two_writes_costs_no_byte(
    run: Run, undisturbed: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill leaves the folder as it was after some write. Every such state is kept, the whole run
    long, and each is resumed. The text is gone once it was encoded."""
    states: list[Path] = []

    def keep() -> None:
        states.append(tmp_path / f"killed-{len(states)}")
        shutil.copytree(run.folder, states[-1])

    write, save, log = gpt.files.replace_file, tensorlite.save, Run.log

    def replace_file(path: Path, data: bytes) -> None:
        write(path, data)
        keep()

    def save_tensors(contents: Any, path: Path) -> None:
        beside = path.with_name(f".{path.name}.1.tmp")
        save(contents, beside)
        keep()  # killed before the rename
        beside.replace(path)
        keep()

    def log_torn(run: Run, line: dict[str, Any]) -> None:
        before = (run.folder / "metrics.jsonl").read_bytes()
        log(run, line)
        keep()
        after = (run.folder / "metrics.jsonl").read_bytes()
        (run.folder / "metrics.jsonl").write_bytes(after[: len(before) + 9])
        keep()
        (run.folder / "metrics.jsonl").write_bytes(after)

    keep()
    monkeypatch.setattr(gpt.checkpoint, "replace_file", replace_file)
    monkeypatch.setattr(tensorlite, "save", save_tensors)
    monkeypatch.setattr(Run, "log", log_torn)
    finish(run)
    monkeypatch.undo()
    assert_same_end(run.folder, undisturbed)
    assert len(states) > 30
    for state in states:
        killed = Run.open(state)
        if killed.has_text():
            killed = replace(killed, files=("gone.txt",))
        finish(killed)
        assert_same_end(state, undisturbed)
        assert not list(state.glob(".*.tmp"))


# ----------------------------------------------------------------------------------------- errors


def test_a_loss_that_is_no_number_stops_the_run(run: Run) -> None:
    def spoil(session: Session) -> None:
        with tensorlite.no_grad():
            session.model.wte.weight.fill_(math.nan)

    session = prepare(run)
    steps = train(session)
    for _ in range(2):
        next(steps)
    spoil(session)
    with pytest.raises(Diverged, match=r"at step 3 the loss is nan .* lower --learning-rate"):
        next(steps)
    assert prepare(Run.open(run.folder)).at.step == 2


@pytest.mark.parametrize("name", ["state.safetensors", "corpus.npz", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["cut", "foreign", "empty"])
def test_a_damaged_file_is_named(undisturbed: Path, tmp_path: Path, name: str, damage: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    data = (folder / name).read_bytes()
    spoiled = {"cut": data[: len(data) // 2], "foreign": b"\x80\x04K\x01.", "empty": b""}[damage]
    (folder / name).write_bytes(spoiled)
    with pytest.raises(ValueError, match=name):
        prepare(Run.open(folder))


def test_weights_of_another_shape_are_refused(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    config = json.loads((folder / "config.json").read_text())
    config["model"]["n_embd"] = 32
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"model\.safetensors does not fit config\.json: .*wte"):
        Run.open(folder).load_model()
    with pytest.raises(RunError, match=r"state\.safetensors does not fit config\.json: .*wte"):
        prepare(Run.open(folder))


@pytest.mark.parametrize(
    ("contents", "sentence"),
    [
        (None, "is not a run: it has no config.json"),
        ("{", "is damaged"),
        ("[]", "is not of a run of gpt"),
        ('{"model_type": "gpt2"}', "is not of a run of gpt"),
        ('{"format": "gpt run", "version": 99}', "of version 99, this program reads 1"),
        ('{"format": "gpt run", "version": 1}', "is damaged"),
        (
            '{"format": "gpt run", "version": 1, "model": {"heads": 2}, "training": {}}',
            "unknown name 'heads'; did you mean 'n_head'",
        ),
    ],
)
def test_a_folder_that_is_no_run_is_refused(
    tmp_path: Path, contents: str | None, sentence: str
) -> None:
    if contents is not None:
        (tmp_path / "config.json").write_text(contents)
    with pytest.raises(RunError, match=sentence):
        Run.open(tmp_path)


def test_a_run_is_not_written_over_another(run: Run) -> None:
    with pytest.raises(RunError, match="holds a run already; continue it with --resume"):
        Run.create(run.folder, MODEL, TRAINING, ())
