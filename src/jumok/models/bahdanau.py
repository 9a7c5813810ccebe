"""Bahdanau, Cho & Bengio 2015: attention that asks with the previous state; three decoders.

"Neural Machine Translation by Jointly Learning to Align and Translate", sections 3 and A.

    h_j = [->h_j; <-h_j]                                       annotations
    e_ij = v_a^T tanh(W_a s_{i-1} + U_a h_j)                   the alignment model (A.1.2)
    alpha_ij = softmax_j(e_ij);   c_i = sum_j alpha_ij h_j                     (6), (5)

``rnnsearch`` is the authors' code: GRU with the reset gate *before* the product and z gating
the new state, no biases on W_a, U_a or the context's matrices,

    s_i = (1 - z_i) s_{i-1} + z_i s'_i,  s'_i = tanh(W E y_{i-1} + U (r_i s_{i-1}) + C c_i)
    s_0 = tanh(W_s <-h_1)
    t'_i = U_o s_{i-1} + V_o E y_{i-1} + C_o c_i;  t_i = maxout(t'_i);  softmax(W_o t_i)

where the readout sees the *previous* state and y_0 embeds to zero. ``cgru`` is its successor in
dl4mt and Nematus: s'_i = GRU_1(E y_{i-1}, s_{i-1}) asks, s_i = GRU_2(c_i, s'_i), biases
everywhere, s_0 = tanh(W mean_j h_j + b), readout W_o tanh(W_1 s_i + W_2 E y_{i-1} + W_3 c_i).
``notes`` is the walk through a fully connected scoring network: score_j = W_a^T tanh(W_b s_{i-1}
+ W_c h_j), the encoder's last state unchanged as first query, [E y_{i-1}; c_i] into an LSTM
cell, START first, y_i from the new state s_i.

=============  ==============  ===============================================
paper          here            shape
=============  ==============  ===============================================
h_j            states_BSD      (B, S, 2n); the end symbol is an annotation too
s_i            s_BH            (B, n)
alpha_i, c_i   weights, c      (B, S), (B, 2n)
=============  ==============  ===============================================

Where we depart: rnnsearch reads out from 500 straight to V, as in the paper (the code has a layer
of rank 620 between); cgru's biases stand beside the input, where GRU_2's n-bias is reset there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok import kernels
from jumok.models.contract import Encoded, Output, State, Step, Want, read_out, unroll
from jumok.nn import readout
from jumok.nn.attention import Additive, mix, over_keys, weigh
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took
from jumok.nn.recurrent import GRU, LSTM, operand_precision
from jumok.nn.sources import reading
from jumok.nn.stacks import EncoderStack, direction_size
from jumok.records import BOS, Batch, MapSpec, Source


@dataclass(frozen=True, kw_only=True)
class BahdanauConfig:
    """Sizes of the paper in brackets."""

    preset: Literal["rnnsearch", "cgru", "notes"] = "rnnsearch"
    """Which decoder: the 2015 code, the conditional GRU, or the notes' walk-through."""
    embedding_size: int = 128
    """m [620]"""
    hidden_size: int = 256
    """n [1000]: the decoder; each direction of the encoder has n too (notes: n / 2)."""
    attention_size: int = 256
    """n' [1000]: hidden units of the alignment model."""
    readout_size: int = 128
    """l [500]: after maxout (rnnsearch) or tanh (cgru)."""
    dropout: float = 0.0
    """[0] On embeddings and on the readout's hidden layer."""

    def __post_init__(self) -> None:
        direction_size(self.hidden_size, self.preset == "notes", "concat")


@dataclass(frozen=True, kw_only=True)
class BahdanauEncoded(Encoded):
    states_BSD: Tensor
    keys_BSA: Tensor  # U_a h_j, once per sentence
    s_0_BH: Tensor


@dataclass(frozen=True, kw_only=True)
class BahdanauState(State):
    s_BH: Tensor
    c_BH: Tensor  # the cell of the notes' LSTM; zeros in the GRUs


Attend = Callable[[Tensor], tuple[Tensor, Tensor]]  # query (B, n) -> (c_i, alpha_i)


class RNNsearch(nn.Module):
    """The decoder of the 2015 code."""

    def __init__(self, config: BahdanauConfig, D: int, target_size: int) -> None:
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

    def step(
        self, y: Tensor, state: BahdanauState, attend: Attend
    ) -> tuple[Tensor, Tensor, BahdanauState]:
        previous = state.s_BH
        c, alpha = attend(previous)
        s = self.gru.cell(F.linear(y, self.gru.W_x, self.gru.b) + self.C(c), previous)
        t = self.U_o(previous) + self.V_o(y) + self.C_o(c)
        hidden = t.unflatten(-1, (-1, 2)).amax(dim=-1)  # maxout over pairs
        return hidden, alpha, BahdanauState(s_BH=s, c_BH=state.c_BH)


