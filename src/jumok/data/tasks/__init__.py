"""Built-in tasks: pairs made from a seed, with train, dev and test apart by source."""

from __future__ import annotations

from collections.abc import Callable

from jumok.data.tasks.addition import addition
from jumok.data.tasks.dates import LANGUAGES, dates
from jumok.data.tasks.sequences import copy, reverse, sort
from jumok.data.tasks.task_data import TaskData
from jumok.errors import UsageError, did_you_mean

__all__ = [
    "LANGUAGES",
    "TASKS",
    "TaskData",
    "addition",
    "copy",
    "dates",
    "parse",
    "reverse",
    "sort",
]

TASKS: dict[str, Callable[..., TaskData]] = {
    "dates": dates,
    "addition": addition,
    "reverse": reverse,
    "copy": copy,
    "sort": sort,
}
"""Name -> ``function(n, seed, ...)``; each has its own further options, by keyword."""


def parse(name: str) -> Callable[..., TaskData]:
    """The task that ``@dates`` and the like name.

    Raises:
        UsageError: there is no such task.
    """
    plain = name.removeprefix("@")
    if name.startswith("@") and plain in TASKS:
        return TASKS[plain]
    raise UsageError(
        f"{name!r} is not a built-in task.{did_you_mean(name, ['@' + t for t in TASKS])}",
        hint=f"there are {', '.join('@' + t for t in TASKS)}; a file is named without the @.",
    )
