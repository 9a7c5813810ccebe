"""Wu et al. 2016, GNMT: deep residual LSTMs; the decoder's bottom layer asks, all layers read.

"Google's Neural Machine Translation System", sections 3 and 7.

    encoder: layer 1 reads both ways, x = [->h; <-h]; the layers above one way            (3.2)
    x^i_t = m^i_t + x^{i-1}_t, m^i = LSTM_i(x^{i-1}), from the third layer on             (3.1)
    s_t = AttentionFunction(y_{i-1}, x_t);  p_t = exp(s_t) / sum exp(s);  a_i = sum p_t x_t (4)
    AttentionFunction: one hidden layer, v . tanh(W_q y + W_k x)                    (section 3)
    p(y_i | y_<i, x) = softmax(W_s x^L_i)                                           (section 3)
    rank = log P(Y|X) / lp(Y) + cp(X; Y)   ``search/penalties.py``                        (14)

Whole numbers are equations, 3.1 and 3.2 sections. y_{i-1} is the bottom decoder layer's output.
Which one asks, and who reads a_i, is ``wiring``:

============  ====================  ================  =============  =============================
wiring        the query             bottom reads      others read    whose
============  ====================  ================  =============  =============================
parallel      y_i                   E y               x, a_i         NVIDIA's GNMT v2
paper         y_{i-1}               E y, a_i          x, a_i         Wu et al. 2016
tf_gnmt_v2    y_i                   E y, a_{i-1}      x, a_i         tf-nmt, ``gnmt_v2``
tf_gnmt       y_i                   E y, a_{i-1}      x, a_{i-1}     tf-nmt, ``gnmt``
============  ====================  ================  =============  =============================

In ``parallel`` nothing of attention comes back into the layer that asks: under teacher forcing
the decoder runs layer by layer over all positions, and attention is one product. It is the
default; the paper's own recurrence goes step by step.

========  ==============  ==============
paper     here            shape
========  ==============  ==============
x_t       states_BSH      (B, S, H)
y_i       m               (B, H)
p, a_i    weights, a      (B, S), (B, H)
========  ==============  ==============

Where we depart: sizes (in brackets); no clipping of cells and logits, no refinement by expected
reward; pieces of words are the data's business (``data.source_unit = "unigram"``). Which state
the decoder starts from the paper does not say: zeros (NVIDIA's) or the encoder's (tf-nmt's).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.errors import ConfigError
from jumok.models.contract import Encoded, Output, State, Step, Want, read_out, unroll
from jumok.nn import readout
from jumok.nn.attention import (
    Additive,
    Normalize,
    context_norm,
    mix,
    over_keys,
    weigh,
    weights_map,
)
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took
from jumok.nn.recurrent import LSTM, reading
from jumok.nn.stacks import EncoderStack, state_zeros
from jumok.records import Batch, Source

RESIDUAL_FROM = 2
"""The first layer, from 0, to whose output its input is added."""


@dataclass(frozen=True, kw_only=True)
class GNMTConfig:
    """The paper's choices in brackets; NVIDIA's after a semicolon where they differ.

    The paper's own model is wiring = paper, score = additive, num_layers = 8, all three sizes
    1024, initial_range = 0.04 and embedding_std = none; its search length_alpha = 0.2 and
    coverage_penalty = 0.2.
    """

    embedding_size: int = 128
    """[1024]"""
    hidden_size: int = 256
    """[1024]"""
    num_layers: int = 2
    """[8; 4] On both sides, the encoder's two-way layer included; from 2."""
    wiring: Literal["parallel", "paper", "tf_gnmt_v2", "tf_gnmt"] = "parallel"
    """Which state asks and which layers read what was found [paper; parallel]."""
    score: Literal["normed", "additive"] = "normed"
    """[additive; normed] Normed has g v / |v| for v, and a bias beside the two products."""
    attention_size: int | None = None
    """[1024] Hidden units of the score; none = the hidden size."""
    normalize: Normalize = "softmax"
    """How scores become weights [softmax]."""
    context_to_output: bool = False
    """[False] The layer before the softmax reads the context as well, as in the notes' deep
    decoder."""
    bridge: Literal["zero", "copy"] = "zero"
    """[not said; zero] What the decoder starts from. Copy: the encoder's last states, layer by
    layer, the backward one of its first."""
    dropout: float = 0.2
    """[0.2 or 0.3; 0.2] On the input of each layer, the softmax included."""
    initial_range: float = 0.1
    """[0.04; 0.1] Weights are drawn from U[-r, r]."""
    embedding_std: float | None = None
    """[none] Draw embeddings from N(0, this^2) instead."""

    def __post_init__(self) -> None:
        if self.num_layers < 2:
            raise ConfigError(
                f"`num_layers` must be at least 2, but is {self.num_layers}: one layer asks, and "
                "those above it read."
            )


