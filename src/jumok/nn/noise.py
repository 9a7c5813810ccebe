"""Keyed dropout: a mask is a function of (seed, step, draw, site, example, time), of nothing else.

No generator has to be saved for an exact resume, and neither the grouping of examples into
batches nor the form of a model (whole sequences or repeated steps) can change a mask.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from jumok.native.masks import keep_mask

__all__ = ["Noise", "dropped"]


@dataclass(frozen=True)
class Noise:
    """The source of one training step's dropout masks.

    ``example_B`` are global example numbers (int64). ``time`` is the first position that a
    mask stands for: 0 for whole sequences, t inside step t. ``draw`` tells apart the masks of
    several passes over the same examples in one step.
    """

    seed: int
    step: int
    example_B: Tensor
    time: int = 0
    draw: int = 0

    def at(self, time: int) -> Self:
        """The noise of position ``time`` of the same sequences."""
        return replace(self, time=time)

    def again(self, draw: int = 1) -> Self:
        """Other masks for the same examples and step, independent of these; 0: these."""
        return replace(self, draw=self.draw + draw)

    def mask(self, site: str, rate: float, like: Tensor) -> Tensor:
        """A multiplicative mask, 0 or 1 / (1 - rate), for ``like`` (B, D) or (B, T, D).

        ``site`` names the place in the model; every place draws its own mask.
        """
        length = like.shape[1] if like.dim() == 3 else 1
        times = range(self.time, self.time + length)
        key = _key(self.seed, self.step, self.draw, site)
        mask_BTD = keep_mask(key, self.example_B.cpu().numpy(), times, like.shape[-1], rate)
        mask = torch.from_numpy(mask_BTD).to(like.device, like.dtype)
        return mask if like.dim() == 3 else mask[:, 0]


def dropped(x: Tensor, rate: float, site: str, noise: Noise | None) -> Tensor:
    """``x`` (B, D) or (B, T, D) with dropout at ``site``; unchanged without noise or rate."""
    if noise is None or rate == 0.0:
        return x
    return x * noise.mask(site, rate, x)


def _key(seed: int, step: int, draw: int, site: str) -> int:
    again = f"again {draw}/" if draw else ""
    digest = hashlib.blake2b(f"{again}{seed}/{step}/{site}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
