"""Learning the merges of BPE: join the most frequent pair of neighbours, again and again.

Counting all pairs anew for each merge would take time proportional to the text times the merges.
Instead, each distinct word is laid out once, with its count, as a linked list of ids, and

- `counts` has the count of every pair of neighbours, kept up to date by the few that a merge makes
  and unmakes;
- `positions` has, for every pair, the places where it stood when it arose;
- a heap has the pairs by count. Counts that fell since are noticed when they come up, and put back.

So each occurrence of a pair is touched once when it is joined, in words of any length.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable

from gpt.tokenizer.tokenizer import Progress, utf8
from gpt.tokenizer.words import BYTES_IN_ORDER, byte_ids, chunks, split

__all__ = ["learn_merges"]

Pair = tuple[int, int]

# The id between words, and of a place whose id was joined to the one before it.
NOTHING = -1


def learn_merges(
    texts: Iterable[str],
    num_tokens: int,
    *,
    min_count: int = 2,
    progress: Progress | None = None,
) -> list[Pair]:
    """The merges that make `num_tokens` tokens of the 256 bytes, in the order they were found.

    Of pairs equally frequent, the one of the smaller ids is joined first: the result depends on
    the texts alone. Pairs seen fewer than `min_count` times are not joined, so that there may be
    fewer tokens. A merge that spells a token which exists already gives that token.

    progress: called with the number of tokens there are and the number wanted.
    """
    corpus = _Words(_count_words(texts))
    tokens = [bytes([value]) for value in BYTES_IN_ORDER]
    id_of = {token: index for index, token in enumerate(tokens)}
    merges: dict[Pair, None] = {}
    heap = [(-count, pair) for pair, count in corpus.counts.items() if count >= min_count]
    heapq.heapify(heap)
    while heap and len(tokens) < num_tokens:
        negative_count, pair = heapq.heappop(heap)
        count = corpus.counts[pair]
        if count != -negative_count:
            if count >= min_count:
                heapq.heappush(heap, (-count, pair))
            continue
        joined = tokens[pair[0]] + tokens[pair[1]]
        if joined not in id_of:
            id_of[joined] = len(tokens)
            tokens.append(joined)
        merges[pair] = None
        for grown in corpus.join(pair, id_of[joined]):
            if corpus.counts[grown] >= min_count:
                heapq.heappush(heap, (-corpus.counts[grown], grown))
        if progress is not None:
            progress(len(tokens), num_tokens)
    return list(merges)


def _count_words(texts: Iterable[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    start = 0
    for text in texts:
        for chunk in chunks(text):
            utf8(chunk, start)  # here, where the position can be told
            counts.update(split(chunk))
            start += len(chunk)
    return counts


class _Words:
    """The distinct words, end to end with `NOTHING` around each, as one linked list of ids."""

    def __init__(self, words: Counter[str]) -> None:
        self.ids = [NOTHING]
        self.weights = [0]  # how often the word that a place lies in occurs
        for word, count in words.items():
            ids = byte_ids(word.encode())
            self.ids += [*ids, NOTHING]
            self.weights += [count] * (len(ids) + 1)
        self.left = list(range(-1, len(self.ids) - 1))
        self.right = list(range(1, len(self.ids) + 1))
        self.counts: defaultdict[Pair, int] = defaultdict(int)
        self.positions: defaultdict[Pair, list[int]] = defaultdict(list)
        for position, pair in enumerate(zip(self.ids, self.ids[1:], strict=False)):
            if NOTHING not in pair:
                self.counts[pair] += self.weights[position]
                self.positions[pair].append(position)

    def join(self, pair: Pair, joined: int) -> set[Pair]:
        """Write `joined` wherever `pair` stands, from left to right: `aaa` becomes `(aa) a`.

        Returns the pairs that are more frequent than before.
        """
        ids, left, right, counts = self.ids, self.left, self.right, self.counts
        first, second = pair
        grown: set[Pair] = set()
        for here in sorted(self.positions.pop(pair)):
            there = right[here]
            if ids[here] != first or ids[there] != second:
                continue  # joined to another neighbour meanwhile
            weight = self.weights[here]
            before, after = left[here], right[there]
            if ids[before] != NOTHING:
                counts[ids[before], first] -= weight
                new = (ids[before], joined)
                counts[new] += weight
                self.positions[new].append(before)
                grown.add(new)
            if ids[after] != NOTHING:
                counts[second, ids[after]] -= weight
                new = (joined, ids[after])
                counts[new] += weight
                self.positions[new].append(here)
                grown.add(new)
            ids[here], ids[there] = joined, NOTHING
            right[here], left[after] = after, here
        counts[pair] = 0
        return grown
