"""Every model that is registered trains under the loop, and goes on with the same bits."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_tiny import SYMBOLS, collate, data, flat, pairs

from jumok.errors import Interrupted
from jumok.models import MODELS
from jumok.store import latest_good
from jumok.training.events import Event, Step
from jumok.training.options import Optim, Training
from jumok.training.trainer import fit

SMALL = {"embedding_size": 6, "hidden_size": 10, "dropout": 0.3}
STEPS = 7


def _model(name: str) -> nn.Module:
    entry = MODELS[name]
    known = {f.name for f in fields(entry.config)}
    chosen: dict[str, Any] = {k: v for k, v in SMALL.items() if k in known} | dict(entry.preset)
    model: nn.Module = entry.model(entry.config(**chosen), SYMBOLS, SYMBOLS, seed=1)
    return model


def _score(model: nn.Module) -> Mapping[str, float]:
    batch = collate(pairs(7, seed=9), torch.arange(7).numpy()).map(torch.from_numpy)
    return {"likely": float(model(batch).log_probs_BT[batch.target_mask_BT].double().mean())}


def _train(folder: Path, name: str, precision: Any, stop: int = 0) -> tuple[nn.Module, list[Event]]:
    told: list[Event] = []

    def listen(event: Event) -> None:
        told.append(event)
        if isinstance(event, Step) and event.step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    model = _model(name)
    options = Training(
        max_epochs=None, max_steps=STEPS, validate_every=3, choose_by="likely", threads=1,
        precision=precision, log_every=1,
    )  # fmt: skip
    fit(
        model, data(), _score, optim=Optim(lr=1e-2), options=options, folder=folder, resume=True,
        listeners=[listen],
    )  # fmt: skip
    return model, told


def _same_bits(name: str, precision: str, tmp_path: Path) -> None:
    straight, told = _train(tmp_path / "straight", name, precision)
    losses = [event.loss for event in told if isinstance(event, Step)]
    assert len(losses) == STEPS and len(set(losses)) == STEPS
    for stop in (2, 3, 5):
        with pytest.raises(Interrupted):
            _train(tmp_path / "stopped", name, precision, stop)
    resumed, _ = _train(tmp_path / "stopped", name, precision)
    assert flat(resumed) == flat(straight)
    one, two = latest_good(tmp_path / "straight"), latest_good(tmp_path / "stopped")
    assert one is not None and two is not None
    for file in ("model.safetensors", "optimizer.safetensors", "chosen.safetensors"):
        assert one.folder.read(file) == two.folder.read(file)
    logs = [(tmp_path / side / "metrics.jsonl").read_bytes() for side in ("straight", "stopped")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("name", MODELS)
def test_a_stopped_run_of_any_model_goes_on_with_the_same_bits(name: str, tmp_path: Path) -> None:
    _same_bits(name, "fp32", tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("name", MODELS)
def test_the_same_in_bf16(name: str, tmp_path: Path) -> None:
    _same_bits(name, "bf16", tmp_path)
