"""Tags beside a source (inflection: lemma and features) as symbols that no text can reach.

A source with tags is one text, ``lemma<TAB>tags``, as a line of a file would have it: what stands
behind its last TAB are its tags. So splits, leaks and references tell ``lemma + tags`` apart, and
a tag has a span in the text like any other symbol. Tags come first, then the lemma: the order of
Kann & Schuetze 2016 (section 3: tags before characters) and of Wu, Cotterell & Hulden 2021. The
lemma's end, where most inflection happens, then stays beside the end symbol whatever the tags.

The symbol of the tag ``V`` is U+0000 and ``V``. No file of pairs holds U+0000, and a text that is
translated with one in it has symbols that are unknown, never a tag.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jumok.data.tokenizers import Spans, Tokenizer
from jumok.errors import DataError, UsageError
from jumok.records import Token

__all__ = [
    "MARK",
    "Tagged",
    "check_separator",
    "is_tag",
    "name_of",
    "plain",
    "tag_counts",
    "with_tags",
]

MARK = "\0"
"""The first character of every tag's symbol."""
BETWEEN = "\t"
"""Between the lemma and its tags."""


def check_separator(separator: str) -> str:
    """What may stand between tags. UsageError for nothing, a TAB, a line end or U+0000."""
    if not separator or any(sign in separator for sign in "\t\n\0"):
        raise UsageError(
            f"--tag-sep ({separator!r}) must be at least one character, and no TAB or line end."
        )
    return separator


def is_tag(symbol: str) -> bool:
    """Whether a symbol is a tag (or a text's U+0000, which nothing can be made of either)."""
    return symbol.startswith(MARK)


def name_of(symbol: str) -> str:
    """A tag's own name; any other symbol as it is."""
    return symbol[1:] if is_tag(symbol) and len(symbol) > 1 else symbol


def plain(text: str) -> str:
    """A source without its tags."""
    lemma, between, tags = text.rpartition(BETWEEN)
    return lemma if between else tags


def with_tags(lemma: str, cell: str, separator: str = ";") -> str:
    """The source made of a lemma and of a cell of tags; empty tags are left out."""
    names = (name.strip() for name in cell.split(separator))
    return lemma + BETWEEN + separator.join(name for name in names if name)


def tag_counts(texts: Iterable[str], separator: str) -> Counter[str]:
    """How often each tag stands beside these sources."""
    pieces = (name for text in texts for name in text.rpartition(BETWEEN)[2].split(separator))
    return Counter(name for piece in pieces if (name := piece.strip()))


@dataclass(frozen=True)
class Tagged:
    """A tokenizer for ``lemma<TAB>tags``: the tags, then what ``inner`` makes of the lemma."""

    inner: Tokenizer
    separator: str = ";"

    @property
    def unit(self) -> str:
        return self.inner.unit

    def tokens(self, text: str) -> list[Token]:
        """Tags first, with their spans behind the TAB; an empty text has none.

        Raises:
            DataError: a text without a TAB: a lemma alone.
        """
        lemma = self._lemma(text)
        tags = [Token(MARK + text[i:j], i, j) for i, j in self._places(text)]
        found = self.inner.tokens(lemma)
        if MARK in lemma:
            found = [Token(_unreachable(t.text), t.start, t.end) for t in found]
        return [*tags, *found]

    def symbols(self, text: str) -> list[str]:
        lemma = self._lemma(text)
        tags = [MARK + text[i:j] for i, j in self._places(text)]
        found = self.inner.symbols(lemma)
        return [*tags, *(map(_unreachable, found) if MARK in lemma else found)]

    def join(self, symbols: Sequence[str]) -> tuple[str, Spans]:
        names = [s[1:] for s in symbols if is_tag(s)]
        text, spans = self.inner.join([s for s in symbols if not is_tag(s)])
        places = iter(spans)
        end, found = len(text) + 1, list[tuple[int, int]]()
        for symbol in symbols:
            if is_tag(symbol):
                found.append((end, end + len(symbol) - 1))
                end = found[-1][1] + len(self.separator)
            else:
                found.append(next(places))
        return with_tags(text, self.separator.join(names), self.separator), found

    def detokenize(self, symbols: Sequence[str]) -> str:
        return self.join(symbols)[0]

    def alphabet(self) -> list[str]:
        return self.inner.alphabet()

    def to_dict(self) -> dict[str, object]:
        return {**self.inner.to_dict(), "tags": self.separator}

    def files(self) -> dict[str, bytes]:
        return self.inner.files()

    def _lemma(self, text: str) -> str:
        if text and BETWEEN not in text:
            raise DataError(
                "the source has no tags, and this model reads tags.",
                hint="write them behind a TAB (lemma<TAB>tags, or lemma<TAB> for none); of a file "
                "of pairs --tags-column 3 names their column.",
            )
        return plain(text)

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Spans of the tags, white space around them left out."""
        start = text.rfind(BETWEEN) + 1
        for piece in text[start:].split(self.separator) if start else ():
            if name := piece.strip():
                first = start + piece.index(name)
                yield first, first + len(name)
            start += len(piece) + len(self.separator)


def _unreachable(symbol: str) -> str:
    """A text's symbol that looks like a tag as one that no vocabulary holds."""
    return MARK if is_tag(symbol) else symbol
