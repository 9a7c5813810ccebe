"""Three decoders that ask with a state of their own: RNNsearch, the conditional GRU, the notes'.

``RNNsearch`` is the authors' code of Bahdanau, Cho & Bengio 2015: GRU with the reset gate *before*
the product and z gating the new state, no biases on W_a, U_a or the context's matrices (A.2.2),

    s_i = (1 - z_i) s_{i-1} + z_i s'_i,  s'_i = tanh(W E y_{i-1} + U (r_i s_{i-1}) + C c_i)
    s_0 = tanh(W_s <-h_1)
    t'_i = U_o s_{i-1} + V_o E y_{i-1} + C_o c_i;  t_i = maxout(t'_i);  softmax(W_o t_i)

where the readout sees the *previous* state and y_0 embeds to zero. ``ConditionalGRU`` is its
successor in dl4mt and Nematus: s'_i = GRU_1(E y_{i-1}, s_{i-1}) asks, s_i = GRU_2(c_i, s'_i),
biases everywhere, s_0 = tanh(W mean_j h_j + b), readout W_o tanh(W_1 s_i + W_2 E y_{i-1}
+ W_3 c_i).
``Notes`` is the walk through a fully connected scoring network: score_j = W_a^T tanh(W_b s_{i-1}
+ W_c h_j), the encoder's last state unchanged as first query, [E y_{i-1}; c_i] into an LSTM
cell, START first, y_i from the new state s_i.

Each gives s_0 (``first``), one step in the papers' form (``step``: what W_o reads, alpha_i, the new
state) and all steps in one ``kernel`` (``fused``: what W_o reads, alpha).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jumok import kernels
from jumok.models.contract import Encoded, State
from jumok.nn.attention import Additive
from jumok.nn.recurrent import GRU, LSTM, mean_real

__all__ = [
    "DECODERS",
    "BahdanauEncoded",
    "BahdanauState",
    "ConditionalGRU",
    "Notes",
    "RNNsearch",
]

Attend = Callable[[Tensor], tuple[Tensor, Tensor]]  # query (B, n) -> (c_i, alpha_i)


class Sizes(Protocol):
    """What a decoder reads of the configuration."""

    @property
    def embedding_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def readout_size(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class BahdanauEncoded(Encoded):
    states_BSD: Tensor
    keys_BSA: Tensor  # U_a h_j, once per sentence
    s_0_BH: Tensor
    covering_BSX: Tensor | None = None  # what coverage needs of h_j, once per sentence


@dataclass(frozen=True, kw_only=True)
class BahdanauState(State):
    s_BH: Tensor
    c_BH: Tensor  # the cell of the notes' LSTM; zeros in the GRUs
    coverage_BSC: Tensor | None = None  # C_{i-1,j}, if there is coverage


class RNNsearch(nn.Module):
    """The decoder of the 2015 code."""

    kernel = "additive_gru"

    def __init__(self, config: Sizes, D: int, target_size: int) -> None:
        super().__init__()
        m, n, maxout = config.embedding_size, config.hidden_size, config.readout_size
        self.W_s = nn.Linear(n, n)
        self.gru = GRU(m, n, reset="before", z_gates="new")
        self.C = nn.Linear(D, 3 * n, bias=False)
        self.U_o = nn.Linear(n, 2 * maxout)
        self.V_o = nn.Linear(m, 2 * maxout, bias=False)
        self.C_o = nn.Linear(D, 2 * maxout, bias=False)
        self.W_o = nn.Linear(maxout, target_size)

    def first(self, last_BLH: Tensor, states_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        return torch.tanh(self.W_s(last_BLH[:, 1])).to(last_BLH.dtype)  # s_0 from <-h_1

    def _read(self, previous: Tensor, y: Tensor, c: Tensor) -> Tensor:
        t = self.U_o(previous) + self.V_o(y) + self.C_o(c)
        return t.unflatten(-1, (-1, 2)).amax(dim=-1)  # maxout over pairs

    def step(
        self, y: Tensor, state: BahdanauState, attend: Attend
    ) -> tuple[Tensor, Tensor, BahdanauState]:
        previous = state.s_BH
        c, alpha = attend(previous)
        s = self.gru.cell(F.linear(y, self.gru.W_x, self.gru.b) + self.C(c), previous)
        return self._read(previous, y, c), alpha, BahdanauState(s_BH=s, c_BH=state.c_BH)

    def fused(
        self, y_BTE: Tensor, encoded: BahdanauEncoded, align: Additive
    ) -> tuple[Tensor, Tensor]:
        found = kernels.additive_gru(
            y_BTE,
            encoded.keys_BSA.float(),
            encoded.states_BSD,
            encoded.mask_BS,
            weight_x_GI=torch.cat([self.gru.W_x, self.C.weight], dim=1),
            weight_h_GH=self.gru.W_h,
            bias_G=self.gru.b,
            weight_q_AH=align.W_a.weight,
            v_A=align.v_a,
            h0_BH=encoded.s_0_BH,
            reset="before",
            z_gates="new",
            precision=kernels.operand_precision(y_BTE),
        )
        previous_BTH = torch.cat([encoded.s_0_BH.unsqueeze(1), found.h_BTH[:, :-1]], dim=1)
        return self._read(previous_BTH, y_BTE, found.context_BTD), found.weights_BTS


class ConditionalGRU(nn.Module):
    """The decoder of dl4mt and Nematus."""

    kernel = "conditional_gru"

    def __init__(self, config: Sizes, D: int, target_size: int) -> None:
        super().__init__()
        m, n, size = config.embedding_size, config.hidden_size, config.readout_size
        self.W_init = nn.Linear(D, n)
        self.gru_1, self.gru_2 = GRU(m, n), GRU(D, n)
        self.W_1 = nn.Linear(n, size)
        self.W_2 = nn.Linear(m, size)
        self.W_3 = nn.Linear(D, size)
        self.W_o = nn.Linear(size, target_size)

    def first(self, last_BLH: Tensor, states_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        return torch.tanh(self.W_init(mean_real(states_BSD, mask_BS))).to(last_BLH.dtype)

    def _read(self, s: Tensor, y: Tensor, c: Tensor) -> Tensor:
        return torch.tanh(self.W_1(s) + self.W_2(y) + self.W_3(c))

    def step(
        self, y: Tensor, state: BahdanauState, attend: Attend
    ) -> tuple[Tensor, Tensor, BahdanauState]:
        query = self.gru_1.step(y, state.s_BH)
        c, alpha = attend(query)
        s = self.gru_2.step(c, query)
        return self._read(s, y, c), alpha, BahdanauState(s_BH=s, c_BH=state.c_BH)

    def fused(
        self, y_BTE: Tensor, encoded: BahdanauEncoded, align: Additive
    ) -> tuple[Tensor, Tensor]:
        found = kernels.conditional_gru(
            y_BTE,
            encoded.keys_BSA.float(),
            encoded.states_BSD,
            encoded.mask_BS,
            first=(self.gru_1.W_x, self.gru_1.W_h, self.gru_1.b),
            second=(self.gru_2.W_x, self.gru_2.W_h, self.gru_2.b),
            weight_q_AH=align.W_a.weight,
            v_A=align.v_a,
            h0_BH=encoded.s_0_BH,
            precision=kernels.operand_precision(y_BTE),
        )
        return self._read(found.h_BTH, y_BTE, found.context_BTD), found.weights_BTS


class Notes(nn.Module):
    """The notes' decoder: scoring network on the previous state, context into the LSTM cell."""

    kernel = "additive_lstm"

    def __init__(self, config: Sizes, D: int, target_size: int) -> None:
        super().__init__()
        self.lstm = LSTM(config.embedding_size + D, config.hidden_size)
        self.W_o = nn.Linear(config.hidden_size, target_size)

    def first(self, last_BLH: Tensor, states_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """The encoder's last state unchanged: no decoder output exists yet."""
        return torch.cat([last_BLH[:, 0], last_BLH[:, 1]], dim=-1)

    def step(
        self, y: Tensor, state: BahdanauState, attend: Attend
    ) -> tuple[Tensor, Tensor, BahdanauState]:
        c, alpha = attend(state.s_BH)
        s, cell = self.lstm.step(torch.cat([y, c.to(y.dtype)], dim=-1), state.s_BH, state.c_BH)
        return s, alpha, BahdanauState(s_BH=s, c_BH=cell)

    def fused(
        self, y_BTE: Tensor, encoded: BahdanauEncoded, align: Additive
    ) -> tuple[Tensor, Tensor]:
        found = kernels.additive_lstm(
            y_BTE,
            encoded.keys_BSA.float(),
            encoded.states_BSD,
            encoded.mask_BS,
            weight_x_GI=self.lstm.W_x,
            weight_h_GH=self.lstm.W_h,
            bias_G=self.lstm.b,
            weight_q_AH=align.W_a.weight,
            v_A=align.v_a,
            h0_BH=encoded.s_0_BH,
            precision=kernels.operand_precision(y_BTE),
        )
        return found.h_BTH, found.weights_BTS


DECODERS = {"rnnsearch": RNNsearch, "cgru": ConditionalGRU, "notes": Notes}
