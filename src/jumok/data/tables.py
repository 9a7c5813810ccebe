"""Rows of delimited text (TSV, CSV): columns, header, width."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from jumok.data.encodings import Line, PathLike, Problem, display_name, lines
from jumok.data.header import looks_like_header, may_be_header
from jumok.data.options import Cells, ReadOptions, Tally, counted
from jumok.data.text import normalise
from jumok.errors import DataError, UsageError, did_you_mean

__all__ = ["delimited", "is_blank"]

Fields: TypeAlias = tuple[int, list[str]]
"""A row's line number and its cells."""

SAMPLE_ROWS = 1000
"""Rows looked at to tell a header from data and to learn the table's width."""


def _split_fields(found: Iterable[Line | Problem], sep: str) -> Iterator[Fields | Problem]:
    for item in found:
        yield item if isinstance(item, Problem) else (item[0], item[1].split(sep))


class _CsvFeed:
    """Gives ``csv.reader`` its lines and keeps aside those that could not be decoded."""

    def __init__(self, found: Iterable[Line | Problem]) -> None:
        self.found = iter(found)
        self.number = 0
        self.begun = 0
        """The first line given since this was last set to 0."""
        self.problems: list[Problem] = []

    def __iter__(self) -> Iterator[str]:
        for item in self.found:
            if isinstance(item, Problem):
                self.problems.append(item)
                continue
            self.number = item[0]
            self.begun = self.begun or self.number
            yield item[1] + "\n"


def _not_csv(begun: int, ended: int, error: csv.Error) -> Problem:
    what = str(error)
    if "end of data" in what or "field limit" in what:
        what = "a quote is opened and not closed"
    if ended > begun:
        what += f" (lines {begun:,} to {ended:,} are lost with it)"
    return Problem(
        line=begun,
        message=f"not a CSV row: {what}.",
        hint='a field with quotes is written "like ""this"""; a file without CSV quoting is read '
        "with --format tsv --sep ,",
    )


def _csv_fields(found: Iterable[Line | Problem], sep: str) -> Iterator[Fields | Problem]:
    feed = _CsvFeed(found)
    reader = csv.reader(feed, delimiter=sep, strict=True)
    while True:
        feed.begun = 0
        try:
            cells = next(reader)
            row: Fields | Problem | None = (feed.begun, cells)
        except StopIteration:
            row = None
        except csv.Error as error:
            row = _not_csv(feed.begun, feed.number, error)
        yield from feed.problems
        feed.problems.clear()
        if row is None:
            return
        yield row


_NAMED = {"\t": "TAB", " ": "space", ",": "comma", ";": "semicolon"}
_USUAL = (" ||| ", ",", ";", "|", " ")
_INSIDE_WORDS = " -.'"
"""Signs that seldom separate columns, if others fit as well."""


def _named(sep: str) -> str:
    return _NAMED.get(sep, repr(sep))


def _guess_sep(sample: list[list[str]], sep: str, needed: int) -> str | None:
    """A character that cuts (nearly) every line into ``needed`` columns where ``sep`` does not."""
    texts = [sep.join(cells) for cells in sample]
    if any(len(cells) >= needed for cells in sample):
        return None
    signs = {c for text in texts[:100] for c in text if not c.isalnum() and c != sep}
    ordered = sorted(signs, key=lambda s: (s in _INSIDE_WORDS, s not in _USUAL, s))
    fits = {s: sum(t.count(s) == needed - 1 for t in texts) for s in [" ||| ", *ordered]}
    best = max(fits, key=lambda s: fits[s])
    return best if fits[best] >= 0.9 * len(texts) else None


def _sep_hint(text: str, sep: str, guess: str | None) -> str:
    if guess:
        return (
            f"the lines have no {_named(sep)}, but each has a {_named(guess)}; use --sep {guess!r}"
        )
    other = next((s for s in _USUAL if s != sep and all(text.partition(s))), None)
    if other and sep not in text:
        return f"the line has a {_named(other)} but no {_named(sep)}; fix the line"
    return "fix the line"


def _wrong_width(item: Fields, needed: int, table: _Table) -> Problem:
    number, cells = item
    mark = {"\t": "<TAB>", " ": "<SPACE>"}.get(table.sep, table.sep)
    wanted = f" (source{mark}target)" if needed == 2 else ""
    text = table.sep.join(cells)
    if table.width == 1 and table.guess is None and table.sep not in text:
        mark = "a TAB" if table.sep == "\t" else repr(table.sep)
        hint = f"put {mark} between source and target, or name two files, line for line"
    elif table.width < needed and len(cells) > 1:
        hint = f"the file has {counted(table.width, 'column')}; --columns chooses two of them"
    else:
        hint = _sep_hint(text, table.sep, table.guess)
    return Problem(
        line=number,
        message=f"{counted(len(cells), 'column')}, expected {needed}{wanted}",
        excerpt=text,
        hint=hint,
    )


