"""A Pharaoh column as the array that guides attention in training.

Each row of ``links_BTS`` is a distribution over source positions: k links give 1/k each. A target
position without a link has a row of zeros, which a guiding loss leaves out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from jumok.alignment.links import Links, parse_links
from jumok.alignment.words import word_spans
from jumok.data.arrays import Growing, Ragged
from jumok.data.tags import plain
from jumok.errors import DataError, UsageError
from jumok.records import Batch, Token

__all__ = ["Counted", "Guides", "Side", "guides", "links_array", "spread", "symbol_links"]

Counted = Literal["word", "symbol"]
"""What a link's positions count: words between spaces, as aligners do, or the model's symbols."""
Side = tuple[str, Sequence[Token]]
"""A text and its tokens, the end symbol among them."""


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


_HINTS = {
    "symbols": "links are source-target and count from 0 here; they must count the same symbols "
    "the model sees (see `spread` for words cut into pieces).",
    "words": "links are source-target and count words between spaces from 0; links between the "
    "model's own symbols are read with --data.links_count symbol.",
}


def _check_bounds(
    links: Links, source: int, target: int, where: str | None, what: str = "symbols"
) -> None:
    for s, t in sorted(links):
        for side, position, count in (("source", s, source), ("target", t, target)):
            if not 0 <= position < count:
                raise DataError(
                    f"the link {s}-{t} points outside the {side}, which has {count} {what} "
                    f"(0 to {count - 1}).",
                    where=where,
                    hint=_HINTS[what],
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


# -- training pairs ---------------------------------------------------------------------------


def symbol_links(
    text: str, source: Side, target: Side, *, counted: Counted = "word", where: str | None = None
) -> Links:
    """The links of one pair between the model's symbols; the end symbols have none.

    ``text`` is Pharaoh ("0-0 1-2"). A link between words joins every symbol of the one with every
    symbol of the other. Tags of a source are no words of it.

    Raises:
        DataError: what is no link, or one beyond its sentence.
    """
    links = parse_links(text, where=where)
    if counted == "symbol":
        _check_bounds(links, len(source[1]) - 1, len(target[1]) - 1, where)
        return links
    words = word_spans(plain(source[0])), word_spans(target[0])
    _check_bounds(links, len(words[0]), len(words[1]), where, "words")
    if not links:
        return links
    return spread(links, _owners(source[1], words[0]), _owners(target[1], words[1]))


def _owners(tokens: Sequence[Token], spans: Sequence[tuple[int, int]]) -> list[int]:
    """For each symbol the word on which it lies, -1 for a space, a tag, the end."""
    found = []
    ends = [end for _, end in spans]
    for token in tokens:
        m = bisect_right(ends, token.start)  # the first word that ends behind the start
        lies = m < len(spans) and token.end > spans[m][0] and not token.special
        found.append(m if lies else -1)
    return found


@dataclass(frozen=True)
class Guides:
    """The links of encoded pairs, row by row: source, target, source, target ..."""

    links: Ragged

    def beside(self, batch: Batch, rows_B: np.ndarray) -> Batch:
        """``batch``, which has these rows, with ``links_BTS``: rows sum to one, or to nothing."""
        B, T = batch.target_out_BT.shape
        array_BTS = np.zeros((B, T, batch.source.ids_BS.shape[1]), dtype=np.float32)
        for b, row in enumerate(np.asarray(rows_B).tolist()):
            pairs_L2 = self.links[row].reshape(-1, 2)
            array_BTS[b, pairs_L2[:, 1], pairs_L2[:, 0]] = 1
        totals = array_BTS.sum(axis=2, keepdims=True)
        return replace(batch, links_BTS=array_BTS / np.where(totals > 0, totals, 1))


def guides(links: Sequence[Links]) -> Guides:
    """The links of every row, one after the other."""
    growing = Growing()
    for row in links:
        growing.append(number for link in sorted(row) for number in link)
    return Guides(growing.done())
