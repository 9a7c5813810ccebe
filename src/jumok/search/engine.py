"""What a search sees of a model: start, step, select; the numbers, never the network.

An engine wraps whatever computes (a torch model, an exported graph, an ensemble, a script in
a test). All arrays that cross this line are NumPy; a *cursor*, where every row stands, is
opaque to the search.
Letters: B sentences, N rows (live hypotheses of all sentences), S source positions,
K candidates, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from jumok.records import NO_MAPS, MapSpec, Source

__all__ = ["Advance", "Ask", "Engine", "Started", "best_candidates"]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a search wants back from every step; nothing else is computed or copied."""

    top: int = 1
    """How many candidates per row, best first; fewer come back where V is smaller."""
    banned: tuple[int, ...] = ()
    """Ids that are never candidates. Probabilities are *not* renormalised for it."""
    weights: bool = True
    maps: bool = False


class Started(NamedTuple):
    """One row per sentence, before the first symbol."""

    cursor: Any
    maps: Mapping[str, np.ndarray] = NO_MAPS
    """Encoder-side maps, B first; empty unless asked for."""


class Advance(NamedTuple):
    """One symbol further, for every row."""

    cursor: Any
    ids_NK: np.ndarray
    """Candidates, best first; equal log-probabilities in the order of their ids."""
    logprobs_NK: np.ndarray
    """The model's own log-softmax at those ids; -inf = no such candidate."""
    given_N: np.ndarray | None = None
    """Log-probability of the ids passed as ``given_N``."""
    weights_NS: np.ndarray | None = None
    """Attention, reader's order; None = this model has none, or none was asked for."""
    maps: Mapping[str, np.ndarray] = NO_MAPS


class Engine(Protocol):
    """Everything a search may ask of a model."""

    @property
    def vocabulary_size(self) -> int:
        """V; a model that copies may return ids up to V + ``source.extra``."""
        ...

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The maps that ``Ask(maps=True)`` brings."""
        ...

    def start(self, source: Source, ask: Ask) -> Started:
        """Read the sentences; the cursor has one row for each, in their order."""
        ...

    def step(
        self, cursor: Any, tokens_N: np.ndarray, ask: Ask, given_N: np.ndarray | None = None
    ) -> Advance:
        """Feed one token to every row (BOS first)."""
        ...

    def select(self, cursor: Any, rows_N: np.ndarray) -> Any:
        """The cursor of ``rows_N``: tiled, re-ordered, dropped, every buffer alike."""
        ...


def best_candidates(logprobs_NV: np.ndarray, ask: Ask) -> tuple[np.ndarray, np.ndarray]:
    """``(ids_NK, logprobs_NK)`` of the best ``ask.top``; ties in the order of ids.

    For engines whose log-probabilities are NumPy arrays.
    """
    width = logprobs_NV.shape[1]
    lost_N = np.isnan(logprobs_NV[:, 0])  # one NaN makes a whole log-softmax NaN
    if banned := [i for i in ask.banned if i < width]:
        logprobs_NV = logprobs_NV.copy()
        logprobs_NV[:, banned] = -np.inf
    if ask.top == 1:
        ids_NK = logprobs_NV.argmax(axis=1, keepdims=True)
    elif ask.top < width // 4:
        ids_NK = _partial(logprobs_NV, ask.top)
    else:
        ids_NK = np.argsort(-logprobs_NV, axis=1, kind="stable")[:, : ask.top]
    values_NK = np.take_along_axis(logprobs_NV, ids_NK, axis=1)
    values_NK[lost_N] = np.nan
    return ids_NK, values_NK


def _partial(logprobs_NV: np.ndarray, top: int) -> np.ndarray:
    """Stable top-k without sorting all of V, except in rows whose k-th value is tied."""
    ids_NK = np.argpartition(-logprobs_NV, top - 1, axis=1)[:, :top]
    ids_NK.sort(axis=1)
    values_NK = np.take_along_axis(logprobs_NV, ids_NK, axis=1)
    order_NK = np.argsort(-values_NK, axis=1, kind="stable")
    last_N = values_NK.min(axis=1, keepdims=True)
    tied_N = (logprobs_NV >= last_N).sum(axis=1) > top
    ids_NK = np.take_along_axis(ids_NK, order_NK, axis=1)
    if tied_N.any():
        ids_NK[tied_N] = np.argsort(-logprobs_NV[tied_N], axis=1, kind="stable")[:, :top]
    return ids_NK
