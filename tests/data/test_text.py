"""Normal forms, and spans that lead back to the raw text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jumok.data.text import (
    FORMS,
    NearKey,
    check_form,
    loose_key,
    normalise,
    normalise_with_map,
    printable,
    raw_span,
)
from jumok.errors import DataError, UsageError

# Letters that compose, marks in several classes, jamo of each kind, half-width and
# compatibility forms, ligatures, joiners, things that decompose and never come back.
ALPHABET = (
    "aeo\u0301\u0323\u0327\u0308\u0345\u0344é\u1e69ﬁ½Åα\u212b\u2126"
    "\u1100\u1112\u1161\u1175\u11a8\u11ab가한\u3131\u314f\uff8a\uff9e"
    "\u0915\u093c\u0958\u09c7\u09be\u0b47\u0b3e\u200d\u200c👩💻🏽\ufe0f \u2028\u00a0"
)
TEXTS = st.text(alphabet=st.sampled_from(ALPHABET), max_size=13)
FORM = st.sampled_from(FORMS)
QUICK = settings(max_examples=150, deadline=None, derandomize=True)


@QUICK
@given(TEXTS, FORM)
@example("\u1112\u1161\u11ab", "NFC")
@example("\u3131\u314f", "NFKC")
@example("\u09c7\u09be", "NFC")
@example("a\u0345\u0301\u0323", "NFC")
def test_the_mapped_text_is_the_normalised_text(text: str, form: str) -> None:
    mapped, offsets = normalise_with_map(text, form)
    assert mapped == normalise(text, form)
    assert len(offsets) == len(mapped)


@QUICK
@given(TEXTS, FORM)
def test_mapped_spans_cover_the_raw_text_in_order(text: str, form: str) -> None:
    _, offsets = normalise_with_map(text, form)
    covered = 0
    for start, end in offsets:
        assert start <= covered <= end
        covered = max(covered, end)
    assert covered == len(text)


@QUICK
@given(TEXTS, FORM)
def test_a_raw_span_normalises_to_the_piece_it_came_from(text: str, form: str) -> None:
    mapped, offsets = normalise_with_map(text, form)
    cuts = [i for i in range(len(mapped)) if i == 0 or offsets[i] != offsets[i - 1]]
    for begin in cuts:
        for stop in [c for c in cuts if c > begin] + [len(mapped)]:
            start, end = raw_span(offsets, begin, stop)
            assert normalise(text[start:end], form) == mapped[begin:stop]


@QUICK
@given(TEXTS, TEXTS)
def test_text_that_needs_no_change_maps_onto_itself_beside_text_that_does(
    first: str, second: str
) -> None:
    plain = "xyz"
    mapped, offsets = normalise_with_map(f"{first} {plain} {second}", "NFC")
    at = mapped.index(plain)
    start, end = raw_span(offsets, at, at + len(plain))
    assert end - start == len(plain)


def test_jamo_of_a_syllable_map_as_a_whole() -> None:
    raw = "\u1112\u1161\u11ab\u1100\u1173\u11af!"
    mapped, offsets = normalise_with_map(raw)
    assert mapped == "한글!"
    assert offsets == [(0, 3), (3, 6), (6, 7)]


def test_a_letter_that_falls_apart_keeps_its_one_character() -> None:
    assert normalise_with_map("né", "NFD") == ("ne\u0301", [(0, 1), (1, 2), (1, 2)])
    assert normalise_with_map("ﬁn", "NFKC") == ("fin", [(0, 1), (0, 1), (1, 2)])


def test_an_empty_span_is_empty_in_the_raw_text_too() -> None:
    _, offsets = normalise_with_map("e\u0301x")
    assert raw_span(offsets, 1, 1) == (2, 2)
    assert raw_span(offsets, 2, 2) == (3, 3)
    assert raw_span([], 0, 0) == (0, 0)


def test_half_a_surrogate_pair_is_refused_in_every_form() -> None:
    for form in FORMS:
        with pytest.raises(DataError, match=r"character 3 is half of a surrogate pair \(U\+D800\)"):
            normalise("ab\ud800", form)
        with pytest.raises(DataError, match="surrogate"):
            normalise_with_map("ab\udfff", form)


def test_an_unknown_form_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean NFKC"):
        check_form("NFKCC")


@QUICK
@given(TEXTS)
def test_the_loose_key_forgets_form_case_and_white_space_only(text: str) -> None:
    decomposed = unicodedata.normalize("NFD", text)
    assert loose_key(f" {decomposed}\t") == loose_key(unicodedata.normalize("NFC", text))
    assert loose_key("a  B") == loose_key("A b")
    assert loose_key("a-b") != loose_key("a b") != loose_key("ab")


def test_the_near_key_forgets_punctuation_but_not_marks_of_vowels() -> None:
    key = NearKey()
    assert key("Hello, World!") == key("hello world") == "helloworld"
    assert key("कि") != key("की")
    assert key("?!") != key("...")


def test_excerpts_show_what_a_terminal_would_obey() -> None:
    assert printable("a\x1b[31m\tb\u202e가") == "a\\x1b[31m\\tb\\u202e가"
    assert printable("x" * 200) == "x" * 79 + "…"
