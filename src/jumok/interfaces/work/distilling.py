"""``jumok distill``: a student trained on what a teacher writes (Kim & Rush 2016, section 3.2).

The teacher, one model or several, translates every training source by beam search; the student
is trained on its outputs in the place of the references, dev and test staying as they are. So
much of what the data leave open is settled before the student begins. What the teacher has
written is kept, line by line, in the student's folder: the same command goes on where it
stopped, be it while the teacher writes or while the student trains.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from jumok.data.corpus import Corpus
from jumok.data.encoded import UNKNOWN_TEXT
from jumok.data.options import counted
from jumok.data.tasks import TaskData
from jumok.errors import Interrupted, UsageError
from jumok.evaluation import Scores
from jumok.evaluation.statistics import best_reference
from jumok.interfaces.ensembles import folders_in
from jumok.interfaces.options import Reading, Searching
from jumok.interfaces.outputs import Translation
from jumok.interfaces.requests import DistillRequest, TrainRequest
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.corpora import is_task, three_ways
from jumok.interfaces.work.decoding import open_model, search_options
from jumok.interfaces.work.ending import Ending
from jumok.interfaces.work.evaluating import evaluate_model
from jumok.interfaces.work.lengths import refuse_long
from jumok.interfaces.work.planning import ask
from jumok.interfaces.work.running import DISTILLED, Watcher, refuse_existing, train
from jumok.store import latest_good, open_folder
from jumok.store.lock import locked

__all__ = ["Distilled", "distill"]

RECORD, OUTPUTS = "record.json", "outputs.jsonl"
SIDES = ("train", "dev", "test")
OWN_FILES = Reading(columns="source,target", format="jsonl", max_characters=0, keep_empty=True)
BATCH, SECONDS = 64, 10.0
"""Sources decoded together; how often a line says how far the teacher is."""


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """The student, and its teacher on the same test set."""

    ending: Ending
    teacher: Scores | None
    """None where there is neither test nor dev."""


class _Written(NamedTuple):
    """What the student is given for one source."""

    target: str
    by: str
    """``teacher``, or ``gold`` where the teacher's output cannot be learnt from."""


def distill(request: DistillRequest, watcher: Watcher) -> Distilled:
    """Everything ``jumok distill`` does but printing; a refusal has changed nothing on disk."""
    student = _student(request, Path(request.out or _default_folder(request)))
    folder = Path(str(student.out))
    ask(student)  # what is wrong with its keys is told before anything is read
    if request.beam < 1:
        raise UsageError(f"--beam ({request.beam}) must be at least 1.")
    _refuse_folder(folder, request)
    teacher = open_model(request.teacher, request.machine, request.ensembling)
    gold = _gold(request, teacher)
    refuse_long(gold.train, teacher.codec, target=False)
    record = _record(request, gold)
    begun = _begun(folder, record, force=request.force)
    watcher.tell(f"teacher: {teacher.name} ({request.teacher}); {gold.about}")
    _tell_seen(teacher, gold, watcher)
    if not begun:
        _begin(folder, record)
    with locked(folder):
        written = _decoded(request, teacher, gold.train, folder / DISTILLED, watcher)
        sides = _write_sides(folder / DISTILLED, gold, written, keep_gold=request.keep_gold)
    scores = _score(teacher, gold, watcher)
    del teacher
    beside = {} if scores is None else {"the teacher": scores}
    if latest_good(folder) is not None:
        again = TrainRequest(resume=str(folder), machine=request.machine)
        return Distilled(ending=train(again, watcher, beside=beside), teacher=scores)
    student = replace(student, data=sides["train"], dev=sides["dev"], test=sides["test"])
    return Distilled(ending=train(student, watcher, beside=beside), teacher=scores)


def _default_folder(request: DistillRequest) -> str:
    """Always the same one, so that the same command goes on."""
    first = request.data[0] if request.data else "pairs"
    stem = first.removeprefix("@") if is_task(request.data) else Path(first).name.split(".")[0]
    return str(Path("runs") / f"{stem.strip('-') or 'model'}-distilled")


def _student(request: DistillRequest, folder: Path) -> TrainRequest:
    return TrainRequest(
        out=str(folder),
        model=request.model,
        config=request.config,
        keys=request.keys,
        seconds=request.seconds,
        seed=request.seed,
        precision=request.precision,
        force=True,  # whatever is replaced was refused or taken away before
        reading=_own_reading(request.reading),
        machine=request.machine,
    )


