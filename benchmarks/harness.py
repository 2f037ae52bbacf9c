"""How two programs are compared on a machine that others use too.

Both sides run in one process, in turns: A B A B ... Each turn lasts some milliseconds at least.
What is reported is the ratio of the medians, and the median of the ratios of neighbouring turns,
which a slow phase of the machine hits on both sides. Where they disagree, it was not quiet.

Between turns there is a pause: OpenMP's and OpenBLAS's threads spin for up to 25 ms after their
work and would take a core from the other side. One call goes before each turn, with no clock on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import peers
from benchmarks.peers import OURS as OURS

PAUSE = 0.03  # seconds
TURN = 0.005  # seconds a turn lasts at least
LONG = 0.1  # seconds beyond which a call needs no untimed one before it


@dataclass
class Result:
    """One row: what each side took, and how ours compares with each other side.

    value:  median per call, by side; seconds if unit is "s", bytes if it is "B"
    ratio:  our median divided by the peer's, by peer: below 1, ours is faster or smaller
    paired: the median of the ratios of neighbouring turns
    spread: their quartiles
    goal:   what the ratio must reach at most, by peer
    """

    benchmark: str
    case: str
    threads: int
    value: dict[str, float]
    unit: str = "s"
    ratio: dict[str, float] = field(default_factory=dict)
    paired: dict[str, float] = field(default_factory=dict)
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)
    goal: dict[str, float] = field(default_factory=dict)
    flops: float = 0.0
    bytes: float = 0.0
    items: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Bench:
    """What a benchmark is given: its time, its threads, and where results go."""

    quick: bool = False
    with_compile: bool = False
    thread_counts: tuple[int, ...] = (1,)
    threads: int = 1
    seconds: float = 1.0
    rounds: int = 11
    results: list[Result] = field(default_factory=list)
    on_result: Callable[[Result], None] = lambda result: None

    def on_threads(self) -> Iterator[int]:
        """For each number of threads asked for: all sides set to it."""
        for n in self.thread_counts:
            with self.on(n):
                yield n

    @contextmanager
    def on(self, n: int) -> Iterator[None]:
        with peers.threads(n):
            self.threads = n
            yield

    def compare(
        self, benchmark: str, case: str, sides: dict[str, Callable[[], Any]], **facts: Any
    ) -> Result:
        """Time the sides in turns; the first one is ours."""
        turns = take_turns(
            sides,
            1 if self.quick else self.seconds * len(sides),
            3 if self.quick else self.rounds,
        )
        return self.add(summary(benchmark, case, self.threads, turns, **facts))

    def add(self, result: Result) -> Result:
        self.results.append(result)
        self.on_result(result)
        return result


def take_turns(
    sides: dict[str, Callable[[], Any]], seconds: float, rounds: int
) -> dict[str, list[float]]:
    """Seconds per call, by side and turn: `rounds` turns if `seconds` suffice, 3 at least."""
    calls = {name: _calls_per_turn(run) for name, run in sides.items()}
    turns: dict[str, list[float]] = {name: [] for name in sides}
    end = time.perf_counter() + seconds
    done = 0
    while done < 3 or (done < rounds and time.perf_counter() < end):
        for name, run in sides.items():
            _pause()
            if not turns[name] or turns[name][-1] < LONG:
                run()
            start = time.perf_counter()
            for _ in range(calls[name]):
                run()
            turns[name].append((time.perf_counter() - start) / calls[name])
        done += 1
    return turns


def _pause() -> None:
    """Stay awake: a thread that has slept may wake on the core of its own helpers, and a library
    that does not move them apart again would be measured at half its speed, or less."""
    end = time.perf_counter() + PAUSE
    while time.perf_counter() < end:
        pass


def _calls_per_turn(run: Callable[[], Any]) -> int:
    """How many calls a turn holds; the first ones compile, load and warm up."""
    run()
    calls = 1
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        taken = time.perf_counter() - start
        if taken >= TURN or calls >= 1 << 20:
            return calls
        calls = max(calls * 2, int(calls * TURN / max(taken, 1e-7)))


def summary(
    benchmark: str,
    case: str,
    threads: int,
    turns: dict[str, list[float]],
    goal: dict[str, float] | None = None,
    repeats: int = 1,
    **facts: Any,
) -> Result:
    """Medians and ratios of measurements taken in turns; the first side is ours.

    repeats: how many of what is reported one call did
    """
    ours, *others = turns
    value = {name: statistics.median(times) / repeats for name, times in turns.items()}
    result = Result(benchmark, case, threads, value, **facts)
    for peer in others:
        pairs = [a / b for a, b in zip(turns[ours], turns[peer], strict=True)]
        result.ratio[peer] = value[ours] / value[peer]
        result.paired[peer] = statistics.median(pairs)
        if len(pairs) > 1:
            low, _, high = statistics.quantiles(pairs, n=4, method="inclusive")
            result.spread[peer] = (low, high)
    result.goal = {peer: limit for peer, limit in (goal or {}).items() if peer in others}
    return result


def mean_of(benchmark: str, threads: int, results: list[Result], **facts: Any) -> Result:
    """One row for many: the geometric mean of their ratios."""
    mean = Result(benchmark, "geometric mean", threads, {}, **facts)
    for peer in results[0].ratio:
        mean.ratio[peer] = statistics.geometric_mean([r.ratio[peer] for r in results])
        mean.paired[peer] = statistics.geometric_mean([r.paired[peer] for r in results])
    return mean
