"""Byte-level BPE, as GPT-2 has it: bytes, joined pair by pair in the order that training found.

Text is first split into words, where the space before a word belongs to it. Inside a word, of all
neighbours that training has joined, those that it joined first are joined, and so on until there
are none. So a frequent word is one token, a rare one a few, and every text can be encoded, since
bytes always can.

Ids: 0 .. 255 are the bytes in GPT-2's order, then come the tokens that the merges make, then
special tokens. Sennrich et al. (2016), arXiv:1508.07909; Radford et al. (2019), "Language Models
are Unsupervised Multitask Learners", section 2.2.
"""

import heapq
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Self

from gpt.tokenizer.bpe_training import NOTHING, learn_merges
from gpt.tokenizer.tokenizer import END_OF_TEXT, Progress, Tokenizer, TokenizerError, utf8
from gpt.tokenizer.words import BYTES_IN_ORDER, boundary, byte_ids, split

__all__ = ["BPETokenizer"]

# Words repeat, and most of the work is to find out what a word was last time. Bounded, since a
# long text has words without end; the long ones hardly repeat.
CACHED_WORDS = 1 << 17
CACHED_WORD_LENGTH = 64


class BPETokenizer(Tokenizer):
    """Byte-level BPE.

    merges: the pairs of ids to join, those to join first in front; each makes the next id.

    >>> text = "we study, we play, we read; studying, playing, reading"
    >>> tokenizer = BPETokenizer.train(text, vocab_size=274)
    >>> [tokenizer.decode([token]) for token in tokenizer.encode(" studying")]
    [' study', 'ing']
    """

    kind = "bpe"

    def __init__(
        self, merges: Sequence[tuple[int, int]], special_tokens: Iterable[str] = ()
    ) -> None:
        vocab = [bytes([value]) for value in BYTES_IN_ORDER]
        known = set(vocab)
        self.merges = [(first, second) for first, second in merges]
        for joined, (first, second) in enumerate(self.merges, start=len(vocab)):
            if not (0 <= first < joined and 0 <= second < joined):
                raise TokenizerError(
                    f"BPETokenizer: token {joined} joins ({first}, {second}), but the ids before "
                    f"it are 0 .. {joined - 1}"
                )
            token = vocab[first] + vocab[second]
            if token in known:
                raise TokenizerError(
                    f"BPETokenizer: token {joined} spells {token!r}, as another does"
                )
            known.add(token)
            vocab.append(token)
        self._joined = {pair: joined for joined, pair in enumerate(self.merges, start=256)}
        self._cache: dict[str, list[int]] = {}
        super().__init__(vocab, special_tokens)

    @classmethod
    def train(
        cls,
        texts: str | Iterable[str],
        vocab_size: int,
        *,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        min_count: int = 2,
        progress: Progress | None = None,
    ) -> Self:
        """The tokenizer of `vocab_size` ids, special tokens included, that the texts teach.

        It has fewer ids where the texts are too short: when no pair of neighbours occurs
        `min_count` times any more. progress: called with the tokens there are and those wanted.
        """
        special_tokens = list(special_tokens)
        smallest = 256 + len(special_tokens)
        if vocab_size < smallest:
            raise TokenizerError(
                f"BPETokenizer.train: vocab_size must be at least {smallest} (256 bytes and "
                f"{len(special_tokens)} special tokens), got {vocab_size}"
            )
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not any(texts):
            raise TokenizerError("BPETokenizer.train: the text is empty; give it some words")
        num_tokens = vocab_size - len(special_tokens)
        merges = learn_merges(texts, num_tokens, min_count=min_count, progress=progress)
        return cls(merges, special_tokens)

    def _encode_ordinary(self, text: str, start: int) -> list[int]:
        utf8(text, start)  # here, where the position of a character without UTF-8 can be told
        ids: list[int] = []
        cache = self._cache
        for word in split(text):
            found = cache.get(word)
            if found is None:
                found = self._join(byte_ids(word.encode()))
                if len(word) <= CACHED_WORD_LENGTH:
                    if len(cache) >= CACHED_WORDS:
                        cache.clear()
                    cache[word] = found
            ids += found
        return ids

    def _boundary(self, text: str, position: int) -> int:
        return boundary(text, position)

    def _join(self, ids: list[int]) -> list[int]:
        """Join neighbours, those that training joined first, and of several such the leftmost.

        A linked list of ids and a heap of what can be joined: n log n, also in a word of a
        million letters.
        """
        joined_of, end = self._joined, len(ids)
        left, right = list(range(-1, end - 1)), list(range(1, end + 1))
        heap = [
            (joined_of[pair], place)
            for place, pair in enumerate(pairwise(ids))
            if pair in joined_of
        ]
        heapq.heapify(heap)
        while heap:
            joined, here = heapq.heappop(heap)
            there = right[here]
            if there == end or joined_of.get((ids[here], ids[there])) != joined:
                continue  # one of the two has been joined to its other neighbour
            ids[here], ids[there] = joined, NOTHING
            before, after = left[here], right[there]
            right[here] = after
            if after < end:
                left[after] = here
                if (new := joined_of.get((joined, ids[after]))) is not None:
                    heapq.heappush(heap, (new, here))
            if before >= 0 and (new := joined_of.get((ids[before], joined))) is not None:
                heapq.heappush(heap, (new, before))
        return [token for token in ids if token != NOTHING]

    def _parameters(self) -> dict[str, Any]:
        return {"split": "gpt2", "merges": self.merges}

    @classmethod
    def _from_parameters(cls, parameters: dict[str, Any], special_tokens: list[str]) -> Self:
        if parameters.get("split") != "gpt2":
            raise TokenizerError(f'"split" must be "gpt2", got {parameters.get("split")!r}')
        merges = parameters.get("merges")
        if not isinstance(merges, list):
            raise TokenizerError('"merges" must be a list of pairs of ids')
        for rank, pair in enumerate(merges):
            if not (
                isinstance(pair, list) and len(pair) == 2 and all(type(i) is int for i in pair)
            ):
                raise TokenizerError(f"merge {rank} must be a pair of ids, got {pair!r}")
        return cls([(first, second) for first, second in merges], special_tokens)
