"""A codec from training text: tokenizers learnt where the unit needs it, symbols counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain

from jumok.data.encoded import PairCodec
from jumok.data.subwords import SentencePiece
from jumok.data.tags import Tagged, check_separator, is_tag, plain
from jumok.data.text import Form, normalise
from jumok.data.tokenizers import Tokenizer, make
from jumok.data.vocabulary import Vocabulary, count_symbols

__all__ = ["build_codec", "build_tokenizer", "build_vocabulary"]

SUBWORDS = 4000
"""Pieces that are learnt where no size is given."""


def build_codec(
    sources: Iterable[str],
    targets: Iterable[str],
    *,
    source_unit: str = "character",
    target_unit: str = "character",
    source_size: int | None = None,
    target_size: int | None = None,
    shared: bool = False,
    min_count: int = 1,
    normalisation: Form = "NFC",
    max_source: int = 1024,
    max_target: int = 1024,
    seed: int = 0,
    tags: str | None = None,
) -> PairCodec:
    """The codec of a training corpus. Give it training text only, of which it makes two passes.

    Args:
        sources, targets: texts; anything that can be walked through more than once.
        source_size, target_size: subword pieces to learn (bpe, unigram), or the most symbols of
            the vocabulary (other units); None is 4,000 pieces, or every symbol.
        shared: one tokenizer and one vocabulary of both sides' text (source's unit and size),
            as copying needs.
        min_count: rarer symbols are unknown; a tag is known however rare it is.
        tags: what separates the tags of a source, ``lemma<TAB>tags``; None: sources have none.
    """

    def side(texts: Iterable[str], unit: str, size: int | None) -> tuple[Tokenizer, Vocabulary]:
        normal = _Seen(texts, partial(normalise, form=normalisation))
        tokenizer = build_tokenizer(normal, unit, size, seed)
        return tokenizer, build_vocabulary(normal, tokenizer, min_count, size)

    lemmas = sources if tags is None else _Seen(sources, plain)
    if shared:
        source = target = side(_Both(lemmas, targets), source_unit, source_size)
    else:
        source = side(lemmas, source_unit, source_size)
        target = side(targets, target_unit, target_size)
    if tags is not None:
        tagged = Tagged(source[0], check_separator(tags))
        vocabulary = _with_tags(
            source[1], tagged, _Seen(sources, partial(normalise, form=normalisation))
        )
        source = tagged, vocabulary
        target = (target[0], vocabulary) if shared else target
    return PairCodec(
        source_tokenizer=source[0],
        target_tokenizer=target[0],
        source_vocabulary=source[1],
        target_vocabulary=target[1],
        normalisation=normalisation,
        max_source=max_source,
        max_target=max_target,
    )


def build_tokenizer(
    texts: Iterable[str], unit: str, size: int | None = None, seed: int = 0
) -> Tokenizer:
    """The tokenizer of a unit, learnt from ``texts`` (normalised already) where it is learnt."""
    match unit:
        case "bpe" | "unigram":
            return SentencePiece.train(texts, unit=unit, size=size or SUBWORDS, seed=seed)
        case _:
            return make(unit)


def build_vocabulary(
    texts: Iterable[str], tokenizer: Tokenizer, min_count: int = 1, size: int | None = None
) -> Vocabulary:
    """The symbols of ``texts`` (normalised already), the tokenizer's own alphabet included."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenizer.symbols(text))
    alphabet = tokenizer.alphabet()
    if not alphabet:
        return Vocabulary.build(counts, min_count=min_count, max_size=size)
    return Vocabulary.build({piece: counts[piece] for piece in alphabet}, min_count=0)


def _with_tags(vocabulary: Vocabulary, tagged: Tagged, sources: Iterable[str]) -> Vocabulary:
    """``vocabulary`` with every tag of ``sources`` behind its symbols."""
    counts = count_symbols(filter(is_tag, tagged.symbols(text)) for text in sources)
    return vocabulary.grow(counts)


class _Seen:
    """Texts through a function (their normal form), each time they are walked through."""

    def __init__(self, texts: Iterable[str], look: Callable[[str], str]) -> None:
        self._texts, self._look = texts, look

    def __iter__(self) -> Iterator[str]:
        return map(self._look, self._texts)


class _Both:
    def __init__(self, first: Iterable[str], second: Iterable[str]) -> None:
        self._first, self._second = first, second

    def __iter__(self) -> Iterator[str]:
        return chain(self._first, self._second)
