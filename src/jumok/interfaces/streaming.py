"""Corpora larger than memory: the split as of a corpus in memory, the ids in a mapped cache.

The file is walked through several times and never held. What stays in memory of a training row
is a byte (its side), its hash as seen (8 bytes) and, while the split is made, its position (8);
dev, test and a sample of train are ordinary corpora.
"""

from __future__ import annotations

import hashlib
import shutil
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import compress, islice
from pathlib import Path
from typing import TypeAlias

import numpy as np

from jumok.data.cache import TokenCache
from jumok.data.codec_files import codec_digest
from jumok.data.corpus import Corpus, PairStream
from jumok.data.counter import draw, key
from jumok.data.encoded import OnLong, PairCodec
from jumok.data.options import Paths, Record
from jumok.data.split import Rates, Side, position
from jumok.data.tags import plain
from jumok.errors import DataError, UsageError

__all__ = ["CACHE", "StreamedCorpus", "Train", "discard", "divide", "sample_of", "streams"]

CACHE = "token-cache"
"""The folder of encoded pairs in a run's folder; it may be removed, a run builds it again."""
LARGE = 512 << 20
"""Bytes of text above which a corpus is streamed; a byte of gzip counts for ``GZIP``."""
GZIP = 4
SAMPLE = 100_000
"""Training rows kept as text: for the report, the choice of units, the baselines."""
_SIDES: tuple[Side, ...] = ("train", "dev", "test")
_SAMPLED = len(_SIDES)
"""The mark of a training row that is in the sample; other marks are places in ``_SIDES``."""


def streams(data: Sequence[str], asked: bool | None) -> bool:
    """Whether training pairs are streamed: as asked, else by the size of the files.

    Raises:
        UsageError: asked for something that can be read but once.
    """
    if not data or data[0].startswith("@"):
        return False
    paths = [Path(name) for name in data]
    once = [str(path) for path in paths if str(path) == "-" or _read_once(path)]
    if once and asked:
        raise UsageError(
            f"{once[0]} can be read only once, but streaming reads its pairs several times.",
            hint="write them to a file, or leave out --data.stream.",
        )
    if once or asked is not None:
        return bool(asked)
    return sum(map(_text_bytes, paths)) > LARGE


def _read_once(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _text_bytes(path: Path) -> int:
    size = path.stat().st_size if path.is_file() else 0
    return size * GZIP if path.suffix == ".gz" else size


@dataclass(frozen=True, kw_only=True)
class StreamedCorpus:
    """The training pairs of a file that is read as they are needed; ``divide`` makes one."""

    pair_stream: PairStream
    name: str
    sample: Corpus
    """Rows spread over all of train by a keyed draw; all of them where they are few."""
    fingerprint: str
    """As ``Corpus.fingerprint``."""
    in_train: bytes
    """1 for every row of the file that is on this side."""
    stamp: tuple[tuple[int, int], ...]
    """Sizes and times of the files when they were divided."""

    def __len__(self) -> int:
        return self.in_train.count(1)

    @property
    def sources(self) -> _Texts:
        """The sources, read from the file each time they are walked through."""
        return _Texts(self, 1)

    @property
    def tags(self) -> str | None:
        """As of a corpus."""
        return self.sample.tags

    @property
    def links(self) -> None:
        """None: links are held in memory."""

    @property
    def plain_sources(self) -> _Texts:
        """The sources without their tags."""
        return _Texts(self, 1, plain if self.tags is not None else str)

    @property
    def targets(self) -> _Texts:
        return _Texts(self, 2)

    def records(self) -> Iterator[Record]:
        """Line number, source, target of each row; DataError where the file has changed."""
        self._check_unchanged()
        yield from compress(self.pair_stream.records(), self.in_train)
        self._check_unchanged()

    def pairs(self) -> Iterator[tuple[str, str]]:
        """``(source, target)`` of every row."""
        return ((source, target) for _, source, target, _ in self.records())

    def _check_unchanged(self) -> None:
        if _stamp(self.pair_stream.path) != self.stamp:
            raise DataError(
                "the file has changed since training began to read it.",
                where=self.pair_stream.name,
                hint="begin the run again.",
            )

    def encoded(
        self, codec: PairCodec, folder: Path, on_long: OnLong
    ) -> tuple[TokenCache, Callable[[int], str]]:
        """The cache in ``folder``, verified if it is there, else built; row -> ``file:line``.

        Its name follows from pairs and codec, so another file or codec never meets it.

        Raises:
            DataError: the cache is damaged (names its file), or a pair is too long.
        """
        name = hashlib.sha256(
            "\0".join((self.fingerprint, codec_digest(codec), on_long)).encode()
        ).hexdigest()[:16]
        place = folder / CACHE / name
        if place.exists():
            cache = TokenCache.open(place)
            cache.verify()
        else:
            cache = self._build(place, codec, on_long)
        if len(cache) + cache.dropped != len(self) or cache.codec != codec_digest(codec):
            raise DataError(
                "this cache is not of these pairs.", where=str(place), hint="remove the folder."
            )
        return cache, partial(self._where, codec, bool(cache.dropped))

    def _build(self, place: Path, codec: PairCodec, on_long: OnLong) -> TokenCache:
        """Only this cache is there afterwards; where it fails, nothing is."""
        run = place.parent.parent
        discard(run)
        try:
            return TokenCache.build(place, codec, self.pairs(), on_long=on_long)
        except BaseException:
            discard(run)
            with suppress(OSError):  # not empty: there are checkpoints
                run.rmdir()
            raise

    def _where(self, codec: PairCodec, some_dropped: bool, row: int) -> str:
        """Walks to the row: messages are rare, and line numbers would be 8 bytes each."""

        def fits(record: Record) -> bool:
            coded = next(codec.encode_pairs([record[1:3]], on_long="drop"))
            return not isinstance(coded, int)

        kept = filter(fits, self.records()) if some_dropped else self.records()
        return f"{self.pair_stream.file}:{next(islice(kept, row, None))[0]}"


Train: TypeAlias = Corpus | StreamedCorpus
"""Training pairs, in memory or not: both have ``sources``, ``targets``, ``pairs()``, ``len``."""


class _Texts:
    """One column of a streamed corpus, as often as it is walked through."""

    def __init__(
        self, corpus: StreamedCorpus, column: int, look: Callable[[str], str] = str
    ) -> None:
        self._corpus, self._column, self._look = corpus, column, look

    def __iter__(self) -> Iterator[str]:
        records = self._corpus.records()
        return (self._look(str(record[self._column])) for record in records)


def sample_of(train: Train) -> Corpus:
    """Training pairs to look at in memory: the corpus, or the sample of a streamed one."""
    return train.sample if isinstance(train, StreamedCorpus) else train


def discard(folder: Path) -> None:
    """Takes away the cache of a run, and what a crash left of one."""
    shutil.rmtree(folder / CACHE, ignore_errors=True)


def divide(
    pairs: PairStream,
    seed: int = 0,
    *,
    dev: int | float | None = None,
    test: int | float | None = None,
) -> tuple[StreamedCorpus, Corpus, Corpus]:
    """Train, dev and test as ``Corpus.split`` makes them of the same file; train is not held.

    Raises:
        DataError, UsageError: as ``Corpus.split``; the file changes while it is read.
    """
    if pairs.options.links is not None or pairs.options.links_column is not None:
        raise UsageError(
            "links guide attention in training that is held in memory, and this corpus streams "
            "from disk.",
            hint="--data.stream false holds it in memory; or leave the links out.",
        )
    stamp = _stamp(pairs.path)
    positions = array("d", (position(source, seed) for _, source, *_ in pairs.records()))
    notes = pairs.notes
    if not positions:
        raise DataError("no pairs in it.", where=pairs.name, hint=" ".join(notes) or None)
    rates = Rates.for_sources(len(np.unique(np.frombuffer(positions))), dev=dev, test=test)
    marks = _marks(positions, rates, pairs.name)
    split = rates.dev > 0 or rates.test > 0
    gathered, fingerprint = _gather(pairs, marks)
    names = [f"{pairs.name} [{side}]" if split else pairs.name for side in _SIDES]
    held = [part.corpus(pairs, names[k], notes) for k, part in enumerate(gathered[:_SAMPLED])]
    complete = not marks.count(0)
    of_train = gathered[_SAMPLED].corpus(
        pairs, names[0] if complete else f"{pairs.name} [train, a sample]", notes
    )
    train = StreamedCorpus(
        pair_stream=pairs,
        name=names[0],
        sample=of_train,
        fingerprint=fingerprint,
        in_train=bytes(mark in (0, _SAMPLED) for mark in marks),
        stamp=stamp,
    )
    train._check_unchanged()
    return train, held[1], held[2]


def _stamp(path: Paths) -> tuple[tuple[int, int], ...]:
    paths = path if isinstance(path, tuple) else (path,)
    found = [Path(one).stat() for one in paths if Path(one).exists()]
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in found)


