"""The Transformer's weights set so that it does what ``plant.py`` says.

It remembers nothing but the symbol it wrote last, and looks for the idea that follows it with
one head of its last layer; all else is silent. Codes are orthogonal to each other, to every
PE(position) in use and to the mean that a norm takes away, and much longer than a PE: a norm
then turns a symbol at any position into the same code.
"""

from __future__ import annotations

import numpy as np
import torch

from jumok.models.transformer import Transformer
from jumok.nn.positions import sinusoids
from jumok.records import PAD
from planted.codes import put, table
from planted.plant import MEMORIES, NEXT, SOURCE, TARGET, Mechanism
from planted.scoring import MATCH, STOP, says_JV

LONG = 1e4
"""Length of a code beside that of a PE, sqrt(D / 2)."""
POSITIONS = 16


def plant_transformer(network: Transformer, mechanism: Mechanism) -> np.ndarray:
    """One head asks, E y -> memory, and is answered, E x -> score; the context is a code."""
    D, R = network.config.hidden_size, network.config.heads
    K, J, V, M = D // R, len(SOURCE), len(TARGET), len(MEMORIES)
    place_PD = sinusoids(torch.arange(POSITIONS), D).numpy()
    taken = np.concatenate([place_PD, np.ones((1, D))])
    free_XD = np.linalg.svd(taken)[2][len(taken) :]
    symbols_VD, said_JD = free_XD[:V], free_XD[V : V + J]
    norm = D**0.5  # the length of a code after a norm
    for layer in (*network.encoder, *network.decoder):
        for name, weight in layer.named_parameters():
            if "norm" in name and name.endswith("weight"):
                put(weight, 1.0)
    assert network.widen is not None
    put(network.widen.weight, LONG / D**0.5 * symbols_VD.T)

    assert max(M, J) <= K
    scores_MJ, memory_VM = scores(mechanism), memories()
    last = (network.config.alignment_head or 1) * K
    head = slice(last - K, last)
    attend = network.decoder[network.config.aligning_layer].attend_source
    codes_VD, codes_JD = norm * symbols_VD, norm * symbols_VD[:J]
    put(attend.W_q.weight[head], wide(table((codes_VD, memory_VM)), K))
    put(attend.W_k.weight[head], wide(table((codes_JD, K**0.5 * scores_MJ.T)), K))
    put(attend.W_v.weight[head], wide(table((codes_JD, np.eye(J))), K))
    put(attend.W_o.weight[:, head], wide(LONG * said_JD, K).T)
    put(network.W_s, table((norm * said_JD, says_JV(mechanism))))
    return scores_MJ


def wide(rows: np.ndarray, count: int) -> np.ndarray:
    """``rows`` and zeros below them."""
    return np.concatenate([rows, np.zeros((count - len(rows), rows.shape[1]))])


def memories() -> np.ndarray:
    """Symbol written last -> one-hot memory, (V, M)."""
    found = np.zeros((len(TARGET), len(MEMORIES)))
    for v, symbol in enumerate(TARGET):
        memory = {"b": "C", "<s>": "^"}.get(symbol, symbol.upper())
        if memory in MEMORIES:
            found[v, MEMORIES.index(memory)] = 1
    return found


def scores(mechanism: Mechanism) -> np.ndarray:
    """MATCH for the wanted idea, STOP for the full stop, (M, J); padding scores like that."""
    assert mechanism.memory == "output" and mechanism.attends_end
    found = np.zeros((len(MEMORIES), len(SOURCE)))
    found[:, SOURCE.index(".")] = STOP
    for m, memory in enumerate(MEMORIES):
        if NEXT[memory]:
            found[m, SOURCE.index(NEXT[memory])] = MATCH
    found[:, PAD] = found[:, SOURCE.index(".")]
    return found
