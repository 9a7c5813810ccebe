"""Multi-head attention: several small attentions side by side, each in its own projection.

Vaswani 2017, 3.2. R heads share D numbers: each has K = D / R of them.

    Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V                               (1)
    MultiHead(Q, K, V) = Concat(head_1 .. head_R) W_o                               (3.2.2)
    head_i = Attention(Q W_q,i, K W_k,i, V W_v,i)

A query is (B, D) inside a step or (B, T, D) for all steps at once, as in ``nn.attention``.
Where nobody wants the weights, PyTorch's fused attention computes the same context. In place of
the softmax stands whatever ``weigh`` knows, as in Correia, Niculae & Martins 2019 (entmax) and
Zhang, Titov & Sennrich 2021 (ReLA, whose norm is over all heads together).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jumok.errors import ConfigError
from jumok.nn.attention import Normalize, context_norm, dot_scores, mix, weigh
from jumok.records import MapKind, MapSpec

__all__ = [
    "Memory",
    "MultiHead",
    "attend_heads",
    "by_head",
    "causal",
    "check_heads",
    "default_heads",
    "fused_heads",
    "head_maps",
    "seen_by_heads",
    "shown_map",
    "split_heads",
    "written",
]

Memory = tuple[Tensor, Tensor]
"""Keys and values of what can be attended to, (B, R, S, K) each."""


class MultiHead(nn.Module):
    """MultiHead of 3.2.2, without biases, as in the paper."""

    def __init__(self, size: int, num_heads: int, normalize: Normalize = "softmax") -> None:
        super().__init__()
        self.num_heads, self.normalize = num_heads, normalize
        self.W_q = nn.Linear(size, size, bias=False)
        self.W_k = nn.Linear(size, size, bias=False)
        self.W_v = nn.Linear(size, size, bias=False)
        self.W_o = nn.Linear(size, size, bias=False)
        self.norm = context_norm(normalize, size)

    def memory(self, x: Tensor) -> Memory:
        """Keys and values of ``x``: (B, S, D) -> (B, R, S, K) each, (B, D) -> (B, R, K) each."""
        keys, values = self.W_k(x), self.W_v(x)
        return split_heads(keys, self.num_heads), split_heads(values, self.num_heads)

    def forward(
        self, x: Tensor, memory: Memory, mask: Tensor, *, shown: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """What ``x`` finds in ``memory`` and, with ``shown``, the weights of each head.

        x (B, D), mask (B, S) -> (B, D), (B, R, S); x (B, T, D), mask (1 or B, 1 or T, S) ->
        (B, T, D), (B, R, T, S).
        """
        query = split_heads(self.W_q(x), self.num_heads)
        context, weights = seen_by_heads(query, memory, mask, self.normalize, shown=shown)
        return self.W_o(self.norm(context)), weights


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, R K) -> (B, R, T, K), (B, R K) -> (B, R, K), R being ``heads``."""
    parts = x.unflatten(-1, (heads, -1))
    return parts.transpose(1, 2) if parts.dim() == 4 else parts


