"""A dataclass with its sections: reading nested mappings and flags into it, strictly."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from types import MappingProxyType, NoneType
from typing import Any, get_args, get_type_hints

from jumok.config.values import (
    Mismatch,
    choices,
    field_docs,
    read_value,
    section_type,
    shown,
    type_text,
)
from jumok.errors import ConfigError, did_you_mean

__all__ = ["NO_KEYS", "NO_TYPES", "Entry", "Tree", "Types", "merge", "types_of"]

Types = Mapping[str, type]
NO_TYPES: Types = MappingProxyType({})
NO_KEYS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One field as help shows it."""

    name: str
    """Dotted, from the top: ``optim.lr``."""
    type_text: str
    """What it accepts, in words."""
    default: Any
    """The default value; ``dataclasses.MISSING`` where the key is required."""
    doc: str
    """The string under the field, on one line."""


@dataclass(frozen=True, kw_only=True)
class _Leaf:
    """A field that is not a section."""

    name: str
    hint: Any
    default: Any
    doc: str


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What may be written for ``cls``, and how it is read.

    ``types`` gives the class of a section that is known only at run time, ``root`` the dotted
    name of ``cls`` where it is not the top, ``where`` the opening of every message.
    """

    cls: type
    types: Types = field(default_factory=dict)
    root: str = ""
    where: str = ""

    def entries(self) -> list[Entry]:
        """Every field, sections opened, in order."""
        return [
            Entry(name=x.name, type_text=type_text(x.hint), default=x.default, doc=x.doc)
            for x in self.leaves()
        ]

    def leaves(self) -> list[_Leaf]:
        """Every field that is not a section, in order."""
        return list(self._leaves(self.cls, self.root, None))

    def _leaves(self, cls: type, section: str, base: Any) -> Iterator[_Leaf]:
        for f, hint in self._fields(cls, section):
            name = _dotted(section, f.name)
            default = getattr(base, f.name) if base is not None else _default(f)
            inner = section_type(hint)
            if inner is None:
                doc = field_docs(cls).get(f.name, "")
                yield _Leaf(name=name, hint=hint, default=default, doc=doc)
            else:
                yield from self._leaves(inner, name, _base(default, inner))

    def _fields(self, cls: type, section: str) -> list[tuple[dataclasses.Field[Any], Any]]:
        """(field, its type with the run-time types put in)."""
        hints = get_type_hints(cls)
        return [
            (f, self.types.get(_dotted(section, f.name), hints[f.name]))
            for f in dataclasses.fields(cls)
            if f.init
        ]

    def read(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        """``mapping`` with every key known and every value of the type asked for."""
        return self._read(self.cls, mapping, self.root)

    def _read(self, cls: type, mapping: Mapping[str, Any], section: str) -> dict[str, Any]:
        known = {f.name: hint for f, hint in self._fields(cls, section)}
        for key, value in mapping.items():
            if key not in known:
                raise self._unknown(key, section, isinstance(value, Mapping))
        return {
            key: self._entry(value, known[key], _dotted(section, key))
            for key, value in mapping.items()
        }

    def _entry(self, value: Any, hint: Any, name: str) -> Any:
        inner = section_type(hint)
        if inner is None:
            return self._value(name, value, hint, text=False)
        if isinstance(value, Mapping):
            return self._read(inner, value, name)
        if value in (None, "none") and NoneType in get_args(hint):
            return None
        raise self.error(f"[{name}] is a section of keys, got {shown(value)}.")

    def read_flags(self, flags: Mapping[str, str]) -> dict[str, Any]:
        """Dotted name -> text, as the nested mapping of typed values."""
        hints = {leaf.name: leaf.hint for leaf in self.leaves()}
        found: dict[str, Any] = {}
        for name, text in flags.items():
            if name not in hints:
                raise self._unknown_flag(name, list(hints))
            *path, last = name.split(".")
            inner = found
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = self._value(f"--{name}", text, hints[name], text=True)
        return found

    def _value(self, name: str, value: Any, hint: Any, *, text: bool) -> Any:
        try:
            return read_value(value, hint, text=text)
        except Mismatch:
            near = did_you_mean(value, choices(hint)) if isinstance(value, str) else ""
            message = f"{name}: expected {type_text(hint)}, got {shown(value)}.{near}"
            raise self.error(message) from None

    def construct(self, typed: Mapping[str, Any]) -> Any:
        """What ``read`` gave, as an instance; the fields left out have their defaults."""
        return self._construct(self.cls, typed, self.root, None)

    def _construct(self, cls: type, typed: Mapping[str, Any], section: str, base: Any) -> Any:
        values: dict[str, Any] = {}
        for f, hint in self._fields(cls, section):
            name, inner = _dotted(section, f.name), section_type(hint)
            default = getattr(base, f.name) if base is not None else _default(f)
            value = typed.get(f.name, {} if name in self.types else default)
            if value is MISSING and inner is not None:
                value = {}
            if value is MISSING:
                raise self.error(f"the key {name} is required and has no default.")
            if inner is not None and isinstance(value, Mapping):
                value = self._construct(inner, value, name, _base(default, inner))
            values[f.name] = value
        return self._checked(cls, values, section)

    def _checked(self, cls: type, values: dict[str, Any], section: str) -> Any:
        """``cls(**values)``; what its own checks say is told with the section's name."""
        try:
            return cls(**values)
        except ValueError as error:
            said = error.message if isinstance(error, ConfigError) else str(error)
            hint = error.hint if isinstance(error, ConfigError) else None
            raise self.error(f"[{section}] {said}" if section else said, hint=hint) from None

    def _unknown(self, key: str, section: str, is_section: bool) -> ConfigError:
        name = _dotted(section, key)
        if is_section:
            sections = {x.name.rpartition(".")[0] for x in self.leaves()} - {""}
            near = did_you_mean(f"[{name}]", sorted(f"[{s}]" for s in sections))
            return self.error(f"unknown section [{name}].{near}")
        names = [leaf.name for leaf in self.leaves()]
        stray = _stray(name, names)
        return self.error(stray or f"unknown key {name}.{_nearest(name, names)}")

    def _unknown_flag(self, name: str, names: list[str]) -> ConfigError:
        sections = sorted({n.rpartition(".")[0] for n in names} - {""})
        if name in sections:
            keys = [n for n in names if n.startswith(f"{name}.")]
            return self.error(f"--{name} is a section; name a key of it, such as --{keys[0]}.")
        stray = _stray(name, names)
        if stray:
            return self.error(f"unknown option --{name}: {stray}")
        return self.error(f"unknown option --{name}.{_nearest(name, names, '--')}")

    def error(self, message: str, *, hint: str | None = None) -> ConfigError:
        """A ConfigError that says where."""
        return ConfigError(f"{self.where}: {message}" if self.where else message, hint=hint)


