"""The map on paper: PNG, SVG and PDF in the papers' form, source on top, target on the left.

Bytes are stable: the same trace on the same machine gives the same file. matplotlib is
imported inside the functions and its object interface alone is used, so nothing is left
behind in a program that draws its own figures.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from jumok.errors import MissingExtraError, UsageError, did_you_mean
from jumok.records import AttentionMap, AttentionTrace
from jumok.views import labels as text
from jumok.views.fonts import MissingGlyphs, advice, choose, for_label
from jumok.views.geometry import (
    Facet,
    FigureLayout,
    Plan,
    arrange,
    cell_size,
    label_every,
    pixels_per_point,
)
from jumok.views.measures import Axes, axes, find_map, spread

__all__ = ["FORMATS", "save_figure"]

FORMATS = ("png", "svg", "pdf")
Colors = Literal["grey", "viridis"]
Scale = Literal["unit", "row", "log"]
_CMAPS = {"grey": "Greys", "viridis": "viridis"}
_LONGEST_LABEL = 24
_MOST_CELLS = 20_000  # as single shapes; beyond, a map is an image
_LARGEST_SIDE = 4000
_FLOOR = -4.0
_LOCK = threading.Lock()  # matplotlib's settings belong to the process


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What a caller may choose, and the size of labels that follows from the cells."""

    colors: Colors
    scale: Scale
    families: list[str]
    size: float
    every: int


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """A map ready to be drawn."""

    name: str
    values_TS: np.ndarray
    sides: Axes
    high: float
    low: float


def save_figure(
    trace: AttentionTrace,
    path_or_file: str | os.PathLike[str] | IO[bytes],
    format: str | None = None,
    *,
    maps: Sequence[str] | Literal["all"] | None = None,
    colors: Colors = "grey",
    scale: Scale = "unit",
) -> FigureLayout:
    """Draw ``trace`` and return where each cell lies (pixels for PNG, points otherwise).

    Args:
        format: ``"png"``, ``"svg"`` or ``"pdf"``; None = by the path's suffix.
        maps: names of the maps to draw in a grid; None = the main one, ``"all"`` = every map.
        colors: ``"grey"`` (0 white, 1 black, for print) or ``"viridis"``.
        scale: ``"unit"`` = 0 to 1, ``"row"`` = each row by its largest weight, ``"log"`` =
            decimal logarithm down to 1e-4. The colour bar says which.

    Raises:
        UsageError: an unknown format, map, colour or scale, or a trace without any map.
        MissingExtraError: matplotlib is not installed.

    Warns:
        MissingGlyphs: no installed font has some characters; the package to install is named.
    """
    kind = _format(path_or_file, format)
    _check("colors", colors, _CMAPS)
    _check("scale", scale, ("unit", "row", "log"))
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingExtraError("matplotlib", "figures", f"Drawing a .{kind} file") from error
    pictures = [_picture(trace, m, scale) for m in _chosen(trace, maps)]
    with _LOCK, _settings(mpl):
        figure, layout = _draw(trace, pictures, colors, scale)
        factor = pixels_per_point(layout.width, layout.height) if kind == "png" else 1
        figure.savefig(
            path_or_file, format=kind, dpi=72 * factor, metadata=_metadata(kind, trace)
        )
    if layout.missing:
        warnings.warn(advice(layout.missing), MissingGlyphs, stacklevel=2)
    return layout.scaled(factor)


# --- what is asked for --------------------------------------------------------------------


def _format(target: Any, given: str | None) -> str:
    named = isinstance(target, str | os.PathLike)
    kind = given or (Path(target).suffix.lstrip(".").lower() if named else "")
    if kind not in FORMATS:
        raise UsageError(
            f"cannot draw the format {kind!r}; it must be one of {', '.join(FORMATS)}."
            f"{did_you_mean(kind, FORMATS)}"
        )
    return kind


def _check(name: str, value: str, known: Sequence[str] | dict[str, str]) -> None:
    if value not in known:
        raise UsageError(
            f"`{name}` ({value!r}) must be one of {', '.join(known)}.{did_you_mean(value, known)}"
        )


