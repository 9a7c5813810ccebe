"""What a figure is drawn with: a sheet measured in points from the top left corner.

matplotlib is imported inside the functions; its object interface alone is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jumok.views import labels as text
from jumok.views.fonts import for_label
from jumok.views.geometry import Facet, FigureLayout, label_every
from jumok.views.measures import Axes

__all__ = ["CMAPS", "LONGEST_LABEL", "Colors", "Picture", "Scale", "Sheet", "extent"]

Colors = Literal["grey", "viridis"]
Scale = Literal["unit", "row", "log"]
CMAPS = {"grey": "Greys", "viridis": "viridis"}
_RULES = {"grey": "#d9d9d9", "viridis": "#ffffff2e"}
_MEASURES = {
    "unit": "attention weight",
    "row": "weight / largest of its row",
    "log": "log₁₀ weight",
}
LONGEST_LABEL = 24
_MOST_SHAPES = 20_000  # cells as single shapes; beyond, a map is an image
_SMALL, _PALE = 7.0, "#555555"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A map ready to be drawn; ``low`` and ``high`` are the ends of its scale."""

    name: str
    values: np.ndarray
    sides: Axes
    low: float
    high: float


def standing(name: str) -> tuple[str, float]:
    """A column label and its rotation: wide writing is stacked, other writing is turned."""
    short = text.cut(name, LONGEST_LABEL)
    places = text.clusters(short)
    if len(places) <= 1:
        return short, 0
    if all(text.columns(p) == 2 for p in places) and len(places) <= 8:
        return "\n".join(places), 0
    return short, 90


