"""A run that is cut off and goes on must end with the bits of one that nobody disturbed."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from jumok.checks.laws import Finding
from jumok.store import latest_good
from jumok.training.data import TrainingData
from jumok.training.events import Event, Step
from jumok.training.options import Optim, Training
from jumok.training.trainer import fit

__all__ = ["resume_is_exact"]

SELDOM = 1e9
"""Seconds between checkpoints: only the last one is written."""
COMPARED = ("model.safetensors", "optimizer.safetensors", "average.safetensors")


class _Cut(Exception):
    """Stands for a power failure."""


def resume_is_exact(
    model: nn.Module, data: TrainingData, *, optim: Optim, options: Training, steps: int = 4
) -> Finding:
    """``steps`` updates of a copy of ``model``, once in one go and once cut off in the middle.

    Compared are weights and optimiser state, bit by bit. The model itself is not touched.
    """
    brief = replace(
        options,
        max_steps=steps,
        max_epochs=None,
        time_limit=None,
        patience=None,
        validate_every=0,
        log_every=1,
    )

    def train(folder: Path, *, resume: bool = False, cut: int | None = None) -> None:
        saving = replace(brief, checkpoint_seconds=SELDOM if cut is None else 0.0)
        listeners = [] if cut is None else [_cutter(cut)]
        fresh = copy.deepcopy(model)
        fit(fresh, data, optim=optim, options=saving, folder=folder, resume=resume,
            listeners=listeners)  # fmt: skip

    with tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        train(whole)
        try:
            train(broken, cut=steps // 2 + 1)
        except _Cut:
            train(broken, resume=True)
        return _compared(whole, broken, steps)


def _cutter(step: int) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        if isinstance(event, Step) and event.step == step:
            raise _Cut

    return listen


def _compared(whole: Path, broken: Path, steps: int) -> Finding:
    found = [latest_good(folder) for folder in (whole, broken)]
    assert found[0] is not None and found[1] is not None
    one, other = found[0].folder, found[1].folder
    names = [name for name in COMPARED if name in one.names]
    wrong = [
        name for name in names if name not in other.names or one.read(name) != other.read(name)
    ]
    said = f"{steps} updates, cut off after {steps // 2 + 1}: "
    said += f"{', '.join(wrong)} differ" if wrong else "the same bits of weights and optimiser"
    if torch.get_num_threads() != 1:
        said += f" ({torch.get_num_threads()} threads)"
    return Finding("resume is exact", not wrong, float(len(wrong)), said)
