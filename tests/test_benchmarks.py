"""The benchmarks measure what they say, and their tables hold what was measured."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import (
    __main__ as command,
    general,
    harness,
    machine,
    peers,
    plain,
    plots,
    process,
    report,
)
from benchmarks.harness import OURS, Bench, Result
from benchmarks.ours import Training
from benchmarks.shapes import STEPS, S, Shape, Step, linears
from tensorlite import profiler

ROOT = Path(__file__).parents[1]


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setattr(peers, "HAS_TORCH", False)


def turns(ours, theirs):
    return {OURS: ours, "numpy": theirs}


def test_ratios_are_of_medians_and_of_neighbours():
    result = harness.summary("b", "c", 1, turns([1.0, 2.0, 30.0], [2.0, 8.0, 10.0]))
    assert result.value == {OURS: 2.0, "numpy": 8.0}
    assert result.ratio == {"numpy": 0.25}
    assert result.paired == {"numpy": 0.5}


def test_repeats_are_divided_out_and_goals_without_a_peer_are_dropped():
    goal = {"numpy": 1.0, "torch": 0.5}
    result = harness.summary("b", "c", 1, turns([4.0], [8.0]), goal=goal, repeats=4)
    assert result.value == {OURS: 1.0, "numpy": 2.0}
    assert result.goal == {"numpy": 1.0}


def test_sides_take_turns_and_short_calls_are_repeated(monkeypatch):
    monkeypatch.setattr(harness, "PAUSE", 0.0)
    calls = []
    sides = {"a": lambda: (calls.append("a"), time.sleep(0.002)), "b": lambda: calls.append("b")}
    times = harness.take_turns(sides, seconds=0.0, rounds=5)
    assert len(times["a"]) == len(times["b"]) == 3  # the least, since no time is given
    assert times["b"][0] < 0.001 < 0.002 <= times["a"][0]
    assert calls.count("b") > calls.count("a") > 9  # turns last 5 ms
    order = "".join(calls).rstrip("b")
    assert order.count("ba") == 3  # the sides' warm-ups, then A B A B A B


def test_threads_are_set_on_every_side_and_restored():
    tensorlite = peers.libraries()[OURS]
    before = {name: library.get_num_threads() for name, library in peers.libraries().items()}
    with peers.threads(1):
        assert all(library.get_num_threads() == 1 for library in peers.libraries().values())
        assert tensorlite.get_num_threads() == 1
    assert {n: library.get_num_threads() for n, library in peers.libraries().items()} == before


def test_a_training_step_does_as_many_operations_as_its_shape_says():
    training = Training(S)
    with profiler.profile() as p:
        training.step()
    counted = sum(row.flops for row in p.rows)
    assert counted == pytest.approx(S.flops, rel=0.02)


def test_the_products_of_a_step_are_its_operations_but_attention():
    for step in STEPS.values():
        blocks = {"head": 1}
        products = sum(
            3 * layer.flops * blocks.get(layer.name.split()[1], step.config.n_layer)
            for layer in linears(step)
        )
        assert products == pytest.approx(6.0 * step.parameters * step.tokens)


def test_both_sides_train_alike():
    pytest.importorskip("torch")
    from benchmarks import training

    ours, theirs = Training(S), peers.torch_gpt().Training(S)
    training.same_start(ours, theirs)
    for _ in range(3):
        assert ours.step() == pytest.approx(theirs.step(), rel=1e-4)


def shown(results):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    report.show(console, results)
    return console.export_text()


def some_results():
    fast = harness.summary(
        "training",
        "S",
        2,
        {OURS: [0.01], "torch": [0.02]},
        goal={"torch": 0.6},
        items=100,
        flops=1e9,
    )
    slow = harness.summary(
        "training",
        "M",
        2,
        {OURS: [0.9], "torch": [1.0]},
        goal={"torch": 0.72},
        items=100,
        flops=1e9,
    )
    return [fast, slow]


def test_a_table_tells_ratios_goals_and_speeds():
    text = shown(some_results())
    assert "0.50 <= 0.6" in text and "0.90 > 0.72" in text
    assert "10 ms" in text and "10,000 tokens/s, 100 GFLOP/s" in text


@pytest.mark.parametrize(
    "value, unit, text",
    [(1.5e-5, "s", "15 us"), (2.0, "s", "2 s"), (2.5e9, "B", "2.5 GB"), (3e10, "B/s", "30 GB/s")],
)
def test_quantities_have_the_prefix_that_suits_them(value, unit, text):
    assert report.quantity(value, unit) == text


def test_a_file_keeps_what_was_not_measured_again(tmp_path):
    path = tmp_path / "results.json"
    about = {"cpu": "a", "versions": {}}
    first = some_results()
    report.write_json(path, first, about)
    again = harness.summary("training", "M", 2, {OURS: [0.5], "torch": [1.0]})
    report.write_json(path, [again], about)
    results, read = report.read_json(path)
    assert read == about
    assert {r.case: r.value[OURS] for r in results} == {"S": 0.01, "M": 0.5}
    assert results[0] == first[0]


def test_the_readme_is_rewritten_between_its_markers_only(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n{report.START}\nold\n{report.END}\nThe rest.\n")
    about = {"cores": 2, "cpu": "CPU", "date": "2025-01-01", "versions": {"numpy": "2"}}
    about |= {"processor": "narrow2", "simd": 256}
    report.write_readme(path, some_results(), about)
    text = path.read_text()
    assert text.startswith("# Title\n") and text.endswith(f"{report.END}\nThe rest.\n")
    assert "| training step S | 10,000 tokens/s | 5,000 tokens/s | 0.50 of PyTorch |" in text
    assert "old" not in text
    report.write_readme(path, some_results(), about)
    assert path.read_text() == text
    report.write_readme(path, some_results(), about | {"processor": "wide", "cpu": "wide CPU"})
    both = path.read_text()
    assert both.index("On wide,") < both.index("wide CPU") < both.index("On narrow2,")
    assert text.split("#### ")[1].split(report.END)[0] in both  # the other table has stayed
    path.write_text("# Title\n")
    with pytest.raises(ValueError, match="needs a line"):
        report.write_readme(path, some_results(), about)


def test_every_picture_is_drawn_from_results(tmp_path):
    pytest.importorskip("matplotlib")
    results = some_results()
    for case, speed in (("float32 peak", 1e11), ("memory read", 2e10)):
        results.append(Result("machine", case, 2, {"machine": speed}))
    sides = {OURS: [0.01], "numpy": [0.02]}
    results.append(harness.summary("matmul", "m", 2, sides, flops=1e9, bytes=1e7))
    results.append(Result("scaling", "T = 1", 2, {OURS: 0.1}, extra={"axis": "T", "at": 1}))
    results.append(Result("scaling", "T = 2", 2, {OURS: 0.2}, extra={"axis": "T", "at": 2}))
    drawn = list(plots.draw(results, tmp_path))
    assert [path.name for path in drawn] == ["roofline.png", "bars.png", "scaling.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert list(plots.draw([], tmp_path)) == []


def test_ceilings_are_measured_once_and_lie_where_they_can(monkeypatch):
    bench = Bench(quick=True, thread_counts=(1,))
    machine.run(bench)
    value = {result.case: result.value["machine"] for result in bench.results}
    assert value["float32 peak"] > 1e9 and value["memory read"] > 1e8
    assert machine.peak(1, True) == value["float32 peak"]


def test_a_process_is_measured_with_one_side_only(tmp_path):
    figures = process.child(OURS, "S", 1, 1)
    assert figures["import"] > 0 and figures["first"] > 0
    assert figures["before"] < figures["peak"]
    script = (
        "import sys, benchmarks.shapes, benchmarks.workloads, benchmarks.child; print(*sys.modules)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"tensorlite", "torch", "gpt"} & set(done.stdout.split())


def test_the_command_measures_what_it_is_told_to(tmp_path, monkeypatch, capsys, without_torch):
    monkeypatch.setattr(harness, "PAUSE", 0.0)
    path = tmp_path / "results.json"
    words = ["benchmarks", "overhead", "--quick", "--threads", "1", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", words)
    assert command.main() == 0
    out = capsys.readouterr().out
    assert "PyTorch is not installed" in out and "add, recorded" in out
    results = json.loads(path.read_text())["results"]
    assert {r["benchmark"] for r in results} == {"overhead"}
    assert all(0 < r["value"][OURS] < 0.1 for r in results)


def test_general_ops_compute_the_same_on_both_sides():
    found = {}
    for side, library in peers.libraries().items():
        for case, op in general.cases(library, 40).items():
            library.manual_seed(5)
            result = op()
            values = result if isinstance(result, tuple) else (result,)
            found.setdefault(case, {})[side] = [np.asarray(value) for value in values]
    assert len(found) > 20
    for case, sides in found.items():
        for values in sides.values():
            for ours, theirs in zip(sides[OURS], values, strict=True):
                assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-5), case
                assert ours.shape == theirs.shape, case


def test_a_model_in_plain_ops_learns_the_same_on_both_sides():
    step = Step("tiny", Shape(17, 8, n_layer=2, n_head=2, n_embd=16, bias=False), 3, 8)
    losses = []
    for library in peers.libraries().values():
        model = plain.Plain(library, step)
        losses.append([model.step() for _ in range(30)])
    assert np.allclose(losses, losses[0], rtol=1e-4)
    assert losses[0][-1] < losses[0][0] - 0.2


def test_a_mean_is_the_geometric_one_of_each_ratio():
    sides = [turns([1.0], [2.0]), turns([1.0], [8.0])]
    results = [harness.summary("b", "c", 1, side) for side in sides]
    mean = harness.mean_of("b", 1, results, goal={"numpy": 1.0})
    assert mean.ratio == {"numpy": pytest.approx(0.25)}
    assert mean.paired == {"numpy": pytest.approx(0.25)}
    assert mean.goal == {"numpy": 1.0}


def test_unknown_names_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "matmull"])
    with pytest.raises(SystemExit):
        command.main()
    assert "unknown name 'matmull'; known are machine, matmul" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("threadpoolctl") is None, reason="not installed")
def test_numpy_is_set_to_the_same_number_of_threads():
    from threadpoolctl import threadpool_info

    with peers.threads(1):
        blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert set(blas) == {1}
