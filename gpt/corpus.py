"""Text in, ids out; batches from a seeded, resumable cursor.

`read_text` takes files and folders, or finds a text that every CPython carries. `Corpus` cuts it
into a training and a validation part by position and encodes both. `Batches` draws windows at
random for training; `Tokens.windows` walks every held-out token once for evaluation.

Loss is measured in nats per token, which no two tokenizers share; divided by the bytes the tokens
stand for, it is bits per byte, which all do. So every part knows its bytes.
"""

import ast
import codecs
import importlib
import os
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gpt.tokenizer import (
    END_OF_TEXT,
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    Progress,
    Tokenizer,
)

__all__ = [
    "IGNORE",
    "Batches",
    "Corpus",
    "CorpusError",
    "Text",
    "Tokens",
    "default_text",
    "read_text",
    "train_tokenizer",
]

Array = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]

IGNORE = -100
"""The target that cross-entropy ignores: what pads the last, shorter window."""

# Between documents, where the tokenizer has no token that says so.
SEPARATOR = "\n\n"

TEXT_SUFFIXES = (".md", ".txt")


class CorpusError(ValueError):
    """A text that can not be had or is too short; the message says which and what to do."""


@dataclass(frozen=True)
class Text:
    """Documents, and in one line where they come from."""

    documents: tuple[str, ...]
    source: str
    continues: bool = False
    """The first document is the rest of one whose beginning is elsewhere."""

    @property
    def num_characters(self) -> int:
        return sum(map(len, self.documents))

    def joined(self) -> str:
        return SEPARATOR.join(self.documents)

    def split(self, validation_fraction: float = 0.1) -> tuple["Text", "Text"]:
        """The text before and after the character at 1 - validation_fraction of it.

        Raises CorpusError if one of the two would be empty.
        """
        if not 0 < validation_fraction < 1:
            raise CorpusError(
                f"split: validation_fraction must lie between 0 and 1, got {validation_fraction}"
            )
        position = int(self.num_characters * (1 - validation_fraction))
        if not 0 < position < self.num_characters:
            raise CorpusError(
                f"split: a text of {self.num_characters} characters has no part of "
                f"{validation_fraction} to hold out; use a longer text"
            )
        before: list[str] = []
        after: list[str] = []
        continues = False
        for document in self.documents:
            if position >= len(document):
                before.append(document)
            elif position > 0:
                before.append(document[:position])
                after.append(document[position:])
                continues = True
            else:
                after.append(document)
            position -= len(document)
        return replace(self, documents=tuple(before)), Text(tuple(after), self.source, continues)


def read_text(paths: Sequence[str | os.PathLike[str]] = ()) -> Text:
    """The text of files and of the *.txt and *.md files in folders; without paths, `default_text`.

    Files are UTF-8, with or without a byte order mark; CRLF ends of lines become LF. Folders are
    read recursively, sorted by path, without hidden files. Each file is a document.

    Raises CorpusError where a file is missing, empty or not UTF-8, or a folder has no text.
    """
    if not paths:
        return default_text()
    documents: list[str] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = [_read_file(file) for file in _text_files(path)]
            found = [document for document in found if document.strip()]
            if not found:
                raise CorpusError(f"corpus: the folder {path} has no *.txt or *.md file with text")
            documents += found
        else:
            documents.append(_read_file(path))
            if not documents[-1].strip():
                raise CorpusError(f"corpus: {path} is empty; give a file with text in it")
    names = ", ".join(map(str, paths))
    files = "" if len(documents) == len(paths) else f" ({len(documents)} files)"
    return Text(tuple(documents), names + files)


def _text_files(folder: Path) -> list[Path]:
    files = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() in TEXT_SUFFIXES and not any(p.startswith(".") for p in parts):
            files.append(path)
    return sorted(path for path in files if path.is_file())


