"""Tensors and the call: what every kernel's autograd function does around native code."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jumok.native.library import library

__all__ = ["Call", "contiguous", "empty", "wanted"]


@dataclass(frozen=True)
class Call:
    """One call of the native library: precision, sizes, arrays in the order of its signature."""

    low: bool
    sizes: tuple[int, ...]
    arrays: tuple[Tensor | None, ...]

    def run(self, name: str) -> None:
        """``jumok_<name>`` on as many threads as torch uses."""
        numbers = (int(self.low), torch.get_num_threads(), *self.sizes)
        library().call(name, numbers, self.arrays)


def empty(*shape: int, low: bool = False) -> Tensor:
    """An uninitialised float32 tensor, or bfloat16 where ``low``."""
    return torch.empty(shape, dtype=torch.bfloat16 if low else torch.float32)


def contiguous(tensors: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """The same tensors, contiguous in memory; copies only of those that were not."""
    return tuple(None if tensor is None else tensor.contiguous() for tensor in tensors)


def wanted(
    needed: Sequence[bool], inputs: Sequence[Tensor | None], always: Container[int] = ()
) -> list[Tensor | None]:
    """Room for the gradient of every input that needs one, or whose place is in ``always``."""
    places = enumerate(zip(needed, inputs, strict=True))
    return [
        torch.empty_like(x) if x is not None and (need or i in always) else None
        for i, (need, x) in places
    ]
