"""``jumok train``: from what a command line says to a model folder, a score and a picture."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from jumok import config, kernels
from jumok.data.building import build_tokenizer
from jumok.data.report import report
from jumok.data.tasks import TaskData
from jumok.data.text import Form
from jumok.data.units import choose_unit
from jumok.errors import ModelFolderError, UsageError
from jumok.interfaces.fitting import codec_of, fit, make_translator
from jumok.interfaces.model_files import load_parts
from jumok.interfaces.options import Reading
from jumok.interfaces.requests import TrainRequest
from jumok.interfaces.streaming import (
    CACHE,
    StreamedCorpus,
    Train,
    discard,
    sample_of,
    streams,
)
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.continuing import started_from
from jumok.interfaces.work.corpora import is_task, streamed_ways, three_ways
from jumok.interfaces.work.decoding import device_of
from jumok.interfaces.work.ending import Ending, end_run
from jumok.interfaces.work.pilot import pilot
from jumok.models import entry
from jumok.recipes.options import DataOptions, RunConfig, model_name_in, run_config
from jumok.recipes.rule import Traits, choose
from jumok.recipes.tasks import preset_of, size_of
from jumok.store import latest_good
from jumok.training.events import Event

__all__ = ["Watcher", "choose_run", "train", "traits_of"]

REQUEST = "request.json"
OF_A_RUN = frozenset({"manifest.json", "metrics.jsonl", "checkpoints", CACHE})
"""One of these stands in every folder that a run has begun."""
DEFAULT_TASK = "@dates"


class Watcher(Protocol):
    """Told sentences and events as the run goes."""

    def tell(self, message: str, /) -> None: ...

    def __call__(self, event: Event, /) -> None: ...


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """All that is decided before the first step."""

    request: TrainRequest
    corpora: TaskData
    """With a sample of train where ``train`` is streamed."""
    train: Train
    translator: Translator
    folder: Path
    resume: bool = False


def train(request: TrainRequest, watcher: Watcher) -> Ending:
    """Everything ``jumok train`` does but printing; a refusal has changed nothing on disk."""
    if request.resume is not None:
        return _carry_out(_resumed(request, watcher), watcher)
    request = replace(request, data=request.data or (DEFAULT_TASK,))
    folder = Path(request.out or _default_folder(request))
    _refuse_existing(folder, request)
    corpora, train = _read(request, folder, watcher)
    if request.start_from is not None:
        translator = started_from(request, train, _flags(request), watcher.tell)
    else:
        name, run = choose_run(request, train, watcher.tell)
        translator = make_translator(name, run, codec_of(train, run.data), train)
    plan = _Plan(
        request=request, corpora=corpora, train=train, translator=translator, folder=folder
    )
    return _carry_out(plan, watcher)


def _default_folder(request: TrainRequest) -> str:
    """``runs/`` and the name of the data; with a number where that is taken."""
    first = request.data[0]
    stem = first.removeprefix("@") if is_task(request.data) else Path(first).name.split(".")[0]
    named = Path("runs") / (stem.strip("-") or "model")
    numbered = (named.with_name(f"{named.name}-{n}") for n in itertools.count(2))
    free = (path for path in itertools.chain([named], numbered) if not path.exists())
    return str(named if request.force else next(free))


def _refuse_existing(folder: Path, request: TrainRequest) -> None:
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names and not request.force:
        raise UsageError(
            f"{folder} exists and is not empty; nothing was changed.",
            hint=f"--force replaces it, --out names another, --resume {folder} goes on with it.",
        )
    if names and not names & OF_A_RUN:
        raise UsageError(
            f"{folder} exists and holds other things than a model; nothing was changed.",
            hint="--force replaces models alone; --out names another folder.",
        )


def _clear(folder: Path) -> None:
    """Takes away the run that is there and is to be replaced: its manifest first."""
    for name in ("manifest.json", "metrics.jsonl"):
        (folder / name).unlink(missing_ok=True)
    for name in (".next", "checkpoints", CACHE):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def _read(request: TrainRequest, folder: Path, watcher: Watcher) -> tuple[TaskData, Train]:
    """The three sides, looked at and reported on; train as it is trained on."""
    corpora, train = _corpora(request)
    if isinstance(train, StreamedCorpus):
        watcher.tell(
            f"streaming: {train.pair_stream.name} is read as it is needed and not held in memory; "
            f"its ids lie in {folder / CACHE} while the run goes on."
        )
    watcher.tell(corpora.about)
    for note in corpora.train.notes:
        watcher.tell(note)
    if len(corpora.train) < len(train):
        watcher.tell(
            f"of {len(train):,} training pairs a sample of {len(corpora.train):,} is looked at: "
            "the report, the choice of units and the answers without training go by it."
        )
    held = [c if c is not None and len(c) else None for c in (corpora.dev, corpora.test)]
    for line in report(corpora.train, *held).lines():
        watcher.tell(line)
    return corpora, train


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What must be known before there is a model: the section of the data alone."""

    data: DataOptions = field(default_factory=DataOptions)


def _asked_to_stream(request: TrainRequest) -> bool | None:
    """What flag or file say of ``data.stream``; the flag goes first."""
    file = config.read_toml(request.config) if request.config else {}
    section = file.get("data")
    said = {k: v for k, v in section.items() if k == "stream"} if isinstance(section, dict) else {}
    return config.build(
        _Asked,
        preset={},
        file={"data": said},
        flags={k: v for k, v in request.keys.items() if k == "data.stream"},
        where=request.config or "",
    ).data.stream


