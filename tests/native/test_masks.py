"""Dropout masks depend on key, example, time and unit, on nothing else, and look random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jumok import native
from jumok.errors import UsageError
from jumok.native import masks
from jumok.native.masks import keep_mask, keep_mask_numpy

EXAMPLES = np.arange(61)
GOLDEN = [
    "11011001",
    "00110000",
    "11010000",
    "00011101",
    "11110101",
    "11010010",
    "11101001",
    "00111100",
    "11101100",
    "01011100",
    "11111110",
    "11000000",
]
Mask = np.ndarray


def by_numpy(key: int, example_B: Mask, time: range, width: int, rate: float) -> Mask:
    return keep_mask_numpy(key, example_B, time, width, *masks._threshold(rate))


def test_the_bits_are_these() -> None:
    """A golden value: a changed hash would make old runs unrepeatable."""
    bits = by_numpy(42, np.array([0, 7, 2**40, -1]), range(3), 8, 0.5) > 0
    assert ["".join("01"[int(u)] for u in row) for row in bits.reshape(-1, 8)] == GOLDEN


@pytest.mark.skipif(not native.available(), reason="no native library here")
@given(
    st.integers(-(2**70), 2**70), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.integers(0, 10**9), st.integers(0, 5), st.integers(1, 7), st.integers(0, 71),
    st.floats(0, 1),
)  # fmt: skip
def test_native_and_numpy_give_the_same_bits(
    key: int, examples: list[int], start: int, length: int, step: int, width: int, rate: float
) -> None:
    time = range(start, start + length * step, step)
    arguments = (key, np.array(examples, np.int64), time, width, rate)
    ours, twin = keep_mask(*arguments), by_numpy(*arguments)
    assert ours.shape == (len(examples), length, width) and ours.dtype == np.float32
    assert ours.tobytes() == twin.tobytes()


def test_a_part_of_the_mask_is_the_mask_of_the_part() -> None:
    whole = keep_mask(5, EXAMPLES, range(13), 37, 0.3)
    order = np.random.default_rng(0).permutation(61)
    assert np.array_equal(keep_mask(5, EXAMPLES[order], range(13), 37, 0.3), whole[order])
    assert np.array_equal(keep_mask(5, EXAMPLES, range(4, 13, 3), 37, 0.3), whole[:, 4::3])
    assert np.array_equal(keep_mask(5, EXAMPLES, range(13), 11, 0.3), whole[..., :11])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_kept_and_the_mean_is_one(rate: float) -> None:
    mask = keep_mask(3, np.arange(401), range(17), 149, rate)
    assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / (1 - rate))}
    deviation = np.sqrt(rate * (1 - rate) / mask.size)
    assert abs((mask == 0).mean() - rate) < 4 * deviation


def test_no_axis_is_correlated_with_its_neighbours() -> None:
    mask = keep_mask(3, np.arange(256), range(32), 128, 0.5)
    other = keep_mask(4, np.arange(256), range(32), 128, 0.5)
    centred = mask - 1.0
    pairs = [centred * (other - 1.0)]
    for axis in range(3):
        pairs += [centred * np.roll(centred, shift, axis) for shift in (1, 2, 5, 16)]
    for product in pairs:
        assert abs(product.mean()) < 4.5 / np.sqrt(mask.size)


def test_counts_per_unit_example_and_time_are_binomial() -> None:
    kept = keep_mask(9, np.arange(256), range(32), 128, 0.5) > 0
    for axes in ((0, 1), (1, 2), (0, 2)):
        n = np.prod([kept.shape[a] for a in axes])
        scores = (kept.sum(axis=axes) - n / 2) / np.sqrt(n / 4)
        # The variance of standard scores is 1 within 5 of its own deviations.
        assert abs((scores**2).mean() - 1) < 5 * np.sqrt(2 / scores.size)


def test_rates_of_zero_and_one_and_beyond() -> None:
    assert (keep_mask(1, EXAMPLES, range(3), 5, 0.0) == 1).all()
    assert (keep_mask(1, EXAMPLES, range(3), 5, 1.0) == 0).all()
    with pytest.raises(UsageError, match=r"`rate` \(1.5\) must lie between 0 and 1"):
        keep_mask(1, EXAMPLES, range(3), 5, 1.5)
