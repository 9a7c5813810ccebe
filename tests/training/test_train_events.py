"""What is told and what is logged; the optimiser's state on its way to the disk and back."""

from __future__ import annotations

import builtins
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_tiny import Tiny, collate, data, flat, pairs, validate

from jumok.errors import MissingExtraError, ModelFolderError
from jumok.store import specs
from jumok.training import events
from jumok.training.events import Journal, Skipped, Step, Validation, to_record
from jumok.training.losses import weigh
from jumok.training.optimizers import (
    build_optimizer,
    load_state,
    moments,
    set_rate,
    state_arrays,
    state_specs,
)
from jumok.training.options import Optim, Training
from jumok.training.trainer import fit

STEP = Step(
    step=20, epoch=0.5, loss=1.25, nll=1.0, rate=0.1, norm=3.0, tokens=17, fraction=0.1,
    seconds=2.0, seconds_left=math.inf,
)  # fmt: skip


def test_a_record_names_its_event_and_the_log_holds_nothing_of_the_clock() -> None:
    logged = to_record(STEP, clock=False)
    assert logged == {
        "event": "step", "step": 20, "epoch": 0.5, "loss": 1.25, "nll": 1.0, "rate": 0.1,
        "norm": 3.0, "tokens": 17,
    }  # fmt: skip
    assert to_record(STEP) == logged | {"fraction": 0.1, "seconds": 2.0, "seconds_left": None}


def test_what_is_not_finite_is_null_in_json() -> None:
    event = Validation(step=1, epoch=1.0, scores={"a": math.nan, "b": 0.5}, chosen=False)
    assert to_record(event)["scores"] == {"a": None, "b": 0.5}
    assert to_record(Skipped(step=1, reason="loss", rows=(3, 5)))["rows"] == [3, 5]
    json.dumps(to_record(event), allow_nan=False)


def test_the_log_has_every_tenth_step_and_all_else(tmp_path: Path) -> None:
    options = Training(max_epochs=4.0, log_every=10, threads=1, choose_by="likely")
    fit(Tiny(), data(), validate, options=options, folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = [(line["event"], line["step"]) for line in lines]
    assert found == [
        ("validation", 6), ("checkpoint", 6), ("step", 10), ("validation", 12),
        ("checkpoint", 12), ("validation", 18), ("checkpoint", 18), ("step", 20),
        ("validation", 24), ("checkpoint", 24), ("done", 24),
    ]  # fmt: skip


def test_every_event_with_the_clock_is_kept_out_of_the_log() -> None:
    words = ("seconds", "fraction", "folder", "message")
    kinds = events.Event.__subclasses__()
    assert len(kinds) == 7
    for kind in kinds:
        for field in dataclasses.fields(kind):
            if field.name.startswith(words):
                assert field.metadata.get("clock") or not kind.logged, (kind, field.name)


def test_a_journal_goes_back_to_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        journal(STEP)
        there = journal.position()
        text = path.read_bytes()
        journal(STEP)
        journal.rewind(*there)
        assert path.read_bytes() == text and journal.position() == there
        journal(STEP)
        assert path.read_bytes() == text * 2
    with Journal(path) as journal:
        journal.rewind(*there)
        assert path.read_bytes() == text
        with pytest.raises(
            ModelFolderError, match="its first 999 bytes are not what the run wrote"
        ):
            journal.rewind(999, there[1])


def test_tensorboard_is_an_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    genuine = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if "tensorboard" in name:
            raise ImportError(name)
        return genuine(name, *rest)

    for name in [n for n in sys.modules if "tensorboard" in n]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingExtraError, match="writing for TensorBoard needs the package"
    ) as error:
        events.tensorboard(tmp_path)
    assert error.value.hint == "pip install 'jumok[track]'"


def test_tensorboard_gets_every_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.append((name, value, step))

    module = type(sys)("torch.utils.tensorboard.writer")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(
        sys.modules, "torch.utils.tensorboard", type(sys)("torch.utils.tensorboard")
    )
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", module)
    listen = events.tensorboard(tmp_path)
    listen(STEP)
    listen(Validation(step=21, epoch=1.0, scores={"cer": 0.5, "wer": math.nan}, chosen=True))
    assert ("step/loss", 1.25, 20) in told and ("validation/cer", 0.5, 21) in told
    assert not [name for name, *_ in told if "wer" in name or "seconds_left" in name]


# --- optimisers -------------------------------------------------------------------------------

OPTIMS = [
    Optim(weight_decay=0.1),
    Optim(name="sgd", lr=0.1),
    Optim(name="sgd", lr=0.1, momentum=0.9),
    Optim(name="sgd", lr=0.1, momentum=0.9, nesterov=True),
    Optim(name="adadelta", lr=1.0),
    Optim(name="rmsprop", lr=0.1, momentum=0.9),
]


