"""Bahdanau, Cho & Bengio 2015: attention that asks with the previous state, under three decoders.

"Neural Machine Translation by Jointly Learning to Align and Translate", sections 3 and A.

    h_j = [->h_j; <-h_j]                                       annotations
    e_ij = v_a^T tanh(W_a s_{i-1} + U_a h_j)                   the alignment model (A.1.2)
    alpha_ij = softmax_j(e_ij);   c_i = sum_j alpha_ij h_j                     (6), (5)

Which state asks (here s_{i-1}), what becomes of c_i and how y_i is read out is the decoder's:
``rnnsearch`` (the authors' code), ``cgru`` and ``notes`` stand in ``bahdanau_decoders.py``.

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

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok import kernels
from jumok.models.bahdanau_decoders import DECODERS, BahdanauEncoded, BahdanauState
from jumok.models.contract import Output, Step, Want, read_out, unroll
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
from jumok.nn.recurrent import operand_precision
from jumok.nn.sources import reading
from jumok.nn.stacks import EncoderStack, direction_size
from jumok.records import BOS, Batch, Source


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
    normalize: Normalize = "softmax"
    """How scores become weights [softmax]."""
    dropout: float = 0.0
    """[0] On embeddings and on the readout's hidden layer."""

    def __post_init__(self) -> None:
        direction_size(self.hidden_size, self.preset == "notes", "concat")


class Bahdanau(nn.Module):
    """Encoder and alignment model of the paper with one of three decoders."""

    paper = "step"

    def __init__(
        self, config: BahdanauConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.maps = (weights_map("alpha_ij, equation 6", config.normalize),)
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
        self.norm = context_norm(config.normalize, D)

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
            alpha = weigh(e, over_keys(encoded.mask_BS, query), self.config.normalize)  # (6)
            return self.norm(mix(alpha, encoded.states_BSD)), alpha  # (5)

        hidden, weights, after = self.decoder.step(y, state, attend)
        hidden = dropped(hidden, self.config.dropout, "readout", noise)
        logits = readout.logits(hidden, self.decoder.W_o.weight, self.decoder.W_o.bias)
        return Step(logits, weights if want & Want.WEIGHTS else None, after)

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        refusal = kernels.serves(self.decoder.kernel, self.source_embedding)
        if self.config.normalize != "softmax":
            refusal = f"weights by {self.config.normalize}"
        if refusal is not None:
            took("bahdanau", f"unrolled: {refusal}")
            return unroll(self, batch, noise=noise, want=want)
        encoded = self.encode(batch.source, noise=noise)
        y = self._embedded(batch.target_in_BT)
        y = dropped(y, self.config.dropout, "target", noise)
        took("bahdanau", f"native {operand_precision(y)}")
        hidden, weights = self.decoder.fused(y, encoded, self.align)
        hidden = dropped(hidden, self.config.dropout, "readout", noise)
        W_o = self.decoder.W_o
        return read_out(hidden, W_o.weight, W_o.bias, batch, want=want, weights_BTS=weights)