def extent(
    figure: Any, name: str, families: list[str], size: float, *, turned: bool = False
) -> tuple[int, int]:
    """(width, height) of a label in whole points, standing as a column label if ``turned``."""
    shown, rotation = standing(name) if turned else (text.cut(name, LONGEST_LABEL), 0.0)
    artist = figure.text(
        0,
        0,
        shown,
        fontfamily=for_label(shown, families),
        fontsize=size,
        rotation=rotation,
        linespacing=1.0,
    )
    box = artist.get_window_extent(figure.canvas.get_renderer())
    artist.remove()
    return int(np.ceil(box.width)), int(np.ceil(box.height))


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A figure, where its parts go, and how they look."""

    figure: Any
    layout: FigureLayout
    families: list[str]
    size: float
    """Of labels, in points."""
    colors: Colors
    scale: Scale

    def write(self, x: float, y: float, shown: str, **how: Any) -> None:
        """Text at ``x``, ``y``."""
        style = {"ha": "left", "va": "baseline", "color": "#111111", "fontsize": self.size} | how
        self.figure.text(
            x / self.layout.width,
            1 - y / self.layout.height,
            shown,
            fontfamily=for_label(shown, self.families),
            linespacing=1.0,
            **style,
        )

    def note(self, x: float, y: float, shown: str, **how: Any) -> None:
        """Small text that is not a label."""
        self.write(x, y, shown, fontsize=_SMALL, **({"color": _PALE} | how))

    def axes(self, x: int, y: int, width: int, height: int) -> Any:
        """Empty axes on a box."""
        whole = self.layout
        left, bottom = x / whole.width, 1 - (y + height) / whole.height
        made = self.figure.add_axes((left, bottom, width / whole.width, height / whole.height))
        made.set_axis_off()
        return made

    def ramp(self, shares: np.ndarray) -> np.ndarray:
        """Shares of the scale in 0..1 as colours, one axis more."""
        from matplotlib import colormaps

        colors: np.ndarray = np.asarray(colormaps[CMAPS[self.colors]](np.nan_to_num(shares)))
        return colors

    def map(self, facet: Facet, picture: Picture, number: int) -> None:
        """The cells of one map, row by row; in SVG they are the paths of ``map-NUMBER``."""
        box = self.axes(facet.left, facet.top, facet.columns * facet.cell, facet.rows * facet.cell)
        values = _pool(picture.values, facet.pooled)
        colors = self.ramp((values - picture.low) / (picture.high - picture.low))
        if values.size > _MOST_SHAPES or facet.cell < 3:
            sides = (0, facet.columns, facet.rows, 0)
            image = box.imshow(colors, extent=sides, interpolation="nearest", aspect="auto")
            image.set_gid(f"map-{number}")
        else:
            box.add_collection(_cells(colors, f"map-{number}"))
        self._rule(box, facet)
        _frame(box, facet.columns, facet.rows)

    def _rule(self, box: Any, facet: Facet) -> None:
        from matplotlib.collections import LineCollection

        if facet.cell < 8:
            return
        lines = [[(s, 0), (s, facet.rows)] for s in range(1, facet.columns)]
        lines += [[(0, t), (facet.columns, t)] for t in range(1, facet.rows)]
        box.add_collection(LineCollection(lines, colors=_RULES[self.colors], linewidths=0.4))

    def row_labels(self, facet: Facet, names: list[str]) -> None:
        """Labels at the left of a map, thinned where cells are small."""
        for t in range(0, len(names), label_every(facet.cell) * facet.pooled):
            _, top, _, bottom = facet.cell_box(t, 0)
            shown = text.cut(names[t], LONGEST_LABEL)
            middle = (top + bottom) / 2
            self.write(facet.left - 4, middle, shown, ha="right", va="center_baseline")

    def column_labels(self, facet: Facet, names: list[str]) -> None:
        """Labels on top of a map, single characters upright on one line."""
        for s in range(0, len(names), label_every(facet.cell) * facet.pooled):
            left, _, right, _ = facet.cell_box(0, s)
            shown, turn = standing(names[s])
            below, va = (0.0, "bottom") if turn else (0.22 * self.size, "baseline")
            y = facet.top - 4 - below
            self.write((left + right) / 2, y, shown, ha="center", va=va, rotation=turn)

    def bar(self, picture: Picture) -> None:
        """The colour bar with its ends, its middle and what it measures."""
        first = self.layout.facets[0]
        x = max(f.left + f.columns * f.cell for f in self.layout.facets) + 14
        height = min(max(first.rows * first.cell, 48), 140)
        box = self.axes(x, first.top, 8, height)
        colors = self.ramp(np.linspace(1, 0, 140)[:, None])
        box.imshow(colors, extent=(0, 1, 1, 0), aspect="auto", interpolation="nearest")
        _frame(box, 1, 1)
        for share in (0.0, 0.5, 1.0):
            value = picture.low + share * (picture.high - picture.low)
            y = first.top + (1 - share) * height
            self.note(x + 11, y, f"{value:.3g}", va="center", color="#111111")
        self.note(x + 32, first.top, _MEASURES[self.scale], va="top", rotation=90)


def _cells(colors: np.ndarray, gid: str) -> Any:
    from matplotlib.collections import PolyCollection

    t, s = np.divmod(np.arange(colors.shape[0] * colors.shape[1]), colors.shape[1])
    corners = [np.stack([s + dx, t + dy], 1) for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1))]
    return PolyCollection(
        list(np.stack(corners, 1).astype(float)),
        facecolors=colors.reshape(-1, 4),
        edgecolors="none",
        antialiased=False,
        gid=gid,
    )


def _frame(box: Any, width: int, height: int) -> None:
    from matplotlib.collections import LineCollection

    corners = [[(0, 0), (width, 0), (width, height), (0, height), (0, 0)]]
    box.add_collection(LineCollection(corners, colors="#333333", linewidths=0.6, clip_on=False))
    box.set_xlim(0, width)
    box.set_ylim(height, 0)


def _pool(values: np.ndarray, size: int) -> np.ndarray:
    """Largest value of each ``size`` x ``size`` block."""
    if size == 1:
        return values
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], size)
        values = np.maximum.reduceat(values, starts, axis=axis)
    return values
