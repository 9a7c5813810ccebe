"""The trace file's fields, ``jumok-trace/1``: written in one order, read back strictly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import numpy as np

from jumok.records import AttentionMap, AttentionTrace, MapKind, Token

__all__ = ["SCHEMA", "Fields", "trace_from", "trace_to"]

SCHEMA = "jumok-trace/1"
_MOST_SYMBOLS = 1 << 20
_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


class Fields:
    """A JSON object read key by key; every key must be known, present and of its type."""

    def __init__(self, record: Any, where: str) -> None:
        if not isinstance(record, dict):
            raise ValueError(f"{where} should be an object, but is {_kind(record)}")
        self._record = dict(record)
        self._where = where

    def _take(self, key: str, kinds: tuple[type, ...], what: str) -> Any:
        if key not in self._record:
            raise ValueError(f"{self._where} lacks {key!r}")
        value = self._record.pop(key)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ValueError(f"{key!r} of {self._where} should be {what}, but is {_kind(value)}")
        return value

    def text(self, key: str) -> str:
        return _whole(self._take(key, (str,), "a text"))

    def optional_text(self, key: str) -> str | None:
        value = self._take(key, (str, type(None)), "a text or null")
        return None if value is None else _whole(value)

    def flag(self, key: str) -> bool:
        return bool(self._take(key, (bool,), "true or false"))

    def number(self, key: str) -> float:
        return float(self._take(key, (int, float), "a number"))

    def integer(self, key: str, known: tuple[int, ...]) -> int:
        value = int(self._take(key, (int,), "an integer"))
        if value not in known:
            raise ValueError(f"{key!r} is {value}, not one of {known}")
        return value

    def values(self, key: str) -> list[Any]:
        found: list[Any] = self._take(key, (list,), "a list")
        if len(found) > _MOST_SYMBOLS:
            raise ValueError(f"{key!r} of {self._where} has {len(found)} entries")
        return found

    def optional_values(self, key: str) -> list[Any] | None:
        if self._record.get(key, 0) is None:
            del self._record[key]
            return None
        return self.values(key)

    def optional_float(self, key: str) -> float | None:
        value = self._take(key, (int, float, str, type(None)), "a number or null")
        return None if value is None else _float(value)

    def mapping(self, key: str) -> dict[str, str]:
        found = self._take(key, (dict,), "an object")
        if not all(isinstance(v, str) for v in found.values()):
            raise ValueError(f"{key!r} of {self._where} should hold texts alone")
        return {_whole(k): _whole(v) for k, v in found.items()}

    def shape(self, key: str, limit: int) -> tuple[int, int]:
        found = self.values(key)
        good = len(found) == 2 and all(type(n) is int and n >= 0 for n in found)
        if not good or found[0] * found[1] > limit:
            raise ValueError(f"{key!r} is {str(found)[:60]}, not the sizes of a matrix")
        return found[0], found[1]

    def records(self, key: str) -> Iterator[Fields]:
        for i, record in enumerate(self.values(key)):
            yield Fields(record, f"{key}[{i}]")

    def done(self) -> None:
        if self._record:
            raise ValueError(f"{self._where} has the unknown key {next(iter(self._record))!r}")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _whole(text: str) -> str:
    """``text``, refused where it holds half a surrogate pair (JSON can spell it)."""
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise ValueError("a text holds half a surrogate pair")
    return text


def _float(value: Any) -> float:
    """A number, or the name of one that JSON has no digits for."""
    if isinstance(value, str):
        if value not in _NOT_FINITE:
            raise ValueError(f"{value[:20]!r} is not a number")
        return _NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{_kind(value)} in place of a number")
    return float(value)


def _written(value: Any) -> float | str:
    """The shortest digits that give ``value`` back in its own type; ``"-inf"`` and such by name."""
    number = float(value)
    return float(str(value)) if math.isfinite(number) else str(number)


def trace_to(
    trace: AttentionTrace, pack: Callable[[AttentionMap], Mapping[str, Any]]
) -> dict[str, Any]:
    """``trace`` as a JSON object; ``pack`` gives what stands for a map's array."""
    return {
        "source_text": trace.source_text,
        "target_text": trace.target_text,
        "source": [[t.text, t.start, t.end, int(t.special)] for t in trace.source],
        "target": [[t.text, t.start, t.end, int(t.special)] for t in trace.target],
        "maps": [{"name": m.name, "kind": m.kind, **pack(m)} for m in trace.maps],
        "main": trace.main,
        "logprobs": None if trace.logprobs_T is None else [_written(v) for v in trace.logprobs_T],
        "alternatives": [[[s, _written(v)] for s, v in step] for step in trace.alternatives],
        "score": None if trace.score is None else _written(trace.score),
        "finished": trace.finished,
        "card": {str(k): str(v) for k, v in trace.card.items()},
    }


def trace_from(fields: Fields, unpack: Callable[[Fields], np.ndarray]) -> AttentionTrace:
    """The inverse of ``trace_to``.

    Raises:
        ValueError: anything is missing, unknown, of another type or at odds with the rest.
    """
    logprobs = None
    texts = fields.text("source_text"), fields.text("target_text")
    source = tuple(_token(v, len(texts[0])) for v in fields.values("source"))
    target = tuple(_token(v, len(texts[1])) for v in fields.values("target"))
    maps = tuple(_map(f, unpack) for f in fields.records("maps"))
    main = fields.optional_text("main")
    if main is not None and main not in {m.name for m in maps}:
        raise ValueError(f"the main map {main!r} is not there")
    listed = fields.optional_values("logprobs")
    if listed is not None:
        if len(listed) != len(target):
            raise ValueError(f"{len(listed)} log-probabilities for {len(target)} symbols")
        logprobs = np.array([_float(v) for v in listed], np.float64)
    trace = AttentionTrace(
        source_text=texts[0],
        target_text=texts[1],
        source=source,
        target=target,
        maps=maps,
        main=main,
        logprobs_T=logprobs,
        alternatives=tuple(_step(v) for v in fields.values("alternatives")),
        score=fields.optional_float("score"),
        finished=fields.flag("finished"),
        card=fields.mapping("card"),
    )
    fields.done()
    return trace


def _token(value: Any, length: int) -> Token:
    match value:
        case [str(text), int(start), int(end), int(special)] if 0 <= start <= end <= length:
            return Token(_whole(text), start, end, bool(special))
    raise ValueError(f"{str(value)[:60]} is not a symbol with its span in the text")


def _map(fields: Fields, unpack: Callable[[Fields], np.ndarray]) -> AttentionMap:
    name, kind = fields.text("name"), fields.text("kind")
    if kind not in get_args(MapKind):
        raise ValueError(f"{kind[:20]!r} is not a kind of map")
    return AttentionMap(name=name, kind=kind, values_TS=unpack(fields))  # type: ignore[arg-type]


def _step(value: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, list) or not all(isinstance(o, list) and len(o) == 2 for o in value):
        raise ValueError("alternatives should be pairs of a symbol and a number")
    if not all(isinstance(symbol, str) for symbol, _ in value):
        raise ValueError("an alternative's symbol is not a text")
    return tuple((_whole(symbol), _float(number)) for symbol, number in value)
