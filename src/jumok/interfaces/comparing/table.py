"""The ladder's one table: a row for each system, best first, with what can be said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from jumok.evaluation import Delta, Interval, wilson
from jumok.evaluation.comparison import LOWER_IS_BETTER, compare_counts
from jumok.evaluation.statistics import measure
from jumok.interfaces.comparing.run import Result
from jumok.interfaces.comparing.state import Planned, State

__all__ = ["Row", "Table", "table_of"]

TOLD_APART = 0.05
RANKED_BY = {"bleu": "bleu", "chrf": "chrf", "cer": "cer", "wer": "wer"}
"""What ranks the systems where dev was looked at so; everywhere else it is exact match."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system, over its seeds."""

    label: str
    model: str
    experimental: bool
    seeds: tuple[int, ...] = ()
    """Those that finished; every number is their mean."""
    error: str | None = None
    """Why (some of) its runs came to nothing."""
    exact_match: float | None = None
    interval: Interval | None = None
    """95%, over the rows of the test set (Wilson's, the seeds' mean taken for one)."""
    lowest: float | None = None
    """Of the seeds."""
    highest: float | None = None
    seen: float | None = None
    """Exact match on inputs that were trained on, where there are such."""
    unseen: float | None = None
    further: Mapping[str, float] | None = None
    """Exact match on the task's further test sets."""
    cer: float | None = None
    bleu: float | None = None
    chrf: float | None = None
    wer: float | None = None
    best: bool = False
    to_best: Delta | None = None
    """Paired, on the rows and seeds of both; None for the best and without common seeds."""
    attention: float | None = None
    attention_kind: str | None = None
    items_per_second: float | None = None
    examples_per_second: float | None = None
    examples: float | None = None
    seconds: float | None = None
    ended: str = ""
    hidden_size: int = 0
    parameters: int = 0
    off_budget: float | None = None
    """(parameters - budget) / budget"""
    size: float | None = None
    """Bytes on disk."""

    @property
    def tied(self) -> bool:
        """Whether it cannot be told apart from the best."""
        return self.to_best is not None and self.to_best.p >= TOLD_APART


@dataclass(frozen=True, kw_only=True)
class Table:
    """All rows and what they were made with."""

    state: State
    rows: tuple[Row, ...]
    """Best first; those that came to nothing last."""
    inputs: int
    """Of the test set that ranks them."""
    headline: str
    """Its name."""
    metric: str
    missing: int = 0
    """Runs that have not been made yet."""

    def to_dict(self) -> dict[str, Any]:
        """The object that ``jumok compare --json`` prints."""
        state = asdict(self.state)
        kept = ("seconds", "epochs", "examples", "precision", "keys", "budget", "about", "rows")
        return {
            "ladder": {name: state[name] for name in (*kept, "seeds", "baselines")},
            "test": {"name": self.headline, "inputs": self.inputs},
            "ranked_by": self.metric,
            "runs_missing": self.missing,
            "systems": [_row_dict(row) for row in self.rows],
        }


def _row_dict(row: Row) -> dict[str, Any]:
    found = asdict(row)
    found["interval"] = None if row.interval is None else list(row.interval)
    if row.to_best is not None:
        found["to_best"] = {
            "delta": -row.to_best.delta,
            "interval": [-end for end in reversed(row.to_best.interval)],
            "p": row.to_best.p,
        }
    return found


def table_of(
    state: State,
    results: Sequence[Result],
    references: Sequence[Sequence[str]],
    speeds: Mapping[str, float],
) -> Table:
    """The table of ``results``; those of one label are the seeds of one system.

    ``references``: of each input of the test set that ranks them.
    """
    metric = RANKED_BY.get(state.choose_by, "exact_match")
    grouped = {label: [r for r in results if r.label == label] for label in state.systems}
    rows = [
        _row(state, planned, grouped[label], speeds.get(label))
        for label, planned in state.systems.items()
    ]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    scored = sorted(
        (row for row in rows if row.exact_match is not None),
        key=lambda row: (sign * getattr(row, metric), row.cer),
    )
    scored = _judged(scored, grouped, references, metric)
    first = next((r for r in results if r.scores), None)
    runs = sum(p.error is None for p in state.systems.values()) * len(state.seeds)
    return Table(
        state=state,
        rows=(*scored, *(row for row in rows if row.exact_match is None)),
        inputs=len(references),
        headline=next(iter(first.scores)) if first else "test",
        metric=metric,
        missing=runs - len(results),
    )


def _row(state: State, planned: Planned, runs: Sequence[Result], speed: float | None) -> Row:
    about = Row(
        label=planned.label,
        model=planned.model,
        experimental=planned.experimental,
        hidden_size=planned.hidden_size,
        parameters=planned.parameters,
        off_budget=planned.parameters / state.budget - 1 if planned.parameters else None,
        error=planned.error or next((r.error for r in runs if r.error), None),
    )
    done = [r for r in runs if r.error is None]
    if not done:
        return about
    heads = [next(iter(r.scores.values())) for r in done]
    exact = [float(h["exact_match"]) for h in heads]
    mean, count = float(np.mean(exact)), int(heads[0]["count"])
    attended = [r.attended for r in done if r.attended is not None]
    values: dict[str, Any] = {
        "seeds": tuple(r.seed for r in done),
        "exact_match": mean,
        "interval": wilson(round(mean * count), count),
        "lowest": min(exact),
        "highest": max(exact),
        "seen": _part(heads, "seen"),
        "unseen": _part(heads, "unseen"),
        "further": _further(done),
        "attention": _mean(a.value for a in attended),
        "attention_kind": attended[0].kind if attended else None,
        "items_per_second": speed,
        "examples_per_second": _mean(r.pace for r in done),
        "examples": _mean(r.examples for r in done),
        "seconds": _mean(r.seconds for r in done),
        "ended": ", ".join(dict.fromkeys(r.ended for r in done)),
        "size": _mean(r.size for r in done),
    }
    values |= {name: _mean(h[name] for h in heads) for name in ("cer", "wer", "bleu", "chrf")}
    return replace(about, **values)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _part(heads: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Exact match of the seen or the unseen inputs, where there are both."""
    parts = [h[name] for h in heads if h[name] is not None]
    if not parts or not 0 < parts[0]["count"] < heads[0]["count"]:
        return None
    return _mean(part["exact_match"] for part in parts)


def _further(done: Sequence[Result]) -> dict[str, float]:
    names = list(done[0].scores)[1:]
    return {name: float(np.mean([r.scores[name]["exact_match"] for r in done])) for name in names}


def _judged(
    rows: Sequence[Row],
    grouped: Mapping[str, Sequence[Result]],
    references: Sequence[Sequence[str]],
    metric: str,
) -> list[Row]:
    """The rows with the first marked and every other one's distance to it tested."""
    if not rows:
        return []
    counts: dict[tuple[str, int], np.ndarray] = {}

    def counted(label: str, seeds: Sequence[int]) -> np.ndarray:
        for run in grouped[label]:
            if run.seed in seeds and (label, run.seed) not in counts:
                counts[label, run.seed] = measure(run.outputs, references).counts_NC
        summed: np.ndarray = np.sum([counts[label, seed] for seed in seeds], axis=0)
        return summed

    best = rows[0]
    found = [replace(best, best=True)]
    for row in rows[1:]:
        common = [seed for seed in best.seeds if seed in row.seeds]
        delta = None
        if common:
            pair = (counted(best.label, common), counted(row.label, common))
            delta = compare_counts(*pair).deltas[metric]
        found.append(replace(row, to_best=delta))
    return found
