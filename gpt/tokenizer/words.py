"""Text to words and words to bytes: what byte-level BPE does before it joins anything."""

from collections.abc import Iterator

import regex

__all__ = ["BYTES_IN_ORDER", "GPT2_SPLIT", "boundary", "byte_ids", "chunks", "split"]

GPT2_SPLIT = (
    r"'(?:[sdmt]|ll|ve|re)"  # the endings of English: 's 'll 've 're ...
    r"| ?\p{L}+"  # letters, with the space before them
    r"| ?\p{N}+"  # digits
    r"| ?[^\s\p{L}\p{N}]+"  # punctuation and all else
    r"|\s+(?!\S)"  # white space, but for the last of it, which the next word may want
    r"|\s+"
)
"""The pattern of GPT-2: every character falls into exactly one word."""

# The 256 bytes in GPT-2's order: those that print in Latin-1 first. Ids then mean the same here,
# in GPT-2's own vocabulary and in those that Hugging Face's trainer makes.
BYTES_IN_ORDER = bytes(
    [*range(33, 127), *range(161, 173), *range(174, 256), *range(33), *range(127, 161), 173]
)

_ID_OF_BYTE = bytes(BYTES_IN_ORDER.index(value) for value in range(256))
_SPLIT = regex.compile(GPT2_SPLIT)
_BOUNDARY = regex.compile(r"\S\s")
_CHUNK = 1 << 20


def split(text: str) -> list[str]:
    """The words of a text; joined, they are the text."""
    words: list[str] = _SPLIT.findall(text)
    return words


def byte_ids(data: bytes) -> list[int]:
    """The ids of bytes."""
    return list(data.translate(_ID_OF_BYTE))


def boundary(text: str, position: int) -> int:
    """The first place from `position` on where a word ends whatever comes before and after.

    That is between a character that is not white space and one that is: no word has them in this
    order, and the look-ahead of the pattern concerns white space alone.
    """
    match = _BOUNDARY.search(text, max(position - 1, 0))
    return match.start() + 1 if match else len(text)


def chunks(text: str) -> Iterator[str]:
    """The text in pieces whose words, piece by piece, are the words of the text."""
    start = 0
    while start < len(text):
        stop = boundary(text, start + _CHUNK)
        yield text[start:stop]
        start = stop
