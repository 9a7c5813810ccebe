"""A run as it stands: weights, optimiser, averages, the chosen model, and plain counters.

All of it is saved; everything else (what is due, whether it is over, the learning rate) is a
function of it, so that a run that goes on does exactly what it would have done.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from jumok.data.order import Cursor
from jumok.errors import TrainingError
from jumok.training.averages import Averages, Weights, put
from jumok.training.data import TrainingData
from jumok.training.events import Done, Validation
from jumok.training.optimizers import build_optimizer
from jumok.training.options import Optim, Training
from jumok.training.schedules import Progress

__all__ = ["Counters", "Run"]

START = Cursor(0, 0, 0)


@dataclass(kw_only=True)
class Counters:
    """Where a run stands, in numbers; what ``cursor.json`` holds."""

    step: int = 0
    """Updates made or skipped."""
    updates: int = 0
    """Updates made."""
    skipped: int = 0
    """Updates skipped in a row, just now."""
    cursor: Cursor = START
    """The batch that comes next."""
    rows: int = 0
    """Examples seen, repeats counted."""
    scores: list[float] = field(default_factory=list)
    """Every validation's score, higher is better (errors are negated)."""
    best: float = -math.inf
    chosen_step: int = 0
    stale: int = 0
    """Validations since the best one."""
    validated_at: int = 0
    """The step of the last validation."""
    seconds: float = 0.0
    """Time spent before this process."""
    done: bool = False
    """The run's last line is in the log."""


class Run:
    """The state of one training run and the questions one may ask it."""

    def __init__(
        self, model: nn.Module, data: TrainingData, optim: Optim, options: Training, *, scored: bool
    ) -> None:
        self.model, self.data = model, data
        self.optim, self.options, self.scored = optim, options, scored
        self.optimizer = build_optimizer(optim, model)
        self.averages = Averages(model, ema_decay=options.ema_decay, last=options.average_last)
        self.chosen: Weights | None = None
        self.at = Counters()
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent on this run so far, interruptions left out."""
        return self.at.seconds + time.monotonic() - self._started

    @property
    def seconds_left(self) -> float:
        """By the pace so far; infinite before there is one."""
        return self.seconds * (1 - self.fraction) / self.fraction if self.fraction else math.inf

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return next(self.model.parameters()).device

    @property
    def epoch(self) -> float:
        """Passes over the data so far, parts included."""
        return self.at.rows / self.data.plan.num_rows

    @property
    def fraction(self) -> float:
        """Share of the run that lies behind, by whichever limit is nearest.

        With a time limit the clock has a part in it, and with it in the learning rate.
        """
        o = self.options
        limits = ((self.at.step, o.max_steps), (self.epoch, o.max_epochs))
        parts = [now / limit for now, limit in limits if limit]
        if o.time_limit:
            parts.append(self.seconds / o.time_limit)
        return min(1.0, max(parts, default=0.0))

    def progress(self) -> Progress:
        """For the schedule of the update that is about to be made."""
        return Progress(
            step=self.at.step + 1, epoch=self.epoch, fraction=self.fraction, scores=self.at.scores
        )

    def over(self) -> str | None:
        """Which limit has been reached: ``steps``, ``epochs``, ``patience``, ``time``; or None."""
        o, at = self.options, self.at
        if o.max_steps is not None and at.step >= o.max_steps:
            return "steps"
        if o.max_epochs is not None and self.epoch >= o.max_epochs:
            return "epochs"
        if o.patience is not None and at.stale >= o.patience:
            return "patience"
        return "time" if o.time_limit is not None and self.seconds >= o.time_limit else None

    def finished(self) -> bool:
        """A limit has been reached and nothing is left to do there."""
        return self.over() is not None and not self.validation_due()

    def validation_due(self) -> bool:
        """At the end of an epoch or every so many steps, and at the end of the run; once each."""
        at, every = self.at, self.options.validate_every
        if not self.scored or at.validated_at == at.step:
            return False
        regular = at.step % every == 0 if every else at.cursor == Cursor(at.cursor.epoch, 0, 0)
        return regular or self.over() is not None

    def advance(self, cursor: Cursor, rows: int) -> None:
        """One update further, made or skipped."""
        self.at.step += 1
        self.at.cursor = cursor
        self.at.rows += rows
        self.at.done = False

    def begin_anew(self) -> None:
        """Other data from here on: epochs, scores and the choice start again."""
        at = self.at
        self.at = Counters(
            step=at.step, updates=at.updates, validated_at=at.step, seconds=at.seconds
        )
        self.chosen = None
        self.averages.recent = []

    def judge(self, scores: Mapping[str, float], candidate: Weights | None) -> Validation:
        """Notes what validation gave; keeps ``candidate`` (None: the weights) if it is the best."""
        name, at = self.options.choose_by, self.at
        if name not in scores:
            raise TrainingError(
                f"`choose_by` is {name!r}, but validation gives {', '.join(sorted(scores))}.",
                hint="set `training.choose_by` to one of those.",
            )
        score = -scores[name] if self.options.lower_is_better else scores[name]
        score = score if math.isfinite(score) else -math.inf
        chosen = score > at.best or (score == at.best and math.isfinite(score))
        at.validated_at = at.step
        at.scores.append(score)
        at.stale = 0 if score > at.best else at.stale + 1
        if chosen:  # of equal ones the later: it has seen more
            at.best, at.chosen_step = score, at.step
            weights = self.model.state_dict() if candidate is None else candidate
            self.chosen = {key: value.detach().clone() for key, value in weights.items()}
        self.averages.snapshot()
        return Validation(step=at.step, epoch=self.epoch, scores=dict(scores), chosen=chosen)

    def done(self) -> Done:
        """The last event of a run that is over."""
        at, reason = self.at, self.over()
        assert reason is not None
        chosen = at.chosen_step if self.chosen is not None else at.step
        sign = -1.0 if self.options.lower_is_better else 1.0
        score = sign * at.best if self.chosen is not None else None
        return Done(step=at.step, epoch=self.epoch, reason=reason, chosen_step=chosen, score=score)

    def wear_chosen(self) -> None:
        """Puts the best scored weights into the model; without scores the average, if any."""
        weights = self.chosen or self.averages.candidate()
        if weights is not None:
            put(self.model, weights)
