"""Ctrl-C, SIGTERM, SIGUSR1: finish the update, save, leave; a second one leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from jumok.errors import Interrupted

__all__ = ["Signals", "Stop"]

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")
"""Ctrl-C; the usual request to end; what Slurm sends before it takes a machine away."""


class Stop(BaseException):
    """Raised out of work that changes nothing (a validation) when a signal arrives."""


class Signals:
    """``with Signals() as signals:`` notes the first signal in ``signals.caught``.

    Outside the main thread Python delivers no signals, and nothing is caught.
    """

    def __init__(self) -> None:
        self.caught: str | None = None
        self._breakable = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.caught is not None:
            raise Interrupted(f"stopped at once by a second signal ({name}).")
        self.caught = name
        if self._breakable:
            raise Stop

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """The first signal raises ``Stop`` inside this block."""
        self._breakable = True
        try:
            if self.caught is not None:
                raise Stop
            yield
        finally:
            self._breakable = False
