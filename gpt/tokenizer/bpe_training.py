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
from gpt.tokenizer.words import byte_ids, chunks, split

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
    fewer tokens.

    No two merges spell the same token. For suppose that neighbours spell a token that exists: the
    bytes are the same, and no merge ever crossed their ends, here or there, so that each merge has
    joined them alike in both places; they are one token here as well.

    progress: called with the number of tokens there are and the number wanted.
    """
    corpus = _Words(_count_words(texts))
    merges: list[Pair] = []
    heap = [(-count, pair) for pair, count in corpus.counts.items() if count >= min_count]
    heapq.heapify(heap)
    while heap and 256 + len(merges) < num_tokens:
        negative_count, pair = heapq.heappop(heap)
        count = corpus.counts[pair]
        if count != -negative_count:
            if count >= min_count:
                heapq.heappush(heap, (-count, pair))
            continue
        arisen = corpus.join(pair, 256 + len(merges))
        merges.append(pair)
        for new in arisen:
            if corpus.counts[new] >= min_count:
                heapq.heappush(heap, (-corpus.counts[new], new))
        if progress is not None:
            progress(256 + len(merges), num_tokens)
    return merges


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
        """Write `joined`, a new id, wherever `pair` stands, from left to right: `aaa` becomes
        `(aa) a`. Returns the pairs that arose.
        """
        ids, left, right, counts = self.ids, self.left, self.right, self.counts
        first, second = pair
        arisen: set[Pair] = set()
        # In ascending order, as all were found in one walk from left to right.
        for here in self.positions.pop(pair):
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
                arisen.add(new)
            if ids[after] != NOTHING:
                counts[second, ids[after]] -= weight
                new = (joined, ids[after])
                counts[new] += weight
                self.positions[new].append(here)
                arisen.add(new)
            ids[here], ids[there] = joined, NOTHING
            right[here], left[after] = after, here
        del counts[pair]
        return arisen
