"""Addition of whole numbers written as text: "27+415" -> "442", plain or padded as in the book."""

from __future__ import annotations

import numpy as np

from jumok.data.counter import below, key
from jumok.data.tasks.task_data import Pair, TaskData, sample_apart
from jumok.errors import ConfigError

__all__ = ["addition"]


def addition(
    n: int = 45_000,
    seed: int = 0,
    *,
    digits: int = 3,
    padded: bool = False,
    dev: int = 1000,
    test: int = 5000,
) -> TaskData:
    """``n`` training sums of two numbers of 1 to ``digits`` digits.

    The length of each number is drawn first, so that short ones are not rare; no question comes
    twice. With ``padded`` both sides are filled up with spaces on the right, as in "Deep
    Learning from Scratch 2" chapter 7 (7 and 4 characters for 3 digits; the book's "_" is the
    start symbol here).

    Raises:
        ConfigError: more examples are asked for than there are, or ``digits`` is not in 1..9.
    """
    if not 1 <= digits <= 9:
        raise ConfigError(f"`digits` must be in 1..9, but is {digits}.")
    keys = [key("addition", digits, seed, side) for side in ("left", "right")]

    def make(counters_N: np.ndarray) -> list[Pair]:
        left_N, right_N = (_numbers(k, counters_N, digits) for k in keys)
        return [_sum(a, b, digits, padded) for a, b in zip(left_N, right_N, strict=True)]

    sizes = {"train": n, "dev": dev, "test": test}
    train, dev_set, test_set = sample_apart(make, sizes, "addition")
    form = "padded with spaces" if padded else "unpadded"
    about = f"Sums of two numbers of up to {digits} digits, {form}; no question is in two parts."
    return TaskData(train=train, dev=dev_set, test=test_set, about=about)


def _numbers(key: int, counters_N: np.ndarray, digits: int) -> list[int]:
    """Numbers below 10**length, the length drawn first, so that short ones are not rare."""
    lengths_N = 1 + below(key, 2 * counters_N, digits)
    numbers: list[int] = below(key, 2 * counters_N + 1, 10**lengths_N).tolist()
    return numbers


def _sum(left: int, right: int, digits: int, padded: bool) -> Pair:
    question, answer = f"{left}+{right}", str(left + right)
    if not padded:
        return question, answer
    return question.ljust(2 * digits + 1), answer.ljust(digits + 1)
