"""What holds for every tokenizer: nothing is lost, and what is wrong is said in a sentence."""

import doctest
import json
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

from gpt.tokenizer import (
    END_OF_TEXT,
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    StreamDecoder,
    TokenizerError,
    load,
)

SAMPLE = "The quick brown fox, the quick né 日本語 🦊\n\n"
TOKENIZERS = {
    "char": CharTokenizer.train(SAMPLE),
    "byte": ByteTokenizer(),
    "bpe": BPETokenizer.train(SAMPLE * 3, 300),
    "char with special tokens": CharTokenizer.train(SAMPLE, (END_OF_TEXT,)),
    "byte with special tokens": ByteTokenizer(("<|a|>", "<|a|><|b|>")),
    "bpe without special tokens": BPETokenizer.train(SAMPLE * 3, 300, special_tokens=()),
}

each_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())


def texts_for(tokenizer):
    alphabet = tokenizer.characters if isinstance(tokenizer, CharTokenizer) else None
    return st.text(alphabet) if alphabet else st.text()


@each_tokenizer
@given(data=st.data())
def test_decoding_gives_the_text_back(tokenizer, data):
    text = data.draw(texts_for(tokenizer))
    ids = tokenizer.encode(text)
    assert all(type(token) is int and 0 <= token < tokenizer.vocab_size for token in ids)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(np.array(ids, np.int64)) == text.encode()
    assert tokenizer.token_lengths()[ids].sum() == len(text.encode())


@each_tokenizer
@given(data=st.data(), chunk=st.integers(1, 7))
def test_encoding_in_chunks_changes_nothing(tokenizer, data, chunk):
    text = data.draw(texts_for(tokenizer))
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpt.tokenizer.tokenizer.CHUNK", chunk)
        ids = tokenizer.encode_array(text, progress=lambda *counts: seen.append(counts))
    assert ids.dtype == np.uint16
    assert ids.tolist() == tokenizer.encode(text)
    assert seen == sorted(set(seen))
    assert seen[-1:] == ([(len(text), len(text))] if text else [])


def test_large_vocabularies_have_larger_arrays():
    characters = "".join(map(chr, range(0x10000, 0x20000)))
    assert CharTokenizer(characters).encode_array(characters[-1:]).tolist() == [65535]
    assert CharTokenizer(characters).dtype == np.uint16
    assert CharTokenizer(characters + "a").encode_array("a").tolist() == [65536]
    assert CharTokenizer(characters + "a").dtype == np.int32


def test_characters_are_numbered_in_their_order():
    tokenizer = CharTokenizer.train(["hello", "world"])
    assert tokenizer.characters == "dehlorw"
    assert tokenizer.encode("held") == [2, 1, 3, 0]


def test_an_unknown_character_is_named_with_its_position(monkeypatch):
    tokenizer = CharTokenizer.train("abc", ("<s>",))
    with pytest.raises(TokenizerError, match="the character 'x' at position 2 is none of the 3"):
        tokenizer.encode("abx")
    with pytest.raises(TokenizerError, match="the character 'x' at position 5"):
        tokenizer.encode("a<s>bx", special=True)
    monkeypatch.setattr("gpt.tokenizer.tokenizer.CHUNK", 2)
    with pytest.raises(TokenizerError, match="the character 'x' at position 5"):
        tokenizer.encode_array("abcabx")


def test_a_char_tokenizer_needs_characters_that_differ():
    with pytest.raises(TokenizerError, match="the text is empty"):
        CharTokenizer.train("")
    with pytest.raises(TokenizerError, match="at least one character"):
        CharTokenizer("")
    with pytest.raises(TokenizerError, match="must differ"):
        CharTokenizer("aa")


@pytest.mark.parametrize("name", ["byte", "bpe", "char"])
def test_half_a_surrogate_pair_is_named_with_its_position(name):
    with pytest.raises(TokenizerError, match=r"'\\udcff' at position 3"):
        TOKENIZERS[name].encode("The\udcff")


def test_a_char_tokenizer_is_not_made_from_half_a_surrogate_pair():
    with pytest.raises(TokenizerError, match=r"'\\udcff'"):
        CharTokenizer.train("a\udcff")


@each_tokenizer
def test_what_is_no_text_is_refused(tokenizer):
    with pytest.raises(TokenizerError, match="the text must be a str, got bytes"):
        tokenizer.encode(b"abc")


@each_tokenizer
@pytest.mark.parametrize("bad", [-1, 100_000, 0.5, "a", None, [0]])
def test_what_is_no_id_is_named_with_its_position(tokenizer, bad):
    message = rf"in \[0, {tokenizer.vocab_size}\), got {json.dumps(bad)}.* at position 1"
    message = message.replace("null", "None").replace('"a"', "'a'").replace("[0].", r"\[0\].")
    with pytest.raises(TokenizerError, match=message):
        tokenizer.decode([0, bad])


def test_one_id_alone_is_no_sequence():
    with pytest.raises(TokenizerError, match=r"got 3; pass \[3\]"):
        ByteTokenizer().decode(3)
    with pytest.raises(TokenizerError, match=r"got array\(3\)"):
        ByteTokenizer().decode(np.array(3))


def test_special_tokens_are_text_unless_asked_for():
    tokenizer = TOKENIZERS["bpe"]
    end = tokenizer.special_tokens[END_OF_TEXT]
    assert end == tokenizer.vocab_size - 1
    text = f"The quick{END_OF_TEXT}brown fox{END_OF_TEXT}"
    assert end not in tokenizer.encode(text)
    ids = tokenizer.encode(text, special=True)
    assert [i for i, token in enumerate(ids) if token == end] == [
        len(tokenizer.encode("The quick")),
        len(ids) - 1,
    ]
    assert tokenizer.decode(ids) == text
    assert tokenizer.token_lengths()[ids].sum() == len(text) - 2 * len(END_OF_TEXT)


