"""Beam search: the W best hypotheses of every sentence side by side, in one batch.

Definition. At each step the candidates of a sentence are all one-symbol continuations of its
live hypotheses, and the best W of them by log-probability are kept (ties: the better parent
first, then the lower id). Those that end are finished and leave the beam; the others live on.
A live hypothesis goes on only while it can still beat the n-th finished one, so the search
stops when none can, and never before. Length and coverage penalties rank finished hypotheses;
they do not steer the beam. Hypotheses cut at the length limit come after finished ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jumok.records import BOS, EOS, Hypothesis, Source
from jumok.search.engine import Advance, Engine
from jumok.search.history import Ending, endings
from jumok.search.options import SearchOptions
from jumok.search.penalties import Ranker
from jumok.search.sentences import (
    advance,
    begin,
    given_ids,
    lengths,
    refuse_impossible,
    step_ask,
)

__all__ = ["beam_search"]


class _Picked(NamedTuple):
    """The candidates that survive a step, item-major, best first within a sentence."""

    rows_M: np.ndarray
    tokens_M: np.ndarray
    logprobs_M: np.ndarray
    scores_M: np.ndarray
    sentence_M: np.ndarray

    def at(self, which: np.ndarray) -> _Picked:
        return _Picked(*(array[which] for array in self))


@dataclass
class _Finished:
    """What has ended so far, per sentence, and the rank that is still to beat."""

    options: SearchOptions
    size: int
    lists: list[list[Ending]] = field(init=False)
    to_beat_B: np.ndarray = field(init=False)
    """Rank of the n-th finished hypothesis; NaN, which nothing is below, while there are fewer."""

    def __post_init__(self) -> None:
        self.lists = [[] for _ in range(self.size)]
        self.to_beat_B = np.full(self.size, np.nan)

    def add(self, made: Sequence[Ending]) -> None:
        for ending in made:
            self.lists[ending.sentence].append(ending)
        for b in {ending.sentence for ending in made}:
            ranks = sorted((e.rank_score for e in self.lists[b]), reverse=True)
            if len(ranks) >= self.options.nbest:
                self.to_beat_B[b] = ranks[self.options.nbest - 1]
            if self.options.stop == "filled" and len(ranks) >= self.options.beam:
                self.to_beat_B[b] = np.inf

    def best(self, sentence: int) -> list[Ending]:
        return sorted(self.lists[sentence], key=lambda e: e.order)[: self.options.nbest]


def beam_search(
    engine: Engine,
    source: Source,
    options: SearchOptions,
    prefixes: Sequence[np.ndarray] = (),
) -> list[list[Hypothesis]]:
    """Up to ``options.nbest`` distinct hypotheses per sentence, best first."""
    started, history = begin(engine, source, options)
    size = len(source.ids_BS)
    limits_B = options.limits(lengths(source))
    ranker = Ranker(options, np.asarray(source.mask_BS))
    finished = _Finished(options, size)
    cursor, coverage_NS = started.cursor, None
    tokens_N, scores_N = np.full(size, BOS), np.zeros(size)
    sentence_N = np.arange(size)
    step = 0
    while len(sentence_N):
        given_N = given_ids(prefixes, sentence_N, step)
        ask = step_ask(options, step, options.beam)
        result = advance(engine, cursor, tokens_N, ask, given_N, step)
        coverage_NS = ranker.cover(coverage_NS, result)
        picked = _pick(result, scores_N, sentence_N, given_N, options.beam, step)
        over_M = (picked.tokens_M == EOS) | (step + 1 >= limits_B[picked.sentence_M])
        finished.add(_endings(picked.at(over_M), coverage_NS, ranker, step))
        bound_M = ranker.bound(picked.scores_M, limits_B[picked.sentence_M])
        live = picked.at(~over_M & ~(bound_M <= finished.to_beat_B[picked.sentence_M]))
        history.add(result, live.rows_M, live.tokens_M, live.logprobs_M)
        cursor = _select(engine, result.cursor, live.rows_M, len(sentence_N))
        coverage_NS = None if coverage_NS is None else coverage_NS[live.rows_M]
        tokens_N, scores_N, sentence_N = live.tokens_M, live.scores_M, live.sentence_M
        step += 1
    best = [finished.best(b) for b in range(size)]
    flat = iter(history.hypotheses([ending for found in best for ending in found]))
    return [[next(flat) for _ in found] for found in best]


def _pick(
    result: Advance,
    scores_N: np.ndarray,
    sentence_N: np.ndarray,
    given_N: np.ndarray,
    width: int,
    step: int,
) -> _Picked:
    """The best ``width`` continuations of every sentence."""
    ids_NK, logprobs_NK, real_NK = _candidates(result, given_N)
    totals_NK = scores_N[:, None] + logprobs_NK
    keys_NK = np.where(real_NK, -totals_NK, np.nan)
    first_A, index_N = np.unique(sentence_N, return_index=True, return_inverse=True)[1:]
    slot_N = np.arange(len(sentence_N)) - first_A[index_N]
    grid_AWK = np.full((len(first_A), int(slot_N.max()) + 1, ids_NK.shape[1]), np.nan)
    grid_AWK[index_N, slot_N] = keys_NK
    grid_AX = grid_AWK.reshape(len(first_A), -1)
    order_AW = np.argsort(grid_AX, axis=1, kind="stable")[:, :width]
    real_AW = ~np.isnan(np.take_along_axis(grid_AX, order_AW, axis=1))
    if not real_AW[:, 0].all():
        refuse_impossible(step)
    slot_AW, column_AW = np.divmod(order_AW, ids_NK.shape[1])
    rows_M = (first_A[:, None] + slot_AW)[real_AW]
    columns_M = column_AW[real_AW]
    return _Picked(
        rows_M,
        ids_NK[rows_M, columns_M],
        logprobs_NK[rows_M, columns_M],
        totals_NK[rows_M, columns_M],
        sentence_N[rows_M],
    )


def _candidates(result: Advance, given_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(ids_NK, logprobs_NK, real_NK)``; a row with a given token has that one alone."""
    logprobs_NK = result.logprobs_NK.astype(np.float64)
    real_NK = ~np.isneginf(logprobs_NK)
    if result.given_N is None:
        return result.ids_NK, logprobs_NK, real_NK
    ids_NK = result.ids_NK.copy()
    forced_N = given_N >= 0
    ids_NK[forced_N, 0] = given_N[forced_N]
    logprobs_NK[forced_N, 0] = result.given_N[forced_N]
    real_NK[forced_N] = np.arange(ids_NK.shape[1]) == 0
    return ids_NK, logprobs_NK, real_NK


def _endings(
    picked: _Picked, coverage_NS: np.ndarray | None, ranker: Ranker, step: int
) -> list[Ending]:
    coverage_MS = None if coverage_NS is None else coverage_NS[picked.rows_M]
    ranks_M = ranker.rank(picked.scores_M, step + 1, coverage_MS, picked.sentence_M)
    return endings(
        picked.sentence_M, picked.rows_M, picked.tokens_M, picked.logprobs_M, ranks_M, step
    )


def _select(engine: Engine, cursor: Any, rows_M: np.ndarray, size: int) -> Any:
    """Re-order the engine's rows, unless they stay as they are."""
    unchanged = len(rows_M) == size and bool((rows_M == np.arange(size)).all())
    return cursor if unchanged or not len(rows_M) else engine.select(cursor, rows_M)
