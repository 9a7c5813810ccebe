"""What a user should know of the data before training: leaks, ambiguity, unseen symbols."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jumok.data.corpus import Corpus
from jumok.data.groups import Ids, among, group, pair_ids, text_ids
from jumok.data.inventory import (
    Counts,
    Script,
    character_counts,
    is_control,
    is_mojibake,
    overlap,
    rows_holding,
    scripts,
)
from jumok.data.tags import tag_counts
from jumok.data.text import NearKey, is_nfc
from jumok.errors import DataError

__all__ = ["DataReport", "Held", "Lengths", "Part", "Suspicion", "Unseen", "report"]

SHOWN = 10
"""Examples kept of anything."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Lengths in characters."""

    median: int
    p95: int
    max: int


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """Rows that look damaged, and where the first of them are."""

    what: str
    rows: int
    where: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One corpus by itself."""

    name: str
    rows: int
    distinct_sources: int
    duplicate_rows: int
    """Rows that repeat an earlier pair exactly."""
    ambiguous_sources: int
    """Sources with several distinct targets."""
    ambiguous_examples: tuple[tuple[str, tuple[str, ...]], ...]
    ceiling: float
    """The best exact match that one answer per source can reach, each row counting alone."""
    identical_rows: int
    """Rows whose target is their source."""
    source_lengths: Lengths
    target_lengths: Lengths
    source_scripts: tuple[Script, ...]
    target_scripts: tuple[Script, ...]
    suspicions: tuple[Suspicion, ...]
    too_long_rows: int
    """Rows over the length that training takes; 0 where none was given."""
    max_length: int | None
    """That length, in characters."""


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Characters and words of a held-out side that training never shows."""

    symbols: tuple[tuple[str, int], ...]
    """The most frequent ones with their counts."""
    symbol_count: int
    """How many different ones there are."""
    rows: int
    """Rows that hold one."""
    words: float
    """Share of the words (between spaces) that do not occur in training."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A held-out corpus against training."""

    name: str
    rows: int
    leaked_rows: int
    """Rows whose source occurs in training."""
    leaked_pairs: int
    """Rows that occur in training as they are."""
    near_rows: int
    """Rows whose source occurs in training but for case, spaces and punctuation (leaks too)."""
    leak_examples: tuple[str, ...]
    """Where the first leaks are."""
    known_target_rows: int
    """Rows whose target occurs in training."""
    source_unseen: Unseen
    target_unseen: Unseen
    unseen_tags: tuple[tuple[str, int], ...]
    """Tags that training never shows, with their counts; none where sources have no tags."""
    swapped: bool
    """Source and target seem to have changed places."""


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What ``report`` found; ``data.wording`` says it in sentences."""

    parts: tuple[Part, ...]
    """train, then dev and test where given."""
    held: tuple[Held, ...]
    notes: tuple[str, ...]
    """What reading the files said."""

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, ready for JSON."""
        return {"schema": "jumok/1", **asdict(self)}


# -- one corpus -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Side:
    """The sources or the targets of a corpus, with what is counted once and used often."""

    texts: Sequence[str]
    whole: Sequence[str]
    """With the tags, where sources have any: what tells them apart."""
    ids: Ids
    lengths: Ids
    counts: Counts

    @classmethod
    def of(cls, texts: Sequence[str], whole: Sequence[str]) -> _Side:
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        return cls(
            texts=texts,
            whole=whole,
            ids=text_ids(whole),
            lengths=lengths,
            counts=character_counts(texts),
        )

    def summary(self) -> Lengths:
        if not len(self.lengths):
            return Lengths(median=0, p95=0, max=0)
        low, high = np.percentile(self.lengths, [50, 95], method="higher")
        return Lengths(median=int(low), p95=int(high), max=int(self.lengths.max()))


@dataclass(frozen=True, kw_only=True)
class _Measured:
    corpus: Corpus
    source: _Side
    target: _Side

    @classmethod
    def of(cls, corpus: Corpus) -> _Measured:
        source = _Side.of(corpus.plain_sources, corpus.sources)
        target = _Side.of(corpus.targets, corpus.targets)
        return cls(corpus=corpus, source=source, target=target)

    def sides(self) -> tuple[_Side, _Side]:
        return self.source, self.target


