"""What one configuration field may hold: its type in words, and a value or a text read by it."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from dataclasses import is_dataclass
from functools import lru_cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

__all__ = ["Mismatch", "choices", "field_docs", "read_value", "section_type", "shown", "type_text"]

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_PLURALS = {bool: "true or false", int: "whole numbers", float: "numbers", str: "texts"}
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


class Mismatch(Exception):
    """A value is not of the type asked for."""


def read_value(value: Any, hint: Any, *, text: bool) -> Any:
    """``value`` as ``hint``, or Mismatch; ``text``: it came as text and is to be parsed."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _read_union(value, get_args(hint), text)
    if origin is Literal:
        return _read_literal(value, get_args(hint), text)
    if origin is tuple:
        return _read_tuple(value, get_args(hint), text)
    if hint not in _WORDS:
        raise TypeError(f"a configuration field cannot be of type {hint!r}.")
    if text:
        return _parse_scalar(value, hint)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise Mismatch
    return value


def _parse_scalar(text: str, hint: type) -> Any:
    if hint is bool:
        if text.lower() not in _BOOLEANS:
            raise Mismatch
        return _BOOLEANS[text.lower()]
    try:
        return hint(text)
    except ValueError:
        raise Mismatch from None


def _read_union(value: Any, members: tuple[Any, ...], text: bool) -> Any:
    if NoneType in members and (value is None or value == "none"):
        return None
    for member in sorted(members, key=_narrow_first):
        if member is NoneType or section_type(member) is not None:
            continue
        try:
            return read_value(value, member, text=text)
        except Mismatch:
            continue
    raise Mismatch


def _narrow_first(member: Any) -> int:
    """Text takes anything, so it is tried last; named choices are tried first."""
    return 0 if get_origin(member) is Literal else 2 if member is str else 1


def _read_literal(value: Any, allowed: tuple[Any, ...], text: bool) -> Any:
    for one in allowed:
        if (value == str(one)) if text else (type(value) is type(one) and value == one):
            return one
    raise Mismatch


def _read_tuple(value: Any, members: tuple[Any, ...], text: bool) -> tuple[Any, ...]:
    if text:
        value = [part.strip() for part in value.split(",")] if value else []
    if not isinstance(value, list | tuple):
        raise Mismatch
    if members[-1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise Mismatch
    return tuple(read_value(v, m, text=text) for v, m in zip(value, members, strict=True))


def section_type(hint: Any) -> type | None:
    """The dataclass that ``hint`` asks for, by itself or beside None; else None."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    found = [m for m in members if isinstance(m, type) and is_dataclass(m)]
    return found[0] if len(found) == 1 else None


def choices(hint: Any) -> list[str]:
    """The texts that ``hint`` names one by one."""
    if get_origin(hint) is Literal:
        return [str(one) for one in get_args(hint)]
    return [text for member in get_args(hint) for text in choices(member)]


def type_text(hint: Any) -> str:
    """What a field accepts, in words: ``a whole number or none``, ``one of char, word``."""
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        texts = [type_text(m) for m in members if m is not NoneType]
        return " or ".join([*texts, "none"] if NoneType in members else texts)
    if origin is Literal:
        return "one of " + ", ".join(str(one) for one in members)
    if origin is tuple and members[-1] is Ellipsis:
        return f"a list of {_PLURALS.get(members[0], type_text(members[0]))}"
    if origin is tuple:
        return f"a list of {len(members)}: " + ", ".join(type_text(m) for m in members)
    return _WORDS[hint]


def shown(value: Any) -> str:
    """``value`` as a message quotes it."""
    return json.dumps(value, ensure_ascii=False, default=str)


@lru_cache(maxsize=256)
def field_docs(cls: type) -> dict[str, str]:
    """Field name -> the string written under it, on one line; base classes included."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if is_dataclass(base):
            docs |= _own_docs(base)
    return docs


def _own_docs(cls: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    docs: dict[str, str] = {}
    for statement, after in pairwise(body):
        match statement, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(doc))),
            ):
                docs[name] = " ".join(doc.split())
    return docs
