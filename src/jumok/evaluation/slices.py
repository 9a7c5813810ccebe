"""Scores of some of the rows: the whole, those never seen, those of one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jumok.evaluation.intervals import Interval, wilson
from jumok.evaluation.statistics import MATCH, rates

__all__ = ["LengthBucket", "Slice", "slice_of"]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Scores of some of the rows; all None where there is no row."""

    count: int
    exact_match: float | None = None
    exact_match_interval: Interval | None = None
    """Wilson's, 95%."""
    cer: float | None = None
    wer: float | None = None
    bleu: float | None = None
    chrf: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: fractions, BLEU and chrF from 0 to 100, null where undefined."""
        interval = self.exact_match_interval
        return {
            "count": self.count,
            "exact_match": self.exact_match,
            "exact_match_interval": None if interval is None else list(interval),
            "cer": self.cer,
            "wer": self.wer,
            "bleu": self.bleu,
            "chrf": self.chrf,
        }


@dataclass(frozen=True, kw_only=True)
class LengthBucket:
    """Scores of the rows whose source has ``shortest`` to ``longest`` symbols, both included."""

    shortest: int
    longest: int
    scores: Slice


def slice_of(counts_NC: np.ndarray) -> Slice:
    """The scores of the rows whose counts these are."""
    count = len(counts_NC)
    if count == 0:
        return Slice(count=0)
    sums_C = counts_NC.sum(axis=0)
    values = {name: float(value) for name, value in rates(sums_C).items()}
    return Slice(count=count, exact_match_interval=wilson(int(sums_C[MATCH]), count), **values)
