"""Confusions and worst rows: hand-counted edits, and rapidfuzz's own operations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from jumok.errors import UsageError
from jumok.evaluation import confusions, score, worst
from jumok.evaluation.confusions import visible
from jumok.evaluation.table import align

TEXTS = st.lists(st.text("abcㅏe\u0301 ", max_size=7), min_size=1, max_size=5)


def test_edits_are_counted_by_kind_and_symbol() -> None:
    found = confusions(
        ["1", "2", "3"], ["dog", "cut", "hats"], [["dig"], ["cat"], ["hat"]], examples=2
    )
    kinds = {(e.kind, e.expected, e.got): e.count for e in found.entries}
    assert kinds == {
        ("substitution", "i", "o"): 1,
        ("substitution", "a", "u"): 1,
        ("insertion", "", "s"): 1,
    }
    assert (found.edits, found.symbols) == (3, 9)


def test_a_symbol_missing_from_the_output_is_a_deletion() -> None:
    (entry,) = confusions(["s"], ["ct"], [["cat"]]).entries
    assert (entry.kind, entry.expected, entry.got) == ("deletion", "a", "")


def test_the_commonest_edit_comes_first_with_distinct_examples() -> None:
    found = confusions(["r", "s", "t"], ["xx", "x", "b"], [["aa"], ["a"], ["c"]], examples=2)
    assert [e.count for e in found.entries] == [3, 1]
    assert [e.row for e in found.entries[0].examples] == [0, 1]
    first = found.entries[0].examples[0]
    assert (first.source, first.reference, first.hypothesis) == ("r", "aa", "xx")


def test_words_can_be_the_symbols() -> None:
    found = confusions(["s"], ["the dog sat"], [["the cat sat down"]], unit="word")
    kinds = {(e.kind, e.expected, e.got) for e in found.entries}
    assert kinds == {("substitution", "cat", "dog"), ("deletion", "down", "")}
    assert found.symbols == 4


def test_the_nearest_reference_is_the_one_compared_with() -> None:
    (entry,) = confusions(["s"], ["abd"], [["xyz", "abc"]]).entries
    assert (entry.expected, entry.got) == ("c", "d")
    assert entry.examples[0].reference == "abc"


@given(outputs=TEXTS, texts=TEXTS)
def test_edits_are_rapidfuzzs_and_their_rate_is_the_cer(
    outputs: list[str], texts: list[str]
) -> None:
    count = min(len(outputs), len(texts))
    outputs, gold = outputs[:count], [[t] for t in texts[:count]]
    found = confusions(outputs, outputs, gold)
    expected = [Levenshtein.editops(r[0], o) for r, o in zip(gold, outputs, strict=True)]
    assert found.edits == sum(map(len, expected))
    deletions = sum(op.tag == "delete" for ops in expected for op in ops)
    assert sum(e.count for e in found.entries if e.kind == "deletion") == deletions
    cer = score(outputs, outputs, gold, resamples=0).cer
    assert found.edits / max(found.symbols, 1) == pytest.approx(cer)


def test_worst_rows_come_by_rate_then_edits_then_place() -> None:
    outputs = ["abcd", "xbcd", "xx", "", "yy", "abcdefghzzzz"]
    gold = [["abcd"], ["abcd"], ["ab"], ["abc"], ["cd"], ["abcdefghijkl"]]
    found = worst(["s"] * 6, outputs, gold)
    assert [(m.row, m.edits, m.rate) for m in found] == [
        (3, 3, 1.0),
        (2, 2, 1.0),
        (4, 2, 1.0),
        (5, 4, 1 / 3),
        (1, 1, 0.25),
    ]
    assert [m.row for m in worst(["s"] * 6, outputs, gold, k=2)] == [3, 2]


def test_right_rows_are_never_among_the_worst() -> None:
    assert worst(["s"], ["a"], [["b", "a"]]) == []


def test_the_table_shows_lone_marks_and_spaces() -> None:
    lines = confusions(["원본"], ["a b"], [["ab\u0301"]]).table()
    text = "\n".join(lines)
    assert "\u25cc\u0301" in text
    assert "\u2423" in text
    assert visible("\u200b") == "\\u{200b}"
    assert visible("한") == "한"


def test_columns_line_up_on_a_terminal_where_hangul_takes_two_cells() -> None:
    assert align([("한글", "1"), ("ab", "23"), ("e\u0301", "4")]) == [
        "한글   1",
        "ab    23",
        "e\u0301      4",
    ]


def test_unknown_units_and_unequal_columns_are_refused() -> None:
    with pytest.raises(UsageError, match=r"`unit` \('byte'\) must be 'character' or 'word'"):
        confusions(["s"], ["a"], [["a"]], unit="byte")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="There are 2 sources but 1 hypotheses"):
        worst(["s", "t"], ["a"], [["a"]])
