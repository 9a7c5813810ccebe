"""One attention map as a small SVG that follows the page's colours, light or dark."""

from __future__ import annotations

from html import escape

from jumok.records import AttentionTrace
from jumok.views.labels import columns, labels

__all__ = ["small_map"]

CELL, GAP, FONT = 18, 5, 12
SHOWN = 0.01
"""Weights below this leave their cell empty."""
LONGEST = 14
"""Characters of a label."""
MOST_ROWS = 20
"""Of an output that does not end, the beginning."""


def small_map(trace: AttentionTrace) -> str:
    """The main map of ``trace``: source on top, output at the left; empty where there is none."""
    weights_TS = trace.weights_TS
    if weights_TS is None or not weights_TS.size:
        return ""
    above, beside = (
        [text[:LONGEST] for text in labels(tokens)]
        for tokens in (trace.source, trace.target[:MOST_ROWS])
    )
    beside += ["…"] if len(trace.target) > MOST_ROWS else []
    turned = max(map(columns, above)) > 2
    top = GAP + (max(map(columns, above)) * 7 if turned else FONT + 2)
    left = GAP + max(map(columns, beside)) * 8
    width, height = left + len(above) * CELL + 1, top + len(beside) * CELL + 1
    parts = [_above(text, left + s * CELL, top, turned) for s, text in enumerate(above)]
    for t, text in enumerate(beside):
        y = top + t * CELL
        parts.append(
            f'<text x="{left - GAP}" y="{y + CELL - 5}" text-anchor="end">{escape(text)}</text>'
        )
        if t == MOST_ROWS:
            break
        strongest = int(weights_TS[t].argmax())
        for s, weight in enumerate(weights_TS[t].tolist()):
            if weight >= SHOWN:
                parts.append(
                    f'<rect x="{left + s * CELL}" y="{y}" width="{CELL}" height="{CELL}" '
                    f'fill-opacity="{min(weight, 1):.3f}"{_marked(s == strongest)}><title>'
                    f"{escape(text)} ← {escape(above[s])} {weight:.0%}</title></rect>"
                )
    frame = (
        f'<path class="frame" d="M{left} {top}h{len(above) * CELL}v{len(beside) * CELL}'
        f'h-{len(above) * CELL}z"/>'
    )
    return (
        f'<svg class="map" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="attention: rows are the output, columns the source">'
        f"{''.join(parts)}{frame}</svg>"
    )


def _marked(strongest: bool) -> str:
    return ' class="strongest"' if strongest else ""


def _above(text: str, x: int, top: int, turned: bool) -> str:
    middle = x + CELL / 2
    if turned:
        place = f'transform="translate({middle + 4} {top - GAP}) rotate(-90)"'
        return f"<text {place}>{escape(text)}</text>"
    return f'<text x="{middle}" y="{top - GAP}" text-anchor="middle">{escape(text)}</text>'
