"""`modern` and `hybrid` with weights set so that they do what ``plant.py`` says.

As ``planting_transformer``: nothing is remembered but the symbol written last, one head looks
for the idea that follows it, all else is silent. Codes are orthogonal; a norm that takes no mean
away leaves them as they are, and rotary positions turn nothing where self-attention is silent.
"""

from __future__ import annotations

import numpy as np

from jumok.models.hybrid import Hybrid, LSTMDecoder, SSRUDecoder
from jumok.models.modern import Modern
from jumok.nn.prenorm import GroupedHeads
from planted.codes import SIZE, drive, orthogonal, plant_lstm, put, table
from planted.plant import MEMORIES, SOURCE, TARGET, Mechanism
from planted.planting_transformer import memories, scores, wide
from planted.scoring import says_JV

LONG = 1e4
"""What was found beside the symbol that asked."""


class Codes:
    """Orthonormal rows: one for each symbol on either side, one for what was found."""

    def __init__(self, network: Modern | Hybrid) -> None:
        D, V, J = network.config.hidden_size, len(TARGET), len(SOURCE)
        basis_XD = orthogonal(V + J, D) / D**0.5
        self.norm = D**0.5  # the length of a code after a norm
        self.symbols_VD, self.said_JD = basis_XD[:V], basis_XD[V:]
        for name, weight in network.named_parameters():
            if "norm" in name:
                put(weight, 1.0)
        assert network.symbols.widen is not None
        put(network.symbols.widen.weight, self.symbols_VD.T)


def plant_modern(network: Modern, mechanism: Mechanism) -> np.ndarray:
    """E y sqrt(D) -> memory -> score; what was found drowns the symbol that asked."""
    codes = Codes(network)
    attend = network.decoder[network.config.aligning_layer].attend_source
    last = network.config.alignment_head or 1
    asked = codes.norm * codes.symbols_VD
    found = plant_head(attend, last, asked, codes, mechanism)
    put(network.symbols.W_s, table((codes.norm * codes.said_JD, says_JV(mechanism))))
    return found


def plant_hybrid(network: Hybrid, mechanism: Mechanism) -> np.ndarray:
    """LSTM: E y sqrt(D) -> h, a code; W_c reads the context alone. SSRU: as ``modern``."""
    codes, decoder = Codes(network), network.decoder
    inputs, head = codes.norm * codes.symbols_VD, network.config.alignment_head or 1
    if isinstance(decoder, SSRUDecoder):
        attend = decoder.layers[network.config.shown[0]].attend_source
        put(network.symbols.W_s, table((codes.norm * codes.said_JD, says_JV(mechanism))))
        return plant_head(attend, head, inputs, codes, mechanism)
    assert isinstance(decoder, LSTMDecoder)
    states_VD = SIZE * codes.norm * codes.symbols_VD
    plant_lstm(decoder.layers[0], (inputs, drive(states_VD)))
    D = network.config.hidden_size
    put(decoder.W_c.weight[:, :D], np.eye(D) / LONG * codes.norm)
    said = np.tanh(codes.norm * codes.said_JD)
    put(network.symbols.W_s, table((said, says_JV(mechanism))))
    return plant_head(decoder.attend_source, head, states_VD, codes, mechanism)


def plant_head(
    attend: GroupedHeads, head: int, asked_VD: np.ndarray, codes: Codes, mechanism: Mechanism
) -> np.ndarray:
    """One head: the code of the last symbol asks, the codes of the source answer."""
    J, M, K = len(SOURCE), len(MEMORIES), attend.W_q.weight.shape[0] // attend.num_heads
    assert max(J, M) <= K
    mine = slice((head - 1) * K, head * K)
    scores_MJ, seen_JD = scores(mechanism), codes.norm * codes.symbols_VD[:J]
    put(attend.W_q.weight[mine], wide(table((asked_VD, memories())), K))
    put(attend.W_k.weight[mine], wide(table((seen_JD, K**0.5 * scores_MJ.T)), K))
    put(attend.W_v.weight[mine], wide(table((seen_JD, np.eye(J))), K))
    put(attend.W_o.weight[:, mine], wide(LONG * codes.said_JD, K).T)
    return scores_MJ
