"""Order is a function: the n-th batch follows from (seed, epoch, n) and the lengths alone.

The stream of an epoch is a keyed bijection of the row numbers that needs no memory. It is
taken in windows; inside a window rows are sorted by length and cut into batches by a budget of
padded tokens or by a number of rows, and the batches are put into a keyed order. So every row
comes exactly once an epoch, a run goes on from three integers (epoch, window, place), and the
number of workers cannot change what a batch holds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isqrt
from typing import Any, NamedTuple, Protocol

import numpy as np

from jumok.data.counter import draw, key
from jumok.errors import ConfigError, at_least_one

__all__ = ["Cursor", "Epoch", "Lengths", "Permutation", "Plan", "permutation"]

WINDOW = 1 << 16
_ROUNDS = 8


class Lengths(Protocol):
    """Row numbers -> lengths: a NumPy array, a memory map, or a view of an index on disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows_N: Any, /) -> Any: ...


@dataclass(frozen=True)
class Permutation:
    """A bijection of ``[0, size)`` that needs no memory, keyed by ``key``.

    A Feistel network on pairs (high, low) of Z_a x Z_b with a * b just above ``size``; numbers
    that fall outside walk on until they fall inside (Black and Rogaway 2002, "Ciphers with
    arbitrary finite domains", sections 4 and 5).
    """

    size: int
    key: int

    def __post_init__(self) -> None:
        if not 0 < self.size <= 1 << 62:
            raise ValueError(f"`size` must be in 1..2**62, but is {self.size}.")

    def __call__(self, index_N: np.ndarray) -> np.ndarray:
        """int64 images of ``index_N`` (any shape, entries in ``[0, size)``)."""
        images = np.array(index_N, dtype=np.int64)
        flat = images.reshape(-1)
        if flat.size and (flat.min() < 0 or flat.max() >= self.size):
            raise IndexError(f"an index lies outside [0, {self.size}).")
        flat[:] = self._once(flat)
        outside = np.flatnonzero(flat >= self.size)
        while outside.size:
            flat[outside] = self._once(flat[outside])
            outside = outside[flat[outside] >= self.size]
        return images

    def _once(self, index_N: np.ndarray) -> np.ndarray:
        a = isqrt(self.size - 1) + 1
        b = -(-self.size // a)
        high, low = np.divmod(index_N, b)
        for r in range(0, _ROUNDS, 2):
            high = _turn(high, low, a, self.key + r)
            low = _turn(low, high, b, self.key + r + 1)
        return high * b + low


def _turn(what_N: np.ndarray, by_N: np.ndarray, modulus: int, key: int) -> np.ndarray:
    """``what`` turned round Z_modulus by a keyed function of ``by``: undone by turning back."""
    noise = draw(key & 0xFFFFFFFFFFFFFFFF, by_N) >> np.uint64(32)
    turned = what_N + (noise * np.uint64(modulus) >> np.uint64(32)).astype(np.int64)
    return np.where(turned >= modulus, turned - modulus, turned)


def permutation(n: int, seed: int, epoch: int) -> Permutation:
    """The order of ``n`` rows in an epoch: ``permutation(n, seed, epoch)(positions) -> rows``."""
    return Permutation(n, key("rows", seed, epoch))


class Cursor(NamedTuple):
    """Where a run stands: the batch at ``place`` of ``window`` in ``epoch`` comes next."""

    epoch: int
    window: int
    place: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every batch of every epoch, as a function.

    Give ``batch_tokens`` (the most padded positions of a batch: rows x (longest source +
    longest target)), ``batch_size`` (the most rows), or both. A row longer than the budget
    travels alone. Lengths count what is padded, so the end symbol too.
    """

    source_lengths: Lengths = field(repr=False)
    target_lengths: Lengths = field(repr=False)
    seed: int
    batch_tokens: int | None = None
    batch_size: int | None = None
    window: int = WINDOW

    def __post_init__(self) -> None:
        _check(self)

    @property
    def num_rows(self) -> int:
        return len(self.source_lengths)

    @property
    def num_windows(self) -> int:
        return -(-self.num_rows // self.window)

    def rows_in(self, window: int) -> int:
        """Rows of one window: ``window``, fewer in the last."""
        if not 0 <= window < self.num_windows:
            raise IndexError(f"window {window} of {self.num_windows}.")
        return min(self.window, self.num_rows - window * self.window)

    def epoch(self, epoch: int) -> Epoch:
        """The batches of one epoch as a sequence; windows are planned when reached."""
        return Epoch(self, epoch)

    def batch(self, epoch: int, n: int) -> np.ndarray:
        """Row numbers of the n-th batch of ``epoch``, int64."""
        return self.epoch(epoch)[n]

    def batches_of(self, epoch: int, window: int) -> list[np.ndarray]:
        """The batches of one window, in the order in which they are met."""
        positions = window * self.window + np.arange(self.rows_in(window))
        rows = permutation(self.num_rows, self.seed, epoch)(positions)
        source = np.asarray(self.source_lengths[rows], dtype=np.int64)
        target = np.asarray(self.target_lengths[rows], dtype=np.int64)
        # Target lengths rise and fall in turn, so that neighbours across a step of the source
        # length are alike too: 0.95 instead of 0.92 of 16,384 padded tokens are real.
        by_length = np.lexsort((np.where(source % 2, target, -target), source))
        cuts = _cut(source[by_length], target[by_length], self.batch_tokens, self.batch_size)
        parts = np.split(rows[by_length], cuts)
        order = Permutation(len(parts), key("batches", self.seed, epoch, window))
        return [parts[i] for i in order(np.arange(len(parts)))]

    def after(self, cursor: Cursor) -> Iterator[tuple[Cursor, np.ndarray]]:
        """(where to go on after it, rows) for every batch from ``cursor`` on, without end.

        Looks at nothing before the cursor's own window: to go on costs one window.
        """
        epoch, window, place = cursor
        while True:
            parts = self.batches_of(epoch, window)
            for k in range(place, len(parts)):
                yield self._next(Cursor(epoch, window, k), len(parts)), parts[k]
            epoch, window, place = self._next(Cursor(epoch, window, len(parts) - 1), len(parts))

    def _next(self, at: Cursor, count: int) -> Cursor:
        if at.place + 1 < count:
            return at._replace(place=at.place + 1)
        if at.window + 1 < self.num_windows:
            return Cursor(at.epoch, at.window + 1, 0)
        return Cursor(at.epoch + 1, 0, 0)


class Epoch:
    """The batches of one epoch: ``len``, ``[n]``, iteration; the same rows as ``Plan.after``.

    With a token budget ``len`` and ``[n]`` must plan the windows before the one asked for; each
    is planned once, and the last one is kept, so walking in order costs nothing extra.
    """

    def __init__(self, plan: Plan, number: int) -> None:
        self.plan = plan
        self.number = number
        self._first = [0]
        self._kept: tuple[int, list[np.ndarray]] | None = None

    def __len__(self) -> int:
        return self._count_until(None)

    def __getitem__(self, n: int) -> np.ndarray:
        _, window, place = self.cursor(n)
        return self._window(window)[place]

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.part(0, 1)

    def cursor(self, n: int) -> Cursor:
        """The three integers that name the n-th batch; negative n counts from the end."""
        wanted = n + len(self) if n < 0 else n
        if wanted < 0 or wanted >= self._count_until(wanted):
            raise IndexError(f"batch {n} of {len(self)}.")
        window = bisect_right(self._first, wanted) - 1
        return Cursor(self.number, window, wanted - self._first[window])

    def part(self, worker: int, num_workers: int, start: int = 0) -> Iterator[np.ndarray]:
        """The batches n >= start with n % num_workers == worker, in order."""
        n = start + (worker - start) % num_workers
        while n < self._count_until(n):
            yield self[n]
            n += num_workers

    def _count_until(self, n: int | None) -> int:
        """Batches counted window by window, until the n-th is among them (None: all)."""
        while len(self._first) <= self.plan.num_windows and (n is None or self._first[-1] <= n):
            self._first.append(self._first[-1] + self._count(len(self._first) - 1))
        return self._first[-1]

    def _count(self, window: int) -> int:
        if self.plan.batch_tokens is None and self.plan.batch_size is not None:
            return -(-self.plan.rows_in(window) // self.plan.batch_size)
        return len(self._window(window))

    def _window(self, window: int) -> list[np.ndarray]:
        if self._kept is None or self._kept[0] != window:
            self._kept = (window, self.plan.batches_of(self.number, window))
        return self._kept[1]


def _check(plan: Plan) -> None:
    if plan.batch_tokens is None and plan.batch_size is None:
        raise ConfigError("a plan needs `batch_tokens`, `batch_size` or both.")
    at_least_one(batch_tokens=plan.batch_tokens, batch_size=plan.batch_size, window=plan.window)
    sources, targets = len(plan.source_lengths), len(plan.target_lengths)
    if sources != targets:
        raise ConfigError(f"{sources} source lengths, but {targets} target lengths.")
    if not sources:
        raise ConfigError("there is no row to plan batches for.")


def _cut(
    source_N: np.ndarray, target_N: np.ndarray, tokens: int | None, size: int | None
) -> np.ndarray:
    """Where to cut rows sorted by length so that each part is as large as is allowed."""
    total = len(source_N)
    if tokens is None:
        assert size is not None
        return np.arange(size, total, size)
    most = min(size or total, tokens, total)
    cuts: list[int] = []
    at = 0
    while at < total:
        ahead = slice(at, at + _reach(source_N[at] + target_N[at], tokens, most))
        widest = np.maximum.accumulate(source_N[ahead]) + np.maximum.accumulate(target_N[ahead])
        padded = widest * np.arange(1, len(widest) + 1)
        at += max(1, int(np.searchsorted(padded, tokens, side="right")))
        cuts.append(at)
    return np.array(cuts[:-1], dtype=np.int64)


def _reach(positions: int, tokens: int, most: int) -> int:
    """No more rows than this can share a batch whose first row has that many positions."""
    return max(1, min(most, tokens // int(max(1, positions)) + 1))
