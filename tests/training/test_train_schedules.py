"""Every schedule against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from jumok.errors import ConfigError
from jumok.training.options import Optim, Training
from jumok.training.schedules import Progress, noam_peak, rate


def _rate(optim: Optim, *, step: int = 1, epoch: float = 0.0, fraction: float = 0.0,
          scores: tuple[float, ...] = ()) -> float:  # fmt: skip
    return rate(optim, Progress(step=step, epoch=epoch, fraction=fraction, scores=scores))


@pytest.mark.parametrize(("step", "want"), [(1, 0.5), (2, 1.0), (4, 2.0), (5, 2.0), (999, 2.0)])
def test_constant_after_a_warm_up(step: int, want: float) -> None:
    assert _rate(Optim(lr=2.0, warmup_steps=4), step=step) == want


def test_constant_without_warm_up_is_constant_from_the_first_step() -> None:
    assert _rate(Optim(lr=0.7), step=1) == 0.7


@pytest.mark.parametrize(
    ("epoch", "want"),
    [(0, 0.7), (4.99, 0.7), (5, 0.35), (5.49, 0.35), (5.5, 0.175), (6, 0.0875), (7.4, 0.7 / 32)],
)
def test_sutskever_halves_every_half_epoch_after_five(epoch: float, want: float) -> None:
    optim = Optim(name="sgd", lr=0.7, schedule="halving", halve_after=5, halve_every=0.5)
    assert _rate(optim, epoch=epoch) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(("epoch", "want"), [(7.9, 1), (8, 0.5), (9, 0.25), (11.5, 1 / 16)])
def test_luong_halves_every_epoch_after_eight_with_dropout(epoch: float, want: float) -> None:
    optim = Optim(name="sgd", lr=1.0, schedule="halving", halve_after=8, halve_every=1)
    assert _rate(optim, epoch=epoch) == want


@pytest.mark.parametrize("step", [1, 7, 3999, 4000, 4001, 100_000])
def test_inverse_sqrt_is_equation_3_of_vaswani(step: int) -> None:
    d, w = 512, 4000
    optim = Optim(lr=noam_peak(d, w), schedule="inverse_sqrt", warmup_steps=w)
    want = d**-0.5 * min(step**-0.5, step * w**-1.5)
    assert _rate(optim, step=step) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("fraction", "want"), [(0, 0.04), (0.1, 0.52), (0.2, 1), (0.6, 0.5), (0.8, 0.25), (1, 0)]
)
def test_linear_rises_and_falls(fraction: float, want: float) -> None:
    optim = Optim(lr=3.0, schedule="linear", warmup_part=0.2)
    assert _rate(optim, fraction=fraction) == pytest.approx(3 * want, abs=1e-12)


@pytest.mark.parametrize(
    ("fraction", "want"),
    [(0, 0.04), (0.1, 0.52), (0.2, 1), (0.4, (1 + math.cos(math.pi / 4)) / 2), (0.6, 0.5), (1, 0)],
)
def test_cosine_rises_and_falls(fraction: float, want: float) -> None:
    optim = Optim(lr=3.0, schedule="cosine", warmup_part=0.2)
    assert _rate(optim, fraction=fraction) == pytest.approx(3 * want, abs=1e-12)


def test_one_cycle_without_warm_up_begins_at_the_top() -> None:
    assert _rate(Optim(lr=1.0, schedule="linear", warmup_part=0.0)) == 1.0
    assert _rate(Optim(lr=1.0, schedule="cosine", warmup_part=1.0), fraction=1.0) == 1.0


@pytest.mark.parametrize(
    ("scores", "cuts"),
    [
        ((), 0),
        ((0.1, 0.2, 0.3), 0),
        ((0.3, 0.2), 0),
        ((0.3, 0.2, 0.3), 1),
        ((0.3, 0.2, 0.3, 0.1, 0.1), 2),
        ((0.3, 0.2, 0.4, 0.1, 0.1, 0.5), 1),
        ((-math.inf, -math.inf), 1),
    ],
)
def test_plateau_cuts_after_two_validations_without_gain(
    scores: tuple[float, ...], cuts: int
) -> None:
    optim = Optim(lr=1.0, schedule="plateau", plateau_patience=2, plateau_factor=0.25)
    assert _rate(optim, scores=scores) == 0.25**cuts


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": 0.0}, "`lr` must be above 0, but is 0.0."),
        ({"clip_norm": -1.0}, "`clip_norm` must be 0 (never) or more, but is -1.0."),
        ({"halve_every": 0.0}, "`halve_every` must be above 0"),
        ({"warmup_part": 1.5}, "`warmup_part` must be between 0 and 1, but is 1.5."),
    ],
)
def test_an_optimiser_that_makes_no_sense_is_refused(options: dict, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Optim(**options)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_epochs": None}, "must say when to stop"),
        ({"label_smoothing": 1.0}, "`label_smoothing` must be at least 0 and below 1, but is 1.0."),
        ({"ema_decay": 1.0}, "`ema_decay` must be at least 0 and below 1, but is 1.0."),
        ({"ema_decay": 0.9, "average_last": 2}, "exclude each other"),
        ({"log_every": 0}, "`log_every` must be at least 1"),
        ({"patience": 0}, "`patience` must be at least 1, but is 0."),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(options: dict, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Training(**options)
    assert said in str(error.value)
