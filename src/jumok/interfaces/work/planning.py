"""What a run is told, checked before its data are read, and what the data then suggest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jumok import config, kernels
from jumok.data.building import build_tokenizer
from jumok.data.options import parse_column
from jumok.data.text import Form
from jumok.data.units import choose_unit
from jumok.errors import UsageError
from jumok.interfaces.fitting import SCORES
from jumok.interfaces.own_models import name_in, own_models
from jumok.interfaces.requests import TrainRequest
from jumok.interfaces.streaming import Train, sample_of
from jumok.interfaces.work.corpora import is_task
from jumok.models import MODELS, Entry, entry, with_own
from jumok.recipes.options import RunConfig, asked_of, model_name_in, run_config
from jumok.recipes.rule import DEFAULT_MODEL, Traits, choose, suited
from jumok.recipes.tasks import preset_of

__all__ = [
    "GUIDED",
    "Asked",
    "ask",
    "choose_run",
    "flags_of",
    "guided_preset",
    "links_of",
    "refuse_together",
    "traits_of",
]

NO_KEYS: Mapping[str, Any] = {}
GUIDED = 0.05
"""Weight of the guided term where links are given (lambda of Garg et al. 2019, section 4)."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What flags and file ask for: every key known, every value of its type."""

    name: str | None
    """The model, if one is named."""
    file: Mapping[str, Any]
    flags: Mapping[str, str]
    said: Mapping[str, Any]
    """Flags over file, nested and typed."""
    models: Mapping[str, Entry] = field(default_factory=lambda: MODELS)
    """jumok's and those of the user."""

    @property
    def data(self) -> Mapping[str, Any]:
        """What is said of the section ``data``."""
        found: Mapping[str, Any] = self.said.get("data", NO_KEYS)
        return found

    @property
    def form(self) -> Form:
        form: Form = self.data.get("normalisation", "NFC")
        return form

    @property
    def stream(self) -> bool | None:
        asked: bool | None = self.data.get("stream")
        return asked


def ask(request: TrainRequest) -> Asked:
    """The request's keys and file. No data are looked at, so what is wrong is told at once.

    Raises:
        ConfigError: an unknown model, key or value.
    """
    file = config.read_toml(request.config) if request.config else {}
    flags = {**flags_of(request), **request.keys}
    own = request.machine.model_file
    models = with_own(own_models(own))
    name = request.model or model_name_in(file)
    if name is None and own is not None:
        name = _only_name(own)
    known = name or DEFAULT_MODEL  # whose keys the rule's choice would have
    said = asked_of(known, file=file, flags=flags, where=request.config or "", models=models)
    _check_choice(said.get("training", NO_KEYS))
    if not links_of(request) and said.get("training", NO_KEYS).get("guided_weight"):
        raise UsageError(
            "--training.guided_weight: there are no links to guide by.",
            hint='--links FILE ("0-0 1-2", line for line) or --links-column 3 names them.',
        )
    return Asked(name=name, file=file, flags=flags, said=said, models=models)


def _only_name(path: str) -> str:
    found = name_in(path)
    if found is None:
        raise UsageError(
            f"{path} has several models.",
            hint=f"--model names one of them: {', '.join(own_models(path))}",
        )
    return found


def links_of(request: TrainRequest) -> dict[str, Any]:
    """Where the links of the training pairs are, as ``load`` is told."""
    if request.links is not None and request.links_column is not None:
        raise UsageError("--links and --links-column: links are in a file or in a column.")
    if request.links is not None:
        return {"links": request.links}
    column = request.links_column
    return {} if column is None else {"links_column": parse_column(column)}


def guided_preset(train: Train) -> dict[str, Any]:
    """What is suggested for pairs with links."""
    return {} if train.links is None else {"training": {"guided_weight": GUIDED}}


def guided_note(run: RunConfig) -> str:
    """What becomes of the links, in a sentence."""
    weight, unit = run.training.guided_weight, run.data.links_count
    if not weight:
        return "links are there and not used: training.guided_weight is 0."
    return f"attention is guided by links between {unit}s, weight {weight:g}."


def _check_choice(training: Mapping[str, Any]) -> None:
    chosen = training.get("choose_by")
    if chosen is not None and chosen not in SCORES:
        raise UsageError(
            f"--training.choose_by {chosen}: validation gives no such score.",
            hint=f"one of {', '.join(SCORES)}.",
        )


