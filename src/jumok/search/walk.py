"""Decoding in which rows never compete: greedy, sampling and forced scoring share it.

A *track* is one output being written; it leaves the batch when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jumok.records import BOS, EOS, Hypothesis, Source
from jumok.search.engine import Advance, Engine
from jumok.search.history import Ending, endings
from jumok.search.options import SearchOptions
from jumok.search.penalties import Ranker
from jumok.search.sentences import advance, begin, given_ids, refuse_impossible, step_ask

__all__ = ["Choose", "take_best", "walk"]

Choose = Callable[[Advance, int, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""``(advance, step, tracks_N) -> (ids_N, logprobs_N)``: the next token of every row."""


def take_best(result: Advance, step: int, tracks_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best candidate of every row."""
    return result.ids_NK[:, 0], result.logprobs_NK[:, 0]


@dataclass
class _Live:
    """The rows still being written; every array has one entry per row."""

    tracks_N: np.ndarray
    sentence_N: np.ndarray
    tokens_N: np.ndarray
    scores_N: np.ndarray
    coverage_NS: np.ndarray | None = None

    def keep(self, rows_M: np.ndarray) -> None:
        self.tracks_N, self.sentence_N = self.tracks_N[rows_M], self.sentence_N[rows_M]
        self.tokens_N, self.scores_N = self.tokens_N[rows_M], self.scores_N[rows_M]
        if self.coverage_NS is not None:
            self.coverage_NS = self.coverage_NS[rows_M]


def walk(
    engine: Engine,
    source: Source,
    options: SearchOptions,
    *,
    limits_R: np.ndarray,
    forced: Sequence[np.ndarray] = (),
    choose: Choose = take_best,
    top: int = 1,
    copies: int = 1,
) -> list[Hypothesis]:
    """Write ``copies`` tracks per sentence, item-major; one hypothesis per track.

    ``forced`` gives each track's first tokens; ``limits_R`` its greatest length (at least 1).
    """
    started, history = begin(engine, source, options)
    sentence_R = np.repeat(np.arange(len(source.ids_BS)), copies)
    cursor = started.cursor if copies == 1 else engine.select(started.cursor, sentence_R)
    tracks_R = np.arange(len(sentence_R))
    live = _Live(tracks_R, sentence_R, np.full_like(tracks_R, BOS), np.zeros(len(tracks_R)))
    ranker = Ranker(options, np.asarray(source.mask_BS))
    found: dict[int, Ending] = {}
    step = 0
    while len(live.tracks_N):
        ask = step_ask(options, step, top)
        given_N = given_ids(forced, live.tracks_N, step)
        result = advance(engine, cursor, live.tokens_N, ask, given_N, step)
        live.tokens_N, logprobs_N = _next(result, step, live.tracks_N, choose, given_N)
        live.scores_N = live.scores_N + logprobs_N
        live.coverage_NS = ranker.cover(live.coverage_NS, result)
        ended_N = (live.tokens_N == EOS) | (step + 1 >= limits_R[live.tracks_N])
        found |= _ended(live, np.flatnonzero(ended_N), logprobs_N, ranker, step)
        keep_M = np.flatnonzero(~ended_N)
        history.add(result, keep_M, live.tokens_N[keep_M], logprobs_N[keep_M])
        cursor = result.cursor
        if len(keep_M) < len(ended_N):
            live.keep(keep_M)
            cursor = engine.select(cursor, keep_M) if len(keep_M) else cursor
        step += 1
    return history.hypotheses([found[r] for r in range(len(sentence_R))])


def _next(
    result: Advance, step: int, tracks_N: np.ndarray, choose: Choose, given_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The chosen token of every row, or the given one where there is one."""
    free_N = given_N < 0
    ids_N, logprobs_N = choose(result, step, tracks_N)
    if (np.isneginf(logprobs_N) & free_N).any():
        refuse_impossible(step)
    logprobs_N = logprobs_N.astype(np.float64)
    if result.given_N is None:
        return ids_N, logprobs_N
    return np.where(free_N, ids_N, given_N), np.where(free_N, logprobs_N, result.given_N)


def _ended(
    live: _Live, rows_M: np.ndarray, logprobs_N: np.ndarray, ranker: Ranker, step: int
) -> dict[int, Ending]:
    """Track -> ending, for the rows whose last token was just written."""
    coverage_MS = None if live.coverage_NS is None else live.coverage_NS[rows_M]
    sentence_M = live.sentence_N[rows_M]
    ranks_M = ranker.rank(live.scores_N[rows_M], step + 1, coverage_MS, sentence_M)
    made = endings(sentence_M, rows_M, live.tokens_N[rows_M], logprobs_N[rows_M], ranks_M, step)
    return dict(zip(live.tracks_N[rows_M].tolist(), made, strict=True))
