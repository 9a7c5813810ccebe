"""The Transformer's parts as they are built today: RMSNorm, rotary positions, SwiGLU, pre-norm.

    RMSNorm(x) = g x / sqrt(mean(x^2) + eps)                    (Zhang & Sennrich 2019, eq. 4)
    R_m x: pair i of x turned by the angle m theta_i,
        theta_i = 10000^(-2 i / K), i = 0 .. K/2 - 1            (Su et al. 2021, eq. 15, 34)
    (R_m q) . (R_n k) = q . R_(n-m) k: only n - m counts        (ibid., eq. 16)
    SwiGLU(x) = (Swish(x W_1) * x V) W_2, Swish(a) = a sigmoid(a)       (Shazeer 2020, eq. 6)
    every sub-layer: x + Dropout(Sublayer(RMSNorm(x))); one norm more at the top
                                                                (Xiong et al. 2020, table 1)

R heads of K = D / R numbers each; no biases anywhere. G = ``num_kv_heads`` of them have keys
and values of their own, and R / G queries share each (Ainslie et al. 2023: grouped queries).
With ``qk_norm`` queries and keys go through RMSNorm before they are turned (Henry et al. 2020
divide by the length; the norm with gains is how it is done today).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.errors import ConfigError
from jumok.nn.attention import over_keys, rms_scaled
from jumok.nn.heads import Memory, check_heads, seen_by_heads, split_heads
from jumok.nn.linear_recurrence import ForgetPool
from jumok.nn.noise import Noise, dropped
from jumok.nn.readout import Tie, before_softmax, check_tie

__all__ = [
    "GroupedHeads",
    "PreNormEncoder",
    "PreNormLayer",
    "RMSNorm",
    "SSRULayer",
    "SwiGLU",
    "Symbols",
    "Turn",
    "check_grouped",
    "first_weights",
    "rotary",
    "swiglu_size",
    "turned",
]

Turn = tuple[Tensor, Tensor]
"""Cosine and sine of every angle, (T, K/2) or (B, K/2)."""


class RMSNorm(nn.Module):
    """g x / sqrt(mean(x^2) + eps); float32 inside."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return rms_scaled(x) * self.gain


