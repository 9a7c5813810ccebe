"""What several commands share: options, whose fields are flags, and who is at standard input."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

__all__ = ["Ensembling", "Machine", "Reading", "Searching", "at_terminal"]


def at_terminal() -> bool:
    """Whether standard input is someone who types."""
    return sys.stdin.isatty()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files of pairs are read."""

    columns: str = "1,2"
    """The two columns, source first: numbers from 1, names of the header, or keys of JSON lines."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the first line names the columns."""
    sep: str | None = None
    """What stands between columns, if not a tab (comma in .csv)."""
    encoding: str = "utf-8"
    """The encoding of the files, such as cp949 or utf-16."""
    skip_bad: bool = False
    """Leave out and count lines that cannot be used, instead of stopping at the first."""
    skip_long: bool = False
    """Leave out and count pairs over --max-characters, instead of stopping at the first."""
    max_characters: int = 10_000
    """Most characters of one text; 0 is no limit."""
    keep_empty: bool = False
    """Take pairs with an empty source or target, which are bad lines otherwise."""
    strip: bool = False
    """Drop white space at the beginning and the end of every text."""
    tags_column: str | None = None
    """A third column, of tags that belong to the source: a number, a name or a key."""
    tag_sep: str = ";"
    """What stands between two tags."""
    format: Literal["tsv", "csv", "jsonl"] | None = None
    """What the files are, if their names do not say it; tsv knows no quotes, csv does."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the work runs on, and with which code."""

    threads: int | None = None
    """Threads to compute with; the default is what torch chooses."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    model_file: str | None = None
    """A Python file with models of your own, MODELS = {"mine": (Config, Class)}; it is run."""


@dataclass(frozen=True, kw_only=True)
class Ensembling:
    """How several models that are named a,b answer together."""

    average: Literal["probabilities", "logs"] = "probabilities"
    """Of several models a,b: what is averaged; logs shuns what any one of them finds unlikely."""


@dataclass(frozen=True, kw_only=True)
class Searching:
    """How outputs are looked for; what is not said is as the model's record says.

    Every other choice is a key such as --search.length_penalty.
    """

    beam: int | None = None
    """Hypotheses kept per line; 1 is greedy. With --nbest N at least N."""
    nbest: int | None = None
    """Hypotheses returned per line."""
    sample: bool | None = None
    """Draw outputs at random instead of looking for the best."""
    temperature: float | None = None
    """With --sample: below 1 keeps to what is likely, above 1 ventures."""
    top_k: int | None = None
    """With --sample: draw among the best K symbols; 0 is all."""
    top_p: float | None = None
    """With --sample: draw among the fewest symbols that reach this probability."""
    seed: int | None = None
    """With --sample: the seed of the draws."""
    max_length: int | None = None
    """Hard limit on the symbols of one output."""
