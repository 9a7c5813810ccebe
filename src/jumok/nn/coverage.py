"""Coverage: what attention has been given so far, fed back into its scores (Tu et al. 2016).

"Modeling Coverage for Neural Machine Translation", section 3. A vector C_j beside every annotation
h_j starts at nothing, is renewed with every alpha_ij, and enters the alignment model:

    e_ij = v_a^T tanh(W_a s_{i-1} + U_a h_j + V_a C_{i-1,j})

A coverage is asked for what can be computed once per sentence (``prepare``), for V_a C (``term``),
and for C_i (``forward``). C is (B, S, C); what it holds on padding nobody reads, since no weight
goes there.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jumok.nn.recurrent import GRU

__all__ = ["CoverageName", "Linguistic", "Neural", "build_coverage"]

CoverageName = Literal["none", "linguistic", "neural"]


class Linguistic(nn.Module):
    """How many symbols of those that h_j can make it has made; C is one number wide.

    C_ij = C_{i-1,j} + alpha_ij / Phi_j with the fertility Phi_j = N sigmoid(U_f h_j), at most N.
    """

    def __init__(self, key_size: int, attention_size: int, fertility: float) -> None:
        super().__init__()
        self.size, self.fertility = 1, fertility
        self.U_f = nn.Parameter(torch.zeros(key_size))
        self.V_a = nn.Parameter(torch.zeros(attention_size, 1))

    def prepare(self, states_BSD: Tensor) -> Tensor:
        """1 / Phi_j, (B, S, 1)."""
        fertile_BS1 = (states_BSD * self.U_f).sum(dim=-1, keepdim=True)
        # 1 / sigmoid(x) = 1 + exp(-x)
        return (1 + torch.exp(-fertile_BS1)) / self.fertility

    def term(self, coverage_BSC: Tensor) -> Tensor:
        """V_a C, (B, S, A)."""
        return coverage_BSC * self.V_a.squeeze(1)

    def forward(
        self, coverage_BSC: Tensor, alpha_BS: Tensor, query_BH: Tensor, prepared: Tensor
    ) -> Tensor:
        return coverage_BSC + alpha_BS.unsqueeze(2) * prepared


class Neural(nn.Module):
    """C_ij = GRU(C_{i-1,j}; [alpha_ij; h_j; s_{i-1}]), its gates learnt; C is d numbers wide."""

    def __init__(self, key_size: int, query_size: int, attention_size: int, size: int) -> None:
        super().__init__()
        self.size, self.parts = size, [1, key_size, query_size]
        self.gru = GRU(sum(self.parts), size)
        self.V_a = nn.Linear(size, attention_size, bias=False)

    def prepare(self, states_BSD: Tensor) -> Tensor:
        """What h_j gives to the gates at every step, (B, S, 3 d)."""
        _, of_state, _ = self.gru.W_x.split(self.parts, dim=1)
        return F.linear(states_BSD, of_state, self.gru.b)

    def term(self, coverage_BSC: Tensor) -> Tensor:
        """V_a C, (B, S, A)."""
        return self.V_a(coverage_BSC)

    def forward(
        self, coverage_BSC: Tensor, alpha_BS: Tensor, query_BH: Tensor, prepared: Tensor
    ) -> Tensor:
        of_alpha, _, of_query = self.gru.W_x.split(self.parts, dim=1)
        asked_B1G = F.linear(query_BH, of_query).unsqueeze(1)
        gates_BSG = prepared + asked_B1G + alpha_BS.unsqueeze(2) * of_alpha.squeeze(1)
        return self.gru.cell(gates_BSG, coverage_BSC)


def build_coverage(
    name: CoverageName,
    *,
    key_size: int,
    query_size: int,
    attention_size: int,
    size: int,
    fertility: float,
) -> Linguistic | Neural | None:
    """The coverage called ``name``; None for none."""
    match name:
        case "linguistic":
            return Linguistic(key_size, attention_size, fertility)
        case "neural":
            return Neural(key_size, query_size, attention_size, size)
        case "none":
            return None