def seen_by_heads(
    query: Tensor,
    memory: Memory,
    mask: Tensor,
    normalize: Normalize = "softmax",
    *,
    shown: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Contexts side by side, (B, R K) or (B, T, R K), and the weights if ``shown``.

    query as in ``attend_heads``; the mask has no axis for heads. Weights that nobody wants are
    never made where the fused form has the same context.
    """
    mask, weights = mask.unsqueeze(1), None
    if shown or normalize != "softmax":
        context, weights = attend_heads(query, memory, mask, normalize)
    else:
        context = fused_heads(query, memory, mask)
    joined = context.transpose(1, 2) if context.dim() == 4 else context
    return joined.flatten(-2), weights


def attend_heads(
    query: Tensor, memory: Memory, mask: Tensor, normalize: Normalize = "softmax"
) -> tuple[Tensor, Tensor]:
    """(context, weights) of every head (1); a head is a row more to ``nn.attention``.

    query (B, R, K) or (B, R, T, K); the mask broadcasts against the weights. A query that may
    attend nowhere gets zeros.
    """
    rows = query.shape[:2]
    keys, values = (kept.flatten(0, 1) for kept in memory)
    query = (query * query.shape[-1] ** -0.5).flatten(0, 1)
    weights = weigh(dot_scores(query, keys).unflatten(0, rows), mask, normalize)
    return mix(weights.flatten(0, 1), values).unflatten(0, rows), weights


def fused_heads(query: Tensor, memory: Memory, mask: Tensor) -> Tensor:
    """The context of ``attend_heads``; the weights are never kept."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # Measured: up to 256 positions PyTorch's is 2 to 7 times slower there than the products.
        return attend_heads(query, memory, mask)[0]
    if query.dim() == 3:
        return fused_heads(query.unsqueeze(2), memory, mask.unsqueeze(2)).squeeze(2)
    somewhere = mask.any(dim=-1, keepdim=True)
    return F.scaled_dot_product_attention(query, *memory, mask | ~somewhere) * somewhere


def causal(length: int, device: torch.device) -> Tensor:
    """(1, T, T): position t may attend to itself and to those before it."""
    return torch.ones(1, length, length, dtype=torch.bool, device=device).tril()


def written(cache: Memory, new: Memory, position_B: Tensor) -> Memory:
    """``cache`` (C slots) one slot longer, with ``new`` (B, R, K) in each row's ``position``.

    Slot p holds position p in every row, so rows that stand at different positions can share a
    batch: what lies beyond a row's own position is not real and has to be masked.
    """
    place_B111 = position_B.view(-1, 1, 1, 1)

    def longer(kept_BRCK: Tensor, one_BRK: Tensor) -> Tensor:
        one = one_BRK.unsqueeze(2).to(kept_BRCK.dtype)
        return torch.cat([kept_BRCK, one], dim=2).scatter_(2, place_B111.expand_as(one), one)

    return longer(cache[0], new[0]), longer(cache[1], new[1])


def head_maps(
    place: str,
    axes: str,
    kind: MapKind,
    about: str,
    num_layers: int,
    num_heads: int,
    normalize: Normalize = "softmax",
) -> tuple[MapSpec, ...]:
    """What ``by_head`` gives: a map for every head of every layer."""
    numbers = [(n + 1, m + 1) for n in range(num_layers) for m in range(num_heads)]
    sums = (False, normalize != "rela", normalize != "rela")
    return tuple(MapSpec(f"{place}layer{n}/head{m}", axes, kind, about, *sums) for n, m in numbers)


def shown_map(layers: Sequence[Tensor | None], layer: int, head: int | None) -> Tensor | None:
    """The map of a layer (from 0): one head (from 1), or the mean of all; None where fused
    attention kept none."""
    heads = layers[layer]
    if heads is None:
        return None
    return heads.mean(dim=1) if head is None else heads[:, head - 1]


def default_heads(hidden_size: int, *, even: bool = False) -> int:
    """8, 4, 2 or 1, whichever first divides the size into heads (``even``: of an even size)."""
    unit = 2 if even else 1
    return next((n for n in (8, 4, 2) if hidden_size % (unit * n) == 0), 1)


def check_heads(
    hidden_size: int, num_heads: int, *, named: str = "num_heads", even: bool = False
) -> None:
    """ConfigError where such heads cannot be; ``even``: rotary positions turn pairs of numbers."""
    if num_heads < 1 or hidden_size % num_heads:
        raise ConfigError(
            f"`hidden_size` ({hidden_size}) must be divisible by `{named}` ({num_heads})."
        )
    if even and hidden_size // num_heads % 2:
        raise ConfigError(
            f"A head has {hidden_size // num_heads} numbers (`hidden_size` {hidden_size} / "
            f"`{named}` {num_heads}), but rotary positions turn pairs of them.",
            hint="choose sizes whose quotient is even.",
        )


def by_head(place: str, layers: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """``place`` + layer2/head1 -> weights, counted from 1; each layer is (B, R, ...)."""
    return {
        f"{place}layer{n}/head{m}": weights
        for n, heads in enumerate(layers, 1)
        if heads is not None
        for m, weights in enumerate(heads.unbind(dim=1), 1)
    }
