"""GNMT's weights set so that it does what ``plant.py`` says, in each of its wirings.

The bottom layer asks; the second says what was looked at (``tf_gnmt``: what was asked for), and
those above it are silent: their residual connections alone pass it on.
"""

from __future__ import annotations

import numpy as np

from jumok.models.gnmt import GNMT
from planted.codes import Part, drive, plant_encoder, plant_lstm, put, table
from planted.driving import Codes, counting, from_attended, from_output
from planted.plant import MEMORIES, NEXT, SOURCE, TARGET, Mechanism, written
from planted.planting_bahdanau import Memories, skipped
from planted.scoring import additive, and_units, says_JV


def plant_gnmt(network: GNMT, mechanism: Mechanism) -> np.ndarray:
    """s = v . tanh(W_q y + W_k x + b); every layer but the bottom one reads [x; a]."""
    config = network.config
    codes = Codes(network.encoder.upper, config.hidden_size, mechanism)
    symbols_JH = codes.symbols_JH
    codes.firsts_XH = symbols_JH  # copied: what the backward direction read last
    plant_encoder_of(network, symbols_JH)
    paper = config.wiring == "paper"
    wanted = NEXT.__getitem__ if paper else codes.wanted
    asked_KA, there_JA, v_A = and_units(wanted, network.score.v_a.shape[0])
    plant_bottom = plant_late if paper else plant_prompt
    states_KH, queries = plant_bottom(network, codes, asked_KA)
    put(network.score.W_a.weight, table(*queries))
    put(network.score.U_a.weight, table((symbols_JH, there_JA)))
    put(network.score.v_a, v_A)
    if network.score.g is not None:
        put(network.score.g, float(np.sqrt((v_A**2).sum())))
    second, *above = list(network.decoder)[1:]
    if config.wiring == "tf_gnmt":  # a skip is known to the bottom layer alone: it is written
        plant_lstm(second, (states_KH, codes.drives()), (symbols_JH, 0 * symbols_JH))
        codes_XH, said_XV = states_KH, np.stack([written(m, mechanism) for m in MEMORIES])
    else:
        plant_lstm(second, (states_KH, 0 * states_KH), (symbols_JH, drive(symbols_JH)))
        codes_XH, said_XV = symbols_JH, says_JV(mechanism)
    for layer in above:
        plant_lstm(layer, (codes_XH, 0 * codes_XH), (symbols_JH, 0 * symbols_JH))
    said = table((codes_XH, said_XV))
    if config.context_to_output:  # half from the layers, half from the context itself
        said = np.concatenate([said / 2, said / 2], axis=1)
    put(network.W_s.weight, said)
    return additive(asked_KA, there_JA, v_A)


def plant_encoder_of(network: GNMT, symbols_JH: np.ndarray) -> None:
    """Each direction of the bottom says the whole code, the next layer passes it on."""
    both_JD = np.concatenate([symbols_JH, symbols_JH], axis=1)
    plant_encoder(network.encoder.bottom, len(SOURCE), both_JD)
    second, *above = network.encoder.upper.forward_layers
    plant_lstm(second, (both_JD, drive(symbols_JH)))
    for layer in above:
        plant_lstm(layer, (symbols_JH, 0 * symbols_JH))


def plant_prompt(
    network: GNMT, codes: Codes, asked_KA: np.ndarray
) -> tuple[np.ndarray, list[Part]]:
    """The state that has just read E y asks: its states, and what each asks."""
    parts = [from_output(codes)]
    if network.config.wiring != "parallel":
        parts.append(from_attended(codes, codes.symbols_JH))
    plant_lstm(network.decoder[0], *parts, recurrent=counting(codes))
    return codes.queries_KH, [(codes.queries_KH, asked_KA)]


def plant_late(network: GNMT, codes: Codes, asked_KA: np.ndarray) -> tuple[np.ndarray, list[Part]]:
    """The state of the step before asks; the first, of zeros, asks with the bias alone."""
    states = Memories(network.config.hidden_size)
    plant_lstm(
        network.decoder[0],
        (np.eye(len(TARGET)), drive(states.after_output())),
        (codes.symbols_JH, drive(states.after())),
    )
    first_A = asked_KA[MEMORIES.index("^")]
    put(network.score.U_a.bias, first_A)
    told_1H = states.told_H[None]
    queries = [
        (states.states_KH[1:], asked_KA[1:] - first_A),
        (told_1H, skipped(asked_KA, codes.mechanism)[None]),
    ]
    return np.concatenate([states.states_KH[1:], told_1H]), queries
