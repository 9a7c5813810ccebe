"""Is the first row of a table names or data? A rule that prefers not to eat data."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

__all__ = ["looks_like_header", "may_be_header"]

_NAMES = frozenset(
    # What is paired, the usual languages of pairs, their codes.
    """source target src tgt trg input output query answer question word words
    form lemma spelling grapheme graphemes phoneme phonemes phone phones ipa pron pronunciation
    romanization romanisation transliteration translation original normalized normalised modern
    date iso 원문 번역 번역문 한국어 영어 입력 출력 발음 단어

    english korean japanese chinese french german spanish italian portuguese russian arabic
    hebrew hindi dutch polish turkish czech hungarian greek finnish swedish vietnamese thai
    indonesian en ko ja zh fr de es it pt ru ar he hi nl pl tr cs hu el fi sv vi th eng kor jpn
    fra deu spa rus""".split()  # noqa: SIM905
)
_FILLERS = frozenset(("text", "sentence", "sentences", "column", "string", "label", "id", "lang"))

COMMON = 0.98
"""A kind of character belongs to a column if this share of its cells has it."""
ENOUGH_ROWS = 10
"""Fewer other rows say nothing about what a column looks like."""
MANY_ROWS = 50
"""Fewer do not outweigh that neither cell is a usual name."""


def _seems_named(cell: str) -> bool:
    """``cell`` is a usual name of a column, such as "source_text" or "Korean"."""
    words = [w for w in re.split(r"[\s_.-]+", cell.strip().lower()) if w]
    return any(w in _NAMES for w in words) and all(w in _NAMES | _FILLERS for w in words)


def _kinds(cell: str) -> set[str]:
    """Digits, white space, and the script of each letter."""
    found = set()
    for character in cell:
        if character.isdigit():
            found.add("digit")
        elif character.isspace():
            found.add("space")
        elif character.isalpha():
            found.add(unicodedata.name(character, "?").split()[0])
    return found


def _unlike(cell: str, others: Sequence[str]) -> bool:
    """``cell`` lacks a kind of character that nearly every other cell of its column has."""
    counts = Counter(kind for other in others for kind in _kinds(other))
    usual = {kind for kind, count in counts.items() if count >= COMMON * len(others)}
    return bool(usual - _kinds(cell))


def _name_shaped(cell: str) -> bool:
    return 0 < len(cell) <= 32 and re.fullmatch(r"[^\W\d][\w .-]*", cell.strip()) is not None


def looks_like_header(first: tuple[str, str], rest: Sequence[tuple[str, str]]) -> bool:
    """Whether ``first`` names the two columns of ``rest``.

    Both cells must look like names, differ, and occur nowhere else in their column. Then it is
    a header if both are usual names; or if one is, and one column looks otherwise unlike it;
    or if both columns, of at least ``MANY_ROWS`` rows, do ("written", "normal" above dates).
    """
    if not all(map(_name_shaped, first)) or first[0].lower() == first[1].lower():
        return False
    columns = [[row[side] for row in rest] for side in (0, 1)]
    if any(first[side] in columns[side] for side in (0, 1)):
        return False
    named = sum(map(_seems_named, first))
    enough = len(rest) >= ENOUGH_ROWS
    unlike = sum(_unlike(first[side], columns[side]) for side in (0, 1)) if enough else 0
    both_unlike = unlike == 2 and len(rest) >= MANY_ROWS
    return named == 2 or both_unlike or (named == 1 and unlike >= 1)


def may_be_header(first: tuple[str, str]) -> bool:
    """Whether a reader of ``first`` might take it for names, so that a note is due."""
    return all(map(_name_shaped, first)) and any(map(_seems_named, first))
