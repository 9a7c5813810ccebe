"""Bytes to lines: gzip, byte order marks, strict decoding, files in another encoding named."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jumok.data.text import printable
from jumok.errors import DataError, UsageError, did_you_mean

__all__ = ["STDIN", "Line", "PathLike", "Problem", "check_encoding", "display_name", "lines"]

PathLike = str | os.PathLike[str]
STDIN = "-"
HEAD = 1 << 16
MAX_LINE_BYTES = 1 << 27
"""A "line" longer than this (128 MiB) means that the file is not text."""

Line = tuple[int, str]
"""A line's number, from 1, and its text without the end of line."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A line that cannot be used, in the words of the error it may become."""

    line: int
    message: str
    excerpt: str | None = None
    hint: str | None = None
    kind: str = "bad"
    """"bad" or "long": which option drops it."""
    name: str | None = None
    """The file, where it is not the one being read (parallel files)."""

    def error(self, name: str, hint: str | None = None) -> DataError:
        excerpt = None if self.excerpt is None else printable(self.excerpt)
        where = f"{self.name or name}:{self.line}"
        return DataError(self.message, where=where, excerpt=excerpt, hint=hint or self.hint)


def display_name(path: PathLike) -> str:
    """What messages call ``path``: as the user gave it; "stdin" for "-"."""
    return "stdin" if os.fspath(path) == STDIN else os.fspath(path)


def check_encoding(encoding: str) -> str:
    """Python's name for ``encoding``.

    Raises:
        UsageError: Python knows no such text encoding.
    """
    try:
        info = codecs.lookup(encoding)
        "".encode(encoding)
    except (LookupError, ValueError):
        known = ["utf-8", "utf-16", "cp949", "euc-kr", "latin-1", "cp1252", "shift_jis", "gb18030"]
        raise UsageError(
            f"encoding {encoding!r} is unknown.{did_you_mean(encoding, known)}",
            hint="names are those of Python, for example " + ", ".join(known) + ".",
        ) from None
    return info.name


# -- opening ----------------------------------------------------------------------------------


def _missing(path: str) -> UsageError:
    folder = Path(path).parent
    siblings = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return UsageError(
        f"{path}: there is no such file.{did_you_mean(Path(path).name, siblings)}",
        hint="give a file of pairs, two parallel files, or - for standard input.",
    )


def _open_raw(path: PathLike) -> IO[bytes]:
    name = os.fspath(path)
    if name == STDIN:
        stdin: Any = getattr(sys.stdin, "buffer", sys.stdin)
        return stdin if hasattr(stdin, "peek") else io.BufferedReader(stdin)
    try:
        return open(name, "rb", buffering=HEAD)
    except FileNotFoundError:
        raise _missing(name) from None
    except IsADirectoryError:
        raise UsageError(f"{name} is a folder; give the file in it.") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}.") from None


_FOREIGN = {
    b"PK\x03\x04": "a zip or Excel file; export it as tab-separated text (.tsv)",
    b"PAR1": "a Parquet file; write two of its columns as tab-separated text (.tsv)",
    b"BZh": "bzip2 data; decompress it, or use gzip (.gz), which is read directly",
    b"\xfd7zXZ": "xz data; decompress it, or use gzip (.gz), which is read directly",
    b"\x28\xb5\x2f\xfd": "zstandard data; decompress it, or use gzip (.gz), read directly",
}


def _peek(stream: IO[bytes]) -> bytes:
    return stream.peek(HEAD)  # type: ignore[attr-defined,no-any-return]


@contextmanager
def _opened(path: PathLike) -> Iterator[IO[bytes]]:
    """The decompressed bytes of ``path``, with ``peek``; standard input is left open."""
    name = display_name(path)
    with ExitStack() as stack:
        stream = _open_raw(path)
        if os.fspath(path) != STDIN:
            stack.enter_context(stream)
        head = _peek(stream)
        if head[:2] == b"\x1f\x8b":
            stream = io.BufferedReader(gzip.GzipFile(fileobj=stream), HEAD)
        elif name.endswith(".gz") and head:
            raise DataError("the name ends in .gz, but the file is not gzip data.", where=name)
        for magic, what in _FOREIGN.items():
            if head.startswith(magic):
                raise DataError(f"this is {what}.", where=name)
        yield stream


# -- recognising ------------------------------------------------------------------------------

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _looks_utf16(head: bytes) -> str | None:
    """UTF-16 without a byte order mark: nearly every line end, tab and space has its zero byte
    beside it, always on the same side."""
    for name, at in (("utf-16-le", 0), ("utf-16-be", 1)):
        signs, zeros = head[at::2], head[1 - at :: 2]
        beside = [zero == 0 for sign, zero in zip(signs, zeros, strict=False) if sign in b"\n\t "]
        if sum(beside) >= max(6, 0.8 * len(beside)) and signs.count(0) <= 0.1 * zeros.count(0):
            return name
    return None


def _looks_cp949(sample: bytes) -> bool:
    """Korean in the encoding of Windows: nearly all that is not ASCII is a common syllable."""
    try:
        foreign = [c for c in sample.decode("cp949") if not c.isascii()]
    except UnicodeDecodeError:
        return False
    # Two bytes of another encoding often make a rare syllable, seldom one of the 2,350 common
    # ones that EUC-KR holds.
    common = sum("가" <= c <= "힣" and len(c.encode("euc_kr", "ignore")) == 2 for c in foreign)
    return bool(foreign) and common >= 0.8 * len(foreign)