def _own_reading(given: Reading) -> Reading:
    """How the files of ``_write_sides`` are read; sources keep their tags beside them."""
    if given.tags_column is None:
        return OWN_FILES
    return replace(OWN_FILES, tags_column="tags", tag_sep=given.tag_sep)


def _gold(request: DistillRequest, teacher: Translator) -> TaskData:
    """The pairs, split as the teacher's run split them: what it trained on is not tested on."""
    if "-" in (*request.data, *request.dev, *request.test):
        raise UsageError(
            "a command that may be repeated to go on cannot read standard input.",
            hint="put the pairs into a file.",
        )
    sides = (request.data, request.dev, request.test, request.reading)
    seed, form = teacher.run.data.seed, teacher.codec.normalisation
    options = {"seed": seed} if is_task(request.data) else {}
    return three_ways(*sides, seed=seed, form=form, task_options=options)


def _tell_seen(teacher: Translator, gold: TaskData, watcher: Watcher) -> None:
    known = teacher.knows(list(gold.test.references())) if len(gold.test) else None
    if known is not None and any(known):
        watcher.tell(
            f"the teacher was trained on {sum(known):,} of the {counted(len(known), 'test input')}:"
            " what it writes has gone through them, and neither score is one on unseen inputs. "
            "Its own data, split by its own seed, would keep them apart."
        )


# --- the folder -------------------------------------------------------------------------------


def _refuse_folder(folder: Path, request: DistillRequest) -> None:
    """Over a run that has ended, or over anything that is none, only by force; never a teacher."""
    if any(folder.resolve() == Path(path).resolve() for path in folders_in(request.teacher)):
        raise UsageError(
            f"{folder} is the teacher; the student needs a folder of its own.",
            hint="--out names another.",
        )
    if request.force or (folder / "manifest.json").exists():
        refuse_existing(folder, force=request.force)
    elif not (folder / DISTILLED / RECORD).exists():
        refuse_existing(folder, force=False)


def _record(request: DistillRequest, gold: TaskData) -> dict[str, Any]:
    """What the outputs and the student follow from; another record is another run."""
    manifests = [open_folder(path).manifest.digest for path in folders_in(request.teacher)]
    return {
        "teacher": manifests,
        "average": request.ensembling.average,
        "train": gold.train.fingerprint(),
        "dev": gold.dev.fingerprint(),
        "test": gold.test.fingerprint(),
        "beam": request.beam,
        "closest": request.closest,
        "keep_gold": request.keep_gold,
        "student": request.model,
        "keys": dict(request.keys),
        "config": sha256(Path(request.config).read_bytes()).hexdigest() if request.config else None,
        "seed": request.seed,
        "seconds": request.seconds,
    }


def _begun(folder: Path, record: Mapping[str, Any], *, force: bool) -> bool:
    """Whether this very run was begun in ``folder``."""
    path = folder / DISTILLED / RECORD
    if force or not path.exists():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    other = [name for name in record if found.get(name) != record[name]]
    if other:
        raise UsageError(
            f"{folder} was begun otherwise ({', '.join(other)}); nothing was changed.",
            hint="--force begins anew, --out names another folder.",
        )
    return True


def _begin(folder: Path, record: Mapping[str, Any]) -> None:
    """An empty ``distilled`` with its record; a run that is there and is replaced goes."""
    for name in ("manifest.json", "metrics.jsonl"):
        (folder / name).unlink(missing_ok=True)
    for name in ("checkpoints", DISTILLED):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / DISTILLED).mkdir(parents=True)
    _write_whole(folder / DISTILLED / RECORD, json.dumps(record, indent=1) + "\n")