def _chosen(trace: AttentionTrace, maps: Sequence[str] | str | None) -> list[AttentionMap]:
    if maps == "all":
        found = list(trace.maps)
    elif maps is None:
        found = [m for m in [find_map(trace, None) or next(iter(trace.maps), None)] if m]
    else:
        names = [maps] if isinstance(maps, str) else maps
        found = [m for m in (find_map(trace, name) for name in names) if m]
    found = [m for m in found if m.values_TS.size]
    if not found:
        raise UsageError(
            "this trace holds no attention map, so there is nothing to draw.",
            hint="the terminal and the .html page show the probabilities of such a model.",
        )
    return found


def _picture(trace: AttentionTrace, shown: AttentionMap, scale: Scale) -> _Picture:
    values = np.asarray(shown.values_TS, np.float64)
    low, high = spread(values)
    if scale == "row":
        largest = np.nanmax(np.where(np.isfinite(values), values, np.nan), axis=1, keepdims=True)
        values, low, high = values / np.where(largest > 0, largest, 1.0), 0.0, 1.0
    elif scale == "log":
        values = np.log10(np.clip(values, 10**_FLOOR, None))
        low, high = _FLOOR, float(np.log10(high))
    return _Picture(
        name=shown.name, values_TS=values, sides=axes(trace, shown), low=low, high=high
    )


def _metadata(kind: str, trace: AttentionTrace) -> dict[str, Any]:
    title = f"{text.sentence(trace.source_text)} → {text.sentence(trace.target_text)}"
    if kind == "png":
        return {"Software": "jumok", "Title": title.encode("latin-1", "replace").decode("latin-1")}
    if kind == "svg":
        return {"Creator": "jumok", "Date": None, "Title": title}
    return {"Creator": "jumok", "Producer": None, "CreationDate": None, "Title": title}


@contextmanager
def _settings(mpl: Any) -> Iterator[None]:
    """matplotlib's own defaults, not the user's, plus what keeps the bytes stable."""
    ours = {
        "svg.hashsalt": "jumok",
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        "text.parse_math": False,
        "text.usetex": False,
    }
    keep = ("backend", "interactive", "toolbar", "webagg", "tk.", "timezone", "savefig.directory")
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*missing.*")
        warnings.simplefilter("ignore", mpl.MatplotlibDeprecationWarning)
        defaults = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith(keep)}
        mpl.rcParams.update(defaults | ours)
        yield


# --- drawing ------------------------------------------------------------------------------


