"""QRNN 2017, SRU, SSRU, minGRU, minLSTM: recurrent in their cells alone, parallel over time.

Bradbury et al. 2017, "Quasi-Recurrent Neural Networks", 2.1 and 3: stacks of layers whose gates
are convolutions over the last k inputs, a decoder that knows how the encoder ended, attention.

    Z = tanh(W_z * X)  F = sigmoid(W_f * X)  O = sigmoid(W_o * X)                       (1)
    c_t = f_t c_{t-1} + (1 - f_t) z_t      h_t = o_t c_t                                (4)
    decoder layer l adds V^l h~^l_S to what is before each gate (``bridge = "gates"``)  (7)
    alpha_st = softmax_s(c_t^L . h~_s^L)      k_t = sum_s alpha_st h~_s^L               (8)
    h_t^L = o_t (W_k k_t + W_c c_t^L + b)                    (``output = "gated"``)     (8)

The other cells (their papers and equations: ``nn/parallel_cells.py``) stand in the same stacks.
They have no output gate to weigh attention by; Luong's attentional state takes its place
(``output = "attentional"``), and their first cell is c_0 = value(W_0 h~_S) (``bridge = "linear"``):

    a_t = softmax(score(h_t, h~_s))  h^_t = tanh(W_a [k_t; h_t])

==========  ============  ============================================================
paper       here          shape
==========  ============  ============================================================
h~_s        states_BSD    (B, S, H) of the encoder's top layer, directions joined
h~^l_S      last          (B, H) where layer l of the encoder ended
X, k        window        the last k inputs, (B, k - 1, E) kept between two steps
c^l_t       c_BLH         (B, L, H)
==========  ============  ============================================================

Where we depart: sizes; the encoder reads in both directions (``bidirectional``; the QRNN paper's
reads in one, ``first_window`` there being 6); first weights U(+-sqrt(3 / inputs)), SRU's, for all.
SRU's and SSRU's papers put the cell into a Transformer, minGRU's and minLSTM's into a language
model with feed-forward layers between: here each cell is alone, with residuals and layer norms
(``skip``, ``norm``) where its paper has them, and a norm for SRU, which learns badly without.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.errors import ConfigError, at_least_one
from jumok.models.contract import Encoded, Output, State, Step, Want, read_out
from jumok.nn import readout
from jumok.nn.attention import build_score, mix, over_keys, weigh
from jumok.nn.noise import Noise, dropped
from jumok.nn.parallel_cells import CellName, ParallelLayer
from jumok.nn.recurrent import last_real, reversed_within, reversing_index
from jumok.nn.windows import slid, windowed
from jumok.records import Batch, MapSpec, Source


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """The QRNN paper's translation model in brackets; the defaults are its choices, sizes apart."""

    cell: CellName = "qrnn"
    """[qrnn]"""
    embedding_size: int = 128
    """[16]"""
    hidden_size: int = 256
    """[320]"""
    num_layers: int = 2
    """[4], on both sides; the top one attends."""
    window: int = 2
    """[2] k: how many inputs the gates read, in the decoder the present one and those before."""
    first_window: int | None = None
    """[6] That of the encoder's first layer; none = `window`."""
    bidirectional: bool = True
    """[false]"""
    bridge: Literal["gates", "linear", "zero"] = "gates"
    """[gates] How a decoder layer learns of the encoder's: in its gates, in c_0, or not."""
    output: Literal["gated", "attentional"] = "gated"
    """[gated] What becomes of the context: (8), or Luong's attentional state."""
    score: Literal["dot", "general", "concat", "scaled"] = "dot"
    """[dot]"""
    skip: bool = False
    """[false] Add a layer's input to its output wherever the two have one width."""
    norm: bool = False
    """[false] Layer norm after every layer (after the sum, where there is one)."""
    dropout: float = 0.2
    """On the input of each layer, the softmax included."""

    def __post_init__(self) -> None:
        if self.bidirectional and self.hidden_size % 2:
            raise ConfigError(
                f"`hidden_size` ({self.hidden_size}) must be even: each direction has half of it."
            )
        at_least_one(num_layers=self.num_layers, window=self.window, first_window=self.first_window)
        if self.output == "gated" and self.cell != "qrnn":
            raise ConfigError(
                f"`output` = gated needs an output gate, and {self.cell} has none.",
                hint="use output = attentional, or cell = qrnn.",
            )


