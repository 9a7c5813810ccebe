"""The map in the terminal: shaded cells, or an ASCII ramp where colours cannot be shown.

Rows are target symbols, columns source symbols. The strongest source of each row stands in
brackets. Where the map is wider than the terminal, each row becomes one line that names its
three strongest sources instead.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jumok.records import EOS, SPECIALS, AttentionMap, AttentionTrace
from jumok.views import labels as text
from jumok.views.measures import Axes, axes, find_map, spread, strongest, top
from jumok.views.shades import ink_on, viridis

__all__ = ["RAMP", "render_terminal"]

RAMP = " .:-=+*#%@"
"""Weights in tenths, 0 at the left; the last character is 0.95 and more."""
_TALLEST = 12
_WIDEST_LABEL = 18


@dataclass(frozen=True, kw_only=True)
class _Style:
    """What the terminal can show; ``cell`` is the width of one cell in columns."""

    color: bool
    ascii: bool
    width: int
    cell: int = 2

    def symbol(self, shown: str, plain: str) -> str:
        return plain if self.ascii else shown

    def cut(self, shown: str, width: int) -> str:
        short = text.cut(shown, width)
        return text.plain(short) if self.ascii else short


Span = tuple[str, str]
"""Text and its rich style ('' = none)."""
Line = list[Span]


def render_terminal(
    trace: AttentionTrace,
    *,
    width: int | None = None,
    color: bool | None = None,
    ascii: bool | None = None,
    map_name: str | None = None,
) -> str:
    """``trace`` as lines of text, ending in a newline.

    Args:
        width: columns that may be used; None = those of the terminal (80 where unknown).
        color: True = 24-bit shades, False = the ASCII ramp; None = shades on a terminal that
            allows them (``NO_COLOR``, ``FORCE_COLOR``, ``TERM=dumb`` are heeded).
        ascii: True = nothing but ASCII, symbols beyond it as ``\\uXXXX``; None = only where
            standard output is not Unicode.
        map_name: the map to draw; None = the main one.

    Raises:
        UsageError: there is no map of that name.
    """
    style = _Style(
        color=_colors_shown() if color is None else color,
        ascii=_ascii_only() if ascii is None else ascii,
        width=width or shutil.get_terminal_size((80, 24)).columns,
    )
    shown = find_map(trace, map_name)
    lines = _heading(trace, style)
    if shown is None:
        lines += _without_map(trace, style)
    else:
        lines += _body(trace, shown, style)
    return _printed(lines + _remarks(trace, shown, style), style, detect=color is None)


# --- what the terminal can do -------------------------------------------------------------


def _colors_shown() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"


def _ascii_only() -> bool:
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    return not encoding.startswith("utf")


def _printed(lines: list[Line], style: _Style, *, detect: bool) -> str:
    """Lines as one string; shades as escape sequences where ``style`` has them."""
    plain = "\n".join("".join(part for part, _ in line).rstrip() for line in lines) + "\n"
    if not style.color:
        return plain
    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    found = Console(force_terminal=True).color_system if detect else None
    system: Literal["256", "truecolor"] = "256" if found in ("256", "standard") else "truecolor"
    console = Console(
        file=out,
        force_terminal=True,
        no_color=False,
        color_system=system,
        width=10_000,
        legacy_windows=False,
    )
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True, highlight=False)
    return out.getvalue()


# --- heading, remarks ---------------------------------------------------------------------


def _heading(trace: AttentionTrace, style: _Style) -> list[Line]:
    room = max(style.width - 8, 8)
    lines: list[Line] = []
    for name, raw in (("source", trace.source_text), ("target", trace.target_text)):
        shown = style.cut(text.sentence(raw), room)
        lines.append([(f"{name}  ", "dim"), (shown, "bold")])
    if trace.score is not None:
        odds = _odds(math.exp(min(trace.score, 0.0)))
        lines.append([("score   ", "dim"), (f"{_number(trace.score)} (probability {odds})", "")])
    return [*lines, []]


def _remarks(trace: AttentionTrace, shown: AttentionMap | None, style: _Style) -> list[Line]:
    said: list[Line] = []
    if not trace.finished:
        said.append([("stopped at the length limit: no end symbol was produced", "bold")])
    if shown is not None:
        said.append([(_legend(trace, style), "dim")])
    others = [m.name for m in trace.maps if m is not shown]
    if others and shown is not None:
        more = ", ".join(others[:6]) + (", and more" if len(others) > 6 else "")
        said.append([(f"map {shown.name} ({shown.kind}); there are also: {more}", "dim")])
    return [[], *said] if said else []


def _legend(trace: AttentionTrace, style: _Style) -> str:
    tokens = [*trace.source, *trace.target]
    used = set("".join(text.labels(tokens)))
    parts = []
    if text.END in used:
        parts.append(f"{style.symbol(text.END, '</s>')} end of sentence")
    if text.SPACE in used:
        parts.append(f"{style.symbol(text.SPACE, '_')} space")
    if any(label.startswith("▁") for label in text.labels(tokens)):
        parts.append(f"{style.symbol('▁', text.plain('▁'))} begins a word")
    parts.append("log-probability at the right")
    return f" {style.symbol('·', '|')} ".join(parts)


def _share(weight: float) -> str:
    """A weight or probability in percent: ``97%``; ``?`` where it is not a number."""
    return f"{100 * weight:.0f}%" if math.isfinite(weight) else "?"


def _odds(probability: float) -> str:
    """As ``_share``, and small ones as they are: ``0.0012%``, not ``0%``."""
    if not 0 < probability < 0.005:
        return _share(probability)
    return f"{100 * probability:.2g}%" if probability >= 1e-6 else "below 0.0001%"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else str(value)


def _logprob(trace: AttentionTrace, t: int) -> str:
    known = trace.logprobs_T is not None and t < len(trace.logprobs_T)
    return f"{_number(float(trace.logprobs_T[t])):>7}" if known else ""  # type: ignore[index]


# --- no map: what the model believed ------------------------------------------------------


def _without_map(trace: AttentionTrace, style: _Style) -> list[Line]:
    lines: list[Line] = [[("no attention map: this model has none; what it believed instead:", "")]]
    names = [style.cut(n, _WIDEST_LABEL) for n in text.labels(trace.target, ascii=style.ascii)]
    pad = max(map(text.columns, names), default=0)
    for t, name in enumerate(names):
        options = trace.alternatives[t] if t < len(trace.alternatives) else ()
        lines.append([(_left(name, pad), "bold"), (_logprob(trace, t), "dim"), ("  ", "")])
        room = style.width - pad - 9
        lines[-1].append((style.cut("  ".join(_option(o, style) for o in options), room), ""))
    return lines


def _option(option: tuple[str, float], style: _Style) -> str:
    shown = text.END if option[0] == SPECIALS[EOS] else text.visible(option[0])
    return f"{text.plain(shown) if style.ascii else shown} {_share(math.exp(option[1]))}"


def _left(shown: str, width: int) -> str:
    return " " * (width - text.columns(shown)) + shown


# --- the map ------------------------------------------------------------------------------


def _body(trace: AttentionTrace, shown: AttentionMap, style: _Style) -> list[Line]:
    sides = axes(trace, shown, ascii=style.ascii)
    rows = [style.cut(name, _WIDEST_LABEL) for name in sides.rows]
    pad = max(map(text.columns, rows), default=0)
    forms = ((2, True), (2, False)) if style.color else ((3, True), (2, True), (2, False))
    for cell, naming in forms:
        tail = 9 + (_text_width(sides.columns) + 6 if naming else 0)
        if pad + 1 + cell * len(sides.columns) + tail <= style.width:
            fitted = _Style(color=style.color, ascii=style.ascii, width=style.width, cell=cell)
            return _grid(trace, shown.values_TS, sides, rows, pad, fitted, naming)
    return _as_lines(trace, shown.values_TS, sides, rows, pad, style)


def _text_width(names: list[str]) -> int:
    """Columns of the widest of ``names``, at most those of a row label."""
    return min(max(map(text.columns, names), default=0), _WIDEST_LABEL)


def _grid(
    trace: AttentionTrace,
    values_TS: np.ndarray,
    sides: Axes,
    rows: list[str],
    pad: int,
    style: _Style,
    naming: bool,
) -> list[Line]:
    lines = [[(" " * (pad + 1), ""), *line] for line in _upright(sides.columns, style)]
    low, high = spread(values_TS)
    wide = _text_width(sides.columns)
    for t, name in enumerate(rows):
        best = strongest(values_TS[t])
        line: Line = [(_left(name, pad), "bold"), (" ", "")]
        for s, weight in enumerate(values_TS[t]):
            share = (float(weight) - low) / (high - low)
            line.append(_cell(share, s == best, style))
        line.append((_logprob(trace, t) if sides.row_name == "target" else "", "dim"))
        if naming and best is not None:
            found = style.cut(sides.columns[best], _WIDEST_LABEL)
            gap = " " * (wide - text.columns(found))
            weight = f"{_share(float(values_TS[t, best])):>5}"
            line += [("  ", ""), (found + gap, "bold"), (weight, "dim")]
        lines.append(line)
    return [*lines, *_scale(low, high, pad, style)]


def _upright(names: list[str], style: _Style) -> list[Line]:
    """Column headers read downwards, one place a line, standing on the map."""
    stacks = [_stack(name, style) for name in names]
    height = max(map(len, stacks), default=0)
    lines: list[Line] = []
    for level in range(height):
        line = ""
        for stack in stacks:
            at = level - (height - len(stack))
            line += _centred(stack[at] if at >= 0 else "", style.cell)
        lines.append([(line, "bold")])
    return lines


def _stack(name: str, style: _Style) -> list[str]:
    places = text.clusters(name)
    short = len(places) <= _TALLEST
    return places if short else [*places[: _TALLEST - 1], style.symbol("…", "~")]


def _centred(shown: str, width: int) -> str:
    before = 1 if width == 3 else 0
    return " " * before + shown + " " * (width - before - text.columns(shown))


def _cell(share: float, best: bool, style: _Style) -> Span:
    known = math.isfinite(share)
    if style.color:
        shade = viridis(share if known else 0.0)
        mark = "[]" if best else ("  " if known else "??")
        return mark, f"{'bold ' if best else ''}{ink_on(shade)} on {shade}"
    dot = RAMP[min(int(share * 10 + 0.5), 9)] if known else "?"
    if style.cell == 3:
        return (f"[{dot}]" if best else f" {dot} "), ""
    return (">" if best else " ") + dot, ""


def _scale(low: float, high: float, pad: int, style: _Style) -> list[Line]:
    ends = f"{low:.3g} ", f" {high:.3g}"
    swatch: Line = [("  ", f"on {viridis(i / 15)}") for i in range(16)]
    ramp: Line = swatch if style.color else [(f'"{RAMP}"', "")]
    mark = "[]" if style.color or style.cell == 3 else ">"
    told = f"   {mark} strongest source of the row"
    return [[], [(" " * (pad + 1), ""), (ends[0], "dim"), *ramp, (ends[1], "dim"), (told, "dim")]]


def _as_lines(
    trace: AttentionTrace,
    values_TS: np.ndarray,
    sides: Axes,
    rows: list[str],
    pad: int,
    style: _Style,
) -> list[Line]:
    """One line a row: its symbol, an arrow, the three strongest sources with their weights."""
    arrow = style.symbol("←", "<-")
    room = max(style.width - pad - len(arrow) - 10, 10)
    found = [style.cut(_three(row_S, sides, style), room) for row_S in values_TS]
    wide = max(map(text.columns, found), default=0)
    lines: list[Line] = []
    for t, name in enumerate(rows):
        gap = " " * (wide - text.columns(found[t]))
        line: Line = [(_left(name, pad), "bold"), (f" {arrow} ", "dim"), (found[t] + gap, "")]
        shown = _logprob(trace, t) if sides.row_name == "target" else ""
        lines.append([*line, (" " + shown, "dim")])
    said = "the map is wider than the terminal: the three strongest sources (place) of each row"
    return [*lines, [], [(said, "dim")]]


def _three(row_S: np.ndarray, sides: Axes, style: _Style) -> str:
    return ", ".join(
        f"{style.cut(sides.columns[s], _WIDEST_LABEL)} ({s + 1}) {_share(weight)}"
        for s, weight in top(row_S, 3)
    )
