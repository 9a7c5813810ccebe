"""A Pharaoh column as the array that guides attention in training.

Each row of ``links_BTS`` is a distribution over source positions: k links give 1/k each. A target
position without a link has a row of zeros, which a guiding loss leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jumok.alignment.links import Links
from jumok.errors import DataError, UsageError

__all__ = ["links_array", "spread"]


def links_array(
    links: Sequence[Links],
    source_lengths: Sequence[int],
    target_lengths: Sequence[int],
    *,
    shape: tuple[int, int] | None = None,
    link_ends: bool = False,
    where: Sequence[str] | None = None,
) -> np.ndarray:
    """``links_BTS`` float32 for ``Batch``, rows normalised, zeros on padding.

    Lengths count the symbols of each sentence without its end symbol, which takes the next row and
    column. ``shape`` is the batch's (T, S), by default just large enough. ``link_ends`` links the
    two end symbols. ``where`` gives each sentence's ``file:line`` for errors. Raises ``DataError``
    for a link beyond its sentence.
    """
    if not len(links) == len(source_lengths) == len(target_lengths):
        raise UsageError(
            f"There are links for {len(links)} sentences, {len(source_lengths)} source lengths and "
            f"{len(target_lengths)} target lengths; each sentence needs all three."
        )
    T, S = shape or (max(target_lengths, default=0) + 1, max(source_lengths, default=0) + 1)
    needed = (max(target_lengths, default=-1) + 1, max(source_lengths, default=-1) + 1)
    if needed[0] > T or needed[1] > S:
        raise UsageError(f"`shape` ({T}, {S}) is too small: the batch needs {needed}.")
    array_BTS = np.zeros((len(links), T, S), dtype=np.float32)
    for b, sentence in enumerate(links):
        place = None if where is None else where[b]
        _check_bounds(sentence, source_lengths[b], target_lengths[b], place)
        for s, t in sentence:
            array_BTS[b, t, s] = 1
        if link_ends:
            array_BTS[b, target_lengths[b], source_lengths[b]] = 1
    totals = array_BTS.sum(axis=2, keepdims=True)
    return array_BTS / np.where(totals > 0, totals, 1)


def _check_bounds(links: Links, source: int, target: int, where: str | None) -> None:
    for s, t in sorted(links):
        for side, position, count in (("source", s, source), ("target", t, target)):
            if not 0 <= position < count:
                raise DataError(
                    f"the link {s}-{t} points outside the {side}, which has {count} symbols "
                    f"(0 to {count - 1}).",
                    where=where,
                    hint="links are source-target and count from 0 here; they must count the same "
                    "symbols the model sees (see `spread` for words cut into pieces).",
                )


def spread(links: Links, source_words: Sequence[int], target_words: Sequence[int]) -> Links:
    """Links between words as links between their pieces, every piece with every piece.

    ``source_words[i]`` is the number of the word that source piece i belongs to (-1: none).
    """
    return frozenset(
        (i, j)
        for i, source in enumerate(source_words)
        for j, target in enumerate(target_words)
        if (source, target) in links
    )
