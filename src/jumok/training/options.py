"""What a training run can be told: two frozen dataclasses, ``[optim]`` and ``[training]``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jumok.errors import ConfigError

__all__ = ["FREE", "Optim", "Training"]

FREE = frozenset(
    {
        "max_epochs",
        "max_steps",
        "time_limit",
        "patience",
        "checkpoint_seconds",
        "on_save_error",
        "threads",
    }
)
"""Fields of ``Training`` that a resumed run may change: they say when to stop, not what to do."""


@dataclass(frozen=True, kw_only=True)
class Optim:
    """The optimiser, its rate and the rate's schedule."""

    name: Literal["adamw", "sgd", "adadelta", "rmsprop"] = "adamw"
    """The rule that turns gradients into steps."""
    lr: float = 1e-3
    """Learning rate at its highest; the schedule multiplies it."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW: decay of the two moments."""
    eps: float = 1e-8
    """AdamW: added to the denominator."""
    weight_decay: float = 0.0
    """AdamW: decoupled decay of matrices; vectors (biases, gains) are never decayed."""
    momentum: float = 0.0
    """SGD, RMSProp (Graves 2013: 0.9): share of the last step that is kept."""
    nesterov: bool = False
    """SGD: the gradient counts once more beside the step it joins (Gehring 2017)."""
    rho: float = 0.95
    """Adadelta, RMSProp: decay of the two averages; their epsilons are the papers' 1e-6, 1e-4."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this global norm; 0 = never."""
    clip_value: float = 0.0
    """Each number of a gradient is cut off here, before `clip_norm`; 0 = never."""
    schedule: Literal["constant", "halving", "inverse_sqrt", "linear", "cosine", "plateau"] = (
        "constant"
    )
    """How the rate moves; see ``jumok.training.schedules``."""
    warmup_steps: int = 0
    """constant, inverse_sqrt: updates until the rate is at its highest."""
    warmup_part: float = 0.1
    """linear, cosine: share of the run in which the rate rises."""
    halve_after: float = 5.0
    """halving: epochs before the first halving."""
    halve_every: float = 1.0
    """halving: epochs between halvings (Luong 1.0, Sutskever 0.5)."""
    plateau_factor: float = 0.5
    """plateau: what the rate is multiplied by."""
    plateau_patience: int = 2
    """plateau: validations without improvement before it is."""

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ConfigError(f"`lr` must be above 0, but is {self.lr}.")
        if self.nesterov and (self.name != "sgd" or not self.momentum > 0):
            raise ConfigError(
                "`nesterov` is a form of momentum: it needs name = sgd and `momentum` above 0."
            )
        if self.clip_norm < 0:
            raise ConfigError(f"`clip_norm` must be 0 (never) or more, but is {self.clip_norm}.")
        if self.clip_value < 0:
            raise ConfigError(f"`clip_value` must be 0 (never) or more, but is {self.clip_value}.")
        if not 0 <= self.warmup_part <= 1:
            raise ConfigError(f"`warmup_part` must be between 0 and 1, but is {self.warmup_part}.")
        if self.halve_every <= 0 or self.plateau_patience < 1:
            raise ConfigError("`halve_every` must be above 0 and `plateau_patience` at least 1.")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long to train, what to minimise, how to choose the model."""

    max_epochs: float | None = 10.0
    """Passes over the data, parts of one included; none = no limit."""
    max_steps: int | None = None
    """Updates; none = no limit."""
    time_limit: float | None = None
    """Seconds of training in all, interruptions left out; none = no limit."""
    patience: int | None = None
    """Validations without improvement before training stops; none = never."""
    update_tokens: int = 0
    """Target tokens gathered for one update, from as many batches as it takes; 0 = one batch."""
    label_smoothing: float = 0.0
    """Share of the likelihood that is spread evenly over the vocabulary."""
    guided_weight: float = 0.0
    """Weight of the guided-alignment term (Chen et al. 2016); only pairs with links have it. Where
    training has links and nothing is said, 0.05 (Garg et al. 2019)."""
    coverage_weight: float = 0.0
    """Weight of the coverage loss: attention that goes where it has been (See 2017, eq. 12)."""
    r_drop: float = 0.0
    """Weight of R-Drop: every batch goes through twice with other dropout masks, and what the two
    passes find likely is drawn together; needs dropout, takes twice the time; 0 = off
    (Liang et al. 2021; the paper's 5 for translation)."""
    validate_every: int = 0
    """Updates between validations; 0 = at the end of each epoch."""
    choose_by: str = "exact_match"
    """The score, among those that validation returns, by which the model is chosen."""
    lower_is_better: bool = False
    """True where ``choose_by`` is an error rate or a loss."""
    ema_decay: float = 0.0
    """Decay of an exponential moving average of the weights, which is then what is scored and
    chosen; 0 = none."""
    average_last: int = 0
    """Score and choose the mean of the weights at the last so many validations; 0 = none."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Operands of matrix products; weights, losses and optimiser are float32 always."""
    threads: int | None = None
    """Processor threads; a resumed run has the same bits only with the same number."""
    seed: int = 0
    """Names the dropout masks (the order of the examples has its own seed in the plan)."""
    log_every: int = 10
    """Every so many updates a line goes to metrics.jsonl."""
    checkpoint_seconds: float = 600.0
    """Save at least this often between validations, which save always."""
    on_save_error: Literal["stop", "continue"] = "stop"
    """What to do when a checkpoint cannot be written."""

    def __post_init__(self) -> None:
        if self.max_epochs is None and self.max_steps is None and self.time_limit is None:
            raise ConfigError("`max_epochs`, `max_steps` or `time_limit` must say when to stop.")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"`patience` must be at least 1, but is {self.patience}.")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(
                f"`label_smoothing` must be at least 0 and below 1, but is {self.label_smoothing}."
            )
        if not 0 <= self.r_drop < math.inf:
            raise ConfigError(f"`r_drop` must be 0 (off) or more, but is {self.r_drop}.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(
                f"`ema_decay` must be at least 0 and below 1, but is {self.ema_decay}."
            )
        if self.ema_decay and self.average_last:
            raise ConfigError("`ema_decay` and `average_last` exclude each other; set one to 0.")
        if self.log_every < 1 or self.validate_every < 0 or self.average_last < 0:
            raise ConfigError(
                "`log_every` must be at least 1, `validate_every` and `average_last` at least 0."
            )
