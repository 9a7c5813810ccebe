"""The book's attention model (chapter 8) and the deep decoder of its last part.

Saito, "Deep Learning from Scratch 2", chapter 8. An LSTM reads the source and keeps every state
hs; another writes the target and looks back at each step (section 8.1):

    x_t = E y_{t-1};  d_t = LSTM(x_t, d_{t-1});  d_0 = the encoder's last state, cell at zero
    s_t = hs . d_t                     AttentionWeight, dot product
    a_t = softmax(s_t)                 AttentionWeight
    c_t = sum_s a_ts hs_s              WeightSum
    logits_t = Affine([c_t; d_t])      the current state asks, and is read out beside c_t

=============  =======================  ==========================
the book       here                     shape
=============  =======================  ==========================
xs, ts         ids_BS, target_in_BT     (B, S), (B, T)
hs             states_BSD               (B, S, H)
h              d                        (B, H) or (B, T, H)
a, c           weights, context         (B, S), (B, H)
=============  =======================  ==========================

What section 8.4 adds: a bidirectional encoder, several layers with skip connections,
``query_from`` (the decoder layer that asks) and ``attention_to`` (where c_t goes: the output,
the next step's input, the layers above). Its deep decoder is query_from = bottom,
attention_to = upper_layers, output. Where we depart from the book: padding is masked
(``mask=False`` attends to it, as the book does), and sentences end with an end symbol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jumok.errors import ConfigError
from jumok.models.contract import Encoded, Output, State, Step, Want, read_out, unroll
from jumok.models.scratch import initialise
from jumok.nn import readout
from jumok.nn.attention import attend
from jumok.nn.noise import Noise, dropped
from jumok.nn.recurrent import LSTM, reading
from jumok.nn.stacks import Bridge, EncoderStack, Merge, direction_size
from jumok.records import Batch, MapSpec, Source

Place = Literal["output", "next_step", "upper_layers"]


@dataclass(frozen=True, kw_only=True)
class BookAttentionConfig:
    """Attention, and the deep decoder of the chapter's last part."""

    embedding_size: int = 16
    hidden_size: int = 256
    reverse_source: bool = True
    mask: bool = True
    dropout: float = 0.0
    num_layers: int = 1
    skip: bool = False
    """Add each layer's input to its output where the widths agree."""
    bidirectional: bool = False
    merge: Merge = "concat"
    """How the encoder's two directions become one; concat halves each direction."""
    query_from: Literal["bottom", "top"] = "top"
    """The decoder layer whose current state asks."""
    attention_to: tuple[Place, ...] = ("output",)
    """Where c_t goes."""

    def __post_init__(self) -> None:
        if not self.attention_to:
            raise ConfigError("`attention_to` is empty: nothing would read the context.")
        if "upper_layers" in self.attention_to and self.num_layers < 2:
            raise ConfigError(
                f"`attention_to` has upper_layers, but `num_layers` is {self.num_layers}: "
                "no layer stands above the one that asks."
            )
        if "upper_layers" in self.attention_to and self.query_from == "top":
            raise ConfigError(
                "`attention_to` has upper_layers, but `query_from` is top: no layer stands "
                "above the one that asks.",
                hint="use query_from = bottom.",
            )
        direction_size(self.hidden_size, self.bidirectional, self.merge)


@dataclass(frozen=True, kw_only=True)
class BookEncoded(Encoded):
    states_BSD: Tensor
    """hs, in the reader's order."""
    first_BLH: Tensor
    """d_0 of every decoder layer; for plain and peeky h_S."""


@dataclass(frozen=True, kw_only=True)
class BookState(State):
    h_BLH: Tensor
    c_BLH: Tensor
    context_BH: Tensor
    """c_{t-1}; only read where attention goes to the next step."""


