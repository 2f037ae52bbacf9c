"""A run folder: all that is needed to use a model, to go on training it, and to see how it went.

    config.json         the shape of the model and the way it is trained
    tokenizer.json      text to ids and back
    corpus.npz          the encoded text: resuming needs no file from elsewhere
    model.safetensors   the weights, for whoever uses the model
    state.safetensors   the weights again, AdamW's moments, the step, the cursor, the generator
    metrics.jsonl       a line for each step that was logged
    loss.svg            the same, drawn

A run may be killed at any moment, so the files must fit together at every moment. Each is written
beside and renamed, hence never half a file; and each group of files has one that counts, written
last: corpus.npz ends the preparation, state.safetensors ends a checkpoint. That is why the state
holds the weights once more: resuming reads this file alone, and what was written for a step that it
does not know of is written again.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import tensorlite
from gpt.chart import loss_svg
from gpt.config import GPTConfig, TrainingConfig, from_dict, to_dict
from gpt.corpus import Batches, Corpus, Tokens
from gpt.files import replace_file
from gpt.model import GPT
from gpt.tokenizer import Tokenizer, load as load_tokenizer
from tensorlite import optim

FORMAT = "gpt run"
FORMAT_VERSION = 1


class RunError(ValueError):
    """A folder that is no run, or a run that cannot be used; the message says what to do."""


@dataclass
class Place:
    """How far a run has come."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    finished: bool = False


