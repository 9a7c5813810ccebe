"""``--section.key value`` taken out of a command line before its options are parsed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jumok.errors import UsageError

__all__ = ["take_keys"]

_KEY = re.compile(r"--([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)+)(?:=(.*))?", re.DOTALL)


def take_keys(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(the other arguments, dotted key -> text). What follows ``--`` is nobody's option.

    The keys themselves are checked later, once it is known which model they configure.
    """
    rest: list[str] = []
    keys: dict[str, str] = {}
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            return [*rest, argument, *waiting], keys
        found = _KEY.fullmatch(argument)
        if found is None:
            rest.append(argument)
            continue
        name, text = found[1].replace("-", "_"), found[2]
        if text is None:
            text = _value(name, waiting)
        if name in keys:
            raise UsageError(f"--{name} is given twice ({keys[name]!r} and {text!r}).")
        keys[name] = text
    return rest, keys


def _value(name: str, waiting: list[str]) -> str:
    if not waiting or waiting[0].startswith("--"):
        raise UsageError(
            f"--{name} needs a value.", hint=f"a switch takes true or false: --{name} true"
        )
    return waiting.pop(0)
