"""The manifest: which files a folder holds, their lengths and SHA-256, in one strict JSON.

The text is canonical and carries its own digest, so a change of any byte of it is noticed. A file
may only have one of the names below: no file can point anywhere, and no name can leave the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from jumok.errors import ModelFolderError

__all__ = ["CAPS", "FORMAT", "LOGS", "MANIFEST", "Entry", "Manifest", "producer", "strict_json"]

FORMAT = 1
"""The newest format that this code reads, and the one it writes."""
MANIFEST = "manifest.json"
MIB = 1 << 20

CAPS: Mapping[str, int] = {
    MANIFEST: MIB,
    "config.toml": MIB,
    "codec.json": MIB,
    "card.md": MIB,
    "seen.bin": 1024 * MIB,
    "source.vocabulary.txt": 256 * MIB,
    "target.vocabulary.txt": 256 * MIB,
    "source.spm.model": 256 * MIB,
    "target.spm.model": 256 * MIB,
    "metrics.jsonl": 4096 * MIB,
    "model.safetensors": 1 << 40,
    "optimizer.safetensors": 1 << 41,
    "average.safetensors": 1 << 40,
    "recent.safetensors": 1 << 43,
    "chosen.safetensors": 1 << 40,
    "cursor.json": 64 * MIB,
    "request.json": 1 << 20,
    "encoder.onnx": 1 << 40,
    "step.onnx": 1 << 40,
    "bundle.json": MIB,
}
"""Every name a file of a folder may have, and the most bytes it may hold."""

LOGS = frozenset({"metrics.jsonl"})
"""Files that may have grown since: what the manifest covers must be unchanged."""


@dataclass(frozen=True)
class Entry:
    """One file: how long it is and what it hashes to."""

    size: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Entry:
        return cls(len(data), hashlib.sha256(data).hexdigest())


def producer() -> str:
    """``"jumok 0.1.0"``: the version that writes."""
    try:
        return f"jumok {metadata.version('jumok')}"
    except metadata.PackageNotFoundError:
        return "jumok (not installed)"


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What ``manifest.json`` says."""

    files: Mapping[str, Entry]
    format: int = FORMAT
    producer: str = ""

    def _body(self) -> dict[str, Any]:
        files = {name: {"bytes": e.size, "sha256": e.sha256} for name, e in self.files.items()}
        return {"files": files, "format": self.format, "producer": self.producer}

    @property
    def digest(self) -> str:
        """One SHA-256 for the whole folder: what a user may pin."""
        return hashlib.sha256(_canonical(self._body()).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        return _canonical(self._body() | {"digest": self.digest}).encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Manifest:
        """Refuses whatever this code could not have written, naming ``where`` and why."""
        document = strict_json(data, where)
        _check_format(document, where)
        try:
            files = {
                name: Entry(int(e["bytes"]), str(e["sha256"]))
                for name, e in document["files"].items()
            }
            found = cls(files=files, format=FORMAT, producer=str(document["producer"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _damaged(where, "it is not a manifest that jumok wrote") from None
        for name in files:
            if name not in CAPS or name == MANIFEST:
                raise _damaged(where, f"it names {name!r}, which is no file of a model folder")
        if found.to_bytes() != data:
            raise _damaged(where, "its own digest does not match")
        return found


def _check_format(document: Mapping[str, Any], where: str) -> None:
    version = document.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _damaged(where, "it states no format version")
    if version > FORMAT:
        raise ModelFolderError(
            f"{where}: format {version}, written by {document.get('producer')!s:.40}, is newer "
            f"than format {FORMAT}, the newest that {producer()} reads.",
            hint="pip install --upgrade jumok",
        )


def _damaged(where: str, reason: str) -> ModelFolderError:
    return ModelFolderError(
        f"{where}: {reason}.", hint="copy the folder again from where it was good."
    )


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constants(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def strict_json(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object: UTF-8, no repeated key, no NaN or Infinity, no bottomless nesting."""
    try:
        document = json.loads(
            data.decode("utf-8"), object_pairs_hook=_no_repeats, parse_constant=_no_constants
        )
    except (ValueError, RecursionError) as error:
        raise _damaged(where, f"it is not valid JSON ({str(error)[:80]})") from None
    if not isinstance(document, dict):
        raise _damaged(where, "it is not a JSON object")
    return document
