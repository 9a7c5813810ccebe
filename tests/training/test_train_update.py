"""One update: grouping changes nothing, what is not finite changes nothing, dropout is keyed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_tiny import Tiny, data, flat, pairs, validate

from jumok.errors import TrainingError
from jumok.models.contract import Output
from jumok.records import Batch
from jumok.store import latest_good
from jumok.training.data import TrainingData, updates
from jumok.training.events import Event, Skipped, Step
from jumok.training.optimizers import moments, state_arrays
from jumok.training.options import Optim, Training
from jumok.training.run import START, Run
from jumok.training.trainer import fit
from jumok.training.update import update

PLAIN = Training(threads=1)


def _run(model: nn.Module, *, options: Training = PLAIN, optim: Optim = Optim()) -> Run:  # noqa: B008
    return Run(model, data(links=options.guided_weight > 0), optim, options, scored=False)


def _gradient(model: Tiny, sizes: list[int], options: Training) -> dict[str, Tensor]:
    """What one update of the same 13 rows leaves as the gradient, grouped into ``sizes``."""
    run = _run(model, options=options, optim=Optim(name="sgd", lr=1e-30, clip_norm=0.0))
    edges = np.cumsum([0, *sizes])
    rows = [np.arange(a, b) for a, b in pairwise(edges)]
    report = update(run, [run.data.collate(r) for r in rows], START)
    assert isinstance(report, Step)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        replace(PLAIN, label_smoothing=0.2),
        replace(PLAIN, guided_weight=0.5, label_smoothing=0.1),
        replace(PLAIN, r_drop=5.0, label_smoothing=0.1),
    ],
    ids=["plain", "smoothed", "guided", "r-drop"],
)
@pytest.mark.parametrize("sizes", [[1, 12], [5, 5, 3], [1] * 13, [7, 6]])
def test_how_examples_are_grouped_changes_no_gradient(options: Training, sizes: list[int]) -> None:
    whole = _gradient(Tiny(dropout=0.4).double(), [13], options)
    parts = _gradient(Tiny(dropout=0.4).double(), sizes, options)
    for name, gradient in whole.items():
        assert torch.allclose(parts[name], gradient, atol=1e-8, rtol=1e-6), name
        assert gradient.abs().max() > 1e-4


def test_updates_gather_tokens_and_end_with_the_epoch() -> None:
    some = data()
    batches = 6
    stream = updates(some, START, 40)
    epochs: list[list[list[int]]] = [[], []]
    for epoch in epochs:
        after = START
        while after == START or (after.window, after.place) != (0, 0):
            after, group = next(stream)
            epoch.append([int(b.target_mask_BT.sum()) for b in group])
    for epoch in epochs:
        assert sum(map(len, epoch)) == batches
        assert all(sum(group) >= 40 and sum(group[:-1]) < 40 for group in epoch[:-1])
    again = next(updates(some, START, 10**9))
    assert len(again[1]) == batches and again[0].epoch == 1


def test_an_update_reports_what_it_did() -> None:
    run = _run(Tiny(), options=replace(PLAIN, label_smoothing=0.2), optim=Optim(clip_norm=0.01))
    after, batches = next(updates(run.data, START, 0))
    report = update(run, batches, after)
    assert isinstance(report, Step)
    assert report.step == run.at.step == run.at.updates == 1 and run.at.cursor == after
    assert report.tokens == sum(int(b.target_mask_BT.sum()) for b in batches)
    assert report.epoch == run.at.rows / 29 and run.at.rows == 5
    assert report.loss != report.nll and 1 < report.nll < 4 and report.norm > 0.01


def test_gradients_are_clipped_to_the_global_norm() -> None:
    model = Tiny(dropout=0.0)
    run = _run(model, optim=Optim(name="sgd", lr=1.0, clip_norm=0.01))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    after, batches = next(updates(run.data, START, 0))
    update(run, batches, after)
    moved = [p.detach() - before[name] for name, p in model.named_parameters()]
    assert torch.cat([m.flatten() for m in moved]).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_each_number_of_a_gradient_is_cut_off_before_the_norm_is() -> None:
    """Graves's +-10, at another size; both clips together scale what was cut off."""
    for clip_norm in (0.0, 0.01):
        model = Tiny(dropout=0.0)
        optim = Optim(name="sgd", lr=1.0, clip_norm=clip_norm, clip_value=1e-3)
        run = _run(model, optim=optim)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        after, batches = next(updates(run.data, START, 0))
        update(run, batches, after)
        moved = torch.cat(
            [(p.detach() - before[name]).flatten() for name, p in model.named_parameters()]
        )
        cut = moved.abs().max().item()
        if clip_norm:
            assert moved.norm().item() == pytest.approx(0.01, rel=1e-2) and cut < 1e-3
        else:
            assert cut == pytest.approx(1e-3, rel=1e-3)
            assert (moved.abs() > 0.9e-3).sum() > 10 and moved.norm().item() > 0.01


