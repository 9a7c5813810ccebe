"""One run of the ladder: an ordinary training run into its own folder, then what it is worth."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from jumok.alignment.gold import agreement
from jumok.alignment.measures import mean_shape, shape_of
from jumok.data.corpus import Corpus
from jumok.data.tasks.sequences import gold_positions
from jumok.errors import ModelFolderError
from jumok.interfaces.comparing.curve import Curve, Point
from jumok.interfaces.comparing.plan import Bench
from jumok.interfaces.comparing.state import Planned
from jumok.interfaces.fitting import fit
from jumok.interfaces.model_files import SEEN
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.decoding import device_of
from jumok.interfaces.work.ending import METRICS
from jumok.interfaces.work.evaluating import evaluate_model
from jumok.interfaces.work.running import carried_files
from jumok.recipes.ladder import Rung
from jumok.records import AttentionTrace
from jumok.search import SearchOptions
from jumok.training.events import Listener
from jumok.views.trace_file import save_traces, write_whole

__all__ = [
    "Attended",
    "Places",
    "Result",
    "carry_out",
    "draw",
    "failed",
    "plain_search",
    "result_of",
]

ATTENDED_ROWS = 200
"""Test pairs whose maps are measured."""
NOT_COUNTED = (SEEN, "card.md")
"""Files of a model folder that no one needs to translate with."""


@dataclass(frozen=True, kw_only=True)
class Attended:
    """The maps of some test pairs, under the targets that are given."""

    kind: str
    """``gold``: share of output symbols whose strongest source is the right one. ``monotonic``:
    Kendall's tau of the strongest sources, 1 in order, -1 backwards, 0 neither, as for a model
    that always looks at one place."""
    value: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one run of one system came to."""

    label: str
    seed: int
    error: str | None = None
    """Why there is nothing else."""
    parameters: int = 0
    size: int = 0
    """Bytes of weights, vocabularies and configuration."""
    examples: int = 0
    """Seen in training, repeats counted."""
    seconds: float = 0.0
    ended: str = ""
    """Which ceiling was reached."""
    pace: float | None = None
    """Examples a second in training alone."""
    scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By test set, the one that ranks first."""
    outputs: tuple[str, ...] = ()
    """On that test set."""
    attended: Attended | None = None
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Places:
    """Where a run and its result stand in the ladder's folder."""

    out: Path
    label: str
    seed: int

    @property
    def folder(self) -> Path:
        """An ordinary model folder."""
        return self.out / "runs" / self.label / f"seed{self.seed}"

    def beside(self, suffix: str) -> Path:
        """A file of the ladder's own about this run."""
        return self.out / "results" / self.label / f"seed{self.seed}{suffix}"


def result_of(places: Places) -> Result | None:
    """The result of an earlier run; None where there is none yet.

    Raises:
        ModelFolderError: it is damaged.
    """
    path = places.beside(".json")
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_bytes())
        points = tuple(Point(**p) for p in record.pop("points"))
        found = record.pop("attended")
        outputs = tuple(record.pop("outputs"))
        attended = None if found is None else Attended(**found)
        return Result(**record, points=points, attended=attended, outputs=outputs)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFolderError(
            f"{path} is damaged: {type(error).__name__} {error}.",
            hint="remove it: the run is then scored again from its model folder.",
        ) from None


def failed(places: Places, error: Exception) -> Result:
    """A run that came to nothing keeps its row, with the reason."""
    said = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
    return _kept(places, Result(label=places.label, seed=places.seed, error=said))


