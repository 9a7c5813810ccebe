"""Padding that makes a sentence's result independent of its batch-mates, to the last bit.

Matrix products choose their kernels by shape: a handful of rows runs through other code than
eight, and a sum over 13 source positions is split otherwise than one over 16. So rows come in
multiples of 8 and source positions in multiples of 16, whatever the batch; then a row meets the
same arithmetic in any company. Measured, not proved: a property of library and processor.
"""

from __future__ import annotations

import numpy as np

from jumok.records import PAD, Source

__all__ = ["ROWS", "WIDTH", "filled", "padded"]

ROWS, WIDTH = 8, 16


def filled(values_N: np.ndarray) -> np.ndarray:
    """Up to a multiple of ROWS, with copies of the first row: always valid, never read."""
    missing = -len(values_N) % ROWS
    return np.concatenate([values_N, np.repeat(values_N[:1], missing, axis=0)])


def padded(source: Source) -> Source:
    """``source`` with both axes filled up; new positions are PAD and masked."""
    missing = -source.ids_BS.shape[1] % WIDTH

    def wider(leaf: np.ndarray) -> np.ndarray:
        value = False if leaf.dtype == bool else PAD
        return np.pad(filled(leaf), ((0, 0), (0, missing)), constant_values=value)

    return source.map(wider)
