"""Traces as a compact, versioned file: ``.jumok.json`` for pages and people, ``.npz`` for NumPy.

In ``.jumok.json`` (schema ``jumok-trace/1``) a map is base64 of gzip of fixed-point numbers:
little-endian uint16 between the map's ``low`` and ``high`` (0 and 1 where the weights allow:
error below 8e-6), uint8 where a file holds more than a million cells (error below 2e-3). In
``.npz`` maps are the arrays as they were. The same traces give the same bytes.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from jumok.errors import DataError, JumokError, ModelFolderError, SaveError, UsageError
from jumok.records import AttentionMap, AttentionTrace
from jumok.views.schema import SCHEMA, Fields, trace_from, trace_to

__all__ = ["SUFFIXES", "load_traces", "save_traces", "to_document"]

SUFFIXES = (".jumok.json", ".npz")
_COARSE_FROM = 1_000_000
_LARGEST_FILE = 1 << 30
_LARGEST_MAP = 1 << 26
"""Cells of one map: 8192 x 8192."""
_NEWER = "jumok-trace/"
_DAMAGE = (
    *(ValueError, KeyError, TypeError, OSError, EOFError, RecursionError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error, OverflowError, SyntaxError),
)
"""What the readers of the standard library and of NumPy raise over spoilt bytes."""


def save_traces(traces: Sequence[AttentionTrace], path: str | os.PathLike[str]) -> None:
    """Write ``traces`` to ``path`` (``.jumok.json`` or ``.npz``), whole or not at all.

    Raises:
        UsageError: another suffix.
        JumokError: a weight is not finite or a text is not Unicode; the place is named.
    """
    name = Path(path).name.lower()
    if name.endswith(".npz"):
        content = _npz(traces)
    elif name.endswith(".json"):
        content = dumps(to_document(traces)).encode("utf-8") + b"\n"
    else:
        raise UsageError(f"a trace file ends in {' or '.join(SUFFIXES)}, but this is {name!r}.")
    write_whole(path, content)


def load_traces(path: str | os.PathLike[str]) -> list[AttentionTrace]:
    """Read back what ``save_traces`` wrote.

    Raises:
        DataError: the file is damaged, too large or not a trace file; the reason is given.
        ModelFolderError: a newer jumok wrote it; both versions are named.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise DataError(f"{size} bytes are more than a trace file may have.", where=str(path))
    try:
        return _read_npz(path) if path.suffix.lower() == ".npz" else _read_json(path)
    except DataError:
        raise
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            f"this trace file is damaged: {reason}.",
            where=str(path),
            hint="write it again, for example with `jumok inspect`.",
        ) from error


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write beside ``path`` and rename, so that a reader never meets half a file.

    Raises:
        SaveError: the system refuses (no such folder, no permission, no space).
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        missing = not path.parent.is_dir()
        raise SaveError(
            f"{path} could not be written: {error.strerror or error}.",
            hint=f"there is no folder {path.parent}." if missing else None,
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


# --- JSON ---------------------------------------------------------------------------------


def to_document(traces: Sequence[AttentionTrace]) -> dict[str, Any]:
    """``traces`` as the JSON document that files and pages hold."""
    cells = sum(m.values_TS.size for trace in traces for m in trace.maps)
    bits = 8 if cells > _COARSE_FROM else 16
    return {
        "schema": SCHEMA,
        "traces": [trace_to(trace, lambda m: _packed(m, bits)) for trace in traces],
    }


def dumps(document: dict[str, Any]) -> str:
    """The document as JSON text: strict (no NaN), compact, deterministic."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise JumokError(
            f"a text holds half a surrogate pair ({error.object[error.start]!r}), which no file "
            "can hold."
        ) from error
    return text


def _packed(shown: AttentionMap, bits: int) -> dict[str, Any]:
    """A map's numbers as base64(gzip(fixed point)) with their range."""
    values = np.asarray(shown.values_TS, np.float64)
    if not np.all(np.isfinite(values)):
        t, s = np.argwhere(~np.isfinite(values))[0]
        raise JumokError(
            f"the map {shown.name!r} holds {values[t, s]} at row {t}, column {s}; only finite "
            "weights can be written."
        )
    low = min(0.0, float(values.min(initial=0.0)))
    high = max(1.0, float(values.max(initial=1.0)))
    steps = 2**bits - 1
    fixed = np.rint((values - low) / (high - low) * steps).astype(f"<u{bits // 8}")
    packed = gzip.compress(fixed.tobytes(), compresslevel=6, mtime=0)
    return {
        "shape": list(values.shape),
        "bits": bits,
        "low": low,
        "high": high,
        "data": base64.b64encode(_same_everywhere(packed)).decode("ascii"),
    }


def _same_everywhere(packed: bytes) -> bytes:
    """gzip's header names the operating system in byte 9: always "unknown" here."""
    return packed[:9] + b"\xff" + packed[10:]


def _unpacked(fields: Fields) -> np.ndarray:
    """The float32 array that ``_packed`` wrote; never larger than its shape says."""
    shape = fields.shape("shape", limit=_LARGEST_MAP)
    bits = fields.integer("bits", known=(8, 16))
    low, high = fields.number("low"), fields.number("high")
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"a map's range is {low}..{high}")
    expected = shape[0] * shape[1] * bits // 8
    raw = _inflate(base64.b64decode(fields.text("data"), validate=True), expected)
    fields.done()
    fixed = np.frombuffer(raw, f"<u{bits // 8}").astype(np.float64)
    values: np.ndarray = low + fixed * ((high - low) / (2**bits - 1))
    return values.astype(np.float32).reshape(shape)