def _corpora(request: TrainRequest) -> tuple[TaskData, Train]:
    form: Form = request.keys.get("data.normalisation", "NFC")  # type: ignore[assignment]
    options: dict[str, Any] = {"seed": request.seed or 0}
    if request.languages is not None:
        if request.data != ("@dates",):
            raise UsageError("--languages is for @dates alone.")
        everything = request.languages == "all"
        options["languages"] = "all" if everything else request.languages.split(",")
    sides = (request.data, request.dev, request.test, request.reading)
    if streams(request.data, _asked_to_stream(request)):
        return streamed_ways(*sides, seed=request.seed or 0, form=form)
    size = size_of(request.data[0].removeprefix("@"), request.languages)
    if is_task(request.data) and size is not None:
        options["n"] = size
    corpora = three_ways(*sides, seed=request.seed or 0, form=form, task_options=options)
    return corpora, corpora.train


def traits_of(train: Train, keys: Mapping[str, str]) -> tuple[Traits, tuple[str, ...]]:
    """What the rule reads of a corpus, and why its units are what they are."""
    sample = sample_of(train)
    units: dict[str, str] = {}
    sizes: dict[str, int | None] = {}
    means: dict[str, float] = {}
    reasons: list[str] = []
    for side, texts in (("source", sample.sources), ("target", sample.targets)):
        given = keys.get(f"data.{side}_unit")
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
    request: TrainRequest, train: Train, tell: Callable[[str], None]
) -> tuple[str, RunConfig]:
    """Flags over the file over what the data suggest over the defaults; the reasons are told."""
    file = config.read_toml(request.config) if request.config else {}
    traits, reasons = traits_of(train, request.keys)
    choice = choose(traits, bf16=kernels.auto_precision() == "bf16")
    name = request.model or model_name_in(file) or choice.model_name
    entry(name)
    task = request.data[0].removeprefix("@") if is_task(request.data) else ""
    preset = config.merge(choice.preset, preset_of(task, request.languages))
    run = run_config(
        name,
        preset=preset,
        file=file,
        flags={**_flags(request), **request.keys},
        where=request.config or "",
    )
    asked = () if name == choice.model_name else (f"model {name}: as asked.",)
    ruled = choice.reasons if not task else (f"settings made for @{task} on top of the rule.",)
    for line in (*reasons, *ruled, *asked):
        tell(line)
    return name, run


def _flags(request: TrainRequest) -> dict[str, str]:
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


def _carry_out(plan: _Plan, watcher: Watcher) -> Ending:
    """Trains, scores the test sets once, writes the folder and the pictures."""
    plan.translator.network.to(device_of(plan.request.machine))
    if not plan.resume:
        watcher.tell(pilot(plan.translator, plan.train))
        _clear(plan.folder)
    translator, folder = plan.translator, plan.folder
    began = time.monotonic()
    done = fit(
        translator,
        plan.train,
        plan.corpora.dev,
        folder=folder,
        carried=_carried(translator, plan.request, folder),
        resume=plan.resume,
        listeners=[watcher],
    )
    took = time.monotonic() - began
    ending = end_run(translator, plan.corpora, folder, done, took, rows=len(plan.train))
    discard(folder)
    return ending


def _carried(translator: Translator, request: TrainRequest, folder: Path) -> dict[str, bytes]:
    """What a checkpoint needs beside its weights: configuration, codec, the names of the data."""
    files = {k: v for k, v in translator.files().items() if k != "model.safetensors"}

    def relative(names: tuple[str, ...]) -> list[str]:
        """From the run's folder, so that data and run can move together."""
        return [n if n.startswith(("@", "-")) else os.path.relpath(n, folder) for n in names]

    record = {
        "data": relative(request.data),
        "dev": relative(request.dev),
        "test": relative(request.test),
        "languages": request.languages,
        "seed": request.seed,
        "reading": asdict(request.reading),
    }
    return {**files, REQUEST: json.dumps(record, indent=1, ensure_ascii=True).encode()}


def _recorded(stream: bool | None) -> dict[str, str]:
    return {} if stream is None else {"data.stream": str(stream).lower()}


def _resumed(request: TrainRequest, watcher: Watcher) -> _Plan:
    """The plan of the interrupted run, from its newest good checkpoint."""
    folder = Path(str(request.resume))
    if not folder.is_dir():
        raise ModelFolderError(f"{folder} does not exist.", hint="jumok train writes such folders.")
    found = latest_good(folder)
    if found is None:
        raise ModelFolderError(
            f"{folder}: there is no checkpoint in it to go on from.",
            hint="a run saves at the end of each epoch and when it is interrupted.",
        )
    record = json.loads(found.folder.text(REQUEST))

    def named(names: list[str]) -> tuple[str, ...]:
        return tuple(n if n.startswith(("@", "-")) else os.path.normpath(folder / n) for n in names)

    parts = load_parts(found.folder.path)
    again = replace(
        request,
        data=request.data or named(record["data"]),
        dev=request.dev or named(record["dev"]),
        test=request.test or named(record["test"]),
        languages=record["languages"],
        seed=record["seed"],
        reading=Reading(**record["reading"]),
        keys={
            **_recorded(parts.run.data.stream),
            **request.keys,
            "data.normalisation": parts.codec.normalisation,
        },
    )
    corpora, train = _read(again, folder, watcher)
    flags = {**_flags(replace(again, seed=None)), **request.keys}
    translator = make_translator(parts.name, config.override(parts.run, flags), parts.codec, train)
    return _Plan(
        request=again,
        corpora=corpora,
        train=train,
        translator=translator,
        folder=folder,
        resume=True,
    )
