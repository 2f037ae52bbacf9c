"""What training looks like: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType

from rich.console import Console as Terminal
from rich.live import Live
from rich.text import Text

import tensorlite
from gpt.training import Progress, Session

REFRESH = 0.1  # seconds between two states of the live line
PLAIN = 5.0  # seconds between two plain lines


class Console:
    """Shows the progress of a training; a context, so that the live line is gone at its end."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.terminal = Terminal(file=sys.stdout, highlight=False, soft_wrap=True)
        self.live = Live(console=self.terminal, auto_refresh=False, transient=True)
        self.shown = -math.inf
        train = session.corpus.train
        self.tokens_per_byte = train.num_predicted / max(train.num_bytes, 1)

    def __enter__(self) -> Console:
        if self.terminal.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.live.stop()

    def begin(self) -> None:
        """Say what is trained, on what, and where it goes."""
        run, corpus, at = self.session.run, self.session.corpus, self.session.at
        model, training = run.model, run.training
        length = f"{training.steps:,} steps"
        if training.minutes is not None:
            length = f"{training.minutes:g} minutes"
        self.print(
            f"text   {corpus.source}: {corpus.train.num_bytes:,} bytes to learn from, "
            f"{corpus.validation.num_bytes:,} held out"
        )
        self.print(
            f"model  {self.session.model.num_parameters():,} parameters: {model.n_layer} layers, "
            f"{model.n_embd} wide, {model.block_size} positions, {model.vocab_size:,} tokens "
            f"({training.tokenizer})"
        )
        self.print(
            f"run    {run.folder}: {length} on {tensorlite.get_num_threads()} threads; Ctrl-C saves"
        )
        if at.finished:
            self.print(f"       finished after {at.step:,} steps; nothing is left to do")
        elif at.step:
            self.print(f"       goes on after step {at.step:,}")

    def show(self, progress: Progress) -> None:
        """Take note of a step: briefly, or for good after an evaluation."""
        now = time.perf_counter()
        line = self.line(progress)
        if progress.metrics.val_loss is not None:
            self.print(line)
            self.shown = now
            if progress.sample is not None:
                self.print(progress.sample if progress.finished else indented(progress.sample))
        elif self.terminal.is_terminal:
            if now - self.shown >= REFRESH:
                self.live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
                self.shown = now
        elif now - self.shown >= PLAIN:
            self.print(line)
            self.shown = now

    def line(self, progress: Progress) -> str:
        """Step, loss, bits per byte, tokens per second, time left."""
        metrics, training = progress.metrics, self.session.run.training
        steps = f"/{training.steps:,}" if training.minutes is None else ""
        parts = [f"step {metrics.step:,}{steps}", f"loss {metrics.train_loss:.3f}"]
        if metrics.val_loss is not None:
            parts += [f"held-out {metrics.val_loss:.3f}", f"{metrics.bits_per_byte:.3f} bits/byte"]
        else:
            bits = metrics.train_loss / math.log(2) * self.tokens_per_byte
            parts += [f"{bits:.3f} bits/byte"]
        parts += [f"{metrics.tokens_per_second:,.0f} tokens/s"]
        if progress.finished:
            parts += ["done"]
        elif progress.seconds_left is not None:
            parts += [f"{duration(progress.seconds_left)} left"]
        return "  ".join(parts)

    def print(self, text: str) -> None:
        """A line that stays, above the live one; what looks like markup is text."""
        self.terminal.print(Text(text))


def duration(seconds: float) -> str:
    """Hours if there are any, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def indented(text: str) -> str:
    """The lines of a text, four spaces in."""
    return "\n".join(f"    {line}" for line in text.splitlines())
