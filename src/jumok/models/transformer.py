"""Vaswani et al. 2017: the Transformer, attention alone; post-norm, sinusoidal positions.

"Attention Is All You Need", section 3, figure 1 from bottom to top.

    input: Dropout(E y sqrt(d_model) + PE(position))                                (3.4, 3.5)
    Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V, h heads side by side         (1)
    FFN(x) = max(0, x W_1 + b_1) W_2 + b_2                                          (2)
    every sub-layer: LayerNorm(x + Dropout(Sublayer(x)))                            (3.1, 5.4)
    encoder layer: self-attention, FFN                                              (3.1)
    decoder layer: causal self-attention, attention to the source, FFN              (3.1)

d_model is D = hidden_size, h is R = num_heads, d_k = d_v is K = D / R, d_ff is feedforward_size.
(1) stands in ``nn/heads.py``, (2) in ``nn/feedforward.py``, PE in ``nn/positions.py``.

``forward`` is the paper: all positions at once. ``step`` takes one position through the same
layers and keeps the keys and values of those before it. Where we depart: sizes, and the source has
an embedding of its own (``transformer-base`` and ``-big`` are the paper's, for one vocabulary);
embeddings may be narrower than the model. First weights, of which it is silent: Glorot's, uniform.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.errors import at_least_one
from jumok.models.contract import Encoded, Output, State, Step, Want, read_out
from jumok.nn import readout
from jumok.nn.attention import Normalize, check_chosen, over_keys, weights_map
from jumok.nn.feedforward import FeedForward
from jumok.nn.heads import (
    Memory,
    MultiHead,
    by_head,
    causal,
    check_heads,
    default_heads,
    head_maps,
    shown_map,
    written,
)
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took
from jumok.nn.positions import sinusoids
from jumok.records import NO_MAPS, Batch, MapSpec, Source


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """The sizes of the paper's base model in brackets."""

    hidden_size: int = 256
    """[512] d_model."""
    num_heads: int | None = None
    """[8] h; none = 8, 4, 2 or 1, whichever is the first to divide the hidden size."""
    num_layers: int = 2
    """[6] N, on both sides."""
    feedforward_size: int | None = None
    """[2048] d_ff; none = four times the hidden size."""
    dropout: float = 0.1
    """[0.1] On the output of every sub-layer and on the sums of embeddings and positions."""
    normalize: Normalize = "softmax"
    """How scores become weights in every attention [softmax]."""
    tie: readout.Tie = "output"
    """[all] Matrices that are one: the target's embedding and the one before the softmax
    (output), the source's embedding too (all: needs `data.shared`)."""
    embedding_size: int | None = None
    """[512] None = the hidden size; else one matrix leads from this size to that."""
    alignment_layer: int | None = None
    """Decoder layer, from 1, whose attention to the source is the map that is drawn and
    aligned by; none = the last but one (Garg et al. 2019), if there are two."""
    alignment_head: int | None = None
    """Its head, from 1; none = the mean over its heads."""

    def __post_init__(self) -> None:
        at_least_one(num_layers=self.num_layers)
        check_heads(self.hidden_size, self.heads)
        check_chosen("alignment_layer", self.alignment_layer, "num_layers", self.num_layers)
        check_chosen("alignment_head", self.alignment_head, "num_heads", self.heads)

    @property
    def heads(self) -> int:
        """R"""
        return default_heads(self.hidden_size) if self.num_heads is None else self.num_heads

    @property
    def aligning_layer(self) -> int:
        """From 0."""
        return (self.alignment_layer or max(self.num_layers - 1, 1)) - 1

    def maps(self) -> tuple[MapSpec, ...]:
        """``weights``, then every head of every layer."""
        head = self.alignment_head
        of = "mean of heads" if head is None else f"head {head}"
        heads = self.num_layers, self.heads, self.normalize
        return (
            weights_map(f"layer {self.aligning_layer + 1}, {of}", self.normalize),
            *head_maps("", "TS", "cross", "target to source", *heads),
            *head_maps("encoder/", "SS", "encoder", "source to itself", *heads),
            *head_maps("decoder/", "TT", "decoder", "target to what it read so far", *heads),
        )


@dataclass(frozen=True, kw_only=True)
class TransformerEncoded(Encoded):
    memories: tuple[Memory, ...]
    """What each decoder layer attends to."""


@dataclass(frozen=True, kw_only=True)
class TransformerState(State):
    memories: tuple[Memory, ...]
    """What each decoder layer has made of the positions so far; longer by one at every step."""
    position_B: Tensor
    """Where the next symbol stands; what the memories hold from there on is not real."""


class EncoderLayer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.attend_self = MultiHead(size, config.heads, config.normalize)
        self.norm_self = nn.LayerNorm(size, eps=1e-6)
        self.feed_forward = FeedForward(size, config.feedforward_size or 4 * size)
        self.norm_feed = nn.LayerNorm(size, eps=1e-6)


class DecoderLayer(EncoderLayer):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.attend_source = MultiHead(config.hidden_size, config.heads, config.normalize)
        self.norm_source = nn.LayerNorm(config.hidden_size, eps=1e-6)


