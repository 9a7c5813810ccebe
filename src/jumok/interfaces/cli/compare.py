"""``jumok compare``: the ladder, every system at the same size under the same ceiling."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from jumok.errors import UsageError
from jumok.interfaces.cli.groups import (
    NO_KEYS,
    ConfigurationKeys,
    Hardware,
    ReadingPairs,
    comma,
    one_or_two,
    seconds,
)
from jumok.interfaces.cli.progress import Progress
from jumok.interfaces.cli.streams import json_line, note, say
from jumok.interfaces.options import Machine, Reading

if TYPE_CHECKING:
    from jumok.training.events import Listener

EXAMPLES = (
    "jumok compare pairs.tsv --systems plain,luong-dot,transformer --time 1s",
    "jumok compare pairs.tsv --systems luong-fast,cgru --seeds 0,1 --epochs 1",
)


def compare(
    *data: str,
    dev: str | None = None,
    test: str | None = None,
    out: Annotated[str | None, Parameter(alias="-o")] = None,
    systems: str | None = None,
    seeds: str | None = None,
    time: str | None = None,
    epochs: float | None = None,
    examples: int | None = None,
    parameters: int | None = None,
    precision: Literal["auto", "float32", "bf16"] | None = None,
    languages: str | None = None,
    report: bool = False,
    quiet: bool = False,
    json: bool = False,
    reading: ReadingPairs = Reading(),
    machine: Hardware = Machine(),
    keys: ConfigurationKeys = NO_KEYS,
) -> int:
    """Train every system alike and compare them: one table with intervals, one page.

    Each system has its own preset and the hidden size at which its parameters come nearest to
    the others'. Runs are ordinary training runs, one after another; what is interrupted goes on
    with the same command, what is finished is kept, what fails keeps its row. Keys that are not
    a model's own hold for all, such as --optim.lr 3e-4.

    Parameters
    ----------
    data
        One file of pairs, two parallel files, or a built-in task. Nothing is @dates.
    dev
        Pairs that choose the model; two parallel files with a comma between. By default a part
        of the data.
    test
        Pairs read once, after the choice. By default a part of the data; with --dev none, and
        the scores are those of dev.
    out
        The ladder's folder; by default runs/compare- and the name of the data.
    systems
        Which of those below, with commas, such as plain,luong-dot; by default all. More can join
        a ladder later.
    seeds
        One run each, such as 0,1,2; by default 0. More can join later.
    time
        Ceiling of one run by the clock, its validations counted: 60s, 10m. By default 2m, unless
        another ceiling is given. The rule's epochs are a ceiling, too.
    epochs
        Ceiling of one run in passes over the data, in place of the rule's.
    examples
        Ceiling of one run in examples seen.
    parameters
        About how many every system has; by default those of the default model for these data.
    precision
        auto takes bf16 where the processor has it.
    languages
        For @dates: all, or names with commas such as ko,en,de.
    report
        Train nothing: the table and the page of what there is in the folder.
    quiet
        No progress.
    json
        One object on standard output.
    """
    from jumok.interfaces.comparing.climb import compare as climb
    from jumok.interfaces.comparing.lines import lines
    from jumok.interfaces.requests import CompareRequest

    request = CompareRequest(
        data=one_or_two(data, "the data"),
        dev=comma(dev),
        test=comma(test),
        out=out,
        systems=_names(systems),
        seeds=_numbers(seeds),
        seconds=seconds(time),
        epochs=epochs,
        examples=examples,
        parameters=parameters,
        precision=precision,
        languages=languages,
        report=report,
        keys=keys,
        reading=reading,
        machine=machine,
    )
    made = climb(request, _Watch(quiet))
    if json:
        json_line(made.table.to_dict())
    else:
        wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        say("\n".join(lines(made.table, wide)))
    if not quiet:
        note(f"page: {made.report}")
    return 0


class _Watch:
    """Sentences on standard error, and a bar for each run."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def tell(self, message: str) -> None:
        if not self._quiet:
            note(message)

    @contextmanager
    def run(self) -> Iterator[Listener]:
        quiet = self._quiet or not sys.stderr.isatty()
        with Progress(quiet=quiet) as progress:
            yield progress


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def _numbers(text: str | None) -> tuple[int, ...]:
    """``0,1,2``"""
    parts = _names(text)
    if any(not part.isdecimal() for part in parts):
        raise UsageError(f"--seeds {text!r}: whole numbers with commas are needed, such as 0,1,2.")
    return tuple(map(int, parts))
