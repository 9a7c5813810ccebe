"""Sparse shares: the nearest point of the simplex and its 1.5-entmax kin, backward by hand.

Both keep what stands above a threshold tau, found exactly among the sorted scores z:

    sparsemax(z) = argmin_p |p - z|^2 = max(z - tau, 0)     Martins & Astudillo 2016, Algorithm 1
    1.5-entmax(z) = max(z / 2 - tau, 0)^2             Peters, Niculae & Martins 2019, Algorithm 2

with tau such that the shares p sum to one. Plain torch on any device: nothing but sorting costs
more than a softmax. Forward, every operation is exact or rounds each number for itself, and sums
run from the largest score on, so neither padding nor rows beside it change a row's last bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["entmax15", "sparsemax"]

BELOW = -2.0
"""Nothing that lies 1 or more below the largest score has a share: as good as minus infinity,
without its differences of infinities."""


def sparsemax(scores: Tensor, mask: Tensor) -> Tensor:
    """Shares over the last axis; exactly 0 where ``mask`` is False and where scores are low.

    A row whose mask is False everywhere is zeros, forward and backward. Scores that are not
    finite make NaN, as a softmax does, so that the trainer can skip the update.
    """
    return _Sparsemax.apply(scores, mask)  # type: ignore[no-any-return, no-untyped-call]


def entmax15(scores: Tensor, mask: Tensor) -> Tensor:
    """As ``sparsemax``, but smooth where a share goes to zero, and less sparse."""
    return _Entmax15.apply(scores, mask)  # type: ignore[no-any-return, no-untyped-call]


def _below_the_largest(scores: Tensor, mask: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """z = ``scale`` (scores - the largest real one), the same sorted, and k = 1 .. S."""
    largest = scores.masked_fill(~mask, -torch.inf).amax(dim=-1, keepdim=True)
    z = ((scores - largest) * scale).masked_fill(~mask, BELOW).clamp(min=BELOW)
    k = torch.arange(1, z.shape[-1] + 1, device=z.device).to(z.dtype)
    return z, z.sort(dim=-1, descending=True).values, k


class _Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, mask: Tensor) -> Tensor:
        z, ordered, k = _below_the_largest(scores, mask, 1.0)
        total = ordered.cumsum(dim=-1)
        # K = max { k : 1 + k z_(k) > sum_{j <= k} z_(j) };  tau = (sum_{j <= K} z_(j) - 1) / K
        count = (1 + k * ordered > total).sum(dim=-1, keepdim=True).clamp(min=1)
        tau = (total.gather(-1, count - 1) - 1) / count
        p = (z - tau).clamp(min=0).masked_fill(~mask, 0)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dp: Tensor) -> tuple[Tensor, None]:
        """dz = dp - mean of dp over the support A, inside A; 0 outside."""
        (p,) = ctx.saved_tensors
        inside = (p > 0).to(dp.dtype)
        mean = (dp * inside).sum(dim=-1, keepdim=True) / inside.sum(dim=-1, keepdim=True).clamp(1)
        return (dp - mean) * inside, None


class _Entmax15(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, mask: Tensor) -> Tensor:
        z, ordered, k = _below_the_largest(scores, mask, 0.5)
        # M(k), S(k): mean and sum of squares about it of the k largest; tau = M - sqrt((1 - S) / k)
        mean = ordered.cumsum(dim=-1) / k
        squares = (ordered * ordered).cumsum(dim=-1) - k * mean * mean
        tau = mean - ((1 - squares) / k).clamp(min=0).sqrt()
        count = (tau <= ordered).sum(dim=-1, keepdim=True).clamp(min=1)
        p = (z - tau.gather(-1, count - 1)).clamp(min=0).square().masked_fill(~mask, 0)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dp: Tensor) -> tuple[Tensor, None]:
        """dz = r (dp - sum r dp / sum r) with r = sqrt(p)."""
        (p,) = ctx.saved_tensors
        r = p.sqrt()
        floor = torch.finfo(r.dtype).tiny
        mean = (r * dp).sum(dim=-1, keepdim=True) / r.sum(dim=-1, keepdim=True).clamp(min=floor)
        return r * (dp - mean), None
