"""A machine on a tape as the papers draw it: what goes in and out, where it writes and reads.

Graves 2014, figures 6 and 11: time runs to the right, one panel under the other in two columns,
so that a write can be seen above the read that finds it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jumok.errors import MissingExtraError, UsageError, did_you_mean
from jumok.views.figure import FORMATS, LOCK, settings

__all__ = ["TapePanel", "draw_tapes"]

_INCH_A_STEP, _LEAST_WIDTH, _MOST_WIDTH = 0.075, 3.2, 9.0
_INCH_A_ROW = 0.05


@dataclass(frozen=True, kw_only=True)
class TapePanel:
    """One matrix over time."""

    title: str
    values_TX: np.ndarray
    diverging: bool = False
    """True for values on both sides of zero; the others lie in 0 .. 1."""


def draw_tapes(columns: Sequence[Sequence[TapePanel]], title: str, form: str = "png") -> bytes:
    """The picture as bytes; the panels of a column stand under each other and share their time.

    Raises:
        UsageError: an unknown form, or no panel.
        MissingExtraError: matplotlib is not installed.
    """
    if form not in FORMATS:
        known = ", ".join(FORMATS)
        raise UsageError(
            f"cannot draw the format {form!r}; it must be one of {known}."
            f"{did_you_mean(form, FORMATS)}"
        )
    columns = [column for column in columns if column]
    if not columns:
        raise UsageError("there is nothing to draw: no column has a panel.")
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingExtraError("matplotlib", None, f"Drawing a .{form} file") from error
    out = io.BytesIO()
    stamp = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form, {})
    with LOCK, settings(mpl):
        _figure(columns, title).savefig(out, format=form, dpi=150, metadata=stamp)
    return out.getvalue()


def _figure(columns: Sequence[Sequence[TapePanel]], title: str) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = max(len(panel.values_TX) for column in columns for panel in column)
    wide = float(np.clip(steps * _INCH_A_STEP, _LEAST_WIDTH, _MOST_WIDTH))
    heights = [[_height(panel) for panel in column] for column in columns]
    tall = max(sum(column) + 0.35 * len(column) for column in heights) + 0.5
    size = ((wide + 0.35) * len(columns), tall)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=9)
    for part, column, ratios in zip(
        figure.subfigures(1, len(columns), squeeze=False)[0], columns, heights, strict=True
    ):
        spare = tall - 0.5 - sum(ratios) - 0.35 * len(column)
        grid = part.add_gridspec(len(column) + 1, 1, height_ratios=[*ratios, max(spare, 0.01)])
        for row, panel in enumerate(column):
            _draw(part.add_subplot(grid[row, 0]), panel, last=row + 1 == len(column))
    return figure


def _draw(axes: Any, panel: TapePanel, *, last: bool) -> None:
    """Time to the right, the first row on top; the axis of time under the last panel alone."""
    axes.imshow(
        np.asarray(panel.values_TX, np.float64).T,
        aspect="auto",
        interpolation="nearest",
        cmap="RdBu_r" if panel.diverging else "Greys",
        vmin=-1.0 if panel.diverging else 0.0,
        vmax=1.0,
    )
    axes.set_title(panel.title, fontsize=8, loc="left", pad=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=6, length=2, labelbottom=last)
    if last:
        axes.set_xlabel("step", fontsize=7)


def _height(panel: TapePanel) -> float:
    return float(np.clip(panel.values_TX.shape[1] * _INCH_A_ROW, 0.35, 2.2))
