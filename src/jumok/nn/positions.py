"""Where a symbol stands, as a vector: the sinusoids of Vaswani 2017, 3.5."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["sinusoids"]


def sinusoids(position: Tensor, size: int) -> Tensor:
    """PE of whole-number positions from 0 on, (...) -> (..., size), in float64.

    PE(p, 2i) = sin(p / 10000^(2i / size)), PE(p, 2i + 1) = cos(the same).        (3.5)

    In float64 since a sine's last bit depends on its place in an array; rounded to float32,
    it does not. Any length will do: there is no table that could end.
    """
    unit = torch.arange(size, device=position.device)
    frequency = 10000.0 ** (-2.0 * (unit // 2).double() / size)
    quarter = (unit % 2).double() * (math.pi / 2)  # cos x = sin(x + pi / 2)
    return torch.sin(position.double().unsqueeze(-1) * frequency + quarter)