@dataclass(frozen=True, kw_only=True)
class GNMTEncoded(Encoded):
    states_BSH: Tensor
    keys_BSA: Tensor
    h_BLH: Tensor
    c_BLH: Tensor


@dataclass(frozen=True, kw_only=True)
class GNMTState(State):
    h_BLH: Tensor
    c_BLH: Tensor
    context_BH: Tensor
    """a_{i-1}"""


class Encoder(nn.Module):
    """A layer that reads both ways and one-way layers on top of it (3.2)."""

    def __init__(self, config: GNMTConfig) -> None:
        super().__init__()
        E, H, drop = config.embedding_size, config.hidden_size, config.dropout
        self.bottom = EncoderStack("lstm", E, H, bidirectional=True, dropout=drop)
        self.upper = EncoderStack(  # residual wherever widths agree: from the third layer on
            "lstm", 2 * H, H, config.num_layers - 1, skip=True, dropout=drop, site="encoder/upper"
        )

    def forward(
        self, x_BSE: Tensor, mask_BS: Tensor, noise: Noise | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Top states and the last h and c of every layer, (B, L, H)."""
        bottom = self.bottom(x_BSE, mask_BS, noise=noise)
        upper = self.upper(bottom.states_BSD, mask_BS, noise=noise)
        h_BLH = torch.cat([bottom.h_BLH[:, 1:], upper.h_BLH], dim=1)
        return upper.states_BSD, h_BLH, torch.cat([bottom.c_BLH[:, 1:], upper.c_BLH], dim=1)


class GNMT(nn.Module):
    """Deep encoder, deep decoder, one attention that the decoder's bottom layer asks for."""

    paper = "step"

    def __init__(
        self, config: GNMTConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.maps = (weights_map("p_t, equation 4", config.normalize),)
        E, H, L = config.embedding_size, config.hidden_size, config.num_layers
        self.source_embedding = nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        self.encoder = Encoder(config)
        A, normed = config.attention_size or H, config.score == "normed"
        self.score = Additive(H, H, A, bias=normed, normed=normed)
        first = E if config.wiring == "parallel" else E + H
        self.decoder = nn.ModuleList(LSTM(first if n == 0 else 2 * H, H) for n in range(L))
        self.W_s = nn.Linear(2 * H if config.context_to_output else H, target_size)
        generator = torch.Generator().manual_seed(seed)
        r = config.initial_range
        for name, weight in self.named_parameters():
            if config.embedding_std is not None and name.endswith("embedding"):
                init.normal_(weight, std=config.embedding_std, generator=generator)
            elif name == "score.U_a.bias":
                init.zeros_(weight)
            elif weight.dim() > 0:
                init.uniform_(weight, -r, r, generator=generator)
        self.norm = context_norm(config.normalize, H)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> GNMTEncoded:
        read = reading(source, self.source_embedding, reverse=False)
        x, h_BLH, c_BLH = self.encoder(read.embedded_BSE, read.mask_BS, noise)
        if self.config.bridge == "zero":
            h_BLH, c_BLH = torch.zeros_like(h_BLH), torch.zeros_like(c_BLH)
        return GNMTEncoded(
            mask_BS=read.mask_BS,
            states_BSH=x,
            keys_BSA=self.score.keys(x),
            h_BLH=h_BLH,
            c_BLH=c_BLH,
        )

    def start(self, encoded: GNMTEncoded) -> GNMTState:
        h_0 = encoded.h_BLH
        context = state_zeros(encoded.states_BSH, h_0.shape[-1])
        return GNMTState(h_BLH=h_0, c_BLH=encoded.c_BLH, context_BH=context)

    def step(
        self,
        token_B: Tensor,
        state: GNMTState,
        encoded: GNMTEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        y = F.embedding(token_B, self.target_embedding)
        last = state.context_BH  # a_{i-1}
        match self.config.wiring:
            case "parallel":
                m, c = self._layer(0, y, state, noise)
                a, weights = self._attend(m, encoded)
                read = a
            case "paper":  # y_{i-1} of (4): the state of the step before
                a, weights = self._attend(state.h_BLH[:, 0], encoded)
                m, c = self._layer(0, torch.cat([y, a], dim=-1), state, noise)
                read = a
            case "tf_gnmt_v2" | "tf_gnmt" as wiring:
                m, c = self._layer(0, torch.cat([y, last], dim=-1), state, noise)
                a, weights = self._attend(m, encoded)
                read = last if wiring == "tf_gnmt" else a
        x, h_new, c_new = m, [m], [c]
        for n in range(1, self.config.num_layers):
            m, c = self._layer(n, torch.cat([x, read], dim=-1), state, noise)
            x = m + x if n >= RESIDUAL_FROM else m  # (3.1)
            h_new.append(m)
            c_new.append(c)
        logits = readout.logits(self._read(x, a, noise), self.W_s.weight, self.W_s.bias)
        h_BLH, c_BLH = torch.stack(h_new, dim=1), torch.stack(c_new, dim=1)
        after = GNMTState(h_BLH=h_BLH, c_BLH=c_BLH, context_BH=a.to(last.dtype))
        return Step(logits, weights if want & Want.WEIGHTS else None, after)

    def _layer(
        self, n: int, below: Tensor, state: GNMTState, noise: Noise | None
    ) -> tuple[Tensor, Tensor]:
        """Layer n one step further: (m, its cell)."""
        below = dropped(below, self.config.dropout, f"decoder/{n}", noise)
        h_BH, c_BH = state.h_BLH[:, n], state.c_BLH[:, n]
        found: tuple[Tensor, Tensor] = self.decoder[n].step(below, h_BH, c_BH)
        return found

    def _attend(self, query: Tensor, encoded: GNMTEncoded) -> tuple[Tensor, Tensor]:
        """(a, p) for queries (B, H) or (B, T, H) (4)."""
        s = self.score(query, encoded.keys_BSA)
        p = weigh(s, over_keys(encoded.mask_BS, query), self.config.normalize)
        return self.norm(mix(p, encoded.states_BSH)), p

    def _read(self, x: Tensor, a: Tensor, noise: Noise | None) -> Tensor:
        """What the layer before the softmax reads."""
        seen = torch.cat([x, a.to(x.dtype)], dim=-1) if self.config.context_to_output else x
        return dropped(seen, self.config.dropout, "readout", noise)

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        if self.config.wiring != "parallel":
            took("gnmt", f"unrolled: in {self.config.wiring} attention comes back into every step")
            return unroll(self, batch, noise=noise, want=want)
        encoded = self.encode(batch.source, noise=noise)

        def run(n: int, below: Tensor) -> Tensor:  # a layer, all positions at once
            below = dropped(below, self.config.dropout, f"decoder/{n}", noise)
            h_BH, c_BH = encoded.h_BLH[:, n], encoded.c_BLH[:, n]
            m: Tensor = self.decoder[n](below, h_BH, c_BH, cells=False)[0]
            return m

        x = run(0, F.embedding(batch.target_in_BT, self.target_embedding))
        a, weights = self._attend(x, encoded)
        for n in range(1, self.config.num_layers):
            m = run(n, torch.cat([x, a], dim=-1))
            x = m + x if n >= RESIDUAL_FROM else m  # (3.1)
        seen = self._read(x, a, noise)
        return read_out(seen, self.W_s.weight, self.W_s.bias, batch, want=want, weights_BTS=weights)
