"""From a hypothesis in ids to a translation in text, with its tokens and its attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from jumok.data.encoded import PairCodec
from jumok.data.tags import is_tag, name_of
from jumok.interfaces.attention import Attention
from jumok.records import AttentionMap, AttentionTrace, Hypothesis, MapSpec, Token
from jumok.search import replace_unknown

__all__ = ["Scored", "Translation", "as_translation"]

Alternatives = tuple[tuple[tuple[str, float], ...], ...]
"""Per step the best symbols with their log-probabilities, best first."""


@dataclass(frozen=True)
class Scored(Token):
    """An output symbol with its log-probability."""

    logprob: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Translation:
    """One output: its text, its symbols with log-probabilities, and what it attended to."""

    source: str
    text: str
    tokens: tuple[Scored, ...] = field(repr=False)
    """The symbols and, where the output ended by itself, the end symbol (text "</s>")."""
    score: float
    """The log-probability of the output: the sum over ``tokens``."""
    rank_score: float
    """What the search ranked by: the score with its penalties."""
    finished: bool
    """False where the limit on the length was hit before the end symbol."""
    attention: Attention = field(repr=False)
    hypothesis: Hypothesis = field(repr=False)
    nbest: tuple[Translation, ...] = field(default=(), repr=False)
    """All the outputs that were asked for, best first, this one the first."""


def as_translation(
    hypothesis: Hypothesis,
    source: str,
    source_tokens: Sequence[Token],
    *,
    codec: PairCodec,
    maps: Sequence[MapSpec],
    card: Mapping[str, str],
    fill_unknown: bool = False,
) -> Translation:
    """``hypothesis`` in text. ``source_tokens`` are the source's, its end symbol last.

    ``fill_unknown`` puts the source symbol attended to most in the place of an unknown one.
    """
    own = codec.own(source_tokens)
    fill = _fill(hypothesis, source_tokens, codec, own) if fill_unknown else None
    text, target = codec.decode(hypothesis.ids_T, fill=fill, own=own)
    likely = _alternatives(hypothesis, codec, own)
    trace = _trace(hypothesis, source, source_tokens, (text, target), likely, maps, card)
    tokens = tuple(
        Scored(token.text, token.start, token.end, token.special, logprob=float(logprob))
        for token, logprob in zip(target, hypothesis.logprobs_T, strict=True)
    )
    return Translation(
        source=source,
        text=text,
        tokens=tokens,
        score=hypothesis.score,
        rank_score=hypothesis.rank_score,
        finished=hypothesis.finished,
        attention=Attention(trace),
        hypothesis=hypothesis,
    )


def _fill(
    hypothesis: Hypothesis, source_tokens: Sequence[Token], codec: PairCodec, own: Sequence[str]
) -> dict[int, str]:
    """Position -> what stands there in the place of an unknown symbol."""
    symbols = codec.symbols(hypothesis.ids_T, own)
    words = [token.text for token in source_tokens if not token.special]
    weights_TS = hypothesis.weights_TS
    if weights_TS is not None:  # a tag says what to write and is not written itself
        tags = [s for s, word in enumerate(words) if is_tag(word)]
        weights_TS = weights_TS.copy()
        weights_TS[:, tags] = 0
    filled = replace_unknown(hypothesis.ids_T, symbols, words, weights_TS)
    pairs = zip(symbols, filled, strict=True)
    return {t: new for t, (old, new) in enumerate(pairs) if new != old}


def _trace(
    hypothesis: Hypothesis,
    source: str,
    source_tokens: Sequence[Token],
    written: tuple[str, Sequence[Token]],
    alternatives: Alternatives,
    maps: Sequence[MapSpec],
    card: Mapping[str, str],
) -> AttentionTrace:
    main = next((spec for spec in maps if spec.is_weights), None)
    arrays = dict(hypothesis.maps)
    if main is not None and hypothesis.weights_TS is not None:
        arrays = {main.name: hypothesis.weights_TS} | arrays
    kinds = {spec.name: spec.kind for spec in maps}
    width = _attended(arrays, kinds, len(source_tokens))
    return AttentionTrace(
        source_text=source,
        target_text=written[0],
        source=tuple(replace(t, text=name_of(t.text)) for t in source_tokens[:width]),
        target=tuple(written[1]),
        maps=tuple(
            AttentionMap(name=name, kind=kinds[name], values_TS=_cut(values, kinds[name], width))
            for name, values in arrays.items()
            if values.ndim == 2
        ),
        main=main.name if main is not None and main.name in arrays else None,
        logprobs_T=hypothesis.logprobs_T,
        alternatives=alternatives,
        score=hypothesis.score,
        finished=hypothesis.finished,
        card=dict(card),
    )


def _attended(arrays: Mapping[str, np.ndarray], kinds: Mapping[str, str], length: int) -> int:
    """Columns to show: without the end symbol where no map ever looks at it."""
    crosses = [a for name, a in arrays.items() if kinds[name] == "cross" and a.ndim == 2]
    looked_at = any(bool((a[:, length - 1] != 0).any()) for a in crosses if len(a))
    return length if looked_at or not crosses else length - 1


def _cut(values: np.ndarray, kind: str, width: int) -> np.ndarray:
    """``values`` over the first ``width`` source positions."""
    match kind:
        case "cross":
            return values[:, :width]
        case "encoder":
            return values[:width, :width]
        case _:
            return values


def _alternatives(hypothesis: Hypothesis, codec: PairCodec, own: Sequence[str]) -> Alternatives:
    ids_TK, logprobs_TK = hypothesis.alternatives_TK, hypothesis.alternative_logprobs_TK
    if ids_TK is None or logprobs_TK is None:
        return ()
    return tuple(
        tuple(zip(map(name_of, codec.symbols(ids_K, own)), map(float, logprobs_K), strict=True))
        for ids_K, logprobs_K in zip(ids_TK, logprobs_TK, strict=True)
    )