def test_dropout_depends_on_the_step_and_the_example_alone() -> None:
    def first_loss(step: int, seed: int = 0) -> float:
        run = _run(Tiny(dropout=0.5), options=replace(PLAIN, seed=seed))
        run.at.step = step
        report = update(run, [run.data.collate(np.arange(7))], START)
        assert isinstance(report, Step)
        return report.loss

    torch.manual_seed(1)
    one = first_loss(3)
    torch.manual_seed(2)
    assert first_loss(3) == one
    assert first_loss(4) != one and first_loss(3, seed=1) != one


def test_training_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    fit(Tiny(), data(), validate, options=replace(PLAIN, max_epochs=1.0))
    assert torch.equal(torch.get_rng_state(), before)


def test_bf16_trains_float32_weights() -> None:
    model = Tiny()
    run = _run(model, options=replace(PLAIN, precision="bf16"))
    after, batches = next(updates(run.data, START, 0))
    low = update(run, batches, after)
    high = update(_run(Tiny()), batches, after)
    assert isinstance(low, Step) and isinstance(high, Step)
    assert low.loss != high.loss and low.loss == pytest.approx(high.loss, rel=0.02)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert all(m.dtype == torch.float32 for m in moments(run.optimizer))


# --- what is not finite (reliability T5) --------------------------------------------------------


class Broken(Tiny):
    """Tiny with a fault that comes and goes: ``fault`` names it, ``when`` says at which calls."""

    def __init__(self, fault: str, when: Callable[[int], bool]) -> None:
        super().__init__(dropout=0.0)
        self.fault, self.when, self.calls = fault, when, 0

    def forward(self, batch, *, noise=None, want=0):  # type: ignore[no-untyped-def]
        self.calls += 1
        output: Output = super().forward(batch, noise=noise, want=want)
        if not self.when(self.calls):
            return output
        log_p = output.log_probs_BT
        if self.fault == "score":  # one row of the batch
            log_p = torch.cat([log_p[:1] * torch.nan, log_p[1:]])
        if self.fault == "loss":
            log_p = log_p * torch.inf
        if self.fault == "gradient":
            log_p.register_hook(lambda g: g * torch.nan)
        return output._replace(log_probs_BT=log_p)


def _poisoned(model: Tiny, place: str) -> Tensor | None:
    """One value of a weight made NaN; where, so that it can be put right again."""
    weights = {"embedding": model.source[7], "parameter": model.bias[3:4]}
    if place not in weights:
        return None
    with torch.no_grad():
        weights[place][0] = torch.nan
    return weights[place]