@dataclass(frozen=True)
class Run:
    """A folder and what its config.json says."""

    folder: Path
    model: GPTConfig
    training: TrainingConfig
    files: tuple[str, ...]
    """The texts to train on; none: the text that every Python carries."""

    # ------------------------------------------------------------------------------ configuration

    @classmethod
    def create(
        cls, folder: Path, model: GPTConfig, training: TrainingConfig, files: tuple[str, ...]
    ) -> Run:
        """Make the folder. RunError if it holds a run already, OSError if it cannot be made."""
        if (folder / "config.json").exists():
            raise RunError(
                f"{folder} holds a run already; continue it with --resume {folder}, "
                "or choose another folder with --out"
            )
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, model, training, files)
        run.save_config()
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Read the folder's config.json. RunError if it is not one of ours."""
        path = folder / "config.json"
        try:
            contents = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{folder} is not a run: it has no config.json") from None
        except ValueError as error:
            raise RunError(f"{path} is damaged: {error}") from None
        if not isinstance(contents, dict) or contents.get("format") != FORMAT:
            raise RunError(f'{path} is not of a run of gpt: it has no "format": "{FORMAT}"')
        if contents.get("version") != FORMAT_VERSION:
            raise RunError(
                f"{path} is of version {contents.get('version')!r}, "
                f"this program reads {FORMAT_VERSION}"
            )
        try:
            model = from_dict(GPTConfig, contents["model"])
            training = from_dict(TrainingConfig, contents["training"])
            files = tuple(str(file) for file in contents["files"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}") from None
        return cls(folder, model, training, files)

    def save_config(self) -> None:
        contents = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "model": to_dict(self.model),
            "training": to_dict(self.training),
            "files": [str(Path(file).resolve()) for file in self.files],
        }
        replace_file(self.folder / "config.json", (json.dumps(contents, indent=2) + "\n").encode())

    def discard(self) -> None:
        """Take back a run that could not be prepared, so that its folder is free again."""
        for name in ("config.json", "tokenizer.json", "corpus.npz"):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the folder may have been there, with other files
            self.folder.rmdir()

    # ----------------------------------------------------------------------------------- the text

    def save_text(self, tokenizer: Tokenizer, corpus: Corpus) -> Run:
        """Keep the text, encoded; the run as it is now, whose vocab_size is the tokenizer's."""
        run = replace(self, model=replace(self.model, vocab_size=tokenizer.vocab_size))
        run.save_config()
        tokenizer.save(self.folder / "tokenizer.json")
        file = io.BytesIO()
        np.savez(
            file,
            train=corpus.train.ids,
            validation=corpus.validation.ids,
            source=np.array(corpus.source),
        )
        replace_file(self.folder / "corpus.npz", file.getvalue())
        return run

    def has_text(self) -> bool:
        """Whether the preparation came to its end."""
        return (self.folder / "corpus.npz").exists()

    def load_tokenizer(self) -> Tokenizer:
        path = self.folder / "tokenizer.json"
        if not path.exists():
            raise RunError(f"{self.folder} has no tokenizer.json: its training has not begun")
        tokenizer = load_tokenizer(path)
        if tokenizer.vocab_size != self.model.vocab_size:
            raise RunError(
                f"{path} has {tokenizer.vocab_size} tokens, but config.json says "
                f"vocab_size {self.model.vocab_size}; they are of different runs"
            )
        return tokenizer

    def load_corpus(self, tokenizer: Tokenizer) -> Corpus:
        path = self.folder / "corpus.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                train, validation = (
                    Tokens(arrays[part], tokenizer.token_lengths())
                    for part in ("train", "validation")
                )
                return Corpus(train, validation, str(arrays["source"]))
        except FileNotFoundError:
            raise RunError(f"{self.folder} has no corpus.npz; name files to read") from None
        except Exception as error:  # zipfile, zlib and numpy each raise their own
            raise RunError(f"{path} is damaged: {error}") from None

    # -------------------------------------------------------------------------------- the weights

    def load_model(self) -> GPT:
        """The model as last saved."""
        path = self.folder / "model.safetensors"
        if not path.exists():
            raise RunError(f"{self.folder} has no model.safetensors: no checkpoint was saved yet")
        model = GPT(self.model)
        load_into(model, load_file(path), path)
        return model

    def save(self, model: GPT, optimizer: optim.Optimizer, batches: Batches, at: Place) -> None:
        """Write a checkpoint. RunError if that fails; then the one before it is intact."""
        weights = model.state_dict()
        state = {
            "at": asdict(at),
            "model": weights,
            "optimizer": optimizer.state_dict(),
            "batches": batches.state_dict(),
            "generator": tensorlite.get_rng_state(),
        }
        try:
            replace_file(self.folder / "loss.svg", loss_svg(self.metrics()).encode())
            tensorlite.save(weights, self.folder / "model.safetensors")
            tensorlite.save(state, self.folder / "state.safetensors")
        except OSError as error:
            raise RunError(
                f"step {at.step} cannot be saved ({error.strerror}); once that is mended, "
                f"gpt train --resume {self.folder} goes on from the checkpoint before"
            ) from None

    def restore(self, model: GPT, optimizer: optim.Optimizer, batches: Batches) -> Place:
        """Put everything where the last checkpoint had it, and forget what came after; without a
        checkpoint, nothing but the metrics changes. RunError if the checkpoint is unusable."""
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink()
        path = self.folder / "state.safetensors"
        at = Place()
        if path.exists():
            state = load_file(path)
            try:
                at = Place(**state["at"])
                load_into(model, state["model"], path)
                optimizer.load_state_dict(state["optimizer"])
                batches.load_state_dict(state["batches"])
                tensorlite.set_rng_state(state["generator"])
            except RunError:
                raise
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise RunError(f"{path} is not of this run: {error}") from None
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= at.step]
        replace_file(self.folder / "metrics.jsonl", "".join(kept).encode())
        return at

    # -------------------------------------------------------------------------------- the metrics

    def log(self, line: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last one that was cut off by a kill is left out."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        return [json.loads(line) for line in lines[:-1]]


# ----------------------------------------------------------------------------------------- tensors


def load_file(path: Path) -> dict[str, Any]:
    """tensorlite.load; RunError if the file is damaged or foreign."""
    try:
        contents = tensorlite.load(path)
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {error}") from None
    if not isinstance(contents, dict):
        raise RunError(f"{path} holds no weights by name")
    return contents


def load_into(model: GPT, weights: Mapping[str, Any], path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{path} does not fit config.json: {error}") from None
