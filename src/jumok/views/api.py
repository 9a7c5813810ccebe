"""Save traces by suffix, and show one in a notebook."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from jumok.errors import UsageError, did_you_mean
from jumok.records import AttentionTrace
from jumok.views.figure import save_figure
from jumok.views.page import page
from jumok.views.trace_file import save_traces, write_whole

__all__ = ["SUFFIXES", "repr_html", "save"]

SUFFIXES = (".html", ".svg", ".png", ".pdf", ".npz", ".jumok.json")


def save(traces: AttentionTrace | Sequence[AttentionTrace], path: str | os.PathLike[str]) -> None:
    """Write one or many traces to ``path``; the suffix chooses the form.

    ``.html`` is a page that needs nothing else and holds any number of sentences; ``.png``,
    ``.svg`` and ``.pdf`` draw one sentence; ``.npz`` and ``.jumok.json`` can be read back by
    ``load_traces``. The file appears whole or not at all.

    Raises:
        UsageError: an unknown suffix (the known ones are listed), no trace at all, or several
            for a picture.
    """
    several = [traces] if isinstance(traces, AttentionTrace) else list(traces)
    suffix = _suffix(path)
    if not several:
        raise UsageError(f"there is no trace to write to {os.fspath(path)!r}.")
    if suffix in (".npz", ".jumok.json"):
        save_traces(several, path)
    elif suffix == ".html":
        write_whole(path, page(several).encode("utf-8"))
    else:
        write_whole(path, _drawn(several, suffix))


def _suffix(path: str | os.PathLike[str]) -> str:
    name = Path(path).name.lower()
    found = next((s for s in SUFFIXES if name.endswith(s)), None)
    if found is None:
        given = Path(name).suffix
        raise UsageError(
            f"cannot tell from {name!r} what to write; the name must end in one of "
            f"{', '.join(SUFFIXES)}.{did_you_mean(given, SUFFIXES)}"
        )
    return found


def _drawn(traces: list[AttentionTrace], suffix: str) -> bytes:
    if len(traces) > 1:
        raise UsageError(
            f"a {suffix} file shows one sentence, but there are {len(traces)}.",
            hint="save them as .html, .npz or .jumok.json, or each to a file of its own.",
        )
    out = io.BytesIO()
    save_figure(traces[0], out, suffix[1:])
    return out.getvalue()


def repr_html(trace: AttentionTrace, *, height: int = 640) -> str:
    """``trace`` for a notebook: the page in a sandboxed frame that can reach nothing outside.

    Works where scripts of the notebook itself cannot be relied on, and in saved notebooks.
    """
    return (
        '<iframe sandbox="allow-scripts allow-downloads" '
        f'style="width:100%;height:{int(height)}px;border:0" title="attention" '
        f'srcdoc="{escape(page([trace]), quote=True)}"></iframe>'
    )
