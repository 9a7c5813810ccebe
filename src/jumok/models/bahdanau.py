"""Bahdanau, Cho & Bengio 2015: attention that asks with the previous state, under three decoders.

"Neural Machine Translation by Jointly Learning to Align and Translate", sections 3 and A.

    h_j = [->h_j; <-h_j]                                       annotations
    e_ij = v_a^T tanh(W_a s_{i-1} + U_a h_j)                   the alignment model (A.1.2)
    alpha_ij = softmax_j(e_ij);   c_i = sum_j alpha_ij h_j                     (6), (5)

Which state asks (here s_{i-1}), what becomes of c_i and how y_i is read out is the decoder's:
``rnnsearch`` (the authors' code), ``cgru`` and ``notes`` stand in ``bahdanau_decoders.py``.
With ``coverage`` (Tu et al. 2016), e_ij also reads what h_j has been given: ``nn/coverage.py``.

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

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok import kernels
from jumok.errors import ConfigError
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
from jumok.nn.coverage import CoverageName, build_coverage
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took
from jumok.nn.recurrent import reading
from jumok.nn.stacks import EncoderStack, direction_size
from jumok.records import BOS, NO_MAPS, Batch, MapSpec, Source

READOUT = ("decoder.W_1.", "decoder.W_2.", "decoder.W_3.")
"""Of the conditional GRU."""


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
    coverage: CoverageName = "none"
    """Tu et al. 2016: attention knows what it has attended to, by fertilities or by a GRU."""
    coverage_size: int = 10
    """[10] d of the neural coverage."""
    fertility: float = 2.0
    """[2] N: at most so many symbols of the target from one of the source (linguistic)."""

    def __post_init__(self) -> None:
        direction_size(self.hidden_size, self.preset == "notes", "concat")
        if self.coverage_size < 1 or self.fertility <= 0:
            raise ConfigError(
                f"`coverage_size` ({self.coverage_size}) must be at least 1 and `fertility` "
                f"({self.fertility:g}) above 0."
            )

    def maps(self) -> tuple[MapSpec, ...]:
        weights = weights_map("alpha_ij, equation 6", self.normalize)
        if self.coverage != "linguistic":
            return (weights,)
        about = "C_{i-1,j}: what was made of h_j, in shares of its fertility"
        return (weights, MapSpec("coverage", "TS", "cross", about, sums_to_one=False))


class Bahdanau(nn.Module):
    """Encoder and alignment model of the paper with one of three decoders."""

    paper = "step"

    def __init__(
        self, config: BahdanauConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.maps = config.maps()
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
        self.cover = build_coverage(
            config.coverage,
            key_size=D,
            query_size=n,
            attention_size=config.attention_size,
            size=config.coverage_size,
            fertility=config.fertility,
        )
        self._initialise(torch.Generator().manual_seed(seed))
        self.norm = context_norm(config.normalize, D)

    def _initialise(self, generator: torch.Generator) -> None:
        """Biases 0, recurrent matrices orthogonal; the rest is each code's own.

        rnnsearch: W_a, U_a N(0, 0.001^2), v_a 0, others N(0, 0.01^2). cgru: what is square is
        orthogonal, but for the readout; others, v_a too, N(0, 0.01^2). The notes name no rule:
        theirs is N(0, 1 / inputs), v_a included.
        """
        preset = self.config.preset
        for name, weight in self.named_parameters():
            last = name.rpartition(".")[2]
            if weight.dim() == 1:
                init.zeros_(weight)
            elif last == "W_h" or (last == "W_x" and preset == "cgru"):
                for gate in weight.data.chunk(4 if preset == "notes" else 3):
                    _drawn(gate, generator)
            elif preset == "cgru" and not name.startswith(READOUT):
                _drawn(weight, generator)
            elif preset == "notes":
                init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)
            else:
                tiny = preset == "rnnsearch" and name.startswith("align")
                init.normal_(weight, std=0.001 if tiny else 0.01, generator=generator)
        if preset != "rnnsearch":
            std = 0.01 if preset == "cgru" else len(self.align.v_a) ** -0.5
            init.normal_(self.align.v_a, std=std, generator=generator)

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
            covering_BSX=None if self.cover is None else self.cover.prepare(h.states_BSD),
        )

    def start(self, encoded: BahdanauEncoded) -> BahdanauState:
        s_0, coverage = encoded.s_0_BH, None
        if self.cover is not None:
            coverage = s_0.new_zeros(*encoded.mask_BS.shape, self.cover.size)
        return BahdanauState(s_BH=s_0, c_BH=torch.zeros_like(s_0), coverage_BSC=coverage)

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

        keys_BSA, covered, maps = encoded.keys_BSA, state.coverage_BSC, NO_MAPS
        if self.cover is not None and covered is not None:
            keys_BSA = keys_BSA + self.cover.term(covered)

        def attend(query: Tensor) -> tuple[Tensor, Tensor]:
            e = self.align(query, keys_BSA)
            alpha = weigh(e, over_keys(encoded.mask_BS, query), self.config.normalize)  # (6)
            return self.norm(mix(alpha, encoded.states_BSD)), alpha  # (5)

        hidden, weights, after = self.decoder.step(y, state, attend)
        hidden = dropped(hidden, self.config.dropout, "readout", noise)
        logits = readout.logits(hidden, self.decoder.W_o.weight, self.decoder.W_o.bias)
        if self.cover is not None and covered is not None:
            now = self.cover(covered, weights, state.s_BH, encoded.covering_BSX)
            after = replace(after, coverage_BSC=now)
            if want & Want.MAPS and self.config.coverage == "linguistic":
                maps = {"coverage": covered.squeeze(2)}
        return Step(logits, weights if want & Want.WEIGHTS else None, after, maps)

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        refusal = kernels.serves(self.decoder.kernel, self.source_embedding)
        if self.config.normalize != "softmax":
            refusal = f"weights by {self.config.normalize}"
        if self.cover is not None:
            refusal = "coverage comes back into every step"
        if refusal is not None:
            took("bahdanau", f"unrolled: {refusal}")
            return unroll(self, batch, noise=noise, want=want)
        encoded = self.encode(batch.source, noise=noise)
        y = self._embedded(batch.target_in_BT)
        y = dropped(y, self.config.dropout, "target", noise)
        took("bahdanau", f"native {kernels.operand_precision(y)}")
        hidden, weights = self.decoder.fused(y, encoded, self.align)
        hidden = dropped(hidden, self.config.dropout, "readout", noise)
        W_o = self.decoder.W_o
        return read_out(hidden, W_o.weight, W_o.bias, batch, want=want, weights_BTS=weights)


def _drawn(weight: Tensor, generator: torch.Generator) -> None:
    """Orthogonal where it is square, else N(0, 0.01^2)."""
    if weight.shape[0] == weight.shape[1]:
        init.orthogonal_(weight, generator=generator)
    else:
        init.normal_(weight, std=0.01, generator=generator)
