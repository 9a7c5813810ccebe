"""What every score is a function of: one row of integer counts per sentence.

A corpus score depends on the rows only through the sum of these counts. So a slice of the
corpus is a sum over some rows, a bootstrap resample is a sum with repetitions, and both are exact:
the counts are integers below 2**53 held in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["METRICS", "Statistics", "best_reference", "measure", "rates"]

METRICS = ("exact_match", "cer", "wer", "bleu", "chrf")
"""exact_match, cer and wer are fractions; bleu and chrf run from 0 to 100."""

# Columns of the matrix of counts.
MATCH, ROWS, CHAR_EDITS, CHAR_LENGTH, WORD_EDITS, WORD_LENGTH = range(6)
BLEU_COLUMNS = slice(6, 16)  # hypothesis length, reference length, 4 correct, 4 total
CHRF_COLUMNS = slice(16, 34)  # (hypothesis, reference, match) for orders 1 to 6
CHRF_ORDER, CHRF_BETA, BLEU_ORDER = 6, 2, 4


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Counts of N rows, and how BLEU and chrF counted."""

    counts_NC: np.ndarray
    signatures: Mapping[str, str]


def best_reference(
    hypothesis: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[int, int]:
    """(edits, number of the reference) of the reference with the fewest edits.

    Symbols are characters of a string or items of a list. Of equally near references the longest
    counts (it gives the lower rate), then the first.
    """
    from rapidfuzz.distance import Levenshtein

    edits = [Levenshtein.distance(reference, hypothesis) for reference in references]
    best = min(range(len(edits)), key=lambda i: (edits[i], -len(references[i]), i))
    return edits[best], best


def _edit_counts(hypothesis: str, references: Sequence[str]) -> list[int]:
    char_edits, char = best_reference(hypothesis, references)
    words = [reference.split() for reference in references]
    word_edits, word = best_reference(hypothesis.split(), words)
    return [char_edits, len(references[char]), word_edits, len(words[word])]


def measure(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    bleu_tokenizer: str = "13a",
) -> Statistics:
    """The counts of each row. ``references[i]`` are the accepted texts of row i, at least one."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    most = max(len(texts) for texts in references)
    # sacrebleu wants one list per reference number, None where a row has fewer.
    streams: list[list[Any]] = [
        [t[i] if i < len(t) else None for t in references] for i in range(most)
    ]
    edits = [
        [int(hypothesis in texts), 1, *_edit_counts(hypothesis, texts)]
        for hypothesis, texts in zip(hypotheses, references, strict=True)
    ]
    metrics = {
        "bleu": BLEU(tokenize=bleu_tokenizer, force=True),
        "chrf": CHRF(char_order=CHRF_ORDER, beta=CHRF_BETA),
    }
    # The only place that gives per-row counts; a test holds them to the public corpus_score.
    tables = [m._extract_corpus_statistics(hypotheses, streams) for m in metrics.values()]
    counts_NC = np.hstack([np.asarray(t, dtype=np.float64) for t in (edits, *tables)])
    signatures = {name: str(m.get_signature()) for name, m in metrics.items()}
    return Statistics(counts_NC=counts_NC, signatures=signatures)


def rates(sums_C: np.ndarray) -> dict[str, np.ndarray]:
    """Every score from summed counts; leading axes (resamples) are kept.

    CER and WER are micro-averages: all edits over all symbols of the references they were counted
    against, and they can exceed 1. If those references are all empty, over one symbol.
    """
    sums = np.asarray(sums_C, dtype=np.float64)
    return {
        "exact_match": sums[..., MATCH] / np.maximum(sums[..., ROWS], 1),
        "cer": sums[..., CHAR_EDITS] / np.maximum(sums[..., CHAR_LENGTH], 1),
        "wer": sums[..., WORD_EDITS] / np.maximum(sums[..., WORD_LENGTH], 1),
        "bleu": _bleu(sums[..., BLEU_COLUMNS]),
        "chrf": _chrf(sums[..., CHRF_COLUMNS]),
    }


def _bleu(sums: np.ndarray) -> np.ndarray:
    """Corpus BLEU (Papineni et al. 2002), exponential smoothing as mteval-v13a: sacrebleu's."""
    hypothesis_length, reference_length = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + BLEU_ORDER], sums[..., 2 + BLEU_ORDER :]
    halvings = np.cumsum(correct == 0, axis=-1)
    counted = np.where(correct > 0, correct, 0.5**halvings)
    log_precision = np.log(counted) - np.log(np.maximum(total, 1))
    excess = reference_length / np.maximum(hypothesis_length, 1) - 1
    log_penalty = -np.maximum(excess, 0)
    score = 100 * np.exp(log_penalty + log_precision.mean(axis=-1))
    defined = (total > 0).all(axis=-1) & (correct > 0).any(axis=-1)
    return np.where(defined, score, 0.0)


def _chrf(sums: np.ndarray) -> np.ndarray:
    """Corpus chrF2 (Popović 2015): the F of mean precision and recall over orders 1 to 6."""
    orders = sums.reshape(*sums.shape[:-1], CHRF_ORDER, 3)
    hypothesis, reference, match = orders[..., 0], orders[..., 1], orders[..., 2]
    seen = (hypothesis > 0) & (reference > 0)
    orders_seen = np.maximum(seen.sum(axis=-1), 1)
    precision = np.where(seen, match / np.maximum(hypothesis, 1), 0).sum(axis=-1) / orders_seen
    recall = np.where(seen, match / np.maximum(reference, 1), 0).sum(axis=-1) / orders_seen
    factor = CHRF_BETA**2
    bottom = factor * precision + recall
    score: np.ndarray = 100 * (1 + factor) * precision * recall / np.where(bottom > 0, bottom, 1)
    return score
