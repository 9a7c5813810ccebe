"""What a user may choose about a search; checked where it is written down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jumok.errors import UsageError
from jumok.records import BOS, EOS, PAD

__all__ = ["LengthPenalty", "SearchOptions", "Stop"]

LengthPenalty = Literal["none", "average", "gnmt"]
Stop = Literal["proven", "filled"]


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How to search. Greedy by default; ``beam`` > 1 a beam; ``sample`` draws at random."""

    beam: int = 1
    """Hypotheses kept per sentence; 1 is greedy."""
    nbest: int = 1
    """Hypotheses returned per sentence; with ``sample``, independent draws."""
    length_penalty: LengthPenalty = "none"
    """Divide log p by 1, by the length, or by ((5 + length) / 6) ** length_alpha (Wu 2016, 14).

    Length counts every scored token, the end symbol included.
    """
    length_alpha: float = 0.6
    coverage_penalty: float = 0.0
    """beta of Wu 2016, eq. 14: adds beta * sum_s log(min(sum_t a_ts, 1))."""
    stop: Stop = "proven"
    """``proven``: go on while a live hypothesis can still beat the n-th finished one.
    ``filled``: stop at ``beam`` finished ones (faster with a length penalty, may miss better)."""
    max_length: int = 1000
    """Hard limit on the tokens of one output, end symbol included."""
    length_factor: float = 3.0
    """The limit also is ``length_factor * source + length_constant``; source with its end."""
    length_constant: int = 30
    min_length: int = 0
    """Symbols before the end symbol is allowed."""
    forbidden: tuple[int, ...] = ()
    """Further ids that are never emitted (such as UNK); PAD and BOS never are."""
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    """Draw among the best k; 0 = all."""
    top_p: float = 1.0
    """Draw among the fewest symbols that together reach this probability."""
    seed: int = 0
    alternatives: int = 0
    """Return the best K symbols of every step beside the chosen one."""
    weights: bool = True
    """Return the attention of every hypothesis."""
    maps: bool = False
    """Return every map the model has (scores, heads, encoder side)."""

    def __post_init__(self) -> None:
        _at_least(self, 1, "beam", "nbest", "max_length")
        _at_least(self, 0, "length_factor", "length_constant", "min_length", "length_alpha")
        _at_least(self, 0, "coverage_penalty", "top_k", "alternatives", "seed")
        _one_of("length_penalty", self.length_penalty, ("none", "average", "gnmt"))
        _one_of("stop", self.stop, ("proven", "filled"))
        self._check_sampling()
        if not self.sample and self.nbest > self.beam:
            raise UsageError(
                f"`nbest` ({self.nbest}) must not exceed `beam` ({self.beam}).",
                hint=f"beam={self.nbest}, or sample=True for independent draws.",
            )
        if EOS in self.forbidden:
            raise UsageError("`forbidden` holds the end symbol; no output could ever end.")

    def _check_sampling(self) -> None:
        if self.sample and self.beam > 1:
            raise UsageError(
                f"`sample` and `beam` ({self.beam}) exclude each other.",
                hint="sample=True with nbest=N draws N outputs per sentence.",
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(
                f"`temperature` ({self.temperature}) must be above 0.",
                hint="sample=False takes the best symbol at every step.",
            )
        if not 0 < self.top_p <= 1:
            raise UsageError(f"`top_p` ({self.top_p}) must be above 0 and at most 1.")

    def limits(self, lengths_B: np.ndarray) -> np.ndarray:
        """Most tokens, end symbol included, for sources of these real lengths."""
        rule_B = np.ceil(self.length_factor * lengths_B) + self.length_constant
        limits_B: np.ndarray = np.clip(rule_B, 1, self.max_length).astype(np.int64)
        return limits_B

    def banned(self, step: int) -> tuple[int, ...]:
        """Ids that must not be emitted after ``step`` symbols."""
        early = (EOS,) if step < self.min_length else ()
        return tuple(sorted({PAD, BOS, *self.forbidden, *early}))


def _at_least(options: SearchOptions, least: int, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if not (math.isfinite(value) and value >= least):
            raise UsageError(f"`{name}` ({value}) must be at least {least}.")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"`{name}` ({value!r}) must be one of {', '.join(known)}.")
