"""Scores as lines of text for people."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from jumok.evaluation.intervals import Interval
from jumok.evaluation.slices import Slice

__all__ = ["WILSON", "align", "bootstrap", "parts"]

WILSON = "95% beside exact match: Wilson's interval, which keeps its width at 0% and 100%."
HEAD = ("", "inputs", "exact match", "95%", "CER", "WER", "BLEU", "chrF")


def align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of equal width on a terminal, the first to the left, the others to the right."""
    widths = [max(_cells(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        gaps = [" " * (w - _cells(cell)) for cell, w in zip(row, widths, strict=True)]
        cells = [row[0] + gaps[0], *(g + c for g, c in zip(gaps[1:], row[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _cells(text: str) -> int:
    """Terminal cells: Hangul and other wide characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}%"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def parts(named: Sequence[tuple[str, Slice]]) -> list[str]:
    """A head and one line for each part."""
    return align([HEAD, *(_row(name, part) for name, part in named)])


def _row(name: str, part: Slice) -> tuple[str, ...]:
    interval = part.exact_match_interval
    between = "-" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
    return (
        name,
        f"{part.count:,}",
        _percent(part.exact_match),
        between,
        _percent(part.cer),
        _percent(part.wer),
        _points(part.bleu),
        _points(part.chrf),
    )


def bootstrap(intervals: Mapping[str, Interval], resamples: int, seed: int) -> list[str]:
    """One line for each bootstrap interval under a line that says how; [] without any."""
    if not intervals:
        return []
    shown = (("cer", "CER"), ("wer", "WER"), ("bleu", "BLEU"), ("chrf", "chrF"))
    how = f"95% by {resamples:,} bootstrap resamples of rows (seed {seed}):"
    known = [(name, label) for name, label in shown if name in intervals]
    return [how, *(f"  {label} {_between(name, *intervals[name])}" for name, label in known)]


def _between(name: str, low: float, high: float) -> str:
    show = _percent if name in ("cer", "wer") else _points
    # Width 0 is the bootstrap's blindness, not certainty.
    blind = " (all resamples agree: too few differing rows to tell)" if low == high else ""
    return f"{show(low)} to {show(high)}{blind}"
