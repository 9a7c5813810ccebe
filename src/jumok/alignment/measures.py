"""The shape of a map: how sharp, how complete, how monotonic, how near the diagonal.

All leave special tokens (the end row and column) out: what is left of a row is scaled to sum to 1,
and a row of which nothing is left counts nowhere. With w the scaled weights (T x S)::

    entropy          mean over t of -sum_s w_ts ln w_ts            0 (one place) .. ln S, in nats
    sharpness        mean over t of max_s w_ts                     1/S .. 1
    coverage         sum_s min(1, sum_t w_ts) / min(T, S)          1: no source symbol left out
                                                                   that could have been reached
    monotonicity     share of neighbouring rows whose strongest source does not step back
    order            Kendall's tau-a of t and the strongest source: pairs in order minus pairs out
                     of order, over all pairs (equal ones count as neither); 1 .. -1
    diagonality      1 - mean over t of sum_s w_ts |(s + 1/2)/S - (t + 1/2)/T|
                                                                   1: a square map's diagonal

Where a measure is undefined (a single row has no neighbour, an empty map) it is NaN. None says
that an alignment is right; for that there is ``gold``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from jumok.alignment.traces import map_of
from jumok.records import AttentionTrace

__all__ = ["Shape", "mean_shape", "shape_of", "shape_of_weights"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The measures of one map, or means over many; formulas in the module's text."""

    entropy: float
    sharpness: float
    coverage: float
    monotonicity: float
    order: float
    diagonality: float


def shape_of(trace: AttentionTrace, name: str | None = None) -> Shape:
    """The measures of a trace's map called ``name``, by default the main one."""
    real_T = [i for i, token in enumerate(trace.target) if not token.special]
    real_S = [i for i, token in enumerate(trace.source) if not token.special]
    return shape_of_weights(map_of(trace, name)[np.ix_(real_T, real_S)])


def shape_of_weights(weights_TS: np.ndarray) -> Shape:
    """The measures of a bare map without special rows or columns."""
    T, S = weights_TS.shape
    totals_T = weights_TS.sum(axis=1)
    kept = np.flatnonzero(totals_T > 0)
    if kept.size == 0:
        return Shape(**{f.name: math.nan for f in fields(Shape)})
    w = weights_TS[kept].astype(np.float64) / totals_T[kept, None]
    logs = np.log(w, out=np.zeros_like(w), where=w > 0)
    apart = np.abs((np.arange(S) + 0.5) / S - (kept[:, None] + 0.5) / T)
    strongest = w.argmax(axis=1)
    return Shape(
        entropy=float(-(w * logs).sum(axis=1).mean()) + 0.0,  # no -0.0
        sharpness=float(w.max(axis=1).mean()),
        coverage=float(np.minimum(w.sum(axis=0), 1).sum() / min(len(kept), S)),
        monotonicity=_mean(np.diff(strongest) >= 0),
        order=_tau(strongest),
        diagonality=float(1 - (w * apart).sum(axis=1).mean()),
    )


def mean_shape(shapes: list[Shape]) -> Shape:
    """Each measure averaged over the maps for which it is defined."""
    values = {f.name: np.array([getattr(s, f.name) for s in shapes]) for f in fields(Shape)}
    return Shape(**{name: _mean(v[~np.isnan(v)]) for name, v in values.items()})


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _tau(positions_T: np.ndarray) -> float:
    before, after = np.triu_indices(len(positions_T), k=1)
    return _mean(np.sign(positions_T[after] - positions_T[before]))
