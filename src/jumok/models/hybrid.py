"""Deep Transformer encoder, shallow recurrent decoder: the fast one. Chen 2018; Kim 2019.

A source is read once, all positions side by side; a target is written symbol by symbol. So the
depth goes where it costs little time. The encoder is that of ``modern.py``. Two decoders:

``cell="lstm"``: Chen et al. 2018, "The Best of Both Worlds", section 5 (Transformer encoder,
RNMT+ decoder): the bottom LSTM asks, the layers above it and the softmax read the context.

    h^1_t = LSTM(E y_{t-1}, h^1_{t-1}),  h^l_0 = tanh(W_0 mean_s h_s)                 (a)
    c_t = MultiHead(h^1_t, h_1 .. h_S)                     (Vaswani 2017, 3.2.2)      (b)
    h^l_t = h^{l-1}_t + LSTM([h^{l-1}_t; c_t], h^l_{t-1}),  l = 2 .. L                (c)
    h~_t = tanh(W_c [c_t; h^L_t]),  p = softmax(W_s h~_t)  (Luong 2015, eq. 5, 6)     (d)

Where we depart: the bottom layer does not read the context of the step before, so all steps are
trained at once; dot-product heads, not additive ones; W_0 (Sennrich 2017) and the residuals.
With one layer it is Luong's global attention without input feeding.

``cell="ssru"``: Kim et al. 2019, "From Research to Production and Back", section 3: a decoder
of the Transformer whose self-attention is replaced by a recurrence without matrix products.

    f_t = sigmoid(W_f x_t + b_f)                                                      (1)
    c_t = f_t c_{t-1} + (1 - f_t) W x_t,  c_0 = 0                                     (2)
    o_t = ReLU(c_t)                                                                   (3)
    layer: x + SSRU(.), x + MultiHead(., h_1 .. h_S), x + SwiGLU(.)

Where we depart: norms stand before each part, SwiGLU in place of ReLU, as in the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from jumok.errors import ConfigError
from jumok.models.contract import Encoded, Output, State, Step, Want, read_out
from jumok.nn import prenorm, readout
from jumok.nn.attention import over_keys
from jumok.nn.heads import Memory, by_head, head_maps
from jumok.nn.linear_recurrence import ForgetPool
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took
from jumok.nn.recurrent import LSTM
from jumok.records import NO_MAPS, Batch, MapSpec, Source


@dataclass(frozen=True, kw_only=True)
class HybridConfig:
    """Sizes; the decoder's cell."""

    cell: Literal["lstm", "ssru"] = "lstm"
    """What the decoder is made of."""
    hidden_size: int = 256
    """D, on both sides."""
    num_layers: int = 4
    """Of the encoder."""
    decoder_layers: int = 1
    """L"""
    num_heads: int | None = None
    """Of the encoder; none = 8, 4, 2 or 1, whichever first gives heads of an even size."""
    attention_heads: int = 1
    """Of the decoder's attention to the source; with more, the map is their mean."""
    feedforward_size: int | None = None
    """None = 8/3 of the hidden size, a multiple of 8."""
    dropout: float = 0.1
    """On the embeddings, on the output of every sub-layer, on what LSTMs read and on h~."""
    tie: prenorm.Tie = "output"
    """As in `modern`."""
    embedding_size: int | None = None
    """None = the hidden size; else one matrix leads from this size to that."""
    alignment_head: int | None = None
    """The head, from 1, whose weights are the map; none = the mean of them."""

    def __post_init__(self) -> None:
        if min(self.num_layers, self.decoder_layers) < 1:
            raise ConfigError("`num_layers` and `decoder_layers` must be at least 1.")
        prenorm.check_heads(self.hidden_size, self.heads)
        D, R = self.hidden_size, self.attention_heads
        if R < 1 or D % R:
            raise ConfigError(f"`hidden_size` ({D}) must be divisible by `attention_heads` ({R}).")
        prenorm.check_shown(None, self.alignment_head, 1, R)

    @property
    def heads(self) -> int:
        """Of the encoder."""
        return prenorm.even_heads(self.hidden_size) if self.num_heads is None else self.num_heads

    @property
    def inner_size(self) -> int:
        return self.feedforward_size or prenorm.swiglu_size(self.hidden_size)

    @property
    def attending_layers(self) -> int:
        return 1 if self.cell == "lstm" else self.decoder_layers

    @property
    def shown(self) -> tuple[int, int | None]:
        """The layer (from 0; the last but one, if there are two) and head of ``weights``."""
        return max(self.attending_layers - 2, 0), self.alignment_head

    def maps(self) -> tuple[MapSpec, ...]:
        """``weights``, then every head of every layer."""
        head = "mean of heads" if self.alignment_head is None else f"head {self.alignment_head}"
        own = {"num_layers": self.attending_layers, "num_heads": self.attention_heads}
        deep = {"num_layers": self.num_layers, "num_heads": self.heads}
        return (
            MapSpec("weights", "TS", "cross", f"layer {self.shown[0] + 1}, {head}", True),
            *head_maps("", "TS", "cross", "target to source", **own),
            *head_maps("encoder/", "SS", "encoder", "source to itself", **deep),
        )


