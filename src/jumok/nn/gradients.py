"""Gradients that are scaled on purpose, and the one place that can switch the scaling off.

A scaled gradient is no slope of the loss. A check of slopes runs under ``true_gradients``, so
that no model has to be let off from it: whatever else is wrong still shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

__all__ = ["gradient_divided", "true_gradients"]

_true: ContextVar[bool] = ContextVar("jumok_true_gradients", default=False)


@contextmanager
def true_gradients() -> Iterator[None]:
    """Inside the block ``gradient_divided`` divides nothing."""
    token = _true.set(True)
    try:
        yield
    finally:
        _true.reset(token)


def gradient_divided(x: Tensor, by: int) -> Tensor:
    """``x`` itself; on the way back its gradient is divided by ``by``."""
    if _true.get():
        return x
    return _Divided.apply(x, by)  # type: ignore[no-untyped-call, no-any-return]


class _Divided(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, by: int) -> Tensor:
        ctx.by = by
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        return dy / ctx.by, None
