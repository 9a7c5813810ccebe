"""Subwords learnt by sentencepiece (BPE, unigram) in a bounded, seeded, single-threaded way.

Sentencepiece is given the text as it is (identity normalisation), except that characters that
mean something to it are escaped, so that every text comes back and no text can spell one of its
own symbols. Its ids are not used: a piece is a symbol of our vocabulary like any other.
"""

from __future__ import annotations

import codecs
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from jumok.data.counter import draw, key
from jumok.errors import ConfigError
from jumok.records import Token

__all__ = ["SentencePiece"]

Algorithm = Literal["bpe", "unigram"]
_MODEL = "spm.model"
_SPACE = "\u2581"
_NAMES = {"\\": "\\", _SPACE: "_", "<": "l", "\0": "0", "\t": "t", "\n": "n", "\r": "r"}
_NAMES["\u2585"] = "u"  # how sentencepiece marks what it does not know
_ESCAPES = str.maketrans({c: "\\" + name for c, name in _NAMES.items()})
_UNESCAPES = {name: c for c, name in _NAMES.items()}
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_NUM_BYTES = 256
_RARE = 0.0005
"""The share of running text whose characters are spelt in bytes where the alphabet is large."""
_MOST_CHARACTERS = 50_000_000
"""Text that training looks at; of more, a keyed sample of rows."""