def _too_wide(number: int, cells: list[str], width: int, sep: str) -> Problem:
    return Problem(
        line=number,
        message=f"{len(cells)} columns, but the other rows have {width}.",
        excerpt=sep.join(cells),
        hint=f"is there a {_named(sep)} inside the text?",
    )


@dataclass(kw_only=True)
class _Table:
    """Which columns are meant, settled from the first rows."""

    name: str
    options: ReadOptions
    tally: Tally
    sep: str
    picks: tuple[int, ...] = (0, 1)
    """Places of source, target and what else is wanted."""
    width: int = 0
    guess: str | None = None
    """A separator that would fit better."""

    def settle(self, head: list[Fields]) -> int:
        """Fixes columns and width; returns the line number of the header, 0 if none."""
        number, first = head[0]
        needed = max((c for c in self.options.wanted if isinstance(c, int)), default=2)
        self.guess = _guess_sep([cells for _, cells in head], self.sep, needed)
        self.width = Counter(len(cells) for _, cells in head).most_common(1)[0][0]
        by_name = [c for c in self.options.wanted if isinstance(c, str)]
        if by_name:
            self.picks = self._named(number, first)
        else:
            self.picks = tuple(int(c) - 1 for c in self.options.wanted)
        is_header = bool(by_name) or self._is_header(first, head[1:])
        self._note(number if is_header else 0, first)
        return number if is_header else 0

    def _named(self, number: int, first: list[str]) -> tuple[int, ...]:
        if self.options.header == "no":
            raise UsageError("columns by name need the header; drop --header no.")
        names = [normalise(c.strip()) for c in first]
        found = []
        for column in self.options.wanted:
            if isinstance(column, int):
                found.append(column - 1)
            elif normalise(column) in names:
                found.append(names.index(normalise(column)))
            else:
                raise DataError(
                    f"no column is called {column!r}.{did_you_mean(column, names)}",
                    where=f"{self.name}:{number}",
                    hint=f"the first row has: {', '.join(names)}",
                )
        return tuple(found)

    def _is_header(self, first: list[str], rest: list[Fields]) -> bool:
        low, high = self.picks[:2]
        if self.options.header != "auto" or max(self.picks) >= len(first):
            return self.options.header == "yes"
        pairs = [(c[low], c[high]) for _, c in rest if max(self.picks) < len(c)]
        pair = (first[low], first[high])
        if looks_like_header(pair, pairs):
            return True
        if may_be_header(pair) and pair not in pairs:
            self.tally.notes.append(
                f"{self.name}: the first row ({pair[0]}, {pair[1]}) is read as data; "
                "--header yes takes it as names."
            )
        return False

    def _note(self, header_line: int, first: list[str]) -> None:
        low, high = self.picks[:2]
        if header_line and max(self.picks) < len(first):
            override = "" if self.options.header == "yes" else "; --header no reads it as a pair"
            self.tally.notes.append(
                f"{self.name}: the first row ({first[low]}, {first[high]}) is the header{override}."
            )
        others = [i + 1 for i in range(self.width) if i not in self.picks]
        if others:
            shown = ", ".join(map(str, others[:5])) + (", ..." if len(others) > 5 else "")
            self.tally.notes.append(
                f"{self.name}: source is column {low + 1}, target is column {high + 1}; "
                f"not used: {shown} (--columns chooses others)."
            )

    def record(self, number: int, cells: list[str]) -> Cells | Problem:
        if max(self.picks) >= len(cells):
            return _wrong_width((number, cells), max(self.picks) + 1, self)
        if len(cells) > self.width:
            return _too_wide(number, cells, self.width, self.sep)
        return number, [cells[pick] for pick in self.picks]


def is_blank(cells: Iterable[str]) -> bool:
    """Whether a row holds nothing but white space."""
    return not any(cells) or not any(c.strip() for c in cells)


def _tabular(found: Iterable[Fields | Problem], table: _Table) -> Iterator[Cells | Problem]:
    found = iter(found)
    sample = list(itertools.islice(found, SAMPLE_ROWS))
    head = [f for f in sample if not isinstance(f, Problem) and not is_blank(f[1])]
    needed = max((c for c in table.options.wanted if isinstance(c, int)), default=1)
    wide = [f for f in head if len(f[1]) >= needed]
    header_line = table.settle(wide or head) if head else 0
    for item in itertools.chain(sample, found):
        if isinstance(item, Problem):
            yield item
        elif is_blank(item[1]):
            table.tally.blank += 1
        elif item[0] != header_line:
            yield table.record(*item)


def delimited(
    path: PathLike, kind: str, options: ReadOptions, tally: Tally
) -> Iterator[Cells | Problem]:
    """The chosen columns of a ``kind`` ("tsv" or "csv") file; blank rows are counted."""
    sep = options.sep or ("," if kind == "csv" else "\t")
    if kind == "csv" and len(sep) != 1:
        raise UsageError(f"`sep` ({sep!r}) must be one character for CSV.")
    split = _csv_fields if kind == "csv" else _split_fields
    table = _Table(name=display_name(path), options=options, tally=tally, sep=sep)
    return _tabular(split(lines(path, options.encoding), sep), table)
