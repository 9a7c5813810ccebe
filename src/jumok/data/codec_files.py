"""A codec on disk: strict JSON, two vocabularies as text, and what the tokenizers learnt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jumok.data.encoded import PairCodec
from jumok.data.tags import Tagged, check_separator
from jumok.data.tokenizers import Tokenizer, restore
from jumok.data.vocabulary import MAX_FILE_BYTES, Vocabulary
from jumok.errors import ConfigError, JumokError, ModelFolderError, UsageError, did_you_mean

__all__ = ["codec_digest", "codec_files", "codec_from_files", "load_codec", "save_codec"]

FORMAT = 1
RECORD = "codec.json"
_SIDES = ("source", "target")
_KEYS = ("format", "normalisation", "max_source", "max_target", "source", "target")
_MAY_BE = ("copies",)
"""Only there, and true, in the codec of a model that copies."""
_FILES = ("vocabulary.txt", "spm.model")
_MAX_RECORD_BYTES = 1 << 20
_MAX_LENGTH = 1 << 24


def codec_files(codec: PairCodec) -> dict[str, bytes]:
    """File name -> content; the same bytes for the same codec."""
    record = {
        "format": FORMAT,
        "normalisation": codec.normalisation,
        "max_source": codec.max_source,
        "max_target": codec.max_target,
        "source": codec.source_tokenizer.to_dict(),
        "target": codec.target_tokenizer.to_dict(),
    }
    if codec.copies:
        record["copies"] = True
    files = {RECORD: json.dumps(record, indent=2, ensure_ascii=True).encode() + b"\n"}
    sides = (
        ("source", codec.source_tokenizer, codec.source_vocabulary),
        ("target", codec.target_tokenizer, codec.target_vocabulary),
    )
    for side, tokenizer, vocabulary in sides:
        files[f"{side}.vocabulary.txt"] = vocabulary.to_text().encode()
        files |= {f"{side}.{name}": data for name, data in tokenizer.files().items()}
    return files


def codec_from_files(files: Mapping[str, bytes], *, where: str = "the model") -> PairCodec:
    """The inverse of ``codec_files``; other files in ``files`` are not looked at.

    Raises:
        ModelFolderError: a file is missing, too large, damaged or of a newer format.
    """
    record = _record(_file(files, RECORD, where), f"{where}/{RECORD}")
    tokenizers = {side: _tokenizer(record[side], side, files, where) for side in _SIDES}
    vocabularies = {
        side: Vocabulary.from_bytes(
            _file(files, f"{side}.vocabulary.txt", where), where=f"{where}/{side}.vocabulary.txt"
        )
        for side in _SIDES
    }
    try:
        return PairCodec(
            source_tokenizer=tokenizers["source"],
            target_tokenizer=tokenizers["target"],
            source_vocabulary=vocabularies["source"],
            target_vocabulary=vocabularies["target"],
            normalisation=record["normalisation"],
            max_source=record["max_source"],
            max_target=record["max_target"],
            copies="copies" in record,
        )
    except UsageError as error:
        raise ModelFolderError(f"{where}/{RECORD}: {error.message}") from None


def save_codec(codec: PairCodec, folder: str | Path) -> None:
    """Write the files into ``folder`` (made if need be). Not atomic: the store sees to that."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in codec_files(codec).items():
        (folder / name).write_bytes(data)


def load_codec(folder: str | Path) -> PairCodec:
    """Read what ``save_codec`` wrote; ModelFolderError as in ``codec_from_files``."""
    folder = Path(folder)
    names = [RECORD, *(f"{side}.{name}" for side in _SIDES for name in _FILES)]
    found = {}
    for name in names:
        path = folder / name
        if path.is_file():
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ModelFolderError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB.")
            found[name] = path.read_bytes()
    return codec_from_files(found, where=str(folder))


def _file(files: Mapping[str, bytes], name: str, where: str) -> bytes:
    if name not in files:
        raise ModelFolderError(f"{where}/{name}: there is no such file.")
    if len(files[name]) > MAX_FILE_BYTES:
        raise ModelFolderError(f"{where}/{name}: larger than {MAX_FILE_BYTES >> 20} MiB.")
    return files[name]


def _tokenizer(
    record: Mapping[str, object], side: str, files: Mapping[str, bytes], where: str
) -> Tokenizer:
    prefix = f"{side}."
    own = {
        name.removeprefix(prefix): data
        for name, data in files.items()
        if name.startswith(prefix) and name != f"{side}.vocabulary.txt"
    }
    plain = {name: value for name, value in record.items() if name != "tags"}
    try:
        tokenizer = restore(plain, own)
        if "tags" not in record:
            return tokenizer
        if side == "target":
            raise ConfigError("tags belong to the source.")
        return Tagged(tokenizer, check_separator(str(record["tags"])))
    except JumokError as error:
        raise ModelFolderError(f"{where}/{RECORD}: {side}: {error.message}") from None


def _record(data: bytes, where: str) -> dict[str, Any]:
    if len(data) > _MAX_RECORD_BYTES:
        raise ModelFolderError(f"{where}: larger than {_MAX_RECORD_BYTES >> 20} MiB.")
    try:
        record = json.loads(data, object_pairs_hook=_no_repeats, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{where}: not the JSON that was written ({error}).") from None
    if not isinstance(record, dict):
        raise ModelFolderError(f"{where}: not a JSON object.")
    _check_format(record, where)
    for name in record:
        if name in _MAY_BE and record[name] is not True:
            raise ModelFolderError(
                f"{where}: `{name}` must be true, but is {record[name]!r}.",
                hint="a codec that does not copy has no such key.",
            )
        if name not in _KEYS + _MAY_BE:
            raise ModelFolderError(f"{where}: unknown key {name!r}.{did_you_mean(name, _KEYS)}")
    for name in _KEYS:
        _check_value(name, record.get(name), where)
    return record


def _check_format(record: Mapping[str, object], where: str) -> None:
    found = record.get("format")
    if isinstance(found, int) and found > FORMAT:
        raise ModelFolderError(
            f"{where}: format {found}, but this version of jumok reads up to {FORMAT}.",
            hint="install a newer jumok.",
        )


def _check_value(name: str, value: object, where: str) -> None:
    if name in _SIDES:
        if not isinstance(value, dict) or not isinstance(value.get("unit"), str):
            raise ModelFolderError(f"{where}: `{name}` must be an object with a `unit`.")
    elif name == "normalisation":
        if not isinstance(value, str):
            raise ModelFolderError(f"{where}: `{name}` must be a string, but is {value!r}.")
    elif type(value) is not int or not 1 <= value <= _MAX_LENGTH:
        raise ModelFolderError(
            f"{where}: `{name}` must be a number in 1..{_MAX_LENGTH}, but is {value!r}."
        )


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def codec_digest(codec: PairCodec) -> str:
    """SHA-256 over names and contents of ``codec_files``, hexadecimal."""
    digest = hashlib.sha256()
    for name, data in sorted(codec_files(codec).items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
