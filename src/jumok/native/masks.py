"""Dropout masks that are a function: of a key, an example, a time and a unit, nothing else.

No generator is carried along, so neither resuming, nor regrouping a batch, nor unrolling a
recurrence can change a mask. The native library computes the same bits some 50 times faster;
this NumPy form is its specification and its stand-in where there is no compiler.

The hash: two rounds of the splitmix64 finaliser take (key, example, time) to 64 bits; their
halves seed, for every unit, the 32-bit finaliser with the lowest known bias (two multiplications;
Wellons, "Prospecting for hash functions", 2018). A unit is kept if the upper 24 of its bits,
read as a fraction, lie below the probability of keeping.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from jumok.errors import UsageError
from jumok.native.library import available, library

__all__ = ["keep_mask", "keep_mask_numpy"]

_BITS: Final = 24
_GOLDEN_64: Final = 0x9E3779B97F4A7C15
_EXAMPLE: Final = 0xD1B54A32D192ED03
_TIME: Final = 0x8CB92BA72F3D8DD7
_GOLDEN_32: Final = 0x9E3779B9


def keep_mask(
    key: int, example_B: npt.NDArray[np.int64], time: range, width: int, rate: float
) -> npt.NDArray[np.float32]:
    """A dropout mask [B, T, width]: 0 with probability ``rate``, else ``1 / (1 - rate)``.

    ``key`` names the place of the dropout (seed, step, site) and is taken modulo 2**64;
    ``example_B`` holds global example numbers, ``time`` the steps [T]. Every entry depends on
    its own (key, example, time, unit) alone.
    """
    threshold, scale = _threshold(rate)
    example_B = np.ascontiguousarray(example_B, dtype=np.int64)
    if not available():
        return keep_mask_numpy(key, example_B, time, width, threshold, scale)
    mask_BTD = np.empty((len(example_B), len(time), width), np.float32)
    library().keep_mask(key, example_B, time, threshold, scale, mask_BTD)
    return mask_BTD


def keep_mask_numpy(
    key: int,
    example_B: npt.NDArray[np.int64],
    time: range,
    width: int,
    threshold: int,
    scale: float,
) -> npt.NDArray[np.float32]:
    """The specification of ``keep_mask``: ``scale`` where the 24-bit hash < ``threshold``."""
    seed_BT = _row_seeds(key, example_B, time)
    low_BT1 = (seed_BT & np.uint64(0xFFFFFFFF)).astype(np.uint32)[..., None]
    high_BT1 = (seed_BT >> np.uint64(32)).astype(np.uint32)[..., None]
    unit_D = np.arange(width, dtype=np.uint32) * np.uint32(_GOLDEN_32)
    bits_BTD = low_BT1 + unit_D
    bits_BTD ^= bits_BTD >> np.uint32(16)
    bits_BTD *= np.uint32(0x7FEB352D)
    bits_BTD ^= (bits_BTD >> np.uint32(15)) ^ high_BT1
    bits_BTD *= np.uint32(0x846CA68B)
    bits_BTD ^= bits_BTD >> np.uint32(16)
    kept_BTD = (bits_BTD >> np.uint32(32 - _BITS)) < np.uint32(threshold)
    return np.where(kept_BTD, np.float32(scale), np.float32(0))


def _threshold(rate: float) -> tuple[int, float]:
    """(how many of the 2**24 hash values are kept, what a kept unit is multiplied by)."""
    if not 0.0 <= rate <= 1.0:
        raise UsageError(
            f"`rate` ({rate}) must lie between 0 and 1: it is the share of units dropped."
        )
    kept = 1.0 - rate
    return round(kept * (1 << _BITS)), (1.0 / kept if kept else 0.0)


def _row_seeds(key: int, example_B: npt.NDArray[np.int64], time: range) -> npt.NDArray[np.uint64]:
    """64 well-mixed bits for every (example, time): [B, T]."""
    start = np.uint64((key + _GOLDEN_64) & 0xFFFFFFFFFFFFFFFF)
    with np.errstate(over="ignore"):
        by_example_B = _mix(start + example_B.astype(np.uint64) * np.uint64(_EXAMPLE))
        time_T = np.arange(time.start, time.stop, time.step, dtype=np.int64).astype(np.uint64)
        return _mix(by_example_B[:, None] + time_T * np.uint64(_TIME))


def _mix(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64: a bijection that lets every bit reach every other."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
