"""``jumok tapes``: a machine trained on tapes of bits, scored by length, drawn, and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from jumok import config
from jumok.data.tasks.tapes import TAPE_TASKS
from jumok.errors import ConfigError, Interrupted, ModelFolderError, UsageError
from jumok.interfaces.requests import TapesRequest
from jumok.models.contract import Want
from jumok.models.ntm import NTM
from jumok.recipes.tapes import (
    TapeRun,
    TapeScore,
    build_tape_model,
    score_table,
    tape_data,
    tape_run,
    tape_run_from_toml,
    tape_run_to_toml,
    validation,
)
from jumok.store import Folder, dump_tensors, latest_good, open_folder, save_folder, specs
from jumok.training.events import Event
from jumok.training.trainer import fit
from jumok.views.tapes import TapePanel, draw_tapes
from jumok.views.trace_file import write_whole

__all__ = ["TapesResult", "load_tapes", "picture", "tapes"]

DEFAULT_TASK, DEFAULT_MODEL = "copy", "ntm"
RECORD, WEIGHTS, PICTURE = "config.toml", "model.safetensors", "tape.png"


class Watcher(Protocol):
    """Told sentences and events as the run goes."""

    def tell(self, message: str, /) -> None: ...

    def __call__(self, event: Event, /) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Tapes:
    """A model of tapes with its names and its record."""

    task: str
    model: str
    run: TapeRun
    network: Any

    @property
    def num_weights(self) -> int:
        return sum(weight.numel() for weight in self.network.parameters())


@dataclass(frozen=True, kw_only=True)
class TapesResult:
    """What a command ends with."""

    tapes: Tapes
    scores: Mapping[str, TapeScore]
    folder: Path
    picture: Path


def tapes(request: TapesRequest, watcher: Watcher) -> TapesResult:
    """Everything ``jumok tapes`` does but printing."""
    what = request.what or DEFAULT_TASK
    if request.resume is not None:
        made, folder = _resumed(request), Path(request.resume)
    elif (Path(what) / RECORD).is_file():
        return _looked_at(request, Path(what))
    else:
        made, folder = _new(request, what), Path(request.out or f"runs/{what}")
        _refuse_existing(folder, request.force)
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    said = f"{made.task}, {made.model} of {made.num_weights:,} weights"
    watcher.tell(
        f"{said}: {made.run.training.max_steps:,} updates of {made.run.data.batch_size} tapes"
    )
    _train(made, folder, request, watcher)
    scores = score_table(made.network, made.run)
    save_folder(folder, _files(made), keep=("metrics.jsonl",))
    write_whole(folder / PICTURE, picture(made))
    return TapesResult(tapes=made, scores=scores, folder=folder, picture=folder / PICTURE)


def _train(made: Tapes, folder: Path, request: TapesRequest, watcher: Watcher) -> None:
    try:
        fit(
            made.network,
            tape_data(made.run),
            validation(made.run),
            optim=made.run.optim,
            options=made.run.training,
            folder=folder,
            carried={RECORD: _files(made)[RECORD]},
            resume=request.resume is not None,
            overwrite=request.force,
            listeners=[watcher],
        )
    except Interrupted as error:
        raise Interrupted(
            error.message, hint=f"go on with: jumok tapes {made.task} --resume {folder}"
        ) from None


def _new(request: TapesRequest, what: str) -> Tapes:
    flags = dict(request.keys)
    if request.updates is not None:
        flags["training.max_steps"] = str(request.updates)
    if request.seed is not None:
        flags |= {"data.seed": str(request.seed), "training.seed": str(request.seed)}
    if what not in TAPE_TASKS and Path(what).is_dir():
        raise UsageError(
            f"{what} is a folder, but not one that jumok tapes has written.",
            hint=f"tasks: {', '.join(TAPE_TASKS)}.",
        )
    model = request.model or DEFAULT_MODEL
    run = tape_run(what, model, flags)
    return Tapes(task=what, model=model, run=run, network=build_tape_model(model, run))


def _resumed(request: TapesRequest) -> Tapes:
    """The model of an interrupted run, with untrained weights: the trainer has the others."""
    folder = Path(str(request.resume))
    found = latest_good(folder) if folder.is_dir() else None
    if found is None:
        raise ModelFolderError(f"{folder}: there is no checkpoint in it to go on from.")
    made = _read(found.folder)
    said: dict[str, tuple[object, object]] = {
        "the task": (request.what, made.task),
        "--model": (request.model, made.model),
        "--seed": (request.seed, made.run.data.seed),
    }
    for name, (asked, is_so) in said.items():
        if asked not in (None, is_so):
            raise UsageError(
                f"{name} is {asked}, but {folder} was begun with {is_so}.",
                hint="leave it out to go on, or begin another run with --out.",
            )
    flags = dict(request.keys)
    if request.updates is not None:
        flags["training.max_steps"] = str(request.updates)
    run = config.override(made.run, flags)
    return Tapes(
        task=made.task, model=made.model, run=run, network=build_tape_model(made.model, run)
    )


def load_tapes(path: str | Path) -> Tapes:
    """The model in the folder ``path``.

    Raises:
        ModelFolderError: it is missing, damaged, or no model of tapes.
    """
    folder = open_folder(path)
    made = _read(folder)
    expected = specs({k: v.numpy() for k, v in made.network.state_dict().items()})
    arrays = folder.tensors(WEIGHTS, expected, finite=True)
    made.network.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    return made


def _read(folder: Folder) -> Tapes:
    where = str(folder.path / RECORD)
    try:
        record = config.parse_toml(folder.read(RECORD), where)
        task, model, run = tape_run_from_toml(record, where=where)
    except ConfigError as error:
        raise ModelFolderError(error.message, hint=error.hint) from None
    return Tapes(task=task, model=model, run=run, network=build_tape_model(model, run))


def _files(made: Tapes) -> dict[str, bytes]:
    network: nn.Module = made.network
    state = {k: v.detach().cpu().numpy() for k, v in network.state_dict().items()}
    record = tape_run_to_toml(made.task, made.model, made.run)
    return {RECORD: record.encode(), WEIGHTS: dump_tensors(state)}


def _looked_at(request: TapesRequest, folder: Path) -> TapesResult:
    """A trained model, scored and drawn once more."""
    made = load_tapes(folder)
    place = Path(request.out or folder / PICTURE)
    write_whole(place, picture(made, form=place.suffix.lstrip(".").lower()))
    scores = score_table(made.network, made.run)
    return TapesResult(tapes=made, scores=scores, folder=folder, picture=place)


def _refuse_existing(folder: Path, force: bool) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise UsageError(
            f"{folder} exists and is not empty; nothing was changed.",
            hint=f"--force replaces it, --out names another, --resume {folder} goes on with it.",
        )


def picture(made: Tapes, *, number: int = 0, form: str = "png") -> bytes:
    """One test tape: what goes in, what comes out and should have; where the machine was."""
    tape = made.run.task.tape(number, part="test")
    inputs_TI = torch.from_numpy(tape.inputs_TI)
    scored_T1 = tape.mask_T[:, None]
    network = made.network
    more: list[list[TapePanel]] = []
    with torch.no_grad():
        if made.model == "ntm":
            logits, more = _machine(network, inputs_TI)
        else:
            logits = _said(made, number)
    said = np.where(scored_T1, 1 / (1 + np.exp(-logits)), 0)
    first = [
        TapePanel(title="inputs", values_TX=tape.inputs_TI, diverging=tape.inputs_TI.min() < 0),
        TapePanel(title="outputs", values_TX=said),
        TapePanel(title="targets", values_TX=tape.targets_TF * scored_T1),
    ]
    return draw_tapes([first, *more], f"{made.task}, {made.model}: test tape {number}", form)


def _said(made: Tapes, number: int) -> np.ndarray:
    batch = made.run.task.batch(np.array([number]), part="test").map(torch.from_numpy)
    logits: np.ndarray = made.network.forward(batch, want=Want.LOGITS).logits_BTV[0].numpy()
    return logits


def _machine(network: NTM, inputs_TI: torch.Tensor) -> tuple[np.ndarray, list[list[TapePanel]]]:
    """Logits, and a column for writing and one for reading."""
    seen = network.look(inputs_TI)

    def column(
        title: str, kind: str, vectors: torch.Tensor, weights: torch.Tensor
    ) -> list[TapePanel]:
        flat = vectors.flatten(1).numpy()
        panels = [TapePanel(title=title, values_TX=flat, diverging=True)]
        for head, weights_TN in enumerate(weights.unbind(dim=1), 1):
            which = f" of head {head}" if weights.shape[1] > 1 else ""
            name = f"{kind} weighting{which}"
            panels.append(TapePanel(title=name, values_TX=weights_TN.numpy()))
        return panels

    writing = column("adds", "write", seen.adds_TWM, seen.write_weights_TWN)
    reading = column("reads", "read", seen.reads_TRM, seen.read_weights_TRN)
    return seen.logits_TF.numpy(), [writing, reading]
