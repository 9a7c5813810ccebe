"""``jumok train``: from what a command line says to a model folder, a score and a picture."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from jumok import config
from jumok.data.tasks import TaskData
from jumok.data.text import Form
from jumok.data.wording import data_lines
from jumok.errors import Interrupted, ModelFolderError, UsageError
from jumok.evaluation import Scores
from jumok.interfaces.fitting import check_guided, codec_of, fit, make_translator
from jumok.interfaces.model_files import load_parts
from jumok.interfaces.options import Reading, at_terminal
from jumok.interfaces.own_models import own_models
from jumok.interfaces.requests import TrainRequest
from jumok.interfaces.streaming import (
    CACHE,
    StreamedCorpus,
    Train,
    discard,
    streams,
)
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.continuing import LEARNT, old_model, started_from
from jumok.interfaces.work.corpora import (
    is_task,
    report_on,
    sample_note,
    streamed_ways,
    three_ways,
)
from jumok.interfaces.work.decoding import device_of
from jumok.interfaces.work.ending import NO_SCORES, Ending, end_run
from jumok.interfaces.work.lengths import within_limits
from jumok.interfaces.work.pilot import pilot
from jumok.interfaces.work.planning import ask, choose_run, flags_of, links_of, refuse_together
from jumok.models import with_own
from jumok.recipes.tasks import size_of
from jumok.store import latest_good
from jumok.training.events import Event, Listener, Step, tensorboard

__all__ = ["DISTILLED", "Watcher", "carried_files", "corpora_of", "refuse_existing", "train"]

REQUEST = "request.json"
DISTILLED = "distilled"
"""Where a run keeps the pairs that a teacher wrote."""
OF_A_RUN = frozenset({"manifest.json", "metrics.jsonl", "checkpoints", CACHE, DISTILLED})
"""One of these stands in every folder that a run has begun."""
OF_A_FAILED_START = frozenset({"metrics.jsonl", "checkpoints", CACHE, ".lock", DISTILLED})
"""What a run leaves that could not save even once: nothing to go on with, nothing to lose."""
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


def train(
    request: TrainRequest, watcher: Watcher, *, beside: Mapping[str, Scores] = NO_SCORES
) -> Ending:
    """Everything ``jumok train`` does but printing; a refusal has changed nothing on disk.

    ``beside``: scores of others on the same test set, for the report.
    """
    device_of(request.machine)  # what can be wrong without the data is told before they are read
    board = [tensorboard(Path(request.tensorboard))] if request.tensorboard else []
    if request.resume is not None:
        return _carry_out(_resumed(request, watcher), watcher, board, beside)
    request = replace(request, data=request.data or (DEFAULT_TASK,))
    folder = Path(request.out or _default_folder(request))
    refuse_existing(folder, force=request.force)
    made = _continued if request.start_from is not None else _new
    return _carry_out(made(request, folder, watcher), watcher, board, beside)


def _new(request: TrainRequest, folder: Path, watcher: Watcher) -> _Plan:
    asked = ask(request)
    corpora, train = _read(request, asked.form, asked.stream, folder, watcher)
    name, run = choose_run(asked, request, train, watcher.tell)
    if run.data.source_unit in LEARNT or run.data.target_unit in LEARNT:
        watcher.tell(f"learning the pieces of {len(train):,} pairs ...")
    translator = make_translator(name, run, codec_of(train, run.data), train, models=asked.models)
    return _plan(request, corpora, train, translator, folder, watcher)


def _continued(request: TrainRequest, folder: Path, watcher: Watcher) -> _Plan:
    old = old_model(request, flags_of(request))
    form = old.codec.normalisation
    corpora, train = _read(request, form, old.run.data.stream, folder, watcher)
    translator = started_from(old, request, train, flags_of(request), watcher.tell)
    return _plan(request, corpora, train, translator, folder, watcher)


def _plan(
    request: TrainRequest,
    corpora: TaskData,
    train: Train,
    translator: Translator,
    folder: Path,
    watcher: Watcher,
    *,
    resume: bool = False,
) -> _Plan:
    """The plan, with dev and test as far as the model can read them."""
    check_guided(translator, train)
    on_long, in_memory = translator.run.data.on_long, not isinstance(train, StreamedCorpus)
    fitting = within_limits(corpora, translator.codec, on_long, watcher.tell, train=in_memory)
    return _Plan(
        request=request,
        corpora=fitting,
        train=train,
        translator=translator,
        folder=folder,
        resume=resume,
    )


def _default_folder(request: TrainRequest) -> str:
    """``runs/`` and the name of the data; with a number where that is taken."""
    first = request.data[0]
    stem = first.removeprefix("@") if is_task(request.data) else Path(first).name.split(".")[0]
    named = Path("runs") / (stem.strip("-") or "model")
    numbered = (named.with_name(f"{named.name}-{n}") for n in itertools.count(2))
    free = (path for path in itertools.chain([named], numbered) if not path.exists())
    return str(named if request.force else next(free))


def refuse_existing(folder: Path, *, force: bool) -> None:
    """UsageError where a run would write over something that it may not replace."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            f"{folder} is a file; a model is a folder. Nothing was changed.",
            hint="--out names another place.",
        )
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names <= OF_A_FAILED_START and not any(folder.glob("checkpoints/*")):
        return
    if names and not force:
        raise UsageError(
            f"{folder} exists and is not empty; nothing was changed.",
            hint=f"--force replaces it, --out names another, --resume {folder} goes on with it.",
        )
    if names and not names & OF_A_RUN:
        raise UsageError(
            f"{folder} exists and holds other things than a model; nothing was changed.",
            hint="--force replaces models alone; --out names another folder.",
        )


