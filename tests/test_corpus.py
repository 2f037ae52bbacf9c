"""Text in, ids out: where a text comes from, how it is cut, and what is drawn from it."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

from gpt.corpus import (
    IGNORE,
    Batches,
    Corpus,
    CorpusError,
    Text,
    Tokens,
    default_text,
    read_text,
    train_tokenizer,
)
from gpt.tokenizer import END_OF_TEXT, BPETokenizer, ByteTokenizer, CharTokenizer, TokenizerError

STORY = "Once upon a time there was a tensor. It was lite, and it was happy. Né 日本 🦊!\n" * 30


def tokens_of(ids):
    """Tokens of one byte each."""
    return Tokens(np.array(ids, np.uint16), np.ones(1 << 16, np.int64))


# Where a text comes from


def test_files_and_folders_are_read_in_order(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.txt").write_text("z")
    (tmp_path / "b" / "a.md").write_text("a")
    (tmp_path / "b" / "empty.txt").write_text("")
    (tmp_path / "b" / "code.py").write_text("no text")
    (tmp_path / "b" / ".hidden.txt").write_text("hidden")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "notes.md").write_text("hidden")
    (tmp_path / "UPPER.TXT").write_text("upper")
    (tmp_path / "alone.rst").write_text("alone")
    assert read_text([tmp_path]).documents == ("upper", "a", "z")
    text = read_text([tmp_path / "alone.rst", str(tmp_path / "b")])
    assert text.documents == ("alone", "a", "z")
    assert text.source == f"{tmp_path / 'alone.rst'}, {tmp_path / 'b'} (3 files)"
    assert read_text([tmp_path / "alone.rst"]).source == str(tmp_path / "alone.rst")


def test_marks_of_byte_order_and_crlf_are_no_text(tmp_path):
    (tmp_path / "dos.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    assert read_text([tmp_path / "dos.txt"]).documents == ("one\ntwo\n",)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.txt", None, r"there is no file or folder .*none\.txt"),
        ("empty.txt", b"", r"empty\.txt is empty"),
        ("blank.txt", b" \n\t\n", r"blank\.txt is empty"),
        (
            "latin.txt",
            "naïve".encode("latin1"),
            r"latin\.txt is not UTF-8 .*0xef at position 2;.* latin1",
        ),
        (
            "wide.txt",
            "wide".encode("utf-16"),
            r"wide\.txt is not UTF-8 text: byte 0xff at .* utf-16 ",
        ),
        ("folder", {}, r"folder has no \*\.txt or \*\.md file"),
        ("folder", {"a.txt": b"\n", "b.py": b"code"}, r"folder has no \*\.txt or \*\.md file"),
        ("folder", {"a.txt": b"fine", "b.txt": b"\xff"}, r"b\.txt is not UTF-8"),
    ],
)
def test_what_is_no_text_is_named(name, data, message, tmp_path):
    path = tmp_path / name
    if isinstance(data, dict):
        path.mkdir()
        for inner, content in data.items():
            (path / inner).write_bytes(content)
    elif data is not None:
        path.write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        read_text([path])


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(CorpusError, match=r"secret\.txt cannot be read: Permission denied"):
        read_text([tmp_path / "secret.txt"])


def test_every_python_carries_a_text():
    text = read_text()
    assert text == default_text()
    assert "pydoc_data.topics" in text.source
    assert text.num_characters > 300_000
    assert sum("The" in document.split() for document in text.documents) > 40


def test_without_the_manual_the_docstrings_serve(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    text = default_text()
    assert "docstrings" in text.source
    assert text.num_characters > 300_000
    assert any("Heap queue algorithm" in document for document in text.documents)


def test_without_manual_and_sources_a_file_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "silent.py").write_text("x = 1")
    with pytest.raises(CorpusError, match="name a text file to train on"):
        default_text()


# How it is cut and encoded


@given(
    st.lists(st.text("ab\n", min_size=1), min_size=1),
    st.floats(0.01, 0.99, exclude_min=True, exclude_max=True),
)
def test_a_split_cuts_at_a_position_and_loses_nothing(documents, fraction):
    text = Text(tuple(documents), "here")
    characters = "".join(documents)
    position = int(len(characters) * (1 - fraction))
    if position == 0:
        with pytest.raises(CorpusError, match=f"a text of {len(characters)} characters"):
            text.split(fraction)
        return
    train, validation = text.split(fraction)
    assert "".join(train.documents) == characters[:position]
    assert "".join(validation.documents) == characters[position:]
    assert all(train.documents)
    assert all(validation.documents)
    assert not train.continues
    # A document was cut in two just if there is one piece more than there were documents.
    pieces = len(train.documents) + len(validation.documents)
    assert pieces == len(documents) + validation.continues


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_fraction_lies_between_nothing_and_all(fraction):
    with pytest.raises(CorpusError, match="between 0 and 1"):
        Text((STORY,), "here").split(fraction)


def test_the_split_is_nine_to_one_in_characters():
    train, validation = Text(("x" * 1_115_394,), "here").split()
    assert (train.num_characters, validation.num_characters) == (1_003_854, 111_540)


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
@pytest.mark.parametrize("documents", [(STORY,), (STORY, STORY[:500], "end\n" * 50)])
def test_every_byte_of_the_text_is_counted_once(kind, documents):
    text = Text(documents, "here")
    tokenizer = train_tokenizer(kind, text, vocab_size=400)
    corpus = Corpus.encode(text, tokenizer)
    _, validation_text = text.split()
    between = 0 if kind == "bpe" else 2  # the empty line between two documents
    held_out = "".join(validation_text.documents).encode()
    assert corpus.validation.num_bytes == len(held_out) + between * (
        len(validation_text.documents) - 1
    )
    assert corpus.validation.ids[0] == corpus.train.ids[-1]
    texts = tokenizer.decode(corpus.train.ids) + tokenizer.decode(corpus.validation.ids[1:])
    if kind == "bpe":
        assert texts.split(END_OF_TEXT) == ["", *documents]
    elif len(documents) == 1:
        assert texts == documents[0]
    counted = sum(
        corpus.validation.count_bytes(targets) for _, targets in corpus.validation.windows(3, 7)
    )
    assert counted == corpus.validation.num_bytes
    assert corpus.train.ids.dtype == np.uint16
    assert corpus.source == "here"


def test_documents_are_told_apart():
    text = Text(("one", "two"), "here")
    special = ByteTokenizer((END_OF_TEXT,))
    assert Tokens.encode(text, special).ids.tolist() == [256, *b"one", 256, *b"two"]
    rest = Text(("one", "two"), "here", continues=True)
    assert Tokens.encode(rest, special).ids.tolist() == [*b"one", 256, *b"two"]
    assert Tokens.encode(text, ByteTokenizer()).ids.tolist() == list(b"one\n\ntwo")


@pytest.mark.parametrize("special_tokens", [(), (END_OF_TEXT,)])
def test_encoding_tells_how_far_it_is(special_tokens, monkeypatch):
    monkeypatch.setattr("gpt.tokenizer.tokenizer.CHUNK", 50)
    text = Text((STORY[:300], STORY[:200]), "here")
    seen = []
    Corpus.encode(text, ByteTokenizer(special_tokens), progress=lambda *counts: seen.append(counts))
    assert seen == sorted(seen)
    assert len(seen) > 2
    assert {total for _, total in seen} == {500}
    assert seen[-1] == (500, 500)


def test_bpe_learns_from_the_training_part_alone():
    text = Text((STORY + "zzzyx " * 60,), "here")
    tokenizer = train_tokenizer("bpe", text, vocab_size=1000, validation_fraction=0.2)
    assert tokenizer == BPETokenizer.train(text.split(0.2)[0].documents, 1000)
    assert not any(b"zz" in token for token in tokenizer.vocab)


def test_characters_are_those_of_all_the_text():
    text = Text(("a" * 90, "z" * 10), "here")
    tokenizer = train_tokenizer("char", text, vocab_size=0)
    assert tokenizer == CharTokenizer("\naz")
    Corpus.encode(text, tokenizer)
    with pytest.raises(TokenizerError, match="'b' at position 7"):
        Tokens.encode(Text(("a" * 5, "b" * 10), "here"), tokenizer)


def test_an_unknown_kind_of_tokenizer_is_refused():
    with pytest.raises(CorpusError, match="must be char, byte or bpe, got 'word'"):
        train_tokenizer("word", Text((STORY,), "here"), vocab_size=300)


# What is drawn from it


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 9))
def test_every_held_out_token_is_predicted_once(num_tokens, batch_size, block_size):
    tokens = tokens_of(range(num_tokens))
    predicted = []
    for ids, targets in tokens.windows(batch_size, block_size):
        assert ids.dtype == targets.dtype == np.int64
        assert ids.shape == targets.shape
        assert ids.shape[0] <= batch_size
        assert ids.shape[1] == block_size
        real = targets != IGNORE
        np.testing.assert_array_equal(ids[real] + 1, targets[real])
        assert (ids[~real] == 0).all()
        # Within a window, each token follows the one before it.
        assert (np.diff(ids, axis=1)[real[:, 1:]] == 1).all()
        predicted += targets[real].tolist()
    assert predicted == list(range(1, num_tokens))
    assert tokens.num_predicted == tokens.num_bytes == num_tokens - 1


@given(st.integers(2, 300), st.integers(1, 4), st.integers(1, 9), st.integers(1, 12))
def test_an_estimate_takes_evenly_spaced_windows(num_tokens, batch_size, block_size, max_windows):
    tokens = tokens_of(range(num_tokens))

    def rows(limit):
        return [
            row.tolist()
            for _, targets in tokens.windows(batch_size, block_size, limit)
            for row in targets
        ]

    every, some = rows(None), rows(max_windows)
    assert len(some) == min(max_windows, len(every))
    places = [every.index(row) for row in some]
    assert places[0] == 0
    gaps = np.diff(places)
    assert len(gaps) == 0 or 1 <= gaps.min() <= gaps.max() <= gaps.min() + 1
    assert len(every) - places[-1] <= -(-len(every) // len(some))


def test_targets_are_the_ids_one_further_on():
    batches = Batches(tokens_of(range(1000)), seed=3)
    ids, targets = batches.next(16, 32)
    assert ids.shape == targets.shape == (16, 32)
    assert ids.dtype == targets.dtype == np.int64
    assert ids.flags.c_contiguous
    assert targets.flags.c_contiguous
    np.testing.assert_array_equal(ids + 1, targets)
    np.testing.assert_array_equal(np.diff(ids, axis=1), 1)


def test_every_place_is_drawn_about_equally_often():
    batches = Batches(tokens_of(range(12)), seed=0)
    starts = np.concatenate([batches.next(100, 2)[0][:, 0] for _ in range(50)])
    counts = np.bincount(starts)
    assert len(counts) == 10  # up to the one whose last target is the last token
    chi_squared = ((counts - 500) ** 2 / 500).sum()
    assert chi_squared < 28  # 9 degrees of freedom: one in a thousand seeds is above


def philox4x64(key, counter):
    """Philox-4x64-10 (Salmon et al., 2011, section 3): four words of 64 bits."""
    mask = (1 << 64) - 1
    words = [counter >> 64 * i & mask for i in range(4)]
    keys = [key & mask, key >> 64 & mask]
    for _ in range(10):
        first, second = words[0] * 0xD2E7470EE14C6C93, words[2] * 0xCA5A826395121157
        words = [
            second >> 64 ^ words[1] ^ keys[0],
            second & mask,
            first >> 64 ^ words[3] ^ keys[1],
            first & mask,
        ]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) & mask, (keys[1] + 0xBB67AE8584CAA73B) & mask]
    return words


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40))
def test_places_are_a_function_of_the_seed_and_the_number_of_the_batch(seed, step):
    batches = Batches(tokens_of(range(1001)), seed)
    batches.load_state_dict({"seed": seed, "step": step, "num_tokens": 1001})
    ids, _ = batches.next(7, 1)
    counter = step << 64
    words = philox4x64(seed, counter + 1) + philox4x64(seed, counter + 2)
    assert ids[:, 0].tolist() == [word % 1000 for word in words[:7]]


@given(st.integers(0, 20), st.integers(0, 5), st.lists(st.integers(1, 4), max_size=5))
def test_a_resumed_cursor_goes_on_with_the_same_batches(seed, drawn, sizes):
    tokens = tokens_of(np.random.RandomState(0).randint(0, 100, 50))
    batches = Batches(tokens, seed)
    for _ in range(drawn):
        batches.next(3, 8)
    state = json.loads(json.dumps(batches.state_dict()))
    resumed = Batches(tokens, seed=99)
    resumed.load_state_dict(state)
    for size in sizes:
        for expected, got in zip(batches.next(size, 8), resumed.next(size, 8), strict=True):
            np.testing.assert_array_equal(expected, got)
    assert resumed.state_dict() == batches.state_dict()


def test_batches_and_seeds_differ():
    tokens = tokens_of(range(10_000))
    first, second = Batches(tokens, 0), Batches(tokens, 1)
    drawn = [tuple(cursor.next(4, 4)[0][:, 0]) for cursor in (first, first, second, second)]
    assert len(set(drawn)) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: b.next(1, 10), "block_size of 10 needs at least 11 tokens, .* has 10"),
        (lambda b: b.next(0, 4), "at least 1, got 0, 4"),
        (lambda b: b.next(4, 0), "at least 1, got 4, 0"),
        (lambda b: b.load_state_dict({"seed": 0}), "needs seed, step and num_tokens"),
        (
            lambda b: b.load_state_dict({"seed": 0, "step": 0, "num_tokens": 9}),
            "a text of 9 tokens, this one has 10",
        ),
        (
            lambda b: b.load_state_dict({"seed": 0, "step": -1, "num_tokens": 10}),
            "step must be a number of batches, got -1",
        ),
        (
            lambda b: b.load_state_dict({"seed": "0", "step": 0, "num_tokens": 10}),
            "seed must be an integer",
        ),
    ],
)
def test_a_cursor_says_what_it_cannot_do(call, message):
    batches = Batches(tokens_of(range(10)))
    before = batches.state_dict()
    with pytest.raises(CorpusError, match=message):
        call(batches)
    assert batches.state_dict() == before


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, None])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(CorpusError, match=r"integer in \[0, 2\^64\)"):
        Batches(tokens_of(range(10)), seed)


def test_windows_have_sizes():
    with pytest.raises(CorpusError, match=r"windows: .* at least 1, got 1, 0"):
        next(tokens_of(range(10)).windows(1, 0))
