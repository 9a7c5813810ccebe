"""Where a figure puts each cell: whole points on the page, whole pixels in a PNG."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = [
    "Facet",
    "FigureLayout",
    "Plan",
    "arrange",
    "cell_size",
    "label_every",
    "pixels_per_point",
]

PAGE = 540
"""Points that a map fills where it can: the width of a printed page."""
LARGEST, SMALLEST_LABELLED = 22, 6
_LONGEST_SIDE = 6000


@dataclass(frozen=True, kw_only=True)
class Facet:
    """One map of a figure; origin at the top left, in the unit of its ``FigureLayout``."""

    name: str
    left: int
    top: int
    cell: int
    """Side of one square cell."""
    rows: int
    columns: int
    pooled: int = 1
    """Symbols that share a cell along each axis; above 1 a cell shows their largest weight."""

    def cell_box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the cell of target ``row`` and source ``column``."""
        x = self.left + (column // self.pooled) * self.cell
        y = self.top + (row // self.pooled) * self.cell
        return x, y, x + self.cell, y + self.cell


@dataclass(frozen=True, kw_only=True)
class FigureLayout:
    """What ``save_figure`` drew and where: pixels for PNG, points for SVG and PDF."""

    width: int
    height: int
    facets: tuple[Facet, ...]
    missing: str = ""
    """Characters that no installed font could draw."""

    def scaled(self, factor: int) -> FigureLayout:
        """The same layout in a unit ``factor`` times smaller."""
        return replace(
            self,
            width=self.width * factor,
            height=self.height * factor,
            facets=tuple(
                replace(f, left=f.left * factor, top=f.top * factor, cell=f.cell * factor)
                for f in self.facets
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes that ``arrange`` needs, in points: margins around each map and in all."""

    shapes: tuple[tuple[str, int, int], ...]
    """(name, rows, columns) of every map, as drawn."""
    cell: int
    pooled: int
    label_left: int
    label_top: int
    shared: bool
    """One set of labels serves every map: they stand on the left and on top alone."""
    bar: int
    caption: int
    title: int = 0


def cell_size(longest: int, maps: int) -> int:
    """Points per cell for ``longest`` symbols on the longer axis and so many maps.

    Up to 200 symbols every label still fits (6 points); beyond, cells shrink to one point.
    """
    across = min(math.ceil(math.sqrt(maps)), 4)
    room = PAGE // across
    if longest <= 200 and maps == 1:
        return min(max(room // max(longest, 1), SMALLEST_LABELLED), LARGEST)
    return min(max(max(room, 1200 // across) // max(longest, 1), 1), LARGEST if maps == 1 else 14)


def label_every(cell: int) -> int:
    """Which labels are written: all from six points on, else every second, third ..."""
    return math.ceil(SMALLEST_LABELLED / cell)


def pixels_per_point(width: int, height: int) -> int:
    """3 (216 dpi), or less where the picture would be longer than 6000 pixels."""
    return max(min(3, _LONGEST_SIDE // max(width, height)), 1)


def arrange(plan: Plan) -> FigureLayout:
    """The layout in points: maps in rows of equal height, the colour bar at the right."""
    margin, gap = 10, 16
    count = len(plan.shapes)
    across = min(math.ceil(math.sqrt(count)), 4) if count > 1 else 1
    wide = max(columns for _, _, columns in plan.shapes) * plan.cell
    tall = max(rows for _, rows, _ in plan.shapes) * plan.cell
    step_x = wide + gap + (0 if plan.shared else plan.label_left)
    step_y = tall + gap + plan.title + (0 if plan.shared else plan.label_top)
    facets = tuple(
        Facet(
            name=name,
            left=margin + plan.label_left + (i % across) * step_x,
            top=margin + plan.label_top + plan.title + (i // across) * step_y,
            cell=plan.cell,
            rows=rows,
            columns=columns,
            pooled=plan.pooled,
        )
        for i, (name, rows, columns) in enumerate(plan.shapes)
    )
    right = max(f.left for f in facets) + wide
    bottom = max(f.top for f in facets) + tall
    return FigureLayout(
        width=right + plan.bar + margin,
        height=bottom + plan.caption + margin,
        facets=facets,
    )
