"""Agreement with a gold alignment that gives each target symbol one source position.

Sets such as NETtalk write letter i beside phoneme i, with ``-`` for a silent letter. With the
silent marks taken out, phoneme j of the target belongs to the letter it stood beside: a gold
alignment that is monotonic but not the diagonal, so that a model must find the silent letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jumok.alignment.traces import map_of
from jumok.errors import UsageError
from jumok.records import AttentionTrace

__all__ = ["Agreement", "Gold1to1", "agreement", "aligned_pair", "diagonal"]


@dataclass(frozen=True, kw_only=True)
class Gold1to1:
    """A source, a target without silent marks, and the source position of each target symbol."""

    source: str
    target: str
    positions: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Shares of target symbols, summed over the corpus."""

    symbols: int
    attention: float
    """The strongest source position is the gold one."""
    mass: float
    """Mean weight on the gold position."""
    random: float
    """Control: a source position drawn evenly is the gold one (exact expectation, mean of 1/S)."""
    diagonal: float
    """Control: the position at the same height of the source is (``diagonal``)."""
    shuffled: float
    """Control: the map of another pair of the same lengths, else of the nearest, is read instead.

    What this reaches is known from lengths alone; only what lies above it was read off the symbols.
    """

    def table(self) -> list[str]:
        """Lines for people."""
        rows = (
            ("strongest source is gold", self.attention),
            ("weight on gold", self.mass),
            ("another pair's map", self.shuffled),
            ("diagonal", self.diagonal),
            ("random", self.random),
        )
        lines = [f"{name:<26}{100 * value:6.1f}%" for name, value in rows]
        return [*lines, f"over {self.symbols:,} target symbols"]


def aligned_pair(source: str, target: str, *, silent: str = "-") -> Gold1to1:
    """Gold of two texts written symbol beside symbol, ``silent`` standing for nothing."""
    if len(source) != len(target):
        raise UsageError(
            f"{source!r} has {len(source)} symbols and {target!r} has {len(target)}: written side "
            "by side, both must have as many.",
            hint="a source symbol that has no counterpart needs the silent mark.",
        )
    positions = tuple(i for i, symbol in enumerate(target) if symbol != silent)
    return Gold1to1(
        source=source, target="".join(target[i] for i in positions), positions=positions
    )


def diagonal(source_count: int, target_count: int) -> np.ndarray:
    """For each target position the source position at the same relative height, (T,) int64."""
    middle_T = (np.arange(target_count) + 0.5) / max(target_count, 1)
    return np.minimum((middle_T * source_count).astype(np.int64), source_count - 1)


def agreement(
    traces: Sequence[AttentionTrace],
    gold: Sequence[Sequence[int | None]],
    *,
    name: str | None = None,
) -> Agreement:
    """How often attention points at gold, beside three controls that read nothing.

    ``gold[i][t]`` is the source position of target token t of trace i, None where there is none to
    find; special tokens are not counted on either side. The target must therefore be the gold one:
    force it, or drop the pairs that came out otherwise. A row whose strongest place is the source's
    end symbol is a miss.
    """
    if len(traces) != len(gold):
        raise UsageError(f"There are {len(traces):,} traces but {len(gold):,} gold alignments.")
    maps = [_real_map(trace, name) for trace in traces]
    _check(maps, gold)
    known = [i for i, wanted in enumerate(gold) if any(s is not None for s in wanted)]
    if not known:
        raise UsageError("There is no target symbol with a gold position: nothing to agree with.")
    others = _other_maps([maps[i][0].shape for i in known])
    tallies = np.zeros(6)
    for i, other in zip(known, others, strict=True):
        rows = np.array([t for t, s in enumerate(gold[i]) if s is not None])
        right = np.array([s for s in gold[i] if s is not None])
        tallies += _tally(*maps[i], maps[known[other]][0], rows, right)
    count = int(tallies[0])
    attention, mass, random, straight, shuffled = (float(x / count) for x in tallies[1:])
    return Agreement(
        symbols=count,
        attention=attention,
        mass=mass,
        random=random,
        diagonal=straight,
        shuffled=shuffled,
    )


def _real_map(trace: AttentionTrace, name: str | None) -> tuple[np.ndarray, np.ndarray]:
    """(weights between real tokens, True where a row looks at a special column most)."""
    real_T = [i for i, token in enumerate(trace.target) if not token.special]
    special_S = np.array([token.special for token in trace.source], dtype=bool)
    rows_TS = map_of(trace, name)[real_T]
    real_TS = rows_TS[:, ~special_S]
    end_T = rows_TS[:, special_S].max(axis=1, initial=0)
    return real_TS, end_T >= real_TS.max(axis=1, initial=0)


def _check(
    maps: Sequence[tuple[np.ndarray, np.ndarray]], gold: Sequence[Sequence[int | None]]
) -> None:
    for i, ((weights_TS, _), wanted) in enumerate(zip(maps, gold, strict=True)):
        T, S = weights_TS.shape
        if len(wanted) != T:
            raise UsageError(
                f"gold[{i}] has {len(wanted)} positions, but the trace has {T} target tokens.",
                hint="force the gold target, or leave out outputs that differ from it.",
            )
        if any(s is not None and not 0 <= s < S for s in wanted):
            raise UsageError(f"gold[{i}] has a position outside the source's 0 to {S - 1}.")


def _tally(
    weights_TS: np.ndarray,
    to_end_T: np.ndarray,
    other_TS: np.ndarray,
    rows: np.ndarray,
    right: np.ndarray,
) -> np.ndarray:
    T, S = weights_TS.shape
    hits = (weights_TS.argmax(axis=1)[rows] == right) & ~to_end_T[rows]
    # Of the other pair's map, the place at the same relative heights.
    there_T = diagonal(other_TS.shape[0], T)
    shuffled_T = diagonal(other_TS.shape[1], S)
    pointed = other_TS[np.ix_(there_T, shuffled_T)].argmax(axis=1)[rows]
    return np.array(
        [
            len(rows),
            hits.sum(),
            weights_TS[rows, right].sum(),
            len(rows) / S,
            (diagonal(S, T)[rows] == right).sum(),
            (pointed == right).sum(),
        ]
    )


def _other_maps(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """For each map the number of another one of the same shape, else of the nearest in order.

    Maps are put in order of (S, T) and each takes its neighbour, so no map is ever its own other
    unless it is the only one.
    """
    order = sorted(range(len(shapes)), key=lambda i: (shapes[i][1], shapes[i][0], i))
    others = [0] * len(shapes)
    for place, i in enumerate(order):
        near = [order[p] for p in (place + 1, place - 1) if 0 <= p < len(order)]
        same = [j for j in near if shapes[j] == shapes[i]]
        others[i] = (same or near or [i])[0]
    return others
