"""Intervals at 95%: Wilson's for a share of rows, the percentile bootstrap for the rest.

A bootstrap of rows cannot see beyond the rows it has: at 0 errors (or at all errors) every resample
is the same and its interval has width 0. Wilson's score interval (Wilson 1927) keeps its width
there, 1000 of 1000 right gives [99.6%, 100%], so it is the one reported for exact match.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

__all__ = ["LEVEL", "Interval", "percentile", "resample", "wilson"]

LEVEL = 0.95
Z = 1.959963984540054  # the normal quantile at (1 + LEVEL) / 2
DRAWS_AT_ONCE = 4_000_000  # 32 MB of row numbers


class Interval(NamedTuple):
    """Both ends belong to it."""

    low: float
    high: float


def wilson(successes: int, count: int) -> Interval:
    """95% score interval of a share of ``count`` independent rows (Wilson 1927)."""
    if count == 0:
        return Interval(0.0, 1.0)
    share, correction = successes / count, Z * Z / count
    centre = (share + correction / 2) / (1 + correction)
    half = Z * math.sqrt(share * (1 - share) / count + correction / (4 * count)) / (1 + correction)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == count else centre + half
    return Interval(low, high)


def resample(counts_NC: np.ndarray, *, seed: int, resamples: int) -> np.ndarray:
    """Sums of N rows drawn with replacement, ``resamples`` times: (resamples, C).

    Follows from the seed and the *set* of rows: their order changes nothing, so rows are put in
    one order first. The sums are exact for integer counts.
    """
    ordered_NC = counts_NC[np.lexsort(counts_NC.T[::-1])]
    rng = np.random.Generator(np.random.PCG64(seed))
    return np.concatenate(list(_chunks(ordered_NC, rng, resamples)))


def _chunks(rows_NC: np.ndarray, rng: np.random.Generator, resamples: int) -> Iterator[np.ndarray]:
    count = len(rows_NC)
    at_once = max(1, min(resamples, DRAWS_AT_ONCE // count))
    for start in range(0, resamples, at_once):
        here = min(at_once, resamples - start)
        drawn = rng.integers(count, size=(here, count))
        drawn += count * np.arange(here)[:, None]
        times = np.bincount(drawn.ravel(), minlength=here * count).reshape(here, count)
        yield times.astype(np.float64) @ rows_NC


def percentile(values_R: np.ndarray) -> Interval:
    """The central 95% of the resampled values (linear between order statistics)."""
    low, high = np.quantile(values_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
