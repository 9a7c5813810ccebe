"""What several planted models share: scores to aim at, logits, the scoring network's units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jumok.records import PAD
from planted.plant import MEMORIES, SOURCE, Mechanism, written

MATCH, STOP = 16.0, 8.0
"""Scores of the wanted idea and of the full stop, where a matrix allows any; others get 0."""


def says_JV(mechanism: Mechanism) -> np.ndarray:
    """Logits for every source symbol that may have been looked at."""
    said = np.stack([written(idea, mechanism) for idea in SOURCE])
    said[PAD] = said[SOURCE.index(".")]
    return said


def and_units(wanted: Callable[[str], str], size: int) -> tuple[np.ndarray, ...]:
    """(asked_KA, there_JA, v_A) of the one-hidden-layer scoring network."""
    asked_KA = np.zeros((len(MEMORIES), size))
    there_JA, v_A = np.zeros((len(SOURCE), size)), np.zeros(size)
    for a, idea in enumerate(SOURCE):
        if idea:
            asked_KA[:, a] = [0 if wanted(m) == idea else -40 for m in MEMORIES]
            there_JA[:, a], v_A[a] = [20 if i == idea else -20 for i in SOURCE], MATCH / 2
    stop = len(SOURCE)  # one more unit: it is on for the full stop, whoever asks
    there_JA[:, stop], v_A[stop] = [20 if i == "." else -20 for i in SOURCE], STOP / 2
    there_JA[PAD] = there_JA[SOURCE.index(".")]
    return asked_KA, there_JA, v_A


def additive(asked_KA: np.ndarray, there_JA: np.ndarray, v_A: np.ndarray) -> np.ndarray:
    """v^T tanh(asked + there) for every memory and symbol."""
    return np.tanh(asked_KA[:, None] + there_JA[None]) @ v_A
