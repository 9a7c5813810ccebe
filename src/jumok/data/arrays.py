"""Pairs as numbers: rows of different lengths in two flat arrays, and batches padded from them."""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from jumok.data.copying import extra_width
from jumok.records import BOS, PAD, Batch, Source

__all__ = [
    "Copies",
    "Growing",
    "InMemory",
    "PairData",
    "Ragged",
    "RowLengths",
    "collate",
    "map_numbers",
    "pad",
]


Release: TypeAlias = Callable[[], None]
_KEEP_MAPPED = 64 << 20


@dataclass(frozen=True)
class RowLengths:
    """Row numbers -> lengths, read from the offsets when asked; takes no memory of its own."""

    offsets: np.ndarray
    release: Release | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows_N: Any, /) -> np.ndarray:
        """int64 lengths of the rows (any index that NumPy takes)."""
        if isinstance(rows_N, slice):
            rows_N = np.arange(*rows_N.indices(len(self)))
        rows = np.asarray(rows_N)
        lengths = np.asarray(self.offsets[rows + 1] - self.offsets[rows], dtype=np.int64)
        if self.release is not None:
            self.release()
        return lengths


@dataclass(frozen=True)
class Ragged:
    """Rows of ids end to end. ``offsets`` is int64 and one longer than the rows."""

    ids: np.ndarray
    offsets: np.ndarray
    release: Release | None = None
    """Gives back the memory that reading a large file has mapped; called after each reading."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """The ids of one row, int64."""
        start, end = int(self.offsets[row]), int(self.offsets[row + 1])
        return np.asarray(self.ids[start:end], dtype=np.int64)

    @property
    def lengths(self) -> RowLengths:
        return RowLengths(self.offsets, self.release)

    def padded(self, rows_B: np.ndarray, multiple: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """(ids_BL int64, mask_BL bool) with PAD on the right; L a multiple of ``multiple``."""
        starts_B = np.asarray(self.offsets[rows_B], dtype=np.int64)
        lengths_B = self.lengths[rows_B]
        width = -(-int(lengths_B.max(initial=1)) // multiple) * multiple
        places_L = np.arange(width)
        mask_BL = places_L < lengths_B[:, None]
        found = self.ids[(starts_B[:, None] + places_L)[mask_BL]]
        ids_BL = np.full(mask_BL.shape, PAD, dtype=np.int64)
        ids_BL[mask_BL] = found
        if self.release is not None:
            self.release()
        return ids_BL, mask_BL

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Ragged:
        """From lists of ids."""
        growing = Growing()
        for row in rows:
            growing.append(row)
        return growing.done()


class Growing:
    """Rows collected one by one, four bytes an id and eight a row; ``done`` hands them over."""

    def __init__(self) -> None:
        self._ids, self._offsets = array("i"), array("q", [0])

    def append(self, row: Iterable[int]) -> None:
        self._ids.extend(row)
        self._offsets.append(len(self._ids))

    def done(self) -> Ragged:
        """What was collected, without copying it; nothing can be appended afterwards."""
        ids = np.frombuffer(self._ids, dtype=np.int32) if self._ids else np.zeros(0, np.int32)
        return Ragged(ids, np.frombuffer(self._offsets, dtype=np.int64))


@dataclass(frozen=True)
class Copies:
    """What copying each source symbol writes, row by row (``copying.copy_ids``)."""

    ids: Ragged
    vocabulary_size: int
    """V of the target: ids from here on are a sentence's own."""

    def beside(self, source: Source, rows_B: np.ndarray, multiple: int) -> Source:
        """``source``, the batch of these rows, with what can be copied."""
        copy_ids_BS, _ = self.ids.padded(rows_B, multiple)
        extra = extra_width(copy_ids_BS, self.vocabulary_size)
        return replace(source, copy_ids_BS=copy_ids_BS, extra=extra)


class PairData(Protocol):
    """Encoded pairs, in memory or on disk; both sides end with EOS in every row."""

    @property
    def source(self) -> Ragged: ...

    @property
    def target(self) -> Ragged: ...

    @property
    def copies(self) -> Copies | None:
        """None where the model does not copy."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class InMemory:
    """Encoded pairs in memory. ``dropped`` holds the row numbers left out as too long."""

    source: Ragged
    target: Ragged
    dropped: tuple[int, ...] = ()
    copies: Copies | None = None

    def __len__(self) -> int:
        return len(self.source)


def map_numbers(path: Path, dtype: np.dtype[Any]) -> tuple[np.ndarray, Release | None]:
    """The numbers in a file as a read-only array that is read where it is used.

    The second value gives the memory back that reading has mapped (so that it does not look as
    if it grew with the corpus); None for a file that is small or where there is no such call.

    The system is told not to read ahead: rows are met in a shuffled order, and read-ahead of a
    file of gigabytes then brings in all of it (46 s instead of 0.6 s for the first batch of a
    thousand million rows).
    """
    with open(path, "rb") as file:
        if path.stat().st_size == 0:
            return np.zeros(0, dtype), None
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    numbers = np.frombuffer(mapped, dtype=dtype)
    if not hasattr(mmap, "MADV_RANDOM"):
        return numbers, None
    mapped.madvise(mmap.MADV_RANDOM)
    small = len(mapped) <= _KEEP_MAPPED
    return numbers, None if small else lambda: mapped.madvise(mmap.MADV_DONTNEED)


def pad(rows: Sequence[Sequence[int]], multiple: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(ids_BL int64, mask_BL bool): PAD on the right, L a multiple of ``multiple``."""
    return Ragged.of(rows).padded(np.arange(len(rows)), multiple)


def collate(
    data: PairData,
    rows_B: Sequence[int] | np.ndarray,
    *,
    source_multiple: int = 1,
    target_multiple: int = 1,
) -> Batch:
    """The batch of these rows: NumPy, right padding, ``example_B`` = the row numbers.

    ``source.ids_BS`` and ``target_out_BT`` end with EOS, ``target_in_BT`` begins with BOS. With
    ``data.copies`` the source says what can be copied, and target ids go beyond V.
    """
    rows_B = np.asarray(rows_B, dtype=np.int64)
    source_BS, source_mask_BS = data.source.padded(rows_B, source_multiple)
    target_BT, target_mask_BT = data.target.padded(rows_B, target_multiple)
    source = Source(ids_BS=source_BS, mask_BS=source_mask_BS)
    if data.copies is not None:
        source = data.copies.beside(source, rows_B, source_multiple)
    return Batch(
        source=source,
        target_in_BT=shift(target_BT, target_mask_BT),
        target_out_BT=target_BT,
        target_mask_BT=target_mask_BT,
        example_B=rows_B,
    )


def shift(target_out_BT: np.ndarray, target_mask_BT: np.ndarray) -> np.ndarray:
    """[y1 .. yn, EOS] -> [BOS, y1 .. yn]; PAD stays where ``target_mask_BT`` is False."""
    target_in_BT = np.full_like(target_out_BT, PAD)
    target_in_BT[:, 0] = BOS
    target_in_BT[:, 1:] = target_out_BT[:, :-1]
    target_in_BT[~target_mask_BT] = PAD
    return target_in_BT
