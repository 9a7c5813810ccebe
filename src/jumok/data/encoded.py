"""A pair of texts <-> two rows of ids: tokenizers, vocabularies and normal form as one record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from jumok.data.arrays import Copies, Growing, InMemory, PairData, collate, pad, shift
from jumok.data.copying import copy_ids, extra_width, ids_with, own_symbols, symbols_with
from jumok.data.tags import is_tag, name_of
from jumok.data.text import Form, check_form, normalise, normalise_with_map, raw_span
from jumok.data.tokenizers import Tokenizer
from jumok.data.vocabulary import Vocabulary
from jumok.errors import ConfigError, DataError
from jumok.records import BOS, EOS, PAD, SPECIALS, UNK, Batch, Source, Token

__all__ = [
    "EncodedRow",
    "InMemory",
    "OnLong",
    "PairCodec",
    "PairData",
    "collate",
    "encode_all",
]

OnLong = Literal["refuse", "drop"]
UNKNOWN_TEXT = "\ufffd"
"""What stands in the output for an UNK that nobody replaced (U+FFFD)."""
_END = SPECIALS[EOS]


class EncodedRow(NamedTuple):
    """The ids of one pair, EOS at the end of both; ``row`` counts the pairs as they came."""

    row: int
    source: list[int]
    target: list[int]
    copies: list[int] | None = None
    """What copying each source symbol writes; None where the model does not copy."""


@dataclass(frozen=True, kw_only=True)
class PairCodec:
    """All that lies between text and ids; saved with the model (``codec_files.py``).

    ``max_source`` and ``max_target`` count symbols with the end symbol. A longer text is
    refused, or left out and counted; never cut.
    """

    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    normalisation: Form = "NFC"
    max_source: int = 1024
    max_target: int = 1024
    copies: bool = False
    """The model copies: source symbols that the target lacks have ids beyond V (``copying.py``)."""

    def __post_init__(self) -> None:
        check_form(self.normalisation)
        for name in ("max_source", "max_target"):
            if getattr(self, name) < 2:
                raise ConfigError(
                    f"`{name}` must be at least 2 (a symbol and the end), but is "
                    f"{getattr(self, name)}."
                )

    @property
    def tags(self) -> str | None:
        """What separates the tags of a source, ``lemma<TAB>tags``; None: it reads no tags."""
        separator = self.source_tokenizer.to_dict().get("tags")
        return None if separator is None else str(separator)

    def encode_source(
        self, texts: Sequence[str], *, multiple: int = 1
    ) -> tuple[Source, list[list[Token]]]:
        """Ids with EOS and, row by row, their tokens with spans into the raw texts.

        Raises:
            DataError: a text is longer than ``max_source``; names it by number, from 1.
        """
        tokens = [self.source_tokens(text) for text in texts]
        rows = _rows(tokens, self.source_vocabulary, "source", self.max_source)
        ids_BS, mask_BS = pad(rows, multiple)
        source = Source(ids_BS=ids_BS, mask_BS=mask_BS)
        if self.copies:
            copies = [copy_ids(_texts(row), self.target_vocabulary) for row in tokens]
            copy_ids_BS, _ = pad(copies, multiple)
            extra = extra_width(copy_ids_BS, len(self.target_vocabulary))
            source = replace(source, copy_ids_BS=copy_ids_BS, extra=extra)
        return source, tokens

    def encode_target(
        self, texts: Sequence[str], *, multiple: int = 1, own: Sequence[Sequence[str]] = ()
    ) -> tuple[np.ndarray, np.ndarray, list[list[Token]]]:
        """(target_out_BT, target_mask_BT, tokens), EOS included; DataError as above.

        ``own`` are the symbols of each text's source that can be copied (``own``).
        """
        tokens = [self.target_tokens(text) for text in texts]
        rows = _rows(tokens, self.target_vocabulary, "target", self.max_target, own)
        return *pad(rows, multiple), tokens

    def own(self, source_tokens: Sequence[Token]) -> tuple[str, ...]:
        """What a source has to copy that the target's vocabulary lacks, V + k the k-th."""
        return own_symbols(_texts(source_tokens), self.target_vocabulary) if self.copies else ()

    def target_ids(self, target_tokens: Sequence[Token], own: Sequence[str] = ()) -> np.ndarray:
        """The ids of a target's tokens (its end symbol last); ``own`` as above."""
        return np.array([*ids_with(_texts(target_tokens), self.target_vocabulary, own), EOS])

    def encode_batch(
        self, sources: Sequence[str], targets: Sequence[str]
    ) -> tuple[Batch, list[list[Token]], list[list[Token]]]:
        """Given pairs ready for ``forward``, with both sides' tokens: scoring, forced maps."""
        if len(sources) != len(targets):
            raise DataError(f"{len(sources)} sources, but {len(targets)} targets.")
        source, source_tokens = self.encode_source(sources)
        own = [self.own(row) for row in source_tokens]
        target_out_BT, target_mask_BT, target_tokens = self.encode_target(targets, own=own)
        batch = Batch(
            source=source,
            target_in_BT=shift(target_out_BT, target_mask_BT),
            target_out_BT=target_out_BT,
            target_mask_BT=target_mask_BT,
            example_B=np.arange(len(sources), dtype=np.int64),
        )
        return batch, source_tokens, target_tokens

    def source_tokens(self, text: str) -> list[Token]:
        """The tokens of a source with spans into ``text`` as given; the end symbol is last."""
        return _tokens(text, self.source_tokenizer, self.normalisation)

    def target_tokens(self, text: str) -> list[Token]:
        """The same for a target."""
        return _tokens(text, self.target_tokenizer, self.normalisation)

    def decode(
        self,
        ids_T: Iterable[int],
        *,
        fill: Mapping[int, str] | None = None,
        own: Sequence[str] = (),
    ) -> tuple[str, list[Token]]:
        """(text, tokens with spans into that text) of output ids, up to and with EOS.

        One token for each id. ``fill`` puts a symbol in the place of an UNK, by position; an
        UNK left over is spelt U+FFFD. What is not a symbol of the text is ``special``. ``own``
        are the source's symbols that ids beyond V stand for.
        """
        ids = _until_end(ids_T)
        known = self.symbols(ids, own)
        spelless = (k for k, i in enumerate(ids) if i == UNK or is_tag(known[k]))
        unknown = {k: (fill or {}).get(k, UNKNOWN_TEXT) for k in spelless}
        spelt = [k for k, i in enumerate(ids) if i not in (PAD, BOS, EOS)]
        text, spans = self.target_tokenizer.join([unknown.get(k, known[k]) for k in spelt])
        places = dict(zip(spelt, spans, strict=True))
        tokens, end = [], 0
        for k, i in enumerate(ids):
            start, end = places.get(k, (end, end) if i != EOS else (len(text), len(text)))
            filled = i == UNK and fill is not None and k in fill
            shown = unknown[k] if filled else name_of(known[k])
            tokens.append(Token(shown, start, end, special=i < len(SPECIALS) and not filled))
        return text, tokens

    def symbols(self, ids: Iterable[int], own: Sequence[str] = ()) -> list[str]:
        """The symbol of each output id; ``own`` as in ``decode``."""
        return symbols_with(ids, self.target_vocabulary, own)

    def unknown(self, sources: Iterable[str], targets: Iterable[str] = ()) -> UnknownSymbols:
        """Which symbols of these texts the model does not know, and how often they occur."""
        found = UnknownSymbols(Counter(), Counter())
        for text in sources:
            symbols = self.source_tokenizer.symbols(normalise(text, self.normalisation))
            found.source.update(self.source_vocabulary.unknown(symbols))
        for text in targets:
            symbols = self.target_tokenizer.symbols(normalise(text, self.normalisation))
            found.target.update(self.target_vocabulary.unknown(symbols))
        return found

    def encode_pairs(
        self, pairs: Iterable[tuple[str, str]], *, on_long: OnLong = "refuse"
    ) -> Iterator[EncodedRow | int]:
        """Rows of ids one by one; a bare row number stands for a pair left out as too long.

        Raises:
            DataError: a pair is too long and ``on_long`` is "refuse".
        """
        form = self.normalisation
        from_source, from_target = self.source_tokenizer.symbols, self.target_tokenizer.symbols
        source_ids, target_ids = self.source_vocabulary.ids_of, self.target_vocabulary.ids_of
        for row, (source, target) in enumerate(pairs):
            if self.copies:
                coded = self._copying(row, normalise(source, form), normalise(target, form))
            else:
                coded = EncodedRow(
                    row,
                    [*source_ids(from_source(normalise(source, form))), EOS],
                    [*target_ids(from_target(normalise(target, form))), EOS],
                )
            if len(coded.source) <= self.max_source and len(coded.target) <= self.max_target:
                yield coded
            elif on_long == "drop":
                yield row
            else:
                _check_length(coded.source, "source", row, self.max_source)
                _check_length(coded.target, "target", row, self.max_target)

    def _copying(self, row: int, source: str, target: str) -> EncodedRow:
        symbols = list(self.source_tokenizer.symbols(source))
        vocabulary = self.target_vocabulary
        own = own_symbols(symbols, vocabulary)
        return EncodedRow(
            row,
            [*self.source_vocabulary.ids_of(symbols), EOS],
            [*ids_with(self.target_tokenizer.symbols(target), vocabulary, own), EOS],
            copy_ids(symbols, vocabulary),
        )


