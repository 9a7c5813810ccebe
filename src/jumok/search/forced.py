"""Scoring of given outputs: their log-probability, token by token, and their attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jumok.records import Hypothesis, Source
from jumok.search.engine import Engine
from jumok.search.options import SearchOptions
from jumok.search.sentences import check_ids
from jumok.search.walk import walk

__all__ = ["score"]


def score(
    engine: Engine,
    source: Source,
    targets: Sequence[np.ndarray],
    options: SearchOptions | None = None,
) -> list[Hypothesis]:
    """Each target as the hypothesis it would be; of ``options`` only penalties and wants count.

    A target is written as in ``Hypothesis.ids_T``: its end symbol last, or without one for an
    unfinished output. Raises ``UsageError`` for ids that no output can hold.
    """
    options = options or SearchOptions()
    targets = [np.asarray(ids_T, dtype=np.int64) for ids_T in targets]
    check_ids(targets, engine, source, "target", end=True)
    real = np.array([b for b, ids_T in enumerate(targets) if len(ids_T)], dtype=np.int64)
    kept = [targets[b] for b in real]
    found: dict[int, Hypothesis] = {}
    if len(real):
        limits_R = np.array([len(ids_T) for ids_T in kept])
        walked = walk(engine, source.select(real), options, limits_R=limits_R, forced=kept)
        found = dict(zip(real.tolist(), walked, strict=True))
    return [found.get(b) or _nothing() for b in range(len(targets))]


def _nothing() -> Hypothesis:
    """The hypothesis that says nothing, not even its end: certain, and empty."""
    return Hypothesis(
        ids_T=np.zeros(0, np.int64),
        logprobs_T=np.zeros(0),
        score=0.0,
        rank_score=0.0,
        finished=False,
    )
