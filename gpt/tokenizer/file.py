"""Reading a tokenizer's file, whatever its kind."""

import json
import os
from pathlib import Path
from typing import Any

from gpt.tokenizer.bpe import BPETokenizer
from gpt.tokenizer.byte import ByteTokenizer
from gpt.tokenizer.char import CharTokenizer
from gpt.tokenizer.tokenizer import FORMAT, FORMAT_VERSION, Tokenizer, TokenizerError

__all__ = ["KINDS", "load"]

KINDS: dict[str, type[Tokenizer]] = {
    kind.kind: kind for kind in (CharTokenizer, ByteTokenizer, BPETokenizer)
}


def load(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer that `Tokenizer.save` wrote to `path`.

    Raises TokenizerError where the file is not such a file or is damaged, OSError where it can
    not be read.
    """
    try:
        return _parse(Path(path).read_bytes())
    except TokenizerError as error:
        raise TokenizerError(
            f"load: {os.fspath(path)} is not a usable tokenizer: {error}"
        ) from None


def _parse(data: bytes) -> Tokenizer:
    try:
        contents = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"it is not JSON ({error})") from None
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        hint = ""
        if isinstance(contents, dict) and "model" in contents and "added_tokens" in contents:
            hint = "; it looks like one of Hugging Face's"
        raise TokenizerError(f'it has no "format": "{FORMAT}"{hint}')
    if contents.get("version") != FORMAT_VERSION:
        raise TokenizerError(
            f"its version is {contents.get('version')!r}, this program reads {FORMAT_VERSION}"
        )
    kind = KINDS.get(str(contents.get("kind")))
    if kind is None:
        raise TokenizerError(
            f"its kind is {contents.get('kind')!r}, known are {', '.join(sorted(KINDS))}"
        )
    tokenizer = kind._from_parameters(contents, _special_tokens(contents))
    if tokenizer.vocab_size != contents.get("vocab_size"):
        raise TokenizerError(
            f"it says vocab_size {contents.get('vocab_size')!r}, but holds "
            f"{tokenizer.vocab_size} tokens"
        )
    return tokenizer


def _special_tokens(contents: dict[str, Any]) -> list[str]:
    names = contents.get("special_tokens")
    if not isinstance(names, list):
        raise TokenizerError('"special_tokens" must be a list of strings')
    return names
