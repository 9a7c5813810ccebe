"""The map in the terminal: cell by cell, column by column, whatever the symbols are."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from views_planted import LINKS, SOURCE, TARGET, trace_of, weights

from jumok.errors import UsageError
from jumok.records import AttentionMap, AttentionTrace
from jumok.views.terminal import RAMP, render_terminal

WIDE = {chr(c) for c in range(0x10000) if unicodedata.east_asian_width(chr(c)) in "WF"}
_SGR = re.compile(r"\x1b\[[0-9;]*m")


def _width(text: str) -> int:
    """Columns by the Unicode tables alone, without the library under test."""
    return sum(
        0 if unicodedata.category(c) in {"Mn", "Me", "Cf"} else 1 + (c in WIDE) for c in text
    )


def _rows(text: str, count: int) -> list[str]:
    """The lines of the map itself: those with a cell in brackets, above its scale."""
    lines = [line for line in text.splitlines() if "[" in line]
    return lines[:count]


def test_the_ascii_map_shows_the_planted_alignment_cell_by_cell(planted):
    text = render_terminal(planted, width=100, color=False)
    values = planted.weights_TS
    for t, line in enumerate(_rows(text, len(LINKS))):
        label = _width(line[: line.index(" ", 1 if line[0] == " " else 0)])
        assert label >= 1
        cells = re.match(r"^ *\S+ ((?:[ \[].[ \]]){8})", line)
        assert cells, line
        drawn = [cells[1][3 * s : 3 * s + 3] for s in range(8)]
        assert [s for s in range(8) if drawn[s][0] == "["] == [LINKS[t]]
        for s in range(8):
            assert drawn[s][1] == RAMP[min(int(values[t, s] * 10 + 0.5), 9)]


def test_every_cell_begins_in_the_column_of_its_header(planted):
    lines = render_terminal(planted, width=100, color=False).splitlines()
    first = next(i for i, line in enumerate(lines) if "[" in line)
    header, row = lines[first - 1], lines[first]
    start = _width(row[: row.index("[")]) - 3 * LINKS[0]
    places = [start + 3 * s + 1 for s in range(8)]
    shown = ["e", "◌\u0301", "고", "양", "␣", "и", "◌\u0306", "⏎"]
    at, column = 0, 0
    for place, label in zip(places, shown, strict=True):
        while column < place:
            column += _width(header[at])
            at += 1
        assert column == place
        assert header[at : at + len(label)] == label
        column += _width(label)
        at += len(label)


def test_wide_row_labels_do_not_shift_the_map(planted):
    lines = _rows(render_terminal(planted, width=100, color=False), len(LINKS))
    starts = {_width(line[: line.index("[")]) - 3 * LINKS[t] for t, line in enumerate(lines)}
    assert len(starts) == 1


def test_shaded_cells_carry_the_planted_weights(planted):
    text = render_terminal(planted, width=100, color=True)
    lines = [line for line in text.splitlines() if "48;2" in line][: len(LINKS)]
    for t, line in enumerate(lines):
        cells = re.findall(r"48;2;(\d+);(\d+);(\d+)m(\[\]|  )", line)
        assert [i for i, cell in enumerate(cells) if cell[3] == "[]"] == [LINKS[t]]
        greens = np.array([int(cell[1]) for cell in cells])  # viridis grows in green
        assert np.array_equal(np.argsort(-greens)[:2], np.argsort(-planted.weights_TS[t])[:2])


def test_without_colours_there_is_no_escape_sequence(planted, hostile):
    for trace in (planted, hostile):
        text = render_terminal(trace, width=120, color=False)
        assert not any(c in text for c in "\x1b\x07\u202e\u2028\u2029\r")


def test_a_symbol_cannot_send_an_escape_sequence(hostile):
    text = render_terminal(hostile, width=200, color=True)
    assert "\x1b" not in _SGR.sub("", text)
    assert "⟨1B⟩[31m" in text


def test_no_color_and_pipes_choose_the_ramp(planted, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in render_terminal(planted, width=100)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in render_terminal(planted, width=100)
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b" not in render_terminal(planted, width=100)  # captured: not a terminal


def test_ascii_alone_has_nothing_beyond_ascii_and_names_the_end(planted):
    text = render_terminal(planted, width=160, color=False, ascii=True)
    assert text.isascii()
    assert "</s> end of sentence" in text and "_ space" in text
    assert "\\uace0" in text


def test_a_map_wider_than_the_terminal_becomes_lines_with_three_sources():
    roomy = trace_of([*SOURCE] * 3, TARGET, weights((4, 0, 6, 2, 5, 1, 21), 22))
    text = render_terminal(roomy, width=50, color=False)
    assert "wider than the terminal" in text
    line = text.splitlines()[4]
    assert line.startswith(" c ← ")
    best = np.argsort(-roomy.weights_TS[0], kind="stable")[:3]
    assert re.findall(r"\((\d+)\)", line) == [str(s + 1) for s in best]


@pytest.mark.parametrize("width", [24, 30, 41, 53, 80])
def test_map_lines_fit_the_width(planted, width):
    wide = trace_of([*SOURCE] * 3, TARGET, weights((4, 0, 6, 2, 5, 1, 21), 22))
    for trace in (planted, wide):
        lines = render_terminal(trace, width=width, color=False).splitlines()
        body = lines[lines.index("") + 1 :]
        rows = [line for line in body if re.search(r"-\d\.\d\d( |$)", line)]
        assert rows and all(_width(line) <= width for line in rows)


def test_the_limit_is_said_only_when_it_was_hit(planted):
    stopped = trace_of(SOURCE, TARGET, weights(LINKS[:-1], 8), finished=False)
    said = "stopped at the length limit: no end symbol was produced"
    assert said in render_terminal(stopped, width=100, color=False)
    assert said not in render_terminal(planted, width=100, color=False)


def test_a_model_without_attention_shows_its_candidates(planted):
    bare = replace(planted, maps=(), main=None)
    text = render_terminal(bare, width=80, color=False)
    assert "no attention map" in text
    assert re.search(r"c +-0\.01 +c 90% +ㄱ 8% +⏎ 2%", text)


def test_log_probabilities_stand_in_their_rows(planted):
    rows = _rows(render_terminal(planted, width=100, color=False), len(LINKS))
    shown = [float(re.findall(r"-\d\.\d\d", row)[0]) for row in rows]
    assert shown == [round(float(v), 2) for v in planted.logprobs_T]


def test_memory_slots_are_numbered(planted):
    read = AttentionMap(name="read", kind="read", values_TS=np.full((7, 5), 0.2))
    text = render_terminal(
        replace(planted, maps=(*planted.maps, read)), width=80, color=False, map_name="read"
    )
    assert re.search(r"0 +1 +2 +3 +4", text)
    assert "there are also: cross" in text


def test_an_unknown_map_is_answered_with_the_nearest_name(planted):
    with pytest.raises(UsageError, match=r"no map 'cros'; this trace has: cross\. Did you mean"):
        render_terminal(planted, map_name="cros")


def test_weights_that_are_not_numbers_are_shown_as_such(planted):
    values = planted.weights_TS.copy()
    values[2, 3] = np.nan
    broken = trace_of(SOURCE, TARGET, values)
    assert " ? " in _rows(render_terminal(broken, width=100, color=False), 7)[2]


def test_an_empty_sentence_can_be_shown():
    empty = AttentionTrace(source_text="", target_text="", source=(), target=())
    assert "no attention map" in render_terminal(empty, width=40, color=False)


@pytest.mark.parametrize(
    ("score", "shown"),
    [(-0.7, "50%"), (-5.29, "1%"), (-11.31, "0.0012%"), (-40.0, "below 0.0001%"), (0.0, "100%")],
)
def test_a_small_probability_is_no_zero(planted, score: float, shown: str) -> None:
    text = render_terminal(replace(planted, score=score), width=100, color=False)
    assert f"(probability {shown})" in text


def test_a_probability_of_zero_is_zero(planted) -> None:
    text = render_terminal(replace(planted, score=-np.inf), width=100, color=False)
    assert "-inf (probability 0%)" in text


def test_the_mark_of_a_piece_that_begins_a_word_is_explained_where_it_stands(planted) -> None:
    assert "begins a word" not in render_terminal(planted, width=100, color=False)
    pieces = replace(planted, source=(replace(planted.source[0], text="▁Ein"), *planted.source[1:]))
    assert "▁ begins a word · log-probability" in render_terminal(pieces, width=100, color=False)
