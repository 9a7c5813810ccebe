"""The pairs that a command line names: files, parallel files, built-in tasks, three ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jumok.data.corpus import Corpus, load, parse_columns, stream
from jumok.data.encoded import PairCodec
from jumok.data.options import Paths, parse_column
from jumok.data.report import DataReport, report
from jumok.data.split import MIN_SOURCES, distinct_sources
from jumok.data.tasks import TaskData, parse
from jumok.data.text import Form
from jumok.data.units import choose_unit
from jumok.errors import UsageError
from jumok.interfaces.options import Reading
from jumok.interfaces.requests import DataRequest
from jumok.interfaces.streaming import StreamedCorpus, divide, streams

__all__ = [
    "describe",
    "is_task",
    "read_pairs",
    "report_on",
    "sample_note",
    "streamed_ways",
    "three_ways",
]

MOST_CHARACTERS = PairCodec.max_source - 1
"""Of a text that training takes, where characters are the symbols; the end is one more."""
NO_OPTIONS: Mapping[str, Any] = {}


def is_task(data: Sequence[str]) -> bool:
    """``("@dates",)`` names a built-in task."""
    return len(data) == 1 and data[0].startswith("@")


def read_pairs(
    data: Sequence[str],
    reading: Reading,
    *,
    form: Form = "NFC",
    links: Mapping[str, Any] = NO_OPTIONS,
) -> Corpus:
    """One file of pairs or two parallel files; of a built-in task its test pairs.

    ``links``: where those of the pairs are, as ``load`` is told.
    """
    if not data:
        raise UsageError(
            "which pairs? Name a file of pairs, two parallel files, or a built-in task.",
            hint="such as pairs.tsv, or - for standard input, or @dates",
        )
    if is_task(data):
        return parse(data[0])().test
    return load(_paths(data), **_how(reading, form), **links)


def _paths(data: Sequence[str]) -> Paths:
    return data[0] if len(data) == 1 else (data[0], data[1])


def _how(reading: Reading, form: Form) -> dict[str, Any]:
    """The keywords of ``load`` and of ``stream``."""
    return {
        "columns": parse_columns(reading.columns),
        "header": reading.header,
        "sep": reading.sep,
        "encoding": reading.encoding,
        "normalise": form,
        "on_bad": "skip" if reading.skip_bad else "refuse",
        "on_long": "skip" if reading.skip_long else "refuse",
        "max_length": reading.max_characters or None,
        "empty": "keep" if reading.keep_empty else "refuse",
        "strip": reading.strip,
        "format": reading.format,
        "tags": None if reading.tags_column is None else parse_column(reading.tags_column),
        "tag_sep": reading.tag_sep,
    }


def three_ways(
    data: Sequence[str],
    dev: Sequence[str],
    test: Sequence[str],
    reading: Reading,
    *,
    seed: int = 0,
    form: Form = "NFC",
    task_options: Mapping[str, Any] = NO_OPTIONS,
    links: Mapping[str, Any] = NO_OPTIONS,
) -> TaskData:
    """Train, dev and test: what is not given is held out of ``data`` by a hash of the source.

    With dev and no test given, nothing is held out: who names dev wants all of ``data`` trained
    on, and the score at the end is dev's, called what it is.
    """
    if is_task(data):
        if links:
            raise UsageError(f"links are given for files of pairs, and {data[0]} is none.")
        made = parse(data[0])(**task_options)
        return TaskData(
            train=made.train,
            dev=read_pairs(dev, reading, form=form) if dev else made.dev,
            test=read_pairs(test, reading, form=form) if test else made.test,
            extra=made.extra,
            about=made.about,
        )
    whole = read_pairs(data, reading, form=form, links=links)
    given = [read_pairs(side, reading, form=form) if side else None for side in (dev, test)]
    return _divided(whole, given[0], given[1], seed)


def streamed_ways(
    data: Sequence[str],
    dev: Sequence[str],
    test: Sequence[str],
    reading: Reading,
    *,
    seed: int = 0,
    form: Form = "NFC",
    links: Mapping[str, Any] = NO_OPTIONS,
) -> tuple[TaskData, StreamedCorpus]:
    """As ``three_ways`` for files; of train there is a sample in memory, and the stream."""
    given = [read_pairs(side, reading, form=form) if side else None for side in (dev, test)]
    sizes = _held_out(given[0] is not None, given[1] is not None)
    whole = stream(_paths(data), **_how(reading, form), **links)
    train, held_dev, held_test = divide(whole, seed, **sizes)
    made = TaskData(
        train=train.sample,
        dev=held_dev if given[0] is None else given[0],
        test=held_test if given[1] is None else given[1],
        about=f"pairs of {whole.name}",
    )
    return made, train


def _divided(whole: Corpus, dev: Corpus | None, test: Corpus | None, seed: int) -> TaskData:
    """``whole`` without what must be held out of it."""
    train, held_dev, held_test = whole, whole[:0], whole[:0]
    if dev is None:
        sizes = _held_out(dev is not None, test is not None)
        train, held_dev, held_test = whole.split(seed, **sizes)
    return TaskData(
        train=train,
        dev=held_dev if dev is None else dev,
        test=held_test if test is None else test,
        about=f"pairs of {whole.name}",
    )


def _held_out(dev: bool, test: bool) -> dict[str, int | None]:
    """Sizes for a split where dev and test are given or not: 0 is no such side, None the rule's."""
    return {"dev": 0 if dev else None, "test": 0 if dev or test else None}


def describe(request: DataRequest) -> DataReport:
    """What ``jumok data`` shows; data too few to be split are described whole."""
    if is_task(request.data):
        return _described(three_ways(request.data, request.dev, request.test, request.reading))
    if streams(request.data, None):
        ways = (request.data, request.dev, request.test, request.reading)
        made, train = streamed_ways(*ways, seed=request.seed)
        return _described(made, len(train))
    whole = read_pairs(request.data, request.reading)
    sides = (request.dev, request.test)
    given = [read_pairs(side, request.reading) if side else None for side in sides]
    if given[0] is None and distinct_sources(whole.sources) < MIN_SOURCES:
        found = report(whole, given[0], given[1], max_length=MOST_CHARACTERS)
        note = f"too few to be split: training wants {MIN_SOURCES} sources, or --dev FILE."
        return replace(found, notes=(*found.notes, note))
    return _described(_divided(whole, given[0], given[1], request.seed))


def report_on(made: TaskData, *, max_length: int | None = None) -> DataReport:
    """The report on train and on what is held out, if anything is."""
    held = [corpus if len(corpus) else None for corpus in (made.dev, made.test)]
    return report(made.train, *held, max_length=max_length)


def sample_note(looked_at: int, rows: int) -> str:
    """What is said where train is too large to be held."""
    return (
        f"of {rows:,} training pairs a sample of {looked_at:,} is looked at: the report, the "
        "choice of units and the answers without training go by it."
    )


def _described(made: TaskData, rows: int | None = None) -> DataReport:
    """The report, and the symbols that training would choose.

    ``rows``: of train in all, where ``made`` has a sample of it.
    """
    rows = len(made.train) if rows is None else rows
    found = report_on(made, max_length=MOST_CHARACTERS)
    chosen = [
        f"jumok train would take the {side}'s symbols to be {unit}, because {reason}."
        for side, texts in (("source", made.train.plain_sources), ("target", made.train.targets))
        for unit, _, reason in [choose_unit(texts, rows)]
    ]
    sample = [sample_note(len(made.train), rows)] if rows > len(made.train) else []
    return replace(found, notes=(*sample, *found.notes, *chosen))