class ConditionalGRU(nn.Module):
    """The decoder of dl4mt and Nematus."""

    def __init__(self, config: BahdanauConfig, D: int, target_size: int) -> None:
        super().__init__()
        m, n, size = config.embedding_size, config.hidden_size, config.readout_size
        self.W_init = nn.Linear(D, n)
        self.gru_1, self.gru_2 = GRU(m, n), GRU(D, n)
        self.W_1 = nn.Linear(n, size)
        self.W_2 = nn.Linear(m, size)
        self.W_3 = nn.Linear(D, size)
        self.W_o = nn.Linear(size, target_size)

    def first(self, last_BLH: Tensor, states_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        real_BS1 = mask_BS.unsqueeze(-1).to(states_BSD.dtype)
        mean_BD = (states_BSD * real_BS1).sum(dim=1) / real_BS1.sum(dim=1).clamp(min=1)
        return torch.tanh(self.W_init(mean_BD)).to(last_BLH.dtype)

    def step(
        self, y: Tensor, state: BahdanauState, attend: Attend
    ) -> tuple[Tensor, Tensor, BahdanauState]:
        query = self.gru_1.step(y, state.s_BH)
        c, alpha = attend(query)
        s = self.gru_2.step(c, query)
        hidden = torch.tanh(self.W_1(s) + self.W_2(y) + self.W_3(c))
        return hidden, alpha, BahdanauState(s_BH=s, c_BH=state.c_BH)


class Notes(nn.Module):
    """The notes' decoder: scoring network on the previous state, context into the LSTM cell."""

    def __init__(self, config: BahdanauConfig, D: int, target_size: int) -> None:
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
        self, y_BTE: Tensor, state: BahdanauState, encoded: BahdanauEncoded, align: Additive
    ) -> tuple[Tensor, Tensor]:
        """All steps in one kernel: (s, alpha)."""
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
            h0_BH=state.s_BH,
            precision=operand_precision(y_BTE),
        )
        return found.h_BTH, found.weights_BTS


DECODERS = {"rnnsearch": RNNsearch, "cgru": ConditionalGRU, "notes": Notes}


class Bahdanau(nn.Module):
    """Encoder and alignment model of the paper with one of three decoders."""

    paper = "step"
    maps = (MapSpec("weights", "TS", "cross", "alpha_ij, equation 6", is_weights=True),)

    def __init__(
        self, config: BahdanauConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        m, n, notes = config.embedding_size, config.hidden_size, config.preset == "notes"
        self.source_embedding = nn.Parameter(torch.zeros(source_size, m))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, m))
        gates = ("before", "new") if config.preset == "rnnsearch" else ("after", "old")
        self.encoder = EncoderStack(
            "lstm" if notes else "gru",
            m,
            n // 2 if notes else n,
            bidirectional=True,
            reset=gates[0],
            z_gates=gates[1],
            cells=False,
        )
        D = self.encoder.output_size
        self.align = Additive(n, D, config.attention_size, bias=config.preset == "cgru")
        self.decoder = DECODERS[config.preset](config, D, target_size)
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        """The code's rule: recurrent orthogonal, W_a, U_a N(0, 0.001^2), v_a 0, rest N(0, 0.01^2).

        The notes name no rule: theirs is N(0, 1 / inputs), v_a included.
        """
        notes = self.config.preset == "notes"
        for name, weight in self.named_parameters():
            if weight.dim() == 1:
                init.zeros_(weight)
            elif name.endswith("W_h"):
                for block in weight.data.split(weight.shape[1]):
                    init.orthogonal_(block, generator=generator)
            else:
                theirs = 0.001 if name.startswith("align") else 0.01
                std = weight.shape[1] ** -0.5 if notes else theirs
                init.normal_(weight, std=std, generator=generator)
        if notes:
            init.normal_(self.align.v_a, std=len(self.align.v_a) ** -0.5, generator=generator)

    def _embedded(self, token: Tensor) -> Tensor:
        """E y_{i-1}; y_0, the start symbol, embeds to zero in both GRU decoders."""
        y = F.embedding(token, self.target_embedding)
        return y if self.config.preset == "notes" else y * (token != BOS).unsqueeze(-1)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> BahdanauEncoded:
        read = reading(source, self.source_embedding, reverse=False)
        x = dropped(read.embedded_BSE, self.config.dropout, "source", noise)
        h = self.encoder(x, read.mask_BS, noise=noise)
        return BahdanauEncoded(
            mask_BS=read.mask_BS,
            states_BSD=h.states_BSD,
            keys_BSA=self.align.keys(h.states_BSD),
            s_0_BH=self.decoder.first(h.h_BLH, h.states_BSD, read.mask_BS),
        )

    def start(self, encoded: BahdanauEncoded) -> BahdanauState:
        return BahdanauState(s_BH=encoded.s_0_BH, c_BH=torch.zeros_like(encoded.s_0_BH))

    def step(
        self,
        token_B: Tensor,
        state: BahdanauState,
        encoded: BahdanauEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        y = self._embedded(token_B)
        y = dropped(y, self.config.dropout, "target", noise)

        def attend(query: Tensor) -> tuple[Tensor, Tensor]:
            e = self.align(query, encoded.keys_BSA)
            alpha = weigh(e, over_keys(encoded.mask_BS, query))  # (6)
            return mix(alpha, encoded.states_BSD), alpha  # (5)

        hidden, weights, after = self.decoder.step(y, state, attend)
        hidden = dropped(hidden, self.config.dropout, "readout", noise)
        logits = readout.logits(hidden, self.decoder.W_o.weight, self.decoder.W_o.bias)
        return Step(logits, weights if want & Want.WEIGHTS else None, after)

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        refusal = kernels.serves("additive_lstm", self.source_embedding)
        if self.config.preset != "notes":
            refusal = f"preset = {self.config.preset} has no fused kernel"
        if refusal is not None:
            took("bahdanau", f"unrolled: {refusal}")
            return unroll(self, batch, noise=noise, want=want)
        encoded = self.encode(batch.source, noise=noise)
        y = self._embedded(batch.target_in_BT)
        y = dropped(y, self.config.dropout, "target", noise)
        took("bahdanau", f"native {operand_precision(y)}")
        hidden, weights = self.decoder.fused(y, self.start(encoded), encoded, self.align)
        hidden = dropped(hidden, self.config.dropout, "readout", noise)
        W_o = self.decoder.W_o
        return read_out(hidden, W_o.weight, W_o.bias, batch, want=want, weights_BTS=weights)