def _inflate(packed: bytes, expected: int) -> bytes:
    opened = zlib.decompressobj(wbits=31)
    try:
        raw = opened.decompress(packed, expected + 1)
    except zlib.error as error:
        raise ValueError(f"a map cannot be unpacked ({error})") from error
    if len(raw) != expected or not opened.eof or opened.unused_data:
        raise ValueError(f"a map should hold {expected} bytes")
    return raw


def _read_json(path: Path) -> list[AttentionTrace]:
    document = _parsed(path.read_bytes())
    return _traces(document, path, lambda fields: _unpacked(fields))


def _parsed(raw: bytes) -> Any:
    return json.loads(raw.decode("utf-8"), object_pairs_hook=_no_repeats)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _traces(document: Any, path: Path, unpack: Any) -> list[AttentionTrace]:
    if not isinstance(document, dict) or not str(document.get("schema", "")).startswith(_NEWER):
        raise DataError("this is not a trace file of jumok.", where=str(path))
    if document["schema"] != SCHEMA:
        raise ModelFolderError(
            f"{path} has the format {document['schema']}; this jumok reads {SCHEMA}.",
            hint="a newer jumok wrote it: pip install --upgrade jumok",
        )
    fields = Fields(document, "the file")
    fields.text("schema")
    found = [trace_from(f, unpack) for f in fields.records("traces")]
    fields.done()
    return found


# --- npz ----------------------------------------------------------------------------------


def _npz(traces: Sequence[AttentionTrace]) -> bytes:
    """``meta`` (the JSON document as bytes) beside one array for each map: ``0/cross`` ..."""
    arrays: dict[str, np.ndarray] = {}

    def keep(shown: AttentionMap) -> dict[str, Any]:
        _packed(shown, 8)  # refuses what is not finite, as the other format does
        key = f"{number}/{shown.name}"
        while key in arrays:
            key += "'"
        arrays[key] = np.asarray(shown.values_TS)
        return {"key": key}

    records = []
    for number, trace in enumerate(traces):  # noqa: B007  (read by keep)
        records.append(trace_to(trace, keep))
    text = dumps({"schema": SCHEMA, "traces": records})
    out = io.BytesIO()
    np.savez_compressed(
        out, allow_pickle=False, meta=np.frombuffer(text.encode("utf-8"), np.uint8), **arrays
    )
    return out.getvalue()


def _read_npz(path: Path) -> list[AttentionTrace]:
    with zipfile.ZipFile(path) as opened:
        if sum(item.file_size for item in opened.infolist()) > _LARGEST_FILE:
            raise ValueError("its arrays are larger than a trace file may hold")
        document = _parsed(_member(opened, "meta").tobytes())

        def unpack(fields: Fields) -> np.ndarray:
            found = _member(opened, fields.text("key"))
            fields.done()
            if found.ndim != 2 or found.dtype.kind != "f" or not np.all(np.isfinite(found)):
                raise ValueError("a map is not a matrix of finite numbers")
            return found

        return _traces(document, path, unpack)


def _member(opened: zipfile.ZipFile, key: str) -> np.ndarray:
    """One array, after its header has been held against the bytes that are there."""
    raw = opened.read(f"{key}.npy")
    stream = io.BytesIO(raw)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"the array {key!r} has the unknown format {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if math.prod(shape) * dtype.itemsize != len(raw) - stream.tell():
        raise ValueError(f"the array {key!r} is not as long as it says")
    stream.seek(0)
    found: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return found
