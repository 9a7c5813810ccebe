"""Alignment error rate against sure and possible gold links (Och and Ney 2000)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jumok.alignment.links import GoldLinks, Links
from jumok.errors import UsageError

__all__ = ["AlignmentScores", "score_links"]


@dataclass(frozen=True, kw_only=True)
class AlignmentScores:
    """Figures of a corpus as fractions, with the counts A, S, P they come from.

    With A the links found, S the sure and P the possible ones (S in P), counted over the corpus::

        precision = |A & P| / |A|
        recall    = |A & S| / |S|
        AER       = 1 - (|A & S| + |A & P|) / (|A| + |S|)

    A figure whose bottom is 0 is perfect (AER 0, precision or recall 1): nothing was claimed, or
    nothing was asked for, wrongly.
    """

    sentences: int
    links: int
    """|A|"""
    sure: int
    """|S|"""
    possible: int
    """|P|"""
    found_sure: int
    """|A & S|"""
    found_possible: int
    """|A & P|"""

    @property
    def precision(self) -> float:
        """Share of the links that are possible."""
        return self.found_possible / self.links if self.links else 1.0

    @property
    def recall(self) -> float:
        """Share of the sure links that were found."""
        return self.found_sure / self.sure if self.sure else 1.0

    @property
    def aer(self) -> float:
        """Alignment error rate; lower is better."""
        bottom = self.links + self.sure
        return 1.0 - (self.found_sure + self.found_possible) / bottom if bottom else 0.0

    def to_dict(self) -> dict[str, Any]:
        """What ``jumok align --gold`` ends with."""
        return {"aer": self.aer, "precision": self.precision, "recall": self.recall}

    def table(self) -> list[str]:
        """One line for people."""
        return [
            f"AER {100 * self.aer:.1f}%  precision {100 * self.precision:.1f}%  recall "
            f"{100 * self.recall:.1f}%  ({self.links:,} links, {self.sure:,} sure and "
            f"{self.possible:,} possible in gold, {self.sentences:,} sentences)"
        ]


def score_links(links: Sequence[Links], gold: Sequence[GoldLinks]) -> AlignmentScores:
    """Links of each sentence against its gold, summed over the corpus."""
    if len(links) != len(gold):
        raise UsageError(
            f"There are {len(links):,} sentences with links but {len(gold):,} with gold: "
            "each needs both.",
            hint="a sentence without links is an empty line, not a missing one.",
        )
    pairs = list(zip(links, gold, strict=True))
    return AlignmentScores(
        sentences=len(pairs),
        links=sum(len(a) for a, _ in pairs),
        sure=sum(len(g.sure) for _, g in pairs),
        possible=sum(len(g.possible) for _, g in pairs),
        found_sure=sum(len(a & g.sure) for a, g in pairs),
        found_possible=sum(len(a & g.possible) for a, g in pairs),
    )
