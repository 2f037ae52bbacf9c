"""One id for each character that the training text has: what small models start with."""

from collections.abc import Iterable
from typing import Any, Self

from gpt.tokenizer.tokenizer import Tokenizer, TokenizerError, utf8

__all__ = ["CharTokenizer"]


class CharTokenizer(Tokenizer):
    """The id of a character is its place among the sorted characters.

    >>> tokenizer = CharTokenizer.train("hello")
    >>> tokenizer.characters, tokenizer.encode("hole")
    ('ehlo', [1, 3, 2, 0])
    """

    kind = "char"

    def __init__(self, characters: str, special_tokens: Iterable[str] = ()) -> None:
        if not characters:
            raise TokenizerError("CharTokenizer: needs at least one character, got none")
        if len(set(characters)) != len(characters):
            raise TokenizerError(
                "CharTokenizer: the characters must differ; see CharTokenizer.train"
            )
        super().__init__([utf8(character, 0) for character in characters], special_tokens)
        self.characters = characters
        self._id_of = {character: index for index, character in enumerate(characters)}

    @classmethod
    def train(cls, texts: str | Iterable[str], special_tokens: Iterable[str] = ()) -> Self:
        """The tokenizer of the characters in the texts. Raises TokenizerError if there are none."""
        texts = [texts] if isinstance(texts, str) else texts
        characters = set[str]().union(*texts)
        if not characters:
            raise TokenizerError("CharTokenizer.train: the text is empty; give it some characters")
        return cls("".join(sorted(characters)), special_tokens)

    def _encode_ordinary(self, text: str, start: int) -> list[int]:
        try:
            return list(map(self._id_of.__getitem__, text))
        except KeyError:
            position = next(i for i, character in enumerate(text) if character not in self._id_of)
            raise TokenizerError(
                f"encode: the character {text[position]!r} at position {start + position} is none "
                f"of the {len(self.characters)} that this tokenizer was made from; "
                "leave it out, or train with a byte or BPE tokenizer, which know every character"
            ) from None

    def _parameters(self) -> dict[str, Any]:
        return {"characters": self.characters}

    @classmethod
    def _from_parameters(cls, parameters: dict[str, Any], special_tokens: list[str]) -> Self:
        characters = parameters.get("characters")
        if not isinstance(characters, str):
            raise TokenizerError('"characters" must be a string')
        return cls(characters, special_tokens)
