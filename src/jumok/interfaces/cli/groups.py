"""Options that several commands share, and the parameter types of the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from cyclopts import Group, Parameter

from jumok.errors import UsageError
from jumok.interfaces.options import Ensembling, Machine, Reading, Searching

__all__ = [
    "NO_KEYS",
    "ConfigurationKeys",
    "Hardware",
    "Members",
    "ReadingPairs",
    "Search",
    "one_or_two",
    "seconds",
]

NO_KEYS: Mapping[str, str] = MappingProxyType({})

ConfigurationKeys = Annotated[Mapping[str, str], Parameter(parse=False)]
"""``--section.key value``, taken out of the command line by ``keys.py``."""

ReadingPairs = Annotated[
    Reading, Parameter(name="*", group=Group("Reading files of pairs", sort_key=3))
]
Search = Annotated[Searching, Parameter(name="*", group=Group("Search", sort_key=2))]
Members = Annotated[Ensembling, Parameter(name="*", group=Group("Several models", sort_key=5))]
Hardware = Annotated[Machine, Parameter(name="*", group=Group("Machine", sort_key=4))]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str | None) -> float | None:
    """``90``, ``90s``, ``10m``, ``1h30m`` as seconds."""
    if text is None:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise UsageError(f"--time {text!r} is no length of time.", hint="such as 90s, 10m or 1h30m")
    return sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)


def one_or_two(data: tuple[str, ...], what: str) -> tuple[str, ...]:
    """``data`` if it is one file of pairs or two parallel files."""
    if len(data) > 2:
        raise UsageError(
            f"{what} is one file of pairs or two parallel files, but {len(data)} were given: "
            f"{', '.join(data)}.",
            hint="cat joins files of pairs.",
        )
    return data


def comma(text: str | None) -> tuple[str, ...]:
    """``--dev dev.tsv`` or ``--dev dev.de,dev.en``."""
    return tuple(text.split(",", 1)) if text else ()
