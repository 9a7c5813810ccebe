"""Saving and restoring a run: everything that an exact resume needs, in one folder a time.

A checkpoint is a model folder with more in it: the model's own files, its weights, and

    optimizer.safetensors   the moments, by name
    average.safetensors     the moving average, if there is one
    recent.safetensors      the last snapshots, if they are averaged
    chosen.safetensors      the best weights so far, once there are any
    cursor.json             counters, digests, the length and hash of metrics.jsonl
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self

import torch

from jumok import config
from jumok.data.order import Cursor
from jumok.errors import (
    ConfigError,
    DataError,
    ModelFolderError,
    SaveError,
    TrainingError,
    UsageError,
)
from jumok.store import (
    DISK,
    Disk,
    Folder,
    dump_tensors,
    latest_good,
    list_checkpoints,
    locked,
    prepare,
    remove_checkpoints,
    save_checkpoint,
    set_aside,
)
from jumok.store.checkpoints import check_space
from jumok.store.disk import saving
from jumok.store.manifest import strict_json
from jumok.store.tensors import Spec
from jumok.training.averages import Weights, arrays_of, put, specs_of
from jumok.training.events import EMPTY, Event, Journal, Resumed, SaveFailed
from jumok.training.optimizers import SLOTS, load_state, state_arrays, state_specs
from jumok.training.options import FREE
from jumok.training.run import Counters, Run

__all__ = ["Keeper", "NoKeeper", "open_keeper"]


class Keeper:
    """Saves and restores ``run`` under ``folder/checkpoints``.

    ``carried`` are the files that make a checkpoint a model folder (configuration, vocabularies).
    """

    def __init__(
        self,
        folder: Path,
        run: Run,
        *,
        carried: Mapping[str, bytes],
        disk: Disk = DISK,
    ) -> None:
        self.folder, self.carried, self.disk = folder, dict(carried), disk
        self.last: Path | None = None
        self._run = run
        self._stack = ExitStack()
        with saving(folder, None, disk):
            folder.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(locked(folder))
        prepare(folder, disk=disk)
        journal = Journal(folder / "metrics.jsonl", every=run.options.log_every)
        self._journal = self._stack.enter_context(journal)
        self._saved_at, self._saved_step = time.monotonic(), run.at.step
        self._settings = _settings(run)

    def _check_space(self) -> None:
        """SaveError where the run's checkpoints will not fit on the disk."""
        o, optim = self._run.options, self._run.optim
        copies = 2 + len(SLOTS[optim.name]) + bool(o.ema_decay) + o.average_last
        size = sum(v.numel() * v.element_size() for v in self._run.model.state_dict().values())
        check_space(self.folder, copies * size, disk=self.disk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def begin(self, *, overwrite: bool = False) -> None:
        """Starts a new run; UsageError where the folder holds one that is not to be replaced."""
        there = list_checkpoints(self.folder)
        if there and overwrite:
            remove_checkpoints(self.folder, disk=self.disk)
        elif there:
            raise UsageError(
                f"{self.folder} holds a run already, saved at step {there[-1][0]:,}.",
                hint=f"go on with `jumok train --resume {self.folder}`, or name another folder.",
            )
        self._journal.rewind(0, EMPTY)
        self._check_space()

    def log(self, event: Event) -> None:
        """Appends to ``metrics.jsonl`` what belongs there."""
        self._journal(event)

    def due(self) -> bool:
        """True where there is something new and the last save is too long ago."""
        age = time.monotonic() - self._saved_at
        new = self._run.at.step != self._saved_step
        return new and age >= self._run.options.checkpoint_seconds

    def save(self) -> SaveFailed | None:
        """Writes a checkpoint; what went wrong, where training goes on all the same."""
        try:
            self.last = save_checkpoint(
                self.folder, self._run.at.step, self._files(), disk=self.disk
            )
        except SaveError as error:
            if self._run.options.on_save_error == "stop":
                raise
            return SaveFailed(step=self._run.at.step, message=error.message)
        finally:
            self._saved_at, self._saved_step = time.monotonic(), self._run.at.step
        return None

    def _files(self) -> dict[str, bytes]:
        run = self._run
        _refuse_non_finite(run, self.last)
        optimizer = state_arrays(run.optimizer, run.model)
        files = self.carried | {
            "model.safetensors": dump_tensors(arrays_of(run.model.state_dict())),
            "optimizer.safetensors": dump_tensors(optimizer),
            "cursor.json": self._cursor(sorted(optimizer)),
        }
        extra = {"average": run.averages.moving, "chosen": run.chosen, "recent": self._recent()}
        return files | {
            f"{name}.safetensors": dump_tensors(arrays_of(weights))
            for name, weights in extra.items()
            if weights
        }

    def _recent(self) -> Weights:
        return {
            f"{i}/{name}": value
            for i, snapshot in enumerate(self._run.averages.recent)
            for name, value in snapshot.items()
        }

    def _cursor(self, optimizer: list[str]) -> bytes:
        run = self._run
        counters = asdict(run.at) | {
            "cursor": list(run.at.cursor),
            "scores": [_written(score) for score in run.at.scores],
            "best": _written(run.at.best),
            "seconds": run.seconds,
        }
        document = {
            "counters": counters,
            "settings": self._settings,
            "data": run.data.digest,
            "threads": torch.get_num_threads(),
            "metrics": list(self._journal.position()),
            "optimizer": optimizer,
            "recent": len(run.averages.recent),
        }
        return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()

    def restore(self, *, new_data: bool = False) -> Resumed | None:
        """Puts the newest good checkpoint into the run; None where there is none yet.

        DataError where the data are not those of the run (with ``new_data`` epochs and the choice
        of the model begin anew, weights and optimiser stay), ConfigError where a setting changed
        that decides what is learnt, ModelFolderError where the folder is damaged.
        """
        found = latest_good(self.folder)
        if found is None:
            self.begin()
            return None
        where = str(found.folder.path / "cursor.json")
        document = strict_json(found.folder.read("cursor.json"), where)
        try:
            self._refuse_change(document, found.folder.path, new_data)
            self._restore(found.folder, document)
            if document["data"] != self._run.data.digest:
                self._run.begin_anew()
        except (KeyError, TypeError, IndexError, AttributeError):
            raise ModelFolderError(f"{where}: not a cursor that jumok wrote.") from None
        set_aside(found, disk=self.disk)
        self.last, self._saved_step = found.folder.path, self._run.at.step
        notes = [f"passed over: {reason}" for reason in found.rejected]
        if self._journal.position()[0] < document["metrics"][0]:
            notes.append(f"{self._journal.path} was gone, so a new one is begun")
        if document["threads"] != torch.get_num_threads():
            notes.append(
                f"the run had {document['threads']} threads and now has "
                f"{torch.get_num_threads()}: the last bits of its results will differ"
            )
        return Resumed(step=self._run.at.step, folder=str(self.last), notes=tuple(notes))

    def _refuse_change(self, document: Mapping[str, Any], path: Path, new_data: bool) -> None:
        if document["data"] != self._run.data.digest and not new_data:
            raise DataError(
                f"the training data are not those that {path} was trained on.",
                hint="put the data back, or start from this model with `jumok train DATA --from`.",
            )
        for section, settings in self._settings.items():
            for name, value in settings.items():
                was = document["settings"][section].get(name)
                if was != value:
                    raise ConfigError(
                        f"`{section}.{name}` was {was!r} in {path} and is {value!r} now; a run "
                        "goes on with what it was begun with.",
                        hint="leave it out, or start from this model with `jumok train --from`.",
                    )

    def _restore(self, folder: Folder, document: Mapping[str, Any]) -> None:
        run, weights = self._run, specs_of(self._run.model)
        legal = state_specs(run.optim.name, run.model)
        state = {name: legal[name] for name in document["optimizer"]}
        put(run.model, _read(folder, "model", weights))
        load_state(run.optimizer, run.model, folder.tensors("optimizer.safetensors", state))
        if run.averages.moving is not None:
            run.averages.moving = _on(run, _read(folder, "average", weights))
        run.averages.recent = _snapshots(run, folder, weights, document["recent"])
        if "chosen.safetensors" in folder.names:
            run.chosen = _on(run, _read(folder, "chosen", weights))
        run.at = _counters(document["counters"])
        self._journal.rewind(*document["metrics"])


class NoKeeper:
    """Where no folder is given: nothing is saved and nothing logged."""

    folder = None
    last = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def begin(self, *, overwrite: bool = False) -> None:
        pass

    def restore(self, *, new_data: bool = False) -> None:
        pass

    def log(self, event: Event) -> None:
        pass

    def due(self) -> bool:
        return False

    def save(self) -> None:
        pass


def open_keeper(
    folder: Path | None, run: Run, *, carried: Mapping[str, bytes], disk: Disk = DISK
) -> Keeper | NoKeeper:
    """The keeper of ``folder``, held for this process alone; of nothing where that is None."""
    return NoKeeper() if folder is None else Keeper(folder, run, carried=carried, disk=disk)


def _settings(run: Run) -> dict[str, dict[str, Any]]:
    """What may not change in the middle of a run."""
    training = {k: v for k, v in config.to_dict(run.options).items() if k not in FREE}
    return {"optim": config.to_dict(run.optim), "training": training}


def _refuse_non_finite(run: Run, last: Path | None) -> None:
    for name, value in run.model.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise TrainingError(
                f"the weights {name!r} are not finite at step {run.at.step}, so nothing was "
                f"saved; the last good checkpoint is {last or 'none'}.",
                hint="lower `optim.lr` and resume from there.",
            )


def _read(folder: Folder, name: str, expected: Mapping[str, Spec]) -> Weights:
    arrays = folder.tensors(f"{name}.safetensors", expected)
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def _on(run: Run, weights: Weights) -> Weights:
    """On the devices of the model's own weights."""
    own = run.model.state_dict()
    return {name: value.to(own[name].device) for name, value in weights.items()}


def _snapshots(run: Run, folder: Folder, weights: Mapping[str, Spec], count: int) -> list[Weights]:
    if not count:
        return []
    expected = {f"{i}/{name}": spec for i in range(count) for name, spec in weights.items()}
    flat = _read(folder, "recent", expected)
    return [_on(run, {name: flat[f"{i}/{name}"] for name in weights}) for i in range(count)]


def _written(score: float) -> float | None:
    """JSON has no infinity: a score that was not finite is null."""
    return score if math.isfinite(score) else None


def _counters(document: Mapping[str, Any]) -> Counters:
    values = {f.name: document[f.name] for f in fields(Counters)}
    values["cursor"] = Cursor(*values["cursor"])
    values["best"] = -math.inf if values["best"] is None else values["best"]
    values["scores"] = [-math.inf if s is None else s for s in values["scores"]]
    return Counters(**values)
