"""One system's outputs against the references: every score, its interval, its parts.

Exact match counts rows whose output equals one of the references. CER and WER are micro-averages
(all edits over all reference symbols; of several references the nearest counts, see
``statistics.best_reference``). BLEU and chrF are sacrebleu's, with its signature.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from jumok.errors import UsageError
from jumok.evaluation import table
from jumok.evaluation.intervals import Interval, percentile, resample
from jumok.evaluation.rows import check_references, check_rows
from jumok.evaluation.slices import LengthBucket, Slice, slice_of
from jumok.evaluation.statistics import BLEU_COLUMNS, METRICS, Statistics, measure, rates

__all__ = ["Scores", "score"]

BUCKETS = 5


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All that ``score`` found. Rates are fractions, BLEU and chrF run from 0 to 100."""

    count: int
    exact_match: float
    exact_match_interval: Interval
    """Wilson's, 95%: it keeps its width at 0% and 100%, where the bootstrap has none."""
    cer: float
    wer: float
    bleu: float
    chrf: float
    signatures: Mapping[str, str]
    """sacrebleu's for "bleu" and "chrf"."""
    seen: Slice | None
    """Rows whose source occurs in ``train_sources``; None where those were not given."""
    unseen: Slice | None
    by_length: tuple[LengthBucket, ...]
    intervals: Mapping[str, Interval]
    """Percentile bootstrap, 95%, of every score; empty with ``resamples=0``."""
    seed: int
    resamples: int
    bleu_defined: bool
    """False where no output has four words: BLEU is then 0 whatever they say."""

    @property
    def whole(self) -> Slice:
        """The scores of all rows, as a part among parts."""
        return Slice(**{f.name: getattr(self, f.name) for f in fields(Slice)})

    @property
    def sequence_error_rate(self) -> float:
        """1 - exact match: what SIGMORPHON's g2p tasks publish as "word error rate"."""
        return 1.0 - self.exact_match

    def to_dict(self, *, details: bool = False) -> dict[str, Any]:
        """The object that ``jumok evaluate --json`` prints.

        ``details`` adds what is not part of that agreed object: the bootstrap intervals, the
        scores by length and the sequence error rate.
        """
        result = {
            "schema": "jumok/1",
            **self.whole.to_dict(),
            "signatures": dict(self.signatures),
            "seen": None if self.seen is None else self.seen.to_dict(),
            "unseen": None if self.unseen is None else self.unseen.to_dict(),
        }
        return {**result, **self._details()} if details else result

    def _details(self) -> dict[str, Any]:
        return {
            "sequence_error_rate": self.sequence_error_rate,
            "bootstrap": {
                "seed": self.seed,
                "resamples": self.resamples,
                **{name: list(interval) for name, interval in self.intervals.items()},
            },
            "by_length": [
                {"shortest": b.shortest, "longest": b.longest, **b.scores.to_dict()}
                for b in self.by_length
            ],
        }

    def table(self) -> list[str]:
        """Lines for people: the whole, its parts, the intervals and how they were made."""
        parts = [("all", self.whole), ("seen in training", self.seen), ("never seen", self.unseen)]
        if len(self.by_length) > 1:
            parts += [(f"length {_span(b)}", b.scores) for b in self.by_length]
        shown = [(name, part) for name, part in parts if part is not None]
        intervals = dict(self.intervals)
        if not self.bleu_defined:  # a dash, not a 0 that looks like a score
            shown = [(name, replace(part, bleu=None)) for name, part in shown]
            intervals.pop("bleu", None)
        lines = table.parts(shown)
        lines += ["", table.WILSON, *table.bootstrap(intervals, self.resamples, self.seed)]
        if not self.bleu_defined:
            lines.append("BLEU says nothing here: no output has four words.")
        return lines + [f"{name}: {signature}" for name, signature in self.signatures.items()]

    def __str__(self) -> str:
        return "\n".join(self.table())


def score(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    train_sources: Iterable[str] | None = None,
    seed: int = 0,
    resamples: int = 1000,
    bleu_tokenizer: str = "13a",
    length_unit: str = "character",
) -> Scores:
    """Every score of one system, row i being ``sources[i]``, ``hypotheses[i]``, ``references[i]``.

    ``references[i]`` lists the accepted texts of row i; rows may have different numbers of them.
    With ``train_sources`` rows whose source occurs there are scored apart from those never seen.
    The order of rows changes no number, intervals included. ``length_unit`` ("character" or
    "word") is what source lengths are counted in. Raises ``UsageError`` for zero rows, columns of
    unequal length, a row without references.
    """
    check_rows("sources", sources, "hypotheses", hypotheses)
    check_references(hypotheses, references)
    if resamples < 0:
        raise UsageError(f"`resamples` ({resamples}) must be 0 (no bootstrap) or more.")
    found = measure(hypotheses, references, bleu_tokenizer=bleu_tokenizer)
    seen, unseen = _by_novelty(sources, train_sources, found)
    counts_NC = found.counts_NC
    whole = slice_of(counts_NC)
    return Scores(
        **{f.name: getattr(whole, f.name) for f in fields(Slice)},
        signatures=found.signatures,
        seen=seen,
        unseen=unseen,
        by_length=_by_length(_lengths(sources, length_unit), counts_NC),
        intervals=_bootstrap(counts_NC, seed, resamples),
        seed=seed,
        resamples=resamples,
        bleu_defined=bool(counts_NC[:, BLEU_COLUMNS].sum(axis=0)[-1] > 0),
    )


def _by_novelty(
    sources: Sequence[str], train_sources: Iterable[str] | None, found: Statistics
) -> tuple[Slice | None, Slice | None]:
    if train_sources is None:
        return None, None
    known = frozenset(train_sources)
    is_seen_N = np.array([source in known for source in sources], dtype=bool)
    return slice_of(found.counts_NC[is_seen_N]), slice_of(found.counts_NC[~is_seen_N])


def _bootstrap(counts_NC: np.ndarray, seed: int, resamples: int) -> dict[str, Interval]:
    if resamples == 0:
        return {}
    values = rates(resample(counts_NC, seed=seed, resamples=resamples))
    return {name: percentile(values[name]) for name in METRICS}


def _lengths(sources: Sequence[str], unit: str) -> np.ndarray:
    match unit:
        case "character":
            return np.array([len(source) for source in sources])
        case "word":
            return np.array([len(source.split()) for source in sources])
        case _:
            raise UsageError(f"`length_unit` ({unit!r}) must be 'character' or 'word'.")


def _span(bucket: LengthBucket) -> str:
    low, high = bucket.shortest, bucket.longest
    return f"{low}" if low == high else f"{low}-{high}"


def _by_length(lengths_N: np.ndarray, counts_NC: np.ndarray) -> tuple[LengthBucket, ...]:
    """At most five buckets of about equally many rows; rows of one length stay together."""
    cuts = np.quantile(lengths_N, np.arange(1, BUCKETS) / BUCKETS, method="inverted_cdf")
    bucket_N = np.searchsorted(np.unique(cuts), lengths_N, side="left")
    return tuple(
        LengthBucket(
            shortest=int(lengths_N[bucket_N == b].min()),
            longest=int(lengths_N[bucket_N == b].max()),
            scores=slice_of(counts_NC[bucket_N == b]),
        )
        for b in np.unique(bucket_N)
    )
