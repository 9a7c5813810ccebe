"""Random numbers as a function of a key and a counter: no generator, no hidden state.

``draw(key(seed, "dates", 3), i)`` is the same 64-bit number on every machine, whatever was
drawn before it, so anything made from it can be made again from any place in the middle.
The mixing is the finaliser of SplitMix64 (Steele, Lea and Flood 2014), applied twice.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["below", "draw", "key"]

_Unsigned: TypeAlias = NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_LOW = np.uint64(0xFFFFFFFF)


def key(*parts: int | str) -> int:
    """A 64-bit key from any integers and names; each part and their order matter."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _mix(x: _Unsigned) -> _Unsigned:
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    return x ^ (x >> np.uint64(31))


def draw(key: int, counter_N: np.ndarray) -> _Unsigned:
    """Uniform uint64 numbers, one for each non-negative counter; any shape."""
    counter = np.asarray(counter_N).astype(np.uint64)
    with np.errstate(over="ignore"):
        return _mix(_mix((counter + np.uint64(1)) * _GOLDEN) ^ np.uint64(key))


def below(key: int, counter_N: np.ndarray, bound: int | np.ndarray) -> np.ndarray:
    """Integers in ``[0, bound)``, int64; each bound at most 2**32, one for all or one each.

    By multiplication of the upper half: no value is likelier than another by more than 2**-32.
    """
    bound = np.asarray(bound)
    if bound.size and not (bound.min() > 0 and bound.max() <= 1 << 32):
        raise ValueError(f"`bound` must be in 1..2**32, but is {bound}.")
    high = draw(key, counter_N) >> np.uint64(32)
    return (high * bound.astype(np.uint64) >> np.uint64(32)).astype(np.int64)
