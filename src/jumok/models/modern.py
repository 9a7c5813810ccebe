"""The Transformer as it is built today: pre-norm, RMSNorm, rotary positions, SwiGLU, no biases.

Nobody's paper as a whole; each part is one, and stands in ``nn/prenorm.py`` with its equation:

    input: Dropout(E y sqrt(D)); no position is added to it
    every sub-layer: x + Dropout(Sublayer(RMSNorm(x)))         (Xiong et al. 2020; Zhang 2019)
    encoder layer: self-attention, SwiGLU                      (Vaswani 2017, 3.1; Shazeer 2020)
    decoder layer: causal self-attention, attention to the source, SwiGLU
    queries and keys of self-attention: R_m q, R_n k           (Su et al. 2021: rotary)
    logits: W_s RMSNorm(x), W_s tied to the embedding

D = hidden_size, R = num_heads, K = D / R numbers a head, F = feedforward_size. Rotary positions
make a score depend on how far apart two symbols are and on nothing else about where they stand;
with ``rotate_source`` that goes for attention to the source, too (see ``docs/log.md``).

``forward`` takes all positions at once, ``step`` one through the same layers; keys are kept
turned, so that what stands in the memory is never touched again. ``transformer.py`` is the
paper's own. First weights: Glorot's, uniform.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jumok.errors import at_least_one
from jumok.models.contract import Encoded, Output, State, Step, Want, read_out
from jumok.nn import readout
from jumok.nn.attention import check_chosen, over_keys, weights_map
from jumok.nn.heads import (
    Memory,
    by_head,
    causal,
    default_heads,
    head_maps,
    shown_map,
    written,
)
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took
from jumok.nn.prenorm import (
    GroupedHeads,
    PreNormEncoder,
    PreNormLayer,
    RMSNorm,
    Symbols,
    Turn,
    check_grouped,
    first_weights,
    rotary,
    swiglu_size,
)
from jumok.records import NO_MAPS, Batch, MapSpec, Source


@dataclass(frozen=True, kw_only=True)
class ModernConfig:
    """Sizes and the few choices that are open."""

    hidden_size: int = 256
    """D"""
    num_heads: int | None = None
    """R; none = 8, 4, 2 or 1, whichever first gives heads of an even size."""
    num_kv_heads: int | None = None
    """Heads with keys and values of their own, shared by equally many queries each (Ainslie
    2023); none = all."""
    qk_norm: bool = False
    """RMSNorm on queries and keys: scores cannot grow without bound."""
    rotate_source: bool = True
    """Turn queries and keys of attention to the source as well, each by its own position: a head
    can then look so many places from the diagonal."""
    num_layers: int = 2
    """On both sides."""
    feedforward_size: int | None = None
    """F; none = 8/3 of the hidden size, a multiple of 8: as many weights as with 4 and ReLU."""
    dropout: float = 0.1
    """On the embeddings and on the output of every sub-layer."""
    tie: readout.Tie = "output"
    """Matrices that are one: the target's embedding and the one before the softmax (output),
    the source's embedding too (all: needs `data.shared`)."""
    embedding_size: int | None = None
    """None = the hidden size; else one matrix leads from this size to that."""
    alignment_layer: int | None = None
    """Decoder layer, from 1, whose attention to the source is the map that is drawn and
    aligned by; none = the last but one (Garg et al. 2019), if there are two."""
    alignment_head: int | None = None
    """Its head, from 1; none = the mean over its heads."""

    def __post_init__(self) -> None:
        at_least_one(num_layers=self.num_layers)
        check_grouped(self.hidden_size, self.heads, self.num_kv_heads)
        check_chosen("alignment_layer", self.alignment_layer, "num_layers", self.num_layers)
        check_chosen("alignment_head", self.alignment_head, "num_heads", self.heads)

    @property
    def heads(self) -> int:
        """R"""
        given = self.num_heads
        return default_heads(self.hidden_size, even=True) if given is None else given

    @property
    def inner_size(self) -> int:
        """F"""
        return self.feedforward_size or swiglu_size(self.hidden_size)

    @property
    def aligning_layer(self) -> int:
        """From 0."""
        return (self.alignment_layer or max(self.num_layers - 1, 1)) - 1

    def maps(self) -> tuple[MapSpec, ...]:
        """``weights``, then every head of every layer."""
        head = self.alignment_head
        of = "mean of heads" if head is None else f"head {head}"
        heads = self.num_layers, self.heads
        return (
            weights_map(f"layer {self.aligning_layer + 1}, {of}"),
            *head_maps("", "TS", "cross", "target to source", *heads),
            *head_maps("encoder/", "SS", "encoder", "source to itself", *heads),
            *head_maps("decoder/", "TT", "decoder", "target to what it read so far", *heads),
        )


@dataclass(frozen=True, kw_only=True)
class ModernEncoded(Encoded):
    memories: tuple[Memory, ...]
    """What each decoder layer attends to, (B, G, S, K) twice."""


@dataclass(frozen=True, kw_only=True)
class ModernState(State):
    memories: tuple[Memory, ...]
    """Turned keys, and values, of the positions so far; longer by one at every step."""
    position_B: Tensor
    """Where the next symbol stands; what the memories hold from there on is not real."""


