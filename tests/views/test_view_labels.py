"""Labels: visible, printable, of known width."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jumok.records import Token
from jumok.views.labels import clusters, columns, cut, label, sentence, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" ", "␣"),
        ("a b", "a␣b"),
        ("", "∅"),
        ("\n", "\\n"),
        ("\x1b", "⟨1B⟩"),
        ("\u202e", "⟨202E⟩"),
        ("\u0301", "◌\u0301"),
        ("e\u0301", "é"),
        ("ᆫ", "ㄴ"),
        ("ᅡ", "ㅏ"),
        ("한", "한"),
        ("\u200b", "⟨200B⟩"),
        ("क्\u200dष", "क्\u200dष"),
    ],
)
def test_a_symbol_is_made_visible(text, shown):
    assert visible(text) == shown


def test_the_end_symbol_is_known_by_being_special_not_by_its_letters():
    assert label(Token("</s>", 3, 3, special=True)) == "⏎"
    assert label(Token("</s>", 0, 4)) == "</s>"
    assert label(Token("</s>", 3, 3, special=True), ascii=True) == "</s>"
    assert label(Token("<unk>", 0, 1, special=True)) == "<unk>"


def test_a_sentence_keeps_its_spaces():
    assert sentence("a  b\tc ") == "a  b\\tc "


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.text(max_size=12))
def test_no_label_holds_a_control_a_separator_or_a_direction_override(text):
    shown = visible(text)
    assert shown
    for i, c in enumerate(shown):
        joiner = c in "\u200c\u200d" and 0 < i < len(shown) - 1
        assert joiner or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.text("가고e\u0301\u200dก\u0e49漢🙂 xyz", max_size=12), st.integers(1, 9))
def test_cutting_keeps_whole_clusters_within_the_width(text, width):
    short = cut(text, width)
    assert columns(short) <= width
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))
    assert "".join(clusters(text)) == text


@pytest.mark.parametrize(("text", "width"), [("고양이", 6), ("é", 1), ("e\u0301", 1), ("⏎", 1)])
def test_columns_of_a_terminal(text, width):
    assert columns(text) == width
