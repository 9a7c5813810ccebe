"""Frozen dataclasses <-> flags <-> TOML; unknown keys are answered with the nearest name.

The fields of one keyword-only frozen dataclass are the flags of the command line, the keys of a
TOML file and the record kept with a model. A nested dataclass is a section; a dotted name such as
``optim.lr`` names a field from the top. Fields may be ``bool``, ``int``, ``float``, ``str``,
``Literal``, ``tuple``, ``X | None``, unions of these, and dataclasses of such fields. The string
under a field is its documentation. ``none`` stands for None in text, since TOML has no such value.

Where the class of a section follows from a name (the model's), ``types={"model": LuongConfig}``
says which one stands there, and ``names={"model": "luong"}`` writes ``name = "luong"`` into it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from jumok.config.toml import parse_toml, read_toml, to_toml
from jumok.config.tree import NO_KEYS, NO_TYPES, Entry, Tree, Types, merge, types_of

__all__ = [
    "Entry",
    "build",
    "digest",
    "explain",
    "from_dict",
    "merge",
    "override",
    "parse_toml",
    "read",
    "read_toml",
    "to_dict",
    "to_toml",
]

C = TypeVar("C")


def from_dict(
    cls: type[C],
    mapping: Mapping[str, Any],
    *,
    where: str = "",
    section: str = "",
    types: Types = NO_TYPES,
) -> C:
    """``mapping`` (nested, as TOML gives it) as a ``cls``; strict about keys and types.

    ``where`` is what the mapping was read from (a file's name) and opens every message;
    ``section`` is the dotted name of ``cls`` itself where it is not the top.
    Raises ConfigError.
    """
    tree = Tree(cls=cls, types=types, root=section, where=where)
    made: C = tree.construct(tree.read(mapping))
    return made


def build(
    cls: type[C],
    *,
    preset: Mapping[str, Any] = NO_KEYS,
    file: Mapping[str, Any] = NO_KEYS,
    flags: Mapping[str, str] = NO_KEYS,
    where: str = "",
    types: Types = NO_TYPES,
) -> C:
    """A ``cls`` from flags over a file over a preset over the defaults; ``where``: the file.

    ``preset`` and ``file`` are nested; ``flags`` are dotted names (no dashes) with their text.
    Every layer is checked by itself, so that a message names the layer at fault.
    """
    tree = Tree(cls=cls, types=types)
    said = read(cls, file=file, flags=flags, where=where, types=types)
    made: C = tree.construct(merge(tree.read(preset), said))
    return made


def read(
    cls: type,
    *,
    file: Mapping[str, Any] = NO_KEYS,
    flags: Mapping[str, str] = NO_KEYS,
    where: str = "",
    types: Types = NO_TYPES,
) -> dict[str, Any]:
    """What flags over a file say, nested and typed, with nothing filled in.

    For a first look: every key is known and every value of its type, or it is a ConfigError.
    Whether the values go together is seen by ``build``.
    """
    tree = Tree(cls=cls, types=types)
    below = dataclasses.replace(tree, where=where).read(file)
    return merge(below, tree.read_flags(flags))


def override(cfg: C, flags: Mapping[str, str]) -> C:
    """``cfg`` with dotted fields replaced by text that is read by the field's type."""
    tree = Tree(cls=type(cfg), types=types_of(cfg))
    made: C = tree.construct(merge(tree.read(to_dict(cfg)), tree.read_flags(flags)))
    return made


def to_dict(cfg: Any) -> dict[str, Any]:
    """Nested plain values in field order; tuples become lists, None stays None."""
    return {f.name: _plain(getattr(cfg, f.name)) for f in dataclasses.fields(cfg)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def digest(cfg: Any) -> str:
    """SHA-256 (hex) of the values of ``cfg``; equal for equal configurations, on every machine."""
    text = json.dumps(to_dict(cfg), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def explain(cls: type, *, types: Types = NO_TYPES) -> list[Entry]:
    """Every field of ``cls`` and of its sections, in order, for help and for documentation."""
    return Tree(cls=cls, types=types).entries()
