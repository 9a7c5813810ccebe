"""Pieces to words on a trace: letters, jamo or subwords merged, rows keep their sum.

Attention *to* a split word is the sum over its pieces, attention *from* a split word the mean over
its pieces (Clark et al. 2019). Words are stretches without white space in the raw text, so that
their numbers are those of ``text.split()``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jumok.errors import UsageError
from jumok.records import AttentionMap, AttentionTrace, Token

__all__ = ["Span", "merge_spans", "merge_words", "word_spans"]

Span = tuple[int, int]
"""Characters ``[start, end)`` of a text."""


def word_spans(text: str) -> list[Span]:
    """Where the words of ``text.split()`` stand in ``text``."""
    return [found.span() for found in re.finditer(r"\S+", text)]


def merge_words(
    trace: AttentionTrace, *, source: bool = True, target: bool = True
) -> AttentionTrace:
    """The trace over words on the chosen sides; see ``merge_spans`` for how."""
    return merge_spans(
        trace,
        source_spans=word_spans(trace.source_text) if source else None,
        target_spans=word_spans(trace.target_text) if target else None,
    )


def merge_spans(
    trace: AttentionTrace,
    *,
    source_spans: Sequence[Span] | None = None,
    target_spans: Sequence[Span] | None = None,
) -> AttentionTrace:
    """A new trace with one token per span (words, syllables ...); None leaves a side as it is.

    Spans are in order and apart. Special tokens (the end symbol) stay, after the spans. A token
    belongs to each span it overlaps, in equal parts; one that overlaps none (a space, an empty
    span) belongs to the next span, past the last one to the last; its column counts there, its row
    only if that span has no row of its own. Rows keep their sum. A span without any token gets an
    empty column or an empty row, so that numbering holds.

    ``logprobs_T`` are summed and still add up to the score; ``alternatives``, which are per
    piece, are dropped where the target is merged.
    """
    source = _side(trace.source, trace.source_text, source_spans)
    target = _side(trace.target, trace.target_text, target_spans)
    logprobs_T = trace.logprobs_T
    return replace(
        trace,
        source=source.merged,
        target=target.merged,
        maps=tuple(_merge_map(m, source, target) for m in trace.maps),
        logprobs_T=None if logprobs_T is None else target.parts_NM.T @ logprobs_T,
        alternatives=trace.alternatives if target_spans is None else (),
    )


def _merge_map(old: AttentionMap, source: _Side, target: _Side) -> AttentionMap:
    """Rows averaged, columns summed, on the sides this kind of map has."""
    columns: _Side | None
    match old.kind:
        case "encoder":
            rows, columns = source, source
        case "decoder":
            rows, columns = target, target.read_before()
        case "cross":
            rows, columns = target, source
        case "source_read" | "source_write":  # columns are memory slots
            rows, columns = source, None
        case _:  # read, write
            rows, columns = target, None
    values = old.values_TS
    if values.shape[0] != len(rows.parts_NM) or (
        columns is not None and values.shape[1] != len(columns.parts_NM)
    ):
        raise UsageError(
            f"the map {old.name!r} has shape {values.shape}, which does not fit "
            f"{len(source.parts_NM)} source and {len(target.parts_NM)} target tokens."
        )
    merged = rows.means() @ values
    if columns is not None:
        merged = merged @ columns.parts_NM
    return replace(old, values_TS=merged)


@dataclass(frozen=True, kw_only=True)
class _Side:
    """Which of N tokens belong to which of M merged ones."""

    merged: tuple[Token, ...]
    parts_NM: np.ndarray
    """Rows sum to 1."""
    inside_N: np.ndarray
    """False for a token that lies between the spans."""

    def read_before(self) -> _Side:
        """The columns of a decoder's map: the start symbol, then these but for the last token."""
        N, M = self.parts_NM.shape
        parts = np.zeros((N, M + 1))
        parts[0, 0] = 1
        parts[1:, 1:] = self.parts_NM[:-1]
        return replace(self, parts_NM=parts if parts[:, M].any() else parts[:, :M])

    def means(self) -> np.ndarray:
        """(M, N), rows average; tokens between words count only where a word has no others."""
        weights_NM = self.parts_NM * self.inside_N[:, None]
        empty_M = weights_NM.sum(axis=0) == 0
        weights_NM[:, empty_M] = self.parts_NM[:, empty_M]
        totals_M = weights_NM.sum(axis=0)
        means_NM: np.ndarray = weights_NM / np.where(totals_M > 0, totals_M, 1)
        return means_NM.T


def _side(tokens: Sequence[Token], text: str, spans: Sequence[Span] | None) -> _Side:
    inside_N = np.ones(len(tokens), dtype=bool)
    if spans is None:
        return _Side(merged=tuple(tokens), parts_NM=np.eye(len(tokens)), inside_N=inside_N)
    pieces = [n for n, token in enumerate(tokens) if not token.special]
    specials = [n for n, token in enumerate(tokens) if token.special]
    if pieces and not spans:  # a text of nothing but spaces is one word
        spans = [(tokens[pieces[0]].start, tokens[pieces[-1]].end)]
    parts_NM = np.zeros((len(tokens), len(spans) + len(specials)))
    for n in pieces:
        owners, inside_N[n] = _owners(tokens[n], spans)
        parts_NM[n, owners] = 1 / len(owners)
    parts_NM[specials, range(len(spans), len(spans) + len(specials))] = 1
    words = (Token(text[start:end], start, end) for start, end in spans)
    merged = (*words, *(tokens[n] for n in specials))
    return _Side(merged=merged, parts_NM=parts_NM, inside_N=inside_N)


def _owners(token: Token, spans: Sequence[Span]) -> tuple[list[int], bool]:
    """(numbers of the spans that own the token, whether it lies on them)."""
    over = [m for m, (start, end) in enumerate(spans) if token.start < end and start < token.end]
    if over:
        return over, True
    after = [m for m, (_, end) in enumerate(spans) if end > token.start]
    return [after[0] if after else len(spans) - 1], False
