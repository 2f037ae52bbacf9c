"""Ids in, text out, as they come: never half of a character."""

import codecs

from gpt.tokenizer.tokenizer import Tokenizer

__all__ = ["StreamDecoder"]


class StreamDecoder:
    """Decodes ids one at a time.

    A token may end in the middle of a character; its bytes wait for the rest. Bytes that can not
    become UTF-8 any more turn into U+FFFD at once. All that `push` and `finish` return, joined, is
    `tokenizer.decode` of all the ids.

    >>> from gpt.tokenizer import ByteTokenizer
    >>> stream = StreamDecoder(ByteTokenizer())
    >>> [stream.push(byte) for byte in "né".encode()]
    ['n', '', 'é']
    >>> stream.finish()
    ''
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that this id completes, often none."""
        return self._utf8.decode(self._tokenizer.decode_bytes([token]))

    def finish(self) -> str:
        """What is left of an unfinished character, as U+FFFD; what is pushed next begins anew."""
        return self._utf8.decode(b"", final=True)
