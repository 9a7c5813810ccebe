"""Runs over tapes of bits: a task, a model, a budget; bit errors by length, and beyond it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from jumok import config
from jumok.data.order import Plan
from jumok.data.tasks.tape_data import TapeBatch, TapeTask, bit_errors
from jumok.data.tasks.tapes import TAPE_TASKS, NGrams, best_guess, tape_task
from jumok.errors import ConfigError, UsageError, at_least_one, did_you_mean
from jumok.models.contract import Want
from jumok.models.ntm import NTM
from jumok.models.ntm_cell import NTMConfig
from jumok.models.tape_lstm import TapeLSTM, TapeLSTMConfig
from jumok.training.data import TrainingData
from jumok.training.options import Optim, Training

__all__ = [
    "TAPE_MODELS",
    "TapeModel",
    "TapeRun",
    "TapeScore",
    "build_tape_model",
    "score_table",
    "score_tapes",
    "tape_data",
    "tape_run",
    "tape_run_from_toml",
    "tape_run_to_toml",
    "validation",
]


ENDLESS = 1 << 40
"""Tapes in an epoch: more than anyone will train on."""


class TapeModel(NamedTuple):
    """A name for ``--model``."""

    config: type
    model: Callable[..., Any]
    about: str


TAPE_MODELS: Mapping[str, TapeModel] = MappingProxyType(
    {
        "ntm": TapeModel(NTMConfig, NTM, "the Neural Turing Machine"),
        "lstm": TapeModel(TapeLSTMConfig, TapeLSTM, "the paper's baseline, LSTM layers"),
    }
)


@dataclass(frozen=True, kw_only=True)
class TapeOptions:
    """How many tapes, and which."""

    batch_size: int = 16
    """Tapes in a batch."""
    seed: int = 0
    """Names the tapes, their order and the first weights."""
    dev_rows: int = 64
    """Tapes that a validation is the mean of."""
    test_rows: int = 100
    """Tapes that a score at the end is the mean of, at each length."""

    def __post_init__(self) -> None:
        at_least_one(batch_size=self.batch_size, dev_rows=self.dev_rows, test_rows=self.test_rows)


TRAINING = Training(
    max_epochs=None, max_steps=4000, validate_every=250, choose_by="cost", lower_is_better=True
)


@dataclass(frozen=True, kw_only=True)
class TapeRun:
    """Everything a run over tapes needs to be told."""

    task: Any = None
    """The configuration of the task, such as ``Copy``."""
    model: Any = None
    """The configuration of the model, such as ``NTMConfig``."""
    data: TapeOptions = field(default_factory=TapeOptions)
    optim: Optim = field(default_factory=lambda: Optim(lr=3e-3))
    training: Training = field(default=TRAINING)

    def __post_init__(self) -> None:
        if self.training.max_steps is None:
            raise ConfigError("`training.max_steps` must say how many updates there are.")


def _types(task: str, model: str) -> dict[str, type]:
    if model not in TAPE_MODELS:
        raise UsageError(
            f"there is no model of tapes called {model!r}.{did_you_mean(model, TAPE_MODELS)}",
            hint=f"models: {', '.join(TAPE_MODELS)}.",
        )
    return {"task": tape_task(task), "model": TAPE_MODELS[model].config}


def tape_run(task: str, model: str, flags: Mapping[str, str]) -> TapeRun:
    """The run of these names with keys such as ``model.slots`` over what is preset.

    Raises:
        UsageError: there is no such task or model.
        ConfigError: there is no such key, or it cannot have such a value.
    """
    preset = config.to_dict(TapeRun())
    preset = {key: value for key, value in preset.items() if key not in ("task", "model")}
    return config.build(TapeRun, preset=preset, flags=flags, types=_types(task, model))


def tape_run_to_toml(task: str, model: str, run: TapeRun) -> str:
    """The record in a model folder."""
    return config.to_toml(run, names={"task": task, "model": model})


def tape_run_from_toml(mapping: Mapping[str, Any], *, where: str) -> tuple[str, str, TapeRun]:
    """(task, model, run) from a parsed record.

    Raises:
        ConfigError: it is the record of something else.
    """
    sections = {key: mapping.get(key) for key in ("task", "model")}
    names = [s.get("name") if isinstance(s, Mapping) else None for s in sections.values()]
    if names[0] not in TAPE_TASKS or names[1] not in TAPE_MODELS:
        raise ConfigError(f"{where}: this is not the record of a model of tapes.")
    plain = {
        key: {k: v for k, v in section.items() if k != "name"}
        for key, section in sections.items()
        if isinstance(section, Mapping)
    }
    types = _types(str(names[0]), str(names[1]))
    run = config.from_dict(TapeRun, {**mapping, **plain}, where=where, types=types)
    return str(names[0]), str(names[1]), run


def build_tape_model(name: str, run: TapeRun) -> nn.Module:
    """The untrained network."""
    network: nn.Module = TAPE_MODELS[name].model(run.model, *run.task.channels, seed=run.data.seed)
    return network


class _Lengths:
    """How long tapes are, asked for a window at a time: no list of them is ever made."""

    def __init__(self, run: TapeRun) -> None:
        self._run = run

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, rows_N: Any, /) -> Any:
        lengths: np.ndarray = self._run.task.lengths(rows_N, seed=self._run.data.seed)
        return lengths


def tape_data(run: TapeRun) -> TrainingData:
    """Tapes without end, each met once; those of a batch are about as long as each other."""
    lengths, task = _Lengths(run), run.task
    plan = Plan(
        source_lengths=lengths,
        target_lengths=lengths,
        seed=run.data.seed,
        batch_size=run.data.batch_size,
        window=64 * run.data.batch_size,
    )

    def collate(rows_B: np.ndarray) -> Any:
        return task.batch(rows_B, seed=run.data.seed)

    digest = f"{task.name}-{run.data.seed}-{config.digest(task)}"
    return TrainingData(plan=plan, collate=collate, digest=digest)


class TapeScore(NamedTuple):
    """Means over tapes."""

    errors: float
    """Wrong bits of a tape."""
    cost: float
    """-log2 p of all that is to be said, in bits a tape."""
    exact: float
    """Share of tapes without a wrong bit."""
    best_cost: float | None = None
    """``ngrams``: of who knows how the tapes are made."""


def batches(
    task: TapeTask, rows: int, *, part: str, seed: int = 0, size: int = 32
) -> Iterator[TapeBatch]:
    """The first ``rows`` tapes of a part."""
    for start in range(0, rows, size):
        yield task.batch(np.arange(start, min(rows, start + size)), seed=seed, part=part)


def score_tapes(network: Any, task: TapeTask, rows: int = 100, *, part: str = "test") -> TapeScore:
    """How ``network`` does on tapes it has not met; each is read once, and nothing is chosen."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    best: list[float] = []
    for batch in batches(task, rows, part=part):
        with torch.no_grad():
            output = network.forward(batch.map(torch.from_numpy), want=Want.LOGITS)
        wrong = bit_errors(output.logits_BTV.numpy(), batch)
        log_probs_BT = np.where(batch.target_mask_BT, output.log_probs_BT.numpy(), 0)
        found.append((wrong, -log_probs_BT.sum(axis=1) / np.log(2)))
        if isinstance(task, NGrams):
            best += [_best_cost(task, batch, row) for row in range(len(wrong))]
    errors_N, cost_N = (np.concatenate(part) for part in zip(*found, strict=True))
    return TapeScore(
        errors=float(errors_N.mean()),
        cost=float(cost_N.mean()),
        exact=float((errors_N == 0).mean()),
        best_cost=float(np.mean(best)) if best else None,
    )


def _best_cost(task: NGrams, batch: TapeBatch, row: int) -> float:
    ones_T = best_guess(batch.inputs_BTI[row, :, 0], task.context)
    said_T = np.where(batch.targets_BTF[row, :, 0] > 0, ones_T, 1 - ones_T)
    return float(-np.log2(said_T[batch.target_mask_BT[row]]).sum())


def score_table(network: Any, run: TapeRun) -> dict[str, TapeScore]:
    """As trained, and beyond: ``run.data.test_rows`` tapes each."""
    asked = {"as trained": run.task, **run.task.beyond()}
    return {name: score_tapes(network, task, run.data.test_rows) for name, task in asked.items()}


def validation(run: TapeRun) -> Callable[[nn.Module], Mapping[str, float]]:
    """What the trainer asks: bits wrong and cost on tapes of their own."""

    def scores(network: nn.Module) -> Mapping[str, float]:
        found = score_tapes(network, run.task, run.data.dev_rows, part="dev")
        return {"errors": found.errors, "cost": found.cost}

    return scores
