"""What every tokenizer is: a table from ids to bytes, and a way to cut text into them.

A text is a `str`; what a token stands for is bytes, since a token may hold a part of a character
only. `decode_bytes(encode(text)) == text.encode()` for every text a tokenizer takes: nothing is
normalised, nothing is lost.

Special tokens, such as `<|endoftext|>`, follow the vocabulary in their order. Text never becomes
one unless `encode(..., special=True)` says so: a corpus that happens to spell out `<|endoftext|>`
holds thirteen characters, not the end of a text.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import regex

from gpt.files import replace_file

__all__ = ["END_OF_TEXT", "FORMAT", "FORMAT_VERSION", "Progress", "Tokenizer", "TokenizerError"]

END_OF_TEXT = "<|endoftext|>"

FORMAT = "gpt tokenizer"
FORMAT_VERSION = 1

# Characters encoded at a time by `encode_array`: large enough to cost nothing, small enough that
# the lists of Python integers in between stay small.
CHUNK = 1 << 19

Progress = Callable[[int, int], None]
"""Called with what is done and what there is to do."""


class TokenizerError(ValueError):
    """A text, an id or a file that a tokenizer cannot take; the message says which and why."""


class Tokenizer(ABC):
    """The protocol of the tokenizers, and all they share.

    A kind of tokenizer says how to cut text (`_encode_ordinary`, `_boundary`) and what its file
    holds (`_parameters`, `_from_parameters`).
    """

    kind: ClassVar[str]

    def __init__(self, vocab: Sequence[bytes], special_tokens: Iterable[str] = ()) -> None:
        names = list(special_tokens)
        for name in names:
            if not isinstance(name, str) or not name:
                raise TokenizerError(f"special_tokens: must be non-empty strings, got {name!r}")
            if names.count(name) > 1:
                raise TokenizerError(f"special_tokens: must differ, got {name!r} twice")
        self.vocab: tuple[bytes, ...] = (*vocab, *(utf8(name, 0) for name in names))
        """The bytes of each id."""
        self.special_tokens: dict[str, int] = {
            name: len(vocab) + index for index, name in enumerate(names)
        }
        """The id of each special token."""
        self._bytes_of = dict(enumerate(self.vocab))
        # The longest first, so that a special token that begins another does not hide it.
        longest_first = sorted(names, key=len, reverse=True)
        self._special_pattern = regex.compile("|".join(map(regex.escape, longest_first)))

    @property
    def vocab_size(self) -> int:
        """The number of ids, special tokens included: ids are 0 .. vocab_size - 1."""
        return len(self.vocab)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest of uint16 and int32 that holds every id."""
        return np.dtype(np.uint16 if self.vocab_size <= 1 << 16 else np.int32)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of a text.

        special: take special tokens spelled out in the text for what they say; otherwise they
        are ordinary text.

        Raises TokenizerError where the text has a character that the tokenizer does not know.
        """
        if not isinstance(text, str):
            raise TokenizerError(f"encode: the text must be a str, got {type(text).__name__}")
        if not (special and self.special_tokens):
            return self._encode_ordinary(text, 0)
        ids: list[int] = []
        start = 0
        for match in self._special_pattern.finditer(text):
            ids += self._encode_ordinary(text[start : match.start()], start)
            ids.append(self.special_tokens[match.group()])
            start = match.end()
        return ids + self._encode_ordinary(text[start:], start)

    def encode_array(self, text: str, *, progress: Progress | None = None) -> npt.NDArray[Any]:
        """`encode(text)` as an array of `dtype`, for long texts: in bounded memory.

        progress: called with the number of characters done and the number of all of them.
        """
        pieces = [np.empty(0, self.dtype)]
        start = 0
        while start < len(text):
            stop = self._boundary(text, start + CHUNK) if start + CHUNK < len(text) else len(text)
            pieces.append(np.array(self._encode_ordinary(text[start:stop], start), self.dtype))
            start = stop
            if progress is not None:
                progress(stop, len(text))
        return np.concatenate(pieces)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that the ids (a list, an array or a Tensor of one dimension) stand for.

        Raises TokenizerError for an id outside 0 .. vocab_size - 1.
        """
        flat = ids.tolist() if hasattr(ids, "tolist") else ids
        if not isinstance(flat, Iterable):
            raise TokenizerError(f"decode: needs a sequence of ids, got {ids!r}; pass [{ids!r}]")
        flat = list(flat)
        try:
            return b"".join(map(self._bytes_of.__getitem__, flat))
        except (KeyError, TypeError):
            raise self._bad_id(flat) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids; bytes that are not UTF-8 become U+FFFD.

        Ids may end in the middle of a character: to decode as they come, see `StreamDecoder`.
        """
        return self.decode_bytes(ids).decode(errors="replace")

    def token_lengths(self) -> npt.NDArray[np.int64]:
        """(vocab_size,): the number of bytes of text each id stands for, 0 for special tokens."""
        lengths = np.array([len(token) for token in self.vocab], np.int64)
        lengths[list(self.special_tokens.values())] = 0
        return lengths

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer to a JSON file, beside `path` and renamed: never half a file.

        The object has `"format": "gpt tokenizer"`, `"version": 1`, `"kind"`, `"vocab_size"`,
        `"special_tokens"` (their names in the order of their ids) and what its kind needs:
        `"characters"` of a char tokenizer, `"split"` and `"merges"` of a BPE tokenizer.
        """
        contents = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "kind": self.kind,
            "vocab_size": self.vocab_size,
            "special_tokens": list(self.special_tokens),
            **self._parameters(),
        }
        replace_file(path, (json.dumps(contents, ensure_ascii=False) + "\n").encode())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokenizer):
            return NotImplemented
        return (self.kind, self.vocab, self.special_tokens, self._parameters()) == (
            other.kind,
            other.vocab,
            other.special_tokens,
            other._parameters(),
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.vocab))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"

    @abstractmethod
    def _encode_ordinary(self, text: str, start: int) -> list[int]:
        """The ids of a text without special tokens, which begins at character `start` of the
        text that the caller gave: errors count from there."""

    def _boundary(self, text: str, position: int) -> int:
        """The first place from `position` on where the text may be cut in two that are encoded
        one by one to the same ids."""
        return position

    @abstractmethod
    def _parameters(self) -> dict[str, Any]:
        """What the file of this kind holds beside the fields that all have."""

    @classmethod
    @abstractmethod
    def _from_parameters(cls, parameters: dict[str, Any], special_tokens: list[str]) -> Self:
        """The tokenizer of a file. Raises TokenizerError where a field is wrong."""

    def _bad_id(self, ids: list[Any]) -> TokenizerError:
        position = next(i for i, token in enumerate(ids) if not self._is_id(token))
        return TokenizerError(
            f"decode: ids must be integers in [0, {self.vocab_size}), "
            f"got {ids[position]!r} at position {position}"
        )

    def _is_id(self, token: Any) -> bool:
        try:
            return token in self._bytes_of
        except TypeError:  # a list, say, has no hash
            return False


def utf8(text: str, start: int) -> bytes:
    """The text in UTF-8; an error counts its position from `start`."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"encode: the text holds {text[error.start]!r} at position {start + error.start}, half "
            "of a surrogate pair, which no UTF-8 text can hold; decode your bytes with "
            'errors="replace"'
        ) from None
