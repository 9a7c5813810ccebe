"""How a file of pairs is read, and what one reading of it met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from jumok.data.encodings import PathLike, check_encoding
from jumok.data.tags import check_separator
from jumok.data.text import Form, check_form
from jumok.errors import DataError, UsageError

__all__ = [
    "Cells",
    "Choice",
    "Column",
    "Columns",
    "Paths",
    "ReadOptions",
    "Record",
    "Tally",
    "counted",
    "parse_column",
    "parse_columns",
]

Cells: TypeAlias = tuple[int, list[str]]
"""A row's line number and the cells of the wanted columns, in their order."""

Column: TypeAlias = int | str
"""A number from 1, or a name of the header."""
Columns: TypeAlias = tuple[Column, Column]
Choice = Literal["refuse", "skip"]
Paths: TypeAlias = PathLike | tuple[PathLike, PathLike]
Record: TypeAlias = tuple[int, str, str, str]
"""Line number, source (with its tags, if any: ``tags.py``), target, links ("" for none)."""


def _one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    if value not in allowed:
        choices = ", ".join(map(repr, allowed))
        raise UsageError(f"`{name}` ({value!r}) must be one of {choices}.")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a file of pairs is read; ``load`` explains each field."""

    columns: Columns = (1, 2)
    header: Literal["auto", "yes", "no"] = "auto"
    encoding: str = "utf-8"
    normalise: Form = "NFC"
    sep: str | None = None
    format: Literal["tsv", "csv", "jsonl"] | None = None
    on_bad: Choice = "refuse"
    on_long: Choice = "refuse"
    max_length: int | None = 10_000
    empty: Literal["refuse", "keep"] = "refuse"
    strip: bool = False
    tags: Column | None = None
    tag_sep: str = ";"
    links_column: Column | None = None
    links: PathLike | None = None

    @property
    def wanted(self) -> tuple[Column, ...]:
        """Source, target and what else is read of every row, in this order."""
        others = (self.tags, self.links_column)
        return (*self.columns, *(column for column in others if column is not None))

    def __post_init__(self) -> None:
        _one_of("header", self.header, ("auto", "yes", "no"))
        _one_of("format", self.format, (None, "tsv", "csv", "jsonl"))
        _one_of("on_bad", self.on_bad, ("refuse", "skip"))
        _one_of("on_long", self.on_long, ("refuse", "skip"))
        _one_of("empty", self.empty, ("refuse", "keep"))
        check_form(self.normalise)
        check_encoding(self.encoding)
        _check_columns(self.columns)
        self._check_others()
        if self.sep == "" or (self.sep and "\n" in self.sep):
            raise UsageError("`sep` must be at least one character and hold no line end.")
        if self.max_length is not None and self.max_length < 1:
            raise UsageError(f"`max_length` ({self.max_length}) must be at least 1.")

    def _check_others(self) -> None:
        check_separator(self.tag_sep)
        for name in ("tags", "links_column"):
            column = getattr(self, name)
            if column is not None and self.wanted.count(column) > 1:
                raise UsageError(
                    f"`{name}` ({column!r}) is a column that is read already.",
                    hint="source, target, tags and links are columns of their own.",
                )
            if isinstance(column, int) and column < 1:
                raise UsageError(f"column {column} does not exist; columns are numbered from 1.")
        if self.links is not None and self.links_column is not None:
            raise UsageError("links are read from a file or from a column, not from both.")


def _check_columns(columns: Columns) -> None:
    if len(columns) != 2 or columns[0] == columns[1]:
        raise UsageError(
            f"`columns` {columns!r} must be two different columns, source and target.",
            hint="such as 1,2 or 2,1, or names from the header: word,pron",
        )
    low = [c for c in columns if isinstance(c, int) and c < 1]
    if low:
        raise UsageError(f"column {low[0]} does not exist; columns are numbered from 1.")


def parse_columns(text: str) -> Columns:
    """``"1,2"`` or ``"word,pron"`` as a pair of column numbers or names.

    Raises:
        UsageError: not two different columns.
    """
    parts = [p.strip() for p in text.split(",")]
    if len(parts) != 2 or not all(parts):
        raise UsageError(
            f"--columns {text!r} must be two columns, source and target.",
            hint="such as 1,2 or 2,1, or names from the header: word,pron",
        )
    columns: Columns = (parse_column(parts[0]), parse_column(parts[1]))
    _check_columns(columns)
    return columns


def parse_column(text: str) -> Column:
    """``"3"`` as a number, anything else as a name."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else text


@dataclass(kw_only=True)
class Tally:
    """What one reading of a file met; filled while its rows are drawn."""

    rows: int = 0
    blank: int = 0
    changed: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    first_skipped: dict[str, DataError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def close(self, options: ReadOptions, lines_read: int, name: str) -> None:
        """Writes the counts down as notes on ``name``, once all rows are drawn."""
        for kind, count in self.skipped.items():
            what = "bad" if kind == "bad" else f"over-long (> {options.max_length:,} characters)"
            first = str(self.first_skipped[kind]).split("\n")[0]
            self.notes.append(
                f"{name}: {count:,} of {lines_read:,} lines {'is' if count == 1 else 'are'} {what} "
                f"and skipped; the first: {first}"
            )
        if self.blank:
            self.notes.append(f"{name}: {counted(self.blank, 'blank line')} skipped.")
        if self.changed:
            self.notes.append(
                f"{name}: {counted(self.changed, 'row')} not in {options.normalise}: normalised."
            )


def counted(number: int, noun: str) -> str:
    """``"1 row"``, ``"1,042 rows"``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