def _stray(name: str, names: list[str]) -> str:
    """``lr belongs to [optim], not to [model].`` where other sections have that very key."""
    section, _, key = name.rpartition(".")
    homes = [n.rpartition(".")[0] for n in names if n.rpartition(".")[2] == key]
    if not homes:
        return ""
    places = " or ".join(_place(home) for home in homes)
    return f"{key} belongs to {places}, not to {_place(section)}."


def _nearest(name: str, names: list[str], dashes: str = "") -> str:
    """The nearest key of the section that ``name`` names, or else of all."""
    section, _, key = name.rpartition(".")
    prefix = f"{section}." if section else ""
    near = did_you_mean(key, [n.removeprefix(prefix) for n in names if n.startswith(prefix)])
    if near:
        return near.replace("Did you mean ", f"Did you mean {dashes}{prefix}")
    return did_you_mean(f"{dashes}{name}", [f"{dashes}{n}" for n in names])


def _place(section: str) -> str:
    return f"[{section}]" if section else "the top level"


def _dotted(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name


def _default(f: dataclasses.Field[Any]) -> Any:
    return f.default if f.default_factory is MISSING else f.default_factory()


def _base(default: Any, inner: type) -> Any:
    """The instance that a section's missing keys come from, if there is a fitting one."""
    return default if type(default) is inner else None


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over each other; ``above`` wins key by key."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(under, value) if both else value  # type: ignore[arg-type]
    return merged


def types_of(cfg: Any, section: str = "") -> dict[str, type]:
    """Dotted name -> class of every section that ``cfg`` really holds."""
    found: dict[str, type] = {}
    for f in dataclasses.fields(cfg):
        value = getattr(cfg, f.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            name = _dotted(section, f.name)
            found |= {name: type(value), **types_of(value, name)}
    return found
