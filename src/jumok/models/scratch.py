"""The book's encoder-decoder (chapter 7): plain and peeky, the fixed-size bottleneck itself.

Saito, "Deep Learning from Scratch 2", chapter 7. One LSTM reads the source and hands over its
last state h_S, whatever the length; another starts from it (its cell at zero) and writes:

    plain   x_t = E y_{t-1};          d_t = LSTM(x_t, d_{t-1});  logits_t = Affine(d_t)
    peeky   x_t = [h_S; E y_{t-1}];   d_t = LSTM(x_t, d_{t-1});  logits_t = Affine([h_S; d_t])

Where we depart from the book: h_S is the state at the last real position (``mask=False``: at
the last padded one, as in the book), and sentences end with an end symbol.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.models.contract import Encoded, Output, State, Step, Want, read_out
from jumok.nn import readout
from jumok.nn.noise import Noise, dropped
from jumok.nn.recurrent import LSTM, reading
from jumok.nn.stacks import EncoderStack
from jumok.records import Batch, MapSpec, Source


@dataclass(frozen=True, kw_only=True)
class BookConfig:
    """Plain, and with ``peeky`` the book's PeekySeq2seq."""

    peeky: bool = False
    """h_S enters every decoder step and the output layer."""
    embedding_size: int = 16
    """D in the book (wordvec_size)."""
    hidden_size: int = 256
    """H in the book."""
    reverse_source: bool = True
    """Read the source backwards (the book's section 7.4.1)."""
    mask: bool = True
    """False: padding counts as real, as in the book."""
    dropout: float = 0.0
    """On the input of each LSTM; the book has none."""


@dataclass(frozen=True, kw_only=True)
class BottleneckEncoded(Encoded):
    """The whole source as one vector."""

    h_S_BH: Tensor


@dataclass(frozen=True, kw_only=True)
class LSTMState(State):
    h_BH: Tensor
    c_BH: Tensor


def initialise(model: nn.Module, seed: int) -> None:
    """The book's rule: embeddings N(0, 0.01^2), weights N(0, 1 / inputs), biases 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.dim() == 1:
            init.zeros_(weight)
        else:
            std = 0.01 if "embedding" in name else weight.shape[1] ** -0.5
            init.normal_(weight, std=std, generator=generator)


class Seq2seq(nn.Module):
    """Seq2seq and PeekySeq2seq of chapter 7."""

    paper = "step"
    maps: tuple[MapSpec, ...] = ()

    def __init__(
        self, config: BookConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        E, H = config.embedding_size, config.hidden_size
        self.source_embedding = nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        self.encoder = EncoderStack("lstm", E, H, dropout=config.dropout, cells=False)
        peek = H if config.peeky else 0
        self.decoder = LSTM(peek + E, H)
        self.affine = nn.Linear(peek + H, target_size)
        initialise(self, seed)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> BottleneckEncoded:
        read = reading(
            source,
            self.source_embedding,
            reverse=self.config.reverse_source,
            mask=self.config.mask,
        )
        hs = self.encoder(read.embedded_BSE, read.mask_BS, noise=noise)
        return BottleneckEncoded(mask_BS=read.mask_BS, h_S_BH=hs.h_BLH[:, -1])

    def start(self, encoded: BottleneckEncoded) -> LSTMState:
        return LSTMState(h_BH=encoded.h_S_BH, c_BH=torch.zeros_like(encoded.h_S_BH))

    def step(
        self,
        token_B: Tensor,
        state: LSTMState,
        encoded: BottleneckEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        x = self._with_peek(F.embedding(token_B, self.target_embedding), encoded)
        x = dropped(x, self.config.dropout, "decoder/0", noise)
        d, c = self.decoder.step(x, state.h_BH, state.c_BH)
        logits = readout.logits(self._with_peek(d, encoded), self.affine.weight, self.affine.bias)
        return Step(logits, None, LSTMState(h_BH=d, c_BH=c))

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        encoded = self.encode(batch.source, noise=noise)
        state = self.start(encoded)
        x = self._with_peek(F.embedding(batch.target_in_BT, self.target_embedding), encoded)
        x = dropped(x, self.config.dropout, "decoder/0", noise)
        d, _ = self.decoder(x, state.h_BH, state.c_BH, cells=False)
        features = self._with_peek(d, encoded)
        return read_out(features, self.affine.weight, self.affine.bias, batch, want=want)

    def _with_peek(self, x: Tensor, encoded: BottleneckEncoded) -> Tensor:
        """[h_S; x] for peeky, x for plain."""
        if not self.config.peeky:
            return x
        h_S = encoded.h_S_BH.to(x.dtype)
        h_S = h_S if x.dim() == 2 else h_S.unsqueeze(1).expand(-1, x.shape[1], -1)
        return torch.cat([h_S, x], dim=-1)
