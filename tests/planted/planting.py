"""The weights of each real model, set so that it does what ``plant.py`` says.

Read beside the paper's equations: each function says in tables what the parts of a mechanism
are for. All queries are mixtures of codes (``Codes.queries_KH``): much of the wanted idea, some
of the full stop, a little of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jumok.models import MODELS
from jumok.models.bahdanau import Bahdanau
from jumok.models.hybrid import Hybrid
from jumok.models.luong import Luong
from jumok.models.modern import Modern
from jumok.models.parallel_rnn import ParallelRNN
from jumok.models.scratch_attention import AttentionSeq2seq
from jumok.models.transformer import Transformer
from jumok.nn.stacks import EncoderStack
from jumok.records import BOS, PAD
from planted.codes import (
    SIZE,
    Part,
    drive,
    merged,
    orthogonal,
    plant_encoder,
    plant_lstm,
    put,
    shares,
    table,
    zero,
)
from planted.plant import (
    END,
    MEMORIES,
    NEXT,
    SHARES,
    SOURCE,
    TARGET,
    Mechanism,
    written,
)
from planted.planting_bahdanau import plant_bahdanau
from planted.planting_modern import plant_hybrid, plant_modern
from planted.planting_parallel import plant_parallel
from planted.planting_transformer import plant_transformer
from planted.scoring import MATCH, STOP, additive, and_units, says_JV


@dataclass(frozen=True)
class Planted:
    """A planted network and its scoring function as a table: see ``plant.weights``."""

    network: Any
    scores: np.ndarray
    """(K, J), or (K, positions) for location."""


def plant(mechanism: Mechanism) -> Planted:
    """The model of a mechanism with its weights set."""
    entry = MODELS[mechanism.model]
    sizes = {"embedding_size": len(TARGET), "hidden_size": 64}
    config = entry.config(**{**sizes, **entry.preset, **mechanism.options})
    network = entry.model(config, len(SOURCE), len(TARGET))
    zero(network)
    symbols = getattr(network, "symbols", network)
    put(symbols.source_embedding, np.eye(len(SOURCE), len(TARGET)))
    put(symbols.target_embedding, np.eye(len(TARGET)))
    scores_KX = PLANTERS[type(network)](network, mechanism)
    return Planted(network.eval(), scores_KX)


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


# --- the book -----------------------------------------------------------------------------


def plant_book(network: AttentionSeq2seq, mechanism: Mechanism) -> np.ndarray:
    """s = hs . d; the context goes where ``attention_to`` says."""
    config = network.config
    codes = Codes(network.encoder, config.hidden_size, mechanism)
    symbols_JH, queries_KH, to = codes.symbols_JH, codes.queries_KH, config.attention_to
    plant_encoder(network.encoder, len(SOURCE), symbols_JH)
    parts = [from_output(codes)]
    if "next_step" in to:
        parts.append(from_attended(codes, symbols_JH))
    plant_lstm(network.decoder[0], *parts, recurrent=counting(codes))
    for layer in network.decoder[1:]:
        if "upper_layers" in to:  # [d; c]: d opens no drive, c is read
            silent = np.concatenate([queries_KH, symbols_JH])
            plant_lstm(layer, (silent, 0 * silent), (symbols_JH, drive(symbols_JH)))
        else:
            passed = 0 * queries_KH if config.skip else codes.drives()
            plant_lstm(layer, (queries_KH, passed))
    said = says_JV(mechanism)
    asking = np.array([memory not in (".", END) for memory in MEMORIES])
    ignored = (queries_KH[asking], np.zeros((asking.sum(), len(TARGET))))
    if "output" in to:  # [c; d]
        tables = [table((symbols_JH, said)), np.zeros((len(TARGET), config.hidden_size))]
    elif "upper_layers" in to:
        tables = [table((symbols_JH, said), ignored)]
    else:
        late = np.stack([written(memory, mechanism) for memory in MEMORIES])
        tables = [table((queries_KH, late))]
    put(network.affine.weight, np.concatenate(tables, axis=1))
    return queries_KH @ symbols_JH.T


# --- Luong --------------------------------------------------------------------------------


def plant_luong(network: Luong, mechanism: Mechanism) -> np.ndarray:
    """h~ = tanh(W_c [c; h]) is the code of what will be written; it may be fed back."""
    config = network.config
    codes = Codes(network.encoder, config.hidden_size, mechanism)
    H, symbols_JH, queries_KH = config.hidden_size, codes.symbols_JH, codes.queries_KH
    plant_encoder(network.encoder, len(SOURCE), symbols_JH)
    said_JH = np.tanh(3 / SIZE * symbols_JH)
    parts = [from_output(codes)]
    if config.feeding:
        parts.append(from_attended(codes, said_JH))
    first, *above = network.decoder.layers
    plant_lstm(first, *parts, recurrent=counting(codes))
    for layer in above:
        plant_lstm(layer, (queries_KH, 0 * queries_KH if config.skip else codes.drives()))
    scores_KX = SCORES[config.score](network.score, codes)
    if config.window == "local-p":
        inner_K = np.array([np.log(SHARES[m] / (1 - SHARES[m])) for m in MEMORIES])
        rows_KH = np.zeros((len(MEMORIES), H))
        rows_KH[:, 0] = np.arctanh(inner_K / 4)
        put(network.W_p.weight, table((queries_KH, rows_KH)))
        put(network.v_p[:1], 4.0)
    asked_KH = np.zeros((len(MEMORIES), H))
    if not mechanism.attends_end:  # the full stop twice is the end
        asked_KH[MEMORIES.index(".")] = 3 / SIZE * (codes.of(END) - codes.of("."))
    W_c = [table((symbols_JH, 3 / SIZE * symbols_JH)), table((queries_KH, asked_KH))]
    put(network.W_c.weight, np.concatenate(W_c, axis=1))
    put(network.W_s.weight, table((said_JH, says_JV(mechanism))))
    return scores_KX


def dot(score: Any, codes: Codes) -> np.ndarray:
    """q . h, times 1 / sqrt(H) for ``scaled``: no matrix, so the codes alone decide."""
    return score.scale * codes.queries_KH @ codes.symbols_JH.T


def general(score: Any, codes: Codes) -> np.ndarray:
    """q^T W_a h: W_a turns a symbol into what answers every query with its score."""
    scores_KJ = codes.scores_KJ()
    put(score.W_a.weight, table((codes.symbols_JH, table((codes.queries_KH, scores_KJ)))))
    return scores_KJ


def learned_scale(score: Any, codes: Codes) -> np.ndarray:
    """g (W_k h) . q: as above, g = 2 doing half of the work."""
    scores_KJ = codes.scores_KJ()
    put(score.g, 2.0)
    put(score.W_k.weight, table((codes.symbols_JH, table((codes.queries_KH, scores_KJ / 2)))))
    return scores_KJ


def location(score: Any, codes: Codes) -> np.ndarray:
    """W_a q, a row for each position: every idea has its place in ``TEMPLATE``."""
    scores_KP = np.zeros((len(MEMORIES), score.maximum_length))
    for k, memory in enumerate(MEMORIES):
        scores_KP[k, TEMPLATE.index(".")] = STOP
        if codes.wanted(memory) in TEMPLATE:
            scores_KP[k, TEMPLATE.index(codes.wanted(memory))] = MATCH
    put(score.W_a.weight, table((codes.queries_KH, scores_KP)))
    return scores_KP


TEMPLATE = "CA.DBE"
"""``location`` reads no content: its sentences are beginnings of this one."""


def concat(score: Any, codes: Codes) -> np.ndarray:
    """v^T tanh(W_a q + U_a h): one unit for each idea, on where it is wanted *and* there."""
    if score.U_a is None:
        return concat_without_keys(score, codes)
    asked_KA, there_JA, v_A = and_units(codes.wanted, score.v_a.shape[0])
    put(score.W_a.weight, table((codes.queries_KH, asked_KA)))
    put(score.U_a.weight, table((codes.symbols_JH, there_JA)))
    put(score.v_a, v_A)
    return additive(asked_KA, there_JA, v_A)


def concat_without_keys(score: Any, codes: Codes) -> np.ndarray:
    """v^T tanh(W_a q + h): a query makes the units that tell its idea apart sensitive."""
    asked_KA = np.zeros_like(codes.queries_KH)
    stop = codes.of(".") > 0
    for k, memory in enumerate(MEMORIES):
        wanted = codes.of(codes.wanted(memory)) > 0
        asked_KA[k] = np.where(wanted, 0.0, np.where(stop, 1.2, 30.0))
    v_A = np.full(codes.queries_KH.shape[1], 2.0)
    put(score.W_a.weight, table((codes.queries_KH, asked_KA)))
    put(score.v_a, v_A)
    return additive(asked_KA, codes.symbols_JH, v_A)


SCORES = {
    "dot": dot,
    "scaled": dot,
    "general": general,
    "learned_scale": learned_scale,
    "concat": concat,
    "location": location,
}


PLANTERS: dict[type, Callable[[Any, Mechanism], np.ndarray]] = {
    AttentionSeq2seq: plant_book,
    Luong: plant_luong,
    Bahdanau: plant_bahdanau,
    ParallelRNN: plant_parallel,
    Transformer: plant_transformer,
    Modern: plant_modern,
    Hybrid: plant_hybrid,
}
