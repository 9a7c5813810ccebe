"""TOML in, with ``file:line`` in every message; TOML out, with every field documented."""

from __future__ import annotations

import dataclasses
import math
import re
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from jumok.config.values import field_docs, type_text
from jumok.errors import ConfigError

__all__ = ["parse_toml", "read_toml", "to_toml"]

_WIDTH = 96
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def read_toml(path: str | Path) -> dict[str, Any]:
    """The nested mapping in a TOML file. Raises ConfigError with ``file:line``."""
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        hint = "jumok init > my.toml writes one with every key."
        raise ConfigError(f"{path}: there is no such configuration file.", hint=hint) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from None
    return parse_toml(raw, str(path))


def parse_toml(raw: bytes, where: str) -> dict[str, Any]:
    """The nested mapping in ``raw``, the content of the file ``where``. Raises ConfigError."""
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{where}:{line}: this is not UTF-8, and TOML must be.") from None
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(where, raw.decode("utf-8-sig"), str(error)) from None


def _syntax_error(path: str, text: str, said: str) -> ConfigError:
    """``my.toml:3: Invalid value`` with the line itself under it."""
    lines = text.splitlines() or [""]
    found = re.search(r"\s*\(at line (\d+), column \d+\)", said)
    number = int(found[1]) if found else len(lines)
    problem = said[: found.start()] if found else said.partition(" (")[0]
    excerpt = lines[min(number, len(lines)) - 1].strip()
    hint = 'text stands in quotes, e.g. unit = "char".' if "=" in excerpt else None
    return ConfigError(f"{path}:{number}: {problem}.\n  | {excerpt}", hint=hint)


def to_toml(
    cfg: Any,
    *,
    comments: bool = True,
    names: Mapping[str, str] = {},
    section: str = "",
) -> str:
    """``cfg`` as TOML text; ``comments`` adds each field's documentation and what it accepts.

    ``names={"model": "luong"}`` opens that section with ``name = "luong"``. Every field is
    written, so that the text over any preset gives ``cfg`` again; None is ``"none"``.
    """
    text = "\n".join(_lines(cfg, comments, names, section)).strip("\n")
    return f"{text}\n" if text else ""


def _lines(cfg: Any, comments: bool, names: Mapping[str, str], section: str) -> list[str]:
    lines: list[str] = []
    if comments and section and (caption := _caption(type(cfg))):
        lines += _comment(caption)
    if section:
        lines.append(f"[{section}]")
    if section in names:
        lines.append(f"name = {_value(names[section])}")
    sections: list[str] = []
    hints = get_type_hints(type(cfg))
    for f in dataclasses.fields(cfg):
        value = getattr(cfg, f.name)
        if dataclasses.is_dataclass(value):
            name = f"{section}.{f.name}" if section else f.name
            sections += ["", *_lines(value, comments, names, name)]
        else:
            lines += _field(type(cfg), f, hints[f.name], value, comments)
    return lines + sections


def _field(
    cls: type, f: dataclasses.Field[Any], hint: Any, value: Any, comments: bool
) -> list[str]:
    lines: list[str] = []
    if comments:
        doc = field_docs(cls).get(f.name, "")
        lines += ["", *_comment(f"{doc} ({type_text(hint)})" if doc else type_text(hint))]
    if value == "none" and NoneType in get_args(hint):
        raise ConfigError(f'{f.name} is the text "none", which stands for no value.')
    return [*lines, f"{f.name} = {_value('none' if value is None else value)}"]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False)]


def _caption(cls: type) -> str:
    """The first line of the class's docstring, unless dataclass made it up."""
    doc = (cls.__doc__ or "").strip()
    return "" if doc.startswith(f"{cls.__name__}(") else doc.partition("\n")[0]


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value).lower()
        case str():
            return '"' + "".join(_ESCAPES.get(c) or _control(c) for c in value) + '"'
        case tuple() | list():
            return "[" + ", ".join(_value(v) for v in value) + "]"
        case _:
            raise TypeError(f"{value!r} has no form in TOML.")


def _control(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04X}" if code < 32 or code == 127 else character