@dataclass(frozen=True)
class SentencePiece:
    """Pieces of words; ``\u2581`` is a space, and there is one before the text.

    Characters that were not in the training text become one unknown symbol for each run of
    them, or, where the alphabet is large (``train``), symbols for their UTF-8 bytes.
    """

    unit: Algorithm
    model: bytes = field(repr=False)
    """The file as sentencepiece wrote it."""

    @classmethod
    def train(
        cls, texts: Iterable[str], *, unit: Algorithm = "bpe", size: int = 4000, seed: int = 0
    ) -> SentencePiece:
        """Learn at most ``size`` pieces; the same texts and seed give the same bytes.

        Every character becomes a piece. Where they are more than half of ``size``, the rarest
        (0.05% of the running text) are spelt in bytes instead, and ``size`` is raised, if need
        be, to twice the characters that are left.

        Raises:
            ConfigError: there is no text, or sentencepiece refuses.
        """
        sample, counts = _sample(texts, key("subwords", seed))
        if not sample:
            raise ConfigError(f"the unit {unit} cannot be learnt: there is no text.")
        use_bytes = 2 * len(counts) > size
        if use_bytes:
            size = max(size, 2 * len(_common(counts)) + _NUM_BYTES)
        return cls(unit, _train(sample, unit, size, use_bytes))

    @cached_property
    def _processor(self) -> Any:
        from sentencepiece import SentencePieceProcessor

        try:
            return SentencePieceProcessor(model_proto=self.model)
        except RuntimeError as error:
            raise ConfigError(f"{_MODEL} is not a sentencepiece model ({error}).") from None

    def symbols(self, text: str) -> list[str]:
        escaped = text.translate(_ESCAPES)
        pieces: list[str] = self._processor.encode(escaped, out_type=str)
        return pieces if text else []

    def tokens(self, text: str) -> list[Token]:
        symbols = self.symbols(text)
        spans = self.join(symbols)[1]
        return [Token(s, *span) for s, span in zip(symbols, spans, strict=True)]

    def join(self, symbols: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
        spelt = _unescaped(_spelt(symbols))
        if spelt and symbols[0].startswith(_SPACE):
            spelt = spelt[1:]
        text = "".join(s.text for s in spelt)
        return text, _spans(spelt, text, len(symbols))

    def detokenize(self, symbols: Sequence[str]) -> str:
        return self.join(symbols)[0]

    def alphabet(self) -> list[str]:
        """Every piece it can give for known characters, bytes included."""
        processor = self._processor
        return [processor.id_to_piece(i) for i in range(1, processor.get_piece_size())]

    def to_dict(self) -> dict[str, object]:
        return {"unit": self.unit}

    def files(self) -> dict[str, bytes]:
        return {_MODEL: self.model}

    @classmethod
    def restore(cls, record: Mapping[str, object], files: Mapping[str, bytes]) -> SentencePiece:
        """From ``to_dict()`` and ``files()``; ConfigError where they do not fit."""
        unit = record.get("unit")
        extra = sorted({*record, *files} - {"unit", _MODEL})
        if extra:
            raise ConfigError(f"the unit {unit} does not know {', '.join(extra)}.")
        if _MODEL not in files:
            raise ConfigError(f"the unit {unit} needs the file {_MODEL}.")
        tokenizer = cls("bpe" if unit == "bpe" else "unigram", files[_MODEL])
        tokenizer.alphabet()
        return tokenizer


class _Spelt(NamedTuple):
    """A character and the symbols ``[first, last]`` that spell it."""

    text: str
    first: int
    last: int


def _spelt(symbols: Sequence[str]) -> list[_Spelt]:
    """The characters of all symbols, bytes put together; a broken sequence gives U+FFFD."""
    spelt: list[_Spelt] = []
    decoder, start = codecs.getincrementaldecoder("utf-8")("replace"), 0
    for k, symbol in enumerate([*symbols, ""]):
        byte = _BYTE.fullmatch(symbol)
        start = start if decoder.getstate()[0] else k
        made = decoder.decode(bytes.fromhex(byte[1]) if byte else b"", final=not byte)
        spelt += [_Spelt(c, start, k if byte else k - 1) for c in made]
        if not byte:
            spelt += [_Spelt(c, k, k) for c in symbol.replace(_SPACE, " ")]
    return spelt


def _unescaped(spelt: Sequence[_Spelt]) -> list[_Spelt]:
    out: list[_Spelt] = []
    waiting: _Spelt | None = None
    for s in spelt:
        if waiting is not None and s.text in _UNESCAPES:
            out.append(_Spelt(_UNESCAPES[s.text], waiting.first, s.last))
            waiting = None
        else:
            out += [waiting] if waiting is not None else []
            waiting = s if s.text == "\\" else None
            out += [s] if waiting is None else []
    return out + ([waiting] if waiting is not None else [])


def _spans(spelt: Sequence[_Spelt], text: str, count: int) -> list[tuple[int, int]]:
    starts, ends = [-1] * count, [-1] * count
    for i, s in enumerate(spelt):
        for k in range(s.first, s.last + 1):
            starts[k] = i if starts[k] < 0 else starts[k]
            ends[k] = i + 1
    spans, at = [], 0
    for start, end in zip(starts, ends, strict=True):
        start, end = (at, at) if start < 0 else (start, end)
        at = end
        while end - start > 1 and text[start] == " ":
            start += 1
        spans.append((start, end))
    return spans


def _sample(texts: Iterable[str], key: int) -> tuple[list[str], Counter[str]]:
    """Escaped rows, a keyed sample where there are too many, and how often characters occur."""
    kept: list[tuple[int, str]] = []
    size, limit = 0, 1 << 64
    for rank, text in zip(_ranks(key), texts, strict=False):
        if text and rank < limit:
            kept.append((rank, text.translate(_ESCAPES)))
            size += len(kept[-1][1])
        while size > _MOST_CHARACTERS and len(kept) > 1:
            limit //= 2
            kept = [(r, t) for r, t in kept if r < limit] or kept[:1]
            size = sum(len(t) for _, t in kept)
    counts: Counter[str] = Counter()
    for _, text in kept:
        counts.update(text)
    return [text for _, text in kept], counts


def _ranks(key: int, block: int = 4096) -> Iterator[int]:
    for start in itertools.count(0, block):
        yield from draw(key, np.arange(start, start + block)).tolist()


def _common(counts: Counter[str]) -> list[str]:
    """The characters that make up all but the last ``_RARE`` of the text."""
    room = sum(counts.values()) * (1 - _RARE)
    common: list[str] = []
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if room <= 0:
            break
        common.append(character)
        room -= count
    return common


def _train(texts: Sequence[str], unit: Algorithm, size: int, use_bytes: bool) -> bytes:
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type=unit,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1 - _RARE if use_bytes else 1.0,
            byte_fallback=use_bytes,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=True,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,
            input_sentence_size=0,
            shuffle_input_sentence=False,
            max_sentence_length=1 << 30,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ConfigError(
            f"sentencepiece could not learn {size} {unit} pieces ({error}).",
            hint="ask for another size, or use the unit character.",
        ) from None
    return model.getvalue()
