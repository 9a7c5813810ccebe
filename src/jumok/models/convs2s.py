"""Gehring et al. 2017: ConvS2S, convolutions alone, attention in every decoder layer.

"Convolutional Sequence to Sequence Learning", section 3.

    e_j = w_j + p_j, g_i = y_i + p_i: embedding and learned position                    (3.1)
    v([A B]) = A sigmoid(B)                                                             (3.2)
    h_i^l = v(W^l [h_{i-k/2}^{l-1} .. h_{i+k/2}^{l-1}] + b^l) + h_i^{l-1}               (3.2)
    d_i^l = W_d^l h_i^l + b_d^l + g_i                                                   (1)
    a_ij^l = softmax_j(d_i^l . z_j^u)                                                   (3.3)
    c_i^l = sum_j a_ij^l (z_j^u + e_j), added to h_i^l                                  (2)
    every sum of two terms times sqrt(1/2); c_i^l times m sqrt(1/m) for m source words  (3.4)
    the encoder's gradient divided by twice the number of attentions                    (3.4)

A decoder layer sees its own position and the k - 1 before it. Every linear map and convolution
is weight-normalised (3.5); a convolution is a matrix over k inputs in a row.

==========  =================  =====================================================
paper       here               note
==========  =================  =====================================================
h^l         x                  (B, S, C) or (B, T, C); C = hidden_size
z^u         keys_BSE           the encoder's top, led back to E = embedding_size
z_j + e_j   values_BSE         times sqrt(1/2)
g_i         g                  (.., E)
m           m                  the row's own length, end symbol included
==========  =================  =====================================================

From the authors' code: the attended c is led back to C by a map of its own, then the sum with
the block's h; one more map, of E outputs, before the softmax; dropout on embeddings, on the
input of every convolution and before the softmax; first weights as in 3.5, embeddings N(0, 0.1).

Where we depart: sizes. `--model convs2s` trains with AdamW, whose steps do not depend on a
gradient's scale, and so leaves (``scale_gradient = false``) the division of the encoder's out;
the paper has Nesterov's momentum: --optim.name sgd --optim.momentum 0.99 --optim.nesterov true
--optim.lr 0.25 --optim.clip_norm 0.1 --optim.schedule plateau --optim.plateau_factor 0.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.errors import ConfigError, at_least_one
from jumok.models.contract import Encoded, Output, State, Step, Want, read_out
from jumok.nn import readout
from jumok.nn.attention import check_chosen, dot_scores, mix, over_keys, weigh
from jumok.nn.gradients import gradient_divided
from jumok.nn.noise import Noise, dropped
from jumok.nn.positions import LearnedPositions
from jumok.nn.windows import WeightNormed, slid, windowed
from jumok.records import NO_MAPS, Batch, MapSpec, Source

HALF = math.sqrt(0.5)


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """The sizes of the paper's English-Romanian model in brackets."""

    embedding_size: int = 128
    """[512] Also that of the layer before the softmax."""
    hidden_size: int = 256
    """[512] C: channels of every layer."""
    num_layers: int = 3
    """[20] On both sides."""
    window: int = 3
    """[3] k: inputs of a convolution; odd, so that the encoder's has a middle."""
    maximum_length: int = 1024
    """[1024] Positions that are learned; longer texts are refused."""
    dropout: float = 0.2
    """[0.2] On embeddings, the input of every convolution and before the softmax."""
    scale_gradient: bool = True
    """[true] Divide the gradient that reaches the encoder by 2 `num_layers`."""
    alignment_layer: int | None = None
    """Decoder layer, from 1, whose attention is the map that is drawn and aligned by; none =
    the mean of all layers, as in the authors' code."""

    def __post_init__(self) -> None:
        at_least_one(num_layers=self.num_layers, maximum_length=self.maximum_length)
        if self.window < 1 or self.window % 2 == 0:
            raise ConfigError(
                f"`window` ({self.window}) must be odd: the encoder looks as far ahead as back."
            )
        check_chosen("alignment_layer", self.alignment_layer, "num_layers", self.num_layers)


