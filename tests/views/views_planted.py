"""Traces whose alignment is known: rows, columns and every weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from jumok.records import AttentionMap, AttentionTrace, Token

LINKS = (4, 0, 6, 2, 5, 1, 7)
"""Row -> column: neither rising nor falling; the last row is the end symbol's."""


def tokens(parts: list[str], end: bool = True) -> tuple[Token, ...]:
    """``parts`` as symbols of the text they make up, and the end symbol."""
    found, at = [], 0
    for part in parts:
        found.append(Token(part, at, at + len(part)))
        at += len(part)
    return (*found, Token("</s>", at, at, special=True)) if end else tuple(found)


def weights(links: tuple[int, ...], columns: int, seed: int = 0) -> np.ndarray:
    """Rows that sum to one, each largest at its link, every cell with a value of its own."""
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.full(columns, 0.7), size=len(links)) * 0.45
    values[np.arange(len(links)), links] += 0.55
    return values.astype(np.float32)


def trace_of(source: list[str], target: list[str], values: np.ndarray, **more: Any) -> Any:
    """A trace with one cross map."""
    s, t = tokens(source), tokens(target, more.get("finished", True))
    shown = AttentionMap(name="cross", kind="cross", values_TS=values)
    logprobs = -np.linspace(0.01, 0.5, len(t)).astype(np.float32)
    return AttentionTrace(
        source_text="".join(source),
        target_text="".join(target),
        source=s,
        target=t,
        maps=(shown,),
        main="cross",
        logprobs_T=logprobs,
        score=float(logprobs.sum()),
        alternatives=tuple(((token.text, -0.1), ("ㄱ", -2.5), ("</s>", -4.0)) for token in t),
        card={"model": "planted"},
        **more,
    )


SOURCE = ["e", "\u0301", "고", "양", " ", "и", "\u0306"]
"""Seven symbols, two of them combining marks, and a space; with the end symbol eight."""
TARGET = ["c", "a", "t", "이", "-", "z"]
