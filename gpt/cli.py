"""The command line: gpt train | generate | eval.

What was asked for goes to stdout; what is wrong goes to stderr, in one sentence, with an exit code:
1 if it cannot be done, 2 if the command line is wrong, 130 after Ctrl-C.
"""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import tyro

import tensorlite
from gpt import training
from gpt.arguments import UsageError, options_in, parse, value_of
from gpt.checkpoint import Run, RunError
from gpt.config import GPTConfig, TrainingConfig, nearest, preset
from gpt.console import Console
from gpt.corpus import CorpusError, Tokens, read_text
from gpt.generate import stream
from gpt.sampling import Sampling
from gpt.tokenizer import StreamDecoder, TokenizerError

RUNS = Path("runs")


@dataclass
class Train:
    """Train a GPT on text files, folders of them, or the manual inside Python.

    --resume RUN goes on with a run that was interrupted, and needs nothing else.
    """

    model: tyro.conf.OmitArgPrefixes[GPTConfig]
    training: tyro.conf.OmitArgPrefixes[TrainingConfig]
    files: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """text files, or folders with *.txt and *.md files; none: the manual inside Python"""
    preset: str = "default"
    """where the values of all other options come from"""
    out: str | None = None
    """folder of the run; None: a new one in runs/"""
    resume: str | None = None
    """folder of a run to go on with"""
    threads: int | None = None
    """threads to compute on; the results are the same bits"""


@dataclass
class Generate:
    """Write text with a trained model."""

    run: Annotated[str, tyro.conf.Positional]
    """folder of the run"""
    prompt: str = ""
    """the beginning of the text"""
    max_tokens: int = 200
    """length of the continuation"""
    temperature: float = 0.8
    """below 1 more likely text, above 1 more varied; 0: the likeliest token each time"""
    top_k: int | None = None
    """choose among so many likeliest tokens"""
    top_p: float | None = None
    """choose among the likeliest tokens that together have this probability"""
    seed: int = 0
    """the same seed gives the same text"""
    threads: int | None = None
    """threads to compute on; the text is the same"""


@dataclass
class Eval:
    """Measure a trained model on the text its run held out, or on other text."""

    run: Annotated[str, tyro.conf.Positional]
    """folder of the run"""
    files: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """text files or folders; none: the held-out part of the run's own text"""
    batch_size: int = 16
    """windows per forward pass; changes nothing but the time"""
    threads: int | None = None
    """threads to compute on; the result is the same"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else ""
    if name in ("", "-h", "--help"):
        print(overview())
        return 0 if name else 2
    if name not in COMMANDS:
        print(f"gpt: unknown command {name!r}{nearest(name, COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[name](arguments[1:])
    except UsageError as error:
        print(f"gpt {name}: {error}", file=sys.stderr)
        return 2
    except (RunError, CorpusError, TokenizerError, training.Diverged) as error:
        print(f"gpt {name}: {error}", file=sys.stderr)
    except BrokenPipeError:  # nobody reads on, as in `gpt generate ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"gpt {name}: {error.filename or 'the disk'}: {error.strerror}", file=sys.stderr)
    except MemoryError:
        print(f"gpt {name}: the memory does not suffice for a model so large", file=sys.stderr)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return 1


def overview() -> str:
    commands = {"train": Train, "generate": Generate, "eval": Eval}
    lines = [
        f"  gpt {name:<9} {str(kind.__doc__).splitlines()[0]}" for name, kind in commands.items()
    ]
    return "\n".join(["A GPT on the CPU, exact to the bit.", "", *lines, "", "Each has --help."])


# ------------------------------------------------------------------------------------------- train


def train(argv: list[str]) -> int:
    """gpt train: 0 when finished, 130 when interrupted and saved."""
    chosen = value_of("--preset", argv) or "default"
    try:
        start = preset(chosen)
    except ValueError as error:
        raise UsageError(str(error)) from None
    arguments = parse(Train, "gpt train", argv, Train(start.model, start.training))
    given = set(options_in(argv))
    if {"--steps", "--minutes"} <= given:
        raise UsageError("--steps and --minutes exclude each other; give one of them")
    if arguments.resume is not None:
        surplus = sorted(given - {"--resume", "--threads"}) + list(arguments.files)
        if surplus:
            raise UsageError(
                f"--resume takes everything from the run, only --threads may differ; "
                f"leave out {', '.join(surplus)}"
            )
    use_threads(arguments.threads)

    if arguments.resume is not None:
        run = Run.open(Path(arguments.resume))
    else:
        folder = Path(arguments.out) if arguments.out else free_folder(RUNS / chosen)
        run = Run.create(folder, arguments.model, arguments.training, arguments.files)
    try:
        session = training.prepare(run)
        stopped_by = watch(session)
    except KeyboardInterrupt:
        stopped_by = signal.SIGINT
    except (CorpusError, TokenizerError):
        if arguments.resume is None:
            run.discard()
        raise
    if not stopped_by:
        return 0
    print(f"to go on:  gpt train --resume {shlex.quote(str(run.folder))}", file=sys.stderr)
    return 128 + stopped_by


def watch(session: training.Session) -> int:
    """Train, and show how it goes; the number of the signal that ended it early, or 0."""
    console = Console(session)
    console.begin()
    with Interruption() as interruption, console, closing(training.train(session)) as steps:
        for progress in steps:
            console.show(progress)
            if interruption.signal:
                break
    if session.at.finished:
        return 0
    print(f"saved at step {session.at.step}", file=sys.stderr)
    return interruption.signal


def use_threads(number: int | None) -> None:
    """Compute on so many threads, if a number was given."""
    if number is not None:
        try:
            tensorlite.set_num_threads(number)
        except ValueError as error:
            raise UsageError(str(error)) from None


def free_folder(wanted: Path) -> Path:
    """The folder, or its name with the first number that is free."""
    names = itertools.chain([wanted], (Path(f"{wanted}-{n}") for n in itertools.count(2)))
    return next(folder for folder in names if not folder.exists())


class Interruption:
    """Ctrl-C or a polite kill is noted, so that no step is torn; a second one acts at once."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._before[number])
        print("\nsaving after this step; once more stops at once", file=sys.stderr)