def _read_file(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"corpus: there is no file or folder {path}") from None
    except OSError as error:
        raise CorpusError(f"corpus: {path} cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        likely = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "latin1"
        raise CorpusError(
            f"corpus: {path} is not UTF-8 text: byte 0x{data[error.start]:02x} at position "
            f"{error.start}; convert it, for instance with "
            f"iconv -f {likely} -t utf-8 {path} > NEW"
        ) from None


def default_text() -> Text:
    """About half a megabyte of English that every CPython carries: its reference manual, as
    `help("topics")` shows it. The words differ a little from one version of Python to the next.

    Where it was left out to save space, the docstrings of the standard library serve instead.
    Raises CorpusError if these are missing too.
    """
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except (ImportError, AttributeError):
        topics = {}
    documents = tuple(topics[name] for name in sorted(topics) if topics[name].strip())
    if documents:
        return Text(documents, "the manual inside Python, pydoc_data.topics")
    documents = tuple(_docstrings(Path(sysconfig.get_path("stdlib"))))
    if documents:
        return Text(documents, "the docstrings of Python's standard library")
    raise CorpusError(
        "corpus: this Python carries neither its manual nor the sources of its library; "
        "name a text file to train on"
    )


def _docstrings(library: Path) -> Iterator[str]:
    """The docstrings of each module at the top of the library, read without importing it."""
    for path in sorted(library.glob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented)]
        document = SEPARATOR.join(docstring for docstring in found if docstring)
        if document:
            yield document + "\n"


def train_tokenizer(
    kind: str,
    text: Text,
    *,
    vocab_size: int,
    validation_fraction: float = 0.1,
    progress: Progress | None = None,
) -> Tokenizer:
    """A tokenizer for a text: "char", "byte" or "bpe".

    BPE learns from the training part alone, so that held-out text is held out from it as well; it
    has at most `vocab_size` ids, among them `<|endoftext|>`. Characters are those of all the text,
    since an unknown one could not be encoded.
    """
    if kind == "char":
        return CharTokenizer.train(text.joined())
    if kind == "byte":
        return ByteTokenizer()
    if kind == "bpe":
        train, _ = text.split(validation_fraction)
        return BPETokenizer.train(train.documents, vocab_size, progress=progress)
    raise CorpusError(f"train_tokenizer: the kind must be char, byte or bpe, got {kind!r}")


