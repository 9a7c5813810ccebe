"""A trained model with all that lies between text and network: translate, score, look, save."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from jumok.data.encoded import PairCodec
from jumok.data.text import normalise
from jumok.engine import TorchEngine
from jumok.errors import DataError, UsageError
from jumok.interfaces.model_files import Parts, files_of, load_parts
from jumok.interfaces.outputs import Translation, as_translation
from jumok.models import Own, with_own
from jumok.recipes.options import RunConfig
from jumok.records import Hypothesis, Source, Token
from jumok.search import SearchOptions, search
from jumok.search import score as score_given
from jumok.search.batches import like_length
from jumok.store import save_folder

__all__ = ["NO_MODELS", "Translator", "hashes"]

NO_MODELS: Mapping[str, Own] = {}
ROUND = 16
"""Batches that are read ahead, so that sources of like length can be decoded together."""


class _Encoded(NamedTuple):
    """Sources ready for the engine, in the order of the input."""

    texts: list[str]
    source: Source
    tokens: list[list[Token]]


@dataclass(frozen=True, kw_only=True)
class Translator:
    """An ordinary ``nn.Module`` (``network``) and the codec that leads to it and back."""

    network: nn.Module
    codec: PairCodec
    name: str
    """The model's name, such as ``luong``."""
    run: RunConfig
    """What it was trained with, and how it searches unless told otherwise."""
    card: str = ""
    """The model card, Markdown."""
    seen: np.ndarray | None = None
    """Sorted hashes of the sources that were trained on; None = not known."""
    members: tuple[str, ...] = ()
    """Of an ensemble: the names of those who answer together; it has no folder of its own."""

    @classmethod
    def load(
        cls, path: str | Path, *, device: str = "cpu", models: Mapping[str, Own] = NO_MODELS
    ) -> Translator:
        """The model in the folder ``path``; ``models`` are those of your own, by their names:
        ``{"mine": (Config, Class)}``. Nothing in a folder can name code.

        Raises ModelFolderError where it is missing, damaged or newer than this code.
        """
        parts = load_parts(path, device=device, models=with_own(models))
        return cls(
            network=parts.network,
            codec=parts.codec,
            name=parts.name,
            run=parts.run,
            card=parts.card,
            seen=parts.seen,
        )

    def files(self) -> dict[str, bytes]:
        """What ``save`` writes, by file name. UsageError for an ensemble."""
        if self.members:
            raise UsageError(
                f"an ensemble ({', '.join(self.members)}) has no folder of its own.",
                hint="name its members wherever a model is asked for: a,b.",
            )
        return files_of(
            Parts(
                network=self.network,
                codec=self.codec,
                name=self.name,
                run=self.run,
                card=self.card,
                seen=self.seen,
            )
        )

    def save(self, path: str | Path, *, keep: Iterable[str] = ()) -> None:
        """Writes the model folder whole or not at all; ``keep``: files of it that stay."""
        save_folder(path, self.files(), keep=keep)

    def engine(self, *, bits: bool = True) -> TorchEngine:
        """What searches see; ``bits``: no output depends on its batch-mates, to the last bit."""
        network: Any = self.network
        size = len(self.codec.target_vocabulary)
        return TorchEngine(network, bits=bits, vocabulary_size=size)

    def translate(
        self,
        texts: Sequence[str],
        *,
        beam: int | None = None,
        nbest: int | None = None,
        options: SearchOptions | None = None,
        prefix: str = "",
        replace_unknown: bool = False,
        batch_size: int = 64,
        bits: bool = True,
    ) -> list[Translation]:
        """The best output for each text; its ``nbest`` holds it and the others asked for.

        ``options`` says everything about the search; without it the model's own record does
        (``run.search``), ``beam`` and ``nbest`` apart where they are given. An empty text has an
        empty output. Raises DataError for a text that is too long.
        """
        if isinstance(texts, str):
            raise UsageError("`texts` is one string; a list of texts is needed: [text].")
        options = options or _with_beam(self.run.search, beam, nbest)
        return list(
            self.stream(
                texts,
                options,
                prefix=prefix,
                replace_unknown=replace_unknown,
                batch_size=batch_size,
                bits=bits,
                ahead=max(len(texts), 1),
            )
        )

    def outputs(
        self, texts: Sequence[str], options: SearchOptions | None = None, *, batch_size: int = 64
    ) -> list[str]:
        """Best outputs in the model's normal form, which is that of the references."""
        found = self.translate(texts, options=options, batch_size=batch_size)
        return [normalise(one.text, self.codec.normalisation) for one in found]

    def stream(
        self,
        texts: Iterable[str],
        options: SearchOptions,
        *,
        prefix: str = "",
        replace_unknown: bool = False,
        batch_size: int = 64,
        bits: bool = True,
        ahead: int | None = None,
    ) -> Iterator[Translation]:
        """As ``translate``, for texts without end; ``ahead`` of them are read at a time."""
        engine = self.engine(bits=bits)
        ahead = batch_size * ROUND if ahead is None else ahead
        waiting, first = iter(texts), 0
        while round_ := list(islice(waiting, ahead)):
            encoded = self._encode(round_, first)
            given = self._prefixes(prefix, encoded)
            found = self._search(engine, encoded, options, given, batch_size, first)
            for text, tokens, hypotheses in zip(encoded.texts, encoded.tokens, found, strict=True):
                yield self._translation(text, tokens, hypotheses, engine, replace_unknown)
            first += len(round_)

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        alternatives: int = 0,
        maps: bool = False,
        batch_size: int = 64,
        bits: bool = True,
    ) -> list[Translation]:
        """Each given target as the output it would be: log-probabilities and attention."""
        engine = self.engine(bits=bits)
        options = SearchOptions(alternatives=alternatives, maps=maps)
        encoded = self._encode([source for source, _ in pairs], 0)
        targets = [
            self._target_ids(target, number, self.codec.own(tokens))
            for number, ((_, target), tokens) in enumerate(zip(pairs, encoded.tokens, strict=True))
        ]
        found: list[Translation | None] = [None] * len(pairs)
        for rows_N, part in like_length(encoded.source, batch_size):
            scored = score_given(engine, part, [targets[row] for row in rows_N], options)
            for row, hypothesis in zip(rows_N.tolist(), scored, strict=True):
                found[row] = self._given(pairs[row], encoded.tokens[row], hypothesis, engine)
        return [one for one in found if one is not None]

    def knows(self, sources: Sequence[str]) -> list[bool] | None:
        """Which of ``sources`` were trained on; None where that was not recorded."""
        if self.seen is None:
            return None
        hashed = hashes(normalise(text, self.codec.normalisation) for text in sources)
        return [bool(found) for found in np.isin(hashed, self.seen)]

    def describe(self) -> dict[str, str]:
        """What captions say about the model."""
        return {"model": self.name}

    # -- the steps of the above

    def _encode(self, texts: list[str], first: int) -> _Encoded:
        try:
            source, tokens = self.codec.encode_source(texts)
        except DataError:
            for number, text in enumerate(texts, first + 1):
                self._encode_alone(text, number)
            raise
        return _Encoded(texts, source, tokens)

    def _encode_alone(self, text: str, number: int) -> None:
        try:
            self.codec.encode_source([text])
        except DataError as error:
            if self.codec.tags is not None and text and "\t" not in text:
                raise DataError(
                    error.message, where=f"line {number}", excerpt=text, hint=error.hint
                ) from None
            length, limit = len(self.codec.source_tokens(text)), self.codec.max_source
            raise DataError(
                f"the text has {length:,} symbols with its end, but this model takes {limit:,}.",
                where=f"line {number}",
                excerpt=text,
                hint="split it; nothing is ever cut silently.",
            ) from None

    def _prefixes(self, prefix: str, encoded: _Encoded) -> list[np.ndarray]:
        if not prefix:
            return []
        owns = [self.codec.own(tokens) for tokens in encoded.tokens]
        known = {own: self._target_ids(prefix, 0, own)[:-1] for own in set(owns)}
        return [known[own] for own in owns]

    def _target_ids(self, text: str, number: int, own: Sequence[str] = ()) -> np.ndarray:
        tokens = self.codec.target_tokens(text)
        if len(tokens) > self.codec.max_target:
            raise DataError(
                f"the target has {len(tokens) - 1:,} symbols, but this model takes fewer than "
                f"{self.codec.max_target:,}.",
                where=f"pair {number + 1}",
                excerpt=text,
            )
        return self.codec.target_ids(tokens, own)

    def _search(
        self,
        engine: TorchEngine,
        encoded: _Encoded,
        options: SearchOptions,
        prefixes: list[np.ndarray],
        batch_size: int,
        first: int,
    ) -> list[list[Hypothesis]]:
        """The hypotheses of every text that is not empty; batches are of like length."""
        found: list[list[Hypothesis]] = [[] for _ in encoded.texts]
        for rows_N, part in like_length(encoded.source, batch_size):
            kept = np.array([n for n, row in enumerate(rows_N) if encoded.texts[row]], np.int64)
            if not len(kept):
                continue
            rows_N = rows_N[kept]
            given = [prefixes[row] for row in rows_N] if prefixes else ()
            results = search(
                engine, part.select(kept), options, prefixes=given, numbers_B=rows_N + first
            )
            for row, hypotheses in zip(rows_N.tolist(), results, strict=True):
                found[row] = hypotheses
        return found

    def _translation(
        self,
        text: str,
        tokens: list[Token],
        hypotheses: list[Hypothesis],
        engine: TorchEngine,
        fill: bool,
    ) -> Translation:
        made = [
            as_translation(
                hypothesis,
                text,
                tokens,
                codec=self.codec,
                maps=engine.maps,
                card=self.describe(),
                fill_unknown=fill,
            )
            for hypothesis in hypotheses or [_silence()]
        ]
        return replace(made[0], nbest=tuple(made))

    def _given(
        self,
        pair: tuple[str, str],
        tokens: list[Token],
        hypothesis: Hypothesis,
        engine: TorchEngine,
    ) -> Translation:
        """A given target keeps its own text: unknown symbols and spaces as they were written."""
        card = self.describe() | {"target": "given"}
        made = as_translation(
            hypothesis, pair[0], tokens, codec=self.codec, maps=engine.maps, card=card
        )
        target = self.codec.target_tokens(pair[1])
        trace = replace(made.attention.trace, target_text=pair[1], target=tuple(target))
        scored = tuple(
            replace(old, text=new.text, start=new.start, end=new.end, special=new.special)
            for old, new in zip(made.tokens, target, strict=True)
        )
        attention = replace(made.attention, trace=trace)
        return replace(made, text=pair[1], tokens=scored, attention=attention)


def _with_beam(options: SearchOptions, beam: int | None, nbest: int | None) -> SearchOptions:
    wanted = options.nbest if nbest is None else nbest
    kept = max(options.beam, wanted) if beam is None else beam
    return replace(options, beam=1 if options.sample else kept, nbest=wanted)


def _silence() -> Hypothesis:
    """The output of an empty text."""
    return Hypothesis(
        ids_T=np.zeros(0, np.int64),
        logprobs_T=np.zeros(0),
        score=0.0,
        rank_score=0.0,
        finished=True,
    )


def hashes(texts: Iterable[str]) -> np.ndarray:
    """64-bit hashes, (N,) uint64; the same on every machine."""
    digests = bytearray()  # 8 bytes each; as a list of bytes they would take 41
    for text in texts:
        digests += hashlib.blake2b(text.encode(), digest_size=8).digest()
    return np.frombuffer(digests, dtype="<u8")
