"""The symbols a model knows: built from training text alone, kept as text, a symbol a line.

A symbol's id is its line number minus one; the first four lines are the special symbols,
written ``\\<pad>`` and so on, so that a ``<pad>`` in somebody's text is an ordinary symbol.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jumok.errors import ConfigError, ModelFolderError
from jumok.records import SPECIALS, UNK

__all__ = ["Vocabulary", "count_symbols", "escape", "unescape"]

NUM_SPECIALS = len(SPECIALS)
MAX_FILE_BYTES = 256 << 20
_ESCAPE = re.compile(r"\\(?:(\\)|u\{([0-9a-f]{1,6})\}|(.?))", re.DOTALL)
_HIDDEN = ("C", "Z")
"""Unicode categories that do not show or that editors change: controls, formats, spaces."""


def escape(symbol: str) -> str:
    """``symbol`` as one visible line of text; ``unescape`` is its inverse for every string."""
    if not symbol:
        return "\\e"
    escaped = "".join(map(_escape_character, symbol))
    if unicodedata.category(symbol[0]).startswith("M"):
        escaped = f"\\u{{{ord(symbol[0]):x}}}" + escaped[1:]
    return escaped


def _escape_character(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character).startswith(_HIDDEN):
        return f"\\u{{{ord(character):x}}}"
    return character


def unescape(line: str) -> str:
    """The symbol written as ``line``. ValueError for an unknown escape or an empty line."""
    if line == "\\e":
        return ""
    if not line:
        raise ValueError("an empty line; the empty symbol is written \\e")
    return _ESCAPE.sub(_unescape_match, line) if "\\" in line else line


def _unescape_match(match: re.Match[str]) -> str:
    backslash, code, other = match.groups()
    if backslash:
        return backslash
    if code is not None and int(code, 16) <= 0x10FFFF:
        return chr(int(code, 16))
    raise ValueError("a lone backslash" if other == "" else f"an unknown escape, {match[0]}")


def count_symbols(texts: Iterable[Iterable[str]]) -> Counter[str]:
    """How often each symbol occurs in lists of symbols."""
    counts: Counter[str] = Counter()
    for symbols in texts:
        counts.update(symbols)
    return counts


@dataclass(frozen=True)
class Vocabulary:
    """Symbols in the order of their ids; the first four are ``records.SPECIALS``.

    A later symbol may look like a special one (somebody's text holds ``<pad>``): it has its own
    id and is never taken for it.
    """

    symbols: tuple[str, ...] = field(repr=False)
    _ids: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.symbols[:NUM_SPECIALS] != SPECIALS:
            raise ConfigError(
                f"a vocabulary begins with {' '.join(SPECIALS)}, but this one with "
                f"{' '.join(map(escape, self.symbols[:NUM_SPECIALS])) or 'nothing'}."
            )
        ids = {s: i for i, s in enumerate(self.symbols) if i >= NUM_SPECIALS}
        if len(ids) != len(self.symbols) - NUM_SPECIALS:
            twice = Counter(self.symbols[NUM_SPECIALS:]).most_common(1)[0][0]
            raise ConfigError(f"the symbol {escape(twice)} is in the vocabulary twice.")
        object.__setattr__(self, "_ids", ids)

    @classmethod
    def build(
        cls, counts: Mapping[str, int], *, min_count: int = 1, max_size: int | None = None
    ) -> Vocabulary:
        """By falling frequency, then code point. ``max_size`` counts the specials too."""
        kept = [s for s, count in counts.items() if count >= min_count]
        kept.sort(key=lambda s: (-counts[s], s))
        room = len(kept) if max_size is None else max(0, max_size - NUM_SPECIALS)
        return cls((*SPECIALS, *kept[:room]))

    def grow(self, symbols: Mapping[str, int] | Iterable[str]) -> Vocabulary:
        """With the unknown ones of ``symbols`` (or counts of symbols) appended; ids stay."""
        counts = Counter(symbols)
        new = sorted((s for s in counts if s not in self), key=lambda s: (-counts[s], s))
        return Vocabulary((*self.symbols, *new))

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._ids

    def __repr__(self) -> str:
        shown = " ".join(map(escape, self.symbols[NUM_SPECIALS : NUM_SPECIALS + 8]))
        return f"Vocabulary({len(self)} symbols: {shown}{' …' if len(self) > 12 else ''})"

    def id_of(self, symbol: str) -> int:
        """The symbol's id, UNK where it is not known."""
        return self._ids.get(symbol, UNK)

    def ids_of(self, symbols: Iterable[str]) -> list[int]:
        """The ids of ``symbols`` as a list, UNK for unknown ones; no BOS, no EOS."""
        get = self._ids.get
        return [get(s, UNK) for s in symbols]

    def encode(self, symbols: Iterable[str]) -> np.ndarray:
        """``ids_of`` as int64."""
        return np.array(self.ids_of(symbols), dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The symbol of each id; a special id gives its name (``<unk>``)."""
        return [self.symbols[int(i)] for i in ids]

    def unknown(self, symbols: Iterable[str]) -> Counter[str]:
        """Which symbols are not known, and how often each occurs."""
        return Counter(s for s in symbols if s not in self._ids)

    def to_text(self) -> str:
        """One symbol a line, ``\\n`` after each; the same bytes for the same symbols."""
        specials = ["\\" + s for s in SPECIALS]
        return "".join(f"{s}\n" for s in [*specials, *map(escape, self.symbols[NUM_SPECIALS:])])

    @classmethod
    def from_text(cls, text: str, *, where: str = "the vocabulary") -> Vocabulary:
        """The inverse of ``to_text``. ModelFolderError names ``where:line``."""
        if not text.endswith("\n"):
            raise ModelFolderError(
                f"{where}:{text.count(chr(10)) + 1}: the last line has no end; was it cut short?"
            )
        lines = text[:-1].split("\n")
        seen: dict[str, int] = {}
        for number, line in enumerate(lines[NUM_SPECIALS:], start=NUM_SPECIALS + 1):
            symbol = _parse(line, f"{where}:{number}")
            if symbol in seen:
                raise ModelFolderError(
                    f"{where}:{number}: the symbol {line} stands in line {seen[symbol]} already."
                )
            seen[symbol] = number
        for number, special in enumerate(SPECIALS, start=1):
            if lines[number - 1 : number] != ["\\" + special]:
                raise ModelFolderError(f"{where}:{number}: expected \\{special} here.")
        return cls((*SPECIALS, *seen))

    def save(self, path: str | Path) -> None:
        """Write the text form, UTF-8 whatever the locale."""
        Path(path).write_bytes(self.to_text().encode())

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read what ``save`` wrote. ModelFolderError with ``file:line`` where it cannot be."""
        path = Path(path)
        if not path.is_file():
            raise ModelFolderError(f"{path}: there is no such vocabulary file.")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelFolderError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB.")
        return cls.from_bytes(path.read_bytes(), where=str(path))

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str = "the vocabulary") -> Vocabulary:
        """``from_text`` on UTF-8 bytes."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ModelFolderError(f"{where}:{line}: not UTF-8 ({error.reason}).") from None
        return cls.from_text(text, where=where)

    @property
    def digest(self) -> str:
        """SHA-256 of the text form, hexadecimal."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()


def _parse(line: str, where: str) -> str:
    try:
        return unescape(line)
    except ValueError as error:
        raise ModelFolderError(f"{where}: {error}.") from None