def _marks(positions: Sequence[float], rates: Rates, name: str) -> bytearray:
    """For every row its side, by the rule; ``_SAMPLED`` for a bounded part of train."""
    places = {side: place for place, side in enumerate(_SIDES)}
    marks = bytearray(places[rates.side_at(u)] for u in positions)
    wanted = {"train": 1.0, "dev": rates.dev, "test": rates.test}
    for place, side in enumerate(_SIDES):
        if wanted[side] > 0 and not marks.count(place):
            raise DataError(
                f"the split leaves no row for {side}.",
                where=name,
                hint="another seed, a larger share, or more data.",
            )
    view = np.frombuffer(marks, dtype=np.uint8)
    rows = np.flatnonzero(view == 0)
    if len(rows) > SAMPLE:
        ranks = draw(key("stream sample", 0), rows)
        rows = rows[np.argpartition(ranks, SAMPLE)[:SAMPLE]]
    view[rows] = _SAMPLED
    return marks


class _Part:
    """Rows that are kept as text."""

    def __init__(self) -> None:
        self.numbers = array("q")
        self.texts: tuple[list[str], list[str]] = ([], [])

    def append(self, record: Record) -> None:
        self.numbers.append(record[0])
        self.texts[0].append(record[1])
        self.texts[1].append(record[2])

    def corpus(self, pairs: PairStream, name: str, notes: tuple[str, ...]) -> Corpus:
        return Corpus(
            sources=tuple(self.texts[0]),
            targets=tuple(self.texts[1]),
            name=name,
            normalisation=pairs.options.normalise,
            notes=notes,
            line_numbers=self.numbers,
            file=pairs.file,
            tags=None if pairs.options.tags is None else pairs.options.tag_sep,
        )


def _gather(pairs: PairStream, marks: bytearray) -> tuple[list[_Part], str]:
    """By mark the rows that are kept as text; the fingerprint of all of train."""
    parts = [_Part() for _ in range(_SAMPLED + 1)]
    digest = hashlib.sha256()
    for mark, record in zip(marks, pairs.records(), strict=False):
        if mark:
            parts[mark].append(record)
        if mark in (0, _SAMPLED):
            digest.update(f"{record[1]}\0{record[2]}\0".encode())
    return parts, digest.hexdigest()
