"""What every step returned, kept as it came; a hypothesis is a path of back-pointers.

Nothing per-step is copied when a beam re-orders: attention, maps and alternatives stay with
the step that made them and are gathered once, for the hypotheses that are returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from jumok.records import EOS, Hypothesis, MapSpec
from jumok.search.engine import Advance
from jumok.search.options import SearchOptions

__all__ = ["Ending", "History", "endings"]


@dataclass(frozen=True)
class Ending:
    """The last token of a hypothesis and the row it was chosen in."""

    sentence: int
    step: int
    row: int
    token: int
    logprob: float
    rank_score: float
    finished: bool

    @property
    def order(self) -> tuple[bool, float]:
        """Sort key: finished ones first, then the better rank; equals stay as they came."""
        return (not self.finished, -self.rank_score)


def endings(
    sentence_N: np.ndarray,
    rows_N: np.ndarray,
    tokens_N: np.ndarray,
    logprobs_N: np.ndarray,
    ranks_N: np.ndarray,
    step: int,
) -> list[Ending]:
    """An ``Ending`` for every entry of these arrays."""
    columns = (sentence_N, rows_N, tokens_N, logprobs_N, ranks_N)
    return [
        Ending(sentence, step, row, token, logprob, rank, token == EOS)
        for sentence, row, token, logprob, rank in zip(*(c.tolist() for c in columns), strict=True)
    ]


@dataclass(frozen=True)
class _Step:
    """N rows went in, M live on: ``parents_M`` says from which row."""

    parents_M: np.ndarray
    tokens_M: np.ndarray
    logprobs_M: np.ndarray
    weights_NS: np.ndarray | None
    maps: Mapping[str, np.ndarray]
    ids_NK: np.ndarray
    logprobs_NK: np.ndarray


@dataclass
class History:
    """The steps of one batch, and the sentences they belong to."""

    options: SearchOptions
    lengths_B: np.ndarray
    """Real source lengths."""
    specs: Mapping[str, MapSpec]
    source_maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    steps: list[_Step] = field(default_factory=list)

    def add(
        self,
        advance: Advance,
        parents_M: np.ndarray,
        tokens_M: np.ndarray,
        logprobs_M: np.ndarray,
    ) -> None:
        """Note a step; row m of the next one continues row ``parents_M[m]`` of this one."""
        k = self.options.alternatives
        self.steps.append(
            _Step(
                parents_M,
                tokens_M,
                logprobs_M,
                advance.weights_NS if self.options.weights else None,
                advance.maps,
                advance.ids_NK[:, :k],
                advance.logprobs_NK[:, :k],
            )
        )

    def hypotheses(self, endings: Sequence[Ending]) -> list[Hypothesis]:
        """One hypothesis for each ending, in that order."""
        if not endings:
            return []
        paths = _trace(self.steps, endings)
        return [self._hypothesis(e, paths, h) for h, e in enumerate(endings)]

    def _hypothesis(self, ending: Ending, paths: _Paths, h: int) -> Hypothesis:
        rows_T = paths.rows_HT[h, : ending.step + 1]
        steps = self.steps[: ending.step + 1]
        logprobs_T = paths.logprobs_HT[h, : ending.step + 1].copy()
        k = self.options.alternatives
        return Hypothesis(
            ids_T=paths.tokens_HT[h, : ending.step + 1].copy(),
            logprobs_T=logprobs_T,
            score=float(np.cumsum(logprobs_T)[-1]),
            rank_score=ending.rank_score,
            finished=ending.finished,
            weights_TS=self._weights(steps, rows_T, self.lengths_B[ending.sentence]),
            maps=self._maps(steps, rows_T, ending.sentence),
            alternatives_TK=_rows([s.ids_NK for s in steps], rows_T) if k else None,
            alternative_logprobs_TK=_rows([s.logprobs_NK for s in steps], rows_T) if k else None,
        )

    def _weights(
        self, steps: Sequence[_Step], rows_T: np.ndarray, length: int
    ) -> np.ndarray | None:
        weights = [s.weights_NS for s in steps if s.weights_NS is not None]
        return _rows(weights, rows_T)[:, :length] if len(weights) == len(steps) else None

    def _maps(
        self, steps: Sequence[_Step], rows_T: np.ndarray, sentence: int
    ) -> dict[str, np.ndarray]:
        length = int(self.lengths_B[sentence])
        found = {
            name: _trim(values_B[sentence], self._axes(name), length)
            for name, values_B in self.source_maps.items()
        }
        for name in steps[0].maps:
            rows = [s.maps[name][r] for s, r in zip(steps, rows_T, strict=True)]
            found[name] = _trim(_stack(rows, self._axes(name)), self._axes(name), length)
        return found

    def _axes(self, name: str) -> str:
        return self.specs[name].axes if name in self.specs else ""


@dataclass(frozen=True)
class _Paths:
    rows_HT: np.ndarray
    tokens_HT: np.ndarray
    logprobs_HT: np.ndarray


def _trace(steps: Sequence[_Step], endings: Sequence[Ending]) -> _Paths:
    """Follow the back-pointers of all endings together, last step first."""
    last_H = np.array([e.step for e in endings])
    shape = (len(endings), int(last_H.max()) + 1)
    paths = _Paths(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape))
    for h, e in enumerate(endings):
        paths.rows_HT[h, e.step] = e.row
        paths.tokens_HT[h, e.step] = e.token
        paths.logprobs_HT[h, e.step] = e.logprob
    for t in range(shape[1] - 2, -1, -1):
        longer_H = last_H > t
        entry_H = paths.rows_HT[longer_H, t + 1]
        paths.rows_HT[longer_H, t] = steps[t].parents_M[entry_H]
        paths.tokens_HT[longer_H, t] = steps[t].tokens_M[entry_H]
        paths.logprobs_HT[longer_H, t] = steps[t].logprobs_M[entry_H]
    return paths


def _rows(arrays_NX: Sequence[np.ndarray], rows_T: np.ndarray) -> np.ndarray:
    """Row ``rows_T[t]`` of array t, stacked."""
    return np.stack([a[r] for a, r in zip(arrays_NX, rows_T, strict=True)])


def _stack(rows: Sequence[np.ndarray], axes: str) -> np.ndarray:
    """Stack one row per step; a second T axis (self-attention) grows, so pad it with zeros."""
    if axes != "TT":
        return np.stack(rows)
    square_TT = np.zeros((len(rows), len(rows)), rows[0].dtype)
    for t, row in enumerate(rows):
        width = min(len(row), len(rows))
        square_TT[t, :width] = row[:width]
    return square_TT


def _trim(values: np.ndarray, axes: str, length: int) -> np.ndarray:
    """Cut every axis called S to the sentence's real length."""
    return values[tuple(slice(length if letter == "S" else None) for letter in axes)].copy()
