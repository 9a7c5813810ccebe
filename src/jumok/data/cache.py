"""Encoded pairs on disk, read through memory maps: corpora larger than memory, opened at once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from array import array
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, cast

import numpy as np

from jumok.data.arrays import Ragged, Release, map_numbers
from jumok.data.codec_files import codec_digest
from jumok.data.encoded import EncodedRow, OnLong, PairCodec
from jumok.errors import DataError

__all__ = ["TokenCache"]

FORMAT = 1
INDEX = "index.json"
_SIDES = ("source", "target")
_DTYPES: dict[str, np.dtype[Any]] = {"uint16": np.dtype("<u2"), "int32": np.dtype("<i4")}
_OFFSETS = "int64"
_DTYPES["int64"] = np.dtype("<i8")
_NAMES = tuple(f"{side}.{what}" for side in _SIDES for what in ("ids", "offsets"))
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BUFFER = 1 << 18
_MAX_INDEX_BYTES = 1 << 20


@dataclass(frozen=True)
class TokenCache:
    """A folder of encoded pairs with the interface of ``InMemory``; nothing is read until used.

    ``source.ids`` and ``target.ids`` hold the rows end to end (uint16 or int32, little-endian),
    ``*.offsets`` where each begins (int64, one more than the rows), ``index.json`` the counts,
    the sizes and the SHA-256 of each file, and the digests of the vocabularies.
    """

    folder: Path
    source: Ragged
    target: Ragged
    dropped: int
    """Pairs left out as too long when it was built."""
    codec: str
    """The digest of the codec that encoded it (``codec_digest``)."""
    copies: None = None
    """What could be copied is not kept on disk."""

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def build(
        cls,
        folder: str | Path,
        codec: PairCodec,
        pairs: Iterable[tuple[str, str]],
        *,
        on_long: OnLong = "refuse",
    ) -> TokenCache:
        """Encode ``pairs`` as they come; memory does not grow with their number.

        Everything is written into a temporary folder beside ``folder``, which is renamed at the
        end: ``folder`` is there whole or not at all.

        Raises:
            DataError: ``folder`` exists, or a pair is too long and ``on_long`` is "refuse".
        """
        folder = Path(folder)
        if folder.exists():
            raise DataError(f"{folder} exists already.", hint="remove it, or give another name.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            index = _write(work, codec, codec.encode_pairs(pairs, on_long=on_long))
            (work / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
            os.replace(work, folder)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> TokenCache:
        """Map the files; sizes are checked against the index, contents by ``verify``.

        Raises:
            DataError: names the file that is missing, damaged or of another size.
        """
        folder = Path(folder)
        index = _read_index(folder)
        sides = {side: _map_side(folder, side, index) for side in _SIDES}
        return cls(folder, sides["source"], sides["target"], index["dropped"], index["codec"])

    def verify(self) -> None:
        """Read every file and compare its SHA-256; DataError names the first that differs."""
        for name, entry in _read_index(self.folder)["files"].items():
            with open(self.folder / name, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != entry["sha256"]:
                where = str(self.folder / name)
                raise DataError("the content is not what was written.", where=where, hint=_AGAIN)


_AGAIN = "remove the folder and encode the corpus again."


class _Entry(TypedDict):
    dtype: str
    items: int
    sha256: str


class _Index(TypedDict):
    format: int
    codec: str
    rows: int
    dropped: int
    files: dict[str, _Entry]


class _Column:
    """A file of numbers written in pieces, its count and its SHA-256 kept along the way."""

    def __init__(self, path: Path, dtype: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 (closed by __exit__)
        self._waiting = array("q")
        self._digest = hashlib.sha256()
        self.dtype, self.items = dtype, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def extend(self, numbers: Iterable[int]) -> None:
        self._waiting.extend(numbers)
        if len(self._waiting) >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        data = np.array(self._waiting).astype(_DTYPES[self.dtype]).tobytes()
        self.items += len(self._waiting)
        self._waiting = array("q")
        self._digest.update(data)
        self._file.write(data)
        self._file.flush()

    def entry(self) -> _Entry:
        return {"dtype": self.dtype, "items": self.items, "sha256": self._digest.hexdigest()}


def _write(work: Path, codec: PairCodec, rows: Iterable[EncodedRow | int]) -> _Index:
    sizes = {"source": len(codec.source_vocabulary), "target": len(codec.target_vocabulary)}
    dtypes = {
        f"{side}.ids": "uint16" if size <= 1 << 16 else "int32" for side, size in sizes.items()
    }
    count = dropped = 0
    with ExitStack() as stack:
        columns = {
            name: stack.enter_context(_Column(work / name, dtypes.get(name, _OFFSETS)))
            for name in _NAMES
        }
        ends = dict.fromkeys(_SIDES, 0)
        for side in _SIDES:
            columns[f"{side}.offsets"].extend([0])
        for row in rows:
            if isinstance(row, int):
                dropped += 1
                continue
            count += 1
            for side, ids in zip(_SIDES, (row.source, row.target), strict=True):
                ends[side] += len(ids)
                columns[f"{side}.ids"].extend(ids)
                columns[f"{side}.offsets"].extend([ends[side]])
    return {
        "format": FORMAT,
        "codec": codec_digest(codec),
        "rows": count,
        "dropped": dropped,
        "files": {name: column.entry() for name, column in columns.items()},
    }


def _map_side(folder: Path, side: str, index: _Index) -> Ragged:
    ids, release_ids = _map(folder, f"{side}.ids", index)
    offsets, release_offsets = _map(folder, f"{side}.offsets", index)
    where = str(folder / f"{side}.offsets")
    if len(offsets) != index["rows"] + 1 or offsets[0] != 0 or offsets[-1] != len(ids):
        raise DataError("the offsets do not fit the rows.", where=where, hint=_AGAIN)
    releases = [r for r in (release_ids, release_offsets) if r is not None]
    return Ragged(ids, offsets, (lambda: _call(releases)) if releases else None)


def _call(functions: Iterable[Release]) -> None:
    for function in functions:
        function()


def _map(folder: Path, name: str, index: _Index) -> tuple[np.ndarray, Release | None]:
    path, entry = folder / name, index["files"][name]
    dtype = _DTYPES[entry["dtype"]]
    if not path.is_file():
        raise DataError("there is no such file.", where=str(path), hint=_AGAIN)
    size = path.stat().st_size
    if size != entry["items"] * dtype.itemsize:
        raise DataError(
            f"{size} bytes, but the index says {entry['items'] * dtype.itemsize}.",
            where=str(path),
            hint=_AGAIN,
        )
    return map_numbers(path, dtype)


def _read_index(folder: Path) -> _Index:
    path = folder / INDEX
    try:
        if path.stat().st_size > _MAX_INDEX_BYTES:
            raise ValueError(f"larger than {_MAX_INDEX_BYTES >> 20} MiB")
        index = json.loads(path.read_bytes())
        _check_index(index)
    except FileNotFoundError:
        raise DataError("there is no token cache.", where=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a token cache's index: {error}.", where=str(path)) from None
    return cast(_Index, index)


def _check_index(index: Any) -> None:
    """ValueError unless ``index`` has exactly the keys and kinds of values of ``_Index``."""
    if not isinstance(index, dict) or set(index) != set(_Index.__annotations__):
        raise ValueError(f"it must have the keys {', '.join(_Index.__annotations__)}")
    if index["format"] != FORMAT:
        raise ValueError(f"format {index['format']!r}, but this version reads {FORMAT}")
    files = index["files"]
    if not isinstance(files, dict) or set(files) != set(_NAMES):
        raise ValueError(f"`files` must be {', '.join(_NAMES)}")
    for entry in files.values():
        if not isinstance(entry, dict) or set(entry) != set(_Entry.__annotations__):
            raise ValueError("a file's entry is not complete")
    digests = [index["codec"], *(entry["sha256"] for entry in files.values())]
    counts = [index["rows"], index["dropped"], *(entry["items"] for entry in files.values())]
    if not all(isinstance(d, str) and _SHA256.fullmatch(d) for d in digests):
        raise ValueError("a digest is not SHA-256")
    if not all(type(c) is int and 0 <= c < 1 << 48 for c in counts):
        raise ValueError("a count is not a number")
    if not all(entry["dtype"] in _DTYPES for entry in files.values()):
        raise ValueError(f"a type is not one of {', '.join(_DTYPES)}")