class Transformer(nn.Module):
    """Encoder and decoder of figure 1."""

    paper = "forward"

    def __init__(
        self, config: TransformerConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.maps = config.maps()
        D, E, L = config.hidden_size, config.embedding_size or config.hidden_size, config.num_layers
        readout.check_tie(config.tie, source_size, target_size)
        one = config.tie == "all"
        self.source_embedding = None if one else nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        self.widen = nn.Linear(E, D, bias=False) if E != D else None
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(L))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(L))
        self.W_s = nn.Parameter(torch.zeros(target_size, D)) if config.tie == "nothing" else None
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if "embedding" in name or name == "widen.weight":  # so that E y sqrt(D) has variance 1
                init.normal_(weight, std=(E if "emb" in name else D) ** -0.5, generator=generator)
            elif weight.dim() > 1:
                init.xavier_uniform_(weight, generator=generator)
            elif "norm" not in name:
                init.zeros_(weight)

    def encode(
        self,
        source: Source,
        *,
        noise: Noise | None = None,
        want: Want = Want.NOTHING,
        shown: bool = True,
    ) -> TransformerEncoded:
        """``shown=False``: fused attention, for ``forward`` alone, since its last bits differ."""
        own = self.source_embedding
        x = self._input(source.ids_BS, self.target_embedding if own is None else own)
        x = dropped(x, self.config.dropout, "encoder/input", noise)
        mask, maps = over_keys(source.mask_BS, x), []
        for n, layer in enumerate(self.encoder):
            drop = self._dropping(f"encoder/{n}", noise)
            attended, weights = layer.attend_self(x, layer.attend_self.memory(x), mask, shown=shown)
            x = layer.norm_self(x + drop("self", attended))
            x = layer.norm_feed(x + drop("feed", layer.feed_forward(x)))
            maps.append(weights)
        return TransformerEncoded(
            mask_BS=source.mask_BS,
            memories=tuple(layer.attend_source.memory(x) for layer in self.decoder),
            maps=by_head("encoder/", maps) if want & Want.MAPS else {},
        )

    def start(self, encoded: TransformerEncoded) -> TransformerState:
        return TransformerState(
            memories=tuple((k[:, :, :0], v[:, :, :0]) for k, v in encoded.memories),
            position_B=torch.zeros_like(encoded.mask_BS[:, 0], dtype=torch.long),
        )

    def step(
        self,
        token_B: Tensor,
        state: TransformerState,
        encoded: TransformerEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        x = self._input(token_B, self.target_embedding, state.position_B)
        top, memories, own, cross = self._decode(x, encoded, state, noise)
        return Step(
            readout.logits(*self._before_softmax(top), None),
            self._alignment(cross) if want & Want.WEIGHTS else None,
            TransformerState(memories=tuple(memories), position_B=state.position_B + 1),
            by_head("", cross) | by_head("decoder/", own) if want & Want.MAPS else NO_MAPS,
        )

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        shown = bool(want & (Want.WEIGHTS | Want.MAPS)) or self.config.normalize != "softmax"
        took("transformer", "weights" if shown else "fused attention")
        encoded = self.encode(batch.source, noise=noise, want=want, shown=shown)
        x = self._input(batch.target_in_BT, self.target_embedding)
        top, _, own, cross = self._decode(x, encoded, None, noise, shown=shown)
        maps = {**encoded.maps, **by_head("", cross), **by_head("decoder/", own)}
        before, weights = self._before_softmax(top), self._alignment(cross)
        return read_out(*before, None, batch, want=want, weights_BTS=weights, maps=maps)

    def _decode(
        self,
        x: Tensor,
        encoded: TransformerEncoded,
        state: TransformerState | None,
        noise: Noise | None,
        *,
        shown: bool = True,
    ) -> tuple[Tensor, list[Memory], list[Tensor | None], list[Tensor | None]]:
        """All layers over x (B, T, D), or over x (B, D) that follows on ``state``: the top, and of
        each layer the memory of what was written and both weights."""
        x = dropped(x, self.config.dropout, "decoder/input", noise)
        memories, owns, crosses = [], [], []
        mask = over_keys(encoded.mask_BS, x)
        if state is None:
            so_far = causal(x.shape[1], x.device)
        else:
            slot_C = torch.arange(state.memories[0][0].shape[2] + 1, device=x.device)
            so_far = slot_C <= state.position_B.unsqueeze(1)
        for n, layer in enumerate(self.decoder):
            drop = self._dropping(f"decoder/{n}", noise)
            memory = layer.attend_self.memory(x)
            if state is not None:
                memory = written(state.memories[n], memory, state.position_B)
            attended, own = layer.attend_self(x, memory, so_far, shown=shown)
            x = layer.norm_self(x + drop("self", attended))
            attended, cross = layer.attend_source(x, encoded.memories[n], mask, shown=shown)
            x = layer.norm_source(x + drop("source", attended))
            x = layer.norm_feed(x + drop("feed", layer.feed_forward(x)))
            memories.append(memory)
            owns.append(own)
            crosses.append(cross)
        return x, memories, owns, crosses

    def _input(self, ids: Tensor, table_VE: Tensor, position: Tensor | None = None) -> Tensor:
        """E y sqrt(d_model) + PE(position); positions of whole sequences count from 0."""
        if position is None:
            position = torch.arange(ids.shape[1], device=ids.device)
        D = self.config.hidden_size
        x = F.embedding(ids, table_VE)
        x = (x if self.widen is None else self.widen(x)) * D**0.5
        return x + sinusoids(position, D).to(x.dtype)

    def _dropping(self, site: str, noise: Noise | None) -> Callable[[str, Tensor], Tensor]:
        """Dropout on the output of a sub-layer (5.4)."""
        return lambda part, x: dropped(x, self.config.dropout, f"{site}/{part}", noise)

    def _before_softmax(self, top: Tensor) -> tuple[Tensor, Tensor]:
        """``nn.readout.before_softmax``: the embedding's own matrix, if tied (3.4)."""
        widen = None if self.widen is None else self.widen.weight
        return readout.before_softmax(top, self.W_s, self.target_embedding, widen)

    def _alignment(self, cross: list[Tensor | None]) -> Tensor | None:
        return shown_map(cross, self.config.aligning_layer, self.config.alignment_head)