# ------------------------------------------------------------------------------- generate and eval


def generate(argv: list[str]) -> int:
    """gpt generate: the prompt and its continuation, as it comes."""
    arguments = parse(Generate, "gpt generate", argv)
    try:
        sampling = Sampling(arguments.temperature, arguments.top_k, arguments.top_p, arguments.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if arguments.max_tokens < 0:
        raise UsageError(f"--max-tokens must not be negative, got {arguments.max_tokens}")
    use_threads(arguments.threads)
    run = Run.open(Path(arguments.run))
    tokenizer = run.load_tokenizer()
    model = run.load_model().for_decoding()
    prompt, end = training.beginning(tokenizer)
    if arguments.prompt:
        prompt = tokenizer.encode(arguments.prompt)
    decoder = StreamDecoder(tokenizer)
    print(arguments.prompt, end="", flush=True)
    for _, token in stream(model, [prompt], arguments.max_tokens, sampling, stop=end):
        if token not in end:
            print(decoder.push(token), end="", flush=True)
    print(decoder.finish())
    return 0


def evaluate(argv: list[str]) -> int:
    """gpt eval: nats per token and bits per byte."""
    arguments = parse(Eval, "gpt eval", argv)
    if arguments.batch_size < 1:
        raise UsageError(f"--batch-size must be positive, got {arguments.batch_size}")
    use_threads(arguments.threads)
    run = Run.open(Path(arguments.run))
    tokenizer = run.load_tokenizer()
    model = run.load_model()
    if arguments.files:
        text = read_text(arguments.files)
        tokens, source = Tokens.encode(text, tokenizer), text.source
    else:
        corpus = run.load_corpus(tokenizer)
        tokens, source = corpus.validation, f"the held-out part of {corpus.source}"
    nats, bits = training.evaluate(model, tokens, arguments.batch_size)
    print(
        f"{nats:.4f} nats per token, {bits:.4f} bits per byte on {source}: "
        f"{tokens.num_predicted:,} tokens, {tokens.num_bytes:,} bytes"
    )
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "generate": generate,
    "eval": evaluate,
}
