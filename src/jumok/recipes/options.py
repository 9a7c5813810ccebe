"""A run as one frozen dataclass of dataclasses: data, model, optimiser, training, search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jumok import config
from jumok.data.encoded import OnLong
from jumok.data.text import Form
from jumok.errors import ConfigError
from jumok.models import MODELS, Entry, entry
from jumok.search.options import SearchOptions
from jumok.training.options import Optim, Training

__all__ = ["DataOptions", "RunConfig", "asked_of", "run_config", "run_from_toml", "run_to_toml"]

ERROR_RATES = ("cer", "wer")
"""Scores of which the lower one is the better."""
Unit = Literal["character", "grapheme", "jamo", "word", "space", "bpe", "unigram"]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How texts become symbols, and symbols batches."""

    source_unit: Unit = "character"
    """What one symbol of the source is; ``space``: what stands between spaces (phones)."""
    target_unit: Unit = "character"
    source_size: int | None = None
    """Subword pieces to learn, or the most symbols to keep; none = 4,000, or all."""
    target_size: int | None = None
    shared: bool = False
    """One tokenizer and one vocabulary for both sides."""
    min_count: int = 1
    """Rarer symbols are unknown."""
    normalisation: Form = "NFC"
    """Unicode form of all texts, kept with the model."""
    max_source: int = 1024
    """Most symbols of a source, its end included."""
    max_target: int = 1024
    on_long: OnLong = "refuse"
    """What to do with longer pairs: refuse them, or leave them out and count them."""
    batch_size: int | None = 64
    """Most pairs in a batch."""
    batch_tokens: int | None = None
    """Most padded symbols in a batch, both sides counted."""
    window: int = 1 << 16
    """Pairs that are sorted by length at a time."""
    stream: bool | None = None
    """Leave the training pairs on disk and read their ids from a cache in the run's folder;
    none = where the files are larger than 512 MiB (128 MiB gzipped)."""
    seed: int = 0
    """Names the order of the pairs."""
    links_count: Literal["word", "symbol"] = "word"
    """What the positions of given links count: words between spaces, as aligners do, or the
    model's symbols."""
    validation_rows: int = 2000
    """Most rows of dev that are decoded to choose the model."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run needs to be told. ``model`` is the configuration of ``model_name``."""

    data: DataOptions = field(default_factory=DataOptions)
    model: Any = None
    optim: Optim = field(default_factory=Optim)
    training: Training = field(default_factory=Training)
    search: SearchOptions = field(default_factory=SearchOptions)


def run_config(
    model_name: str,
    *,
    preset: Mapping[str, Any] | None = None,
    file: Mapping[str, Any] | None = None,
    flags: Mapping[str, str] | None = None,
    where: str = "",
    models: Mapping[str, Entry] = MODELS,
) -> RunConfig:
    """Flags over a file over a preset over the model's own preset; ConfigError as in config.

    A model may know better than ``preset``, which is a rule for all: ``Entry.over_rule``. Who
    chooses by an error rate wants the lowest, unless ``lower_is_better`` is said.
    """
    found = entry(model_name, models)
    base = config.merge({"model": dict(found.preset)}, dict(preset or {}))
    base = config.merge(base, found.over_rule)
    said = asked_of(model_name, file=file or {}, flags=flags or {}, where=where, models=models)
    if said.get("training", {}).get("choose_by") in ERROR_RATES:
        base = config.merge(base, {"training": {"lower_is_better": True}})
    return config.build(
        RunConfig,
        preset=base,
        file=_without_name(file or {}),
        flags=flags or {},
        where=where,
        types={"model": found.config},
    )


def asked_of(
    model_name: str,
    *,
    file: Mapping[str, Any],
    flags: Mapping[str, str],
    where: str = "",
    models: Mapping[str, Entry] = MODELS,
) -> dict[str, Any]:
    """What flags over a file say for this model, nested and typed; ConfigError for a wrong key.

    It needs no data, so it comes before they are read.
    """
    types = {"model": entry(model_name, models).config}
    return config.read(RunConfig, file=_without_name(file), flags=flags, where=where, types=types)


def model_name_in(file: Mapping[str, Any]) -> str | None:
    """The model that a configuration file names: ``[model] name = "luong"``."""
    section = file.get("model", {})
    name = section.get("name") if isinstance(section, Mapping) else None
    if name is not None and not isinstance(name, str):
        raise ConfigError(f"model.name: expected the name of a model, got {name!r}.")
    return name


def _without_name(file: Mapping[str, Any]) -> dict[str, Any]:
    section = file.get("model")
    if not isinstance(section, Mapping):
        return dict(file)
    return {**file, "model": {k: v for k, v in section.items() if k != "name"}}


def run_to_toml(model_name: str, run: RunConfig, *, comments: bool = False) -> str:
    """The record saved with a model; itself a valid ``--config``."""
    return config.to_toml(run, comments=comments, names={"model": model_name})


def run_from_toml(mapping: Mapping[str, Any], *, where: str) -> tuple[str, RunConfig]:
    """The inverse of ``run_to_toml`` for a parsed file."""
    name = model_name_in(mapping)
    if name is None:
        raise ConfigError(f"{where}: [model] has no name.", hint='write name = "luong", say.')
    return name, run_config(name, file=mapping, where=where)