def _steps(model: Tiny, optimizer: torch.optim.Optimizer, numbers: range) -> None:
    rows = pairs(29)
    for n in numbers:
        batch = collate(rows, torch.arange(n, n + 5).numpy()).map(torch.from_numpy)
        optimizer.zero_grad(set_to_none=True)
        weigh(model(batch), batch).total.backward()
        optimizer.step()


@pytest.mark.parametrize(
    "optim", OPTIMS, ids=["adamw", "sgd", "momentum", "nesterov", "adadelta", "rmsprop"]
)
def test_an_optimiser_that_was_saved_goes_on_with_the_same_bits(optim: Optim) -> None:
    straight, model = Tiny(), Tiny()
    optimizer = build_optimizer(optim, straight)
    _steps(straight, optimizer, range(7))
    first = build_optimizer(optim, model)
    _steps(model, first, range(3))
    saved = state_arrays(first, model)
    assert specs(saved).items() <= state_specs(optim.name, model).items()
    again = Tiny()
    again.load_state_dict(model.state_dict())
    second = build_optimizer(optim, again)
    load_state(second, again, saved)
    _steps(again, second, range(3, 7))
    assert flat(again) == flat(straight)
    names = state_arrays(second, again).keys()
    assert names == saved.keys() and bool(names) == (optim.name != "sgd" or optim.momentum > 0)


def _reference(optim: Optim) -> Callable[[float, list[float]], float]:
    """One weight, by the papers' own formulas, in Python floats."""

    def adamw(w: float, gradients: list[float]) -> float:
        m = v = 0.0
        for t, g in enumerate(gradients, start=1):
            m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g * g
            w -= 1e-2 * 0.1 * w
            w -= 1e-2 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.98**t)) + 1e-8)
        return w

    def adadelta(w: float, gradients: list[float]) -> float:
        square = delta = 0.0
        for g in gradients:
            square = 0.95 * square + 0.05 * g * g
            step = math.sqrt(delta + 1e-6) / math.sqrt(square + 1e-6) * g
            delta = 0.95 * delta + 0.05 * step * step
            w -= step
        return w

    def momentum(w: float, gradients: list[float]) -> float:
        held = 0.0
        for t, g in enumerate(gradients):
            held = g if t == 0 else 0.9 * held + g
            w -= 0.1 * (g + 0.9 * held if optim.nesterov else held)
        return w

    def rmsprop(w: float, gradients: list[float]) -> float:
        square = mean = held = 0.0
        for g in gradients:
            square = 0.95 * square + 0.05 * g * g
            mean = 0.95 * mean + 0.05 * g
            held = 0.9 * held - 1e-4 * g / math.sqrt(square - mean * mean + 1e-4)
            w += held
        return w

    return {"adamw": adamw, "adadelta": adadelta, "sgd": momentum, "rmsprop": rmsprop}[optim.name]


@pytest.mark.parametrize(
    "optim",
    [Optim(lr=1e-2, weight_decay=0.1), Optim(name="adadelta", lr=1.0),
     Optim(name="sgd", lr=0.1, momentum=0.9),
     Optim(name="sgd", lr=0.1, momentum=0.9, nesterov=True),
     Optim(name="rmsprop", lr=1e-4, momentum=0.9)],
    ids=["adamw", "adadelta", "sgd", "nesterov", "rmsprop"],
)  # fmt: skip
def test_an_optimiser_follows_its_paper(optim: Optim) -> None:
    model = torch.nn.Linear(1, 1, bias=False).double()
    start = model.weight.item()
    optimizer = build_optimizer(optim, model)
    gradients = [0.5, -1.5, 2.0, 0.25, 3.0]
    for gradient in gradients:
        model.weight.grad = torch.full((1, 1), gradient, dtype=torch.float64)
        optimizer.step()
    assert model.weight.item() == pytest.approx(_reference(optim)(start, gradients), rel=1e-12)


def test_vectors_are_never_decayed() -> None:
    model = Tiny()
    optimizer = build_optimizer(Optim(weight_decay=0.1), model)
    decayed = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert {n: decayed[id(p)] for n, p in model.named_parameters()} == {
        n: 0.0 if n == "bias" else 0.1 for n, _ in model.named_parameters()
    }


def test_frozen_weights_stay() -> None:
    model = Tiny()
    model.out.requires_grad_(False)
    before = model.out.clone()
    fit(model, data(), options=Training(max_steps=2, threads=1))
    assert torch.equal(model.out, before)


def test_the_rate_reaches_every_group() -> None:
    optimizer = build_optimizer(Optim(), Tiny())
    set_rate(optimizer, 0.125)
    assert {group["lr"] for group in optimizer.param_groups} == {0.125}
    assert moments(optimizer) == []
