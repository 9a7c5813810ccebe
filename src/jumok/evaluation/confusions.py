"""What went wrong: the commonest edits between reference and output, and the worst rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jumok.errors import UsageError
from jumok.evaluation.rows import check_references, check_rows
from jumok.evaluation.statistics import best_reference
from jumok.evaluation.table import align

__all__ = ["Confusion", "Confusions", "Example", "Mistake", "confusions", "visible", "worst"]

Kind = Literal["substitution", "insertion", "deletion"]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A row, with the reference it was compared with."""

    row: int
    source: str
    reference: str
    hypothesis: str


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """One edit that leads from the reference to the output, and how often it was made."""

    kind: Kind
    expected: str
    """The reference's symbol; empty for an insertion."""
    got: str
    """The output's symbol; empty for a deletion."""
    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """Every edit, commonest first (then by kind, expected, got)."""

    edits: int
    symbols: int
    """Symbols of the references compared with; ``edits / symbols`` is the CER or WER."""
    entries: tuple[Confusion, ...]

    def table(self, k: int = 20) -> list[str]:
        """Lines for people: the k commonest, each with one example."""
        rows: list[tuple[str, ...]] = [("edit", "times", "source", "expected", "got")]
        for entry in self.entries[:k]:
            example = entry.examples[0]
            texts = (visible(t) for t in (example.source, example.reference, example.hypothesis))
            rows.append((_arrow(entry), f"{entry.count:,}", *texts))
        return align(rows)


@dataclass(frozen=True, kw_only=True)
class Mistake(Example):
    """A wrong row: ``edits`` away from its nearest reference."""

    edits: int
    rate: float
    """Edits over the symbols of that reference (at least one)."""


def confusions(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    unit: Literal["character", "word"] = "character",
    examples: int = 3,
) -> Confusions:
    """Count the edit operations from each row's nearest reference to its output.

    ``unit``: characters (code points), or symbols separated by white space. ``examples`` rows are
    kept for each edit, the first ones. Where several shortest edit paths exist, rapidfuzz's counts.
    """
    from rapidfuzz.distance import Levenshtein

    check_rows("sources", sources, "hypotheses", hypotheses)
    check_references(hypotheses, references)
    found: dict[tuple[Kind, str, str], list[int]] = {}
    chosen: list[str] = []
    symbols = 0
    for row, (hypothesis, texts) in enumerate(zip(hypotheses, references, strict=True)):
        expected, got, reference = _nearest(hypothesis, texts, unit)
        chosen.append(reference)
        symbols += len(expected)
        for op in Levenshtein.editops(expected, got):
            edit = _edit(op.tag, op.src_pos, op.dest_pos, expected, got)
            found.setdefault(edit, []).append(row)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    entries = tuple(
        Confusion(
            kind=kind,
            expected=expected,
            got=got,
            count=len(rows),
            examples=tuple(
                Example(row=r, source=sources[r], reference=chosen[r], hypothesis=hypotheses[r])
                for r in list(dict.fromkeys(rows))[:examples]
            ),
        )
        for (kind, expected, got), rows in ordered
    )
    return Confusions(edits=sum(e.count for e in entries), symbols=symbols, entries=entries)


def worst(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    k: int = 20,
) -> list[Mistake]:
    """The k wrong rows with the highest character error rate, then most edits, then first.

    Right rows never appear, so there may be fewer than k.
    """
    check_rows("sources", sources, "hypotheses", hypotheses)
    check_references(hypotheses, references)
    mistakes = []
    for row, (hypothesis, texts) in enumerate(zip(hypotheses, references, strict=True)):
        edits, best = best_reference(hypothesis, texts)
        if edits == 0:
            continue
        mistakes.append(
            Mistake(
                row=row,
                source=sources[row],
                reference=texts[best],
                hypothesis=hypothesis,
                edits=edits,
                rate=edits / max(len(texts[best]), 1),
            )
        )
    return sorted(mistakes, key=lambda m: (-m.rate, -m.edits, m.row))[:k]


def _nearest(
    hypothesis: str, texts: Sequence[str], unit: str
) -> tuple[Sequence[str], Sequence[str], str]:
    """(reference symbols, output symbols, reference text) of the nearest reference."""
    match unit:
        case "character":
            _, best = best_reference(hypothesis, texts)
            return texts[best], hypothesis, texts[best]
        case "word":
            split = [text.split() for text in texts]
            _, best = best_reference(hypothesis.split(), split)
            return split[best], hypothesis.split(), texts[best]
        case _:
            raise UsageError(f"`unit` ({unit!r}) must be 'character' or 'word'.")


def _edit(
    tag: str, i: int, j: int, expected: Sequence[str], got: Sequence[str]
) -> tuple[Kind, str, str]:
    match tag:
        case "replace":
            return "substitution", expected[i], got[j]
        case "insert":
            return "insertion", "", got[j]
        case _:
            return "deletion", expected[i], ""


def _arrow(entry: Confusion) -> str:
    match entry.kind:
        case "substitution":
            return f"{visible(entry.expected)} -> {visible(entry.got)}"
        case "insertion":
            return f"+ {visible(entry.got)}"
        case _:
            return f"- {visible(entry.expected)}"


def visible(text: str) -> str:
    """``text`` with lone combining marks on a dotted circle and unprintable characters escaped."""
    shown = "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)
    if text and unicodedata.combining(text[0]):
        shown = "\u25cc" + shown
    return "\u2423" if shown == " " else shown
