"""What the trainer needs of its data: an order that is a function, and rows as a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jumok.data.order import Cursor, Plan
from jumok.records import Batch

__all__ = ["TrainingData", "to_torch", "updates"]


def _row(number: int) -> str:
    return f"row {number}"


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The training rows as the trainer sees them."""

    plan: Plan
    """Which rows come when."""
    collate: Callable[[np.ndarray], Batch]
    """Row numbers (N,) -> a NumPy batch with those rows."""
    digest: str
    """Names the encoded rows; a run does not go on with other data unnoticed."""
    where: Callable[[int], str] = _row
    """Where a row stands in the user's files, ``file:line``, for messages."""


def to_torch(batch: Batch, device: torch.device) -> Batch:
    """``batch`` with tensors on ``device`` in place of NumPy arrays."""

    def move(leaf: Any) -> Any:
        return torch.from_numpy(np.ascontiguousarray(leaf)).to(device, non_blocking=True)

    return batch.map(move)


def num_tokens(batch: Batch) -> int:
    """Real target tokens, the end symbols included."""
    return int(np.asarray(batch.target_mask_BT).sum())


def updates(
    data: TrainingData, cursor: Cursor, tokens: int
) -> Iterator[tuple[Cursor, list[Batch]]]:
    """(where to go on after it, batches) for one update after another, without end.

    Batches are gathered until they hold ``tokens`` real target tokens or the epoch ends.
    """
    gathered: list[Batch] = []
    count = 0
    for after, rows in data.plan.after(cursor):
        batch = data.collate(rows)
        gathered.append(batch)
        count += num_tokens(batch)
        if count >= tokens or after == Cursor(after.epoch, 0, 0):
            yield after, gathered
            gathered, count = [], 0
