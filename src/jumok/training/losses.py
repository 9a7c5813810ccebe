"""What is minimised: the model's own likelihood, weighed; sums over real tokens.

    smoothed nll   = sum_t [(1 - eps) (-log p(y_t)) + eps (-mean_v log p(v))]
    guided         = sum_t sum_s -A_ts log a_ts,  A = links with rows that sum to one
    coverage       = sum_t sum_s min(a_ts, sum_{t' < t} a_t's)
    R-Drop         = 1/2 (L_1 + L_2) + alpha/2 sum_t 1/2 (KL(p_1 || p_2) + KL(p_2 || p_1))

Label smoothing is Szegedy et al. 2016, section 7; guided alignment Chen et al. 2016, eq. 3-5;
the coverage loss See et al. 2017, eq. 12, for any model with attention; R-Drop Liang et al. 2021,
eq. 2-4, where L_1, L_2 and p_1, p_2 are those of two passes with other dropout masks (halved
against the paper, whose loss counts every token twice: its alpha keeps its meaning).
Everything is a sum, divided by the number of real tokens of the whole update at the end: so how
examples are grouped into batches changes nothing but rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from jumok.errors import ConfigError
from jumok.models.contract import Output
from jumok.records import Batch

__all__ = ["Loss", "apart", "coverage_loss", "guided_alignment", "r_drop", "weigh"]

FLOOR = 1e-6
"""Attention below this counts as this much: a window may exclude a linked position."""


CHUNK_ELEMENTS = 1 << 22
"""Probabilities that two passes are compared in at once; more is computed again in backward."""


class Loss(NamedTuple):
    """Sums over the real tokens of a batch; divide by how many there are in the update."""

    total: Tensor
    """What is minimised, a scalar with a gradient."""
    nll_B: Tensor
    """-log p(target | source) of each row, without smoothing; no gradient."""


def weigh(
    output: Output,
    batch: Batch,
    *,
    smoothing: float = 0.0,
    guided_weight: float = 0.0,
    coverage_weight: float = 0.0,
) -> Loss:
    """The loss of ``output`` on ``batch``.

    ConfigError where a term is asked for and the model or data cannot give it.
    """
    mask_BT = batch.target_mask_BT
    nll_BT = _real(-output.log_probs_BT, mask_BT)
    total = nll_BT.sum()
    if smoothing:
        if output.uniform_BT is None:
            raise ConfigError(
                "`label_smoothing` needs mean log-probabilities, which this model does not "
                "define; set it to 0."
            )
        uniform = _real(-output.uniform_BT, mask_BT).sum()
        total = (1 - smoothing) * total + smoothing * uniform
    if guided_weight:
        total = total + guided_weight * _guided(output, batch)
    if coverage_weight:
        if output.weights_BTS is None:
            raise ConfigError("`coverage_weight` needs attention weights; this model has none.")
        total = total + coverage_weight * coverage_loss(output.weights_BTS, mask_BT)
    return Loss(total, nll_BT.detach().sum(dim=1))


def _real(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Zero on padding by choice, not by product: 0 * inf is NaN."""
    return torch.where(mask_BT, values_BT, values_BT.new_zeros(()))


def _guided(output: Output, batch: Batch) -> Tensor:
    if batch.links_BTS is None:
        raise ConfigError("`guided_weight` needs batches with links; these have none.")
    if output.weights_BTS is None:
        raise ConfigError("`guided_weight` needs attention weights; this model has none.")
    return guided_alignment(output.weights_BTS, batch.links_BTS)


def guided_alignment(weights_BTS: Tensor, links_BTS: Tensor) -> Tensor:
    """Cross-entropy between links and attention, summed; rows without a link count nothing."""
    links = links_BTS.to(weights_BTS.dtype)
    share_BTS = links / links.sum(dim=-1, keepdim=True).clamp_min(1)
    return -(share_BTS * weights_BTS.clamp_min(FLOOR).log()).sum()


def coverage_loss(weights_BTS: Tensor, mask_BT: Tensor) -> Tensor:
    """Attention that goes where it has been, summed over real target positions."""
    been_BTS = weights_BTS.cumsum(dim=1) - weights_BTS
    return _real(torch.minimum(weights_BTS, been_BTS).sum(dim=2), mask_BT).sum()


def r_drop(
    first: Loss, second: Loss, outputs: tuple[Output, Output], batch: Batch, *, alpha: float
) -> Loss:
    """The loss of two passes over ``batch`` that differ in their dropout masks (eq. 4).

    ``first`` and ``second`` are those of each ``output``, which must have its logits.
    """
    logits = [output.logits_BTV for output in outputs]
    if logits[0] is None or logits[1] is None:
        raise ConfigError("`r_drop` needs logits, which this model does not return.")
    distance = apart(logits[0], logits[1], batch.target_mask_BT)
    total = (first.total + second.total) / 2 + alpha / 2 * distance
    return Loss(total, (first.nll_B + second.nll_B) / 2)


def apart(one_BTV: Tensor, other_BTV: Tensor, mask_BT: Tensor) -> Tensor:
    """1/2 (KL(p || q) + KL(q || p)) of the distributions of two logits, summed over real positions.

    Some positions at a time, so that no third array of B x T x V numbers is kept. An id that is
    impossible in both (another sentence's, to copy) counts nothing.
    """
    one_NV, other_NV = one_BTV[mask_BT], other_BTV[mask_BT]
    rows = max(1, CHUNK_ELEMENTS // max(1, one_NV.shape[-1]))
    if len(one_NV) <= rows:
        return _apart(one_NV, other_NV)
    parts = [
        checkpoint(_apart, p, q, use_reentrant=False)
        for p, q in zip(torch.split(one_NV, rows), torch.split(other_NV, rows), strict=True)
    ]
    return torch.stack(parts).sum()


def _apart(one_NV: Tensor, other_NV: Tensor) -> Tensor:
    """Half of KL(p || q) + KL(q || p) = sum_v (p - q) (log p - log q), summed over rows."""
    p, q = torch.log_softmax(one_NV, dim=-1), torch.log_softmax(other_NV, dim=-1)
    impossible = (p == -torch.inf) & (q == -torch.inf)
    p, q = p.masked_fill(impossible, 0.0), q.masked_fill(impossible, 0.0)
    return ((p.exp() - q.exp()) * (p - q)).sum() / 2
