"""Where a symbol stands, as a vector: Vaswani's sinusoids, or a table that is learned."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jumok.errors import DataError

__all__ = ["LearnedPositions", "sinusoids"]


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


class LearnedPositions(nn.Module):
    """A vector for each of the first ``maximum_length`` positions (Gehring 2017, 3.1).

    A longer text is refused by ``check``. Where nobody can be asked, inside a step of a search,
    all positions beyond share the last vector.
    """

    def __init__(self, maximum_length: int, size: int) -> None:
        super().__init__()
        self.maximum_length = maximum_length
        self.table = nn.Parameter(torch.zeros(maximum_length, size))

    def check(self, mask_BS: Tensor, what: str) -> None:
        """Raises DataError where a row of ``what`` (source, target) has no vectors left."""
        longest = int(mask_BS.sum(dim=1).max()) if mask_BS.shape[1] > self.maximum_length else 0
        if longest > self.maximum_length:
            raise DataError(
                f"a {what} has {longest} symbols, but positions are learned for at most "
                f"`maximum_length` ({self.maximum_length}).",
                hint="train with a larger --model.maximum_length.",
            )

    def forward(self, position: Tensor) -> Tensor:
        """(...) whole numbers from 0 on -> (..., size)."""
        return F.embedding(position.clamp(max=self.maximum_length - 1), self.table)
