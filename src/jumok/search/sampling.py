"""Drawing outputs at random: temperature, top-k, top-p; the same draw in any batch.

The random number of a step is a hash of (seed, sentence number, draw, step), so it depends
neither on batch-mates nor on their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from jumok.records import Hypothesis, Source
from jumok.search.engine import Advance, Engine
from jumok.search.options import SearchOptions
from jumok.search.sentences import lengths
from jumok.search.walk import walk

__all__ = ["sample", "uniform"]


def sample(
    engine: Engine,
    source: Source,
    options: SearchOptions,
    prefixes: Sequence[np.ndarray] = (),
    numbers_B: np.ndarray | None = None,
) -> list[list[Hypothesis]]:
    """``options.nbest`` independent draws per sentence, in the order drawn.

    ``numbers_B`` are the sentences' numbers in the whole input, 0, 1, ... if not given.
    """
    copies = options.nbest
    size = len(source.ids_BS)
    numbers_R = np.repeat(np.arange(size) if numbers_B is None else numbers_B, copies)
    draws_R = np.tile(np.arange(copies), size)
    found = walk(
        engine,
        source,
        options,
        limits_R=np.repeat(options.limits(lengths(source)), copies),
        forced=[p for p in prefixes for _ in range(copies)],
        choose=partial(_draw, options, numbers_R, draws_R),
        top=options.top_k or engine.vocabulary_size + source.extra,
        copies=copies,
    )
    return [found[b * copies : (b + 1) * copies] for b in range(size)]


def _draw(
    options: SearchOptions,
    numbers_R: np.ndarray,
    draws_R: np.ndarray,
    result: Advance,
    step: int,
    tracks_N: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Invert the cumulative distribution of the candidates, best first."""
    top = options.top_k or result.ids_NK.shape[1]
    logprobs_NK = result.logprobs_NK[:, :top].astype(np.float64)
    best_N1 = np.where(np.isneginf(logprobs_NK[:, :1]), 0.0, logprobs_NK[:, :1])
    mass_NK = np.exp((logprobs_NK - best_N1) / options.temperature)
    reached_NK = np.cumsum(mass_NK, axis=1)
    if options.top_p < 1:
        before_NK = reached_NK - mass_NK
        mass_NK = np.where(before_NK < options.top_p * reached_NK[:, -1:], mass_NK, 0.0)
        reached_NK = np.cumsum(mass_NK, axis=1)
    point_N = uniform(options.seed, numbers_R[tracks_N], draws_R[tracks_N], step)
    column_N1 = (reached_NK <= (point_N * reached_NK[:, -1])[:, None]).sum(axis=1, keepdims=True)
    last_N1 = (mass_NK > 0).sum(axis=1, keepdims=True) - 1
    column_N1 = np.clip(np.minimum(column_N1, last_N1), 0, None)
    ids_N = np.take_along_axis(result.ids_NK, column_N1, axis=1)[:, 0]
    return ids_N, np.take_along_axis(result.logprobs_NK, column_N1, axis=1)[:, 0]


def uniform(seed: int, *keys: np.ndarray | int) -> np.ndarray:
    """Numbers in [0, 1), one per element of the broadcast keys; 53 bits of a hash of them."""
    state = np.array(seed % 2**64, dtype=np.uint64)
    for key in keys:
        state = _mix(state ^ (np.asarray(key).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)))
    numbers: np.ndarray = (_mix(state) >> np.uint64(11)) * np.float64(2.0**-53)
    return numbers


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014), after one addition of its gamma."""
    with np.errstate(over="ignore"):
        x = np.atleast_1d(x) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: np.ndarray = x ^ (x >> np.uint64(31))
        return mixed
