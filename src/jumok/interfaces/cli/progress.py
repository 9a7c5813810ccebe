"""A run as it goes: a bar with loss, speed and time left; plain lines off a terminal; or JSON."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from jumok.interfaces.cli.streams import close_quietly, json_line, note

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from jumok.training.events import Event

__all__ = ["Progress"]

_REASONS = {
    "epochs": "all epochs are done",
    "steps": "all steps are done",
    "time": "its time is up",
    "patience": "it gets no better",
}
"""Why a run is over."""
_QUIET_SECONDS = 10.0
"""Off a terminal a line about the loss comes at most this often."""


class Progress:
    """A listener for the trainer's events; ``tell`` takes what the recipe says beside them."""

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self._json = json
        self._quiet = quiet
        self._tokens = 0
        self._before: float | None = 0.0
        """Seconds that are not ours to divide by; None until a resumed run has said them."""
        self._last_line = -math.inf
        self._bar: Bar | None = None
        self._on_terminal = sys.stderr.isatty() and not quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def tell(self, message: str) -> None:
        """One sentence for the reader: what was chosen and why, how long it will take."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)
        else:
            note(message)

    def __call__(self, event: Event) -> None:
        from jumok.training.events import to_record

        record = to_record(event)
        if self._json:
            self._emit(record)
        if not self._quiet:
            self._show(record)

    def _emit(self, record: Mapping[str, Any]) -> None:
        try:
            json_line(record)
        except BrokenPipeError:  # whoever watched has left; the run goes on
            close_quietly()
            self._json = False

    def _show(self, record: Mapping[str, Any]) -> None:
        match record["event"]:
            case "step":
                self._step(record)
            case "validation":
                scores = ", ".join(f"{k} {v:.4g}" for k, v in record["scores"].items())
                best = "  (best so far)" if record["chosen"] else ""
                self.tell(f"epoch {record['epoch']:.1f}, step {record['step']}: {scores}{best}")
            case "skipped":
                rows = f" ({len(record['rows'])} rows)"
                self.tell(f"step {record['step']} skipped: {record['reason']} not finite{rows}")
            case "resumed":
                self._before = None
                self.tell(f"going on from step {record['step']} of {record['folder']}")
                for remark in record["notes"]:
                    self.tell(f"  {remark}")
            case "save_failed":
                self.tell(f"could not save: {record['message']}; training goes on")
            case "done":
                self._stop()
                why = _REASONS.get(record["reason"], record["reason"])
                self.tell(
                    f"{why}: stopped at epoch {record['epoch']:.1f}; "
                    f"the model of step {record['chosen_step']} was chosen"
                )

    def _step(self, record: Mapping[str, Any]) -> None:
        if self._before is None:  # what came before the interruption counts for neither
            self._before, self._tokens = record["seconds"], -record["tokens"]
        self._tokens += record["tokens"]
        took = record["seconds"] - self._before
        speed = f"{self._tokens / took:,.0f} symbols/s" if took else "going on"
        loss = record["loss"] if record["loss"] is not None else math.nan
        said = f"loss {loss:.4f}  {speed}  {_left(record['seconds_left'])}"
        if self._on_terminal:
            self._drawn().update(self._drawn().task_ids[0], completed=record["fraction"], said=said)
        elif time.monotonic() - self._last_line >= _QUIET_SECONDS:
            self._last_line = time.monotonic()
            self.tell(f"{100 * record['fraction']:3.0f}%  step {record['step']}  {said}")

    def _drawn(self) -> Bar:
        """The bar, started by the first step."""
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[said]}"))
            self._bar = Bar(*columns, console=Console(stderr=True), refresh_per_second=4)
            self._bar.add_task("training", total=1.0, said="")
            self._bar.start()
        return self._bar

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _left(seconds: float | None) -> str:
    """``about 1:05 left``; nothing where it cannot be told."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"about {clock} left"
