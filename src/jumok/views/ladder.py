"""The ladder's page: the table, the learning curves, a map of each system; one HTML file.

Nothing is fetched and nothing can be: the policy allows the one script and the one style whose
hashes it names. Curves and maps are SVG that stands in the page as it is; the script only sorts
the table and picks the curves that are in colour.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

from jumok.records import AttentionTrace
from jumok.views.charts import Line, chart, colour
from jumok.views.labels import sentence
from jumok.views.page import asset, policy
from jumok.views.small_map import small_map

__all__ = ["LadderPage", "PageColumn", "PageMap", "PageRow", "ladder_page"]

LIT = 5
"""Systems whose curves are in colour at first."""


@dataclass(frozen=True)
class PageColumn:
    """A head and what it means."""

    head: str
    about: str
    lower: bool = False
    """Whether a first click puts the lowest on top."""


@dataclass(frozen=True)
class PageRow:
    """One system: its cells as text, and the numbers they are sorted by (None: always last)."""

    label: str
    name: str
    """The label with its marks."""
    cells: tuple[str, ...]
    values: tuple[float | None, ...]
    best: bool = False
    note: str = ""


@dataclass(frozen=True)
class PageMap:
    """What one system made of the test item that all are shown with."""

    label: str
    trace: AttentionTrace
    right: bool


@dataclass(frozen=True, kw_only=True)
class LadderPage:
    """All that the page shows, in words and numbers."""

    title: str
    lede: str
    columns: tuple[PageColumn, ...]
    rows: tuple[PageRow, ...]
    baselines: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    score: str
    """What the curves show, such as ``exact match``."""
    share: bool
    """Whether that is a share of 1."""
    by_examples: tuple[Line, ...]
    by_seconds: tuple[Line, ...]
    item: tuple[str, tuple[str, ...]]
    """Source and references of the item that is shown."""
    maps: tuple[PageMap, ...]


def ladder_page(page: LadderPage) -> str:
    """One HTML document, which opens from a disk without any network."""
    code = asset("ladder.js")
    style = asset("page.css") + asset("ladder.css")
    filled = {
        "policy": policy(code, style),
        "style": style,
        "script": code,
        "title": escape(page.title),
        "lede": escape(page.lede),
        "table": _table(page),
        "notes": "".join(f"<li>{escape(note)}</li>" for note in page.notes),
        "curves": _curves(page),
        "maps": _maps(page),
    }
    # One pass, so that a marker inside a text stays the text that it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda m: filled[m[1]], asset("ladder.html"))


def _table(page: LadderPage) -> str:
    heads = "".join(
        f'<th scope="col" title="{escape(c.about)}" data-first="{"up" if c.lower else "down"}">'
        f'<button type="button">{escape(c.head)}</button></th>'
        for c in page.columns
    )
    body = "".join(_row(row) for row in page.rows)
    blank = f'<td colspan="{max(1, len(page.columns) - 1)}"></td>'
    foot = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td>{blank}</tr>'
        for name, value in page.baselines
    )
    return (
        '<table class="ladder"><thead><tr><th scope="col" data-first="up">'
        f'<button type="button">system</button></th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody><tfoot>{foot}</tfoot></table>"
    )


def _row(row: PageRow) -> str:
    cells = "".join(
        f'<td data-value="{"" if value is None else repr(float(value))}">{escape(cell)}</td>'
        for cell, value in zip(row.cells, row.values, strict=True)
    )
    kind = ' class="best"' if row.best else ""
    note = f"<small>{escape(row.note)}</small>" if row.note else ""
    return f'<tr{kind}><th scope="row">{escape(row.name)}{note}</th>{cells}</tr>'


def _curves(page: LadderPage) -> str:
    labels = [row.label for row in page.rows if any(x.label == row.label for x in page.by_examples)]
    if not labels:
        return '<p class="quiet">No run has been scored on dev yet.</p>'
    lit = labels[:LIT]
    colours = {label: colour(n) for n, label in enumerate(labels)}
    chips = "".join(
        f'<button type="button" class="chip {colours[label]}" data-system="{escape(label)}" '
        f'aria-pressed="{"true" if label in lit else "false"}"><i></i>{escape(label)}</button>'
        for label in labels
    )
    charts = "".join(
        f"<figure><figcaption>{escape(page.score)} on dev by {name}</figcaption>"
        f"{chart(lines, colours, lit, share=page.share, about=f'{page.score} by {name}')}</figure>"
        for name, lines in (
            ("examples seen", page.by_examples),
            ("seconds of training", page.by_seconds),
        )
    )
    return f'<div class="charts">{charts}</div><div class="chips">{chips}</div>'


def _maps(page: LadderPage) -> str:
    source, references = page.item
    wanted = " or ".join(sentence(text) for text in references)
    head = (
        f'<p class="pair"><bdi>{escape(sentence(source))}</bdi> <span class="arrow">→</span> '
        f"<bdi>{escape(wanted)}</bdi></p>"
    )
    return head + f'<div class="maps">{"".join(_map(one, wanted) for one in page.maps)}</div>'


def _map(one: PageMap, wanted: str) -> str:
    wrote = escape(sentence(one.trace.target_text)) or "nothing"
    verdict = "right" if one.right else f"wrong, expected {escape(wanted)}"
    drawn = small_map(one.trace)
    inside = drawn or '<p class="quiet">no attention: one vector holds the source</p>'
    return (
        f'<figure class="{"right" if one.right else "wrong"}"><figcaption><b>{escape(one.label)}'
        f"</b> <bdi>{wrote}</bdi> <small>{verdict}</small></figcaption>{inside}</figure>"
    )