def _suspicion(what: str, rows: Sequence[int], corpus: Corpus) -> Suspicion:
    where = tuple(corpus.where(int(i)) for i in rows[:SHOWN])
    return Suspicion(what=what, rows=len(rows), where=where)


def _holding(data: _Measured, characters: set[str]) -> list[int]:
    found: set[int] = set()
    for side in data.sides():
        found.update(rows_holding(side.texts, characters & side.counts.keys()))
    return sorted(found)


def _rows_where(data: _Measured, test: Any) -> list[int]:
    pairs = zip(data.source.texts, data.target.texts, strict=True)
    return [i for i, (source, target) in enumerate(pairs) if test(source) or test(target)]


def _odd_ratios(data: _Measured) -> list[int]:
    """Rows whose lengths are out of proportion: five deviations off, and at least 3-fold."""
    if len(data.corpus) < 20:
        return []
    ratio = np.log((data.target.lengths + 1) / (data.source.lengths + 1))
    off = np.abs(ratio - np.median(ratio))
    limit = max(5 * 1.4826 * float(np.median(off)), math.log(3))
    rows = np.flatnonzero(off > limit)
    return [int(i) for i in rows[np.argsort(-off[rows], kind="stable")]]


def _suspicions(data: _Measured) -> tuple[Suspicion, ...]:
    seen = set(data.source.counts) | set(data.target.counts)
    tests = {
        "hold U+FFFD, what is left of characters that could not be decoded": _holding(
            data, {"\ufffd"}
        ),
        "look like UTF-8 read as Latin-1 or Windows-1252": (
            _rows_where(data, is_mojibake) if any("\u00c2" <= c <= "\u00f4" for c in seen) else []
        ),
        "hold control characters": _holding(data, {c for c in seen if is_control(c)}),
        "begin or end with white space": _rows_where(data, lambda t: t != t.strip()),
        "are not in NFC, so that equal letters may be different symbols": (
            _rows_where(data, lambda t: not is_nfc(t))
            if data.corpus.normalisation == "none"
            else []
        ),
        "have a target out of proportion to the source": _odd_ratios(data),
    }
    return tuple(_suspicion(what, rows, data.corpus) for what, rows in tests.items() if rows)


def _examples(data: _Measured, rows: Ids) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for row in rows[:3]:
        same = np.flatnonzero(data.source.ids == data.source.ids[row])[:1000]
        targets = dict.fromkeys(data.target.texts[i] for i in same)
        found.append((data.source.whole[row], tuple(targets)[:SHOWN]))
    return tuple(found)


def _part(data: _Measured, max_length: int | None) -> Part:
    groups = group(data.source.ids, data.target.ids)
    longest = np.maximum(data.source.lengths, data.target.lengths)
    return Part(
        name=data.corpus.name,
        rows=groups.rows,
        distinct_sources=groups.distinct_sources,
        duplicate_rows=groups.rows - groups.distinct_pairs,
        ambiguous_sources=len(groups.ambiguous),
        ambiguous_examples=_examples(data, groups.ambiguous),
        ceiling=groups.best_rows / groups.rows if groups.rows else 1.0,
        identical_rows=sum(map(str.__eq__, data.source.texts, data.target.texts)),
        source_lengths=data.source.summary(),
        target_lengths=data.target.summary(),
        source_scripts=scripts(data.source.counts),
        target_scripts=scripts(data.target.counts),
        suspicions=_suspicions(data),
        too_long_rows=0 if max_length is None else int((longest > max_length).sum()),
        max_length=max_length,
    )


# -- held out against train -------------------------------------------------------------------


def _unseen(held: _Side, train: _Side, train_words: set[str]) -> Unseen:
    new = {c: n for c, n in held.counts.items() if c not in train.counts}
    total = known = 0
    for text in held.texts:
        words = text.split()
        total += len(words)
        known += sum(word in train_words for word in words)
    return Unseen(
        symbols=tuple(new.items())[:SHOWN],
        symbol_count=len(new),
        rows=len(rows_holding(held.texts, new)),
        words=1 - known / total if total else 0.0,
    )