class DecoderLayer(PreNormLayer):
    def __init__(
        self, size: int, num_heads: int, inner_size: int, num_kv_heads: int | None, qk_norm: bool
    ) -> None:
        super().__init__(size, num_heads, inner_size, num_kv_heads, qk_norm)
        self.norm_source = RMSNorm(size)
        self.attend_source = GroupedHeads(size, num_heads, num_kv_heads, qk_norm)


class Modern(nn.Module):
    """Encoder and decoder, pre-norm."""

    paper = "forward"

    def __init__(
        self, config: ModernConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.maps = config.maps()
        D, L = config.hidden_size, config.num_layers
        self.symbols = Symbols(source_size, target_size, D, config.embedding_size, config.tie)
        sizes = D, config.heads, config.inner_size
        grouped = {"num_kv_heads": config.num_kv_heads, "qk_norm": config.qk_norm}
        self.encoder = PreNormEncoder(*sizes, L, dropout=config.dropout, **grouped)
        self.decoder = nn.ModuleList(DecoderLayer(*sizes, **grouped) for _ in range(L))
        self.norm = RMSNorm(D)
        first_weights(self, seed)

    def encode(
        self,
        source: Source,
        *,
        noise: Noise | None = None,
        want: Want = Want.NOTHING,
        shown: bool = True,
    ) -> ModernEncoded:
        """``shown=False``: fused attention, for ``forward`` alone, since its last bits differ."""
        x = self.symbols.source(source.ids_BS)
        states, maps = self.encoder(x, source.mask_BS, noise=noise, shown=shown)
        turn = rotary(torch.arange(x.shape[1], device=x.device), self.encoder.head_size, x)
        turn_source = turn if self.config.rotate_source else None
        return ModernEncoded(
            mask_BS=source.mask_BS,
            memories=tuple(d.attend_source.memory(states, turn_source) for d in self.decoder),
            maps=by_head("encoder/", maps) if want & Want.MAPS else {},
        )

    def start(self, encoded: ModernEncoded) -> ModernState:
        return ModernState(
            memories=tuple((k[:, :, :0], v[:, :, :0]) for k, v in encoded.memories),
            position_B=torch.zeros_like(encoded.mask_BS[:, 0], dtype=torch.long),
        )

    def step(
        self,
        token_B: Tensor,
        state: ModernState,
        encoded: ModernEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        x = self.symbols.target(token_B)
        slot_C = torch.arange(state.memories[0][0].shape[2] + 1, device=x.device)
        so_far = slot_C <= state.position_B.unsqueeze(1)
        turn = rotary(state.position_B, self.encoder.head_size, x)
        top, memories, own, cross = self._decode(x, encoded, state, so_far, turn, noise)
        return Step(
            readout.logits(*self.symbols.before_softmax(top), None),
            self._alignment(cross) if want & Want.WEIGHTS else None,
            ModernState(memories=tuple(memories), position_B=state.position_B + 1),
            by_head("", cross) | by_head("decoder/", own) if want & Want.MAPS else NO_MAPS,
        )

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        shown = bool(want & (Want.WEIGHTS | Want.MAPS))
        took("modern", "weights" if shown else "fused attention")
        encoded = self.encode(batch.source, noise=noise, want=want, shown=shown)
        x = self.symbols.target(batch.target_in_BT)
        turn = rotary(torch.arange(x.shape[1], device=x.device), self.encoder.head_size, x)
        so_far = causal(x.shape[1], x.device)
        top, _, own, cross = self._decode(x, encoded, None, so_far, turn, noise, shown=shown)
        maps = {**encoded.maps, **by_head("", cross), **by_head("decoder/", own)}
        before, weights = self.symbols.before_softmax(top), self._alignment(cross)
        return read_out(*before, None, batch, want=want, weights_BTS=weights, maps=maps)

    def _decode(
        self,
        x: Tensor,
        encoded: ModernEncoded,
        state: ModernState | None,
        so_far: Tensor,
        turn: Turn,
        noise: Noise | None,
        *,
        shown: bool = True,
    ) -> tuple[Tensor, list[Memory], list[Tensor | None], list[Tensor | None]]:
        """All layers over x (B, T, D), or over x (B, D) that follows on ``state``: the top, and of
        each layer the memory of what was written and both weights."""
        rate, memories, owns, crosses = self.config.dropout, [], [], []
        x = dropped(x, rate, "decoder/input", noise)
        mask = over_keys(encoded.mask_BS, x)
        turn_source = turn if self.config.rotate_source else None
        for n, layer in enumerate(self.decoder):
            normal = layer.norm_self(x)
            memory = layer.attend_self.memory(normal, turn)
            if state is not None:
                memory = written(state.memories[n], memory, state.position_B)
            found, own = layer.attend_self(normal, memory, so_far, turn, shown=shown)
            x = x + dropped(found, rate, f"decoder/{n}/self", noise)
            normal = layer.norm_source(x)
            found, cross = layer.attend_source(
                normal, encoded.memories[n], mask, turn_source, shown=shown
            )
            x = x + dropped(found, rate, f"decoder/{n}/source", noise)
            found = layer.feed_forward(layer.norm_feed(x))
            x = x + dropped(found, rate, f"decoder/{n}/feed", noise)
            memories.append(memory)
            owns.append(own)
            crosses.append(cross)
        return self.norm(x), memories, owns, crosses

    def _alignment(self, cross: list[Tensor | None]) -> Tensor | None:
        return shown_map(cross, self.config.aligning_layer, self.config.alignment_head)
