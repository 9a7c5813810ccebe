"""Pairs from TSV, CSV, JSONL or two parallel files, row by row; trouble is named file:line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from jumok.data.encodings import PathLike, Problem, display_name, lines
from jumok.data.options import Cells, Paths, ReadOptions, Record, Tally, counted
from jumok.data.tables import delimited, is_blank
from jumok.data.tags import with_tags
from jumok.data.text import normalise
from jumok.errors import DataError, UsageError, did_you_mean

__all__ = ["load_sources", "path_name", "records", "stream_sources"]


def path_name(path: Paths) -> str:
    """What messages and records call the data at ``path``."""
    if isinstance(path, tuple):
        return " + ".join(map(display_name, path))
    return display_name(path)


def _format_of(name: str, options: ReadOptions) -> str:
    if options.format:
        return options.format
    plain = name.removesuffix(".gz").lower()
    if plain.endswith(".csv"):
        return "csv"
    return "jsonl" if plain.endswith((".jsonl", ".ndjson", ".jsonlines")) else "tsv"


# -- parallel files ---------------------------------------------------------------------------


def _drain(found: Iterator[Any]) -> int:
    return sum(1 for _ in found)


def _unequal(names: tuple[str, str], counts: tuple[int, int]) -> DataError:
    return DataError(
        f"{names[0]} has {counts[0]:,} lines, {names[1]} has {counts[1]:,}; "
        "parallel files must match line for line.",
        hint="look for a line too many or too few; a line ends at \\n and nowhere else.",
    )


def _parallel(
    paths: tuple[PathLike, PathLike], options: ReadOptions, tally: Tally
) -> Iterator[Cells | Problem]:
    """Line n of one file with line n of the other. A count mismatch is raised at the end."""
    if len(options.wanted) > 2:
        raise UsageError(
            "tags and links are columns of one file, and here are two parallel files.",
            hint="links may be a third one: --links FILE; for tags put all into one file.",
        )
    if paths[0] == paths[1]:
        raise UsageError(f"source and target are both read from {display_name(paths[0])}.")
    names = (display_name(paths[0]), display_name(paths[1]))
    sides = (lines(paths[0], options.encoding), lines(paths[1], options.encoding))
    for count in itertools.count():
        first, second = next(sides[0], None), next(sides[1], None)
        if first is None and second is None:
            return
        if first is None or second is None:
            left = count + (first is not None) + _drain(sides[0])
            right = count + (second is not None) + _drain(sides[1])
            raise _unequal(names, (left, right))
        if count == 0 and options.header == "yes":
            continue
        if isinstance(first, Problem):
            yield first
        elif isinstance(second, Problem):
            yield replace(second, name=names[1])
        elif is_blank((first[1], second[1])):
            tally.blank += 1
        else:
            yield first[0], [first[1], second[1]]


# -- JSON lines -------------------------------------------------------------------------------


def _lookup(value: Any, key: str) -> Any:
    """``value[key]``, or down the dots of ``key`` ("translation.en"); None if absent."""
    if isinstance(value, dict) and key in value:
        return value[key]
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def _json_keys(options: ReadOptions) -> tuple[str, ...]:
    others = options.wanted[2:]
    if not all(isinstance(c, str) for c in others):
        raise UsageError(
            f"tags and links of JSON lines are named by their keys, not {others!r}.",
            hint="such as --tags-column tags",
        )
    names = tuple(map(str, others))
    if options.columns == (1, 2):
        return "source", "target", *names
    if options.columns == (2, 1):
        return "target", "source", *names
    if not all(isinstance(c, str) for c in options.columns):
        raise UsageError(
            f"`columns` {options.columns!r} must be two keys for JSON lines.",
            hint="such as --columns source,target",
        )
    return str(options.columns[0]), str(options.columns[1]), *names


def _keys(row: dict[str, Any]) -> list[str]:
    """The keys of an object, those of an object inside it with a dot."""
    return [
        f"{key}.{inner}" if inner else key
        for key, value in row.items()
        for inner in (value if isinstance(value, dict) else ("",))
    ]


def _json_record(number: int, text: str, keys: tuple[str, ...]) -> Cells | Problem:
    def problem(message: str, hint: str | None = None) -> Problem:
        return Problem(line=number, message=message, excerpt=text, hint=hint)

    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return problem(f"not a JSON object: {error}", "one object in each line")
    if not isinstance(row, dict):
        return problem('not a JSON object, such as {"source": ..., "target": ...}')
    found = []
    for key in keys:
        value = _lookup(row, key)
        if value is None:
            return problem(
                f"no key {key!r}.{did_you_mean(key, row)}",
                f"the keys here are {', '.join(_keys(row)) or 'none'}; --columns KEY,KEY chooses",
            )
        if not isinstance(value, str):
            return problem(f"{key!r} is not a string but {json.dumps(value)[:20]}")
        found.append(value)
    return number, found


def _json_lines(path: PathLike, options: ReadOptions, tally: Tally) -> Iterator[Cells | Problem]:
    keys = _json_keys(options)
    for item in lines(path, options.encoding):
        if isinstance(item, Problem):
            yield item
        elif not item[1].strip():
            tally.blank += 1
        else:
            yield _json_record(*item, keys)


# -- what holds for every format --------------------------------------------------------------


def _fault(source: str, target: str, options: ReadOptions) -> tuple[str, str] | None:
    """What is wrong with a pair of texts, and what to do; None if nothing is."""
    for side, text in (("source", source), ("target", target)):
        if "\0" in text:
            return f"the {side} holds a NUL character.", "is this a text file?"
        if "\n" in text:
            return f"the {side} holds a line break.", "replace it by a space"
        if options.empty == "refuse" and not text.strip():
            return f"the {side} is empty.", "fill it in; --keep-empty takes it as it is"
    return None


def _too_long(item: Record, options: ReadOptions) -> Problem | None:
    limit = options.max_length
    longest = max(len(item[1]), len(item[2]))
    if limit is None or longest <= limit:
        return None
    side = "source" if len(item[1]) == longest else "target"
    return Problem(
        line=item[0],
        kind="long",
        message=f"the {side} has {longest:,} characters, more than {limit:,}.",
        excerpt=item[1] if side == "source" else item[2],
        hint=f"shorten it; --max-characters {longest} takes it",
    )


def _checked(item: Cells, options: ReadOptions, tally: Tally) -> Record | Problem:
    number, (source, target, *others) = item
    if options.strip:
        source, target = source.strip(), target.strip()
    tags = others.pop(0) if options.tags is not None else None
    fault = _fault(source, target, options) or _tag_fault(tags)
    if fault:
        excerpt = f"{source}\t{target}"
        return Problem(line=number, message=fault[0], excerpt=excerpt, hint=fault[1])
    try:
        pair = normalise(source, options.normalise), normalise(target, options.normalise)
    except DataError as error:
        return Problem(line=number, message=error.message, hint=error.hint)
    links = others[0] if others else ""
    problem = _too_long((number, *pair, links), options)
    if problem is None and pair != (source, target):
        tally.changed += 1
    if problem is not None or tags is None:
        return problem or (number, *pair, links)
    tagged = with_tags(pair[0], normalise(tags, options.normalise), options.tag_sep)
    return number, tagged, pair[1], links


def _tag_fault(tags: str | None) -> tuple[str, str] | None:
    if tags is not None and any(sign in tags for sign in "\t\n\0"):
        return "the tags hold a TAB, a line break or a NUL.", "separate tags by --tag-sep alone"
    return None


def _refusal(
    problem: Problem, rest: Iterator[Record | Problem], name: str, count: int
) -> DataError:
    """The error for ``problem``, with how many such lines the rest of the file holds."""
    last = problem.line
    try:
        for item in rest:
            is_problem = isinstance(item, Problem)
            last = item.line if isinstance(item, Problem) else item[0]
            count += is_problem and item.kind == problem.kind  # type: ignore[union-attr]
    except DataError:
        return problem.error(name)
    flag = "--skip-long" if problem.kind == "long" else "--skip-bad"
    advice = f"{flag} drops such lines ({count:,} of {last:,} here)"
    if count >= last:
        advice = f"all {last:,} lines are like this" if last > 1 else ""
    hint = problem.hint or ""
    joint = "" if not hint or not advice else " " if hint.endswith("?") else "; "
    return problem.error(name, f"{hint}{joint}{advice}" or None)


def _raw(path: Paths, options: ReadOptions, tally: Tally) -> Iterator[Cells | Problem]:
    if isinstance(path, tuple):
        return _parallel(path, options, tally)
    kind = _format_of(display_name(path), options)
    if kind == "jsonl":
        return _json_lines(path, options, tally)
    return delimited(path, kind, options, tally)


def records(path: Paths, options: ReadOptions, tally: Tally) -> Iterator[Record]:
    """The pairs of ``path`` in order, checked and normalised; ``tally`` fills as they come.

    Raises:
        DataError: a line that is wrong (``file:line``), unless the options skip such lines; a
            file of links that has not a line for each line of pairs.
        UsageError: the file or a column asked for does not exist.
    """
    found = _records(path, options, tally)
    return found if options.links is None else _linked(found, path_name(path), options)


def _linked(found: Iterator[Record], name: str, options: ReadOptions) -> Iterator[Record]:
    """The records with the links of the same line of another file."""
    assert options.links is not None
    links, beside = lines(options.links, options.encoding), display_name(options.links)
    line, text = 0, ""
    for number, source, target, _ in found:
        while line < number:
            item = next(links, None)
            if item is None:
                raise _too_few_links(beside, line, name, number)
            if isinstance(item, Problem):
                raise item.error(beside)
            line, text = item
        yield number, source, target, text
    more = _drain(links)
    if more:
        raise _too_few_links(beside, line + more, name, line)


def _too_few_links(beside: str, lines_of_links: int, name: str, line: int) -> DataError:
    return DataError(
        f"{beside} has {counted(lines_of_links, 'line')}, but the pairs of {name} reach line "
        f"{line:,}; links must match the pairs line for line.",
        hint="an empty line where a pair has no links; a header counts as a line.",
    )


def _records(path: Paths, options: ReadOptions, tally: Tally) -> Iterator[Record]:
    """The records with the links of their own file, if they have such a column."""
    name = path_name(path[0] if isinstance(path, tuple) else path)
    last = 0

    def checked() -> Iterator[Record | Problem]:
        for item in _raw(path, options, tally):
            yield item if isinstance(item, Problem) else _checked(item, options, tally)

    stream = checked()
    for item in stream:
        if not isinstance(item, Problem):
            last = item[0]
            tally.rows += 1
            yield item
            continue
        last = item.line
        if (options.on_long if item.kind == "long" else options.on_bad) == "refuse":
            raise _refusal(item, stream, name, 1)
        tally.first_skipped.setdefault(item.kind, item.error(name))
        tally.skipped[item.kind] = tally.skipped.get(item.kind, 0) + 1
    tally.close(options, last, path_name(path))


def stream_sources(path: PathLike = "-", *, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a file or of standard input as they come, not normalised: spans refer to them.

    Exactly one item per line, an empty line an empty item, whatever it holds.

    Raises:
        DataError: a line cannot be decoded (``file:line``, byte).
    """
    for item in lines(path, encoding, old_mac=False):
        if isinstance(item, Problem):
            raise item.error(display_name(path))
        yield item[1]


def load_sources(path: PathLike = "-", *, encoding: str = "utf-8") -> list[str]:
    """``stream_sources`` as a list: as many items as lines."""
    return list(stream_sources(path, encoding=encoding))
