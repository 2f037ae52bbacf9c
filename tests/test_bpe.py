"""Byte-level BPE against its definition, Hugging Face's trainer and tiktoken."""

import json
import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from gpt.corpus import default_text
from gpt.tokenizer import BPETokenizer, TokenizerError
from gpt.tokenizer.words import BYTES_IN_ORDER, GPT2_SPLIT, boundary, byte_ids, chunks, split

# Few letters make many ties, repeats and overlaps; the rest is what the split is about.
dense = st.one_of(
    st.text(st.sampled_from("ab"), max_size=60),
    st.text(st.sampled_from("aab '1.\né日"), max_size=60),
)
any_text = st.text(max_size=60)


def naive_join(ids, pair, joined):
    """The ids with every `pair` of neighbours joined, from left to right."""
    out = []
    for token in ids:
        if out and (out[-1], token) == pair:
            out[-1] = joined
            continue
        out.append(token)
    return out


def naive_merges(text, num_tokens, min_count):
    """Count every pair in every word, join the most frequent one, repeat."""
    words = [(byte_ids(word.encode()), count) for word, count in Counter(split(text)).items()]
    merges = []
    while 256 + len(merges) < num_tokens:
        counts = Counter()
        for ids, count in words:
            for pair in pairwise(ids):
                counts[pair] += count
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < min_count:
            break
        words = [(naive_join(ids, best, 256 + len(merges)), count) for ids, count in words]
        merges.append(best)
    return merges


def naive_encode(text, merges):
    """Go through the merges in their order, joining each wherever it stands."""
    encoded = []
    for word in split(text):
        ids = byte_ids(word.encode())
        for rank, pair in enumerate(merges):
            ids = naive_join(ids, pair, 256 + rank)
        encoded += ids
    return encoded


@settings(max_examples=200)
@given(dense, st.integers(256, 290), st.integers(1, 3))
def test_training_finds_the_merges_that_counting_anew_each_time_finds(text, num_tokens, min_count):
    naive = naive_merges(text, num_tokens, min_count)
    if text:
        trained = BPETokenizer.train(text, num_tokens, special_tokens=(), min_count=min_count)
        assert trained.merges == naive


@settings(max_examples=200)
@given(dense.filter(bool), dense)
def test_encoding_joins_in_the_order_of_training(text, other):
    tokenizer = BPETokenizer.train(text, 290, special_tokens=(), min_count=1)
    assert tokenizer.encode(text + other) == naive_encode(text + other, tokenizer.merges)


def test_a_run_of_one_letter_is_joined_from_the_left():
    tokenizer = BPETokenizer([(64, 64), (256, 256)])  # aa, aaaa
    names = [tokenizer.decode([token]) for token in tokenizer.encode("aaaaaaa")]
    assert names == ["aaaa", "aa", "a"]


def test_equally_frequent_pairs_are_joined_in_the_order_of_their_ids():
    tokenizer = BPETokenizer.train("dc dc ba ba", 259, special_tokens=())
    assert [tokenizer.vocab[token] for token in range(256, 259)] == [b"ba", b"dc", b" ba"]


@given(st.lists(dense.filter(bool), min_size=1, max_size=4))
def test_training_depends_on_the_texts_and_not_on_their_order(texts):
    forward = BPETokenizer.train(texts, 280, min_count=1)
    assert forward == BPETokenizer.train(texts[::-1], 280, min_count=1)


def test_training_stops_where_no_pair_is_frequent_enough():
    assert BPETokenizer.train("abab", 1000, special_tokens=()).vocab_size == 257
    assert BPETokenizer.train("abab", 1000, special_tokens=(), min_count=1).vocab_size == 258
    assert BPETokenizer.train("abab", 1000, special_tokens=(), min_count=3).vocab_size == 256


def test_training_tells_how_far_it_is():
    seen = []
    BPETokenizer.train("abababab", 259, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(257, 258), (258, 258)]


def test_training_finds_stems_and_endings():
    text = "we study, we play, we read; studying, playing, reading"
    tokenizer = BPETokenizer.train(text, vocab_size=274)
    for word, pieces in {
        " studying": [" study", "ing"],
        " playing": [" play", "ing"],
        " rings": [" ", "r", "ing", "s"],
    }.items():
        assert [tokenizer.decode([token]) for token in tokenizer.encode(word)] == pieces


@given(any_text)
def test_the_words_of_a_text_are_the_text(text):
    assert "".join(split(text)) == text


@given(st.text(st.sampled_from("ab '1.\n\t 日\u3000\x85\x1f"), max_size=40), st.integers(0, 40))
def test_a_text_can_be_cut_at_a_boundary(text, position):
    cut = boundary(text, min(position, len(text)))
    assert min(position, len(text)) <= cut <= len(text)
    assert split(text[:cut]) + split(text[cut:]) == split(text)


def test_a_boundary_is_the_first_from_a_position_on():
    assert [boundary("ab cd  e", position) for position in range(9)] == [2, 2, 2, 5, 5, 5, 8, 8, 8]


