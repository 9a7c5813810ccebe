"""What a run tells: frozen events, one line each in metrics.jsonl.

Fields and events that depend on the clock are shown, never logged: the log of a resumed run is
the log of an uninterrupted one, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from jumok.errors import MissingExtraError, ModelFolderError
from jumok.store.disk import saving

__all__ = [
    "EMPTY",
    "Checkpoint",
    "Done",
    "Event",
    "Journal",
    "Listener",
    "Resumed",
    "SaveFailed",
    "Skipped",
    "Step",
    "Validation",
    "tensorboard",
    "to_record",
]


def _clock(default: Any = 0.0) -> Any:
    """A field that depends on the clock or the machine."""
    return field(default=default, metadata={"clock": True})


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened at ``step``."""

    kind: ClassVar[str] = "event"
    logged: ClassVar[bool] = True
    step: int


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """An update was made."""

    kind: ClassVar[str] = "step"
    epoch: float
    loss: float
    """What is minimised, per target token."""
    nll: float
    """Negative log-likelihood per target token, in nats, without smoothing."""
    rate: float
    norm: float
    """Global gradient norm before clipping."""
    tokens: int
    """Real target tokens of this update."""
    fraction: float = _clock()
    """Share of the run that lies behind, by whichever limit is nearest."""
    seconds: float = _clock()
    """Since this process began to train."""
    seconds_left: float = _clock(math.inf)


@dataclass(frozen=True, kw_only=True)
class Validation(Event):
    """The model was scored, free-running."""

    kind: ClassVar[str] = "validation"
    epoch: float
    scores: Mapping[str, float]
    chosen: bool
    """True where this is the best so far by the score that chooses."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Event):
    """The state is about to be saved, after a validation or at the end."""

    kind: ClassVar[str] = "checkpoint"


@dataclass(frozen=True, kw_only=True)
class Skipped(Event):
    """An update was left out because something was not finite; the weights are unchanged."""

    kind: ClassVar[str] = "skipped"
    reason: str
    """``loss``, ``gradient`` or ``optimiser state``."""
    rows: tuple[int, ...]
    """Where the loss was not finite; all rows of the update if the gradient alone was not."""


@dataclass(frozen=True, kw_only=True)
class Done(Event):
    """The run is over and its model chosen."""

    kind: ClassVar[str] = "done"
    epoch: float
    reason: str
    """Which limit was reached: ``epochs``, ``steps``, ``patience`` or ``time``."""
    chosen_step: int
    score: float | None
    """The chosen model's score; None without validation."""


@dataclass(frozen=True, kw_only=True)
class Resumed(Event):
    """A run goes on from a checkpoint."""

    kind: ClassVar[str] = "resumed"
    logged: ClassVar[bool] = False
    folder: str
    notes: tuple[str, ...] = ()
    """What the user should know: damaged checkpoints passed over, another thread count."""


@dataclass(frozen=True, kw_only=True)
class SaveFailed(Event):
    """A checkpoint could not be written and training goes on, as was asked."""

    kind: ClassVar[str] = "save_failed"
    logged: ClassVar[bool] = False
    message: str


Listener = Callable[[Event], None]

EMPTY = hashlib.sha256(b"").hexdigest()


def to_record(event: Event, *, clock: bool = True) -> dict[str, Any]:
    """``{"event": kind, ...}`` for JSON; without ``clock`` only what a second run would repeat."""
    kept = [f.name for f in fields(event) if clock or not f.metadata.get("clock")]
    return {"event": event.kind} | {name: _plain(getattr(event, name)) for name in kept}


def _plain(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes null."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key: _plain(inner) for key, inner in value.items()}
        case tuple():
            return [_plain(inner) for inner in value]
        case _:
            return value


class Journal:
    """metrics.jsonl: a listener that appends a line for every event that belongs to the log.

    ``position`` (length and SHA-256) goes into each checkpoint; ``rewind`` goes back to it, so
    that no line is lost or doubled by a crash.
    """

    def __init__(self, path: Path, *, every: int = 1) -> None:
        self.path, self.every = path, every
        self._hash = hashlib.sha256()
        self._length = 0
        with saving(path, None):
            self._file = path.open("ab", buffering=0)

    def __call__(self, event: Event) -> None:
        if not event.logged or (isinstance(event, Step) and event.step % self.every):
            return
        line = (json.dumps(to_record(event, clock=False), allow_nan=False) + "\n").encode()
        with saving(self.path, len(line)):
            self._file.write(line)
        self._hash.update(line)
        self._length += len(line)

    def position(self) -> tuple[int, str]:
        """(bytes, SHA-256 of them), on the disk before this returns."""
        with saving(self.path, None):
            os.fsync(self._file.fileno())
        return self._length, self._hash.hexdigest()

    def rewind(self, length: int, sha256: str) -> None:
        """Forgets what was written after ``position`` gave these two."""
        start = self.path.read_bytes()[:length]
        if not start:  # moved away, or nothing to go back to
            length, sha256 = 0, EMPTY
        if len(start) < length or hashlib.sha256(start).hexdigest() != sha256:
            raise ModelFolderError(
                f"{self.path}: its first {length:,} bytes are not what the run wrote.",
                hint="put the file back as it was, or move it away to begin a new log.",
            )
        self._hash, self._length = hashlib.sha256(start), length
        self._file.truncate(length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def tensorboard(folder: Path) -> Listener:
    """A listener that writes scalars for TensorBoard into ``folder``, from the first event on."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        raise MissingExtraError("tensorboard", "track", "writing for TensorBoard") from None
    writers: list[SummaryWriter] = []

    def listen(event: Event) -> None:
        record = to_record(event)
        scalars = record.pop("scores", {}) | {
            name: value for name, value in record.items() if isinstance(value, float)
        }
        if not writers:  # opening one makes the folder
            writers.append(SummaryWriter(str(folder)))
        for name, value in scalars.items():
            if value is not None:
                writers[0].add_scalar(f"{event.kind}/{name}", value, event.step)

    return listen
