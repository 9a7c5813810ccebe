"""The weights of each real model, set so that it does what ``plant.py`` says.

Read beside the paper's equations: each function says in tables what the parts of a mechanism
are for. The states that come about are in ``driving.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jumok.models import MODELS
from jumok.models.bahdanau import Bahdanau
from jumok.models.gnmt import GNMT
from jumok.models.hybrid import Hybrid
from jumok.models.luong import Luong
from jumok.models.modern import Modern
from jumok.models.parallel_rnn import ParallelRNN
from jumok.models.scratch_attention import AttentionSeq2seq
from jumok.models.transformer import Transformer
from planted.codes import (
    SIZE,
    drive,
    plant_encoder,
    plant_lstm,
    put,
    table,
    zero,
)
from planted.driving import Codes, counting, from_attended, from_output
from planted.plant import (
    END,
    MEMORIES,
    SHARES,
    SOURCE,
    TARGET,
    Mechanism,
    written,
)
from planted.planting_bahdanau import plant_bahdanau
from planted.planting_gnmt import plant_gnmt
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
    GNMT: plant_gnmt,
    Transformer: plant_transformer,
    Modern: plant_modern,
    Hybrid: plant_hybrid,
}
