"""Scores as lines of text for people."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # scores.py imports this module
    from jumok.evaluation.scores import Scores, Slice

__all__ = ["align", "lines"]

HEAD = ("", "rows", "exact match", "95%", "CER", "WER", "BLEU", "chrF")


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


def _row(name: str, part: Slice | Scores) -> tuple[str, ...]:
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


def lines(scores: Scores) -> list[str]:
    """The table of ``Scores.table``."""
    rows = [HEAD, _row("all", scores)]
    rows += [
        _row(name, part)
        for name, part in (("seen in training", scores.seen), ("never seen", scores.unseen))
        if part is not None
    ]
    if len(scores.by_length) > 1:
        rows += [_row(f"length {b.shortest}-{b.longest}", b.scores) for b in scores.by_length]
    return align(rows) + _notes(scores)


def _notes(scores: Scores) -> list[str]:
    notes = ["", "95% beside exact match: Wilson's interval, which keeps its width at 0% and 100%."]
    if scores.intervals:
        how = f"{scores.resamples:,} bootstrap resamples of rows (seed {scores.seed})"
        notes.append(f"95% by {how}:")
        shown = ("cer", "wer", "bleu", "chrf")
        notes += [f"  {_bootstrap(name, *scores.intervals[name])}" for name in shown]
    if not scores.bleu_defined:
        notes.append("BLEU says nothing here: no output has four words.")
    return notes + [f"{name}: {signature}" for name, signature in scores.signatures.items()]


def _bootstrap(name: str, low: float, high: float) -> str:
    label = {"cer": "CER", "wer": "WER", "bleu": "BLEU", "chrf": "chrF"}[name]
    show = _percent if name in ("cer", "wer") else _points
    # Width 0 is the bootstrap's blindness, not certainty.
    blind = " (all resamples agree: too few differing rows to tell)" if low == high else ""
    return f"{label} {show(low)} to {show(high)}{blind}"
