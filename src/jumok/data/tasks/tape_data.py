"""What a task on tapes of bits is: a tape by number from a seed, and batches of them.

A tape is a row of vectors in, one of bits out, and a mask of the steps at which the output counts.
The n-th tape of (task, seed, part) is a function of these alone: nothing is stored, no tape
depends on those beside it, and a run goes on anywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from jumok.data.counter import draw, key
from jumok.errors import ConfigError
from jumok.records import Rows

__all__ = ["Draws", "Tape", "TapeBatch", "TapeTask", "bit_errors", "check_span"]


@dataclass(frozen=True, kw_only=True)
class TapeBatch(Rows):
    """Tapes in, tapes out, and where the output counts; padded on the right."""

    inputs_BTI: Any
    """float32"""
    targets_BTF: Any
    """0 or 1"""
    target_mask_BT: Any
    """True where the output is scored."""
    example_B: Any


class Tape(NamedTuple):
    """One tape, T steps long."""

    inputs_TI: np.ndarray
    targets_TF: np.ndarray
    mask_T: np.ndarray


class Draws:
    """Random numbers of one tape, one after the other, from its own key."""

    def __init__(self, *parts: int | str) -> None:
        self._key, self._at = key(*parts), 0

    def uniform(self, *shape: int) -> np.ndarray:
        """float64 in [0, 1)"""
        count = int(np.prod(shape))
        counters = np.arange(self._at, self._at + count)
        self._at += count
        return (draw(self._key, counters) >> np.uint64(11)).reshape(shape) * 2.0**-53

    def between(self, span: tuple[int, int]) -> int:
        """A whole number from the first to the last of ``span``, both included."""
        low, high = span
        return low + int(self.uniform(1)[0] * (high - low + 1))

    def bits(self, *shape: int) -> np.ndarray:
        return (self.uniform(*shape) < 0.5).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class TapeTask(ABC):
    """What all five share: a tape by number, and batches of them."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def channels(self) -> tuple[int, int]:
        """(I, F): how wide the tape is that goes in, and the one that comes out."""

    @abstractmethod
    def sizes(self, draws: Draws) -> tuple[int, ...]:
        """What is drawn first: how long this tape is, in the task's own terms."""

    @abstractmethod
    def num_steps(self, *sizes: int) -> int:
        """T of a tape of these sizes."""

    @abstractmethod
    def write(self, draws: Draws, tape: Tape, *sizes: int) -> None:
        """Fills a tape of zeros of the right length."""

    def beyond(self) -> Mapping[str, TapeTask]:
        """What a trained model is asked besides what it was trained on, as the paper asks."""
        return {}

    def tape(self, number: int, *, seed: int = 0, part: str = "train") -> Tape:
        """The tape called ``number``."""
        draws = Draws(self.name, part, seed, number)
        sizes = self.sizes(draws)
        steps = self.num_steps(*sizes)
        wide_in, wide_out = self.channels
        tape = Tape(
            np.zeros((steps, wide_in), np.float32),
            np.zeros((steps, wide_out), np.float32),
            np.zeros(steps, bool),
        )
        self.write(draws, tape, *sizes)
        return tape

    def lengths(self, numbers_N: np.ndarray, *, seed: int = 0, part: str = "train") -> np.ndarray:
        """T of each tape, without writing it."""
        every = (self.sizes(Draws(self.name, part, seed, int(n))) for n in numbers_N)
        return np.array([self.num_steps(*sizes) for sizes in every], dtype=np.int64)

    def batch(self, numbers_B: np.ndarray, *, seed: int = 0, part: str = "train") -> TapeBatch:
        """The tapes of these numbers, padded on the right with zeros that are not scored."""
        tapes = [self.tape(int(n), seed=seed, part=part) for n in numbers_B]
        longest = max(len(tape.mask_T) for tape in tapes)

        def padded(leaves: list[np.ndarray]) -> np.ndarray:
            joined = np.zeros((len(leaves), longest, *leaves[0].shape[1:]), leaves[0].dtype)
            for row, leaf in zip(joined, leaves, strict=True):
                row[: len(leaf)] = leaf
            return joined

        return TapeBatch(
            inputs_BTI=padded([tape.inputs_TI for tape in tapes]),
            targets_BTF=padded([tape.targets_TF for tape in tapes]),
            target_mask_BT=padded([tape.mask_T for tape in tapes]),
            example_B=np.asarray(numbers_B, dtype=np.int64),
        )


def bit_errors(logits_BTF: np.ndarray, batch: TapeBatch) -> np.ndarray:
    """Wrong bits of each tape, (B,): a bit is said where its logit is above 0."""
    wrong_BTF = (logits_BTF > 0) != (batch.targets_BTF > 0)
    errors: np.ndarray = (wrong_BTF & batch.target_mask_BT[:, :, None]).sum(axis=(1, 2))
    return errors


def check_span(name: str, span: tuple[int, int], least: int = 1) -> None:
    low, high = span
    if not least <= low <= high:
        raise ConfigError(f"`{name}` must go from {least} or more, low to high, but is {span}.")
