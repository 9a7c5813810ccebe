"""Text <-> symbols, seven ways, each with the characters that every symbol stands for.

A tokenizer never loses anything: ``detokenize(symbols(text)) == text`` for every string (which
also makes it injective). It knows no ids and no special symbols: ``<pad>`` in a text is
ordinary text. What a Unicode normal form changes is the codec's affair (``encoded.py``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from jumok.data.graphemes import cluster_ends
from jumok.data.subwords import SentencePiece
from jumok.errors import ConfigError, did_you_mean
from jumok.records import Token

__all__ = [
    "UNITS",
    "Character",
    "Grapheme",
    "Jamo",
    "SentencePiece",
    "Space",
    "Spans",
    "Tokenizer",
    "Word",
    "make",
    "restore",
]

Spans = list[tuple[int, int]]


class Tokenizer(Protocol):
    """What every unit offers. Spans count code points of the text given or made."""

    @property
    def unit(self) -> str:
        """The name of the unit, a key of ``UNITS``."""
        ...

    def tokens(self, text: str) -> list[Token]:
        """The symbols of ``text`` with spans into it, in order; no end symbol.

        Only spaces lie between spans, and only where the unit drops them; symbols that share a
        character (jamo, bytes) share its span.
        """
        ...

    def symbols(self, text: str) -> list[str]:
        """The symbols alone: ``[t.text for t in tokens(text)]``, faster."""
        ...

    def join(self, symbols: Sequence[str]) -> tuple[str, Spans]:
        """The text that ``symbols`` spell and the span of each in it; any list will do."""
        ...

    def detokenize(self, symbols: Sequence[str]) -> str:
        """The text alone."""
        ...

    def alphabet(self) -> list[str]:
        """Symbols to know even where training does not use them; mostly none."""
        ...

    def to_dict(self) -> dict[str, object]:
        """Plain values from which, with ``files``, ``restore`` makes the tokenizer again."""
        ...

    def files(self) -> dict[str, bytes]:
        """Name -> content of what does not go into a dict (``spm.model``); mostly empty."""
        ...


def _concatenate(symbols: Sequence[str]) -> tuple[str, Spans]:
    spans, end = [], 0
    for symbol in symbols:
        spans.append((end, end + len(symbol)))
        end += len(symbol)
    return "".join(symbols), spans


@dataclass(frozen=True)
class Character:
    """One symbol for each code point."""

    unit: str = "character"

    def tokens(self, text: str) -> list[Token]:
        return [Token(c, i, i + 1) for i, c in enumerate(text)]

    def symbols(self, text: str) -> list[str]:
        return list(text)

    def join(self, symbols: Sequence[str]) -> tuple[str, Spans]:
        return _concatenate(symbols)

    def detokenize(self, symbols: Sequence[str]) -> str:
        return "".join(symbols)

    def alphabet(self) -> list[str]:
        return []

    def to_dict(self) -> dict[str, object]:
        return {"unit": self.unit}

    def files(self) -> dict[str, bytes]:
        return {}


@dataclass(frozen=True)
class Grapheme:
    """One symbol for each extended grapheme cluster: what a reader takes for a character."""

    unit: str = "grapheme"

    def tokens(self, text: str) -> list[Token]:
        starts = [0, *(ends := cluster_ends(text))]
        return [Token(text[i:j], i, j) for i, j in zip(starts, ends, strict=False)]

    def symbols(self, text: str) -> list[str]:
        return list(text) if text.isascii() and "\r" not in text else _texts(self.tokens(text))

    def join(self, symbols: Sequence[str]) -> tuple[str, Spans]:
        return _concatenate(symbols)

    def detokenize(self, symbols: Sequence[str]) -> str:
        return "".join(symbols)

    def alphabet(self) -> list[str]:
        return []

    def to_dict(self) -> dict[str, object]:
        return {"unit": self.unit}

    def files(self) -> dict[str, bytes]:
        return {}


_SYLLABLE, _LEAD, _VOWEL, _TAIL = 0xAC00, 0x1100, 0x1161, 0x11A7
_NUM_LEADS, _NUM_VOWELS, _NUM_TAILS = 19, 21, 28
_BARE = "\u25cc"
"""Before a conjoining jamo that was in the text as such (U+25CC, the dotted circle)."""


@dataclass(frozen=True)
class Jamo:
    """Hangul syllables as their conjoining letters; all else one symbol for each code point.

    A letter that stood in the text on its own becomes a symbol of two code points, the dotted
    circle and the letter, so syllables and loose letters cannot be confused.
    """

    unit: str = "jamo"

    def tokens(self, text: str) -> list[Token]:
        return [Token(s, i, i + 1) for i, c in enumerate(text) for s in _letters(c)]

    def symbols(self, text: str) -> list[str]:
        return list(text) if text.isascii() else [s for c in text for s in _letters(c)]

    def join(self, symbols: Sequence[str]) -> tuple[str, Spans]:
        text, spans, i = "", [], 0
        while i < len(symbols):
            count, piece = _syllable(symbols, i)
            spans += [(len(text), len(text) + len(piece))] * count
            text += piece
            i += count
        return text, spans

    def detokenize(self, symbols: Sequence[str]) -> str:
        return self.join(symbols)[0]

    def alphabet(self) -> list[str]:
        return []

    def to_dict(self) -> dict[str, object]:
        return {"unit": self.unit}

    def files(self) -> dict[str, bytes]:
        return {}


@lru_cache(maxsize=1 << 15)
def _letters(character: str) -> Sequence[str]:
    code = ord(character) - _SYLLABLE
    if 0 <= code < _NUM_LEADS * _NUM_VOWELS * _NUM_TAILS:
        lead, rest = divmod(code, _NUM_VOWELS * _NUM_TAILS)
        vowel, tail = divmod(rest, _NUM_TAILS)
        letters = chr(_LEAD + lead) + chr(_VOWEL + vowel)
        return letters + chr(_TAIL + tail) if tail else letters
    if _is_letter(character, _LEAD, _NUM_LEADS) or _is_letter(character, _VOWEL, _NUM_VOWELS):
        return (_BARE + character,)
    return (_BARE + character,) if _tail(character) else character


def _is_letter(symbol: str, first: int, count: int) -> bool:
    return len(symbol) == 1 and first <= ord(symbol) < first + count


def _tail(symbol: str) -> int:
    """Which final letter ``symbol`` is, 0 for none."""
    return ord(symbol) - _TAIL if _is_letter(symbol, _TAIL + 1, _NUM_TAILS - 1) else 0


def _syllable(symbols: Sequence[str], i: int) -> tuple[int, str]:
    """How many symbols from ``i`` on make up the next character, and that character."""
    ahead = symbols[i : i + 3]
    vowel = ord(ahead[1]) - _VOWEL if _is_vowel(ahead[1:2]) else -1
    if vowel < 0 or not _is_letter(ahead[0], _LEAD, _NUM_LEADS):
        bare = len(ahead[0]) == 2 and _letters(ahead[0][1])[0] == ahead[0]
        return 1, ahead[0][1] if bare else ahead[0]
    tail = _tail(ahead[2]) if len(ahead) > 2 else 0
    code = ((ord(ahead[0]) - _LEAD) * _NUM_VOWELS + vowel) * _NUM_TAILS + tail
    return 3 if tail else 2, chr(_SYLLABLE + code)


def _is_vowel(symbols: Sequence[str]) -> bool:
    return bool(symbols) and _is_letter(symbols[0], _VOWEL, _NUM_VOWELS)


@dataclass(frozen=True)
class Space:
    """Symbols separated by single spaces, such as phones: "k ae t".

    Two spaces in a row hold the empty symbol between them, so every text survives.
    """

    unit: str = "space"

    def tokens(self, text: str) -> list[Token]:
        tokens, start = [], 0
        for symbol in self.symbols(text):
            tokens.append(Token(symbol, start, start + len(symbol)))
            start += len(symbol) + 1
        return tokens

    def symbols(self, text: str) -> list[str]:
        return text.split(" ") if text else []

    def join(self, symbols: Sequence[str]) -> tuple[str, Spans]:
        spans, start = [], 0
        for symbol in symbols:
            spans.append((start, start + len(symbol)))
            start += len(symbol) + 1
        return " ".join(symbols), spans

    def detokenize(self, symbols: Sequence[str]) -> str:
        return " ".join(symbols)

    def alphabet(self) -> list[str]:
        return []

    def to_dict(self) -> dict[str, object]:
        return {"unit": self.unit}

    def files(self) -> dict[str, bytes]:
        return {}


_GLUE = "\uffed"
"""Marks the side on which no space stands (U+FFED); written ``\\+`` where a text holds it."""


@dataclass(frozen=True)
class Word:
    """Words (runs of letters, marks, digits, ``_``) and single other characters.

    One space between two of them is what no mark means; where there is none, the punctuation
    bears a glue mark on that side, so a word is the same symbol wherever it stands. A space at
    the start or the end, beside another, or of another kind, is a symbol of its own.
    """

    unit: str = "word"

    def tokens(self, text: str) -> list[Token]:
        pieces = list(_pieces(text))
        tokens = []
        for k, (start, end) in enumerate(pieces):
            core = text[start:end]
            left = k > 0 and pieces[k - 1][1] == start and not _is_word(core)
            after = pieces[k + 1][0] if k + 1 < len(pieces) else -1
            right = after == end and not _is_word(core) and _is_word(text[after])
            symbol = _glue_in(core)
            tokens.append(Token(_GLUE * left + symbol + _GLUE * right, start, end))
        return tokens

    def symbols(self, text: str) -> list[str]:
        return _texts(self.tokens(text))

    def join(self, symbols: Sequence[str]) -> tuple[str, Spans]:
        text, spans, glued = "", [], True
        for symbol in symbols:
            left = symbol.startswith(_GLUE) and len(symbol) > 1
            right = symbol.endswith(_GLUE) and len(symbol) > 1 + left
            core = _glue_out(symbol[left : len(symbol) - right])
            text += "" if glued or left else " "
            spans.append((len(text), len(text) + len(core)))
            text += core
            glued = right
        return text, spans

    def detokenize(self, symbols: Sequence[str]) -> str:
        return self.join(symbols)[0]

    def alphabet(self) -> list[str]:
        return []

    def to_dict(self) -> dict[str, object]:
        return {"unit": self.unit}

    def files(self) -> dict[str, bytes]:
        return {}


def _texts(tokens: Sequence[Token]) -> list[str]:
    return [t.text for t in tokens]


def _is_word(piece: str) -> bool:
    return piece[0].isalnum() or piece[0] == "_" or _is_mark(piece[0])


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


_RUN = re.compile(r"\w+|\W")


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Spans of words and of other characters, without the spaces that no mark means."""
    start = end = 0
    for match in _RUN.finditer(text):
        at = match.start()
        if at > start and not (_is_word(text[at]) and _is_word(text[start])):
            yield start, end
            start = at
        end = match.end()
        if match[0] == " " and _is_plain_space(text, at):
            start = end
    if end > start:
        yield start, end


