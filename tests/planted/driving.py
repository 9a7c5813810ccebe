"""What states a planted decoder may be in and what brings it there.

All queries are mixtures of codes (``Codes.queries_KH``): much of the wanted idea, some of the full
stop, a little of its own.
"""

from __future__ import annotations

import numpy as np

from jumok.nn.stacks import EncoderStack
from jumok.records import BOS, PAD
from planted.codes import SIZE, Part, drive, merged, orthogonal, shares
from planted.plant import END, MEMORIES, NEXT, SOURCE, TARGET, Mechanism
from planted.scoring import MATCH, STOP


class Codes:
    """The vectors that states may be, with rows for symbols (J) and memories (K)."""

    def __init__(self, encoder: EncoderStack, size: int, mechanism: Mechanism) -> None:
        self.mechanism = mechanism
        J, K = len(SOURCE), len(MEMORIES)
        halved = encoder.bidirectional and encoder.merge == "mean"
        self.symbols_JH = SIZE * orthogonal(J, size)
        self.symbols_JH[PAD] = self.of(".")  # padding that nobody masked would be looked at
        own_KH = SIZE * orthogonal(K, size, first=J + 1)
        wanted_KH = np.stack([self.of(self.wanted(memory)) for memory in MEMORIES])
        full_stop_H = self.of(".")
        self.queries_KH = 0.54 * wanted_KH + 0.3 * full_stop_H + 0.16 * own_KH
        if mechanism.memory == "state":
            # A full stop overrides whatever the state has counted to: its drive saturates.
            self.queries_KH[MEMORIES.index(".")] = np.tanh(1) / SIZE * self.of(self.wanted("."))
        self.stop_drive_H = 50 / SIZE * self.of(self.wanted("."))
        self.symbols_JH /= 2 if halved else 1
        self.firsts_XH = first_states(encoder, self.symbols_JH)

    def wanted(self, memory: str) -> str:
        """The idea that a memory looks for; "" = none but the full stop."""
        idea = NEXT[memory]
        return "." if idea == END and not self.mechanism.attends_end else idea

    def of(self, idea: str) -> np.ndarray:
        """The code of an idea; of none: zeros."""
        size = self.symbols_JH.shape[1]
        return self.symbols_JH[SOURCE.index(idea)] if idea else np.zeros(size)

    def query(self, memory: str) -> np.ndarray:
        return self.queries_KH[MEMORIES.index(memory)]

    def drives(self) -> np.ndarray:
        """What brings an LSTM into the state of each query, (K, H)."""
        drives_KH = drive(np.clip(self.queries_KH, -SIZE, SIZE))
        if self.mechanism.memory == "state":
            drives_KH[MEMORIES.index(".")] = self.stop_drive_H
        return drives_KH

    def scores_KJ(self) -> np.ndarray:
        """What a score should be that has a matrix: MATCH, STOP or 0."""
        found = np.zeros((len(MEMORIES), len(SOURCE)))
        for k, memory in enumerate(MEMORIES):
            found[k, SOURCE.index(".")] = STOP
            if self.wanted(memory):
                found[k, SOURCE.index(self.wanted(memory))] = MATCH
        found[:, PAD] = found[:, SOURCE.index(".")]
        return found


# --- what drives a decoder ----------------------------------------------------------------


def from_output(codes: Codes) -> Part:
    """[E y_{t-1}] -> the drive of the query: all of it, or only what a memory cannot know."""
    mechanism, drives_KH = codes.mechanism, codes.drives()
    inputs_VE, drives_VH = np.eye(len(TARGET)), np.zeros((len(TARGET), drives_KH.shape[1]))

    def drive_of(memory: str) -> np.ndarray:
        return drives_KH[MEMORIES.index(memory)]

    if mechanism.memory == "output":
        for v, symbol in enumerate(TARGET):
            memory = {"b": "C"}.get(symbol, symbol.upper())
            if memory in MEMORIES:
                drives_VH[v] = drive_of(memory)
    elif mechanism.memory == "state":
        drives_VH[TARGET.index(".")] = drive_of(".")
    if mechanism.memory in ("state", "attended"):
        before, after = mechanism.skipping
        drives_VH[TARGET.index("b")] = drive_of(after) - drive_of(before)
    drives_VH[BOS] = drive_of("^")
    return inputs_VE, drives_VH


def from_attended(codes: Codes, inputs_JX: np.ndarray) -> Part:
    """[what was looked at] -> the drive of the query that comes after it."""
    drives_JH = np.zeros((len(SOURCE), codes.queries_KH.shape[1]))
    if codes.mechanism.memory == "attended":
        drives_KH = codes.drives()
        for j, idea in enumerate(SOURCE):
            if idea in MEMORIES:
                drives_JH[j] = drives_KH[MEMORIES.index(idea)]
        drives_JH[PAD] = drives_JH[SOURCE.index(".")]
    return inputs_JX, drives_JH


def counting(codes: Codes) -> list[Part]:
    """h_{t-1} -> the drive of the next query, and nothing for the decoder's first state."""
    if codes.mechanism.memory != "state":
        return []
    drives_KH = codes.drives()
    following = [NEXT[memory] or "." for memory in MEMORIES]
    next_KH = np.stack([drives_KH[MEMORIES.index(memory)] for memory in following])
    usual = np.array([memory not in ("F", ".", END) for memory in MEMORIES])
    return [
        (codes.queries_KH[usual], next_KH[usual]),
        (codes.firsts_XH, np.zeros_like(codes.firsts_XH)),
    ]


def first_states(encoder: EncoderStack, symbols_JH: np.ndarray) -> np.ndarray:
    """What a copied last state of the encoder may be: the forward direction ends at the end
    symbol, the backward one at any symbol that stands first."""
    ahead_JH, *back = shares(encoder, symbols_JH)
    end = SOURCE.index(END)
    if not back:
        return ahead_JH[[end]]
    return np.stack([merged(ahead_JH[end], back_H, encoder.merge) for back_H in back[0]])
