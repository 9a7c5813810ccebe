"""Texts longer than a model takes, found before the first step: refused by line, or left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from jumok.data.corpus import Corpus
from jumok.data.encoded import OnLong, PairCodec
from jumok.data.tasks import TaskData
from jumok.data.text import normalise
from jumok.errors import DataError, UsageError

__all__ = ["refuse_long", "same_tags", "within_limits"]

MOST_SYMBOLS = 4
"""Symbols that one character can give: a piece for each of its bytes."""


@dataclass(frozen=True, kw_only=True)
class _Long:
    """A text that does not fit."""

    row: int
    side: str
    symbols: int
    """With the end symbol."""
    limit: int


def within_limits(
    corpora: TaskData,
    codec: PairCodec,
    on_long: OnLong,
    tell: Callable[[str], None],
    *,
    train: bool = True,
) -> TaskData:
    """``corpora`` without those pairs of dev and test that are too long; how many are, is told.

    Of dev and test the sources must fit; their targets are only compared with. What is too long
    in train is left out where it is encoded: here it is only told, or refused. ``train=False``
    leaves train alone, for a corpus that is streamed.

    Raises:
        DataError: something is too long and ``on_long`` is "refuse"; ``file:line`` of the first.
    """
    if train:
        _judge(corpora.train, _long(corpora.train, codec, ("source", "target")), on_long, tell)
    held = []
    for corpus in (corpora.dev, corpora.test):
        found = _long(corpus, codec, ("source",))
        _judge(corpus, found, on_long, tell)
        gone = {one.row for one in found}
        kept = (row for row in range(len(corpus)) if row not in gone)
        held.append(corpus.select(kept) if gone else corpus)
    return replace(corpora, dev=held[0], test=held[1])


def refuse_long(corpus: Corpus, codec: PairCodec, *, target: bool) -> None:
    """DataError with ``file:line`` for the first text that a trained model cannot take.

    ``target``: targets are read by the model too (scoring, aligning), not only compared with.
    """
    same_tags(corpus, codec)
    found = _long(corpus, codec, ("source", "target") if target else ("source",))
    if found:
        first = found[0]
        raise DataError(
            f"the {first.side} has {first.symbols:,} symbols with its end, but this model takes "
            f"{first.limit:,}.",
            where=corpus.where(first.row),
            hint=f"split it, or leave such pairs out ({len(found):,} of {len(corpus):,} here): "
            f"--max-characters {first.limit - 1} --skip-long",
        )


def same_tags(corpus: Corpus, codec: PairCodec) -> None:
    """Refuses pairs that have tags, or have none, where it is the other way with the model.

    Raises:
        UsageError: says which, and what names their column.
    """
    if codec.tags is None and corpus.tags is not None:
        raise UsageError(
            f"the model reads no tags, but those of {corpus.name} were asked for.",
            hint="leave out --tags-column, or train a model with it.",
        )
    if codec.tags is not None and corpus.tags not in (None, codec.tags):
        raise UsageError(
            f"the tags of {corpus.name} are read as separated by {corpus.tags!r}, those of the "
            f"model by {codec.tags!r}.",
            hint=f"--tag-sep {codec.tags!r}",
        )
    bare = codec.tags is not None and corpus.tags is None
    if bare and any("\t" not in source for source in corpus.sources if source):
        raise UsageError(
            f"the model reads tags, and the sources of {corpus.name} have none.",
            hint="--tags-column 3 names their column, or the source is lemma<TAB>tags itself.",
        )


def _long(corpus: Corpus, codec: PairCodec, sides: Sequence[str]) -> list[_Long]:
    """In order of rows; a row whose two texts are too long is named by its source."""
    found: dict[int, _Long] = {}
    if "target" in sides:
        found |= _of_side(corpus.targets, "target", codec)
    found |= _of_side(corpus.sources, "source", codec)
    return [found[row] for row in sorted(found)]


def _of_side(texts: Sequence[str], side: str, codec: PairCodec) -> dict[int, _Long]:
    tokenizer, limit = codec.source_tokenizer, codec.max_source
    if side == "target":
        tokenizer, limit = codec.target_tokenizer, codec.max_target
    found = {}
    for row, text in enumerate(texts):
        if MOST_SYMBOLS * len(text) + 2 <= limit:  # most texts: no need to cut them up
            continue
        symbols = len(tokenizer.symbols(normalise(text, codec.normalisation))) + 1
        if symbols > limit:
            found[row] = _Long(row=row, side=side, symbols=symbols, limit=limit)
    return found


def _judge(
    corpus: Corpus, found: Sequence[_Long], on_long: OnLong, tell: Callable[[str], None]
) -> None:
    if not found:
        return
    first = found[0]
    key = f"max_{first.side}"
    share = f"{len(found):,} of {len(corpus):,} pairs"
    if on_long == "refuse":
        raise DataError(
            f"the {first.side} has {first.symbols:,} symbols with its end, more than --data.{key} "
            f"({first.limit:,}).",
            where=corpus.where(first.row),
            hint=f"--data.on_long drop leaves such pairs out ({share} here), "
            f"--data.{key} {first.symbols} takes this one.",
        )
    tell(
        f"{corpus.name}: {share} {'is' if len(found) == 1 else 'are'} too long for the model and "
        "left out, as --data.on_long drop "
        f"says; the first: {corpus.where(first.row)}, a {first.side} of {first.symbols:,} symbols "
        f"(--data.{key})."
    )
