"""A soft map to hard links, in Pharaoh order (source, target).

The end-of-sentence row and column never become links. But the end column takes part in the choice
(``end="null"``): a target symbol that looks mostly at the end of the sentence has no link, as a
word aligned with NULL has none in the IBM models. ``end="skip"`` leaves that column out, and every
target symbol then points at a real one.
"""

from __future__ import annotations

import numpy as np

from jumok.alignment.links import Links
from jumok.alignment.words import merge_words
from jumok.errors import UsageError, did_you_mean
from jumok.records import AttentionTrace, Token

__all__ = ["from_trace", "from_weights", "map_of"]

METHODS = ("argmax", "threshold", "source-argmax", "mutual")


def map_of(trace: AttentionTrace, name: str | None = None) -> np.ndarray:
    """The values (T, S) of the cross map called ``name``, by default the main one."""
    crosses = {m.name: m.values_TS for m in trace.maps if m.kind == "cross"}
    wanted = trace.main if name is None else name
    if wanted is None:
        raise UsageError(
            "this trace has no attention map, so it has no links.",
            hint="the model attends to nothing; train one with attention, such as luong.",
        )
    if wanted not in crosses:
        raise UsageError(
            f"there is no map {wanted!r} from target to source; this trace has: "
            f"{', '.join(crosses) or 'none'}.{did_you_mean(wanted, crosses)}"
        )
    return crosses[wanted]


def from_trace(
    trace: AttentionTrace,
    method: str = "argmax",
    *,
    level: str = "token",
    threshold: float = 0.5,
    end: str = "null",
    name: str | None = None,
) -> Links:
    """Links of one hypothesis. Positions count the tokens (or words) that are not special.

    ``level="word"`` merges pieces into words first (``words.merge_words``) and numbers words as
    ``text.split()`` does. ``name`` picks a map by name, by default the main one. The methods are
    those of ``from_weights``. Raises ``UsageError`` for a trace without a map.
    """
    map_of(trace, name)  # a helpful error comes before the work
    match level:
        case "token":
            pass
        case "word":
            trace = merge_words(trace)
        case _:
            raise UsageError(f"`level` ({level!r}) must be 'token' or 'word'.")
    return from_weights(
        map_of(trace, name),
        method,
        threshold=threshold,
        end=end,
        special_S=_special(trace.source),
        special_T=_special(trace.target),
    )


def from_weights(
    weights_TS: np.ndarray,
    method: str = "argmax",
    *,
    threshold: float = 0.5,
    end: str = "null",
    special_S: np.ndarray | None = None,
    special_T: np.ndarray | None = None,
) -> Links:
    """Links of one map; ``special_S`` and ``special_T`` mark what never becomes a link.

    - ``argmax``: each target position takes its strongest source position;
    - ``threshold``: every cell above ``threshold`` (above 0.5: at most one per target);
    - ``source-argmax``: each source position takes the target position that looks at it most;
    - ``mutual``: what argmax and source-argmax agree on.

    Ties go to the left (or upper) cell; a row or column of zeros makes no link.
    """
    if end == "skip":
        weights_TS = _without(weights_TS, special_S, special_T)
    elif end != "null":
        raise UsageError(f"`end` ({end!r}) must be 'null' or 'skip'.")
    chosen_TS = _choose(weights_TS, method, threshold)
    for axis, special in ((0, special_T), (1, special_S)):
        if special is not None:
            chosen_TS &= np.expand_dims(~special, 1 - axis)
    source_S = _numbering(special_S, chosen_TS.shape[1])
    target_T = _numbering(special_T, chosen_TS.shape[0])
    return frozenset((int(source_S[s]), int(target_T[t])) for t, s in np.argwhere(chosen_TS))


def _without(
    weights_TS: np.ndarray, special_S: np.ndarray | None, special_T: np.ndarray | None
) -> np.ndarray:
    """Zeros in the special columns and rows."""
    if special_S is not None:
        weights_TS = np.where(special_S, 0, weights_TS)
    return weights_TS if special_T is None else np.where(special_T[:, None], 0, weights_TS)


def _choose(weights_TS: np.ndarray, method: str, threshold: float) -> np.ndarray:
    """True where a link is."""
    match method:
        case "argmax":
            return _strongest(weights_TS)
        case "threshold":
            return np.asarray(weights_TS > threshold)
        case "source-argmax":
            return _strongest(weights_TS.T).T
        case "mutual":
            return np.asarray(_strongest(weights_TS) & _strongest(weights_TS.T).T)
        case _:
            raise UsageError(
                f"`method` ({method!r}) must be one of {', '.join(METHODS)}."
                f"{did_you_mean(method, METHODS)}"
            )


def _strongest(weights: np.ndarray) -> np.ndarray:
    """True at each row's first maximum, unless the row is zero."""
    chosen = np.zeros(weights.shape, dtype=bool)
    if weights.size:
        rows = np.arange(len(weights))
        best = weights.argmax(axis=1)
        chosen[rows, best] = weights[rows, best] > 0
    return chosen


def _special(tokens: tuple[Token, ...]) -> np.ndarray:
    return np.array([token.special for token in tokens], dtype=bool)


def _numbering(special: np.ndarray | None, count: int) -> np.ndarray:
    """Position of each token among those that are not special."""
    return np.arange(count) if special is None else np.cumsum(~special) - 1
