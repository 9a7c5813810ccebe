"""Checkpoints of a run: each a folder with its own manifest; two are kept, the newest good is used.

``checkpoints/step-00001234`` appears whole or not at all. A second save at the same step becomes
``step-00001234-2``, so that nothing good is ever moved out of the way to make room.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jumok.errors import ModelFolderError, SaveError
from jumok.store.atomic import TEMPORARY, AtomicFolder, Content, clean, content_size
from jumok.store.disk import DISK, Disk, remove_tree, saving
from jumok.store.folder import Folder, open_folder

__all__ = [
    "CHECKPOINTS",
    "Checkpoint",
    "check_space",
    "latest_good",
    "list_checkpoints",
    "prepare",
    "remove_checkpoints",
    "save_checkpoint",
    "set_aside",
]

CHECKPOINTS = "checkpoints"
KEPT = 2
_NAME = re.compile(r"step-(\d{8,12})(?:-([1-9]\d{0,5}))?")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The newest good checkpoint of a run."""

    step: int
    folder: Folder
    rejected: tuple[str, ...] = ()
    """Why each newer one was passed over: file and reason."""
    damaged: tuple[Path, ...] = ()
    """Those newer ones."""


def list_checkpoints(run: str | Path) -> list[tuple[int, Path]]:
    """(step, path) of every checkpoint of the run, oldest first; none of them verified."""
    return [(step, path) for step, _, path in _numbered(Path(run) / CHECKPOINTS)]


def _numbered(parent: Path) -> list[tuple[int, int, Path]]:
    """(step, which save at that step, path), oldest first."""
    if not parent.is_dir():
        return []
    named = [(m, path) for path in parent.iterdir() if (m := _NAME.fullmatch(path.name))]
    return sorted((int(m[1]), int(m[2] or 1), path) for m, path in named)


def latest_good(run: str | Path) -> Checkpoint | None:
    """The newest checkpoint that verifies; None where the run has none yet.

    Raises ModelFolderError, with the reasons, where there are some and none is good.
    """
    rejected: list[str] = []
    damaged: list[Path] = []
    for step, path in reversed(list_checkpoints(run)):
        try:
            folder = open_folder(path)
        except ModelFolderError as error:
            rejected.append(error.message)
            damaged.append(path)
        else:
            return Checkpoint(
                step=step, folder=folder, rejected=tuple(rejected), damaged=tuple(damaged)
            )
    if rejected:
        raise ModelFolderError(
            f"{Path(run)}: no checkpoint is good.\n  " + "\n  ".join(rejected),
            hint="copy the folder again from where it was good, or train from the start.",
        )
    return None


def set_aside(checkpoint: Checkpoint, *, disk: Disk = DISK) -> None:
    """Renames the damaged ones that were passed over, so that what is saved next counts as newer.

    They are kept as ``damaged-...``, for whoever wants to know what happened. Raises SaveError.
    """
    for path in checkpoint.damaged:
        with saving(path, None, disk):
            disk.rename(path, path.parent / f"damaged-{path.name}-{secrets.token_hex(4)}")


def prepare(run: str | Path, *, disk: Disk = DISK) -> Path:
    """The folder for the run's checkpoints, made if need be and free of half-written ones."""
    parent = Path(run) / CHECKPOINTS
    with saving(parent, None, disk):
        parent.mkdir(parents=True, exist_ok=True)
        clean(parent, disk=disk)
    return parent


def save_checkpoint(
    run: str | Path,
    step: int,
    files: Mapping[str, Content],
    *,
    keep: int = KEPT,
    disk: Disk = DISK,
) -> Path:
    """Writes one checkpoint, then removes all but the newest ``keep``. Raises SaveError."""
    there = list_checkpoints(run)
    target = _new_name(Path(run) / CHECKPOINTS, step)
    with AtomicFolder(target, needed=content_size(files), disk=disk) as folder:
        for name, content in files.items():
            folder.write(name, content)
    with saving(target, None, disk):
        for _, old in there[: len(there) + 1 - keep]:
            _remove(old, disk)
    return target


def remove_checkpoints(run: str | Path, *, disk: Disk = DISK) -> None:
    """All checkpoints of the run, oldest first. Raises SaveError."""
    for _, path in list_checkpoints(run):
        with saving(path, None, disk):
            _remove(path, disk)


def _new_name(parent: Path, step: int) -> Path:
    """A name that sorts after every other of the same step, those removed meanwhile included."""
    numbers = [n for s, n, _ in _numbered(parent) if s == step]
    name = f"step-{step:08d}"
    return parent / (f"{name}-{max(numbers) + 1}" if numbers else name)


def _remove(path: Path, disk: Disk) -> None:
    """Out of sight first: a half-removed checkpoint must not look like a damaged one."""
    away = path.parent / f"{TEMPORARY[1]}{path.name}-{secrets.token_hex(4)}"
    disk.rename(path, away)
    remove_tree(disk, away)


def check_space(run: Path, size: int, *, disk: Disk = DISK) -> None:
    """SaveError where fewer than three checkpoints of ``size`` bytes fit on the disk."""
    free = disk.free(run)
    if free < 3 * size:
        raise SaveError(
            f"{run}: a checkpoint takes {size:,} bytes and three must fit (two are kept while a "
            f"third is written), but only {free:,} bytes are free.",
            hint="free some space or choose another folder with --out.",
        )
