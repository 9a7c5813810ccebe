"""Planted traces for the tests of this folder: tokens with spans, maps that are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jumok.records import AttentionMap, AttentionTrace, Token

__all__ = ["cut", "end_of", "planted", "trace_of"]


def cut(text: str, pieces: Sequence[str]) -> tuple[Token, ...]:
    """Tokens of ``text`` in order; what lies between pieces belongs to no token."""
    tokens, at = [], 0
    for piece in pieces:
        start = text.index(piece, at)
        at = start + len(piece)
        tokens.append(Token(piece, start, at))
    return tuple(tokens)


def end_of(text: str) -> Token:
    return Token("</s>", len(text), len(text), special=True)


def trace_of(
    source: str,
    source_tokens: Sequence[Token],
    target: str,
    target_tokens: Sequence[Token],
    weights_TS: np.ndarray,
    *others: AttentionMap,
) -> AttentionTrace:
    cross = AttentionMap(name="weights", kind="cross", values_TS=np.asarray(weights_TS, float))
    return AttentionTrace(
        source_text=source,
        target_text=target,
        source=tuple(source_tokens),
        target=tuple(target_tokens),
        maps=(cross, *others),
        main="weights",
    )


def planted(positions_T: Sequence[int], S: int, peak: float = 0.7) -> np.ndarray:
    """(T, S) rows that sum to 1, with ``peak`` at the planted position and the rest spread."""
    weights_TS = np.full((len(positions_T), S), (1 - peak) / (S - 1))
    weights_TS[np.arange(len(positions_T)), positions_T] = peak
    return weights_TS
