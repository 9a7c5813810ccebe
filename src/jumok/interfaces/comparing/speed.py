"""How quickly trained models decode, measured side by side: one process, one thread, in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

import torch

from jumok.interfaces.comparing.run import plain_search
from jumok.interfaces.translator import Translator

__all__ = ["ITEMS", "ROUNDS", "decode_speeds"]

ITEMS = 64
"""Test items that every system decodes."""
ROUNDS = 7


def decode_speeds(
    models: Mapping[str, Translator], sources: Sequence[str], *, rounds: int = ROUNDS
) -> dict[str, float]:
    """Items a second, greedy, in batches of 64 on one thread: the median of ``rounds`` turns.

    In each turn every model decodes the same items once, so that what slows the machine for a
    while slows all of them. A turn that is not counted comes first.
    """
    took: dict[str, list[float]] = {label: [] for label in models}
    with _one_thread():
        for turn in range(rounds + 1):
            for label, model in models.items():
                began = time.perf_counter()
                model.outputs(sources, plain_search(model))
                if turn:
                    took[label].append(time.perf_counter() - began)
    return {label: len(sources) / median(times) for label, times in took.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
