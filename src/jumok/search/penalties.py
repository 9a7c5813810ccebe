"""Length and coverage: what a search ranks finished hypotheses by (Wu 2016, eq. 14).

rank = log p(Y|X) / lp(Y) + cp(X, Y);  lp = ((5 + |Y|) / 6) ** alpha, or |Y|, or 1;
cp = beta * sum_s log(min(sum_t a_ts, 1)), over real source positions only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jumok.errors import UsageError
from jumok.search.engine import Advance
from jumok.search.options import SearchOptions

__all__ = ["COVERAGE_FLOOR", "Ranker", "coverage_penalty", "length_penalty"]

COVERAGE_FLOOR = 1e-6
"""A source word that got nothing counts as this much: finite, and far worse than little."""


def length_penalty(lengths: np.ndarray, options: SearchOptions) -> np.ndarray:
    """lp for hypotheses of these lengths (end symbol included); never falls with length."""
    counts: np.ndarray = np.maximum(lengths, 1).astype(np.float64)
    match options.length_penalty:
        case "none":
            counts = np.ones_like(counts)
        case "gnmt":
            counts = ((5.0 + counts) / 6.0) ** options.length_alpha
        case "average":
            pass
    return counts


def coverage_penalty(coverage_NS: np.ndarray, mask_NS: np.ndarray, beta: float) -> np.ndarray:
    """cp_N <= 0 from the attention each source position has received over all steps."""
    clipped_NS = np.clip(coverage_NS.astype(np.float64), COVERAGE_FLOOR, 1.0)
    penalties_N: np.ndarray = beta * np.where(mask_NS, np.log(clipped_NS), 0.0).sum(axis=1)
    return penalties_N


@dataclass(frozen=True)
class Ranker:
    """Scores hypotheses of one batch by what its options say."""

    options: SearchOptions
    mask_BS: np.ndarray

    def rank(
        self,
        scores_N: np.ndarray,
        length: int,
        coverage_NS: np.ndarray | None,
        sentence_N: np.ndarray,
    ) -> np.ndarray:
        """``score / lp + cp`` of hypotheses that are ``length`` tokens long."""
        ranks_N = self.bound(scores_N, np.full(len(scores_N), length))
        if coverage_NS is not None:
            beta = self.options.coverage_penalty
            ranks_N += coverage_penalty(coverage_NS, self.mask_BS[sentence_N], beta)
        return ranks_N

    def bound(self, scores_N: np.ndarray, limits_N: np.ndarray) -> np.ndarray:
        """No continuation of a hypothesis with this score can rank above this.

        log p only falls, lp only grows up to the length limit, and cp is at most 0.
        """
        bounds_N: np.ndarray = scores_N / length_penalty(limits_N, self.options)
        return bounds_N

    def cover(self, coverage_NS: np.ndarray | None, advance: Advance) -> np.ndarray | None:
        """Attention received so far; None where no coverage penalty wants it."""
        if self.options.coverage_penalty == 0:
            return None
        if advance.weights_NS is None:
            raise UsageError(
                "`coverage_penalty` needs attention weights, and this model has none.",
                hint="coverage_penalty=0",
            )
        weights_NS: np.ndarray = advance.weights_NS.astype(np.float64)
        return weights_NS if coverage_NS is None else coverage_NS + weights_NS
