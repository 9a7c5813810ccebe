"""Which model is chosen, when training stops, and what is averaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from training_tiny import Tiny, data, flat, validate

from jumok.errors import TrainingError
from jumok.training.averages import Averages, copy_of, worn
from jumok.training.events import Checkpoint, Done, Event, Step, Validation
from jumok.training.options import Optim, Training
from jumok.training.run import START, Run
from jumok.training.trainer import Validate, fit
from jumok.training.update import update

BASE = Training(max_epochs=9.0, threads=1, choose_by="score")
STEPS = 6
"""Updates in an epoch of the tiny data."""


def _scripted(values: Iterable[float], seen: list[bytes] | None = None) -> Validate:
    """A validation that gives ``values`` in turn and keeps the weights that it was shown."""
    left = iter(values)

    def score(model: nn.Module) -> Mapping[str, float]:
        if seen is not None:
            seen.append(flat(model))
        return {"score": next(left), "other": 0.0}

    return score


def _train(values: Iterable[float], **change: Any) -> tuple[Done, list[Event], list[bytes], Tiny]:
    told: list[Event] = []
    seen: list[bytes] = []
    model = Tiny()
    done = fit(
        model, data(), _scripted(values, seen), optim=Optim(lr=1e-2),
        options=replace(BASE, **change), listeners=[told.append],
    )  # fmt: skip
    return done, told, seen, model


def test_the_model_ends_with_the_weights_that_scored_best() -> None:
    done, told, seen, model = _train([0.1, 0.5, 0.3, 0.4], max_epochs=4.0)
    assert (done.chosen_step, done.score, done.step) == (2 * STEPS, 0.5, 4 * STEPS)
    assert flat(model) == seen[1] != seen[3]
    chosen = [event.chosen for event in told if isinstance(event, Validation)]
    assert chosen == [True, True, False, False]


def test_of_equal_scores_the_last_is_chosen() -> None:
    done, _, seen, model = _train([0.5, 0.5, 0.5], max_epochs=3.0)
    assert done.chosen_step == 3 * STEPS and flat(model) == seen[2] != seen[0]


def test_the_lowest_error_is_chosen_where_lower_is_better() -> None:
    done, *_ = _train([0.5, 0.2, 0.3], max_epochs=3.0, lower_is_better=True)
    assert done.chosen_step == 2 * STEPS and done.score == 0.2


def test_patience_counts_validations_without_gain() -> None:
    done, *_ = _train([0.1, 0.3, 0.2, 0.4, 0.4, 0.1, 0.2, 0.9], patience=3)
    assert (done.reason, done.step, done.chosen_step) == ("patience", 7 * STEPS, 5 * STEPS)


def test_steps_epochs_and_time_end_a_run() -> None:
    assert _train([0.1] * 9, max_steps=4)[0].reason == "steps"
    done = _train([0.1] * 9, max_epochs=1.5)[0]
    assert done.reason == "epochs" and done.epoch >= 1.5 and done.step == 9
    done = _train([0.1] * 9, max_epochs=None, time_limit=1e-9)[0]
    assert done.reason == "time" and done.step == 0


def test_the_end_is_scored_even_in_the_middle_of_an_epoch() -> None:
    done, told, *_ = _train([0.1, 0.2], max_epochs=None, max_steps=STEPS + 2)
    steps = [event.step for event in told if isinstance(event, Validation)]
    assert steps == [STEPS, STEPS + 2] and done.chosen_step == STEPS + 2


def test_validation_may_be_every_so_many_steps() -> None:
    _, told, *_ = _train([0.1] * 9, max_epochs=None, max_steps=12, validate_every=5)
    assert [e.step for e in told if isinstance(e, Validation)] == [5, 10, 12]
    assert [e.step for e in told if isinstance(e, Checkpoint)] == [5, 10, 12]
    assert [e.step for e in told if isinstance(e, Step)] == list(range(1, 13))


def test_without_validation_the_last_weights_stay() -> None:
    model = Tiny()
    before = flat(model)
    done = fit(model, data(), options=replace(BASE, max_epochs=1.0))
    assert (done.chosen_step, done.score) == (STEPS, None) and flat(model) != before


def test_without_validation_the_moving_average_is_taken() -> None:
    plain, smooth = Tiny(), Tiny()
    fit(plain, data(), options=replace(BASE, max_epochs=1.0))
    fit(smooth, data(), options=replace(BASE, max_epochs=1.0, ema_decay=0.9))
    assert flat(plain) != flat(smooth)


def test_a_score_that_validation_does_not_give_is_an_error_that_names_those_it_gives() -> None:
    with pytest.raises(
        TrainingError, match="`choose_by` is 'bleu', but validation gives other, score"
    ):
        _train([0.1], choose_by="bleu")


def test_exposure_bias_is_noticed_since_the_choice_is_free_running() -> None:
    """Teacher-forced likelihood rises all along; what runs freely is best in the middle."""
    forced: list[float] = []

    def score(model: nn.Module) -> Mapping[str, float]:
        forced.append(validate(model)["likely"])
        return {"exact_match": 1 - abs(len(forced) - 4) / 10, "forced": forced[-1]}

    done = fit(
        Tiny(), data(), score, optim=Optim(lr=3e-2),
        options=replace(BASE, max_epochs=8.0, choose_by="exact_match"),
    )  # fmt: skip
    assert done.chosen_step == 4 * STEPS
    assert max(range(8), key=forced.__getitem__) > 4


# --- averages ---------------------------------------------------------------------------------


def test_what_is_scored_and_chosen_is_the_average() -> None:
    raw: list[dict[str, torch.Tensor]] = []
    model = Tiny()
    seen: list[bytes] = []

    def listen(event: Event) -> None:
        if isinstance(event, Step) and event.step % STEPS == 0:
            raw.append(copy_of(model))

    fit(
        model, data(), _scripted([0.1, 0.2, 0.3, 0.4, 0.5], seen), optim=Optim(lr=1e-2),
        options=replace(BASE, max_epochs=5.0, average_last=3), listeners=[listen],
    )  # fmt: skip
    for n, shown in enumerate(seen):
        last = raw[max(0, n - 2) : n + 1]
        mean = {k: torch.stack([w[k].double() for w in last]).mean(0).float() for k in raw[0]}
        assert shown == flat(mean)
    assert flat(model) == seen[-1]


def test_the_moving_average_follows_its_formula() -> None:
    """decay_n = min(decay, (1 + n) / (10 + n)), n counting the updates that were made."""
    model = Tiny()
    want = {k: v.double() for k, v in copy_of(model).items()}
    made = 0

    def listen(event: Event) -> None:
        nonlocal want, made
        if isinstance(event, Step):
            made += 1
            decay = min(0.7, (1 + made) / (10 + made))
            want = {k: decay * v + (1 - decay) * copy_of(model)[k] for k, v in want.items()}

    def score(model: nn.Module) -> Mapping[str, float]:
        for name, value in copy_of(model).items():
            assert torch.allclose(value.double(), want[name], atol=1e-6), made
        return {"score": 0.0}

    fit(
        model, data(), score, optim=Optim(lr=3e-2), listeners=[listen],
        options=replace(BASE, max_epochs=None, max_steps=30, validate_every=1, ema_decay=0.7),
    )  # fmt: skip
    assert made == 30


def test_a_skipped_update_does_not_count_for_the_moving_average() -> None:
    averages = Averages(Tiny(), ema_decay=0.9, last=0)
    run = Run(Tiny(), data(), Optim(), replace(BASE, ema_decay=0.9), scored=False)
    run.at.step = 50
    run.averages = averages
    counted: list[int] = []
    averages.follow = counted.append  # type: ignore[method-assign]
    update(run, [run.data.collate(np.arange(5))], START)
    assert counted == [1]


def test_validation_under_an_average_leaves_training_alone() -> None:
    runs: list[list[float]] = []
    for score in (None, _scripted([0.1] * 9)):
        model, told = Tiny(), list[Event]()
        fit(
            model, data(), score, optim=Optim(lr=1e-2), listeners=[told.append],
            options=replace(BASE, max_epochs=2.0, ema_decay=0.5),
        )  # fmt: skip
        runs.append([event.loss for event in told if isinstance(event, Step)])
    assert runs[0] == runs[1] and len(runs[0]) == 2 * STEPS


def test_weights_worn_for_a_while_are_taken_off_to_the_last_bit() -> None:
    model, other = Tiny(seed=1), Tiny(seed=2)
    before = flat(model)
    with pytest.raises(ZeroDivisionError), worn(model, copy_of(other)):
        assert flat(model) == flat(other)
        raise ZeroDivisionError
    assert flat(model) == before
