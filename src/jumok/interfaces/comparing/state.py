"""What a ladder was begun with, in its folder; what is asked of it later must agree."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from jumok.data.tasks import TaskData
from jumok.errors import ModelFolderError, UsageError
from jumok.interfaces.options import Reading
from jumok.interfaces.requests import CompareRequest
from jumok.interfaces.streaming import Train
from jumok.views.trace_file import write_whole

__all__ = ["TESTS", "Planned", "State", "begun", "fingerprint", "out_folder", "settled"]

FILE = "ladder.json"
TESTS = "test.json"
OF_A_FAILED_START = {".lock", TESTS}
"""What a ladder leaves that was stopped before it was written down."""
SCHEMA = "jumok-ladder/1"
DEFAULT_TASK = "@dates"
DEFAULT_SECONDS = 120.0
OF_THE_LADDER = {
    "training.seed": "--seeds",
    "data.seed": "--seeds",
    "training.time_limit": "--time",
    "training.max_epochs": "--epochs",
}
"""Keys that an option of the command stands for."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A system as it is trained, or why it cannot be."""

    label: str
    model: str
    experimental: bool = False
    hidden_size: int = 0
    parameters: int = 0
    validate_every: int = 0
    """Updates between validations."""
    seconds: float = 0.0
    """That one run will take, by the pace measured when it was planned."""
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class State:
    """All that a ladder must remember; ``ladder.json``."""

    data: tuple[str, ...]
    """As they were named, seen from the ladder's folder."""
    dev: tuple[str, ...]
    test: tuple[str, ...]
    languages: str | None
    reading: Mapping[str, Any]
    seconds: float | None
    epochs: float | None
    examples: int | None
    parameters: int | None
    """As asked; None is the default model's number."""
    precision: str
    keys: Mapping[str, str]
    about: str = ""
    rows: int = 0
    """Training pairs."""
    budget: int = 0
    fingerprint: str = ""
    choose_by: str = "exact_match"
    seeds: tuple[int, ...] = ()
    systems: Mapping[str, Planned] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Writes the record, whole or not at all."""
        record = {"schema": SCHEMA, **asdict(self)}
        text = json.dumps(record, indent=1, ensure_ascii=False)
        write_whole(folder / FILE, text.encode())

    def ceiling(self) -> str:
        """``60 s, 2 epochs``: what ends a run."""
        said = [f"{self.seconds:g} s"] if self.seconds is not None else []
        said += [f"{self.epochs:g} epochs"] if self.epochs is not None else []
        said += [f"{self.examples:,} examples"] if self.examples is not None else []
        return ", ".join(said)


def begun(folder: Path) -> State | None:
    """The record of the ladder in ``folder``; None where there is none yet.

    Raises:
        ModelFolderError: it is damaged, or from a newer jumok.
        UsageError: the folder holds other things.
    """
    path = folder / FILE
    if not path.exists():
        names = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
        if folder.exists() and (not folder.is_dir() or names - OF_A_FAILED_START):
            raise UsageError(
                f"{folder} exists and holds no ladder; nothing was changed.",
                hint="--out names another folder.",
            )
        return None
    try:
        record = json.loads(path.read_bytes())
        if record.pop("schema") != SCHEMA:
            raise ModelFolderError(f"{path} is from another version of jumok.")
        planned = {k: Planned(**v) for k, v in record.pop("systems").items()}
        lists: dict[str, Any] = {k: tuple(record.pop(k)) for k in ("data", "dev", "test", "seeds")}
        return State(**record, **lists, systems=planned)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFolderError(
            f"{path} is damaged: {type(error).__name__} {error}.",
            hint="move it away and begin the ladder anew in another --out.",
        ) from None


def out_folder(request: CompareRequest) -> Path:
    """``--out``, or ``runs/compare-`` and the name of the data: the same for the same command."""
    if request.out is not None:
        return Path(request.out)
    first = request.data[0] if request.data else DEFAULT_TASK
    stem = first.removeprefix("@") if first.startswith("@") else Path(first).name.split(".")[0]
    return Path("runs") / f"compare-{stem.strip('-') or 'pairs'}"


def settled(request: CompareRequest, old: State | None, folder: Path) -> State:
    """What ``request`` and the record together say.

    Raises:
        UsageError: they differ, or the request is not one for a ladder.
    """
    _check(request)
    asked = {
        "languages": request.languages,
        "seconds": request.seconds,
        "epochs": request.epochs,
        "examples": request.examples,
        "parameters": request.parameters,
        "precision": request.precision,
        "keys": dict(request.keys) or None,
    }
    if old is None:
        return _new(request, asked, folder)
    for name, value in asked.items():
        before = getattr(old, name)
        if value is not None and value != before:
            raise UsageError(
                f"{folder} was begun with {_said(name, before)} and now has {_said(name, value)}: "
                "rows of one table must be trained alike. Nothing was changed.",
                hint=f"leave it out to go on, or name another --out. The ladder there is of "
                f"{' '.join(named(old.data, folder))}, {old.ceiling()}.",
            )
    if not request.data:
        return old
    names: dict[str, Any] = {
        k: relative(getattr(request, k), folder) for k in ("data", "dev", "test")
    }
    return replace(old, **names, reading=asdict(request.reading))


def _new(request: CompareRequest, asked: Mapping[str, Any], folder: Path) -> State:
    seconds = request.seconds
    if seconds is None and request.epochs is None and request.examples is None:
        seconds = DEFAULT_SECONDS
    settings = {**asked, "seconds": seconds, "precision": request.precision or "auto"}
    return State(
        **{**settings, "keys": dict(request.keys)},
        data=relative(request.data or (DEFAULT_TASK,), folder),
        dev=relative(request.dev, folder),
        test=relative(request.test, folder),
        reading=asdict(request.reading),
    )


def _check(request: CompareRequest) -> None:
    for key in request.keys:
        if key.startswith("model."):
            raise UsageError(
                f"--{key}: each system of the ladder has its own preset and the size that makes "
                "it one of equals.",
                hint="--parameters N sets the size; jumok train takes such keys.",
            )
        if key in OF_THE_LADDER:
            raise UsageError(f"--{key}: the ladder has {OF_THE_LADDER[key]} for that.")
    limits = {
        "--time": request.seconds,
        "--epochs": request.epochs,
        "--examples": request.examples,
        "--parameters": request.parameters,
    }
    for name, value in limits.items():
        if value is not None and not value > 0:
            raise UsageError(f"{name} ({value:g}) must be above 0.")
    if any(seed < 0 for seed in request.seeds):
        raise UsageError(f"--seeds {','.join(map(str, request.seeds))}: a seed is 0 or more.")
    if request.data and "-" in request.data:
        raise UsageError(
            "a ladder reads its data again when it goes on, so not from standard input.",
            hint="write them to a file.",
        )


def _said(name: str, value: Any) -> str:
    option = {"seconds": "--time", "keys": "the keys"}.get(name, f"--{name}")
    if value is None or value == {}:
        return f"no {option}"
    if name == "keys":
        return " ".join(f"--{k} {v}" for k, v in value.items())
    shown = f"{value:g}s" if name == "seconds" else f"{value}"
    return f"{option} {shown}"


def relative(names: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Seen from ``folder``, so that data and ladder can move together."""
    return tuple(n if n.startswith("@") else os.path.relpath(n, folder) for n in names)


def named(names: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The inverse of ``relative``."""
    return tuple(n if n.startswith("@") else os.path.normpath(folder / n) for n in names)


def fingerprint(corpora: TaskData, train: Train) -> str:
    """SHA-256 of the three sides and the further test sets."""
    digest = hashlib.sha256(str(len(train)).encode())
    for corpus in (corpora.train, corpora.dev, corpora.test, *corpora.extra.values()):
        digest.update(corpus.fingerprint().encode())
    return digest.hexdigest()


def reading_of(state: State) -> Reading:
    """How the ladder's files are read."""
    return Reading(**state.reading)
