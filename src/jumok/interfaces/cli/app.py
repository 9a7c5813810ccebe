"""The commands by name, each with its two examples; nothing here imports torch."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

from cyclopts import App, Parameter

from jumok.interfaces.cli.models import model_list, system_list

__all__ = ["COMMANDS", "examples", "make_app"]

COMMANDS = (
    "train",
    "distill",
    "translate",
    "evaluate",
    "score",
    "align",
    "inspect",
    "compare",
    "data",
    "init",
    "verify",
    "tapes",
    "doctor",
)
"""Each is a module here, with a function of its own name and ``EXAMPLES``, two command lines."""
CHOOSING = ("train", "distill", "init")
"""Commands in which a model is chosen."""

_ABOUT = "Train, read and ship sequence-to-sequence models whose attention you can see."
_CODES = (
    "Exit codes: 0 done, 1 failed while running, 2 usage or configuration, 3 bad data, "
    "4 model missing, damaged or newer, 5 an extra is not installed, 130 interrupted."
)


def make_app(wanted: str | None = None) -> App:
    """The application, with the ``wanted`` command alone if there is such a one, or with all."""
    app = App(
        name="jumok",
        help=_ABOUT,
        help_epilogue=_CODES,
        help_format="plaintext",
        version=_version,
        default_parameter=Parameter(negative=(), show_default=_default),
    )
    for order, name in enumerate(COMMANDS):
        if wanted in COMMANDS and name != wanted:
            continue
        app.command(
            _command(name),
            name=name,
            sort_key=order,
            help_epilogue=_epilogue(name),
        )
    return app


def _epilogue(name: str) -> str:
    """The models or systems, where one is chosen, and the examples."""
    lines = "".join(f"\n  {line}" for line in examples(name))
    models = f"{model_list()}\n\n" if name in CHOOSING else ""
    systems = f"{system_list()}\n\n" if name == "compare" else ""
    return f"{models}{systems}Examples:{lines}"


def examples(name: str) -> tuple[str, ...]:
    """The command lines that ``jumok NAME --help`` shows."""
    shown: tuple[str, ...] = _module(name).EXAMPLES
    return shown


def _module(name: str) -> Any:
    return importlib.import_module(f"jumok.interfaces.cli.{name}")


def _command(name: str) -> Callable[..., Any]:
    """The command's function, its docstring in unbroken lines that the terminal can wrap."""
    function: Callable[..., Any] = getattr(_module(name), name)
    doc = inspect.getdoc(function) or ""
    function.__doc__ = re.sub(r"(?<=\S)\n( *)(?=\S)(?!-+\n)", _joined, doc)
    return function


def _joined(found: re.Match[str]) -> str:
    """A space in place of a line end, except around the names of parameters and headings."""
    before = found.string[: found.start()].rpartition("\n")[2]
    is_name = re.fullmatch(r"\w+|-+", before) is not None
    dedents = before.startswith(" ") and not found[1]
    return found[0] if is_name or dedents else " "


def _default(value: object) -> str | None:
    """What help says about a default: nothing about a switch that is off."""
    return None if value is None or value is False or value == "" else str(value)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"jumok {version('jumok')}"
    except PackageNotFoundError:
        return "jumok (not installed: running from its source)"
