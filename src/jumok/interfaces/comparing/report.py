"""The ladder's page from its table, its runs and the maps that were kept."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

from jumok.interfaces.comparing.lines import NAMES, columns_of, notes_of, title_of
from jumok.interfaces.comparing.run import Places, Result
from jumok.interfaces.comparing.state import TESTS
from jumok.interfaces.comparing.table import Table
from jumok.views.charts import Line
from jumok.views.ladder import LadderPage, PageColumn, PageMap, PageRow, ladder_page
from jumok.views.trace_file import load_traces, write_whole

__all__ = ["write_report"]

NAME = "report.html"
NOTE = 120
"""Characters of a reason that stand in the table; all of it stands under it."""


def write_report(
    table: Table, results: Sequence[Result], finished: Sequence[Places], folder: Path
) -> Path:
    """Writes ``report.html`` into the ladder's folder, whole or not at all."""
    columns = columns_of(table)
    by_examples, by_seconds = _lines(table, results)
    item, maps = _maps(table, finished, folder)
    page = LadderPage(
        title="jumok compare",
        lede=f"{title_of(table)} {table.state.about}",
        columns=tuple(PageColumn(c.head, c.about, c.lower) for c in columns),
        rows=tuple(
            PageRow(
                label=row.label,
                name=f"{row.label}{' *' if row.experimental else ''}",
                cells=tuple(c.cell(row) for c in columns),
                values=tuple(c.value(row) for c in columns),
                best=row.best,
                note=textwrap.shorten(row.error or "", NOTE, placeholder=" …"),
            )
            for row in table.rows
        ),
        baselines=tuple((k, f"{v:.2%}") for k, v in table.state.baselines.items()),
        notes=tuple(notes_of(table)),
        score=NAMES[table.state.choose_by],
        share=table.state.choose_by in ("exact_match", "cer", "wer"),
        by_examples=by_examples,
        by_seconds=by_seconds,
        item=item,
        maps=maps,
    )
    path = folder / NAME
    write_whole(path, ladder_page(page).encode())
    return path


def _lines(table: Table, results: Sequence[Result]) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    """A line for each run, by examples and by seconds, in the order of the table."""
    order = [row.label for row in table.rows]
    runs = sorted((r for r in results if r.points), key=lambda r: (order.index(r.label), r.seed))
    examples = [Line(r.label, tuple((p.examples, p.score) for p in r.points)) for r in runs]
    seconds = [Line(r.label, tuple((p.seconds, p.score) for p in r.points)) for r in runs]
    return tuple(examples), tuple(seconds)


def _maps(
    table: Table, finished: Sequence[Places], folder: Path
) -> tuple[tuple[str, tuple[str, ...]], tuple[PageMap, ...]]:
    """The item that is shown, and what each system made of it, in the order of the table."""
    test = json.loads((folder / TESTS).read_bytes())
    references = dict(zip(test["sources"], test["references"], strict=True))
    found: dict[str, PageMap] = {}
    for place in finished:
        path = place.beside(".jumok.json")
        if place.label not in found and path.exists():
            trace = load_traces(path)[0]
            right = trace.target_text in references.get(trace.source_text, ())
            found[place.label] = PageMap(place.label, trace, right)
    maps = tuple(found[row.label] for row in table.rows if row.label in found)
    source = maps[0].trace.source_text if maps else ""
    return (source, tuple(references.get(source, ()))), maps
