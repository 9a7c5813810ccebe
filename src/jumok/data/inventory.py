"""Which characters a list of texts holds: counts, scripts, signs of damage."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np

__all__ = [
    "Counts",
    "Script",
    "character_counts",
    "is_control",
    "is_mojibake",
    "overlap",
    "rows_holding",
    "scripts",
    "symbol_name",
]

Counts: TypeAlias = dict[str, int]

CHUNK_ROWS = 65_536


def _chunks(texts: Iterable[str]) -> Iterator[str]:
    source = iter(texts)
    while chunk := list(islice(source, CHUNK_ROWS)):
        yield "".join(chunk)


def character_counts(texts: Iterable[str]) -> Counts:
    """How often each character occurs, most frequent first."""
    total = np.zeros(0, np.int64)
    for text in _chunks(texts):
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        counts = np.bincount(codes, minlength=len(total))
        counts[: len(total)] += total
        total = counts
    found = np.flatnonzero(total)
    order = found[np.argsort(-total[found], kind="stable")]
    return {chr(code): int(total[code]) for code in order}


_SCRIPT_NAMES = {
    "Cjk": "Han",
    "Katakana-hiragana": "Katakana",
    "Modifier": "modifier letters",
}


def _script(character: str) -> str:
    if character.isspace():
        return "space"
    plain = unicodedata.normalize("NFKC", character)[:1]
    category = unicodedata.category(plain)
    if category[0] == "L":
        name = unicodedata.name(plain, "other letters").split()[0].capitalize()
        return _SCRIPT_NAMES.get(name, name)
    names = {"N": "digits", "M": "marks", "P": "punctuation", "S": "symbols"}
    return names.get(category[0], "controls")


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script, or a kind of sign, in some texts."""

    name: str
    symbols: int
    """Different characters."""
    share: float
    """Of all characters."""


def scripts(counts: Counts) -> tuple[Script, ...]:
    """The scripts of the characters counted, the largest first."""
    total = sum(counts.values())
    kinds: dict[str, list[int]] = {}
    for character, count in counts.items():
        kinds.setdefault(_script(character), []).append(count)
    found = [
        Script(name=name, symbols=len(each), share=sum(each) / total)
        for name, each in kinds.items()
    ]
    return tuple(sorted(found, key=lambda s: -s.share))


def overlap(first: Counts, second: Counts) -> float:
    """Shared mass of two distributions over characters: 1 the same, 0 nothing in common."""
    totals = sum(first.values()), sum(second.values())
    if not all(totals):
        return 0.0
    return sum(
        min(count / totals[0], second.get(character, 0) / totals[1])
        for character, count in first.items()
    )


def is_control(character: str) -> bool:
    """A control, a line or paragraph separator, a byte order mark or an unassigned code.

    Joiners (ZWJ, ZWNJ) and marks of direction belong to languages and are not meant.
    """
    kind = unicodedata.category(character)
    return kind in ("Cc", "Zl", "Zp", "Co", "Cn") or character == "\ufeff"


def rows_holding(texts: Sequence[str], characters: Iterable[str]) -> list[int]:
    """Numbers of the texts that hold any of ``characters``."""
    wanted = "".join(characters)
    if not wanted:
        return []
    search = re.compile(f"[{re.escape(wanted)}]").search
    return [i for i, text in enumerate(texts) if search(text)]


_SUSPECT = re.compile("[\u00c2-\u00f4][\u0080-\u00bf\u0152-\u02dc\u2013-\u2122]")
_FOREIGN = re.compile(r"[^\x00-\x7f]{2,}")


def _byte(character: str) -> bytes:
    """The byte that cp1252 shows as ``character``; the five it leaves open stay themselves."""
    code = ord(character)
    return bytes([code]) if code < 256 else character.encode("cp1252")


def _was_utf8(run: str) -> bool:
    try:
        return len(b"".join(map(_byte, run)).decode()) < len(run)
    except UnicodeError:
        return False


def is_mojibake(text: str) -> bool:
    """Whether ``text`` holds UTF-8 that was read as Latin-1 or Windows-1252 ("Ã©" for "é")."""
    if not _SUSPECT.search(text):
        return False
    return any(_was_utf8(run) for run in _FOREIGN.findall(text))


def symbol_name(character: str) -> str:
    """A character for a message: itself and its code."""
    visible = not (is_control(character) or character.isspace())
    mark = unicodedata.category(character).startswith(("M", "Cf"))
    shown = f"◌{character}" if mark else character
    code = f"U+{ord(character):04X}"
    return f"{shown} ({code})" if visible else f"{code} {unicodedata.name(character, '')}".strip()