class UnknownSymbols(NamedTuple):
    """Symbols without an id, with their counts, on either side."""

    source: Counter[str]
    target: Counter[str]


def encode_all(
    codec: PairCodec, pairs: Iterable[tuple[str, str]], *, on_long: OnLong = "refuse"
) -> InMemory:
    """Every pair as ids, in memory; what is too long is refused or named in ``dropped``."""
    source, target, copies, dropped = Growing(), Growing(), Growing(), list[int]()
    for row in codec.encode_pairs(pairs, on_long=on_long):
        if isinstance(row, int):
            dropped.append(row)
        else:
            source.append(row.source)
            target.append(row.target)
            if row.copies is not None:
                copies.append(row.copies)
    return InMemory(
        source.done(),
        target.done(),
        tuple(dropped),
        Copies(copies.done(), len(codec.target_vocabulary)) if codec.copies else None,
    )


def _tokens(text: str, tokenizer: Tokenizer, form: Form) -> list[Token]:
    normal, offsets = normalise_with_map(text, form)
    tokens = tokenizer.tokens(normal)
    if normal != text:
        tokens = [Token(t.text, *raw_span(offsets, t.start, t.end)) for t in tokens]
    return [*tokens, Token(_END, len(text), len(text), special=True)]


def _texts(tokens: Sequence[Token]) -> list[str]:
    """The symbols of a text, without its end."""
    return [token.text for token in tokens[:-1]]


def _rows(
    tokens: Sequence[Sequence[Token]],
    vocabulary: Vocabulary,
    side: str,
    limit: int,
    own: Sequence[Sequence[str]] = (),
) -> list[list[int]]:
    rows = []
    for number, row in enumerate(tokens):
        beyond = own[number] if own else ()
        rows.append([*ids_with(_texts(row), vocabulary, beyond), EOS])
        _check_length(rows[-1], side, number, limit)
    return rows


def _check_length(ids: Sequence[int], side: str, row: int, limit: int) -> None:
    if len(ids) > limit:
        raise DataError(
            f"the {side} of pair {row + 1} has {len(ids)} symbols with its end, but "
            f"`max_{side}` is {limit}.",
            hint=f"split the text, leave such pairs out, or raise `max_{side}`.",
        )


def _until_end(ids_T: Iterable[int]) -> list[int]:
    ids: list[int] = []
    for i in ids_T:
        ids.append(int(i))
        if i == EOS:
            break
    return ids
