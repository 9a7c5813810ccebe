"""Numbers of one map: the strongest source of a step, its rivals, how spread the weights are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jumok.errors import UsageError, did_you_mean
from jumok.records import BOS, SPECIALS, AttentionMap, AttentionTrace
from jumok.views.labels import labels

__all__ = ["Axes", "axes", "entropies", "find_map", "main_map", "spread", "strongest", "top"]


OF_SOURCE = ("encoder", "source_read", "source_write")
"""Kinds of maps with a row for every source symbol."""


class Axes(NamedTuple):
    """Labels of a map's rows (what attends) and columns (what is attended to)."""

    rows: list[str]
    columns: list[str]
    row_name: str
    column_name: str


def main_map(trace: AttentionTrace) -> AttentionMap | None:
    """The map drawn by default; None where the model has no attention."""
    return next((m for m in trace.maps if m.name == trace.main), None)


def find_map(trace: AttentionTrace, name: str | None) -> AttentionMap | None:
    """The map called ``name``; None as name is the main map.

    Raises:
        UsageError: no map has that name; the message lists those there are.
    """
    if name is None:
        return main_map(trace)
    names = [m.name for m in trace.maps]
    if name not in names:
        have = ", ".join(names) or "none"
        raise UsageError(
            f"there is no map {name!r}; this trace has: {have}.{did_you_mean(name, names)}"
        )
    return trace.maps[names.index(name)]


def axes(trace: AttentionTrace, shown: AttentionMap, *, ascii: bool = False) -> Axes:
    """What the rows and columns of ``shown`` stand for; memory slots are numbered from 0."""
    source, target = labels(trace.source, ascii=ascii), labels(trace.target, ascii=ascii)
    sides = {"source": source, "target": target}
    width = shown.values_TS.shape[1]
    row_name = "source" if shown.kind in OF_SOURCE else "target"
    column_name = {"cross": "source", "encoder": "source", "decoder": "target"}.get(shown.kind)
    rows, row_name = _side(sides, row_name, shown.values_TS.shape[0])
    if shown.kind == "decoder":  # what a decoder can attend to is what it has read
        read = [SPECIALS[BOS], *target]
        sides = {"target": read if width == len(read) else read[:-1]}
    columns, column_name = _side(sides, column_name, width)
    return Axes(rows, columns, row_name, column_name)


def _side(sides: dict[str, list[str]], name: str | None, size: int) -> tuple[list[str], str]:
    if name is not None and len(sides[name]) == size:
        return sides[name], name
    return [str(i) for i in range(size)], "slot"


def strongest(row_S: np.ndarray) -> int | None:
    """Column of the largest weight, the first of equals; None for a row without any weight."""
    finite = np.where(np.isfinite(row_S), row_S, -np.inf)
    if finite.size == 0 or not np.any(finite != 0) or np.all(np.isneginf(finite)):
        return None
    return int(np.argmax(finite))


def top(row_S: np.ndarray, count: int) -> list[tuple[int, float]]:
    """The ``count`` largest weights as (column, weight), largest first, ties from the left."""
    order = np.argsort(-np.nan_to_num(np.asarray(row_S, np.float64), nan=-np.inf), kind="stable")
    return [(int(s), float(row_S[s])) for s in order[:count]]


def entropies(values_TS: np.ndarray) -> np.ndarray:
    """Entropy of every row in bits, shape (T,); 0 = one source, log2(S) = all alike.

    Rows that do not sum to one (Gaussian windows, ReLU weights) are scaled to do so first; a
    row without weight has entropy 0.
    """
    values = np.clip(np.nan_to_num(np.asarray(values_TS, np.float64)), 0.0, None)
    total = values.sum(axis=1, keepdims=True)
    p = values / np.where(total > 0, total, 1.0)
    bits: np.ndarray = -(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=1)
    return bits


def spread(values_TS: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The range a scale must cover: 0..1, or wider where weights leave it."""
    values = np.asarray(values_TS, np.float64)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    return min(0.0, float(finite.min())), max(1.0, float(finite.max()))
