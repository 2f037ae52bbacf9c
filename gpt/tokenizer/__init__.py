"""Text to ids and back: characters, bytes, or byte-level BPE.

A tokenizer has `encode(text) -> list[int]`, `decode(ids) -> str`, `decode_bytes(ids)`,
`vocab_size`, `special_tokens` and `save(path)`; `load(path)` reads any of them back.
"""

from gpt.tokenizer.bpe import BPETokenizer
from gpt.tokenizer.byte import ByteTokenizer
from gpt.tokenizer.char import CharTokenizer
from gpt.tokenizer.file import load
from gpt.tokenizer.stream import StreamDecoder
from gpt.tokenizer.tokenizer import END_OF_TEXT, Progress, Tokenizer, TokenizerError

__all__ = [
    "END_OF_TEXT",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "Progress",
    "StreamDecoder",
    "Tokenizer",
    "TokenizerError",
    "load",
]
