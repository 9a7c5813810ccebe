"""Curves as SVG: one line a run, few in colour, the rest quiet behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Line", "chart", "colour", "ticks"]

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 26
COLOURS = 8
Place = Callable[[float, float], tuple[float, float]]
"""A point of the data to its place in the picture."""


@dataclass(frozen=True)
class Line:
    """One run: the name of its system and its points (x, score), x growing."""

    label: str
    points: tuple[tuple[float, float], ...]


def colour(number: int) -> str:
    """The class of the ``number``-th system: eight colours, then the same ones dashed."""
    return f"k{number % COLOURS}" + (" dashed" if number >= COLOURS else "")


def ticks(highest: float, most: int = 5) -> list[float]:
    """Round numbers from 0 to ``highest``, at most ``most`` steps of 1, 2 or 5 times a power."""
    if not highest > 0:
        return [0.0]
    power = 10.0 ** math.floor(math.log10(highest / most))
    step = next(s * power for s in (1, 2, 5, 10) if highest / (s * power) <= most)
    return [round(n * step, 10) for n in range(int(highest / step + 1e-9) + 1)]


def chart(
    lines: Sequence[Line],
    colours: Mapping[str, str],
    lit: Sequence[str],
    *,
    share: bool,
    about: str,
) -> str:
    """The lines over one pair of axes from 0; ``share``: the score is a part of 1, in percent."""
    points = [point for line in lines for point in line.points]
    widest = max((x for x, _ in points), default=1.0) or 1.0
    highest = max((y for _, y in points), default=1.0) or 1.0
    highest = min(1.0, max(highest, 0.05)) if share else highest

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / widest * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - y / highest * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    parts = [_axes(widest, highest, place, share)]
    # Those in colour come last, so that they lie on top.
    for line in sorted(lines, key=lambda one: one.label in lit):
        parts.append(_curve(line, colours[line.label], place, line.label in lit))
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(about)}">{"".join(parts)}</svg>'
    )


def _axes(widest: float, highest: float, place: Place, share: bool) -> str:
    found = []
    for y in ticks(highest):
        _, down = place(0, y)
        shown = f"{100 * y:g}%" if share else f"{y:g}"
        found.append(f'<path class="grid" d="M{LEFT} {down}H{WIDTH - RIGHT}"/>')
        found.append(f'<text x="{LEFT - 6}" y="{down + 4}" text-anchor="end">{shown}</text>')
    for x in ticks(widest):
        across, _ = place(x, 0)
        found.append(f'<text x="{across}" y="{HEIGHT - 8}" text-anchor="middle">{_short(x)}</text>')
    return "".join(found)


def _short(number: float) -> str:
    if number >= 1_000_000:
        return f"{number / 1_000_000:g}M"
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"


def _curve(line: Line, kind: str, place: Place, lit: bool) -> str:
    placed = [place(x, y) for x, y in line.points]
    path = " ".join(f"{x},{y}" for x, y in placed)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.5"/>' for x, y in placed)
    return (
        f'<g class="curve {kind}{" lit" if lit else ""}" data-system="{escape(line.label)}">'
        f"<title>{escape(line.label)}</title>"
        f'<polyline points="{path}"/>{dots}</g>'
    )
