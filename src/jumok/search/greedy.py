"""The best symbol at every step: the fast path, and bit for bit a beam of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jumok.records import Hypothesis, Source
from jumok.search.engine import Engine
from jumok.search.options import SearchOptions
from jumok.search.sentences import lengths
from jumok.search.walk import walk

__all__ = ["greedy"]


def greedy(
    engine: Engine,
    source: Source,
    options: SearchOptions,
    prefixes: Sequence[np.ndarray] = (),
) -> list[list[Hypothesis]]:
    """One hypothesis per sentence; ``prefixes`` (if any) one per sentence."""
    limits_B = options.limits(lengths(source))
    found = walk(engine, source, options, limits_R=limits_B, forced=prefixes)
    return [[hypothesis] for hypothesis in found]