@dataclass(frozen=True, eq=False)
class Tokens:
    """A sequence of ids, each of which but the first is to be predicted from those before it."""

    ids: Array
    """(N,) uint16 or int32"""
    token_lengths: Ids
    """(V,): the bytes of text that each id stands for, 0 for special tokens"""

    @classmethod
    def encode(cls, text: Text, tokenizer: Tokenizer, *, progress: Progress | None = None) -> Self:
        """The ids of a text. `<|endoftext|>` comes before each document where the tokenizer has
        it, otherwise there is an empty line between two.

        progress: called with the number of characters done and the number of all of them.
        """
        end_of_text = tokenizer.special_tokens.get(END_OF_TEXT)
        if end_of_text is None:
            return cls(
                tokenizer.encode_array(text.joined(), progress=progress), tokenizer.token_lengths()
            )
        pieces: list[Array] = []
        done = 0
        for index, document in enumerate(text.documents):
            if index > 0 or not text.continues:
                pieces.append(np.array([end_of_text], tokenizer.dtype))
            pieces.append(tokenizer.encode_array(document))
            done += len(document)
            if progress is not None:
                progress(done, text.num_characters)
        return cls(np.concatenate(pieces), tokenizer.token_lengths())

    def after(self, previous: "Tokens") -> "Tokens":
        """These tokens with the last one of `previous` before them, so that the first of these is
        predicted as well."""
        return replace(self, ids=np.concatenate([previous.ids[-1:], self.ids]))

    @property
    def num_predicted(self) -> int:
        return len(self.ids) - 1

    @property
    def num_bytes(self) -> int:
        """The bytes of text that the predicted tokens stand for."""
        return int(self.token_lengths[self.ids[1:]].sum())

    def count_bytes(self, targets: Ids) -> int:
        """The bytes of text that the targets stand for: loss.sum() / ln 2 / count_bytes(targets)
        is bits per byte."""
        return int(self.token_lengths[targets[targets != IGNORE]].sum())

    def windows(
        self, batch_size: int, block_size: int, max_windows: int | None = None
    ) -> Iterator[tuple[Ids, Ids]]:
        """(ids, targets), each (B, block_size), that predict every token but the first once.

        Windows do not overlap. The last one is filled up with targets of IGNORE; the last batch has
        fewer rows. max_windows: a cheaper estimate, from so many windows evenly spaced.
        """
        _check_sizes("windows", batch_size, block_size)
        starts = np.arange(0, self.num_predicted, block_size)
        if max_windows is not None and max_windows < len(starts):
            starts = starts[np.arange(max_windows) * len(starts) // max_windows]
        offsets = np.arange(block_size)
        for first in range(0, len(starts), batch_size):
            places = starts[first : first + batch_size, None] + offsets  # (B, T)
            inside = places < self.num_predicted
            places = np.where(inside, places, 0)
            ids = np.where(inside, self.ids[places], 0).astype(np.int64)
            targets = np.where(inside, self.ids[places + 1].astype(np.int64), IGNORE)
            yield ids, targets


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text, encoded: what to train on and what to measure by."""

    train: Tokens
    validation: Tokens
    source: str

    @classmethod
    def encode(
        cls,
        text: Text,
        tokenizer: Tokenizer,
        *,
        validation_fraction: float = 0.1,
        progress: Progress | None = None,
    ) -> Self:
        """Cut the text by position and encode both parts.

        The first token of the validation part is the last one of the training part, for context:
        every held-out token is predicted once, so `validation.num_bytes` is exactly the size of
        the held-out text (and of the empty lines between its documents, if they are marked so).

        progress: called with the number of characters done and the number of all of them.
        """
        train_text, validation_text = text.split(validation_fraction)
        total = text.num_characters

        def train_progress(done: int, _: int) -> None:
            if progress is not None:
                progress(min(done, total), total)

        def validation_progress(done: int, _: int) -> None:
            train_progress(train_text.num_characters + done, total)

        train = Tokens.encode(train_text, tokenizer, progress=train_progress)
        validation = Tokens.encode(validation_text, tokenizer, progress=validation_progress)
        return cls(train, validation.after(train), text.source)


class Batches:
    """Windows at random places, for training.

    The places of batch number n are a function of (seed, n) alone: the key and the counter of a
    Philox generator (Salmon et al., 2011). So the state is two numbers, and a cursor whose state
    was loaded goes on with the same batches to the bit.
    """

    def __init__(self, tokens: Tokens, seed: int = 0) -> None:
        self._ids = tokens.ids
        self.seed = _checked_seed(seed)
        self.step = 0
        """The number of batches drawn."""

    def next(self, batch_size: int, block_size: int) -> tuple[Ids, Ids]:
        """(ids, targets), each (batch_size, block_size) int64; targets are ids one further on.

        Raises CorpusError if there are not block_size + 1 tokens.
        """
        _check_sizes("next", batch_size, block_size)
        num_places = len(self._ids) - block_size
        if num_places < 1:
            raise CorpusError(
                f"batches: a block_size of {block_size} needs at least {block_size + 1} tokens, "
                f"the training text has {len(self._ids)}; use more text or a smaller block_size"
            )
        # Raw words, since how a Generator makes integers of them may change between NumPy
        # versions; the remainder favours no place by more than num_places / 2^64.
        philox = np.random.Philox(key=self.seed, counter=self.step << 64)
        starts = (philox.random_raw(batch_size) % np.uint64(num_places)).astype(np.int64)
        windows = self._ids[starts[:, None] + np.arange(block_size + 1)].astype(np.int64)
        self.step += 1
        return np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, 1:])

    def state_dict(self) -> dict[str, int]:
        return {"seed": self.seed, "step": self.step, "num_tokens": len(self._ids)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where that cursor was. Raises CorpusError if it was on another text."""
        try:
            seed, step, num_tokens = state["seed"], state["step"], state["num_tokens"]
        except (KeyError, TypeError):
            raise CorpusError(
                f"load_state_dict: needs seed, step and num_tokens, got {state!r}"
            ) from None
        if num_tokens != len(self._ids):
            raise CorpusError(
                f"load_state_dict: the state is of a text of {num_tokens} tokens, this one has "
                f"{len(self._ids)}; resume with the text that the run began with"
            )
        if not isinstance(step, int) or step < 0:
            raise CorpusError(f"load_state_dict: step must be a number of batches, got {step!r}")
        self.seed, self.step = _checked_seed(seed), step


def _checked_seed(seed: int) -> int:
    if not isinstance(seed, int) or not 0 <= seed < 1 << 64:
        raise CorpusError(f"batches: the seed must be an integer in [0, 2^64), got {seed!r}")
    return seed


def _check_sizes(name: str, batch_size: int, block_size: int) -> None:
    if batch_size < 1 or block_size < 1:
        raise CorpusError(
            f"{name}: batch_size and block_size must be at least 1, got {batch_size}, {block_size}"
        )
