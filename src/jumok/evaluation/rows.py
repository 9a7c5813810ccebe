"""Are the rows of an evaluation fit to be scored? One place that says why not."""

from __future__ import annotations

from collections.abc import Sequence

from jumok.errors import UsageError

__all__ = ["check_references", "check_rows"]


def check_rows(name: str, rows: Sequence[str], other_name: str, other: Sequence[object]) -> None:
    """Refuse two columns of different lengths, and a column that is one string."""
    if isinstance(rows, str):
        raise UsageError(
            f"`{name}` is one string; a list with one string per row is needed.",
            hint=f"write [{name}] if there is a single row.",
        )
    if len(rows) != len(other):
        raise UsageError(
            f"There are {len(rows):,} {name} but {len(other):,} {other_name}: "
            "each row needs one of both.",
            hint="look for a blank line that was dropped, or a line break inside a text.",
        )


def check_references(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Refuse zero rows, unequal counts, and rows without a list of references."""
    check_rows("hypotheses", hypotheses, "references", references)
    if not references:
        raise UsageError(
            "There is nothing to score: 0 rows.",
            hint="is the file empty, or was every row skipped?",
        )
    for row, texts in enumerate(references):
        if isinstance(texts, str):
            raise UsageError(
                f"references[{row}] is a string, but each row needs a list of references.",
                hint="write [[r] for r in references] if there is one per row.",
            )
        if not texts:
            raise UsageError(
                f"references[{row}] is empty: each row needs at least one reference.",
                hint="the empty string is a reference, an empty list is not.",
            )
