"""Hard links as Pharaoh text: ``0-0 1-2`` pairs a source position with a target position.

Positions count from 0 inside jumok and in most tools; gold sets often count from 1 (``base=1``).
Gold marks its links as sure (``3-4``) or merely possible (``3p4``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jumok.errors import DataError, UsageError

__all__ = [
    "GoldLinks",
    "Links",
    "format_links",
    "parse_gold",
    "parse_links",
    "read_gold",
    "read_links",
    "reverse",
]

Links = frozenset[tuple[int, int]]
"""(source position, target position), from 0."""

LINK = re.compile(r"([0-9]{1,9})([-p])([0-9]{1,9})")


@dataclass(frozen=True, kw_only=True)
class GoldLinks:
    """What annotators agreed on (``sure``) and what they allow (``possible``, sure included)."""

    sure: Links
    possible: Links

    def __post_init__(self) -> None:
        if not self.sure <= self.possible:
            raise UsageError("Every sure link must be possible too.")


def reverse(links: Iterable[tuple[int, int]]) -> Links:
    """The same links with source and target exchanged."""
    return frozenset((j, i) for i, j in links)


def _items(text: str, base: int, where: str | None) -> Iterable[tuple[int, str, int]]:
    if base not in (0, 1):
        raise UsageError(f"`base` ({base}) must be 0 or 1: what the first position is called.")
    for item in text.split():
        found = LINK.fullmatch(item)
        if found is None:
            raise DataError(
                f"{item!r} is not a link.",
                where=where,
                excerpt=text.strip(),
                hint="links look like 0-2 (source-target), gold may also have 0p2, with spaces "
                "between them.",
            )
        source, kind, target = int(found[1]), found[2], int(found[3])
        if min(source, target) < base:
            raise DataError(
                f"{item!r} has a position below {base}, where counting starts.",
                where=where,
                hint="this file counts from 0: read it with base=0.",
            )
        yield source - base, kind, target - base


def parse_links(text: str, *, base: int = 0, where: str | None = None) -> Links:
    """Links of one line; ``p`` is refused. ``where`` is ``file:line`` for the error."""
    links = set()
    for source, kind, target in _items(text, base, where):
        if kind == "p":
            raise DataError(
                f"'{source + base}p{target + base}' is a possible link, which only gold has.",
                where=where,
                hint="is this the gold file?",
            )
        links.add((source, target))
    return frozenset(links)


def parse_gold(text: str, *, base: int = 1, where: str | None = None) -> GoldLinks:
    """Gold of one line: ``i-j`` sure, ``ipj`` possible. Counts from 1 unless told otherwise."""
    items = list(_items(text, base, where))
    sure = frozenset((i, j) for i, kind, j in items if kind == "-")
    return GoldLinks(sure=sure, possible=frozenset((i, j) for i, _, j in items))


def format_links(links: Iterable[tuple[int, int]], *, base: int = 0) -> str:
    """One line without its line end, sorted by source, then target; "" for no links."""
    return " ".join(f"{i + base}-{j + base}" for i, j in sorted(links))


def _lines(path: str | Path) -> list[tuple[str, str]]:
    """(``file:line``, text) of each line; only ``\\n`` ends a line."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}.", where=str(path)) from None
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text.", where=str(path)) from None
    lines = text.removesuffix("\n").split("\n") if text else []
    return [(f"{path}:{number}", line) for number, line in enumerate(lines, start=1)]


def read_links(path: str | Path, *, base: int = 0, reversed_sides: bool = False) -> list[Links]:
    """One sentence a line. ``reversed_sides``: the file says target-source; it is turned round."""
    found = [parse_links(line, base=base, where=where) for where, line in _lines(path)]
    return [reverse(links) for links in found] if reversed_sides else found


def read_gold(path: str | Path, *, base: int = 1) -> list[GoldLinks]:
    """One sentence a line."""
    return [parse_gold(line, base=base, where=where) for where, line in _lines(path)]
