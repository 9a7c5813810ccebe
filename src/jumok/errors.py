"""The family of errors, drawn as a tree; each says what, where, why and what next.

::

    JumokError                 exit 1   something failed while running
    ├── UsageError             exit 2   a flag, a key or an argument is wrong
    │   └── ConfigError        exit 2   a configuration cannot be used as it stands
    ├── DataError              exit 3   a line of the user's data is wrong (file:line)
    ├── ModelFolderError       exit 4   a model folder is missing, damaged or newer than us
    ├── MissingExtraError      exit 5   an optional package is not installed
    ├── SaveError              exit 1   a folder could not be written; the one before is intact
    ├── TrainingError          exit 1   training cannot go on (non-finite steps, no memory)
    └── Interrupted            exit 130 stopped from outside; the checkpoint is saved
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "DataError",
    "Interrupted",
    "JumokError",
    "MissingExtraError",
    "ModelFolderError",
    "SaveError",
    "TrainingError",
    "UsageError",
    "at_least_one",
    "did_you_mean",
]


class JumokError(Exception):
    """Something failed while running. ``hint`` says what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


class UsageError(JumokError, ValueError):
    """A flag, a key or an argument is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration cannot be used as it stands."""


class DataError(JumokError, ValueError):
    """A line of the user's data is wrong. ``where`` is ``file:line`` (1-based), or the file.

    ``excerpt`` is the offending text, shown shortened under the message.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        excerpt: str | None = None,
        hint: str | None = None,
    ) -> None:
        located = f"{where}: {message}" if where else message
        if excerpt is not None:
            shown = excerpt if len(excerpt) <= 80 else excerpt[:79] + "…"
            located += f"\n  | {shown}"
        super().__init__(located, hint=hint)
        self.where = where


class ModelFolderError(JumokError):
    """A model folder is missing, damaged or newer than us."""

    exit_code = 4


class MissingExtraError(JumokError, ImportError):
    """A package is not installed; ``extra`` = None for one that jumok itself requires."""

    exit_code = 5

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed.",
            hint=f"pip install {package}" if extra is None else f"pip install 'jumok[{extra}]'",
        )


class SaveError(JumokError):
    """A folder could not be written (no space, no permission); the one before is intact."""


class TrainingError(JumokError):
    """Training cannot go on."""


class Interrupted(JumokError):
    """Stopped from outside; the checkpoint is saved."""

    exit_code = 130


def at_least_one(**options: int | None) -> None:
    """ConfigError for the first of ``options``, by name, that is below 1; None is not given."""
    for name, value in options.items():
        if value is not None and value < 1:
            raise ConfigError(f"`{name}` must be at least 1, but is {value}.")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``" Did you mean --hidden?"``-style ending for an unknown ``name``, or ``""``."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""
