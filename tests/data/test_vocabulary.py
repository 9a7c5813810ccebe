"""Vocabularies: built by a fixed rule, kept as text that any symbol survives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jumok.data.vocabulary import Vocabulary, count_symbols, escape, unescape
from jumok.errors import ConfigError, ModelFolderError
from jumok.records import EOS, PAD, SPECIALS, UNK

HOSTILE = st.text(
    st.one_of(
        st.sampled_from("\\\n\r\t #e{}u<>/spad\x00\x85\u2028\ufeff\u0301\ud800각"), st.characters()
    )
)


@given(st.lists(HOSTILE, unique=True, max_size=12))
@example(["", "<pad>", "<unk>", "<s>", "</s>", "\\<pad>", "\\e", "\\", "#", " ", "\n", "\\n"])
@example(["\r", "\u0301", "e\u0301", "\u2028", "\ufeff", "\ud800", "\\u{a}", "\U000e0001"])
@settings(max_examples=300)
def test_any_symbols_come_back_from_the_file(symbols: list[str]) -> None:
    vocabulary = Vocabulary((*SPECIALS, *symbols))
    text = vocabulary.to_text()
    assert text.count("\n") == len(vocabulary) == len(text.splitlines())
    assert Vocabulary.from_bytes(text.encode()) == vocabulary


@given(HOSTILE, HOSTILE)
@settings(max_examples=200)
def test_two_symbols_are_never_written_alike(first: str, second: str) -> None:
    assert (escape(first) == escape(second)) == (first == second)
    assert unescape(escape(first)) == first


def test_what_would_not_show_is_written_as_its_number() -> None:
    assert [escape(s) for s in ("\u0301a", "a\u0301", "a b", "\u200d", "é한#")] == [
        *("\\u{301}a", "a\u0301", "a\\u{20}b", "\\u{200d}", "é한#")
    ]


def test_a_look_alike_of_a_special_symbol_is_ordinary() -> None:
    vocabulary = Vocabulary((*SPECIALS, "</s>", "<pad>"))
    assert vocabulary.ids_of(["</s>", "<pad>", "<s>"]) == [4, 5, UNK]
    assert vocabulary.decode([4, 5, EOS, PAD]) == ["</s>", "<pad>", "</s>", "<pad>"]
    assert Vocabulary.from_text(vocabulary.to_text()).id_of("</s>") == 4


def test_symbols_stand_by_falling_frequency_and_then_by_code_point() -> None:
    counts = count_symbols([list("banana"), list("cab"), ["é"]])
    assert Vocabulary.build(counts).symbols == (*SPECIALS, "a", "b", "n", "c", "é")
    assert Vocabulary.build(counts, min_count=2).symbols == (*SPECIALS, "a", "b", "n")
    assert Vocabulary.build(counts, max_size=6).symbols == (*SPECIALS, "a", "b")
    backwards = Counter(dict(reversed(list(counts.items()))))
    assert Vocabulary.build(backwards) == Vocabulary.build(counts)


def test_growing_keeps_every_id_and_appends_the_new() -> None:
    old = Vocabulary((*SPECIALS, "b", "a"))
    new = old.grow(["a", "z", "c", "z"])
    assert new.symbols == (*SPECIALS, "b", "a", "z", "c")
    assert old.grow(["a"]) == old and old.grow({"q": 3, "r": 5}).symbols[-2:] == ("r", "q")


def test_unknown_symbols_are_one_id_and_are_counted() -> None:
    vocabulary = Vocabulary((*SPECIALS, "a", "b"))
    ids = vocabulary.encode(["b", "?", "a", "?"])
    assert ids.tolist() == [5, UNK, 4, UNK] and ids.dtype == np.int64
    assert vocabulary.unknown(["b", "?", "a", "?"]) == {"?": 2}
    assert "a" in vocabulary and "?" not in vocabulary and "<pad>" not in vocabulary


def test_a_digest_tells_vocabularies_apart() -> None:
    one, two = Vocabulary((*SPECIALS, "a", "b")), Vocabulary((*SPECIALS, "b", "a"))
    assert one.digest != two.digest and one.digest == Vocabulary(one.symbols).digest


def test_a_file_is_utf8_and_its_line_number_is_the_id_plus_one(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    vocabulary = Vocabulary((*SPECIALS, "한", " ", "é"))
    vocabulary.save(path)
    lines = path.read_bytes().decode().split("\n")
    assert lines[:4] == ["\\<pad>", "\\<unk>", "\\<s>", "\\</s>"]
    assert lines[vocabulary.id_of("한")] == "한" and lines[5] == "\\u{20}"
    assert Vocabulary.load(path) == vocabulary


GOOD = "\\<pad>\n\\<unk>\n\\<s>\n\\</s>\na\n"


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        (b"", 1, "the last line has no end; was it cut short?"),
        (GOOD[:-1].encode(), 5, "the last line has no end; was it cut short?"),
        (b"a\nb\n", 1, "expected \\<pad> here."),
        (GOOD.replace("\\<s>", "<s>").encode(), 3, "expected \\<s> here."),
        ((GOOD + "b\n\n").encode(), 7, "an empty line; the empty symbol is written \\e."),
        ((GOOD + "b\na\n").encode(), 7, "the symbol a stands in line 5 already."),
        ((GOOD + "\\q\n").encode(), 6, "an unknown escape, \\q."),
        ((GOOD + "\\<pad>\n").encode(), 6, "an unknown escape, \\<."),
        ((GOOD + "a\\\n").encode(), 6, "a lone backslash."),
        ((GOOD + "\\u{110000}\n").encode(), 6, "an unknown escape, \\u{110000}."),
        ((GOOD + "b\n").encode() + b"\xff\n", 7, "not UTF-8 (invalid start byte)."),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(
    data: bytes, line: int, what: str, tmp_path: Path
) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(data)
    with pytest.raises(ModelFolderError) as error:
        Vocabulary.load(path)
    assert str(error.value) == f"{path}:{line}: {what}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"v\.txt: there is no such vocabulary file\."):
        Vocabulary.load(tmp_path / "v.txt")


def test_a_vocabulary_begins_with_the_specials_and_repeats_nothing() -> None:
    with pytest.raises(ConfigError, match="begins with <pad> <unk> <s> </s>, but this one with a"):
        Vocabulary(("a",))
    with pytest.raises(ConfigError, match="the symbol a is in the vocabulary twice"):
        Vocabulary((*SPECIALS, "a", "a"))


@given(st.binary(max_size=60))
@settings(max_examples=200)
def test_any_bytes_are_a_vocabulary_or_a_model_folder_error(data: bytes) -> None:
    try:
        Vocabulary.from_bytes(GOOD.encode() + data)
    except ModelFolderError as error:
        assert error.message.startswith("the vocabulary:")