def _write_whole(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.part")
    with beside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _write_sides(
    place: Path, gold: TaskData, written: Mapping[str, _Written], *, keep_gold: bool
) -> dict[str, tuple[str, ...]]:
    """Train by the teacher, dev and test as they are; an empty side has no file."""
    train = [(source, written[source].target) for source in gold.train.sources]
    pairs = {
        "train": train + (gold.train.pairs() if keep_gold else []),
        "dev": gold.dev.pairs(),
        "test": gold.test.pairs(),
    }
    for side in SIDES:
        lines = (_pair(source, target, gold.train.tags) for source, target in pairs[side])
        _write_whole(place / f"{side}.jsonl", "".join(lines))
    return {side: (str(place / f"{side}.jsonl"),) if pairs[side] else () for side in SIDES}


def _pair(source: str, target: str, tags: str | None) -> str:
    if tags is None:
        return _line(source=source, target=target)
    lemma, _, cell = source.rpartition("\t")
    return _line(source=lemma, tags=cell, target=target)


def _line(**values: str) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


# --- what the teacher writes ------------------------------------------------------------------


def _decoded(
    request: DistillRequest, teacher: Translator, train: Corpus, place: Path, watcher: Watcher
) -> dict[str, _Written]:
    """Source -> what the student learns to write; what was written before is not written again."""
    references = train.references()
    sources, path = list(references), place / OUTPUTS
    found = _kept(path)
    if found:
        watcher.tell(f"going on: {len(found):,} of {len(sources):,} outputs are there already")
    searching = Searching(beam=request.beam, nbest=request.beam if request.closest else 1)
    options = search_options(teacher.run.search, searching, {}, weights=False)
    pace = _Pace(watcher, len(found), len(sources))
    left = sources[len(found) :]
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            for made in teacher.stream(left, options, batch_size=BATCH):
                one = _chosen(made, references[made.source], closest=request.closest)
                file.write(_line(source=made.source, target=one.target, by=one.by))
                file.flush()
                found[made.source] = one
                pace(len(found))
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped after {len(found):,} of {len(sources):,} outputs of the teacher; they are "
            f"kept in {path}.",
            hint="the same command goes on.",
        ) from None
    _tell_written(found, references, watcher)
    return found


def _kept(path: Path) -> dict[str, _Written]:
    """The whole lines of an interrupted run; half a line at the end is taken away."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    rows = [json.loads(line) for line in whole.decode("utf-8").split("\n")[:-1]]
    return {row["source"]: _Written(row["target"], row["by"]) for row in rows}


def _chosen(made: Translation, references: Iterable[str], *, closest: bool) -> _Written:
    """The likeliest output, or the one nearest to a reference (Kim & Rush 2016, section 3.3).

    An output that never ended or has a symbol without a name is nothing to learn from: the
    reference stands in its place.
    """
    gold = list(references)
    candidates = made.nbest if closest else made.nbest[:1]
    usable = [one.text for one in candidates if one.finished and UNKNOWN_TEXT not in one.text]
    if not usable:
        return _Written(gold[0], "gold")
    return _Written(min(usable, key=lambda text: best_reference(text, gold)[0]), "teacher")


def _tell_written(
    found: Mapping[str, _Written],
    references: Mapping[str, tuple[str, ...]],
    watcher: Watcher,
) -> None:
    instead = sum(one.by == "gold" for one in found.values())
    same = sum(one.target in references[source] for source, one in found.items())
    watcher.tell(
        f"the teacher wrote {counted(len(found), 'output')}, {same / max(1, len(found)):.1%} of "
        "them as a reference has it"
        + (f"; {instead:,} were no use, and the reference stands there." if instead else ".")
    )


class _Pace:
    """A line now and then: how far the teacher is, and how long it will take."""

    def __init__(self, watcher: Watcher, before: int, whole: int) -> None:
        self._watcher, self._before, self._whole = watcher, before, whole
        self._began = self._told = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._told < SECONDS:
            return
        self._told = now
        left = (now - self._began) / max(1, done - self._before) * (self._whole - done)
        self._watcher.tell(
            f"{done / self._whole:4.0%}  the teacher has written {done:,} of {self._whole:,}, "
            f"about {left / 60:.0f} min left"
        )


def _score(teacher: Translator, gold: TaskData, watcher: Watcher) -> Scores | None:
    """On the set that the student's score will be of, searching as the teacher's record says."""
    corpus = gold.test if len(gold.test) else gold.dev
    if not len(corpus):
        return None
    watcher.tell("scoring the teacher, free-running ...")
    search = teacher.run.search
    options = replace(search, weights=search.coverage_penalty > 0)
    return evaluate_model(teacher, corpus, options).scores
