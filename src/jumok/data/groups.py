"""Equal texts and equal pairs found by 64-bit hashes: no second copy of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Groups", "Ids", "among", "group", "pair_ids", "text_ids"]

Ids: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


def text_ids(texts: Sequence[str]) -> Ids:
    """A number for each text, equal for equal texts (and, of 2^64 cases, for one other)."""
    return np.fromiter(map(hash, texts), np.int64, len(texts))


def pair_ids(sources: Ids, targets: Ids) -> Ids:
    """A number for each pair of numbers."""
    odd = np.uint64(0x9E3779B97F4A7C15)
    mixed = sources.view(np.uint64) * odd
    mixed ^= mixed >> np.uint64(29)
    return ((mixed + targets.view(np.uint64)) * odd).view(np.int64)


def among(wanted: Ids, known: Ids) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of ``wanted`` are in ``known``, which is sorted and not empty."""
    at = np.searchsorted(known, wanted)
    found: np.ndarray[Any, np.dtype[np.bool_]] = known[np.minimum(at, len(known) - 1)] == wanted
    return found


@dataclass(frozen=True)
class Groups:
    """Rows grouped by source and by pair."""

    rows: int
    distinct_sources: int
    distinct_pairs: int
    ambiguous: Ids
    """The first row of each ambiguous source, the most ambiguous first, then in order of rows."""
    best_rows: int
    """Rows that have their source's most frequent target."""


def group(sources: Ids, targets: Ids) -> Groups:
    """Rows with the source numbers ``sources`` and the target numbers ``targets``, grouped."""
    _, first, counts = np.unique(pair_ids(sources, targets), return_index=True, return_counts=True)
    pair_sources = sources[first]
    order = np.argsort(pair_sources, kind="stable")
    starts = np.flatnonzero(np.diff(pair_sources[order], prepend=pair_sources[order[:1]] - 1))
    best = np.maximum.reduceat(counts[order], starts) if len(starts) else counts[:0]
    variants = np.diff(starts, append=len(order))
    rows = np.minimum.reduceat(first[order], starts) if len(starts) else first
    several = np.flatnonzero(variants > 1)
    ranked = several[np.lexsort((rows[several], -variants[several]))]
    return Groups(
        rows=len(sources),
        distinct_sources=len(starts),
        distinct_pairs=len(first),
        ambiguous=rows[ranked],
        best_rows=int(best.sum()),
    )
