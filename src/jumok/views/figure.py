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
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from jumok.errors import MissingExtraError, UsageError, did_you_mean
from jumok.records import AttentionMap, AttentionTrace
from jumok.views import labels as text
from jumok.views.drawing import CMAPS, Colors, Picture, Scale, Sheet, extent
from jumok.views.fonts import MissingGlyphs, advice, choose, is_cff
from jumok.views.geometry import (
    Facet,
    FigureLayout,
    Plan,
    arrange,
    cell_size,
    label_every,
    pixels_per_point,
)
from jumok.views.measures import axes, find_map, spread

__all__ = ["FORMATS", "LOCK", "save_figure", "settings"]

FORMATS = ("png", "svg", "pdf")
_LARGEST_SIDE = 4000
_FLOOR = -4.0
LOCK = threading.Lock()  # matplotlib's settings belong to the process


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
    _check("colors", colors, CMAPS)
    _check("scale", scale, ("unit", "row", "log"))
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingExtraError("matplotlib", None, f"Drawing a .{kind} file") from error
    pictures = [_picture(trace, m, scale) for m in _chosen(trace, maps)]
    with LOCK, settings(mpl):
        figure, layout, families = _draw(trace, pictures, colors, scale)
        # PDF keeps fonts as they are (type 42), but for those with cubic outlines, which
        # matplotlib can only embed as drawings (type 3).
        mpl.rcParams["pdf.fonttype"] = 3 if any(map(is_cff, families)) else 42
        factor = pixels_per_point(layout.width, layout.height) if kind == "png" else 1
        figure.savefig(path_or_file, format=kind, dpi=72 * factor, metadata=_metadata(kind, trace))
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


def _picture(trace: AttentionTrace, shown: AttentionMap, scale: Scale) -> Picture:
    values = np.asarray(shown.values_TS, np.float64)
    low, high = spread(values)
    if scale == "row":
        largest = np.nanmax(np.where(np.isfinite(values), values, np.nan), axis=1, keepdims=True)
        values, low, high = values / np.where(largest > 0, largest, 1.0), 0.0, 1.0
    elif scale == "log":
        values = np.log10(np.clip(values, 10**_FLOOR, None))
        low, high = _FLOOR, float(np.log10(high))
    return Picture(name=shown.name, values=values, sides=axes(trace, shown), low=low, high=high)


def _metadata(kind: str, trace: AttentionTrace) -> dict[str, Any]:
    title = f"{text.sentence(trace.source_text)} → {text.sentence(trace.target_text)}"
    if kind == "png":
        return {"Software": "jumok", "Title": title.encode("latin-1", "replace").decode("latin-1")}
    if kind == "svg":
        return {"Creator": "jumok", "Date": None, "Title": title}
    return {"Creator": "jumok", "Producer": None, "CreationDate": None, "Title": title}


@contextmanager
def settings(mpl: Any) -> Iterator[None]:
    """matplotlib's own defaults, not the user's, plus what keeps the bytes stable."""
    ours = {
        "svg.hashsalt": "jumok",
        "svg.fonttype": "none",
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
    trace: AttentionTrace, pictures: list[Picture], colors: Colors, scale: Scale
) -> tuple[Any, FigureLayout, list[str]]:
    """The figure, its layout in points, and the fonts it uses."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    longest = max(max(p.values.shape) for p in pictures)
    pooled = -(-longest // _LARGEST_SIDE)
    cell = cell_size(-(-longest // pooled), len(pictures))
    size = min(max(cell * 0.62, 4.5), 10.0)
    said = _caption(trace, pictures, pooled)
    families, missing = choose([*_names(pictures), *said, "attention weight log₁₀ 0123456789."])
    figure = Figure(dpi=72)
    FigureCanvasAgg(figure)
    plan = _plan(figure, pictures, cell, pooled, len(said), families, size)
    layout = replace(arrange(plan), missing=missing)
    figure.set_size_inches(layout.width / 72, layout.height / 72)
    sheet = Sheet(
        figure=figure, layout=layout, families=families, size=size, colors=colors, scale=scale
    )
    _fill(sheet, pictures, said)
    return figure, layout, families


def _fill(sheet: Sheet, pictures: list[Picture], said: list[str]) -> None:
    layout = sheet.layout
    above = layout.facets[0].top - 16  # where a title stands that has column labels under it
    for i, (facet, picture) in enumerate(zip(layout.facets, pictures, strict=True)):
        at_left, on_top = _is_edge(layout, facet, pictures)
        sheet.map(facet, picture, i)
        if at_left:
            sheet.row_labels(facet, picture.sides.rows)
        if on_top:
            sheet.column_labels(facet, picture.sides.columns)
        if len(pictures) > 1:
            sheet.note(facet.left, facet.top - (above if on_top else 4), facet.name)
    sheet.bar(pictures[0])
    for i, line in enumerate(reversed(said)):
        sheet.note(10, layout.height - 8 - 10 * i, line)


def _names(pictures: list[Picture]) -> list[str]:
    return [name for p in pictures for name in (p.name, *p.sides.rows, *p.sides.columns)]


def _caption(trace: AttentionTrace, pictures: list[Picture], pooled: int) -> list[str]:
    names = [text.sentence(v) for v in trace.card.values()]
    drawn = pictures[0].name if len(pictures) == 1 else f"{len(pictures)} maps"
    lines = [text.cut(" · ".join([*names, drawn]), 90)]
    if not trace.finished:
        lines.append("stopped at the length limit: no end symbol")
    if pooled > 1:
        lines.append(f"each cell is the largest of {pooled} x {pooled} weights")
    return lines


def _shared(pictures: list[Picture]) -> bool:
    return all(p.sides == pictures[0].sides for p in pictures)


def _is_edge(layout: FigureLayout, facet: Facet, pictures: list[Picture]) -> tuple[bool, bool]:
    """Whether this map carries labels on its left and on its top."""
    if not _shared(pictures):
        return True, True
    first = layout.facets[0]
    return facet.left == first.left, facet.top == first.top


def _plan(
    figure: Any,
    pictures: list[Picture],
    cell: int,
    pooled: int,
    lines: int,
    families: list[str],
    size: float,
) -> Plan:
    step = label_every(cell) * pooled
    rows = {n for p in pictures for n in p.sides.rows[::step]}
    columns = {n for p in pictures for n in p.sides.columns[::step]}
    return Plan(
        shapes=tuple((p.name, *(-(-n // pooled) for n in p.values.shape)) for p in pictures),
        cell=cell,
        pooled=pooled,
        label_left=max(extent(figure, n, families, size)[0] for n in rows) + 10,
        label_top=max(extent(figure, n, families, size, turned=True)[1] for n in columns) + 8,
        shared=_shared(pictures),
        bar=64,
        caption=12 + 10 * lines,
        title=14 if len(pictures) > 1 else 0,
    )