@dataclass(frozen=True, kw_only=True)
class ParallelEncoded(Encoded):
    states_BSD: Tensor
    """h~_s"""
    keys_BSK: Tensor
    c_BLH: Tensor
    """c_0"""
    added: tuple[Tensor, ...]
    """V^l h~^l_S for every decoder layer, if the bridge is in the gates."""


@dataclass(frozen=True, kw_only=True)
class ParallelState(State):
    c_BLH: Tensor
    windows: tuple[Tensor, ...]
    """The last k - 1 inputs of every layer, oldest first; none where k = 1."""


class ParallelRNN(nn.Module):
    """Encoder and decoder of one cell, attention on the top layer."""

    paper = "forward"
    maps = (MapSpec("weights", "TS", "cross", "alpha_st, (8)", True),)

    def __init__(
        self, config: ParallelConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        E, H, L = config.embedding_size, config.hidden_size, config.num_layers
        k = config.window
        self.source_embedding = nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        one_way = H // 2 if config.bidirectional else H
        inputs = [E] + [H] * (L - 1)
        self.widths = [config.first_window or k] + [k] * (L - 1)

        def layers(size: int, widths: list[int]) -> nn.ModuleList:
            wide = [width * n for width, n in zip(widths, inputs, strict=True)]
            return nn.ModuleList(ParallelLayer(config.cell, n, size) for n in wide)

        def norms() -> nn.ModuleList:
            return nn.ModuleList(nn.LayerNorm(H) if config.norm else nn.Identity() for _ in inputs)

        self.encoder, self.encoder_norms = layers(one_way, self.widths), norms()
        self.encoder_back = layers(one_way, self.widths) if config.bidirectional else None
        self.decoder, self.decoder_norms = layers(H, [k] * L), norms()
        if config.bridge == "gates":
            self.V = nn.ModuleList(nn.Linear(H, len(d.W), bias=False) for d in self.decoder)
        elif config.bridge == "linear":
            self.W_0 = nn.ModuleList(nn.Linear(H, H) for _ in self.decoder)
        self.score = build_score(config.score, H)
        self.W_a = nn.Linear(2 * H, H)  # [W_k W_c] and b of (8), or the attentional state's
        self.W_s = nn.Linear(H, target_size)
        self._draw(torch.Generator().manual_seed(seed))

    def _draw(self, generator: torch.Generator) -> None:
        """Sums keep the variance of what is summed; so does h^T W h, a sum of H^2."""
        general = self.config.score == "general"
        for name, weight in self.named_parameters():
            if name.endswith("embedding"):
                init.normal_(weight, generator=generator)
            elif weight.dim() > 1:
                whole = general and name.startswith("score")
                summed = weight.numel() if whole else weight.shape[1]
                r = math.sqrt(3 / summed)
                init.uniform_(weight, -r, r, generator=generator)
            elif "norm" not in name:
                init.zeros_(weight)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> ParallelEncoded:
        mask = source.mask_BS
        x, last = F.embedding(source.ids_BS, self.source_embedding), []
        for depth, (ahead, width) in enumerate(zip(self.encoder, self.widths, strict=True)):
            x_in = dropped(x, self.config.dropout, f"encoder/{depth}", noise)
            h, _ = ahead(windowed(x_in, width))  # (1), (4)
            ends = [last_real(h, mask)]
            if self.encoder_back is not None:
                index_BS = reversing_index(mask)
                turned = windowed(reversed_within(x_in, index_BS), width)
                back, _ = self.encoder_back[depth](turned)
                ends.append(last_real(back, mask))
                h = torch.cat([h, reversed_within(back, index_BS)], dim=-1)
            last.append(torch.cat(ends, dim=-1))
            x = self.encoder_norms[depth](self._joined(h, x))
        c_BLH, added = self._bridge(last)
        return ParallelEncoded(
            mask_BS=mask, states_BSD=x, keys_BSK=self.score.keys(x), c_BLH=c_BLH, added=added
        )

    def _bridge(self, last: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """c_0 of all layers and what goes to their gates, from where the encoder's ended."""
        zeros = torch.stack([torch.zeros_like(h) for h in last], dim=1)
        if self.config.bridge == "gates":
            return zeros, tuple(V(h) for V, h in zip(self.V, last, strict=True))  # (7)
        if self.config.bridge == "zero":
            return zeros, ()
        first = [W(h).to(h.dtype) for W, h in zip(self.W_0, last, strict=True)]
        values = [d.cell.value(c) for d, c in zip(self.decoder, first, strict=True)]
        return torch.stack(values, dim=1), ()

    def start(self, encoded: ParallelEncoded) -> ParallelState:
        before, E, H = self.config.window - 1, self.config.embedding_size, self.config.hidden_size
        sizes = [E, *[H] * (self.config.num_layers - 1)] if before else []
        zeros = encoded.c_BLH.new_zeros
        windows = tuple(zeros(encoded.c_BLH.shape[0], before, size) for size in sizes)
        return ParallelState(c_BLH=encoded.c_BLH, windows=windows)

    def step(
        self,
        token_B: Tensor,
        state: ParallelState,
        encoded: ParallelEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        x = F.embedding(token_B, self.target_embedding)
        cells, windows = [], []
        for depth in range(self.config.num_layers):
            x_in = dropped(x, self.config.dropout, f"decoder/{depth}", noise)
            if state.windows:
                x_in, kept = slid(state.windows[depth], x_in)
                windows.append(kept)
            x, c, weights = self._layer(depth, x_in, x, state.c_BLH, encoded)
            cells.append(c)
        after = ParallelState(c_BLH=torch.stack(cells, dim=1), windows=tuple(windows))
        out = dropped(x, self.config.dropout, "readout", noise)
        logits = readout.logits(out, self.W_s.weight, self.W_s.bias)
        return Step(logits, weights if want & Want.WEIGHTS else None, after)

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        encoded = self.encode(batch.source, noise=noise)
        x = F.embedding(batch.target_in_BT, self.target_embedding)
        for depth in range(self.config.num_layers):
            x_in = dropped(x, self.config.dropout, f"decoder/{depth}", noise)
            wide = windowed(x_in, self.config.window)
            x, _, weights = self._layer(depth, wide, x, encoded.c_BLH, encoded)
        out = dropped(x, self.config.dropout, "readout", noise)
        return read_out(out, self.W_s.weight, self.W_s.bias, batch, want=want, weights_BTS=weights)

    def _layer(
        self, depth: int, wide: Tensor, x: Tensor, c_BLH: Tensor, encoded: ParallelEncoded
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """(output, cells, weights of the top layer) of a decoder layer, for a position or all."""
        layer, top = self.decoder[depth], depth == self.config.num_layers - 1
        added = encoded.added[depth] if encoded.added else None
        ran = layer.run(wide, c_BLH[:, depth], added)
        cells, weights = ran.c, None
        if top and self.config.output == "gated":
            joined, weights = self._with_context(ran.c, encoded)
            ran = ran._replace(c=joined.to(ran.c.dtype))  # (8)
        h = self.decoder_norms[depth](self._joined(layer.cell.emit(ran), x))
        if top and self.config.output == "attentional":
            joined, weights = self._with_context(h, encoded)
            h = torch.tanh(joined).to(h.dtype)
        return h, cells, weights

    def _with_context(self, query: Tensor, encoded: ParallelEncoded) -> tuple[Tensor, Tensor]:
        """(W_a [k_t; query], alpha_t)"""
        scores = self.score(query, encoded.keys_BSK)
        weights = weigh(scores, over_keys(encoded.mask_BS, query))
        context = mix(weights, encoded.states_BSD)
        return self.W_a(torch.cat([context, query], dim=-1)), weights

    def _joined(self, h: Tensor, x: Tensor) -> Tensor:
        return h + x if self.config.skip and h.shape[-1] == x.shape[-1] else h
