"""Two systems on the same rows: is the difference more than the choice of rows?

Paired bootstrap (Koehn 2004): both systems are scored on the same resampled rows, so what makes a
row hard for both cancels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jumok.errors import UsageError
from jumok.evaluation.intervals import Interval, percentile, resample
from jumok.evaluation.rows import check_references, check_rows
from jumok.evaluation.statistics import METRICS, measure, rates
from jumok.evaluation.table import align

__all__ = ["Comparison", "Delta", "compare", "compare_counts"]

LOWER_IS_BETTER = frozenset({"cer", "wer"})


@dataclass(frozen=True, kw_only=True)
class Delta:
    """One score of both systems, in its own unit (fractions; 0 to 100 for BLEU and chrF)."""

    first: float
    second: float
    interval: Interval
    """Percentile bootstrap, 95%, of ``first - second``."""
    p: float
    """Share of resamples in which the better one is not ahead, (k + 1) / (resamples + 1).

    One-sided; 1 where the two are equal on the whole."""
    better: str | None
    """"first", "second", or None where they are equal."""

    @property
    def delta(self) -> float:
        """``first - second``."""
        return self.first - self.second


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What ``compare`` found: a ``Delta`` for each score."""

    count: int
    deltas: Mapping[str, Delta]
    seed: int
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            name: {
                "first": d.first,
                "second": d.second,
                "delta": d.delta,
                "interval": list(d.interval),
                "p": d.p,
                "better": d.better,
            }
            for name, d in self.deltas.items()
        }

    def table(self, names: tuple[str, str] = ("first", "second")) -> list[str]:
        """Lines for people."""
        rows: list[tuple[str, ...]] = [("", *names, "difference", "95%", "p")]
        rows += [_row(name, delta) for name, delta in self.deltas.items()]
        note = (
            f"paired bootstrap over {self.count:,} rows, {self.resamples:,} resamples, "
            f"seed {self.seed}; p: share of resamples in which the better one is not ahead"
        )
        return [*align(rows), "", note]


def compare(
    hypotheses: Sequence[str],
    other: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    seed: int = 0,
    resamples: int = 1000,
    bleu_tokenizer: str = "13a",
) -> Comparison:
    """``hypotheses`` (first) against ``other`` (second) on the same references.

    Raises ``UsageError`` as ``score`` does, and for ``resamples`` below 1.
    """
    check_references(hypotheses, references)
    check_rows("other hypotheses", other, "references", references)
    if resamples < 1:
        raise UsageError(f"`resamples` ({resamples}) must be 1 or more: a comparison needs them.")
    first, second = (
        measure(system, references, bleu_tokenizer=bleu_tokenizer).counts_NC
        for system in (hypotheses, other)
    )
    return compare_counts(first, second, seed=seed, resamples=resamples)


def compare_counts(
    first_NC: np.ndarray, second_NC: np.ndarray, *, seed: int = 0, resamples: int = 1000
) -> Comparison:
    """As ``compare``, from the counts of each row (``statistics.measure``).

    A system that was trained several times has the sums of its runs in each row: rows are then
    drawn with all their runs, since runs on one row are not independent of one another.
    """
    columns = first_NC.shape[1]
    sums_RC = resample(np.hstack([first_NC, second_NC]), seed=seed, resamples=resamples)
    first, second = (rates(counts_NC.sum(axis=0)) for counts_NC in (first_NC, second_NC))
    firsts, seconds = rates(sums_RC[:, :columns]), rates(sums_RC[:, columns:])
    deltas = {
        name: _delta(name, first[name], second[name], firsts[name] - seconds[name])
        for name in METRICS
    }
    return Comparison(count=len(first_NC), deltas=deltas, seed=seed, resamples=resamples)


def _delta(name: str, first: np.ndarray, second: np.ndarray, deltas_R: np.ndarray) -> Delta:
    sign = -1 if name in LOWER_IS_BETTER else 1
    lead = sign * float(first - second)
    not_ahead = int((sign * np.sign(lead) * deltas_R <= 0).sum())
    return Delta(
        first=float(first),
        second=float(second),
        interval=percentile(deltas_R),
        p=(not_ahead + 1) / (len(deltas_R) + 1),
        better=None if lead == 0 else ("first" if lead > 0 else "second"),
    )


def _row(name: str, d: Delta) -> tuple[str, ...]:
    scale, unit = (1.0, "") if name in ("bleu", "chrf") else (100.0, "%")
    low, high = (scale * end for end in d.interval)
    return (
        name.replace("_", " "),
        f"{scale * d.first:.2f}{unit}",
        f"{scale * d.second:.2f}{unit}",
        f"{scale * d.delta:+.2f}",
        f"{low:+.2f} to {high:+.2f}",
        f"{d.p:.3f}",
    )
