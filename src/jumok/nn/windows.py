"""Convolutions over time as one matrix over the inputs side by side; weights with a length of
their own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

__all__ = ["WeightNormed", "slid", "windowed"]


def windowed(x_BTE: Tensor, width: int, *, ahead: int = 0) -> Tensor:
    """The ``width`` inputs around every position in a row, oldest first: (B, T, width E).

    ``ahead`` of them come after the position; none = a masked convolution. Beyond both ends
    there are zeros. Times a (C, width E) matrix it is the convolution of that width.
    """
    length = x_BTE.shape[1]
    padded = F.pad(x_BTE, (0, 0, width - 1 - ahead, ahead))
    return torch.cat([padded[:, n : n + length] for n in range(width)], dim=-1)


def slid(kept_BkE: Tensor, x_BE: Tensor) -> tuple[Tensor, Tensor]:
    """``windowed`` one position further, with none ahead: (its row (B, width E), what to keep).

    ``kept`` are the width - 1 inputs before ``x``, oldest first; zeros at the start.
    """
    all_BkE = torch.cat([kept_BkE, x_BE.unsqueeze(1).to(kept_BkE.dtype)], dim=1)
    return all_BkE.flatten(1), all_BkE[:, 1:]


class WeightNormed(nn.Module):
    """y = g v / |v| x + b, a length g for every output (Salimans & Kingma 2016, eq. 2)."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.zeros(output_size, input_size))
        self.g = nn.Parameter(torch.zeros(output_size))
        self.b = nn.Parameter(torch.zeros(output_size))

    def draw(self, std: float, generator: torch.Generator) -> None:
        """v from N(0, std^2), g = |v|, so that the weight is v at first; b = 0."""
        init.normal_(self.v, std=std, generator=generator)
        with torch.no_grad():
            self.g.copy_(self.v.norm(dim=1))
        init.zeros_(self.b)

    def weight(self) -> Tensor:
        """g v / |v|"""
        return torch._weight_norm(self.v, self.g.unsqueeze(1), 0)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(), self.b)