class SwiGLU(nn.Module):
    """(Swish(x W_1) * x V) W_2, the same for every position."""

    def __init__(self, size: int, inner_size: int) -> None:
        super().__init__()
        self.W_1 = nn.Linear(size, inner_size, bias=False)
        self.V = nn.Linear(size, inner_size, bias=False)
        self.W_2 = nn.Linear(inner_size, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.W_2(F.silu(self.W_1(x)) * self.V(x))
        return inner


def rotary(position: Tensor, size: int, like: Tensor) -> Turn:
    """Cosine and sine of position theta_i, (...) -> (..., size / 2), for heads of ``size``.

    In float64 before they are rounded to the precision of ``like``, or to float32: see
    ``nn.positions``. Any position will do: there is no table that could end.
    """
    pair = torch.arange(size // 2, device=position.device)
    angle = position.double().unsqueeze(-1) * 10000.0 ** (-2.0 * pair.double() / size)
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return torch.cos(angle).to(dtype), torch.sin(angle).to(dtype)


def turned(x: Tensor, turn: Turn) -> Tensor:
    """R_m x: (B, R, T, K) by angles (T, K/2), or (B, R, K) by (B, K/2)."""
    cos, sin = (part if x.dim() == 4 else part.unsqueeze(1) for part in turn)
    even, odd = x[..., 0::2], x[..., 1::2]
    pairs = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return pairs.flatten(-2).to(x.dtype)


class GroupedHeads(nn.Module):
    """Multi-head attention (Vaswani 2017, 3.2.2), with the options named above."""

    def __init__(
        self, size: int, num_heads: int, num_kv_heads: int | None = None, qk_norm: bool = False
    ) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads or num_heads
        head_size = size // num_heads
        self.W_q = nn.Linear(size, size, bias=False)
        self.W_k = nn.Linear(size, self.num_kv_heads * head_size, bias=False)
        self.W_v = nn.Linear(size, self.num_kv_heads * head_size, bias=False)
        self.W_o = nn.Linear(size, size, bias=False)
        self.norm_q = RMSNorm(head_size) if qk_norm else None
        self.norm_k = RMSNorm(head_size) if qk_norm else None

    def memory(self, x: Tensor, turn: Turn | None = None) -> Memory:
        """Keys, turned, and values: (B, S, D) -> (B, G, S, K) each, (B, D) -> (B, G, K) each."""
        keys = self._made(self.W_k(x), self.num_kv_heads, self.norm_k, turn)
        return keys, self._made(self.W_v(x), self.num_kv_heads, None, None)

    def forward(
        self,
        x: Tensor,
        memory: Memory,
        mask: Tensor,
        turn: Turn | None = None,
        *,
        shown: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``nn.heads.MultiHead``: what ``x`` finds and, with ``shown``, each head's weights."""
        query = self._made(self.W_q(x), self.num_heads, self.norm_q, turn)
        share = self.num_heads // self.num_kv_heads
        if share > 1:
            memory = memory[0].repeat_interleave(share, 1), memory[1].repeat_interleave(share, 1)
        context, weights = seen_by_heads(query, memory, mask, shown=shown)
        return self.W_o(context), weights

    def _made(self, x: Tensor, heads: int, norm: RMSNorm | None, turn: Turn | None) -> Tensor:
        """(B, T, heads K) -> (B, heads, T, K), (B, heads K) -> (B, heads, K)."""
        parts = split_heads(x, heads)
        parts = parts if norm is None else norm(parts).to(x.dtype)
        return parts if turn is None else turned(parts, turn)


class PreNormLayer(nn.Module):
    """Self-attention and SwiGLU, each behind its norm."""

    def __init__(
        self, size: int, num_heads: int, inner_size: int, num_kv_heads: int | None, qk_norm: bool
    ) -> None:
        super().__init__()
        self.norm_self, self.norm_feed = RMSNorm(size), RMSNorm(size)
        self.attend_self = GroupedHeads(size, num_heads, num_kv_heads, qk_norm)
        self.feed_forward = SwiGLU(size, inner_size)


class SSRULayer(nn.Module):
    """A decoder's: SSRU (Kim et al. 2019), attention to the source, SwiGLU, each behind its norm;
    ``models/hybrid.py`` has the equations."""

    def __init__(self, size: int, num_heads: int, inner_size: int) -> None:
        super().__init__()
        self.norm_self, self.norm_source = RMSNorm(size), RMSNorm(size)
        self.norm_feed = RMSNorm(size)
        self.W_f, self.W = nn.Linear(size, size), nn.Linear(size, size, bias=False)
        self.pool = ForgetPool(size)
        self.attend_source = GroupedHeads(size, num_heads)
        self.feed_forward = SwiGLU(size, inner_size)


class PreNormEncoder(nn.Module):
    """``num_layers`` layers over whole sources and the norm at the top."""

    def __init__(
        self,
        size: int,
        num_heads: int,
        inner_size: int,
        num_layers: int,
        *,
        num_kv_heads: int | None = None,
        qk_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout, self.head_size = dropout, size // num_heads
        grouped = num_kv_heads, qk_norm
        self.layers = nn.ModuleList(
            PreNormLayer(size, num_heads, inner_size, *grouped) for _ in range(num_layers)
        )
        self.norm = RMSNorm(size)

    def forward(
        self, x: Tensor, mask_BS: Tensor, *, noise: Noise | None = None, shown: bool = True
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Embedded sources (B, S, D) -> what the decoder attends to, and each layer's weights."""
        x = dropped(x, self.dropout, "encoder/input", noise)
        mask, maps = over_keys(mask_BS, x), []
        turn = rotary(torch.arange(x.shape[1], device=x.device), self.head_size, x)
        for n, layer in enumerate(self.layers):
            normal = layer.norm_self(x)
            memory = layer.attend_self.memory(normal, turn)
            found, weights = layer.attend_self(normal, memory, mask, turn, shown=shown)
            x = x + dropped(found, self.dropout, f"encoder/{n}/self", noise)
            found = layer.feed_forward(layer.norm_feed(x))
            x = x + dropped(found, self.dropout, f"encoder/{n}/feed", noise)
            maps.append(weights)
        return self.norm(x), maps


class Symbols(nn.Module):
    """Where symbols become vectors, and vectors scores of symbols.

    ``tie``: the matrix before the softmax is the target's embedding (output), and so is the
    source's embedding (all, for one vocabulary), or nothing is. Embeddings may be narrower than
    the model: one matrix leads from ``embedding_size`` to ``size``.
    """

    def __init__(
        self, source_size: int, target_size: int, size: int, embedding_size: int | None, tie: Tie
    ) -> None:
        super().__init__()
        check_tie(tie, source_size, target_size)
        E, self.size = embedding_size or size, size
        one, untied = tie == "all", tie == "nothing"
        self.source_embedding = None if one else nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        self.widen = nn.Linear(E, size, bias=False) if size != E else None
        self.W_s = nn.Parameter(torch.zeros(target_size, size)) if untied else None

    def source(self, ids: Tensor) -> Tensor:
        """E x sqrt(D)"""
        own = self.source_embedding
        return self._embedded(ids, self.target_embedding if own is None else own)

    def target(self, ids: Tensor) -> Tensor:
        """E y sqrt(D)"""
        return self._embedded(ids, self.target_embedding)

    def _embedded(self, ids: Tensor, table_VE: Tensor) -> Tensor:
        x = F.embedding(ids, table_VE)
        return (x if self.widen is None else self.widen(x)) * self.size**0.5

    def before_softmax(self, top: Tensor) -> tuple[Tensor, Tensor]:
        """``nn.readout.before_softmax``."""
        widen = None if self.widen is None else self.widen.weight
        return before_softmax(top, self.W_s, self.target_embedding, widen)


def first_weights(model: nn.Module, seed: int) -> None:
    """Glorot's, uniform; embeddings so that E y sqrt(D) has variance 1; gains 1, biases 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if "embedding" in name:
            init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)
        elif "widen" in name:  # sums E numbers of variance 1 / E; sqrt(D) comes after it
            init.normal_(weight, std=weight.shape[0] ** -0.5, generator=generator)
        elif weight.dim() > 1:
            init.xavier_uniform_(weight, generator=generator)
        elif "norm" not in name:
            init.zeros_(weight)


def swiglu_size(hidden_size: int) -> int:
    """8/3 of it, rounded up to a multiple of 8: as many weights as with 4 and one matrix less."""
    return -(-hidden_size // 3) * 8


def check_grouped(hidden_size: int, num_heads: int, num_kv_heads: int | None) -> None:
    """ConfigError where ``GroupedHeads`` of rotary positions cannot be so many."""
    check_heads(hidden_size, num_heads, even=True)
    if num_kv_heads is not None and (num_kv_heads < 1 or num_heads % num_kv_heads):
        raise ConfigError(
            f"`num_heads` ({num_heads}) must be divisible by `num_kv_heads` ({num_kv_heads}): "
            "so many queries share each pair of keys and values."
        )
