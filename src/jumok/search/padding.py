"""Padding that makes a sentence's result independent of its batch-mates, to the last bit.

Matrix products choose their kernels by shape: a handful of rows runs through other code than
eight, and a sum over 13 source positions is split otherwise than one over 16. Elementwise
functions treat the last (n mod 32) numbers of an array by other code than the rest. So rows
come in multiples of 8 (of 32 where a row is not a multiple of 4 numbers) and source positions
in multiples of 16, whatever the batch: a row meets the same arithmetic in any company.
Measured, not proved: a property of library and processor.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jumok.records import PAD, Source

__all__ = ["WIDTH", "filled", "padded", "rows_for"]

WIDTH = 16
"""Source positions come in multiples of this."""


def rows_for(row_sizes: Iterable[int]) -> int:
    """What rows must be a multiple of, given how many numbers a row of each array has."""
    return 8 if all(size % 4 == 0 for size in row_sizes) else 32


def filled(values_N: np.ndarray, rows: int) -> np.ndarray:
    """Up to a multiple of ``rows``, with copies of the first row: always valid, never read."""
    missing = -len(values_N) % rows
    return np.concatenate([values_N, np.repeat(values_N[:1], missing, axis=0)])


def padded(source: Source, rows: int) -> Source:
    """``source`` with both axes filled up; new positions are PAD and masked."""
    missing = -source.ids_BS.shape[1] % WIDTH

    def wider(leaf: np.ndarray) -> np.ndarray:
        value = False if leaf.dtype == bool else PAD
        return np.pad(filled(leaf, rows), ((0, 0), (0, missing)), constant_values=value)

    return source.map(wider)