def test_the_longest_special_token_is_found():
    tokenizer = TOKENIZERS["byte with special tokens"]
    assert tokenizer.encode("<|a|><|b|>.<|a|><|c", special=True)[:3] == [257, 46, 256]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["<s>", "<s>"], "'<s>' twice"), ([""], "non-empty"), ([3], "strings, got 3")],
)
def test_special_tokens_are_strings_that_differ(names, message):
    with pytest.raises(TokenizerError, match=message):
        ByteTokenizer(names)


def test_tokenizers_are_equal_if_they_encode_alike():
    assert CharTokenizer.train("ab") == CharTokenizer("ab")
    assert CharTokenizer.train("ab") != CharTokenizer("ba")
    assert CharTokenizer.train("ab") != CharTokenizer.train("ab", ("<s>",))
    assert len({ByteTokenizer(), ByteTokenizer(), CharTokenizer("ab")}) == 2
    assert repr(ByteTokenizer()) == "ByteTokenizer(vocab_size=256)"


@given(st.binary(max_size=24))
def test_a_stream_decodes_to_what_decoding_at_once_gives(data):
    tokenizer = ByteTokenizer()
    stream = StreamDecoder(tokenizer)
    pieces = [stream.push(byte) for byte in data]
    assert "".join(pieces) + stream.finish() == tokenizer.decode(data)
    assert stream.finish() == ""


@each_tokenizer
@given(data=st.data())
def test_a_stream_never_shows_half_a_character(tokenizer, data):
    text = data.draw(texts_for(tokenizer))
    stream = StreamDecoder(tokenizer)
    shown = ""
    read = b""
    for token in tokenizer.encode(text):
        shown += stream.push(token)
        read += tokenizer.decode_bytes([token])
        assert text.startswith(shown)
        # And every whole character is shown at once: less than one is kept back.
        assert len(read) - len(shown.encode()) < 4
    assert shown == text
    assert stream.finish() == ""


def test_bytes_that_are_no_character_are_shown_as_replaced():
    stream = StreamDecoder(ByteTokenizer())
    assert [stream.push(byte) for byte in b"a\xffb\xe6\x97c"] == ["a", "�", "b", "", "", "�c"]
    assert stream.push(0xE6) == ""
    assert stream.finish() == "�"
    assert stream.push(ord("d")) == "d"


@each_tokenizer
def test_a_saved_tokenizer_loads_as_it_was(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    loaded = load(path)
    assert type(loaded) is type(tokenizer)
    assert loaded == tokenizer
    assert loaded.encode(SAMPLE) == tokenizer.encode(SAMPLE)
    again = tmp_path / "again.json"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()


def test_the_file_is_the_documented_json(tmp_path):
    path = tmp_path / "tokenizer.json"
    BPETokenizer([(64, 65)], ("<s>",)).save(path)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "format": "gpt tokenizer",
        "version": 1,
        "kind": "bpe",
        "vocab_size": 258,
        "special_tokens": ["<s>"],
        "split": "gpt2",
        "merges": [[64, 65]],
    }


def test_saving_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    CharTokenizer("ab").save(path)

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        CharTokenizer("xyz").save(path)
    assert load(path) == CharTokenizer("ab")
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]


def changed(**fields):
    contents = {
        "format": "gpt tokenizer",
        "version": 1,
        "kind": "bpe",
        "vocab_size": 257,
        "special_tokens": [],
        "split": "gpt2",
        "merges": [[64, 65]],
    }
    return json.dumps({**contents, **fields}).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"\x80\x04\x95", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1, 2]", 'no "format": "gpt tokenizer"'),
        (b'{"version": "1.0", "added_tokens": [], "model": {}}', "one of Hugging Face's"),
        (changed(version=2), "version is 2, this program reads 1"),
        (changed(kind="wordpiece"), "kind is 'wordpiece', known are bpe, byte, char"),
        (changed(kind=["bpe"]), "kind is"),
        (changed(vocab_size=300), "says vocab_size 300, but holds 257"),
        (changed(special_tokens="<s>"), '"special_tokens" must be a list'),
        (changed(special_tokens=[1]), "must be non-empty strings"),
        (changed(split="gpt4"), '"split" must be "gpt2", got \'gpt4\''),
        (changed(merges=None), '"merges" must be a list'),
        (changed(merges=[[1, 2, 3]]), "merge 0 must be a pair of ids"),
        (changed(merges=[[1, 2.0]]), "merge 0 must be a pair of ids"),
        (changed(merges=[[1, 300]]), r"token 256 joins \(1, 300\)"),
        (changed(kind="char"), '"characters" must be a string'),
        (changed(kind="char", characters="aa"), "characters must differ"),
        (changed(kind="char", characters="\ud800"), "surrogate"),
    ],
)
def test_a_foreign_or_damaged_file_is_refused_with_its_path(data, message, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(data)
    with pytest.raises(TokenizerError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["char", "byte", "bpe"])
def test_a_file_cut_short_anywhere_is_refused(name, tmp_path):
    path = tmp_path / "tokenizer.json"
    TOKENIZERS[name].save(path)
    data = path.read_bytes()
    for length in range(len(data) - 2):  # without its last newline it is whole
        path.write_bytes(data[:length])
        with pytest.raises(TokenizerError):
            load(path)


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["bpe", "byte", "char", "stream"])
def test_the_examples_in_the_docstrings_run(name):
    module = sys.modules[f"gpt.tokenizer.{name}"]
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
