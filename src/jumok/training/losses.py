"""What is minimised: the model's own likelihood, weighed; sums over real tokens.

    smoothed nll   = sum_t [(1 - eps) (-log p(y_t)) + eps (-mean_v log p(v))]
    guided         = sum_t sum_s -A_ts log a_ts,  A = links with rows that sum to one
    coverage       = sum_t sum_s min(a_ts, sum_{t' < t} a_t's)

Label smoothing is Szegedy et al. 2016, section 7; guided alignment Chen et al. 2016, eq. 3-5;
the coverage loss See et al. 2017, eq. 12, for any model with attention.
Everything is a sum, divided by the number of real tokens of the whole update at the end: so how
examples are grouped into batches changes nothing but rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from jumok.errors import ConfigError
from jumok.models.contract import Output
from jumok.records import Batch

__all__ = ["Loss", "coverage_loss", "guided_alignment", "weigh"]

FLOOR = 1e-6
"""Attention below this counts as this much: a window may exclude a linked position."""


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
