"""From hidden states to likelihoods: linear and softmax, in chunks where the vocabulary is big."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from jumok.errors import ConfigError

__all__ = ["Tie", "before_softmax", "check_tie", "likelihood", "logits", "uniform"]

Tie = Literal["nothing", "output", "all"]
"""Matrices that are one: the target's embedding and the one before the softmax (output), the
source's embedding too (all)."""

CHUNK_ELEMENTS = 1 << 24
"""Logits held at once in training (64 MB in float32); more is computed again in backward."""


def logits(hidden: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
    """Scores of every symbol, (..., D) -> (..., V), in float32 (float64 stays)."""
    scores = F.linear(hidden, weight_VD, bias_V)
    return scores if scores.dtype == torch.float64 else scores.float()


def check_tie(tie: Tie, source_size: int, target_size: int) -> None:
    """ConfigError where the two sides are to share a matrix and have two vocabularies."""
    if tie == "all" and source_size != target_size:
        raise ConfigError(
            f"`tie` = all needs one vocabulary for both sides, but the source has {source_size} "
            f"symbols and the target {target_size}.",
            hint="--data.shared true makes one of the two; or --model.tie output.",
        )


def before_softmax(
    top: Tensor, own_VD: Tensor | None, embedding_VE: Tensor, widen_DE: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Two matrices whose product are the logits (Vaswani 2017, 3.4).

    The second is the model's ``own`` where nothing is tied, and else the target's embedding;
    where that is narrower than ``top`` (..., D), ``widen`` is what leads from one to the other.
    """
    if own_VD is not None:
        return top, own_VD
    if widen_DE is not None:  # an embedding is E W^T, so the logits are top (E W^T)^T
        top = F.linear(top, widen_DE.T)
    return top, embedding_VE


def uniform(log_p: Tensor, extra: int = 0) -> Tensor:
    """mean_v log p(v) over the last axis; with ``extra`` ids to copy, over the possible ones."""
    if not extra:
        return log_p.mean(dim=-1)
    possible = log_p > -torch.inf
    return torch.where(possible, log_p, 0.0).sum(dim=-1) / possible.sum(dim=-1)


def likelihood(
    hidden_BTD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, target_BT: Tensor
) -> tuple[Tensor, Tensor]:
    """log p(target) and mean_v log p(v), each (B, T), without keeping B x T x V in memory."""
    shape = target_BT.shape
    hidden_ND = hidden_BTD.reshape(-1, hidden_BTD.shape[-1])
    target_N = target_BT.reshape(-1)
    rows = max(1, CHUNK_ELEMENTS // weight_VD.shape[0])
    if hidden_ND.shape[0] <= rows:
        log_p_N, uniform_N = _likelihood(hidden_ND, weight_VD, bias_V, target_N)
        return log_p_N.view(shape), uniform_N.view(shape)
    parts = [
        checkpoint(_likelihood, h, weight_VD, bias_V, y, use_reentrant=False)
        for h, y in zip(hidden_ND.split(rows), target_N.split(rows), strict=True)
    ]
    log_p_N, uniform_N = (torch.cat(part) for part in zip(*parts, strict=True))
    return log_p_N.view(shape), uniform_N.view(shape)


def _likelihood(
    hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, target_N: Tensor
) -> tuple[Tensor, Tensor]:
    scores_NV = logits(hidden_ND, weight_VD, bias_V)
    total_N = scores_NV.logsumexp(dim=-1)
    log_p_N = scores_NV.gather(-1, target_N.unsqueeze(-1)).squeeze(-1) - total_N
    return log_p_N, scores_NV.mean(dim=-1) - total_N
