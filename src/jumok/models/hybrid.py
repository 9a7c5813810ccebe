"""Deep Transformer encoder, shallow recurrent decoder: the fast one. Chen 2018; Kim 2019.

A source is read once, all positions side by side; a target is written symbol by symbol. So the
depth goes where it costs little time. The encoder is that of ``modern.py``. Two decoders:

``cell="lstm"``: Chen et al. 2018, "The Best of Both Worlds", its hybrid (Transformer encoder,
RNMT+ decoder): the bottom LSTM asks, the layers above it and the softmax read the context.

    h^1_t = LSTM(E y_{t-1}, h^1_{t-1}),  h^l_0 = tanh(W_0 mean_s h_s)                 (a)
    c_t = MultiHead(h^1_t, h_1 .. h_S)                     (Vaswani 2017, 3.2.2)      (b)
    h^l_t = h^{l-1}_t + LSTM([h^{l-1}_t; c_t], h^l_{t-1}),  l = 2 .. L                (c)
    h~_t = tanh(W_c [c_t; h^L_t]),  p = softmax(W_s h~_t)  (Luong 2015, eq. 5, 6)     (d)

Where we depart: the bottom layer does not read the context of the step before, so all steps are
trained at once; dot-product heads, turned by position (``rotate_source``), not additive ones; W_0
(Sennrich 2017); residuals from the second layer on; no layer norm inside the LSTMs. One layer is
Luong's global attention without input feeding.

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

from jumok.errors import at_least_one
from jumok.models.contract import Encoded, Output, State, Step, Want, read_out
from jumok.nn import prenorm, readout
from jumok.nn.attention import check_chosen, over_keys, weights_map
from jumok.nn.heads import Memory, by_head, check_heads, default_heads, head_maps, shown_map
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took
from jumok.nn.prenorm import Turn
from jumok.nn.recurrent import LSTM, mean_real
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
    rotate_source: bool = True
    """Turn its queries and keys, each by its own position (Su et al. 2021), as in `modern`."""
    feedforward_size: int | None = None
    """None = 8/3 of the hidden size, a multiple of 8."""
    dropout: float = 0.1
    """On the embeddings, on the output of every sub-layer, on what LSTMs read and on h~."""
    tie: readout.Tie = "output"
    """As in `modern`."""
    embedding_size: int | None = None
    """None = the hidden size; else one matrix leads from this size to that."""
    alignment_head: int | None = None
    """The head, from 1, whose weights are the map; none = the mean of them."""

    def __post_init__(self) -> None:
        at_least_one(num_layers=self.num_layers, decoder_layers=self.decoder_layers)
        size, own = self.hidden_size, "attention_heads"
        check_heads(size, self.heads, even=True)
        check_heads(size, self.attention_heads, named=own, even=self.rotate_source)
        check_chosen("alignment_head", self.alignment_head, own, self.attention_heads)

    @property
    def heads(self) -> int:
        """Of the encoder."""
        given = self.num_heads
        return default_heads(self.hidden_size, even=True) if given is None else given

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
        own = self.attending_layers, self.attention_heads
        deep = self.num_layers, self.heads
        return (
            weights_map(f"layer {self.shown[0] + 1}, {head}"),
            *head_maps("", "TS", "cross", "target to source", *own),
            *head_maps("encoder/", "SS", "encoder", "source to itself", *deep),
        )


Kept = tuple[Tensor, ...]  # h and c of the LSTMs, or c of the SSRUs: (B, L, D) each
Past = tuple[Kept, Turn | None]  # and by what attention to the source is turned


@dataclass(frozen=True, kw_only=True)
class HybridEncoded(Encoded):
    memories: tuple[Memory, ...]
    """Keys and values of each attention to the source, (B, R, S, K) twice."""
    first: Kept
    """What the decoder begins with."""


@dataclass(frozen=True, kw_only=True)
class HybridState(State):
    kept: Kept
    position_B: Tensor


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

    def memories(self, states_BSD: Tensor, turn: Turn | None) -> tuple[Memory, ...]:
        return (self.attend_source.memory(states_BSD, turn),)

    def first(self, states_BSD: Tensor, mask_BS: Tensor) -> Kept:
        h_0 = torch.tanh(self.W_0(mean_real(states_BSD, mask_BS)))  # (a)
        h_0 = h_0.unflatten(-1, (len(self.layers), -1))
        h_0 = h_0.to(states_BSD.dtype)
        return h_0, torch.zeros_like(h_0)

    def forward(
        self, x: Tensor, past: Past, encoded: HybridEncoded, noise: Noise | None, *, shown: bool
    ) -> tuple[Tensor, Kept, list[Tensor | None]]:
        """The top; what a step keeps; the weights of each layer that attends."""
        mask, after = over_keys(encoded.mask_BS, x), list[Kept]()
        h = self._run(0, dropped(x, self.dropout, "decoder/input", noise), past, after)  # (a)
        seen = encoded.memories[0]
        c, weights = self.attend_source(h, seen, mask, past[1], shown=shown)  # (b)
        for n in range(1, len(self.layers)):
            both = dropped(torch.cat([h, c], dim=-1), self.dropout, f"decoder/{n}", noise)
            h = h + self._run(n, both, past, after)  # (c)
        h_tilde = torch.tanh(self.W_c(torch.cat([c, h], dim=-1)))  # (d)
        states = tuple(torch.stack(part, dim=1) for part in zip(*after, strict=True))
        return dropped(h_tilde, self.dropout, "decoder/readout", noise), states, [weights]

    def _run(self, n: int, x: Tensor, past: Past, after: list[Kept]) -> Tensor:
        """Layer ``n``, one position further (``after`` gets its state) or over all of them."""
        h, c = (part[:, n] for part in past[0])
        if x.dim() == 2:
            after.append(self.layers[n].step(x, h, c))
            return after[-1][0]
        all_BTD: Tensor = self.layers[n](x, h, c, cells=False)[0]
        return all_BTD


class SSRUDecoder(nn.Module):
    """Layers (their norms stand before each part) and the norm at the top."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        sizes = config.hidden_size, config.attention_heads, config.inner_size
        self.dropout = config.dropout
        self.layers = nn.ModuleList(prenorm.SSRULayer(*sizes) for _ in range(config.decoder_layers))
        self.norm = prenorm.RMSNorm(config.hidden_size)

    def memories(self, states_BSD: Tensor, turn: Turn | None) -> tuple[Memory, ...]:
        return tuple(layer.attend_source.memory(states_BSD, turn) for layer in self.layers)

    def first(self, states_BSD: Tensor, mask_BS: Tensor) -> Kept:
        return (states_BSD.new_zeros(len(states_BSD), len(self.layers), states_BSD.shape[-1]),)

    def forward(
        self, x: Tensor, past: Past, encoded: HybridEncoded, noise: Noise | None, *, shown: bool
    ) -> tuple[Tensor, Kept, list[Tensor | None]]:
        mask = over_keys(encoded.mask_BS, x)
        after, maps, rate = [], [], self.dropout
        x = dropped(x, rate, "decoder/input", noise)
        for n, layer in enumerate(self.layers):
            normal, c_BD = layer.norm_self(x), past[0][0][:, n]
            gate, value = layer.W_f(normal), layer.W(normal)
            pool = layer.pool.step if x.dim() == 2 else layer.pool
            c = pool(gate, value, c_BD)  # (1), (2)
            after.append(c)
            x = x + dropped(torch.relu(c), rate, f"decoder/{n}/self", noise)  # (3)
            normal, seen = layer.norm_source(x), encoded.memories[n]
            found, weights = layer.attend_source(normal, seen, mask, past[1], shown=shown)
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
            memories=self.decoder.memories(states, self._turn(None, x)),
            first=self.decoder.first(states, source.mask_BS),
            maps=by_head("encoder/", maps) if want & Want.MAPS else {},
        )

    def start(self, encoded: HybridEncoded) -> HybridState:
        return HybridState(
            kept=encoded.first,
            position_B=torch.zeros_like(encoded.mask_BS[:, 0], dtype=torch.long),
        )

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
        past = state.kept, self._turn(state.position_B, x)
        top, kept, cross = self.decoder(x, past, encoded, noise, shown=True)
        return Step(
            readout.logits(*self.symbols.before_softmax(top), None),
            shown_map(cross, *self.config.shown) if want & Want.WEIGHTS else None,
            HybridState(kept=kept, position_B=state.position_B + 1),
            by_head("", cross) if want & Want.MAPS else NO_MAPS,
        )

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        shown = bool(want & (Want.WEIGHTS | Want.MAPS))
        took("hybrid", "weights" if shown else "fused attention")
        encoded = self.encode(batch.source, noise=noise, want=want, shown=shown)
        x = self.symbols.target(batch.target_in_BT)
        past = encoded.first, self._turn(None, x)
        top, _, cross = self.decoder(x, past, encoded, noise, shown=shown)
        maps = {**encoded.maps, **by_head("", cross)}
        weights = shown_map(cross, *self.config.shown)
        before = self.symbols.before_softmax(top)
        return read_out(*before, None, batch, want=want, weights_BTS=weights, maps=maps)

    def _turn(self, position_B: Tensor | None, x: Tensor) -> Turn | None:
        """By what attention to the source turns x (B, D), or x (B, T, D)."""
        if not self.config.rotate_source:
            return None
        whole = torch.arange(x.shape[1], device=x.device) if position_B is None else position_B
        return prenorm.rotary(whole, self.config.hidden_size // self.config.attention_heads, x)
