"""Which unit a column of text calls for: a written rule on the data, with its reason.

In this order, on one side of the training pairs:

1. *space*: most texts are symbols between spaces, and either these are few and short
   (phones, tags) or each is one character (letters set apart).
2. *jamo*: short texts, mostly Hangul, and many syllables too rare to be learnt as symbols.
3. *character*: short texts (words, names, dates), or too little text to learn pieces from.
4. *bpe*: the rest, with as many pieces as leaves each about ``USES`` uses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["UnitChoice", "choose_unit"]

SAMPLE = 20_000
"""Rows looked at, spread evenly over the column."""
USES = 100
SMALLEST, LARGEST = 500, 32_000
SHORT = 32
"""Columns of a terminal; where 95% of texts are no wider, they are words, names or dates."""
SPACED = 0.6
SYMBOLS, SYMBOL_LENGTH = 256, 2.5
RARE_USES, RARE_SHARE = 10, 0.02
LITTLE = 100_000
"""Width of a whole column; below it there is too little text to learn pieces from."""


class UnitChoice(NamedTuple):
    """A unit, the number of subword pieces (None where it is not learnt), and why."""

    unit: str
    size: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Column:
    """What the rule looks at."""

    rows: int
    wide: int
    """95th percentile of width; a Hangul, Chinese or kana character is two wide."""
    spaced: float
    """Share of texts of two characters or more that have a space inside."""
    symbols: int
    """Different strings between spaces, among the texts looked at."""
    symbol_length: float
    """Mean length of those strings in running text."""
    words: int
    """Words in the whole column; where there are no spaces, characters / 2."""
    width: int
    """Of the whole column."""
    hangul: float
    """Share of Hangul syllables among letters."""
    rare: float
    """Share of running Hangul syllables that occur fewer than ``RARE_USES`` times."""


def choose_unit(texts: Sequence[str], rows: int | None = None) -> UnitChoice:
    """The unit for one side of the training pairs, by the rule above.

    ``rows``: how long the column is of which ``texts`` are an even sample; None, ``texts`` is all.
    """
    column = _look(texts, rows)
    if column.rows == 0:
        return UnitChoice("character", None, "there is no text, so characters")
    set_apart = column.symbols <= SYMBOLS and column.symbol_length <= SYMBOL_LENGTH
    if column.spaced > SPACED and (set_apart or column.symbol_length <= 1.05):
        return UnitChoice(
            "space",
            None,
            f"{column.symbols} different symbols of {column.symbol_length:.1f} characters, set "
            "apart by spaces",
        )
    if column.wide <= SHORT or column.width < LITTLE:
        return _letters(column)
    size = min(max(column.words // USES // 500 * 500, SMALLEST), LARGEST)
    return UnitChoice(
        "bpe",
        size,
        f"long texts (the 95th percentile is {column.wide} wide) and about {column.words:,} "
        f"words: {size:,} pieces leave each some {max(1, column.words // size):,} uses",
    )


def _letters(column: _Column) -> UnitChoice:
    why = (
        f"short texts (95% are at most {column.wide} wide)"
        if column.wide <= SHORT
        else f"a text {column.width:,} wide in all, too little to learn pieces from"
    )
    if column.hangul > 0.5 and column.rare > RARE_SHARE:
        return UnitChoice(
            "jamo",
            None,
            f"{why} in Hangul, of whose syllables {column.rare:.0%} come fewer than "
            f"{RARE_USES} times",
        )
    return UnitChoice("character", None, why)


def _width(text: str) -> int:
    return len(text) + sum("\u1100" <= c < "\u1200" or c >= "\u2e80" for c in text)


def _look(texts: Sequence[str], rows: int | None) -> _Column:
    rows = len(texts) if rows is None else rows
    seen = texts[:: max(1, len(texts) // SAMPLE)]
    scale = rows / max(1, len(seen))
    symbols = Counter(s for text in seen for s in text.split(" ") if s)
    running = symbols.total()
    inside = [" " in text.strip(" ") for text in seen if len(text) > 1]
    characters = Counter(c for text in seen for c in text)
    letters = sum(n for c, n in characters.items() if c.isalpha())
    hangul = {c: n for c, n in characters.items() if "가" <= c <= "힣"}
    rare = sum(n for n in hangul.values() if n * scale < RARE_USES)
    widths = sorted(map(_width, seen))
    return _Column(
        rows=rows,
        wide=widths[int(0.95 * (len(widths) - 1))] if widths else 0,
        spaced=sum(inside) / max(1, len(inside)),
        symbols=len(symbols),
        symbol_length=sum(len(s) * n for s, n in symbols.items()) / max(1, running),
        words=round(scale * max(running, characters.total() // 6)),
        width=round(scale * sum(widths)),
        hangul=sum(hangul.values()) / max(1, letters),
        rare=rare / max(1, sum(hangul.values())),
    )
