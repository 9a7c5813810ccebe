"""The ladder's table in words: columns, their cells, and the sentences that belong under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jumok.evaluation.comparison import LOWER_IS_BETTER
from jumok.evaluation.table import align
from jumok.interfaces.comparing.table import Row, Table

__all__ = ["Column", "columns_of", "lines", "notes_of", "title_of"]

NONE = "-"
NAMES = {"exact_match": "exact match", "bleu": "BLEU", "chrf": "chrF", "cer": "CER", "wer": "WER"}


@dataclass(frozen=True)
class Column:
    """One column: its head, what it means, its cell in a row and the number it is sorted by."""

    head: str
    about: str
    cell: Callable[[Row], str]
    value: Callable[[Row], float | None]
    lower: bool = False
    """Whether less is better."""


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}%"


def _count(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+.2f}"


def _interval(row: Row) -> str:
    if row.interval is None:
        return NONE
    return f"{100 * row.interval.low:.1f} to {100 * row.interval.high:.1f}"


def _range(row: Row) -> str:
    if row.lowest is None or row.highest is None:
        return NONE
    return f"{100 * row.lowest:.1f} to {100 * row.highest:.1f}"


def _to_best(row: Row, metric: str) -> str:
    if row.best:
        return "best"
    if row.to_best is None:
        return NONE
    scale = 1 if metric in ("bleu", "chrf") else 100
    behind = scale * row.to_best.delta + 0.0  # the best is the first of the pair
    return f"{-behind if behind else 0.0:+.2f}{' =' if row.tied else ''}"


def _name(row: Row) -> str:
    return f"{row.label}{' *' if row.experimental else ''}"


def _plain(head: str, about: str, name: str, show: Callable[[float | None], str]) -> Column:
    return Column(head, about, lambda r: show(getattr(r, name)), lambda r: getattr(r, name))


def columns_of(table: Table) -> list[Column]:
    """The columns that have anything to show."""
    return [*_quality(table), *_cost(table)]


def _quality(table: Table) -> list[Column]:
    metric = table.metric
    found = [
        _plain("exact match", "share of test inputs answered rightly", "exact_match", _percent),
        Column("95%", "Wilson's interval over test inputs", _interval, lambda r: r.exact_match),
    ]
    if len(table.state.seeds) > 1:
        about = "exact match of the lowest and the highest seed"
        found.append(Column("seeds", about, _range, lambda r: r.lowest))
    for name in ("seen", "unseen"):
        if any(getattr(row, name) is not None for row in table.rows):
            about = f"exact match on inputs {'' if name == 'seen' else 'never '}seen in training"
            found.append(_plain(name, about, name, _percent))
    for name in next((list(r.further) for r in table.rows if r.further), []):
        found.append(_further(name))
    found.append(_plain("CER", "edits by symbols of the reference", "cer", _percent))
    if metric in ("bleu", "chrf"):
        found.append(_plain(NAMES[metric], f"corpus {NAMES[metric]}", metric, _count))
    found.append(
        Column(
            "to best",
            f"{NAMES[metric]} less the best one's; = cannot be told from it (paired bootstrap)",
            lambda r: _to_best(r, metric),
            lambda r: 0.0 if r.best else None if r.to_best is None else -r.to_best.delta,
        )
    )
    kinds = {row.attention_kind for row in table.rows}
    if "gold" in kinds:
        about = "share of output symbols whose strongest source is the right one"
        found.append(_plain("attention", about, "attention", _percent))
    elif "monotonic" in kinds:
        about = "Kendall's tau of the strongest sources: 1 in order, -1 backwards, 0 neither"
        found.append(_plain("monotonic", about, "attention", _signed))
    return found


def _further(name: str) -> Column:
    def value(row: Row) -> float | None:
        return None if row.further is None else row.further.get(name)

    return Column(name, f"exact match: {name}", lambda r: _percent(value(r)), value)


def _cost(table: Table) -> list[Column]:
    def off(row: Row) -> str:
        return NONE if row.off_budget is None else f"{100 * row.off_budget:+.1f}%"

    def size(row: Row) -> str:
        return NONE if row.size is None else f"{row.size / 1000:,.0f}"

    return [
        _plain("items/s", "test inputs decoded a second", "items_per_second", _count),
        _plain("examples/s", "examples trained a second", "examples_per_second", _count),
        _plain("examples", "examples seen in training", "examples", _count),
        _plain("seconds", "of training, validations among them", "seconds", _count),
        Column(
            "hidden", "hidden size", lambda r: f"{r.hidden_size or NONE}", lambda r: r.hidden_size
        ),
        Column(
            "parameters",
            "all weights, embeddings among them",
            lambda r: f"{r.parameters:,}" if r.parameters else NONE,
            lambda r: r.parameters,
        ),
        Column("off", "parameters beside the budget", off, lambda r: r.off_budget),
        Column("kB", "on disk: weights, vocabularies, configuration", size, lambda r: r.size),
    ]


def title_of(table: Table) -> str:
    """One sentence: what was compared on what."""
    state = table.state
    seeds = ", ".join(map(str, state.seeds))
    many = "seeds" if len(state.seeds) > 1 else "seed"
    return (
        f"{len(table.rows)} systems of about {state.budget:,} parameters, at most "
        f"{state.ceiling() or 'the rule’s epochs'} each, {many} {seeds}; {state.rows:,} "
        f"training pairs, {table.inputs:,} inputs of {table.headline}."
    )


def notes_of(table: Table) -> list[str]:
    """What must be said beside the numbers."""
    found = _verdict(table)
    found += [
        f"{row.label}: {'nothing to show' if row.exact_match is None else 'not all seeds'}: "
        f"{row.error}"
        for row in table.rows
        if row.error
    ]
    if table.missing:
        found.append(f"runs that are not made yet: {table.missing}.")
    if len(table.state.seeds) > 1:
        found.append("numbers are means over the seeds that finished; 95% is over test inputs.")
    else:
        found.append("95% is over test inputs; one seed says nothing of the luck of the start.")
    found.append(
        "each system has its own preset over the rule for these data, no early stopping, and the "
        "model that dev chose; items/s: greedy, one thread, batches of 64, all systems in turns "
        "in one process, median."
    )
    if any(row.experimental for row in table.rows):
        found.append("* experimental: it has not come near a published figure on real data yet.")
    return found


def _verdict(table: Table) -> list[str]:
    best = next((row for row in table.rows if row.best), None)
    if best is None:
        return []
    what, more = NAMES[table.metric], table.metric not in LOWER_IS_BETTER
    said = [f"best by {'highest' if more else 'lowest'} {what}: {best.label}."]
    tied = [row.label for row in table.rows if row.tied]
    if tied:
        said.append(
            "not told apart from it (marked =; paired bootstrap, p 0.05 or more): "
            f"{', '.join(tied)}."
        )
    beaten = [row for row in table.rows if row.to_best is not None and not row.tied]
    if beaten:
        said.append(f"behind it by more than the luck of the inputs (p below 0.05): {len(beaten)}.")
    return [" ".join(said)]


def lines(table: Table, width: int | None = None) -> list[str]:
    """For a terminal of ``width`` columns: where the table is wider, its columns in parts."""
    columns = columns_of(table)
    baselines = table.state.baselines
    blocks, part = [], list[Column]()
    for column in columns:
        if part and width is not None and _wide(table, [*part, column]) > width:
            blocks.append(part)
            part = []
        part.append(column)
    blocks.append(part)
    found = [title_of(table), ""]
    for number, block in enumerate(blocks):
        found += [*_block(table, block, baselines if number == 0 else {}), ""]
    return [*found, *notes_of(table)]


def _wide(table: Table, columns: list[Column]) -> int:
    return max(map(len, _block(table, columns, table.state.baselines)))


def _block(table: Table, columns: list[Column], baselines: Mapping[str, float]) -> list[str]:
    rows = [("system", *(c.head for c in columns))]
    rows += [(_name(row), *(c.cell(row) for c in columns)) for row in table.rows]
    blank = ("",) * (len(columns) - 1)
    rows += [(f"  {name}", _percent(value), *blank) for name, value in baselines.items()]
    return align(rows)
