"""Many sentences in batches of like length; results in the order of the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from jumok.errors import UsageError
from jumok.records import Hypothesis, Source
from jumok.search.dispatch import search
from jumok.search.engine import Engine
from jumok.search.options import SearchOptions
from jumok.search.sentences import lengths

__all__ = ["decode_in_batches", "like_length"]


def like_length(source: Source, batch_size: int) -> Iterator[tuple[np.ndarray, Source]]:
    """``(rows, sub-batch)`` of at most ``batch_size`` sentences, longest first, cut to fit.

    Longest first, so that a batch that does not fit in memory fails at once.
    """
    if batch_size < 1:
        raise UsageError(f"`batch_size` ({batch_size}) must be at least 1.")
    lengths_B = lengths(source)
    order_B = np.argsort(-lengths_B, kind="stable")
    for start in range(0, len(order_B), batch_size):
        rows_N = order_B[start : start + batch_size]
        width = max(1, int(lengths_B[rows_N].max()))
        yield rows_N, _narrow(source.select(rows_N), width)


def _narrow(source: Source, width: int) -> Source:
    return source.map(lambda leaf: leaf[:, :width])


def decode_in_batches(
    engine: Engine,
    source: Source,
    options: SearchOptions,
    *,
    batch_size: int = 64,
    prefixes: Sequence[np.ndarray] = (),
) -> list[list[Hypothesis]]:
    """``search`` over any number of sentences; sampling is keyed by their position here."""
    found: list[list[Hypothesis]] = [[] for _ in range(len(source.ids_BS))]
    for rows_N, part in like_length(source, batch_size):
        some = [prefixes[b] for b in rows_N] if prefixes else ()
        for b, hypotheses in zip(
            rows_N, search(engine, part, options, prefixes=some, numbers_B=rows_N), strict=True
        ):
            found[b] = hypotheses
    return found