def _words(texts: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for text in texts:
        found.update(text.split())
    return found


@dataclass(frozen=True, kw_only=True)
class _Training:
    """What a held-out corpus is compared with, made once for dev and test."""

    data: _Measured
    sources: Ids
    targets: Ids
    pairs: Ids
    near: Ids
    """All four sorted."""
    near_key: NearKey
    words: tuple[set[str], set[str]]

    @classmethod
    def of(cls, data: _Measured) -> _Training:
        key = NearKey()
        return cls(
            data=data,
            sources=np.sort(data.source.ids),
            targets=np.sort(data.target.ids),
            pairs=np.sort(pair_ids(data.source.ids, data.target.ids)),
            near=np.sort(text_ids([key(s) for s in data.source.whole])),
            near_key=key,
            words=(_words(data.source.texts), _words(data.target.texts)),
        )


def _known(texts: Sequence[str], words: set[str]) -> float:
    """Share of the words of ``texts`` that are among ``words``."""
    found = [word in words for text in texts[:2000] for word in text.split()]
    return sum(found) / len(found) if found else 0.0


def _swapped(held: _Measured, train: _Training) -> bool:
    """Whether held-out sources look like training targets and the reverse.

    By characters (another script) or by words (another language in the same script).
    """
    a, b, x, y = (s.counts for s in (*held.sides(), *train.data.sides()))
    letters = overlap(a, y) + overlap(b, x) - overlap(a, x) - overlap(b, y)
    (source, target), (sources, targets) = held.sides(), train.words
    words = _known(source.texts, targets) + _known(target.texts, sources)
    words -= _known(source.texts, sources) + _known(target.texts, targets)
    return letters > 0.5 or words > 0.5


def _held(held: _Measured, train: _Training) -> Held:
    leaked = among(held.source.ids, train.sources)
    near = among(text_ids([train.near_key(s) for s in held.source.whole]), train.near)
    pairs = pair_ids(held.source.ids, held.target.ids)
    return Held(
        name=held.corpus.name,
        rows=len(held.corpus),
        leaked_rows=int(leaked.sum()),
        leaked_pairs=int(among(pairs, train.pairs).sum()),
        near_rows=int((near | leaked).sum()),
        leak_examples=tuple(held.corpus.where(int(i)) for i in np.flatnonzero(leaked)[:SHOWN]),
        known_target_rows=int(among(held.target.ids, train.targets).sum()),
        source_unseen=_unseen(held.source, train.data.source, train.words[0]),
        target_unseen=_unseen(held.target, train.data.target, train.words[1]),
        unseen_tags=_unseen_tags(held.corpus, train.data.corpus),
        swapped=_swapped(held, train),
    )


def _unseen_tags(held: Corpus, train: Corpus) -> tuple[tuple[str, int], ...]:
    if train.tags is None or held.tags is None:
        return ()
    known, met = tag_counts(train.sources, train.tags), tag_counts(held.sources, held.tags)
    return tuple((tag, n) for tag, n in met.most_common() if tag not in known)[:SHOWN]


def report(
    train: Corpus,
    dev: Corpus | None = None,
    test: Corpus | None = None,
    *,
    max_length: int | None = None,
) -> DataReport:
    """Duplicates, ambiguity, damage of each corpus; leaks and unseen symbols of dev and test.

    ``max_length``: characters that training takes; longer rows are counted.
    Texts are told apart by 64-bit hashes, so that a million rows need no second copy.

    Raises:
        DataError: ``train`` is empty.
    """
    if not len(train):
        raise DataError("there are no pairs to train on.", where=train.name)
    measured = [_Measured.of(c) for c in (train, dev, test) if c is not None]
    training = _Training.of(measured[0]) if len(measured) > 1 else None
    notes = dict.fromkeys(note for data in measured for note in data.corpus.notes)
    return DataReport(
        parts=tuple(_part(data, max_length) for data in measured),
        held=tuple(_held(data, training) for data in measured[1:] if training),
        notes=tuple(notes),
    )
