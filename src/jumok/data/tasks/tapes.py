"""The five tasks of Graves et al. 2014 as tapes of bits: "Neural Turing Machines", section 4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from jumok.data.tasks.tape_data import Draws, Tape, TapeTask, check_span
from jumok.errors import ConfigError, UsageError, did_you_mean

__all__ = [
    "TAPE_TASKS",
    "AssociativeRecall",
    "Copy",
    "NGrams",
    "PrioritySort",
    "RepeatCopy",
    "best_guess",
    "tape_task",
]


@dataclass(frozen=True, kw_only=True)
class Copy(TapeTask):
    """4.1: random vectors, a mark on a channel of its own, then blanks: say them again."""

    name: ClassVar[str] = "copy"
    lengths_drawn: tuple[int, int] = (1, 20)
    """[1 to 20] Words of a tape, drawn evenly."""
    bits: int = 8
    """[8] Of a word."""

    def __post_init__(self) -> None:
        check_span("lengths_drawn", self.lengths_drawn)

    @property
    def channels(self) -> tuple[int, int]:
        return self.bits + 1, self.bits

    def sizes(self, draws: Draws) -> tuple[int, ...]:
        return (draws.between(self.lengths_drawn),)

    def num_steps(self, *sizes: int) -> int:
        (length,) = sizes
        return 2 * length + 1

    def beyond(self) -> Mapping[str, TapeTask]:
        """Figure 4: 10, 20, 30, 50 and 120; 80 between them."""
        return {
            f"length {n}": replace(self, lengths_drawn=(n, n)) for n in (10, 20, 30, 50, 80, 120)
        }

    def write(self, draws: Draws, tape: Tape, *sizes: int) -> None:
        (length,) = sizes
        words = draws.bits(length, self.bits)
        tape.inputs_TI[:length, : self.bits] = words
        tape.inputs_TI[length, self.bits] = 1
        tape.targets_TF[length + 1 :] = words
        tape.mask_T[length + 1 :] = True


@dataclass(frozen=True, kw_only=True)
class RepeatCopy(TapeTask):
    """4.2: as copy, but the mark says how often, and a mark of its own must end the output.

    The number of times is normalised to mean 0 and variance 1 over the training range (1 to 10,
    whatever ``times`` is now), as the paper has it.
    """

    name: ClassVar[str] = "repeat-copy"
    lengths_drawn: tuple[int, int] = (1, 10)
    """[1 to 10] Words of a tape, drawn evenly."""
    times: tuple[int, int] = (1, 10)
    """[1 to 10] How often they are to be said."""
    bits: int = 8
    """[8] Of a word."""

    def __post_init__(self) -> None:
        check_span("lengths_drawn", self.lengths_drawn)
        check_span("times", self.times)

    @property
    def channels(self) -> tuple[int, int]:
        return self.bits + 1, self.bits + 1

    def sizes(self, draws: Draws) -> tuple[int, ...]:
        return draws.between(self.lengths_drawn), draws.between(self.times)

    def num_steps(self, *sizes: int) -> int:
        length, times = sizes
        return length + 1 + length * times + 1

    def beyond(self) -> Mapping[str, TapeTask]:
        """Figure 8: twice the length, twice the times."""
        return {
            f"length {n}, {m} times": replace(self, lengths_drawn=(n, n), times=(m, m))
            for n, m in ((10, 10), (20, 10), (10, 20))
        }

    def write(self, draws: Draws, tape: Tape, *sizes: int) -> None:
        length, times = sizes
        words = draws.bits(length, self.bits)
        tape.inputs_TI[:length, : self.bits] = words
        tape.inputs_TI[length, self.bits] = (times - 5.5) / 8.25**0.5
        tape.targets_TF[length + 1 : -1, : self.bits] = np.tile(words, (times, 1))
        tape.targets_TF[-1, self.bits] = 1
        tape.mask_T[length + 1 :] = True


@dataclass(frozen=True, kw_only=True)
class AssociativeRecall(TapeTask):
    """4.3: items, each after a mark; then one of them between marks of the other kind.

    What is to be said is the item that followed it. No two items of a tape are alike, so that
    there is one answer (the paper does not say; two random items of 18 bits hardly ever are).
    """

    name: ClassVar[str] = "associative-recall"
    items: tuple[int, int] = (2, 6)
    """[2 to 6] Items of a tape, drawn evenly."""
    item_length: int = 3
    """[3] Words of an item."""
    bits: int = 6
    """[6] Of a word."""

    def __post_init__(self) -> None:
        check_span("items", self.items, least=2)
        if self.items[1] > 1 << (self.item_length * self.bits - 1):
            raise ConfigError(
                f"{self.items[1]} items that all differ do not fit into {self.item_length} times "
                f"{self.bits} bits."
            )

    @property
    def channels(self) -> tuple[int, int]:
        return self.bits + 2, self.bits

    def sizes(self, draws: Draws) -> tuple[int, ...]:
        return (draws.between(self.items),)

    def num_steps(self, *sizes: int) -> int:
        (items,) = sizes
        return items * (self.item_length + 1) + 2 * (self.item_length + 1)

    def beyond(self) -> Mapping[str, TapeTask]:
        """Figure 11: 6 to 20 items."""
        return {f"{n} items": replace(self, items=(n, n)) for n in (6, 8, 10, 12, 15, 20)}

    def write(self, draws: Draws, tape: Tape, *sizes: int) -> None:
        (count,) = sizes
        items = self._items(draws, count)
        asked = draws.between((0, count - 2))
        stride, at = self.item_length + 1, count * (self.item_length + 1)
        for n, item in enumerate([*items, items[asked]]):
            tape.inputs_TI[n * stride, self.bits + (n == count)] = 1
            tape.inputs_TI[n * stride + 1 : (n + 1) * stride, : self.bits] = item
        tape.inputs_TI[at + stride, self.bits + 1] = 1
        tape.targets_TF[at + stride + 1 :] = items[asked + 1]
        tape.mask_T[at + stride + 1 :] = True

    def _items(self, draws: Draws, count: int) -> list[np.ndarray]:
        found: dict[bytes, np.ndarray] = {}
        while len(found) < count:
            item = draws.bits(self.item_length, self.bits)
            found.setdefault(item.tobytes(), item)
        return list(found.values())


@dataclass(frozen=True, kw_only=True)
class NGrams(TapeTask):
    """4.4: bits from a 6-gram table drawn anew for each tape, Beta(1/2, 1/2): guess the next one.

    The first five bits are fair coins. What is scored is every bit that has a whole context.
    """

    name: ClassVar[str] = "ngrams"
    length: int = 200
    """[200] Bits of a tape."""
    context: int = 5
    """[5] Bits that the next one depends on."""

    def __post_init__(self) -> None:
        if not 0 <= self.context < self.length:
            raise ConfigError(
                f"`context` ({self.context}) must be at least 0 and below `length` ({self.length})."
            )

    @property
    def channels(self) -> tuple[int, int]:
        return 1, 1

    def sizes(self, draws: Draws) -> tuple[int, ...]:
        return (self.length,)

    def num_steps(self, *sizes: int) -> int:
        return sizes[0] - 1

    def write(self, draws: Draws, tape: Tape, *sizes: int) -> None:
        # the arcsine law: sin^2 of a uniform angle is Beta(1/2, 1/2)
        chances = np.sin(np.pi / 2 * draws.uniform(1 << self.context)) ** 2
        thresholds, bits = draws.uniform(self.length), np.zeros(self.length, np.float32)
        bits[: self.context] = thresholds[: self.context] < 0.5
        number = int("0" + "".join(str(int(b)) for b in bits[: self.context]), 2)
        for t in range(self.context, self.length):
            bits[t] = thresholds[t] < chances[number]
            number = (2 * number + int(bits[t])) % len(chances)
        tape.inputs_TI[:, 0], tape.targets_TF[:, 0] = bits[:-1], bits[1:]
        tape.mask_T[max(self.context - 1, 0) :] = True


@dataclass(frozen=True, kw_only=True)
class PrioritySort(TapeTask):
    """4.5: vectors, each with a priority from [-1, 1]: say the highest ones, highest first.

    The paper does not say how wide a vector is, nor what parts question and answer: 8 bits, and
    a mark on a channel of its own.
    """

    name: ClassVar[str] = "priority-sort"
    given: int = 20
    """[20] Words of a tape."""
    asked: int = 16
    """[16] How many of them are to be said."""
    bits: int = 8
    """Of a word."""

    def __post_init__(self) -> None:
        if not 1 <= self.asked <= self.given:
            raise ConfigError(
                f"`asked` ({self.asked}) must be at least 1 and at most `given` ({self.given})."
            )

    @property
    def channels(self) -> tuple[int, int]:
        return self.bits + 2, self.bits

    def sizes(self, draws: Draws) -> tuple[int, ...]:
        return self.given, self.asked

    def num_steps(self, *sizes: int) -> int:
        given, asked = sizes
        return given + 1 + asked

    def write(self, draws: Draws, tape: Tape, *sizes: int) -> None:
        given, asked = sizes
        words = draws.bits(given, self.bits)
        priorities = (2 * draws.uniform(given) - 1).astype(np.float32)
        tape.inputs_TI[:given, : self.bits] = words
        tape.inputs_TI[:given, self.bits] = priorities
        tape.inputs_TI[given, self.bits + 1] = 1
        order = np.argsort(-priorities, kind="stable")[:asked]
        tape.targets_TF[given + 1 :] = words[order]
        tape.mask_T[given + 1 :] = True


TAPE_TASKS: Mapping[str, type[TapeTask]] = MappingProxyType(
    {task.name: task for task in (Copy, RepeatCopy, AssociativeRecall, NGrams, PrioritySort)}
)


def tape_task(name: str) -> type[TapeTask]:
    """The task of that name.

    Raises:
        UsageError: there is no such task.
    """
    if name not in TAPE_TASKS:
        raise UsageError(
            f"there is no task on tapes called {name!r}.{did_you_mean(name, TAPE_TASKS)}",
            hint=f"tasks: {', '.join(TAPE_TASKS)}.",
        )
    return TAPE_TASKS[name]


def best_guess(bits_T: np.ndarray, context: int = 5) -> np.ndarray:
    """p(next bit = 1) after each bit by who knows that it is ``NGrams``, (T,); eq. 10.

    (n_1 + 1/2) / (n_0 + n_1 + 1) with the counts of this context so far (Murphy 2012; the
    Krichevsky-Trofimov estimator): no model can be expected to do better. 1/2 before there is a
    whole context.
    """
    counts = np.full((1 << context, 2), 0.5)
    found, number = np.full(len(bits_T), 0.5), 0
    for t, bit in enumerate(bits_T.astype(int)):
        if t >= context:
            counts[number, bit] += 1
        number = (2 * number + int(bit)) % len(counts)
        if t >= context - 1:
            found[t] = counts[number, 1] / counts[number].sum()
    return found