@given(st.text(st.sampled_from("ab \n"), max_size=40))
def test_chunks_have_the_words_of_the_text(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpt.tokenizer.words._CHUNK", 3)
        assert [word for chunk in chunks(text) for word in split(chunk)] == split(text)


def test_long_words_take_no_quadratic_time():
    # At a step for each pair of letters this would take hours.
    word = "".join(random.Random(0).choices("abcd", k=200_000))
    tokenizer = BPETokenizer.train(word, 600)
    ids = tokenizer.encode(word)
    assert tokenizer.decode(ids) == word
    assert len(ids) < 60_000


def test_the_cache_of_words_is_bounded(monkeypatch):
    monkeypatch.setattr("gpt.tokenizer.bpe.CACHED_WORDS", 4)
    tokenizer = BPETokenizer.train("ab abc abcd bc bcd cd " * 3, 270)
    text = "ab abc abcd bc bcd cd ab abc " + "a" * 100
    expected = naive_encode(text, tokenizer.merges)
    for _ in range(2):
        assert tokenizer.encode(text) == expected
        assert len(tokenizer._cache) <= 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("text", 256), r"vocab_size must be at least 257 .*got 256"),
        (("", 300), "the text is empty"),
        (([], 300), "the text is empty"),
        ((["ok", "bad \ud800"], 300), r"'\\ud800' at position 6"),
    ],
)
def test_training_refuses_what_teaches_nothing(arguments, message):
    with pytest.raises(TokenizerError, match=message):
        BPETokenizer.train(*arguments)


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ([(0, 256)], r"token 256 joins \(0, 256\), but the ids before it are 0 .. 255"),
        ([(0, 1), (-1, 2)], r"token 257 joins \(-1, 2\)"),
        ([(64, 65), (64, 65)], "token 257 spells b'ab', as another does"),
        ([(64, 65), (65, 66), (256, 66), (64, 257)], "token 259 spells b'abc'"),
    ],
)
def test_merges_join_ids_that_exist_and_spell_something_new(merges, message):
    with pytest.raises(TokenizerError, match=message):
        BPETokenizer(merges)


@pytest.fixture(scope="module")
def manual():
    return default_text().joined()


@pytest.fixture(scope="module")
def tokenizer(manual):
    return BPETokenizer.train(manual, 1500)


def test_a_vocabulary_of_english_makes_words_of_text(tokenizer, manual):
    assert {b" the", b" function", b" is", b"\n\n"} <= set(tokenizer.vocab)
    ids = tokenizer.encode(manual)
    assert tokenizer.decode(ids) == manual
    assert len(manual.encode()) / len(ids) > 3


def hugging_face(text, vocab_size):
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = byte_level
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=byte_level.alphabet(),
    )
    tokenizer.train_from_iterator([text], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    id_of = model["vocab"]
    return tokenizer, [(id_of[first], id_of[second]) for first, second in model["merges"]]


def test_merges_and_ids_are_those_of_hugging_face(manual, tokenizer):
    oracle, merges = hugging_face(manual, 1499)
    assert tokenizer.merges == merges
    assert tokenizer.encode(manual) == oracle.encode(manual).ids


@given(dense.filter(bool))
def test_merges_of_odd_texts_are_those_of_hugging_face(text):
    _, merges = hugging_face(text, 300)
    assert BPETokenizer.train(text, 300, special_tokens=()).merges == merges


@pytest.fixture(scope="module")
def tiktoken_encoding(tokenizer):
    tiktoken = pytest.importorskip("tiktoken")
    return tiktoken.Encoding(
        "manual",
        pat_str=GPT2_SPLIT,
        mergeable_ranks={token: rank for rank, token in enumerate(tokenizer.vocab[:-1])},
        special_tokens=tokenizer.special_tokens,
    )


def test_encoding_is_that_of_tiktoken(manual, tokenizer, tiktoken_encoding):
    assert tokenizer.encode(manual) == tiktoken_encoding.encode_ordinary(manual)
    text = "end<|endoftext|> of <|endoftext|>"
    assert tokenizer.encode(text) == tiktoken_encoding.encode_ordinary(text)
    assert tokenizer.encode(text, special=True) == tiktoken_encoding.encode(
        text, allowed_special="all"
    )


@given(st.one_of(any_text, dense, st.text(st.sampled_from("the functio'sn \n\t12,.é\u3000\x85"))))
def test_encoding_any_text_is_that_of_tiktoken(tokenizer, tiktoken_encoding, text):
    assert tokenizer.encode(text) == tiktoken_encoding.encode_ordinary(text)


def test_bytes_come_in_the_order_of_gpt2():
    assert sorted(BYTES_IN_ORDER) == list(range(256))
    # As in GPT-2's vocabulary: "!" is 0, "a" is 64, a space is 220.
    assert byte_ids(b"!a ") == [0, 64, 220]
