"""Pairs of texts: loading them from files, streaming them, splitting them without leaks."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Literal, NamedTuple, overload

from jumok.data.encodings import PathLike
from jumok.data.options import (
    Choice,
    Column,
    Columns,
    Paths,
    ReadOptions,
    Record,
    Tally,
    parse_columns,
)
from jumok.data.readers import load_sources, path_name, records, stream_sources
from jumok.data.split import Rates, Side, distinct_sources
from jumok.data.tags import plain
from jumok.data.text import Form, normalise
from jumok.errors import DataError, UsageError

__all__ = [
    "Corpus",
    "Example",
    "PairStream",
    "load",
    "load_sources",
    "parse_columns",
    "stream",
    "stream_sources",
]


class Example(NamedTuple):
    """One pair and where it was read: ``file:line``."""

    source: str
    target: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Corpus(Sequence[Example]):
    """An immutable sequence of pairs. A source with several targets has several rows.

    ``corpus[3]`` is an ``Example``, ``corpus[10:20]`` a ``Corpus``. Texts are in the Unicode
    form that ``normalisation`` names and hold no line break.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    name: str
    normalisation: Form = "NFC"
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What reading did that a user should know, a sentence each."""
    line_numbers: array[int] | None = field(default=None, compare=False, repr=False)
    """Where each row was read; None numbers the rows from 1."""
    file: str | None = field(default=None, compare=False)
    """The file that ``line_numbers`` are of; None is ``name``."""
    tags: str | None = None
    """What separates the tags of a source, ``lemma<TAB>tags`` (``tags.py``); None: no tags."""
    links: tuple[str, ...] | None = field(default=None, compare=False, repr=False)
    """Pharaoh links of each row ("0-0 1-2"), to guide attention; None where there are none."""

    def __post_init__(self) -> None:
        for side in ("sources", "targets"):
            object.__setattr__(self, side, tuple(getattr(self, side)))
        if len(self.sources) != len(self.targets):
            raise UsageError(
                f"{self.name}: {len(self.sources):,} sources and {len(self.targets):,} targets; "
                "there must be as many of one as of the other."
            )
        if self.links is not None and len(self.links) != len(self.sources):
            raise UsageError(
                f"{self.name}: links of {len(self.links):,} rows, but {len(self.sources):,} rows."
            )
        self._check_tags()

    def _check_tags(self) -> None:
        bare = None
        if self.tags is not None:
            bare = next(
                (i for i, text in enumerate(self.sources) if text and "\t" not in text), None
            )
        if bare is not None:
            raise DataError(
                "the source has no tags.",
                where=self.where(bare),
                excerpt=self.sources[bare],
                hint="a source with tags is lemma<TAB>tags; lemma<TAB> has none.",
            )

    @property
    def plain_sources(self) -> tuple[str, ...]:
        """The sources without their tags."""
        return self.sources if self.tags is None else tuple(map(plain, self.sources))

    @classmethod
    def of(
        cls,
        pairs: Iterable[tuple[str, str]],
        name: str = "pairs",
        normalisation: Form = "NFC",
        *,
        tags: str | None = None,
        links: Iterable[str] | None = None,
    ) -> Corpus:
        """A corpus of ``pairs`` from memory, normalised.

        ``tags``: what separates those of a source, ``lemma<TAB>tags``. ``links``: of each pair.

        Raises:
            DataError: a text with a line break, a NUL or half of a surrogate pair.
        """
        sides: tuple[list[str], list[str]] = ([], [])
        for row, pair in enumerate(pairs, 1):
            for side, text in zip(sides, pair, strict=True):
                if "\n" in text or "\0" in text:
                    raise DataError(
                        "a text may hold no line break and no NUL.",
                        where=f"{name}:{row}",
                        excerpt=repr(text),
                    )
                side.append(normalise(text, normalisation))
        return cls(
            sources=tuple(sides[0]),
            targets=tuple(sides[1]),
            name=name,
            normalisation=normalisation,
            tags=tags,
            links=None if links is None else tuple(links),
        )

    def __len__(self) -> int:
        return len(self.sources)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Corpus: ...
    def __getitem__(self, index: int | slice) -> Example | Corpus:
        if isinstance(index, slice):
            return self.select(range(*index.indices(len(self))))
        return Example(self.sources[index], self.targets[index], self.where(index))

    def __iter__(self) -> Iterator[Example]:
        return (self[i] for i in range(len(self)))

    def pairs(self) -> list[tuple[str, str]]:
        """``(source, target)`` of every row."""
        return list(zip(self.sources, self.targets, strict=True))

    def where(self, row: int) -> str:
        """``file:line`` of a row."""
        index = range(len(self))[row]
        number = index + 1 if self.line_numbers is None else self.line_numbers[index]
        return f"{self.file or self.name}:{number}"

    def references(self) -> dict[str, tuple[str, ...]]:
        """Each source, once, with all its distinct targets, both in order of appearance."""
        found: dict[str, dict[str, None]] = {}
        for source, target in zip(self.sources, self.targets, strict=True):
            found.setdefault(source, {})[target] = None
        return {source: tuple(targets) for source, targets in found.items()}

    def fingerprint(self) -> str:
        """SHA-256 of all pairs in order: the same for the same data, whatever its file."""
        digest = sha256()
        for pair in zip(self.sources, self.targets, strict=True):
            digest.update("\0".join((*pair, "")).encode())
        return digest.hexdigest()

    def select(self, rows: Iterable[int], name: str | None = None) -> Corpus:
        """The given rows, in the given order; they remember where they were read."""
        kept = list(rows)
        numbers = self.line_numbers
        return replace(
            self,
            sources=tuple(self.sources[i] for i in kept),
            targets=tuple(self.targets[i] for i in kept),
            name=name or self.name,
            file=self.file or self.name,
            links=None if self.links is None else tuple(self.links[i] for i in kept),
            line_numbers=array("q", (i + 1 if numbers is None else numbers[i] for i in kept)),
        )

    def rates(self, *, dev: int | float | None = None, test: int | float | None = None) -> Rates:
        """The shares that ``split`` holds out, for sizes as in ``split``."""
        return Rates.for_sources(distinct_sources(self.sources), dev=dev, test=test)

    def split(
        self,
        seed: int = 0,
        *,
        dev: int | float | None = None,
        test: int | float | None = None,
    ) -> tuple[Corpus, Corpus, Corpus]:
        """Train, dev (chooses the model) and test (read once), by a hash of the source.

        ``dev`` and ``test``: an int is about so many distinct sources, a float a share, 0 no
        such side, None the default rule. ``data/split.py`` has the rule and what it promises.

        Raises:
            DataError: too few sources, or a side that came out empty.
            UsageError: sizes that leave nothing to train on.
        """
        rates = self.rates(dev=dev, test=test)
        rows: dict[Side, list[int]] = {"train": [], "dev": [], "test": []}
        for i, source in enumerate(self.sources):
            rows[rates.side(source, seed)].append(i)
        wanted = {"train": 1.0, "dev": rates.dev, "test": rates.test}
        for side, found in rows.items():
            if not found and wanted[side] > 0:
                raise DataError(
                    f"the split leaves no row for {side}.",
                    where=self.name,
                    hint="another seed, a larger share, or more data.",
                )
        train, held_dev, held_test = (
            self.select(found, f"{self.name} [{side}]") for side, found in rows.items()
        )
        return train, held_dev, held_test

    def most_frequent_target(self) -> str:
        """The target that most rows have; of several, the first to appear.

        Raises:
            DataError: the corpus is empty.
        """
        if not self.targets:
            raise DataError("the corpus is empty.", where=self.name)
        return Counter(self.targets).most_common(1)[0][0]


class PairStream:
    """The pairs of a file, one at a time, in memory that does not grow with the file.

    Every ``iter`` reads the file afresh (standard input: once). ``notes`` and ``rows`` are of
    the latest reading, complete when it has been drawn to its end.
    """

    def __init__(self, path: Paths, options: ReadOptions) -> None:
        self.path: Paths = path
        self.options = options
        self.name = path_name(self.path)
        self.file = path_name(self.path[0] if isinstance(self.path, tuple) else self.path)
        self._tally = Tally()

    def __iter__(self) -> Iterator[Example]:
        for number, source, target, _ in self.records():
            yield Example(source, target, f"{self.file}:{number}")

    def records(self) -> Iterator[Record]:
        """Line number, source, target and links of each pair."""
        self._tally = Tally()
        return records(self.path, self.options, self._tally)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._tally.notes)

    @property
    def rows(self) -> int:
        return self._tally.rows


def stream(
    path: Paths,
    *,
    columns: Columns = (1, 2),
    header: Literal["auto", "yes", "no"] = "auto",
    encoding: str = "utf-8",
    normalise: Form = "NFC",
    sep: str | None = None,
    format: Literal["tsv", "csv", "jsonl"] | None = None,
    on_bad: Choice = "refuse",
    on_long: Choice = "refuse",
    max_length: int | None = 10_000,
    empty: Literal["refuse", "keep"] = "refuse",
    strip: bool = False,
    tags: Column | None = None,
    tag_sep: str = ";",
    links_column: Column | None = None,
    links: PathLike | None = None,
) -> PairStream:
    """As ``load``, for corpora larger than memory: the pairs one at a time.

    Parallel files of unequal length are found at the end, after their common lines.
    """
    return PairStream(
        path,
        ReadOptions(
            columns=columns,
            header=header,
            encoding=encoding,
            normalise=normalise,
            sep=sep,
            format=format,
            on_bad=on_bad,
            on_long=on_long,
            max_length=max_length,
            empty=empty,
            strip=strip,
            tags=tags,
            tag_sep=tag_sep,
            links_column=links_column,
            links=links,
        ),
    )


def load(
    path: Paths,
    *,
    columns: Columns = (1, 2),
    header: Literal["auto", "yes", "no"] = "auto",
    encoding: str = "utf-8",
    normalise: Form = "NFC",
    sep: str | None = None,
    format: Literal["tsv", "csv", "jsonl"] | None = None,
    on_bad: Choice = "refuse",
    on_long: Choice = "refuse",
    max_length: int | None = 10_000,
    empty: Literal["refuse", "keep"] = "refuse",
    strip: bool = False,
    tags: Column | None = None,
    tag_sep: str = ";",
    links_column: Column | None = None,
    links: PathLike | None = None,
) -> Corpus:
    """The pairs in a file, in two parallel files, or on standard input ("-"); gzip or not.

    Args:
        path: ``pairs.tsv``, ``("train.de", "train.en")`` or ``"-"``.
        columns: source and target, by number from 1 or by the header's names; JSON keys.
        header: whether the first row is names; "auto" decides, and ``notes`` say how.
        encoding: decoding is strict. Only ``\\n`` ends a line, one ``\\r`` before it is dropped.
        normalise: the Unicode form of all texts.
        sep: between columns; None is TAB, and "," for CSV. TSV knows no quoting, CSV does.
        format: None goes by the suffix: .csv, .jsonl, anything else is TSV.
        on_bad: "skip" drops lines that are wrong and counts them in ``notes``.
        on_long: "skip" drops rows with a text over ``max_length`` characters and counts them.
        max_length: None allows any length.
        empty: "keep" allows a source or a target that is empty or white space.
        strip: drop white space around each text.
        tags: a third column, of tags that belong to the source: it becomes ``lemma<TAB>tags``.
        tag_sep: between two tags.
        links_column: a column of links between the two, "0-0 1-2", that guide attention.
        links: the same as a file of its own, line for line (the format of fast_align).

    Raises:
        DataError: what is wrong in the data, with ``file:line``; no pairs at all.
        UsageError: no such file, column or option.
    """
    pairs = stream(
        path,
        columns=columns,
        header=header,
        encoding=encoding,
        normalise=normalise,
        sep=sep,
        format=format,
        on_bad=on_bad,
        on_long=on_long,
        max_length=max_length,
        empty=empty,
        strip=strip,
        tags=tags,
        tag_sep=tag_sep,
        links_column=links_column,
        links=links,
    )
    numbers, sources, targets = array("q"), [], []
    found: list[str] = []
    for number, source, target, linked in pairs.records():
        numbers.append(number)
        found.append(linked)
        sources.append(source)
        targets.append(target)
    if not sources:
        raise DataError("no pairs in it.", where=pairs.name, hint=" ".join(pairs.notes) or None)
    return Corpus(
        sources=tuple(sources),
        targets=tuple(targets),
        name=pairs.name,
        normalisation=normalise,
        notes=pairs.notes,
        line_numbers=numbers,
        file=pairs.file,
        tags=None if tags is None else tag_sep,
        links=None if links is None and links_column is None else tuple(found),
    )