def _is_plain_space(text: str, i: int) -> bool:
    return 0 < i < len(text) - 1 and not text[i - 1].isspace() and not text[i + 1].isspace()


def _glue_in(piece: str) -> str:
    return {_GLUE: "\\+", " ": "\u2581", "\u2581": "\\_"}.get(piece, piece)


def _glue_out(symbol: str) -> str:
    return {"\\+": _GLUE, "\u2581": " ", "\\_": "\u2581"}.get(symbol, symbol)


_PLAIN: dict[str, Callable[[], Tokenizer]] = {
    "character": Character,
    "grapheme": Grapheme,
    "jamo": Jamo,
    "word": Word,
    "space": Space,
}
UNITS = (*_PLAIN, "bpe", "unigram")
"""Every unit by name; the last two are learnt from text (``SentencePiece.train``)."""


def make(unit: str) -> Tokenizer:
    """The tokenizer of a unit that needs no training. ConfigError for any other name."""
    if unit in _PLAIN:
        return _PLAIN[unit]()
    if unit in UNITS:
        raise ConfigError(
            f"the unit {unit} is learnt from text.", hint="use SentencePiece.train(texts, ...)."
        )
    raise ConfigError(
        f"`unit` must be one of {', '.join(UNITS)}, but is {unit!r}.{did_you_mean(unit, UNITS)}"
    )


def restore(record: Mapping[str, object], files: Mapping[str, bytes]) -> Tokenizer:
    """The tokenizer whose ``to_dict()`` and ``files()`` these are.

    Raises:
        ConfigError: an unknown unit or key, or a file that is missing or not expected.
    """
    unit = str(record.get("unit"))
    if unit in ("bpe", "unigram"):
        return SentencePiece.restore(record, files)
    tokenizer = make(unit)
    extra = sorted({*record, *files} - {"unit"})
    if extra:
        raise ConfigError(f"the unit {unit} does not know {', '.join(extra)}.")
    return tokenizer
