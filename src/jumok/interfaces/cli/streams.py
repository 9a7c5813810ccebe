"""Standard streams: UTF-8 whatever the locale says, ``\\n`` line ends, JSON one object a line."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from jumok.errors import UsageError

__all__ = [
    "SCHEMA",
    "close_quietly",
    "input_lines",
    "json_line",
    "note",
    "say",
    "use_utf8",
]

SCHEMA = "jumok/1"


def use_utf8() -> None:
    """Standard output and error in UTF-8 with plain ``\\n``; nothing printed can fail to encode."""
    for stream, newline in ((sys.stdout, "\n"), (sys.stderr, None)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline=newline)


def say(text: str) -> None:
    """A line of data, at once: someone may be waiting for it at the other end of a pipe."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line for the reader, beside the data."""
    print(text, file=sys.stderr)


def json_line(value: Mapping[str, Any]) -> None:
    """One JSON object as a line of standard output, opened by the schema it follows."""
    say(json.dumps({"schema": SCHEMA, **value}, ensure_ascii=False, allow_nan=False, default=_list))


def _list(value: Any) -> Any:
    """NumPy arrays and numbers, mappings and tuples as JSON knows them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return dict(value) if isinstance(value, Mapping) else list(value)


def input_lines(path: str, encoding: str, model: str) -> Iterator[str]:
    """The lines of a file or, for ``-``, of standard input; a line that is no text is an error.

    Raises:
        UsageError: there is no such file, told before ``model`` is opened.
    """
    if path != "-" and not os.path.exists(path):
        raise UsageError(
            f"{path}: there is no such file.",
            hint=f"for one text: echo {shlex.quote(path)} | jumok translate {model}",
        )
    from jumok.data.corpus import stream_sources

    return stream_sources(path, encoding=encoding)


def close_quietly() -> None:
    """The reader of our output has left: nothing more is written, at exit neither."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