def _clear(folder: Path, data: tuple[str, ...]) -> None:
    """Takes away the run that is there and is to be replaced: its manifest first.

    What was distilled stays where it is the ``data``.
    """
    for name in ("manifest.json", "metrics.jsonl"):
        (folder / name).unlink(missing_ok=True)
    own = any((folder / DISTILLED) in Path(name).parents for name in data)
    for name in (".next", "checkpoints", CACHE, *(() if own else (DISTILLED,))):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def _read(
    request: TrainRequest, form: Form, stream: bool | None, folder: Path, watcher: Watcher
) -> tuple[TaskData, Train]:
    """The three sides, looked at and reported on; train as it is trained on."""
    corpora, train = corpora_of(request, form, stream)
    if isinstance(train, StreamedCorpus):
        watcher.tell(
            f"streaming: {train.pair_stream.name} is read as it is needed and not held in memory; "
            f"its ids lie in {folder / CACHE} while the run goes on."
        )
    watcher.tell(corpora.about)
    if not len(corpora.test):
        watcher.tell(
            "no test set: nothing is held out, and the score at the end is that of --dev, which "
            "chooses the model. --test FILE gives a score that nothing was chosen by."
        )
    if len(corpora.train) < len(train):
        watcher.tell(sample_note(len(corpora.train), len(train)))
    for line in data_lines(report_on(corpora)):
        watcher.tell(line)
    return corpora, train


def corpora_of(request: TrainRequest, form: Form, stream: bool | None) -> tuple[TaskData, Train]:
    """The three sides that a request names, and train as it is trained on."""
    options: dict[str, Any] = {"seed": request.seed or 0}
    if request.languages is not None:
        if request.data != ("@dates",):
            raise UsageError("--languages is for @dates alone.")
        everything = request.languages == "all"
        options["languages"] = "all" if everything else request.languages.split(",")
    sides = (request.data, request.dev, request.test, request.reading)
    links = links_of(request)
    if streams(request.data, stream):
        return streamed_ways(*sides, seed=request.seed or 0, form=form, links=links)
    size = size_of(request.data[0].removeprefix("@"), request.languages)
    if is_task(request.data) and size is not None:
        options["n"] = size
    corpora = three_ways(
        *sides, seed=request.seed or 0, form=form, task_options=options, links=links
    )
    return corpora, corpora.train


class _Clock:
    """Seconds of training in all, those before an interruption among them."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before: float | None = None

    def __call__(self, event: Event) -> None:
        if self._before is None and isinstance(event, Step):
            self._before = event.seconds - (time.monotonic() - self._began)

    def seconds(self) -> float:
        return max(0.0, self._before or 0.0) + time.monotonic() - self._began


def _carry_out(
    plan: _Plan, watcher: Watcher, board: Sequence[Listener], beside: Mapping[str, Scores]
) -> Ending:
    """Trains, scores the test sets once, writes the folder and the pictures."""
    plan.translator.network.to(device_of(plan.request.machine))
    if not plan.resume:
        watcher.tell(pilot(plan.translator, plan.train))
        _clear(plan.folder, plan.request.data)
    translator, folder = plan.translator, plan.folder
    clock = _Clock()
    done = fit(
        translator,
        plan.train,
        plan.corpora.dev,
        folder=folder,
        carried=carried_files(translator, plan.request, folder),
        resume=plan.resume,
        listeners=[clock, watcher, *board],
    )
    took = clock.seconds()
    watcher.tell("scoring, free-running, and the answers without training beside it ...")
    try:
        ending = end_run(
            translator, plan.corpora, folder, done, took, rows=len(plan.train), beside=beside
        )
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped while it was scored; the trained model is saved in {folder / 'checkpoints'}.",
            hint=f"score and write it with: jumok train --resume {folder}",
        ) from None
    discard(folder)
    return ending


def carried_files(translator: Translator, request: TrainRequest, folder: Path) -> dict[str, bytes]:
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
        "links": None if request.links is None else relative((request.links,))[0],
        "links_column": request.links_column,
    }
    return {**files, REQUEST: json.dumps(record, indent=1, ensure_ascii=True).encode()}


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

    if not request.data and "-" in record["data"] and at_terminal():
        raise UsageError(
            f"{folder} is trained on standard input, which has to be given again.",
            hint=f"jumok train --resume {folder} < FILE",
        )

    def named(names: list[str]) -> tuple[str, ...]:
        return tuple(n if n.startswith(("@", "-")) else os.path.normpath(folder / n) for n in names)

    models = with_own(own_models(request.machine.model_file))
    parts = load_parts(found.folder.path, models=models)
    refuse_together(request, parts.name)
    again = replace(
        request,
        data=request.data or named(record["data"]),
        dev=request.dev or named(record["dev"]),
        test=request.test or named(record["test"]),
        languages=record["languages"],
        seed=record["seed"],
        reading=Reading(**record["reading"]),
        links=request.links or (named([record["links"]])[0] if record.get("links") else None),
        links_column=request.links_column or record.get("links_column"),
    )
    run = config.override(parts.run, {**flags_of(replace(again, seed=None)), **request.keys})
    corpora, train = _read(again, parts.codec.normalisation, run.data.stream, folder, watcher)
    translator = make_translator(parts.name, run, parts.codec, train, models=models)
    return _plan(again, corpora, train, translator, folder, watcher, resume=True)