@pytest.mark.parametrize("place", ["embedding", "score", "loss", "gradient", "parameter"])
def test_an_update_that_is_not_finite_changes_no_bit(place: str) -> None:
    model = Broken(place, lambda call: call == 3)
    run = _run(model, options=replace(PLAIN, ema_decay=0.9))
    stream = updates(run.data, START, 0)
    for number in range(1, 5):
        after, batches = next(stream)
        poisoned = _poisoned(model, place) if number == 3 else None
        weights = flat(model)
        averaged = flat(run.averages.moving or {})
        held = {k: v.tobytes() for k, v in state_arrays(run.optimizer, model).items()}
        report = update(run, batches, after)
        now = {k: v.tobytes() for k, v in state_arrays(run.optimizer, model).items()}
        assert run.at.cursor == after and run.at.step == number
        if number != 3:
            assert isinstance(report, Step) and flat(model) != weights
            continue
        assert isinstance(report, Skipped)
        assert report.reason == ("gradient" if place == "gradient" else "loss")
        assert flat(model) == weights and now == held
        assert flat(run.averages.moving or {}) == averaged
        assert list(report.rows) == _at_fault(place, batches)
        if poisoned is not None:
            with torch.no_grad():
                poisoned[0] = 0.1
    assert run.at.updates == 3 and run.at.skipped == 0


def _at_fault(place: str, batches: list[Batch]) -> list[int]:
    """The rows that a skipped update should name."""
    rows = [int(r) for b in batches for r in b.example_B]
    if place == "score":
        return rows[:1]
    if place != "embedding":
        return rows
    return [int(r) for b in batches for r in b.example_B[(b.source.ids_BS == 7).any(axis=1)]]


def test_a_moment_that_is_not_finite_changes_no_weight() -> None:
    model = Tiny()
    run = _run(model)
    stream = updates(run.data, START, 0)
    update(run, (pair := next(stream))[1], pair[0])
    moments(run.optimizer)[2].view(-1)[5] = torch.nan
    weights = flat(model)
    after, batches = next(stream)
    report = update(run, batches, after)
    assert isinstance(report, Skipped) and report.reason == "optimiser state"
    assert flat(model) == weights


def test_five_in_a_row_end_the_run_naming_lines_and_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    told: list[Event] = []
    model = Broken("score", lambda call: call > 8 and call != 9 + 2)
    with pytest.raises(TrainingError) as error:
        fit(model, data(), _constant, folder=tmp_path, options=PLAIN, listeners=[told.append])
    good = latest_good(tmp_path)
    assert good is not None and good.step == 12
    skipped = [event for event in told if isinstance(event, Skipped)]
    # calls 9 and 10, then 12 to 16: one good update between them begins the count anew
    assert [event.step for event in skipped] == [9, 10, 12, 13, 14, 15, 16]
    said = error.value.message
    assert "5 updates in a row, the last at step 16" in said
    assert "the loss was not finite" in said
    assert str(good.folder.path) in said
    assert f"pairs.tsv:{skipped[-1].rows[0] + 1}." in said


def _constant(model: nn.Module) -> dict[str, float]:
    return {"exact_match": 0.5}


def test_scores_that_are_not_finite_never_choose_a_model() -> None:
    answers = iter([math.nan, 0.1, math.inf, 0.05])
    told: list[Event] = []
    done = fit(
        Tiny(), data(), lambda model: {"exact_match": next(answers)},
        options=replace(PLAIN, max_epochs=4.0), listeners=[told.append],
    )  # fmt: skip
    assert done.chosen_step == 12 and done.score == 0.1


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = Tiny()

    def poison(model: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            model.get_parameter("target")[0, 0] = torch.nan
        return {"exact_match": 0.0}

    with pytest.raises(TrainingError, match=r"the weights 'target' are not finite at step 6, so "
                       r"nothing was saved; the last good checkpoint is none"):  # fmt: skip
        fit(model, data(), poison, folder=tmp_path, options=PLAIN)
    assert latest_good(tmp_path) is None


def test_ten_times_too_large_weights_do_not_reach_nan() -> None:
    model = Tiny()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(10)
    told: list[Event] = []
    fit(model, data(), options=replace(PLAIN, max_steps=60), listeners=[told.append])
    assert not [event for event in told if isinstance(event, Skipped)]
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_a_batch_may_be_one_row() -> None:
    rows = pairs(3)
    lone: TrainingData = data(rows=rows, batch_size=1)
    assert fit(Tiny(), lone, options=replace(PLAIN, max_epochs=1.0)).step == 3
