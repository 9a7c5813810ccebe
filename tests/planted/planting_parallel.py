"""QRNN's and SSRU's weights set so that they do what ``plant.py`` says.

Forget gates are shut, so that a cell holds its present input and no more: the symbol written last
is what a decoder remembers. One-hot in, one-hot out; both directions of an encoder say the same.
"""

from __future__ import annotations

import numpy as np

from jumok.models.parallel_rnn import ParallelRNN
from jumok.nn.parallel_cells import ParallelLayer
from planted.codes import put, table
from planted.plant import MEMORIES, SOURCE, Mechanism
from planted.planting_transformer import memories, scores
from planted.scoring import says_JV

SHUT, OPEN, FULL = -40.0, 40.0, 3.0


def plant_parallel(network: ParallelRNN, mechanism: Mechanism) -> np.ndarray:
    """E y -> memory -> score; the context is a one-hot idea."""
    config, J, M = network.config, len(SOURCE), len(MEMORIES)
    assert config.num_layers == 1 and config.score == "general" and not config.norm
    size = config.hidden_size
    shown = np.tanh(FULL) if config.cell == "qrnn" else FULL
    sides = [network.encoder[0]]
    if network.encoder_back is not None:
        sides.append(network.encoder_back[0])
    for layer in sides:
        plant_layer(layer, np.eye(J), config.embedding_size)
    symbols_JH = np.concatenate([shown * np.eye(J, size // len(sides))] * len(sides), axis=1)
    plant_layer(network.decoder[0], memories(), config.embedding_size)
    queries_MH = shown * np.eye(M, size)
    scores_MJ = scores(mechanism)
    put(network.score.W_a.weight, table((symbols_JH, table((queries_MH, scores_MJ)))))
    said_JH = FULL * np.eye(J, size)
    put(network.W_a.weight[:, :size], table((symbols_JH, said_JH)))
    if config.output == "attentional":
        said_JH = np.tanh(said_JH)
    put(network.W_s.weight, table((said_JH, says_JV(mechanism))))
    return scores_MJ


def plant_layer(layer: ParallelLayer, values_XU: np.ndarray, inputs: int) -> None:
    """u = FULL times what the present input says; f = 0, and o = 1 where there is one."""
    size, (count, width) = layer.hidden_size, values_XU.shape
    put(layer.b[:size], SHUT)
    if len(layer.b) > size:  # QRNN's f, o and u; SSRU has a bias in f alone
        put(layer.b[size : 2 * size], OPEN)
    u_UE, first = layer.W[-size:][:width], layer.W.shape[1] - inputs
    put(u_UE[:, first : first + count], FULL * values_XU.T)
