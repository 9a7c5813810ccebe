"""What a run of the ladder tells as it goes: scores over examples and over time, and its pace.

The trainer's own log has no clock, so that a resumed run writes the same log. The ladder needs
one: each validation is written here with the seconds it came after, line by line, and a run that
goes on from a checkpoint forgets what came after that.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from jumok.training.events import Done, Event, Resumed, Step, Validation
from jumok.views.trace_file import write_whole

__all__ = ["Curve", "Point"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One validation."""

    step: int
    examples: int
    seconds: float
    """Since the run began, validations and all."""
    score: float
    """On dev, by which the model is chosen."""
    paced_examples: float = 0.0
    """Seen in updates that were timed; with ``paced_seconds`` the speed of training alone."""
    paced_seconds: float = 0.0


class Curve:
    """A listener of one run, which may be interrupted and go on."""

    def __init__(self, path: Path, *, rows: int, score: str) -> None:
        self._path, self._rows, self._score = path, rows, score
        self.points: list[Point] = []
        self.done: dict[str, Any] | None = None
        self._last: Step | None = None
        self._timed = False
        """Nothing but an update lies between the last step and the next."""
        self._at = time.monotonic()
        self._paced = [0.0, 0.0]
        if path.exists():
            self._read()

    def __call__(self, event: Event) -> None:
        match event:
            case Step():
                self._step(event)
            case Resumed():
                self._forget(event.step)
            case Validation():
                self._validated(event)
            case Done():
                self.done = asdict(event) | {"seconds": self.seconds()}
                self._write()
            case _:
                self._timed = False

    def seconds(self) -> float:
        """Of the run so far."""
        if self.done is not None:
            return float(self.done["seconds"])
        if self._last is None:
            return self.points[-1].seconds if self.points else 0.0
        return self._last.seconds + time.monotonic() - self._at

    def examples(self) -> int:
        """Seen, repeats counted."""
        if self.done is not None:
            return round(float(self.done["epoch"]) * self._rows)
        return 0 if self._last is None else round(self._last.epoch * self._rows)

    def pace(self) -> float | None:
        """Examples a second while it trained: no validation, no saving."""
        return self._paced[0] / self._paced[1] if self._paced[1] > 0 else None

    def _step(self, event: Step) -> None:
        if event.step == 1 and self.points:  # no checkpoint was there to go on from
            self._forget(0)
        if self._timed and self._last is not None:
            self._paced[0] += (event.epoch - self._last.epoch) * self._rows
            self._paced[1] += event.seconds - self._last.seconds
        self._last, self._timed, self._at = event, True, time.monotonic()

    def _validated(self, event: Validation) -> None:
        self._timed = False
        point = Point(
            step=event.step,
            examples=round(event.epoch * self._rows),
            seconds=self.seconds(),
            score=event.scores[self._score],
            paced_examples=self._paced[0],
            paced_seconds=self._paced[1],
        )
        self.points = [p for p in self.points if p.step < event.step] + [point]
        self._write()

    def _forget(self, step: int) -> None:
        """What came after ``step`` will come again."""
        self._last, self._timed = None, False
        self.points = [p for p in self.points if p.step <= step]
        if self.done is not None and self.done["step"] > step:
            self.done = None
        self._restore()
        self._write()

    def _restore(self) -> None:
        last = self.points[-1] if self.points else None
        self._paced = [last.paced_examples, last.paced_seconds] if last else [0.0, 0.0]

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        record = {"points": [asdict(p) for p in self.points], "done": self.done}
        write_whole(self._path, json.dumps(record).encode())

    def _read(self) -> None:
        record = json.loads(self._path.read_bytes())
        known = {f.name for f in fields(Point)}
        self.points = [Point(**{k: p[k] for k in known}) for p in record["points"]]
        self.done = record["done"]
        self._restore()