Kept = tuple[Tensor, ...]
"""h and c of the LSTMs, or c of the SSRUs: (B, L, D) each."""


@dataclass(frozen=True, kw_only=True)
class HybridEncoded(Encoded):
    memories: tuple[Memory, ...]
    """Keys and values of each attention to the source, (B, R, S, K) twice."""
    first: Kept
    """What the decoder begins with."""


@dataclass(frozen=True, kw_only=True)
class HybridState(State):
    kept: Kept


Written = tuple[Tensor, Kept, list[Tensor | None]]
"""The top; what a step keeps (of whole sequences nobody asks it); weights by layer."""


class LSTMDecoder(nn.Module):
    """(a) to (d), up to h~."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        D, L = config.hidden_size, config.decoder_layers
        self.dropout = config.dropout
        self.W_0 = nn.Linear(D, L * D)
        self.layers = nn.ModuleList(LSTM(D if n == 0 else 2 * D, D) for n in range(L))
        self.attend_source = prenorm.GroupedHeads(D, config.attention_heads)
        self.W_c = nn.Linear(2 * D, D)

    def memories(self, states_BSD: Tensor) -> tuple[Memory, ...]:
        return (self.attend_source.memory(states_BSD),)

    def first(self, states_BSD: Tensor, mask_BS: Tensor) -> Kept:
        real_BS1 = mask_BS.unsqueeze(-1).to(states_BSD.dtype)
        mean_BD = (states_BSD * real_BS1).sum(dim=1) / real_BS1.sum(dim=1).clamp(min=1)
        h_0 = torch.tanh(self.W_0(mean_BD)).unflatten(-1, (len(self.layers), -1))  # (a)
        h_0 = h_0.to(states_BSD.dtype)
        return h_0, torch.zeros_like(h_0)

    def forward(
        self, x: Tensor, kept: Kept, encoded: HybridEncoded, noise: Noise | None, *, shown: bool
    ) -> Written:
        mask, after = over_keys(encoded.mask_BS, x), list[Kept]()
        h = self._run(0, dropped(x, self.dropout, "decoder/input", noise), kept, after)  # (a)
        c, weights = self.attend_source(h, encoded.memories[0], mask, shown=shown)  # (b)
        for n in range(1, len(self.layers)):
            both = dropped(torch.cat([h, c], dim=-1), self.dropout, f"decoder/{n}", noise)
            h = h + self._run(n, both, kept, after)  # (c)
        h_tilde = torch.tanh(self.W_c(torch.cat([c, h], dim=-1)))  # (d)
        states = tuple(torch.stack(part, dim=1) for part in zip(*after, strict=True))
        return dropped(h_tilde, self.dropout, "decoder/readout", noise), states, [weights]

    def _run(self, n: int, x: Tensor, kept: Kept, after: list[Kept]) -> Tensor:
        """Layer ``n``, one position further (``after`` gets its state) or over all of them."""
        h, c = (part[:, n] for part in kept)
        if x.dim() == 2:
            after.append(self.layers[n].step(x, h, c))
            return after[-1][0]
        all_BTD: Tensor = self.layers[n](x, h, c, cells=False)[0]
        return all_BTD


class SSRULayer(nn.Module):
    """(1) to (3), attention to the source and SwiGLU, each behind its norm."""

    def __init__(self, size: int, num_heads: int, inner_size: int) -> None:
        super().__init__()
        self.norm_self, self.norm_source = prenorm.RMSNorm(size), prenorm.RMSNorm(size)
        self.norm_feed = prenorm.RMSNorm(size)
        self.W_f, self.W = nn.Linear(size, size), nn.Linear(size, size, bias=False)
        self.pool = ForgetPool(size)
        self.attend_source = prenorm.GroupedHeads(size, num_heads)
        self.feed_forward = prenorm.SwiGLU(size, inner_size)


class SSRUDecoder(nn.Module):
    """Layers as above and the norm at the top."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        sizes = config.hidden_size, config.attention_heads, config.inner_size
        self.dropout = config.dropout
        self.layers = nn.ModuleList(SSRULayer(*sizes) for _ in range(config.decoder_layers))
        self.norm = prenorm.RMSNorm(config.hidden_size)

    def memories(self, states_BSD: Tensor) -> tuple[Memory, ...]:
        return tuple(layer.attend_source.memory(states_BSD) for layer in self.layers)

    def first(self, states_BSD: Tensor, mask_BS: Tensor) -> Kept:
        return (states_BSD.new_zeros(len(states_BSD), len(self.layers), states_BSD.shape[-1]),)

    def forward(
        self, x: Tensor, kept: Kept, encoded: HybridEncoded, noise: Noise | None, *, shown: bool
    ) -> Written:
        mask = over_keys(encoded.mask_BS, x)
        after, maps, rate = [], [], self.dropout
        x = dropped(x, rate, "decoder/input", noise)
        for n, layer in enumerate(self.layers):
            normal, c_BD = layer.norm_self(x), kept[0][:, n]
            gate, value = layer.W_f(normal), layer.W(normal)
            pool = layer.pool.step if x.dim() == 2 else layer.pool
            c = pool(gate, value, c_BD)  # (1), (2)
            after.append(c)
            x = x + dropped(torch.relu(c), rate, f"decoder/{n}/self", noise)  # (3)
            normal = layer.norm_source(x)
            found, weights = layer.attend_source(normal, encoded.memories[n], mask, shown=shown)
            x = x + dropped(found, rate, f"decoder/{n}/source", noise)
            found = layer.feed_forward(layer.norm_feed(x))
            x = x + dropped(found, rate, f"decoder/{n}/feed", noise)
            maps.append(weights)
        return self.norm(x), (torch.stack(after, dim=1),), maps