@dataclass(frozen=True, kw_only=True)
class ConvEncoded(Encoded):
    keys_BSE: Tensor
    """z"""
    values_BSE: Tensor
    """(z + e) sqrt(1/2)"""


@dataclass(frozen=True, kw_only=True)
class ConvState(State):
    windows: tuple[Tensor, ...]
    """The last k - 1 inputs of every layer's convolution, (B, k - 1, C), oldest first."""
    position_B: Tensor


class DecoderLayer(nn.Module):
    """A block of 3.2 and what its attention needs."""

    def __init__(self, size: int, embedding_size: int, window: int) -> None:
        super().__init__()
        self.convolution = WeightNormed(window * size, 2 * size)
        self.W_d = WeightNormed(size, embedding_size)
        self.W_c = WeightNormed(embedding_size, size)


class ConvS2S(nn.Module):
    """Convolutional encoder and decoder."""

    paper = "forward"

    def __init__(
        self, config: ConvConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        E, C, L, k = config.embedding_size, config.hidden_size, config.num_layers, config.window
        chosen = config.alignment_layer
        about = "mean of all layers" if chosen is None else f"layer {chosen}"
        self.maps = (
            MapSpec("weights", "TS", "cross", f"a_ij, {about}", True),
            *(MapSpec(f"layer{n + 1}", "TS", "cross", "a_ij^l, (3.3)") for n in range(L)),
        )
        self.source_embedding = nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        self.source_positions = LearnedPositions(config.maximum_length, E)
        self.target_positions = LearnedPositions(config.maximum_length, E)
        self.encoder_in, self.encoder_out = WeightNormed(E, C), WeightNormed(C, E)
        self.encoder = nn.ModuleList(WeightNormed(k * C, 2 * C) for _ in range(L))
        self.decoder_in, self.decoder_out = WeightNormed(E, C), WeightNormed(C, E)
        self.decoder = nn.ModuleList(DecoderLayer(C, E, k) for _ in range(L))
        self.W_s = WeightNormed(E, target_size)
        self._draw(torch.Generator().manual_seed(seed))

    def _draw(self, generator: torch.Generator) -> None:
        """3.5: the output's variance is the input's, the GLU's quarter made up for by 4."""
        kept = 1 - self.config.dropout
        for name, weight in self.named_parameters():
            if "embedding" in name or "positions" in name:
                init.normal_(weight, std=0.1, generator=generator)
        convolutions = [*self.encoder, *(layer.convolution for layer in self.decoder)]
        others = [self.encoder_out, self.decoder_out]
        others += [m for layer in self.decoder for m in (layer.W_d, layer.W_c)]
        for modules, share in (
            (convolutions, 4 * kept),
            ([self.encoder_in, self.decoder_in, self.W_s], kept),
            (others, 1.0),
        ):
            for module in modules:
                module.draw(math.sqrt(share / module.v.shape[1]), generator)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> ConvEncoded:
        self.source_positions.check(source.mask_BS, "source")
        real = source.mask_BS.unsqueeze(-1)
        position_S = torch.arange(source.ids_BS.shape[1], device=source.ids_BS.device)
        e = F.embedding(source.ids_BS, self.source_embedding) + self.source_positions(position_S)
        e = dropped(e, self.config.dropout, "encoder/input", noise)
        x, half = self.encoder_in(e), self.config.window // 2
        for depth, convolution in enumerate(self.encoder):
            # Padding is zero before every convolution, as what lies beyond the ends.
            x_in = dropped(x * real, self.config.dropout, f"encoder/{depth}", noise)
            h = convolution(windowed(x_in, self.config.window, ahead=half))
            x = (F.glu(h, dim=-1) + x) * HALF  # (3.2)
        z = self.encoder_out(x)
        if self.config.scale_gradient:
            z = gradient_divided(z, 2 * self.config.num_layers)  # (3.4)
        return ConvEncoded(mask_BS=source.mask_BS, keys_BSE=z, values_BSE=(z + e) * HALF)

    def start(self, encoded: ConvEncoded) -> ConvState:
        rows, before = encoded.mask_BS.shape[0], self.config.window - 1
        layers = range(self.config.num_layers if before else 0)
        zeros = encoded.keys_BSE.new_zeros
        return ConvState(
            windows=tuple(zeros(rows, before, self.config.hidden_size) for _ in layers),
            position_B=torch.zeros_like(encoded.mask_BS[:, 0], dtype=torch.long),
        )

    def step(
        self,
        token_B: Tensor,
        state: ConvState,
        encoded: ConvEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        top, windows, maps = self._decode(token_B, state.position_B, encoded, noise, state.windows)
        weight, bias = self.W_s.weight(), self.W_s.b
        return Step(
            readout.logits(top, weight, bias),
            self._alignment(maps) if want & Want.WEIGHTS else None,
            ConvState(windows=windows, position_B=state.position_B + 1),
            _named(maps) if want & Want.MAPS else NO_MAPS,
        )

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        self.target_positions.check(batch.target_mask_BT, "target")
        encoded = self.encode(batch.source, noise=noise)
        ids = batch.target_in_BT
        position_T = torch.arange(ids.shape[1], device=ids.device)
        top, _, maps = self._decode(ids, position_T, encoded, noise, None)
        weight, bias, weights = self.W_s.weight(), self.W_s.b, self._alignment(maps)
        return read_out(top, weight, bias, batch, want=want, weights_BTS=weights, maps=_named(maps))

    def _decode(
        self,
        ids: Tensor,
        position: Tensor,
        encoded: ConvEncoded,
        noise: Noise | None,
        windows: tuple[Tensor, ...] | None,
    ) -> tuple[Tensor, tuple[Tensor, ...], list[Tensor]]:
        """What goes to the softmax, the new windows, every layer's weights: for all of ids
        (B, T), or for ids (B) that follow on ``windows``."""
        g = F.embedding(ids, self.target_embedding) + self.target_positions(position)
        g = dropped(g, self.config.dropout, "decoder/input", noise)
        x, after, maps = self.decoder_in(g), [], []
        for depth, layer in enumerate(self.decoder):
            x_in = dropped(x, self.config.dropout, f"decoder/{depth}", noise)
            if windows is None:
                x_in = windowed(x_in, self.config.window)
            elif windows:
                x_in, kept = slid(windows[depth], x_in)
                after.append(kept)
            h = F.glu(layer.convolution(x_in), dim=-1)
            attended, weights = self._attended(layer, h, g, encoded)
            x = (attended + x) * HALF  # (3.2)
            maps.append(weights)
        out = dropped(self.decoder_out(x), self.config.dropout, "readout", noise)
        return out, tuple(after), maps

    def _attended(
        self, layer: nn.Module, h: Tensor, g: Tensor, encoded: ConvEncoded
    ) -> tuple[Tensor, Tensor]:
        """h^l with its c^l, and a^l."""
        mask = over_keys(encoded.mask_BS, h)
        d = (layer.W_d(h) + g) * HALF  # (1)
        weights = weigh(dot_scores(d, encoded.keys_BSE), mask)
        c = mix(weights, encoded.values_BSE)  # (2)
        m = encoded.mask_BS.sum(dim=1).view([-1] + [1] * (h.dim() - 1))
        return (layer.W_c(c * m.to(c.dtype).sqrt()) + h) * HALF, weights  # (3.4)

    def _alignment(self, maps: list[Tensor]) -> Tensor:
        """The map of ``weights``."""
        chosen = self.config.alignment_layer
        return torch.stack(maps).mean(dim=0) if chosen is None else maps[chosen - 1]


def _named(maps: list[Tensor]) -> dict[str, Tensor]:
    return {f"layer{n}": weights for n, weights in enumerate(maps, 1)}
