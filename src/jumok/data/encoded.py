"""A pair of texts <-> two rows of ids: tokenizers, vocabularies and normal form as one record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from jumok.data.arrays import Growing, InMemory, PairData, collate, pad, shift
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

    def __post_init__(self) -> None:
        check_form(self.normalisation)
        for name in ("max_source", "max_target"):
            if getattr(self, name) < 2:
                raise ConfigError(
                    f"`{name}` must be at least 2 (a symbol and the end), but is "
                    f"{getattr(self, name)}."
                )

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
        return Source(ids_BS=ids_BS, mask_BS=mask_BS), tokens

    def encode_target(
        self, texts: Sequence[str], *, multiple: int = 1
    ) -> tuple[np.ndarray, np.ndarray, list[list[Token]]]:
        """(target_out_BT, target_mask_BT, tokens), EOS included; DataError as above."""
        tokens = [self.target_tokens(text) for text in texts]
        rows = _rows(tokens, self.target_vocabulary, "target", self.max_target)
        return *pad(rows, multiple), tokens

    def encode_batch(
        self, sources: Sequence[str], targets: Sequence[str]
    ) -> tuple[Batch, list[list[Token]], list[list[Token]]]:
        """Given pairs ready for ``forward``, with both sides' tokens: scoring, forced maps."""
        if len(sources) != len(targets):
            raise DataError(f"{len(sources)} sources, but {len(targets)} targets.")
        source, source_tokens = self.encode_source(sources)
        target_out_BT, target_mask_BT, target_tokens = self.encode_target(targets)
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
        self, ids_T: Iterable[int], *, fill: Mapping[int, str] | None = None
    ) -> tuple[str, list[Token]]:
        """(text, tokens with spans into that text) of output ids, up to and with EOS.

        One token for each id. ``fill`` puts a symbol in the place of an UNK, by position; an
        UNK left over is spelt U+FFFD. What is not a symbol of the text is ``special``.
        """
        ids = _until_end(ids_T)
        known = self.target_vocabulary.decode(ids)
        unknown = {k: (fill or {}).get(k, UNKNOWN_TEXT) for k, i in enumerate(ids) if i == UNK}
        spelt = [k for k, i in enumerate(ids) if i not in (PAD, BOS, EOS)]
        text, spans = self.target_tokenizer.join([unknown.get(k, known[k]) for k in spelt])
        places = dict(zip(spelt, spans, strict=True))
        tokens, end = [], 0
        for k, i in enumerate(ids):
            start, end = places.get(k, (end, end) if i != EOS else (len(text), len(text)))
            filled = i == UNK and fill is not None and k in fill
            shown = unknown[k] if filled else known[k]
            tokens.append(Token(shown, start, end, special=i < len(SPECIALS) and not filled))
        return text, tokens

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


class UnknownSymbols(NamedTuple):
    """Symbols without an id, with their counts, on either side."""

    source: Counter[str]
    target: Counter[str]


def encode_all(
    codec: PairCodec, pairs: Iterable[tuple[str, str]], *, on_long: OnLong = "refuse"
) -> InMemory:
    """Every pair as ids, in memory; what is too long is refused or named in ``dropped``."""
    source, target, dropped = Growing(), Growing(), list[int]()
    for row in codec.encode_pairs(pairs, on_long=on_long):
        if isinstance(row, int):
            dropped.append(row)
        else:
            source.append(row.source)
            target.append(row.target)
    return InMemory(source.done(), target.done(), tuple(dropped))


def _tokens(text: str, tokenizer: Tokenizer, form: Form) -> list[Token]:
    normal, offsets = normalise_with_map(text, form)
    tokens = tokenizer.tokens(normal)
    if normal != text:
        tokens = [Token(t.text, *raw_span(offsets, t.start, t.end)) for t in tokens]
    return [*tokens, Token(_END, len(text), len(text), special=True)]


def _rows(
    tokens: Sequence[Sequence[Token]], vocabulary: Vocabulary, side: str, limit: int
) -> list[list[int]]:
    rows = []
    for number, row in enumerate(tokens):
        rows.append([*vocabulary.ids_of(t.text for t in row[:-1]), EOS])
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
