"""The position-wise feed-forward network of Vaswani 2017, 3.3."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["FeedForward"]


class FeedForward(nn.Module):
    """FFN(x) = max(0, x W_1 + b_1) W_2 + b_2 (2), the same for every position."""

    def __init__(self, size: int, inner_size: int) -> None:
        super().__init__()
        self.W_1 = nn.Linear(size, inner_size)
        self.W_2 = nn.Linear(inner_size, size)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.W_2(torch.relu(self.W_1(x)))
        return inner