def _marked(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _rerun(name: str, what: str, encoding: str) -> DataError:
    return DataError(
        f"the file is {what}, not UTF-8.",
        where=name,
        hint=f"run the same command again with --encoding {encoding}",
    )


def _refuse_wide(head: bytes, name: str) -> None:
    """UTF-16 and UTF-32 hold zero bytes, which no UTF-8 text needs."""
    found = _marked(head)
    if found is None and 0 in head:
        found = _looks_utf16(head)
    if found:
        raise _rerun(name, found.upper(), found)


def _refuse_korean(sample: bytes, name: str) -> None:
    if _looks_cp949(sample):
        raise _rerun(name, "Korean in CP949 (which contains EUC-KR)", "cp949")


# -- lines ------------------------------------------------------------------------------------


def _undecodable(number: int, raw: bytes, error: UnicodeDecodeError, encoding: str) -> Problem:
    label = "UTF-8" if encoding == "utf-8" else encoding
    return Problem(
        line=number,
        message=f"byte {error.start + 1} of the line (0x{raw[error.start]:02X}) is not {label}.",
        excerpt=raw.decode(encoding, "backslashreplace").rstrip("\r\n"),
        hint="name the encoding if the file has another one, such as --encoding cp1252, "
        "shift_jis, gb18030 or cp949",
    )


_GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)


def _gzip_damage(error: Exception, name: str, number: int) -> DataError:
    what = "is cut short" if isinstance(error, EOFError) else f"is damaged ({error})"
    after = f" after line {number:,}" if number else ""
    return DataError(
        f"the gzip data {what}{after}.",
        where=name,
        hint="copy or download the file again; gzip -t checks it.",
    )


def _raw_lines(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """Lines as bytes with their ``\\n``; gzip data that is damaged is named."""
    number = 0
    try:
        while raw := stream.readline(MAX_LINE_BYTES):
            number += 1
            if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
                size = MAX_LINE_BYTES >> 20
                raise DataError(
                    f"the line is longer than {size} MiB.",
                    where=f"{name}:{number}",
                    hint="a line ends at \\n only; is this a text file?",
                )
            yield raw
    except _GZIP_ERRORS as error:
        raise _gzip_damage(error, name, number) from None


def _wide_lines(stream: IO[bytes], name: str, encoding: str) -> Iterator[str]:
    """Lines of an encoding in which ``\\n`` is not one byte; an undecodable byte ends it all."""
    decoder = codecs.getincrementaldecoder(encoding)()
    pending, number, consumed = "", 0, 0
    while True:
        chunk = stream.read(HEAD)
        held = len(decoder.getstate()[0])
        try:
            pending += decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            good = error.object[: error.start].decode(error.encoding, "replace")
            number += (pending + good).count("\n") + 1
            raise DataError(
                f"byte {consumed - held + error.start + 1} of the file is not {encoding}.",
                where=f"{name}:{number}",
            ) from None
        consumed += len(chunk)
        *whole, pending = pending.split("\n")
        number += len(whole)
        yield from whole
        if not chunk:
            break
    if pending:
        yield pending


def _narrow_lines(
    raws: Iterable[bytes], name: str, encoding: str, head: bytes
) -> Iterator[Line | Problem]:
    for number, raw in enumerate(raws, 1):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError as error:
            if encoding == "utf-8":
                _refuse_korean(head[: head.rfind(b"\n") + 1] + raw, name)
            yield _undecodable(number, raw, error, encoding)
        else:
            yield number, text[:-1] if text.endswith("\n") else text


def _refuse_old_mac(head: bytes, name: str) -> None:
    if b"\n" not in head and head.rstrip(b"\r").count(b"\r") > 0:
        raise DataError(
            "the lines end in \\r alone (old Mac); only \\n ends a line here.",
            where=name,
            hint="tr '\\r' '\\n' < old > new",
        )


def lines(
    path: PathLike, encoding: str = "utf-8", *, old_mac: bool = True
) -> Iterator[Line | Problem]:
    """The lines of ``path`` ("-" is standard input), one at a time, gzip or not.

    A line ends at ``\\n`` and nowhere else; one ``\\r`` before it is dropped, and so is a byte
    order mark at the start of the file. Memory does not grow with the file. A start of 64 KiB with
    ``\\r`` in it and no ``\\n`` is refused unless ``old_mac`` is False.

    Raises:
        UsageError: no such file, folder or encoding.
        DataError: UTF-16 or Korean CP949 read as UTF-8, damaged gzip data, not text at all.
    """
    encoding, name = check_encoding(encoding), display_name(path)
    with _opened(path) as stream:
        try:
            head = _peek(stream)
        except _GZIP_ERRORS as error:
            raise _gzip_damage(error, name, 0) from None
        if encoding == "utf-8":
            _refuse_wide(head, name)
        if "\n".encode(encoding) == b"\n":
            if old_mac:
                _refuse_old_mac(head, name)
            found = _narrow_lines(_raw_lines(stream, name), name, encoding, head)
        else:
            found = iter(enumerate(_wide_lines(stream, name, encoding), 1))
        for item in found:
            if isinstance(item, Problem):
                yield item
                continue
            number, text = item
            if number == 1:
                text = text.removeprefix("\ufeff")
            yield number, text[:-1] if text.endswith("\r") else text
