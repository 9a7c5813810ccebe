"""The data report as sentences: what was found, what it means, what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator

from jumok.data.inventory import Script, symbol_name
from jumok.data.options import counted
from jumok.data.report import DataReport, Held, Lengths, Part, Unseen
from jumok.data.text import printable

__all__ = ["data_lines"]


def _share(part: int, whole: int) -> str:
    """``"1,400 of 5,000 (28.0%)"``."""
    rate = part / whole if whole else 0.0
    return f"{part:,} of {whole:,} ({rate:.1%})"


def _floored(rate: float) -> str:
    """A percentage rounded down, so that a ceiling below 100% never reads 100%."""
    return f"{math.floor(rate * 1000) / 10:.1f}%"


def _lengths(lengths: Lengths) -> str:
    return f"{lengths.median} characters (95% up to {lengths.p95}, longest {lengths.max:,})"


def _scripts(found: tuple[Script, ...]) -> str:
    large = [s for s in found if s.share >= 0.005 and s.name != "space"][:5]
    return ", ".join(f"{s.name} {s.share:.0%} ({s.symbols} different)" for s in large)


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count:,} times"


def _quoted(text: str) -> str:
    return f"“{printable(text, 40)}”"


def _ambiguity(part: Part) -> Iterator[str]:
    if not part.ambiguous_sources:
        return
    yield (
        f"{counted(part.ambiguous_sources, 'source')} of {part.distinct_sources:,} "
        f"{'has' if part.ambiguous_sources == 1 else 'have'} several targets: with one answer "
        f"per source, exact match cannot exceed {_floored(part.ceiling)} if each row counts alone "
        "(100% if any of the targets is right)."
    )
    source, targets = part.ambiguous_examples[0]
    more = ", ..." if len(targets) > 4 else ""
    yield f"  such as {_quoted(source)}: {', '.join(map(_quoted, targets[:4]))}{more}"


def _repeats(part: Part) -> Iterator[str]:
    if part.duplicate_rows:
        yield (
            f"{_share(part.duplicate_rows, part.rows)} rows repeat an earlier pair; "
            "training sees them as often as they stand there."
        )
    if part.identical_rows:
        close = part.identical_rows >= 0.5 * part.rows
        advice = "; copying the source is a strong baseline." if close else "."
        yield f"{_share(part.identical_rows, part.rows)} rows have a target equal to the source" + (
            advice
        )


def _damage(part: Part) -> Iterator[str]:
    for suspicion in part.suspicions:
        where = ", ".join(suspicion.where[:3]) + (", ..." if suspicion.rows > 3 else "")
        advice = "; each space is a symbol to learn" if "white space" in suspicion.what else ""
        yield f"look at: {_share(suspicion.rows, part.rows)} rows {suspicion.what}: {where}{advice}"
    if part.too_long_rows:
        yield (
            f"{counted(part.too_long_rows, 'row')} with more than {part.max_length:,} characters: "
            "where these are the symbols, training refuses such rows; --data.on_long drop leaves "
            "them out, a larger --data.max_source and --data.max_target takes them."
        )


def _part_lines(part: Part) -> Iterator[str]:
    yield f"{part.name}: {part.rows:,} rows, {part.distinct_sources:,} different sources"
    for side, lengths, scripts in (
        ("source", part.source_lengths, part.source_scripts),
        ("target", part.target_lengths, part.target_scripts),
    ):
        yield f"  {side}: {_lengths(lengths)}; {_scripts(scripts)}"
    for line in (*_ambiguity(part), *_repeats(part), *_damage(part)):
        yield f"  {line}"


def _leak(held: Held) -> Iterator[str]:
    if held.leaked_rows:
        again = f", {held.leaked_pairs:,} with the same target" if held.leaked_pairs else ""
        yield (
            f"leak: {_share(held.leaked_rows, held.rows)} rows have a source that is also in "
            f"training{again}; their score says little about new inputs. "
            "Look at seen and unseen inputs apart, or split by source."
        )
        yield f"  such as {', '.join(held.leak_examples[:3])}"
    near, more = held.near_rows - held.leaked_rows, "more " if held.leaked_rows else ""
    if near:
        yield (
            f"near leak: {_share(near, held.rows)} {more}rows have a source that is in training "
            "but for case, spaces or punctuation."
        )
    if not held.near_rows:
        yield "no source is also in training, nor one that differs in case or punctuation only."


def _symbols(side: str, unseen: Unseen, rows: int) -> Iterator[str]:
    if not unseen.symbol_count:
        return
    worst = ", ".join(f"{symbol_name(s)} {_times(n)}" for s, n in unseen.symbols[:5])
    meaning = "never produced" if side == "target" else "read as unknown"
    meaning += " where symbols are characters"
    verb = "occurs" if unseen.symbol_count == 1 else "occur"
    yield (
        f"{counted(unseen.symbol_count, 'character')} of the {side} never {verb} in training, in "
        f"{_share(unseen.rows, rows)} rows; {meaning}: {worst}"
    )


def _held_lines(held: Held) -> Iterator[str]:
    yield f"{held.name} against training:"
    if held.swapped:
        yield (
            "  swapped? its source looks like the target of training and its target like the "
            "source; --columns 2,1 turns a file round."
        )
    found = [*_leak(held), *_symbols("source", held.source_unseen, held.rows)]
    found += _symbols("target", held.target_unseen, held.rows)
    if held.unseen_tags:
        worst = ", ".join(f"{tag} {_times(n)}" for tag, n in held.unseen_tags[:5])
        found.append(f"tags that never occur in training, so the model cannot know them: {worst}")
    for line in found:
        yield f"  {line}"
    yield f"  targets that training knows: {_share(held.known_target_rows, held.rows)}"
    words = {"source": held.source_unseen.words, "target": held.target_unseen.words}
    shown = [f"{rate:.1%} of the {side}'s" for side, rate in words.items() if 0 < rate < 1]
    if shown:
        yield f"  words (between spaces) that training lacks: {', '.join(shown)}"


def data_lines(found: DataReport) -> list[str]:
    """The report as lines of text."""
    lines = [line for part in found.parts for line in _part_lines(part)]
    lines += [line for held in found.held for line in _held_lines(held)]
    return lines + [f"note: {note}" for note in found.notes]
