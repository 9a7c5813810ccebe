"""Engines whose every number is known: the state of a row is the very prefix it has written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from jumok.records import BOS, EOS, NO_MAPS, PAD, MapSpec, Source
from jumok.search import Advance, Ask, SearchOptions, Started, best_candidates

Prefix = tuple[int, ...]
Logprobs = Callable[[int, Prefix], np.ndarray]
"""(first source id of the sentence, what was written) -> log-probabilities over V."""
Weights = Callable[[int, Prefix, int], np.ndarray]
"""(first source id, what was written, real source length) -> S weights."""


def source_of(*sentences: Sequence[int]) -> Source:
    """Padded rows; give the end symbol yourself."""
    width = max(len(s) for s in sentences)
    ids_BS = np.full((len(sentences), width), PAD, np.int64)
    for b, sentence in enumerate(sentences):
        ids_BS[b, : len(sentence)] = sentence
    return Source(ids_BS=ids_BS, mask_BS=ids_BS != PAD)


@dataclass(frozen=True)
class Standing:
    """A cursor: per row the sentence's name, its real length and the tokens fed so far."""

    names: tuple[int, ...]
    lengths: tuple[int, ...]
    width: int
    prefixes: tuple[Prefix, ...]


@dataclass
class ScriptedEngine:
    """Log-probabilities and attention as functions of the sentence and of the exact prefix."""

    logprobs: Logprobs
    weights: Weights | None = None
    vocabulary_size: int = 7
    maps: tuple[MapSpec, ...] = ()
    extra_maps: Mapping[str, Weights] = field(default_factory=dict)
    steps: int = 0
    rows: int = 0
    asks: list[Ask] = field(default_factory=list)

    def start(self, source: Source, ask: Ask) -> Started:
        names = tuple(int(i) for i in source.ids_BS[:, 0])
        lengths = tuple(int(n) for n in source.mask_BS.sum(axis=1))
        return Started(Standing(names, lengths, source.ids_BS.shape[1], ((),) * len(names)))

    def step(
        self, cursor: Standing, tokens_N: np.ndarray, ask: Ask, given_N: np.ndarray | None = None
    ) -> Advance:
        self.steps += 1
        self.rows += len(tokens_N)
        self.asks.append(ask)
        fed = zip(cursor.prefixes, tokens_N.tolist(), strict=True)
        cursor = Standing(
            cursor.names, cursor.lengths, cursor.width, tuple((*p, t) for p, t in fed)
        )
        assert all(p[0] == BOS and EOS not in p for p in cursor.prefixes)
        written = [p[1:] for p in cursor.prefixes]
        logprobs_NV = np.stack(
            [self.logprobs(n, p) for n, p in zip(cursor.names, written, strict=True)]
        )
        given = None if given_N is None else logprobs_NV[np.arange(len(given_N)), given_N]
        weights_NS = self._map(self.weights, cursor, written) if ask.weights else None
        maps = {k: self._map(f, cursor, written) for k, f in self.extra_maps.items()}
        ids_NK, top_NK = best_candidates(logprobs_NV, ask)
        return Advance(cursor, ids_NK, top_NK, given, weights_NS, maps if ask.maps else NO_MAPS)

    def _map(
        self, function: Weights | None, cursor: Standing, written: Sequence[Prefix]
    ) -> np.ndarray | None:
        if function is None:
            return None
        rows_NS = np.full((len(written), cursor.width), 99.0)  # padding must be trimmed away
        for n, prefix in enumerate(written):
            row = function(cursor.names[n], prefix, cursor.lengths[n])
            rows_NS[n, : len(row)] = row
        return rows_NS

    def select(self, cursor: Standing, rows_N: np.ndarray) -> Standing:
        rows = rows_N.tolist()
        return Standing(
            tuple(cursor.names[r] for r in rows),
            tuple(cursor.lengths[r] for r in rows),
            cursor.width,
            tuple(cursor.prefixes[r] for r in rows),
        )


def keyed(*key: object) -> np.random.Generator:
    """A generator that follows from its key alone."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def random_logprobs(seed: int, width: int, sharpness: float = 2.0, ties: bool = False) -> Logprobs:
    """A random language: any distribution over ``width`` symbols after any prefix."""

    def logprobs(name: int, prefix: Prefix) -> np.ndarray:
        logits_V = keyed(seed, name, prefix).normal(size=width) * sharpness
        if ties:
            logits_V = np.round(logits_V / 2)
        logits_V = logits_V.astype(np.float32)
        shifted_V = logits_V - logits_V.max()
        return (shifted_V - np.log(np.exp(shifted_V).sum())).astype(np.float32)

    return logprobs


def planted_weights(seed: int) -> Weights:
    """A row of attention that only this very prefix has; not monotonic, sums to one."""

    def weights(name: int, prefix: Prefix, length: int) -> np.ndarray:
        return keyed("weights", seed, name, prefix).dirichlet(np.ones(length))

    return weights


def random_engine(seed: int, width: int = 7, **options: object) -> ScriptedEngine:
    return ScriptedEngine(
        random_logprobs(seed, width, **options),  # type: ignore[arg-type]
        planted_weights(seed),
        vocabulary_size=width,
    )


def table(rows: Mapping[Prefix, Mapping[int, float]], width: int = 7) -> Logprobs:
    """Probabilities written out by hand; what is not written is impossible."""

    def logprobs(name: int, prefix: Prefix) -> np.ndarray:
        probabilities_V = np.zeros(width)
        for token, p in rows[prefix].items():
            probabilities_V[token] = p
        with np.errstate(divide="ignore"):
            return np.log(probabilities_V).astype(np.float32)

    return logprobs


def all_sequences(
    engine: ScriptedEngine, name: int, limit: int, banned: Callable[[int], tuple[int, ...]]
) -> list[tuple[Prefix, float, bool]]:
    """Every output of at most ``limit`` tokens: (ids, log p, finished), by brute force."""
    found: list[tuple[Prefix, float, bool]] = []

    def grow(prefix: Prefix, logprob: float) -> None:
        row_V = engine.logprobs(name, prefix).astype(np.float64)
        for token in range(engine.vocabulary_size):
            if token in banned(len(prefix)) or np.isneginf(row_V[token]):
                continue
            longer, total = (*prefix, token), logprob + row_V[token]
            if token == EOS or len(longer) == limit:
                found.append((longer, total, token == EOS))
            else:
                grow(longer, total)

    grow((), 0.0)
    return found


def exhaustive(width: int, limit: int, **more: object) -> SearchOptions:
    """A beam that no candidate can fall out of."""
    beam = width**limit
    return SearchOptions(
        beam=beam,
        nbest=more.pop("nbest", beam),  # type: ignore[arg-type]
        max_length=limit,
        **more,  # type: ignore[arg-type]
    )
