"""What every search prepares and checks before its first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jumok.errors import JumokError, UsageError
from jumok.records import BOS, EOS, PAD, Source
from jumok.search.engine import Advance, Ask, Engine, Started
from jumok.search.history import History
from jumok.search.options import SearchOptions

__all__ = [
    "advance",
    "begin",
    "check_ids",
    "given_ids",
    "lengths",
    "refuse_impossible",
    "step_ask",
]


def lengths(source: Source) -> np.ndarray:
    """Real source lengths, end symbol included."""
    lengths_B: np.ndarray = np.asarray(source.mask_BS).sum(axis=1).astype(np.int64)
    return lengths_B


def begin(engine: Engine, source: Source, options: SearchOptions) -> tuple[Started, History]:
    """Start the engine and an empty history for these sentences."""
    started = engine.start(source, Ask(weights=options.weights, maps=options.maps))
    specs = {spec.name: spec for spec in engine.maps}
    return started, History(options, lengths(source), specs, source_maps=started.maps)


def step_ask(options: SearchOptions, step: int, top: int) -> Ask:
    """What to ask of step ``step``: ``top`` candidates at least."""
    return Ask(
        top=max(top, options.alternatives, 1),
        banned=options.banned(step),
        weights=options.weights or options.coverage_penalty > 0,
        maps=options.maps,
    )


def check_ids(
    sequences: Sequence[np.ndarray], engine: Engine, source: Source, what: str, *, end: bool
) -> None:
    """Refuse given ids that no output can hold; ``end``: the end symbol may close them."""
    if len(sequences) != len(source.ids_BS):
        raise UsageError(
            f"{len(sequences)} {what}s were given for {len(source.ids_BS)} source sentences."
        )
    width = engine.vocabulary_size + source.extra
    for number, ids_T in enumerate(sequences):
        ids_T = np.asarray(ids_T, dtype=np.int64)
        inner_T = ids_T[:-1] if end else ids_T
        if EOS in inner_T:
            where = "before its last position" if end else ""
            raise UsageError(f"{what} {number} holds the end symbol {where}".rstrip() + ".")
        if PAD in ids_T or BOS in ids_T:
            raise UsageError(f"{what} {number} holds padding or the start symbol.")
        if len(ids_T) and not 0 <= ids_T.min() <= ids_T.max() < width:
            wrong = int(ids_T.max() if ids_T.max() >= width else ids_T.min())
            raise UsageError(
                f"{what} {number} holds the id {wrong}; ids run from 0 to {width - 1}."
            )


def given_ids(sequences: Sequence[np.ndarray], numbers_N: np.ndarray, step: int) -> np.ndarray:
    """Token ``step`` of ``sequences[number]`` for every row, -1 where it has none."""
    if not sequences:
        return np.full(len(numbers_N), -1)
    chosen = (sequences[n] for n in numbers_N)
    return np.array([s[step] if step < len(s) else -1 for s in chosen], dtype=np.int64)


def advance(
    engine: Engine, cursor: Any, tokens_N: np.ndarray, ask: Ask, given_N: np.ndarray, step: int
) -> Advance:
    """A step of the engine, refused if the model has lost its numbers.

    ``given_N`` is -1 where no token is given; such rows are asked about token 0.
    """
    some = bool((given_N >= 0).any())
    result = engine.step(cursor, tokens_N, ask, np.maximum(given_N, 0) if some else None)
    given = result.given_N
    if np.isnan(result.logprobs_NK).any() or (given is not None and np.isnan(given).any()):
        raise JumokError(
            f"the model returned NaN instead of log-probabilities at output position {step}.",
            hint="the weights are damaged or training diverged; use an earlier checkpoint.",
        )
    return result


def refuse_impossible(step: int) -> None:
    """Every symbol is forbidden or impossible here: say so instead of emitting one."""
    raise JumokError(
        f"no allowed symbol has a probability above 0 at output position {step}.",
        hint="look at `forbidden`, `min_length` and the size of the vocabulary.",
    )
