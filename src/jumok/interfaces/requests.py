"""What the commands ask of the house: plain records, so that ``--help`` needs nothing else.

``interfaces/work.py`` answers them. Each request is what one command line said, checked for form
only; files are opened, and keys of the configuration looked up, by whoever does the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jumok.interfaces.options import Ensembling, Machine, Reading, Searching

__all__ = [
    "AlignRequest",
    "CompareRequest",
    "DataRequest",
    "DistillRequest",
    "EvaluateRequest",
    "InitRequest",
    "InspectRequest",
    "ScoreRequest",
    "TapesRequest",
    "TrainRequest",
    "TranslateRequest",
    "VerifyRequest",
]

Keys = Mapping[str, str]
"""Dotted configuration keys with the text given for them: ``{"optim.lr": "3e-4"}``."""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """``jumok train``."""

    data: tuple[str, ...] = ()
    """One file of pairs or a built-in ``@task``; or two parallel files. Empty: ``@dates``."""
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    out: str | None = None
    model: str | None = None
    config: str | None = None
    keys: Keys = field(default_factory=dict)
    resume: str | None = None
    start_from: str | None = None
    seconds: float | None = None
    """Stop after so long."""
    seed: int | None = None
    precision: Literal["auto", "float32", "bf16"] | None = None
    languages: str | None = None
    """For ``@dates``: ``all``, or names with commas."""
    force: bool = False
    links: str | None = None
    """Links of the training pairs, line for line: they guide attention."""
    links_column: str | None = None
    """The same as a column of the training pairs."""
    tensorboard: str | None = None
    """A folder for TensorBoard's scalars."""
    reading: Reading = field(default_factory=Reading)
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """``jumok compare``; what is None or empty is as it was begun, or the default."""

    data: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    out: str | None = None
    systems: tuple[str, ...] = ()
    """Labels of rungs; empty: all."""
    seeds: tuple[int, ...] = ()
    seconds: float | None = None
    """Ceiling of one run."""
    epochs: float | None = None
    examples: int | None = None
    parameters: int | None = None
    """What every system has about as many of."""
    precision: Literal["auto", "float32", "bf16"] | None = None
    languages: str | None = None
    report: bool = False
    """Train nothing: the table of what there is."""
    keys: Keys = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, kw_only=True)
class DistillRequest:
    """``jumok distill``: as ``jumok train``, on what the teacher writes."""

    teacher: str
    """A model folder, or several that answer together: a,b."""
    data: tuple[str, ...]
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    out: str | None = None
    model: str | None = None
    """Of the student."""
    beam: int = 5
    """The teacher's."""
    closest: bool = False
    """Of the beam, what is nearest to the reference in place of what is likeliest."""
    keep_gold: bool = False
    """The references are trained on as well."""
    guide: bool = False
    """The student's attention is guided by the teacher's."""
    config: str | None = None
    keys: Keys = field(default_factory=dict)
    seconds: float | None = None
    seed: int | None = None
    """The student's; the pairs are split as the teacher's were."""
    precision: Literal["auto", "float32", "bf16"] | None = None
    force: bool = False
    reading: Reading = field(default_factory=Reading)
    ensembling: Ensembling = field(default_factory=Ensembling)
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, kw_only=True)
class TranslateRequest:
    """``jumok translate``; the lines come beside it."""

    model: str
    searching: Searching = field(default_factory=Searching)
    keys: Keys = field(default_factory=dict)
    prefix: str = ""
    replace_unknown: bool = False
    alternatives: int = 0
    attention: bool = True
    batch_size: int = 64
    bits: bool = True
    ensembling: Ensembling = field(default_factory=Ensembling)
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """``jumok evaluate``."""

    model: str
    data: tuple[str, ...]
    against: str | None = None
    errors: int = 0
    searching: Searching = field(default_factory=Searching)
    keys: Keys = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)
    ensembling: Ensembling = field(default_factory=Ensembling)
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """``jumok score``."""

    model: str
    data: tuple[str, ...]
    reading: Reading = field(default_factory=Reading)
    ensembling: Ensembling = field(default_factory=Ensembling)
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, kw_only=True)
class AlignRequest:
    """``jumok align`` over a model's attention."""

    model: str
    data: tuple[str, ...]
    level: Literal["auto", "word", "token"] = "auto"
    method: str = "argmax"
    threshold: float = 0.5
    reading: Reading = field(default_factory=Reading)
    ensembling: Ensembling = field(default_factory=Ensembling)
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, kw_only=True)
class InspectRequest:
    """``jumok inspect``."""

    model: str
    text: str | None = None
    target: str | None = None
    searching: Searching = field(default_factory=Searching)
    keys: Keys = field(default_factory=dict)
    ensembling: Ensembling = field(default_factory=Ensembling)
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """``jumok data``."""

    data: tuple[str, ...]
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    seed: int = 0
    reading: Reading = field(default_factory=Reading)


@dataclass(frozen=True, kw_only=True)
class InitRequest:
    """``jumok init``."""

    model: str | None = None
    config: str | None = None
    keys: Keys = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """``jumok verify``."""

    model: str
    data: tuple[str, ...] = ()
    rows: int = 32
    reading: Reading = field(default_factory=Reading)
    ensembling: Ensembling = field(default_factory=Ensembling)
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, kw_only=True)
class TapesRequest:
    """``jumok tapes``."""

    what: str | None = None
    """A task, or a folder of a trained model; None: copy, or what is resumed."""
    model: str | None = None
    """None: ntm, or what is resumed."""
    out: str | None = None
    updates: int | None = None
    seed: int | None = None
    resume: str | None = None
    force: bool = False
    threads: int | None = None
    keys: Keys = field(default_factory=dict)
