"""Unicode normal forms with a map back to the raw text, and looser keys for comparing."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, TypeAlias

from jumok.errors import DataError, UsageError, did_you_mean

__all__ = [
    "FORMS",
    "Form",
    "NearKey",
    "Offsets",
    "check_form",
    "is_nfc",
    "loose_key",
    "normalise",
    "normalise_with_map",
    "printable",
    "raw_span",
]

Form = Literal["NFC", "NFD", "NFKC", "none"]
FORMS: tuple[Form, ...] = ("NFC", "NFD", "NFKC", "none")
Offsets: TypeAlias = list[tuple[int, int]]
"""For each normalised character the raw characters ``[start, end)`` it stands for."""


def check_form(form: str) -> Form:
    """``form`` if it is one of ``FORMS``.

    Raises:
        UsageError: for any other name.
    """
    for known in FORMS:
        if form == known:
            return known
    raise UsageError(
        f"normalisation {form!r} is not one of {', '.join(FORMS)}.{did_you_mean(form, FORMS)}"
    )


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise DataError(
            f"character {error.start + 1} is half of a surrogate pair (U+{code:04X}), "
            "which no file can hold.",
            hint="decode the text with errors='strict', or replace such characters by U+FFFD.",
        ) from None


def normalise(text: str, form: Form = "NFC") -> str:
    """``text`` in the Unicode normal form ``form``; "none" leaves it as it is.

    Raises:
        DataError: the text holds half of a surrogate pair.
    """
    if text.isascii():
        return text
    _refuse_surrogates(text)
    return text if form == "none" else unicodedata.normalize(form, text)


def _segments(text: str, form: Literal["NFC", "NFD", "NFKC"]) -> list[tuple[int, int]]:
    """Cuts ``text`` where normalising both sides apart equals normalising the whole.

    Marks always stay with what they follow. Another character stays only if it would change
    or be changed by what it follows, as Hangul vowels and finals do.
    """
    cuts, start = [0], 0
    for i in range(1, len(text)):
        character = text[i]
        if unicodedata.category(character).startswith("M"):
            continue
        if not character.isascii():
            before = text[start:i]
            apart = unicodedata.normalize(form, before) + unicodedata.normalize(form, character)
            if unicodedata.normalize(form, before + character) != apart:
                continue
        start = i
        cuts.append(i)
    return list(zip(cuts, [*cuts[1:], len(text)], strict=True))


def normalise_with_map(text: str, form: Form = "NFC") -> tuple[str, Offsets]:
    """``normalise(text, form)`` and, for each of its characters, the raw span it came from.

    A stretch that the normal form leaves alone maps character by character; one that it
    rewrites (a letter with its marks, jamo that become a syllable, a ligature) maps as a whole.
    Spans never go backwards and together cover the raw text.

    Raises:
        DataError: the text holds half of a surrogate pair.
    """
    _refuse_surrogates(text)
    if form == "none" or unicodedata.is_normalized(form, text):
        return text, [(i, i + 1) for i in range(len(text))]
    pieces: list[str] = []
    offsets: Offsets = []
    for start, end in _segments(text, form):
        raw = text[start:end]
        piece = unicodedata.normalize(form, raw)
        pieces.append(piece)
        if piece == raw:
            offsets.extend((i, i + 1) for i in range(start, end))
        else:
            offsets.extend([(start, end)] * len(piece))
    return "".join(pieces), offsets


def raw_span(offsets: Offsets, start: int, end: int) -> tuple[int, int]:
    """The raw span of the normalised characters ``[start, end)``; an empty span stays empty."""
    if start < end:
        return offsets[start][0], offsets[end - 1][1]
    if start < len(offsets):
        return offsets[start][0], offsets[start][0]
    at = offsets[-1][1] if offsets else 0
    return at, at


def loose_key(text: str) -> str:
    """Equal for texts that differ only in normal form, case or white space."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    folded = " ".join(text.casefold().split())
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)


class _KeepLetters(dict[int, "int | None"]):
    """A ``str.translate`` table that drops punctuation, symbols, spaces and controls."""

    def __missing__(self, code: int) -> int | None:
        kept = unicodedata.category(chr(code))[0] in "LMN"
        self[code] = code if kept else None
        return self[code]


class NearKey:
    """A function of a text, equal for texts that differ only in case, spaces, punctuation.

    A class because it holds its own growing table of characters; make one for each use.
    """

    def __init__(self) -> None:
        self._table = _KeepLetters()

    def __call__(self, text: str) -> str:
        if not text.isascii():
            text = unicodedata.normalize("NFKC", text)
        folded = text.casefold()
        letters = folded.translate(self._table)
        return letters or " ".join(folded.split())


_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def printable(text: str, limit: int = 80) -> str:
    """``text`` for a message: at most ``limit`` characters, controls written as escapes."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return re.sub(r"[^ -~]", _escape, shown)


def is_nfc(text: str) -> bool:
    """Whether NFC would leave ``text`` as it is."""
    return text.isascii() or unicodedata.is_normalized("NFC", text)
