"""How the learning rate moves: pure functions of where the run stands.

Each gives the factor of ``lr`` for the update that is about to be made:

    constant       min(1, n / w)
    halving        0.5 ** (1 + floor((e - after) / every)) from epoch ``after`` on   (Luong 2015
                   4.1: after 5, every 1; Sutskever 2014 3.4: after 5, every 0.5)
    inverse_sqrt   min(n / w, sqrt(w / n))            (Vaswani 2017, eq. 3, with its peak at 1)
    linear         up to 1 over ``warmup_part`` of the run, then straight down to 0
    cosine         the same along half cosines                         (Smith 2018, one cycle)
    plateau        ``plateau_factor`` for every ``plateau_patience`` validations in a row that
                   brought nothing better
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from jumok.training.options import Optim

__all__ = ["SCHEDULES", "Progress", "noam_peak", "rate"]

START = 0.04
"""One cycle begins at this share of its highest rate."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands as update number ``step`` (from 1) is about to be made."""

    step: int
    epoch: float
    """Passes over the data so far, parts included."""
    fraction: float
    """Share of the run that lies behind: 0 to 1."""
    scores: Sequence[float] = ()
    """What validation gave so far, higher is better."""


def rate(optim: Optim, progress: Progress) -> float:
    """The learning rate of the update that is about to be made."""
    return optim.lr * SCHEDULES[optim.schedule](optim, progress)


def constant(optim: Optim, at: Progress) -> float:
    return min(1.0, at.step / max(1, optim.warmup_steps))


def halving(optim: Optim, at: Progress) -> float:
    if at.epoch < optim.halve_after:
        return 1.0
    return 0.5 ** (1 + math.floor((at.epoch - optim.halve_after) / optim.halve_every))


def inverse_sqrt(optim: Optim, at: Progress) -> float:
    warmup = max(1, optim.warmup_steps)
    return min(at.step / warmup, math.sqrt(warmup / at.step))


def linear(optim: Optim, at: Progress) -> float:
    return _one_cycle(optim, at, lambda x: x)


def cosine(optim: Optim, at: Progress) -> float:
    return _one_cycle(optim, at, lambda x: (1 - math.cos(math.pi * x)) / 2)


def _one_cycle(optim: Optim, at: Progress, shape: Callable[[float], float]) -> float:
    up = optim.warmup_part
    if at.fraction < up:
        return START + (1 - START) * shape(at.fraction / up)
    return shape((1 - at.fraction) / (1 - up)) if up < 1 else 1.0


def plateau(optim: Optim, at: Progress) -> float:
    best, stale, cuts = -math.inf, 0, 0
    for score in at.scores:
        stale = 0 if score > best else stale + 1
        best = max(best, score)
        if stale == optim.plateau_patience:
            cuts, stale = cuts + 1, 0
    return optim.plateau_factor**cuts


SCHEDULES: Mapping[str, Callable[[Optim, Progress], float]] = MappingProxyType(
    {
        "constant": constant,
        "halving": halving,
        "inverse_sqrt": inverse_sqrt,
        "linear": linear,
        "cosine": cosine,
        "plateau": plateau,
    }
)


def noam_peak(hidden_size: int, warmup_steps: int) -> float:
    """The ``lr`` that makes ``inverse_sqrt`` Vaswani 2017's equation 3 exactly."""
    return float((hidden_size * warmup_steps) ** -0.5)
