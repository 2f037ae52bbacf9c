"""One id for each byte of UTF-8: no vocabulary to learn, nothing unknown, long sequences."""

from collections.abc import Iterable
from typing import Any, Self

from gpt.tokenizer.tokenizer import Tokenizer, utf8

__all__ = ["ByteTokenizer"]


class ByteTokenizer(Tokenizer):
    """The id of a byte is its value, 0 .. 255.

    >>> ByteTokenizer().encode("né")
    [110, 195, 169]
    """

    kind = "byte"

    def __init__(self, special_tokens: Iterable[str] = ()) -> None:
        super().__init__([bytes([value]) for value in range(256)], special_tokens)

    def _encode_ordinary(self, text: str, start: int) -> list[int]:
        return list(utf8(text, start))

    def _parameters(self) -> dict[str, Any]:
        return {}

    @classmethod
    def _from_parameters(cls, parameters: dict[str, Any], special_tokens: list[str]) -> Self:
        return cls(special_tokens)
