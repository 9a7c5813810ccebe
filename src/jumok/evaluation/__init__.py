"""Hypotheses and references to numbers with intervals: strings in, numbers out.

``score`` one system, ``compare`` two on the same rows, ``confusions`` and ``worst`` for what went
wrong. Strings are compared as they are given, code point by code point: normalise before, if at
all. sacrebleu and rapidfuzz are imported when a function needs them, not before.
"""

from __future__ import annotations

from jumok.evaluation.comparison import Comparison, Delta, compare
from jumok.evaluation.confusions import (
    Confusion,
    Confusions,
    Example,
    Mistake,
    confusions,
    worst,
)
from jumok.evaluation.intervals import Interval, wilson
from jumok.evaluation.scores import Scores, score
from jumok.evaluation.slices import LengthBucket, Slice

__all__ = [
    "Comparison",
    "Confusion",
    "Confusions",
    "Delta",
    "Example",
    "Interval",
    "LengthBucket",
    "Mistake",
    "Scores",
    "Slice",
    "compare",
    "confusions",
    "score",
    "wilson",
    "worst",
]
