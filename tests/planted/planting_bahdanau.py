"""The weights of Bahdanau's three decoders, set so that they do what ``plant.py`` says."""

from __future__ import annotations

from typing import Any

import numpy as np

from jumok.models.bahdanau import Bahdanau
from jumok.records import PAD
from planted.codes import (
    SIZE,
    Part,
    drive,
    orthogonal,
    plant_encoder,
    plant_gru,
    plant_lstm,
    put,
    table,
)
from planted.plant import END, MEMORIES, NEXT, SOURCE, TARGET, Mechanism, written
from planted.scoring import additive, and_units, says_JV


class Memories:
    """Decoder states of Bahdanau's models: what was attended to in one half of the
    coordinates, whether ``b`` was written in the other; both are only seen a step later."""

    def __init__(self, size: int) -> None:
        half = size // 2
        nothing_KH = np.zeros((len(MEMORIES), half))
        codes_KH = SIZE * orthogonal(len(MEMORIES), half, first=half - len(MEMORIES))
        self.states_KH = np.concatenate([nothing_KH, codes_KH], axis=1)
        self.told_H = np.concatenate([SIZE * orthogonal(1, half, half - 1)[0], np.zeros(half)])

    def of(self, memory: str) -> np.ndarray:
        return self.states_KH[MEMORIES.index(memory)]

    def after(self) -> np.ndarray:
        """The state that each source symbol leaves when it was attended to."""
        states = [self.of(i) if i in MEMORIES else 0 * self.told_H for i in SOURCE]
        states[PAD] = self.of(".")
        return np.stack(states)

    def after_output(self) -> np.ndarray:
        """The part of the state that each output leaves."""
        return np.stack([self.told_H if y == "b" else 0 * self.told_H for y in TARGET])


def plant_bahdanau(network: Bahdanau, mechanism: Mechanism) -> np.ndarray:
    """e = v_a^T tanh(W_a s + U_a h), the state s of before this step's output is known."""
    size = network.encoder.output_size
    symbols_JD = SIZE * orthogonal(len(SOURCE), size)
    symbols_JD[PAD] = symbols_JD[SOURCE.index(".")]
    plant_encoder(network.encoder, len(SOURCE), symbols_JD)
    asked_KA, there_JA, v_A = and_units(NEXT.__getitem__, network.config.attention_size)
    align = network.align
    if align.U_a.bias is not None:
        put(align.U_a.bias, -20.0)
    offset = 20.0 if align.U_a.bias is not None else 0.0
    put(align.U_a.weight, table((symbols_JD, there_JA + offset)))
    put(align.v_a, v_A)
    queries = DECODERS[network.config.preset](network.decoder, symbols_JD, asked_KA, mechanism)
    put(align.W_a.weight, table(*queries))
    return additive(asked_KA, there_JA, v_A)


def skipped(asked_KA: np.ndarray, mechanism: Mechanism) -> np.ndarray:
    """What ``b`` adds to the question."""
    before, after = mechanism.skipping
    return asked_KA[MEMORIES.index(after)] - asked_KA[MEMORIES.index(before)]


def plant_rnnsearch(
    decoder: Any, symbols_JD: np.ndarray, asked_KA: np.ndarray, mechanism: Mechanism
) -> list[Part]:
    """s_i = GRU(E y_{i-1}, s_{i-1}, c_i); maxout(U_o s_{i-1} + V_o E y_{i-1} + C_o c_i)."""
    H = decoder.gru.hidden_size
    states = Memories(H)
    put(decoder.W_s.bias, np.arctanh(states.of("^")))
    plant_gru(decoder.gru, np.eye(len(TARGET)), states.after_output())
    put(decoder.C.weight[2 * H :], table((symbols_JD, np.arctanh(states.after()))))
    said_JV = says_JV(mechanism)
    put(decoder.C_o.weight[::2][: len(TARGET)], table((symbols_JD, said_JV)))  # a pair's first
    put(decoder.W_o.weight, np.eye(len(TARGET), decoder.W_o.in_features))
    return [(states.states_KH, asked_KA), (states.told_H[None], skipped(asked_KA, mechanism)[None])]


def plant_notes(
    decoder: Any, symbols_JD: np.ndarray, asked_KA: np.ndarray, mechanism: Mechanism
) -> list[Part]:
    """s_i = LSTM([E y_{i-1}; c_i]); the first query is the encoder's last state, unchanged."""
    states = Memories(decoder.lstm.hidden_size)
    plant_lstm(
        decoder.lstm,
        (np.eye(len(TARGET)), drive(states.after_output())),
        (symbols_JD, drive(states.after())),
    )
    late_KV = np.stack([written(memory, mechanism) for memory in MEMORIES])
    ignored = (states.told_H[None], np.zeros((1, len(TARGET))))
    put(decoder.W_o.weight, table((states.states_KH, late_KV), ignored))
    half = symbols_JD.shape[1] // 2
    ends_JH = np.repeat(symbols_JD[SOURCE.index(END)][None], len(SOURCE), axis=0)
    firsts_JH = np.concatenate([ends_JH[:, :half], symbols_JD[:, half:]], axis=1)
    start_JA = np.repeat(asked_KA[:1], len(SOURCE), axis=0)
    return [
        (states.states_KH[1:], asked_KA[1:]),
        (states.told_H[None], skipped(asked_KA, mechanism)[None]),
        (firsts_JH, start_JA),
    ]


def plant_cgru(
    decoder: Any, symbols_JD: np.ndarray, asked_KA: np.ndarray, mechanism: Mechanism
) -> list[Part]:
    """s'_i = GRU_1(E y_{i-1}, s_{i-1}) asks; s_i = GRU_2(c_i, s'_i) remembers what it found."""
    H = decoder.gru_1.hidden_size
    states = Memories(H)
    queries_KH = SIZE * orthogonal(len(MEMORIES), H)
    drives_KH = np.arctanh(queries_KH)
    plant_gru(decoder.gru_1, np.eye(len(TARGET)), np.zeros((len(TARGET), H)))
    before, after = (MEMORIES.index(memory) for memory in mechanism.skipping)
    put(decoder.gru_1.W_x[2 * H :, TARGET.index("b")], drives_KH[after] - drives_KH[before])
    put(decoder.gru_1.b[2 * H :], drives_KH[0])  # y_0 embeds to zero and s_0 is zero: "^"
    put(decoder.gru_1.W_h[2 * H :], table((states.states_KH[1:], drives_KH[1:] - drives_KH[0])))
    plant_gru(decoder.gru_2, symbols_JD, states.after())
    found_JX = np.eye(len(SOURCE), decoder.W_3.out_features)
    found_JX[PAD] = found_JX[SOURCE.index(".")]
    put(decoder.W_3.weight, table((symbols_JD, 20 * found_JX)))
    put(decoder.W_o.weight[:, : len(SOURCE)], says_JV(mechanism).T)
    return [(queries_KH, asked_KA)]


DECODERS = {"rnnsearch": plant_rnnsearch, "cgru": plant_cgru, "notes": plant_notes}