class AttentionSeq2seq(nn.Module):
    """AttentionSeq2seq of chapter 8."""

    paper = "step"
    maps = (MapSpec("weights", "TS", "cross", "a_t of the book", is_weights=True),)

    def __init__(
        self, config: BookAttentionConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        E, H, L = config.embedding_size, config.hidden_size, config.num_layers
        to = config.attention_to
        self.source_embedding = nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        self.encoder = EncoderStack(
            "lstm",
            E,
            direction_size(H, config.bidirectional, config.merge),
            L,
            bidirectional=config.bidirectional,
            merge=config.merge,
            skip=config.skip,
            dropout=config.dropout,
            cells=False,
        )
        self.bridge = Bridge("copy_h", self.encoder, L, H)
        first = E + (H if "next_step" in to else 0)
        above = H + (H if "upper_layers" in to else 0)
        self.decoder = nn.ModuleList(LSTM(size, H) for size in [first] + [above] * (L - 1))
        self.affine = nn.Linear(2 * H if "output" in to else H, target_size)
        initialise(self, seed)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> BookEncoded:
        config = self.config
        read = reading(
            source, self.source_embedding, reverse=config.reverse_source, mask=config.mask
        )
        hs = self.encoder(read.embedded_BSE, read.mask_BS, noise=noise)
        return BookEncoded(
            mask_BS=read.mask_BS,
            states_BSD=read.in_readers_order(hs.states_BSD),
            first_BLH=self.bridge(hs.h_BLH, None)[0],
        )

    def start(self, encoded: BookEncoded) -> BookState:
        d_0 = encoded.first_BLH
        zeros = torch.zeros_like(d_0)
        return BookState(h_BLH=d_0, c_BLH=zeros, context_BH=zeros[:, 0])

    def step(
        self,
        token_B: Tensor,
        state: BookState,
        encoded: BookEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        h_new, c_new = [], []

        def run(layer: int, x: Tensor) -> Tensor:
            x = dropped(x, self.config.dropout, f"decoder/{layer}", noise)
            h, c = self.decoder[layer].step(x, state.h_BLH[:, layer], state.c_BLH[:, layer])
            h_new.append(h)
            c_new.append(c)
            return h

        x = F.embedding(token_B, self.target_embedding)
        if "next_step" in self.config.attention_to:
            x = torch.cat([x, state.context_BH.to(x.dtype)], dim=-1)
        features, context, weights = self._decoder(x, run, encoded)
        after = BookState(
            h_BLH=torch.stack(h_new, 1), c_BLH=torch.stack(c_new, 1), context_BH=context
        )
        logits = readout.logits(features, self.affine.weight, self.affine.bias)
        return Step(logits, weights if want & Want.WEIGHTS else None, after)

    def _decoder(
        self, x: Tensor, run: Callable[[int, Tensor], Tensor], encoded: BookEncoded
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step, or with a time axis all steps: (input of the Affine layer, c, a)."""
        config, hs, mask = self.config, encoded.states_BSD, encoded.mask_BS
        d = run(0, x)
        if config.query_from == "bottom":
            context, weights = attend(d, hs, hs, mask)
        for layer in range(1, config.num_layers):
            x = torch.cat([d, context], -1) if "upper_layers" in config.attention_to else d
            d = run(layer, x) + d if config.skip else run(layer, x)
        if config.query_from == "top":
            context, weights = attend(d, hs, hs, mask)
        to_output = "output" in config.attention_to
        return torch.cat([context, d], -1) if to_output else d, context, weights

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        if "next_step" in self.config.attention_to:
            return unroll(self, batch, noise=noise, want=want)
        encoded = self.encode(batch.source, noise=noise)
        state = self.start(encoded)

        def run(layer: int, x: Tensor) -> Tensor:
            x = dropped(x, self.config.dropout, f"decoder/{layer}", noise)
            h_0, c_0 = state.h_BLH[:, layer], state.c_BLH[:, layer]
            return self.decoder[layer](x, h_0, c_0, cells=False)[0]

        x = F.embedding(batch.target_in_BT, self.target_embedding)
        features, _, weights = self._decoder(x, run, encoded)
        return read_out(
            features,
            self.affine.weight,
            self.affine.bias,
            batch,
            want=want,
            weights_BTS=weights,
        )
