"""Pre-training, from top to bottom: text, model, optimizer, loop, evaluation.

`prepare` makes what a run needs or finds it in the folder; `train` is the loop, an iterator over
steps: who listens may print, and may stop listening, which saves the run. Nothing here prints.

A run by steps is a function of its configuration and text: the same bytes come out however often it
was interrupted and on however many threads. A run by minutes follows the clock, so two differ.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import tensorlite
from gpt.checkpoint import Place, Run
from gpt.config import TrainingConfig
from gpt.corpus import IGNORE, Batches, Corpus, Tokens, read_text, train_tokenizer
from gpt.generate import generate
from gpt.model import GPT
from gpt.sampling import Sampling
from gpt.tokenizer import END_OF_TEXT, Tokenizer, TokenizerError
from tensorlite import nn, optim


class Diverged(ValueError):
    """The loss is no number any more; the message says since when and what to do."""


@dataclass(frozen=True)
class Session:
    """All that a run works with; `at` moves as it goes on."""

    run: Run
    tokenizer: Tokenizer
    corpus: Corpus
    model: GPT
    optimizer: optim.Optimizer
    batches: Batches
    at: Place


@dataclass(frozen=True)
class Metrics:
    """A line of metrics.jsonl, without what is None.

    Losses in nats per token; seconds of training so far; tokens are those trained on.
    """

    step: int
    tokens: int
    train_loss: float
    val_loss: float | None
    bits_per_byte: float | None
    lr: float
    grad_norm: float
    tokens_per_second: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """What is known after a step."""

    metrics: Metrics
    seconds_left: float | None
    finished: bool
    sample: str | None
    """What the model writes, after an evaluation."""


def prepare(run: Run) -> Session:
    """Text, tokenizer, model and optimizer, where the last checkpoint had them."""
    if run.has_text():
        tokenizer = run.load_tokenizer()
        corpus = run.load_corpus(tokenizer)
    else:
        tokenizer, corpus = encode_text(run)
        run = run.save_text(tokenizer, corpus)
    tensorlite.manual_seed(run.training.seed)
    model = GPT(run.model)
    optimizer = make_optimizer(model, run.training)
    batches = Batches(corpus.train, run.training.seed)
    at = run.restore(model, optimizer, batches)
    return Session(run, tokenizer, corpus, model, optimizer, batches, at)


def encode_text(run: Run) -> tuple[Tokenizer, Corpus]:
    """Read the text, make a tokenizer for it, encode it."""
    held_out = run.training.validation_fraction
    text = read_text(run.files)
    tokenizer = train_tokenizer(
        run.training.tokenizer,
        text,
        vocab_size=run.model.vocab_size,
        validation_fraction=held_out,
    )
    corpus = Corpus.encode(text, tokenizer, validation_fraction=held_out)
    Batches(corpus.train).next(1, run.model.block_size)  # says if the text is too short
    return tokenizer, corpus


def make_optimizer(model: GPT, training: TrainingConfig) -> optim.AdamW:
    """AdamW that decays matrices only: pulling gains and biases to zero helps nothing."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return optim.AdamW(
        [
            {"params": matrices, "weight_decay": training.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        betas=(training.beta1, training.beta2),
    )


def train(session: Session) -> Generator[Progress, None, None]:
    """Train from where the session is to the end of the run, a step at a time.

    Closing the iterator saves the run. Diverged if the loss becomes NaN or infinite; the last
    checkpoint stays.
    """
    run, at, training = session.run, session.at, session.run.training
    clock = Clock(session)
    while not at.finished:
        lr = learning_rate(training, clock.position())
        with clock.step():
            train_loss, grad_norm = take_step(session, lr)
        at.finished = clock.is_over()

        evaluated = at.finished or at.step % training.eval_every == 0
        val_loss = bits_per_byte = sample = None
        if evaluated:
            val_loss, bits_per_byte = evaluate(
                session.model,
                session.corpus.validation,
                training.batch_size,
                None if at.finished else training.eval_batches or None,
            )
            sample = write(session) if training.sample_tokens else None
        at.seconds = clock.seconds()
        metrics = Metrics(
            step=at.step,
            tokens=at.tokens,
            train_loss=train_loss,
            val_loss=val_loss,
            bits_per_byte=bits_per_byte,
            lr=lr,
            grad_norm=grad_norm,
            tokens_per_second=round(clock.tokens_per_second(), 1),
            seconds=round(at.seconds, 3),
        )
        if evaluated or at.step % training.log_every == 0:
            run.log({name: value for name, value in asdict(metrics).items() if value is not None})
        saved = at.finished or at.step % training.checkpoint_every == 0
        if saved:
            run.save(session.model, session.optimizer, session.batches, at)
        try:
            yield Progress(metrics, clock.seconds_left(), at.finished, sample)
        except GeneratorExit:
            if not saved:
                run.save(session.model, session.optimizer, session.batches, at)
            raise


def take_step(session: Session, lr: float) -> tuple[float, float]:
    """One step of the optimizer; the loss before it and the norm of its gradient."""
    model, optimizer, at = session.model, session.optimizer, session.at
    training, block_size = session.run.training, model.config.block_size
    model.train()
    mean_loss = 0.0
    for _ in range(training.accumulate):
        ids, targets = session.batches.next(training.batch_size, block_size)  # both (B, T)
        loss = model.loss(tensorlite.from_numpy(ids), tensorlite.from_numpy(targets))
        loss = loss / training.accumulate
        loss.backward()
        mean_loss += loss.item()
        at.tokens += ids.size
    norm = nn.utils.clip_grad_norm_(model.parameters(), training.grad_clip or math.inf)
    grad_norm = float(norm.item())
    if not math.isfinite(mean_loss + grad_norm):
        raise Diverged(
            f"at step {at.step + 1} the loss is {mean_loss:g} and the norm of its gradient "
            f"{grad_norm:g}; lower --learning-rate"
        )
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad()
    at.step += 1
    return mean_loss, grad_norm


def learning_rate(training: TrainingConfig, position: float) -> float:
    """Linear from 0 to the peak over the warm-up, then half a cosine down to the end.

    position: steps done, of `training.steps`. Loshchilov and Hutter 2017, without restarts.
    """
    warmup = min(training.warmup_steps, training.steps // 10)
    if position < warmup:
        return training.learning_rate * (position + 1) / (warmup + 1)
    fraction = (position - warmup) / (training.steps - warmup)
    height = 0.5 * (1 + math.cos(math.pi * fraction))
    low, high = training.min_learning_rate, training.learning_rate
    return low + height * (high - low)


def evaluate(
    model: GPT, tokens: Tokens, batch_size: int, max_batches: int | None = None
) -> tuple[float, float]:
    """Nats per token and bits per byte on all tokens, or on max_batches spread evenly over them."""
    block_size = model.config.block_size
    windows = None if max_batches is None else max_batches * batch_size
    nats, predicted, num_bytes = 0.0, 0, 0
    was_training = model.training
    model.eval()
    with tensorlite.no_grad():
        for ids, targets in tokens.windows(batch_size, block_size, windows):
            count = int((targets != IGNORE).sum())
            loss = model.loss(tensorlite.from_numpy(ids), tensorlite.from_numpy(targets))
            nats += loss.item() * count
            predicted += count
            num_bytes += tokens.count_bytes(targets)
    model.train(was_training)
    return nats / predicted, nats / math.log(2) / max(num_bytes, 1)


def write(session: Session) -> str:
    """A text by the model, as it is now."""
    training, tokenizer = session.run.training, session.tokenizer
    sampling = Sampling(temperature=0.8, top_k=200, seed=training.seed)
    prompt, end = beginning(tokenizer)
    [ids] = generate(session.model, [prompt], training.sample_tokens, sampling, stop=end)
    return tokenizer.decode([token for token in ids if token not in end])


def beginning(tokenizer: Tokenizer) -> tuple[list[int], set[int]]:
    """What comes before a text that has no beginning yet, and the tokens that end a text."""
    end = tokenizer.special_tokens.get(END_OF_TEXT)
    if end is not None:
        return [end], {end}
    try:
        return tokenizer.encode("\n"), set()
    except TokenizerError:  # a text of one line
        return [0], set()


class Clock:
    """When a run ends: after `steps`, or after `minutes`, over which the schedule is stretched."""

    def __init__(self, session: Session) -> None:
        self.at, self.training = session.at, session.run.training
        self.begin = time.perf_counter() - self.at.seconds
        # Only a few steps: speed changes as the machine's other work comes and goes.
        self.recent: deque[tuple[float, int]] = deque(maxlen=20)  # (seconds, tokens)
        batch = self.training.batch_size * session.run.model.block_size
        self.final_batches = session.corpus.validation.num_predicted / batch

    @contextmanager
    def step(self) -> Iterator[None]:
        """Measure the step inside."""
        begin, tokens = time.perf_counter(), self.at.tokens
        yield
        self.recent.append((time.perf_counter() - begin, self.at.tokens - tokens))

    def seconds(self) -> float:
        """Time in training, that before an interruption included."""
        return time.perf_counter() - self.begin

    def seconds_per_step(self) -> float:
        """The median, since the first step compiles."""
        return statistics.median([seconds for seconds, _ in self.recent] or [0.0])

    def tokens_per_second(self) -> float:
        return sum(tokens for _, tokens in self.recent) / sum(s for s, _ in self.recent)

    def seconds_of_last_evaluation(self) -> float:
        """An estimate: a forward pass is less than half of one with its backward pass."""
        per_batch = self.seconds_per_step() / self.training.accumulate / 2
        return per_batch * self.final_batches

    def seconds_for_steps(self, minutes: float) -> float:
        """What is left of so many minutes for training, at least half of them."""
        return 60 * minutes - min(self.seconds_of_last_evaluation(), 30 * minutes)

    def position(self) -> float:
        """How far the schedule is, in steps of `training.steps`."""
        if self.training.minutes is None:
            return self.at.step
        fraction = self.seconds() / self.seconds_for_steps(self.training.minutes)
        return self.training.steps * min(fraction, 1.0)

    def is_over(self) -> bool:
        """Whether the step just done was the last."""
        if self.training.minutes is None:
            return self.at.step >= self.training.steps
        return self.seconds() >= self.seconds_for_steps(self.training.minutes)

    def seconds_left(self) -> float | None:
        """An estimate of the time to the end of the run, as soon as there can be one."""
        if self.at.finished:
            return 0.0
        if self.training.minutes is not None:
            return max(0.0, 60 * self.training.minutes - self.seconds())
        if len(self.recent) < 3:
            return None
        steps = self.training.steps - self.at.step
        return steps * self.seconds_per_step() + self.seconds_of_last_evaluation()