class Hybrid(nn.Module):
    """Encoder and decoder."""

    paper = "forward"

    def __init__(
        self, config: HybridConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.maps = config.maps()
        D, E = config.hidden_size, config.embedding_size
        self.symbols = prenorm.Symbols(source_size, target_size, D, E, config.tie)
        sizes = D, config.heads, config.inner_size, config.num_layers
        self.encoder = prenorm.PreNormEncoder(*sizes, dropout=config.dropout)
        self.decoder = LSTMDecoder(config) if config.cell == "lstm" else SSRUDecoder(config)
        prenorm.first_weights(self, seed)

    def encode(
        self,
        source: Source,
        *,
        noise: Noise | None = None,
        want: Want = Want.NOTHING,
        shown: bool = True,
    ) -> HybridEncoded:
        """``shown=False``: fused attention, for ``forward`` alone, since its last bits differ."""
        x = self.symbols.source(source.ids_BS)
        states, maps = self.encoder(x, source.mask_BS, noise=noise, shown=shown)
        return HybridEncoded(
            mask_BS=source.mask_BS,
            memories=self.decoder.memories(states),
            first=self.decoder.first(states, source.mask_BS),
            maps=by_head("encoder/", maps) if want & Want.MAPS else {},
        )

    def start(self, encoded: HybridEncoded) -> HybridState:
        return HybridState(kept=encoded.first)

    def step(
        self,
        token_B: Tensor,
        state: HybridState,
        encoded: HybridEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        x = self.symbols.target(token_B)
        top, kept, cross = self.decoder(x, state.kept, encoded, noise, shown=True)
        return Step(
            readout.logits(*self.symbols.before_softmax(top), None),
            prenorm.shown_map(cross, *self.config.shown) if want & Want.WEIGHTS else None,
            HybridState(kept=kept),
            by_head("", cross) if want & Want.MAPS else NO_MAPS,
        )

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        shown = bool(want & (Want.WEIGHTS | Want.MAPS))
        took("hybrid", "weights" if shown else "fused attention")
        encoded = self.encode(batch.source, noise=noise, want=want, shown=shown)
        x = self.symbols.target(batch.target_in_BT)
        top, _, cross = self.decoder(x, encoded.first, encoded, noise, shown=shown)
        maps = {**encoded.maps, **by_head("", cross)}
        weights = prenorm.shown_map(cross, *self.config.shown)
        before = self.symbols.before_softmax(top)
        return read_out(*before, None, batch, want=want, weights_BTS=weights, maps=maps)