def carry_out(
    bench: Bench, rung: Rung, planned: Planned, places: Places, listeners: Sequence[Listener]
) -> Result:
    """Trains, or goes on, or takes what is trained; scores it; writes the result."""
    curve = Curve(places.beside(".curve.json"), rows=len(bench.train), score=bench.state.choose_by)
    translator = _trained(bench, rung, planned, places, [curve, *listeners])
    tests = bench.tests
    options = plain_search(translator)
    found = {
        name: evaluate_model(translator, corpus, options, resamples=0)
        for name, corpus in tests.items()
    }
    headline = next(iter(tests))
    attended = _attended(translator, tests[headline], bench)
    size = sum(len(f) for name, f in translator.files().items() if name not in NOT_COUNTED)
    return _kept(
        places,
        Result(
            label=rung.label,
            seed=places.seed,
            parameters=sum(p.numel() for p in translator.network.parameters()),
            size=size,
            examples=curve.examples(),
            seconds=curve.seconds(),
            ended=str((curve.done or {}).get("reason", "")),
            pace=curve.pace(),
            scores={name: one.scores.to_dict() for name, one in found.items()},
            outputs=found[headline].outputs,
            attended=attended,
            points=tuple(curve.points),
        ),
    )


def _kept(places: Places, result: Result) -> Result:
    path = places.beside(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(result), ensure_ascii=False).encode())
    return result


def _trained(
    bench: Bench, rung: Rung, planned: Planned, places: Places, listeners: Sequence[Listener]
) -> Translator:
    """The run's model: from its folder if it stands there whole, else by the ordinary trainer."""
    device = device_of(bench.machine)
    if (places.folder / "manifest.json").exists():
        return Translator.load(places.folder, device=device)
    run = bench.run(rung, planned.hidden_size, places.seed, planned.validate_every)
    translator = bench.translator(rung, run)
    translator.network.to(device)
    places.folder.mkdir(parents=True, exist_ok=True)
    request = replace(bench.request, model=rung.model, seed=places.seed)
    fit(
        translator,
        bench.train,
        bench.corpora.dev,
        folder=places.folder,
        carried=carried_files(translator, request, places.folder),
        resume=True,  # begins where there is nothing to go on with
        listeners=listeners,
    )
    about = f"{rung.label} of a ladder: {bench.state.about}"
    card = f"# {rung.model}\n\nTrained by jumok on {len(bench.train):,} pairs, as {about}\n"
    translator = replace(translator, card=card)
    translator.save(places.folder, keep=[METRICS])
    shutil.rmtree(places.folder / "checkpoints", ignore_errors=True)
    return translator


def plain_search(translator: Translator) -> SearchOptions:
    """Greedy, and nothing computed that nobody looks at."""
    return SearchOptions(max_length=translator.run.search.max_length, weights=False)


def _attended(translator: Translator, test: Corpus, bench: Bench) -> Attended | None:
    """Agreement with gold where the task has it, else order; None without attention."""
    pairs = test.pairs()[:ATTENDED_ROWS]
    traces = [one.attention.trace for one in translator.score(pairs)]
    if any(trace.main is None for trace in traces):
        return None
    gold = _gold(traces, pairs, bench)
    if gold is not None:
        share = agreement(traces, gold).attention
        return Attended(kind="gold", value=share, rows=len(traces))
    shape = mean_shape([shape_of(trace) for trace in traces])
    value = shape.order
    return None if value != value else Attended(kind="monotonic", value=value, rows=len(traces))


def _gold(
    traces: Sequence[AttentionTrace], pairs: Sequence[tuple[str, str]], bench: Bench
) -> list[tuple[int | None, ...]] | None:
    """Source positions, for the tasks that know them, where characters are the symbols."""
    task = bench.request.data[0]
    found = [gold_positions(task.removeprefix("@"), *pair) for pair in pairs]
    for trace, (source, target) in zip(traces, pairs, strict=True):
        real = [sum(not t.special for t in side) for side in (trace.source, trace.target)]
        if real != [len(source), len(target)]:
            return None
    known = [one for one in found if one is not None]
    return known if task.startswith("@") and len(known) == len(pairs) else None


def draw(translator: Translator, source: str, places: Places) -> None:
    """Keeps the map of one test item, of what the model itself writes."""
    options = SearchOptions(max_length=translator.run.search.max_length)
    made = translator.translate([source], options=options)[0]
    save_traces([made.attention.trace], places.beside(".jumok.json"))
