"""Links against gold, whoever made them; no model is needed."""

from __future__ import annotations

from pathlib import Path

from jumok.alignment import (
    AlignmentScores,
    GoldLinks,
    Links,
    read_gold,
    read_links,
    score_links,
)

__all__ = ["against_gold", "gold_of", "score_files"]


def gold_of(path: str, base: int | None = None) -> list[GoldLinks]:
    """The gold file; positions count from 0 if a 0 occurs in it, else from 1."""
    if base is not None:
        return read_gold(path, base=base)
    from_zero = read_gold(path, base=0)
    if any(0 in link for gold in from_zero for link in gold.possible):
        return from_zero
    return read_gold(path, base=1)


def against_gold(links: list[Links], gold: str, base: int | None = None) -> AlignmentScores:
    """AER, precision and recall of ``links``."""
    return score_links(links, gold_of(gold, base))


def score_files(
    links: str | Path, gold: str, *, links_base: int = 0, gold_base: int | None = None, swap: bool
) -> AlignmentScores:
    """The same for links that someone else made; ``swap``: they are written target-source."""
    return against_gold(read_links(links, base=links_base, reversed_sides=swap), gold, gold_base)
