"""What every search owes, checked on an engine and real sentences of ids.

A source is a row of ids, its end symbol last; where the model copies, a second row under it says
what copying each symbol writes. Each check returns a ``Finding``: the largest
difference and where it was. *Bits* are compared where the engine promises them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from jumok.checks.laws import Finding
from jumok.data.arrays import pad
from jumok.data.copying import extra_width
from jumok.models.contract import Want
from jumok.records import BOS, PAD, Batch, Hypothesis, Source
from jumok.search import Engine, SearchOptions, score, search
from jumok.search.beam import beam_search
from jumok.search.greedy import greedy
from jumok.training.data import to_torch

__all__ = [
    "attention_fits",
    "batch_mates_change_no_bit",
    "beam_of_one_is_greedy",
    "forced_is_search",
    "forward_is_engine",
    "source_of",
]

Rows = Sequence[np.ndarray]
"""Sources, (S,) or with what can be copied (2, S); none is empty."""


def source_of(rows: Rows, vocabulary_size: int) -> Source:
    """``rows`` padded to their longest; ids from ``vocabulary_size`` on are to be copied."""
    both = [row.reshape(-1, row.shape[-1]) for row in rows]
    ids_BS, mask_BS = pad([row[0].tolist() for row in both])
    if not both or len(both[0]) == 1:
        return Source(ids_BS=ids_BS, mask_BS=mask_BS)
    copy_ids_BS, _ = pad([row[1].tolist() for row in both])
    extra = extra_width(copy_ids_BS, vocabulary_size)
    return Source(ids_BS=ids_BS, mask_BS=mask_BS, copy_ids_BS=copy_ids_BS, extra=extra)


def batch_mates_change_no_bit(
    engine: Engine,
    rows: Rows,
    options: SearchOptions,
    *,
    name: str,
    draws: int = 8,
    largest: int = 64,
    seed: int = 0,
    tolerance: float = 0.0,
) -> Finding:
    """Every sentence alone, then in random company: any size, any order, the same one twice.

    Compared are ids, log-probabilities, scores, weights and maps of all hypotheses, as bits;
    a ``tolerance`` above 0 is for devices where bits are not promised.
    """
    law = f"batch invariance, {name}"
    V = engine.vocabulary_size
    alone = [search(engine, source_of([row], V), options)[0] for row in rows]
    worst, differ, count, place = 0.0, 0, 0, ""
    for numbers in _companies(rows, draws, largest, seed):
        together = search(engine, source_of([rows[n] for n in numbers], V), options)
        for n, found in zip(numbers, together, strict=True):
            count += 1
            if _bits(found) != _bits(alone[n]):
                differ += 1
                worst = max(worst, _apart(found, alone[n]))
                place = place or f"; first: source {n + 1} in a batch of {len(numbers)}"
    detail = f"{differ} of {count} outputs differ in any bit from the same source alone{place}"
    return Finding(law, differ == 0 or worst <= tolerance, worst, detail)


def _companies(rows: Rows, draws: int, largest: int, seed: int) -> Iterator[np.ndarray]:
    """All together, all turned, the longest among the shortest, and ``draws`` at random."""
    random, size = np.random.default_rng(seed), len(rows)
    everyone = np.arange(size)
    yield everyone
    yield everyone[::-1]
    by_length = np.argsort([row.shape[-1] for row in rows], kind="stable")
    yield np.concatenate([by_length[:3], by_length[-1:], by_length[:3]])
    for _ in range(draws):
        yield random.integers(0, size, random.integers(1, largest + 1))


def _bits(found: Sequence[Hypothesis]) -> bytes:
    """All numbers of these hypotheses."""
    parts = []
    for h in found:
        arrays = (h.ids_T, h.logprobs_T, np.float64(h.score), np.float64(h.rank_score))
        maps = [] if h.weights_TS is None else [h.weights_TS]
        for array in (*arrays, *maps, *h.maps.values()):
            array = np.ascontiguousarray(array)
            parts.append(f"{array.shape}{array.dtype}".encode() + array.tobytes())
    return b"|".join(parts)


def _apart(one: Sequence[Hypothesis], other: Sequence[Hypothesis]) -> float:
    """The largest difference between two n-best lists; infinite where other symbols came out."""
    if [h.ids_T.tolist() for h in one] != [h.ids_T.tolist() for h in other]:
        return float("inf")
    pairs = list(zip(one, other, strict=True))
    return max((max(_gap(a.logprobs_T, b.logprobs_T), _weights_gap(a, b)) for a, b in pairs),
               default=0.0)  # fmt: skip


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max(initial=0.0)) if one.shape == other.shape else float("inf")


def _weights_gap(one: Hypothesis, other: Hypothesis) -> float:
    if one.weights_TS is None or other.weights_TS is None:
        return 0.0 if one.weights_TS is other.weights_TS else float("inf")
    return _gap(one.weights_TS, other.weights_TS)


def beam_of_one_is_greedy(engine: Engine, rows: Rows) -> Finding:
    """To the last bit; and the n-best lists of a wider beam are sorted, without doubles."""
    options, source = SearchOptions(), source_of(rows, engine.vocabulary_size)
    pairs = list(
        zip(greedy(engine, source, options), beam_search(engine, source, options), strict=True)
    )
    differ = [n for n, (one, other) in enumerate(pairs) if _bits(one) != _bits(other)]
    worst = max((_apart(*pairs[n]) for n in differ), default=0.0)
    where = f"; first: source {differ[0] + 1}" if differ else ""
    return Finding("beam 1 = greedy", not differ, worst, f"{len(differ)} outputs differ{where}")


def forced_is_search(
    engine: Engine, rows: Rows, options: SearchOptions, *, tolerance: float
) -> list[Finding]:
    """Each hypothesis given back to be scored: its log-probabilities, and its attention.

    A search that mixes up states, rows or back-pointers fails here.
    """
    found = search(engine, source_of(rows, engine.vocabulary_size), options)
    flat = [(n, h) for n, hypotheses in enumerate(found) for h in hypotheses if len(h.ids_T)]
    source = source_of([rows[n] for n, _ in flat], engine.vocabulary_size)
    again = score(engine, source, [h.ids_T for _, h in flat], options)
    scores = [_score_gap(h, g) for (_, h), g in zip(flat, again, strict=True)]
    maps = [_weights_gap(h, g) for (_, h), g in zip(flat, again, strict=True)]
    said = f"over {len(flat)} outputs"
    return [
        Finding(
            "search score = given score", max(scores, default=0.0) <= tolerance,
            max(scores, default=0.0), said,
        ),
        Finding(
            "attention is the output's own", max(maps, default=0.0) <= tolerance,
            max(maps, default=0.0), said,
        ),
    ]  # fmt: skip


def _score_gap(one: Hypothesis, other: Hypothesis) -> float:
    """Token by token, and of the sum that is reported."""
    sums = abs(one.score - float(np.cumsum(one.logprobs_T)[-1]))
    return max(_gap(one.logprobs_T, other.logprobs_T), abs(one.score - other.score), sums)


def attention_fits(engine: Engine, rows: Rows, options: SearchOptions) -> Finding:
    """A row for each symbol, a column for each real source symbol, shares that are shares."""
    law = "attention fits"
    main = next((spec for spec in engine.maps if spec.is_weights), None)
    has_weights, at_most = main is not None, 1 if main is None or main.at_most_one else np.inf
    worst, count = 0.0, 0
    found = search(engine, source_of(rows, engine.vocabulary_size), options)
    for row, hypotheses in zip(rows, found, strict=True):
        for h in hypotheses:
            count += 1
            if (h.weights_TS is not None) != has_weights:
                return Finding(law, False, float("inf"), "weights and `maps` disagree")
            if h.weights_TS is None:
                continue
            shape = (len(h.ids_T), row.shape[-1])
            if h.weights_TS.shape != shape:
                detail = f"a map is {h.weights_TS.shape}, but its output has {shape}"
                return Finding(law, False, float("inf"), detail)
            low, over = -h.weights_TS.min(initial=0.0), h.weights_TS.sum(axis=1) - at_most
            worst = max(worst, float(low), float(over.max(initial=0.0)))
    detail = f"{count} outputs" if has_weights else "this model has no attention"
    return Finding(law, bool(worst <= 1e-5), worst, detail)


def forward_is_engine(
    model: Any, engine: Engine, rows: Rows, targets: Rows, *, tolerance: float
) -> Finding:
    """Teacher forcing, as in training, against scoring step by step, in the model's precision.

    Log-probabilities are compared relative to 1 + their size, weights as they are.
    """
    out_BT, mask_BT = pad([row.tolist() for row in targets])
    in_BT = np.concatenate([np.full((len(targets), 1), BOS), out_BT[:, :-1]], axis=1)
    batch = Batch(
        source=source_of(rows, engine.vocabulary_size),
        target_in_BT=np.where(mask_BT, in_BT, PAD),
        target_out_BT=out_BT,
        target_mask_BT=mask_BT,
        example_B=np.arange(len(rows)),
    )
    device = next(model.parameters()).device
    with torch.no_grad():
        output = model.forward(to_torch(batch, device), want=Want.WEIGHTS)
    log_probs_BT = output.log_probs_BT.cpu().numpy()
    weights = None if output.weights_BTS is None else output.weights_BTS.cpu().numpy()
    gaps = [0.0]
    for b, given in enumerate(score(engine, batch.source, targets)):
        T, S = len(targets[b]), rows[b].shape[-1]
        size = 1 + np.abs(given.logprobs_T)
        gaps.append(_gap(log_probs_BT[b, :T] / size, given.logprobs_T / size))
        if weights is not None and given.weights_TS is not None:
            gaps.append(_gap(weights[b, :T, :S], given.weights_TS))
    worst = max(gaps)
    return Finding("training = scoring", worst <= tolerance, worst, f"over {len(rows)} pairs")