def refuse_together(request: TrainRequest, model: str) -> None:
    """What a run that goes on has already is not asked for otherwise; silence would hide it.

    ``model`` is the one it goes on with.
    """
    resumed = request.resume is not None
    going_on, place = ("--resume", request.resume) if resumed else ("--from", request.start_from)
    told = {"--config": request.config is not None}
    told["--model"] = request.model not in (None, model)
    if resumed:
        told["--from"] = request.start_from is not None
        told["--out"] = request.out is not None and Path(request.out) != Path(str(place))
        told["--force"] = request.force
    given = [name for name, said in told.items() if said]
    if given:
        raise UsageError(
            f"{given[0]} does not go together with {going_on}: model ({model}), configuration"
            f"{' and folder' if resumed else ''} are those of {place}.",
            hint=f"leave out {given[0]}, or train anew without {going_on}.",
        )


def traits_of(train: Train, asked: Mapping[str, Any]) -> tuple[Traits, tuple[str, ...]]:
    """What the rule reads of a corpus, and why its units are what they are.

    ``asked``: keys of the section ``data`` that are settled already.
    """
    sample = sample_of(train)
    units: dict[str, str] = {}
    sizes: dict[str, int | None] = {}
    means: dict[str, float] = {}
    reasons: list[str] = []
    for side, texts in (("source", sample.plain_sources), ("target", sample.targets)):
        given = asked.get(f"{side}_unit")
        chosen = choose_unit(texts, len(train))
        units[side] = given or chosen.unit
        sizes[side] = None if given else chosen.size
        why = f"{given}, as asked" if given else f"{chosen.unit}, because {chosen.reason}"
        reasons.append(f"{side} symbols: {why}.")
        means[side] = _mean_symbols(texts, units[side])
    traits = Traits(
        pairs=len(train),
        source_unit=units["source"],
        target_unit=units["target"],
        source_symbols=means["source"],
        target_symbols=means["target"],
        source_size=sizes["source"],
        target_size=sizes["target"],
    )
    return traits, tuple(reasons)


def _mean_symbols(texts: tuple[str, ...], unit: str, sample: int = 2000) -> float:
    some = texts[:: max(1, len(texts) // sample)]
    if unit in ("bpe", "unigram"):  # pieces are not learnt yet: about four characters each
        return sum(map(len, some)) / 4 / len(some)
    tokenizer = build_tokenizer((), unit)
    return sum(len(tokenizer.symbols(text)) for text in some) / len(some)


def choose_run(
    asked: Asked, request: TrainRequest, train: Train, tell: Callable[[str], None]
) -> tuple[str, RunConfig]:
    """Flags over the file over what the data suggest over the defaults; the reasons are told."""
    traits, reasons = traits_of(train, asked.data)
    choice = choose(traits, bf16=kernels.auto_precision() == "bf16")
    name = asked.name or choice.model_name
    found = entry(name, asked.models)
    task = request.data[0].removeprefix("@") if is_task(request.data) else ""
    preset = suited(choice.preset, found.config)
    preset = config.merge(preset, preset_of(task, request.languages))
    preset = config.merge(guided_preset(train), preset)
    run = run_config(
        name,
        preset=preset,
        file=asked.file,
        flags=asked.flags,
        where=request.config or "",
        models=asked.models,
    )
    _check_passes(run)
    ruled = choice.reasons if not task else (f"settings made for @{task} on top of the rule.",)
    if train.links is not None:
        tell(guided_note(run))
    for line in (*reasons, *ruled, *_as_asked(request, name, name != choice.model_name)):
        tell(line)
    own = [f"{s}.{k} {v}" for s, keys in found.over_rule.items() for k, v in keys.items()]
    if own:
        tell(f"over the rule, since this is {name}: {', '.join(own).replace('None', 'none')}.")
    if found.experimental:
        tell(f"model {name} is experimental: it has not come near a published figure yet.")
    return name, run


def _check_passes(run: RunConfig) -> None:
    """Two passes must differ; a model of the user's own may have no key of that name."""
    if run.training.r_drop and getattr(run.model, "dropout", None) == 0:
        raise UsageError(
            "--training.r_drop compares two passes that differ in their dropout alone, and "
            "model.dropout is 0: they would be the same.",
            hint="--model.dropout 0.3, say, or --training.r_drop 0.",
        )


def _as_asked(request: TrainRequest, name: str, other: bool) -> list[str]:
    """What goes over the rule."""
    lines = [f"model {name}: as asked."] if other else []
    told = [f"--{key} {value}" for key, value in request.keys.items()]
    told += [f"what {request.config} says"] if request.config else []
    return lines + ([f"over that, as asked: {', '.join(told)}."] if told else [])


def flags_of(request: TrainRequest) -> dict[str, str]:
    """The options of the command line that stand for keys."""
    precisions = {"auto": kernels.auto_precision(), "float32": "fp32", "bf16": "bf16"}
    found = {
        "training.seed": request.seed,
        "data.seed": request.seed,
        "training.time_limit": request.seconds,
        "training.threads": request.machine.threads,
        "training.precision": precisions[request.precision] if request.precision else None,
    }
    return {key: str(value) for key, value in found.items() if value is not None}
