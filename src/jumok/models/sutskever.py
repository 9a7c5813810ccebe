"""Sutskever, Vinyals & Le 2014: a deep LSTM into a deep LSTM, the source read backwards.

"Sequence to Sequence Learning with Neural Networks". No attention: all layers' last (h, c)
are copied, layer by layer, and v = (h, c) is all that the decoder ever sees of the source.

    (h^l, c^l)_0 of the decoder = (h^l, c^l)_S of the encoder             for every layer l
    p(y_t | v, y_1 .. y_{t-1}) = softmax(W h^L_t)                         (1)

The paper: 4 layers of 1000, embeddings of 1000, all weights U[-0.08, 0.08], source reversed,
end symbol on both sides, no dropout. The defaults below are that wiring at a laptop's size;
the paper's sizes are named in each field.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.models.contract import Encoded, Output, State, Step, Want, read_out
from jumok.nn import readout
from jumok.nn.noise import Noise
from jumok.nn.recurrent import reading
from jumok.nn.stacks import DecoderStack, EncoderStack
from jumok.records import Batch, MapSpec, Source


@dataclass(frozen=True, kw_only=True)
class SutskeverConfig:
    """The paper's wiring; its sizes in brackets."""

    embedding_size: int = 128
    """[1000]"""
    hidden_size: int = 256
    """[1000]"""
    num_layers: int = 4
    """[4], on both sides."""
    reverse_source: bool = True
    """[True]: worth 4.7 BLEU there, 25.9 -> 30.6."""
    skip: bool = False
    """[False] Add each layer's input to its output."""
    dropout: float = 0.0
    """[0] On the input of each layer."""
    initial_range: float = 0.08
    """[0.08] Weights are drawn from U[-r, r]."""


@dataclass(frozen=True, kw_only=True)
class SutskeverEncoded(Encoded):
    h_BLH: Tensor
    c_BLH: Tensor


@dataclass(frozen=True, kw_only=True)
class SutskeverState(State):
    h_BLH: Tensor
    c_BLH: Tensor


class Sutskever(nn.Module):
    """Deep LSTM encoder-decoder."""

    paper = "step"
    maps: tuple[MapSpec, ...] = ()

    def __init__(
        self, config: SutskeverConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        E, H, L = config.embedding_size, config.hidden_size, config.num_layers
        self.source_embedding = nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        self.encoder = EncoderStack("lstm", E, H, L, skip=config.skip, dropout=config.dropout)
        self.decoder = DecoderStack(E, H, L, skip=config.skip, dropout=config.dropout)
        self.W = nn.Linear(H, target_size)
        generator = torch.Generator().manual_seed(seed)
        r = config.initial_range
        for weight in self.parameters():
            init.uniform_(weight, -r, r, generator=generator)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> SutskeverEncoded:
        read = reading(source, self.source_embedding, reverse=self.config.reverse_source)
        top = self.encoder(read.embedded_BSE, read.mask_BS, noise=noise)
        assert top.c_BLH is not None
        return SutskeverEncoded(mask_BS=read.mask_BS, h_BLH=top.h_BLH, c_BLH=top.c_BLH)

    def start(self, encoded: SutskeverEncoded) -> SutskeverState:
        return SutskeverState(h_BLH=encoded.h_BLH, c_BLH=encoded.c_BLH)

    def step(
        self,
        token_B: Tensor,
        state: SutskeverState,
        encoded: SutskeverEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        y = F.embedding(token_B, self.target_embedding)
        h, h_BLH, c_BLH = self.decoder.step(y, state.h_BLH, state.c_BLH, noise)
        logits = readout.logits(h, self.W.weight, self.W.bias)
        return Step(logits, None, SutskeverState(h_BLH=h_BLH, c_BLH=c_BLH))

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        state = self.start(self.encode(batch.source, noise=noise))
        y = F.embedding(batch.target_in_BT, self.target_embedding)
        h = self.decoder(y, state.h_BLH, state.c_BLH, noise)
        return read_out(h, self.W.weight, self.W.bias, batch, want=want)  # (1)
