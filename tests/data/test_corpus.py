"""What a corpus is: an immutable sequence of pairs that know where they came from."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from jumok.data.corpus import Corpus, Example, load, load_sources, stream, stream_sources
from jumok.errors import DataError, UsageError

PAIRS = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "1")]


def test_a_corpus_is_a_sequence_of_examples_and_its_slices_are_corpora() -> None:
    corpus = Corpus.of(PAIRS, "here")
    assert len(corpus) == 5
    assert corpus[1] == Example("b", "2", "here:2")
    assert corpus[-1].where == "here:5"
    assert [(e.source, e.target) for e in corpus] == PAIRS == corpus.pairs()
    assert corpus[3:1:-1].pairs() == [("c", "4"), ("a", "3")]
    assert [e.where for e in corpus[3:1:-1]] == ["here:4", "here:3"]
    with pytest.raises(IndexError):
        corpus[5]


def test_a_corpus_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Corpus.of(PAIRS).sources = ()  # type: ignore[misc]


def test_rows_chosen_twice_over_still_know_their_lines() -> None:
    corpus = Corpus.of(PAIRS, "here").select([4, 2, 0]).select([0, 2])
    assert [e.where for e in corpus] == ["here:5", "here:1"]


def test_references_group_distinct_targets_by_source_in_order() -> None:
    assert Corpus.of(PAIRS).references() == {"a": ("1", "3"), "b": ("2",), "c": ("4",)}


def test_the_most_frequent_target_is_the_first_of_the_most_frequent() -> None:
    assert Corpus.of(PAIRS).most_frequent_target() == "1"
    assert Corpus.of(PAIRS[1:4]).most_frequent_target() == "2"


def test_the_fingerprint_is_of_the_pairs_alone() -> None:
    first = Corpus.of(PAIRS, "x")
    assert first.fingerprint() == Corpus.of(PAIRS, "y").fingerprint()
    others = [PAIRS[::-1], PAIRS[1:], [("a1", ""), *PAIRS[1:]], [(t, s) for s, t in PAIRS]]
    assert len({first.fingerprint(), *(Corpus.of(o).fingerprint() for o in others)}) == 5


def test_sides_of_unequal_length_are_refused() -> None:
    with pytest.raises(UsageError, match="here: 2 sources and 1 targets"):
        Corpus(sources=("a", "b"), targets=("c",), name="here")


@pytest.mark.parametrize("text", ["a\nb", "a\0b"])
def test_pairs_from_memory_hold_no_line_break_and_no_nul(text: str) -> None:
    with pytest.raises(DataError, match="here:2: a text may hold no line break and no NUL"):
        Corpus.of([("x", "y"), ("x", text)], "here")


def test_pairs_from_memory_are_normalised() -> None:
    assert Corpus.of([("e\u0301", "ﬁ")]).pairs() == [("é", "ﬁ")]
    assert Corpus.of([("e\u0301", "ﬁ")], normalisation="NFKC").pairs() == [("é", "fi")]


def test_a_stream_gives_what_load_gives_as_often_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    path.write_text("".join(f"{s}\t{t}\n" for s, t in PAIRS) + "bad\n")
    pairs = stream(path, on_bad="skip")
    loaded = load(path, on_bad="skip")
    for _ in range(2):
        assert list(pairs) == list(loaded)
        assert (pairs.rows, pairs.notes) == (5, loaded.notes)
    assert "1 of 6 lines is bad" in pairs.notes[0]


def _peak_of_stream(path: Path, rows: int) -> int:
    path.write_text("".join(f"source number {i}\ttarget number {i}\n" for i in range(rows)))
    tracemalloc.start()
    count = sum(1 for _ in stream(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == rows
    return peak


def test_the_memory_of_a_stream_does_not_grow_with_the_file(tmp_path: Path) -> None:
    small = _peak_of_stream(tmp_path / "p.tsv", 1_500)
    large = _peak_of_stream(tmp_path / "p.tsv", 15_000)
    assert large < 1.1 * small


def test_sources_to_translate_are_one_for_each_line(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes("\ufeffe\u0301\tx\r\n\n a \x00\u2028\x0b\x85\r\r\n\nlast".encode())
    assert load_sources(path) == ["e\u0301\tx", "", " a \x00\u2028\x0b\x85\r", "", "last"]


def test_an_undecodable_source_is_an_error_with_its_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"good\nab\xc3(\n")
    items = stream_sources(path)
    assert next(items) == "good"
    with pytest.raises(DataError, match=r"in.txt:2: byte 3 of the line \(0xC3\) is not UTF-8"):
        next(items)