def _draw(
    trace: AttentionTrace, pictures: list[_Picture], colors: Colors, scale: Scale
) -> tuple[Any, FigureLayout]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    longest = max(max(p.values_TS.shape) for p in pictures)
    pooled = -(-longest // _LARGEST_SIDE)
    cell = cell_size(-(-longest // pooled), len(pictures))
    said = _caption(trace, pictures, pooled)
    sides = [name for p in pictures for name in (*p.sides.rows, *p.sides.columns)]
    families, missing = choose([*sides, *said, "attention weight log₁₀ 0123456789."])
    look = _Look(
        colors=colors,
        scale=scale,
        families=families,
        size=min(max(cell * 0.62, 4.5), 10.0),
        every=label_every(cell),
    )
    figure = Figure(dpi=72)
    FigureCanvasAgg(figure)
    layout = replace(arrange(_plan(figure, pictures, cell, pooled, said, look)), missing=missing)
    figure.set_size_inches(layout.width / 72, layout.height / 72)
    for i, (facet, picture) in enumerate(zip(layout.facets, pictures, strict=True)):
        _map(figure, layout, facet, picture, look, i)
        _labels(figure, layout, facet, picture, look, _is_edge(layout, facet, pictures))
    _bar(figure, layout, pictures[0], look)
    for i, line in enumerate(reversed(said)):
        _write(figure, layout, 10, layout.height - 8 - 10 * i, line, look, 7.0, color="#555555")
    return figure, layout


def _caption(trace: AttentionTrace, pictures: list[_Picture], pooled: int) -> list[str]:
    names = [text.sentence(v) for v in trace.card.values()]
    drawn = pictures[0].name if len(pictures) == 1 else f"{len(pictures)} maps"
    lines = [text.cut(" · ".join([*names, drawn]), 90)]
    if not trace.finished:
        lines.append("stopped at the length limit: no end symbol")
    if pooled > 1:
        lines.append(f"each cell is the largest of {pooled} x {pooled} weights")
    return lines


def _shared(pictures: list[_Picture]) -> bool:
    return all(p.sides == pictures[0].sides for p in pictures)


def _is_edge(
    layout: FigureLayout, facet: Facet, pictures: list[_Picture]
) -> tuple[bool, bool]:
    """Whether this map carries labels on its left and on its top."""
    if not _shared(pictures):
        return True, True
    first = layout.facets[0]
    return facet.left == first.left, facet.top == first.top


def _plan(
    figure: Any, pictures: list[_Picture], cell: int, pooled: int, said: list[str], look: _Look
) -> Plan:
    rows = [n for p in pictures for n in p.sides.rows[:: look.every * pooled]]
    columns = [n for p in pictures for n in p.sides.columns[:: look.every * pooled]]
    return Plan(
        shapes=tuple(
            (p.name, *(-(-n // pooled) for n in p.values_TS.shape)) for p in pictures
        ),
        cell=cell,
        pooled=pooled,
        label_left=max(_extent(figure, n, look, look.size, turned=False)[0] for n in rows) + 10,
        label_top=max(_extent(figure, n, look, look.size, turned=True)[1] for n in columns) + 8,
        shared=_shared(pictures),
        bar=64,
        caption=12 + 10 * len(said),
        title=14 if len(pictures) > 1 else 0,
    )


def _standing(name: str) -> tuple[str, float]:
    """A column label and its rotation: wide writing is stacked, other writing is turned."""
    short = text.cut(name, _LONGEST_LABEL)
    places = text.clusters(short)
    if len(places) == 1:
        return short, 0
    if all(text.columns(p) == 2 for p in places) and len(places) <= 8:
        return "\n".join(places), 0
    return short, 90


def _extent(
    figure: Any, name: str, look: _Look, size: float, *, turned: bool
) -> tuple[int, int]:
    """(width, height) of a label in whole points."""
    shown, rotation = _standing(name) if turned else (text.cut(name, _LONGEST_LABEL), 0)
    artist = figure.text(
        0,
        0,
        shown,
        fontfamily=for_label(shown, look.families),
        fontsize=size,
        rotation=rotation,
        linespacing=1.0,
    )
    box = artist.get_window_extent(figure.canvas.get_renderer())
    artist.remove()
    return int(np.ceil(box.width)), int(np.ceil(box.height))


def _write(
    figure: Any,
    layout: FigureLayout,
    x: float,
    y: float,
    shown: str,
    look: _Look,
    size: float,
    **how: Any,
) -> None:
    """Text at ``x``, ``y`` points from the top left corner."""
    style = {"ha": "left", "va": "baseline", "color": "#111111", "linespacing": 1.0} | how
    figure.text(
        x / layout.width,
        1 - y / layout.height,
        shown,
        fontfamily=for_label(shown, look.families),
        fontsize=size,
        **style,
    )


def _axes_at(figure: Any, layout: FigureLayout, x: int, y: int, width: int, height: int) -> Any:
    """Empty axes on a box given in points from the top left corner."""
    box = (
        x / layout.width,
        1 - (y + height) / layout.height,
        width / layout.width,
        height / layout.height,
    )
    made = figure.add_axes(box)
    made.set_axis_off()
    return made


def _pool(values_TS: np.ndarray, size: int) -> np.ndarray:
    """Largest value of each ``size`` x ``size`` block."""
    if size == 1:
        return values_TS
    for axis in (0, 1):
        starts = np.arange(0, values_TS.shape[axis], size)
        values_TS = np.maximum.reduceat(values_TS, starts, axis=axis)
    return values_TS


def _map(
    figure: Any, layout: FigureLayout, facet: Facet, picture: _Picture, look: _Look, number: int
) -> None:
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection, PolyCollection

    width, height = facet.columns * facet.cell, facet.rows * facet.cell
    box = _axes_at(figure, layout, facet.left, facet.top, width, height)
    shares = (_pool(picture.values_TS, facet.pooled) - picture.low) / (picture.high - picture.low)
    colors = colormaps[_CMAPS[look.colors]](np.nan_to_num(shares))
    if shares.size > _MOST_CELLS or facet.cell < 3:
        picture_of = (0, facet.columns, facet.rows, 0)
        image = box.imshow(colors, extent=picture_of, interpolation="nearest", aspect="auto")
        image.set_gid(f"map-{number}")
    else:
        t, s = np.divmod(np.arange(shares.size), facet.columns)
        corners = [np.stack([s + dx, t + dy], 1) for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1))]
        box.add_collection(
            PolyCollection(
                np.stack(corners, 1).astype(float),
                facecolors=colors.reshape(-1, 4),
                edgecolors="none",
                antialiased=False,
                gid=f"map-{number}",
            )
        )
    rule = {"grey": "#d9d9d9", "viridis": "#ffffff2e"}[look.colors]
    lines = _grid_lines(facet)
    box.add_collection(LineCollection(lines, colors=rule, linewidths=0.4, gid="grid"))
    _frame(box, facet.columns, facet.rows)


def _frame(box: Any, width: int, height: int) -> None:
    from matplotlib.collections import LineCollection

    corners = [[(0, 0), (width, 0), (width, height), (0, height), (0, 0)]]
    box.add_collection(LineCollection(corners, colors="#333333", linewidths=0.6, clip_on=False))
    box.set_xlim(0, width)
    box.set_ylim(height, 0)


def _grid_lines(facet: Facet) -> list[list[tuple[int, int]]]:
    if facet.cell < 8:
        return []
    upright = [[(s, 0), (s, facet.rows)] for s in range(1, facet.columns)]
    return upright + [[(0, t), (facet.columns, t)] for t in range(1, facet.rows)]


def _labels(
    figure: Any,
    layout: FigureLayout,
    facet: Facet,
    picture: _Picture,
    look: _Look,
    edge: tuple[bool, bool],
) -> None:
    step = look.every * facet.pooled
    if edge[0]:
        for t in range(0, len(picture.sides.rows), step):
            _, top, _, bottom = facet.cell_box(t, 0)
            shown = text.cut(picture.sides.rows[t], _LONGEST_LABEL)
            y = (top + bottom) / 2
            _write(
                figure, layout, facet.left - 4, y, shown, look, look.size,
                ha="right", va="center_baseline",
            )
    if edge[1]:
        for s in range(0, len(picture.sides.columns), step):
            left, _, right, _ = facet.cell_box(0, s)
            shown, rotation = _standing(picture.sides.columns[s])
            below, va = (0, "bottom") if rotation else (0.22 * look.size, "baseline")
            _write(
                figure, layout, (left + right) / 2, facet.top - 4 - below, shown, look, look.size,
                ha="center", va=va, rotation=rotation,
            )
    if len(layout.facets) > 1:
        title_y = facet.top - 4 if not edge[1] else 10 + 6
        _write(figure, layout, facet.left, title_y, facet.name, look, 7.0, color="#555555")


def _bar(figure: Any, layout: FigureLayout, picture: _Picture, look: _Look) -> None:
    """The colour bar with its ends, its middle and what it measures."""
    from matplotlib import colormaps

    first = layout.facets[0]
    right = max(f.left + f.columns * f.cell for f in layout.facets) + 14
    height = min(max(first.rows * first.cell, 48), 140)
    box = _axes_at(figure, layout, right, first.top, 8, height)
    ramp = colormaps[_CMAPS[look.colors]](np.linspace(1, 0, 140))[:, None, :]
    box.imshow(ramp, extent=(0, 1, 1, 0), aspect="auto", interpolation="nearest")
    _frame(box, 1, 1)
    what = {"unit": "attention weight", "row": "weight / largest of its row", "log": "log₁₀ weight"}
    for share in (0.0, 0.5, 1.0):
        value = picture.low + share * (picture.high - picture.low)
        y = first.top + (1 - share) * height
        _write(figure, layout, right + 11, y, f"{value:.3g}", look, 7.0, va="center")
    name = what[look.scale]
    _write(
        figure, layout, right + 32, first.top, name, look, 7.0,
        va="top", ha="left", rotation=90, color="#555555",
    )
