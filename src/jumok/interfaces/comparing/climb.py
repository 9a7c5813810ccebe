"""``jumok compare``: every system at the same number of parameters under the same ceiling.

Each run is an ordinary training run into its own folder, so that what was interrupted goes on
exactly where it stopped; what is finished is kept. The table can be made at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from jumok.data.corpus import Corpus
from jumok.data.options import counted
from jumok.errors import Interrupted, ModelFolderError, SaveError, UsageError
from jumok.interfaces.comparing.plan import Bench, bench_of, default_budget
from jumok.interfaces.comparing.report import write_report
from jumok.interfaces.comparing.run import Places, Result, carry_out, draw, failed, result_of
from jumok.interfaces.comparing.speed import ITEMS, decode_speeds
from jumok.interfaces.comparing.state import TESTS, State, begun, out_folder, settled
from jumok.interfaces.comparing.table import Table, table_of
from jumok.interfaces.requests import CompareRequest
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.decoding import device_of
from jumok.interfaces.work.ending import baselines
from jumok.interfaces.work.pilot import span
from jumok.recipes.ladder import RUNGS, Rung, rungs_called
from jumok.store import locked
from jumok.training.events import Done, Event, Listener, Step
from jumok.views.trace_file import write_whole

__all__ = ["Compared", "Watcher", "compare"]

SPEEDS = "speeds.json"


class Watcher(Protocol):
    """Told sentences, and for each run given a listener of its own."""

    def tell(self, message: str, /) -> None: ...

    def run(self) -> AbstractContextManager[Listener]: ...


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a ladder leaves."""

    table: Table
    folder: Path
    report: Path


@dataclass(frozen=True)
class _Run:
    rung: Rung
    seed: int


def compare(request: CompareRequest, watcher: Watcher) -> Compared:
    """Everything ``jumok compare`` does but printing; a refusal has changed nothing on disk."""
    device_of(request.machine)
    folder = out_folder(request)
    old = begun(folder)
    if request.report:
        if old is None:
            raise UsageError(
                f"{folder} holds no ladder to report on.",
                hint="jumok compare without --report begins one.",
            )
        return _reported(old, folder, watcher)
    state = settled(request, old, folder)
    wanted = _wanted(request, state)
    bench = bench_of(state, folder, request, watcher.tell)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        _begin(bench, folder, request, wanted, watcher.tell)
        runs = [_Run(rung, seed) for seed in _seeds(request, state) for rung in wanted]
        try:
            _carry_out(bench, folder, runs, watcher)
            return _reported(bench.state, folder, watcher)
        except (Interrupted, KeyboardInterrupt) as error:
            said = error.message if isinstance(error, Interrupted) else "stopped."
            raise Interrupted(
                f"{said} What is finished is kept.",
                hint=f"go on with: jumok compare --out {folder}",
            ) from None


def _wanted(request: CompareRequest, state: State) -> tuple[Rung, ...]:
    return rungs_called(request.systems or tuple(state.systems) or [r.label for r in RUNGS])


def _seeds(request: CompareRequest, state: State) -> tuple[int, ...]:
    return tuple(dict.fromkeys(request.seeds or state.seeds or (0,)))


def _begin(
    bench: Bench,
    folder: Path,
    request: CompareRequest,
    wanted: Sequence[Rung],
    tell: Callable[[str], None],
) -> None:
    """Sizes, baselines and test rows, kept in the folder before the first run."""
    state = bench.state
    headline = next(iter(bench.tests.values()))
    budget = state.budget or state.parameters or default_budget(bench)
    known = dict(state.systems)
    new = [r for r in wanted if r.label not in known or known[r.label].error]
    if new:
        tell(f"sizes for about {budget:,} parameters:")
    for rung in new:
        planned = bench.planned(rung, budget)
        known[rung.label] = planned
        off = planned.parameters / budget - 1
        tell(
            f"  {rung.label}: not possible: {planned.error}"
            if planned.error
            else f"  {rung.label}: hidden size {planned.hidden_size}, "
            f"{planned.parameters:,} parameters ({off:+.1%})"
        )
    seeds = tuple(sorted({*state.seeds, *_seeds(request, state)}))
    simple = state.baselines or baselines(bench.corpora.train, headline)
    bench.state = replace(
        state,
        budget=budget,
        seeds=seeds,
        systems={r.label: known[r.label] for r in RUNGS if r.label in known},
        baselines=simple,
    )
    _keep_tests(folder, headline)
    bench.state.save(folder)


def _keep_tests(folder: Path, corpus: Corpus) -> None:
    """The inputs that rank the systems, so that a report needs no data."""
    accepted = corpus.references()
    record = {"sources": list(accepted), "references": list(accepted.values())}
    write_whole(folder / TESTS, json.dumps(record, ensure_ascii=False).encode())


def _carry_out(bench: Bench, folder: Path, runs: Sequence[_Run], watcher: Watcher) -> None:
    """Every run that is not finished, one after another; one that fails stops no other."""
    state = bench.state
    possible = [run for run in runs if state.systems[run.rung.label].error is None]
    left = [run for run in possible if not _finished(folder, run)]
    inputs = sum(map(len, bench.tests.values()))
    watcher.tell(_cost(state, inputs, possible, left))
    for number, run in enumerate(left, 1):
        planned = state.systems[run.rung.label]
        watcher.tell(
            f"[{number}/{len(left)}] {run.rung.label}, seed {run.seed}: "
            f"{_most(state)} {span(planned.seconds)}"
        )
        result = _one(bench, folder, run, watcher)
        rest = sum(state.systems[r.rung.label].seconds for r in left[number:])
        watcher.tell(_said(result, f"{_most(state)} {span(rest)} left" if rest else ""))


def _finished(folder: Path, run: _Run) -> bool:
    found = result_of(Places(folder, run.rung.label, run.seed))
    return found is not None and found.error is None


def _one(bench: Bench, folder: Path, run: _Run, watcher: Watcher) -> Result:
    places = Places(folder, run.rung.label, run.seed)
    planned = bench.state.systems[run.rung.label]
    try:
        with watcher.run() as listen:
            return carry_out(bench, run.rung, planned, places, [_only(listen)])
    except (Interrupted, SaveError):  # a full disk would fail every run that follows
        raise
    except Exception as error:  # one system's fault is no other's
        return failed(places, error)


def _only(listen: Listener) -> Listener:
    """Progress alone: what is told of one run is too much for many."""

    def told(event: Event) -> None:
        if isinstance(event, Step | Done):
            listen(event)

    return told


def _cost(state: State, inputs: int, runs: Sequence[_Run], left: Sequence[_Run]) -> str:
    """What is about to be spent, before it is."""
    seeds = len({run.seed for run in runs})
    systems = len({run.rung.label for run in runs})

    def spent(some: Sequence[_Run]) -> str:
        return span(sum(state.systems[run.rung.label].seconds for run in some))

    ceiling = state.ceiling() or "the rule's epochs"
    said = (
        f"{counted(systems, 'system')} x {counted(seeds, 'seed')} = "
        f"{counted(len(runs), 'run')} of at most {ceiling}: "
        f"{_most(state)} {spent(runs)} of training{_by_pace(state)}, and the scoring of "
        f"{inputs:,} inputs each."
    )
    done = len(runs) - len(left)
    if done:
        said += (
            f" {done} finished before; {_most(state)} {spent(left)} left."
            if left
            else " All are finished."
        )
    return said


def _most(state: State) -> str:
    """With a ceiling by the clock the time is a bound, else an estimate."""
    return "at most about" if state.seconds is not None else "about"


def _by_pace(state: State) -> str:
    return "" if state.seconds is not None else " by the pace just measured, validations apart"


def _said(result: Result, rest: str) -> str:
    left = f"; {rest}" if rest else ""
    if result.error is not None:
        return f"  failed: {result.error}{left}"
    head = next(iter(result.scores.values()))
    return (
        f"  exact match {head['exact_match']:.2%}, CER {head['cer']:.2%}, {result.examples:,} "
        f"examples in {result.seconds:.0f} s{left}"
    )


def _reported(state: State, folder: Path, watcher: Watcher) -> Compared:
    """The table of what there is, and the page beside it."""
    places = [Places(folder, label, seed) for label in state.systems for seed in state.seeds]
    found = [(place, result_of(place)) for place in places]
    results = [result for _, result in found if result is not None]
    test = _tests(folder)
    finished = [place for place, result in found if result is not None and result.error is None]
    speeds = _looked_at(folder, finished, test["sources"], watcher.tell)
    table = table_of(state, results, test["references"], speeds)
    report = write_report(table, results, finished, folder)
    return Compared(table=table, folder=folder, report=report)


def _tests(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / TESTS).read_bytes())
        return found
    except (OSError, ValueError) as error:
        raise ModelFolderError(
            f"{folder / TESTS} is missing or damaged: {error}.",
            hint="the same command without --report writes it again.",
        ) from None


def _looked_at(
    folder: Path, finished: Sequence[Places], sources: Sequence[str], tell: Callable[[str], None]
) -> dict[str, float]:
    """Items a second of one run of each system, measured anew whenever there are other runs."""
    first: dict[str, Places] = {}
    for place in finished:
        if (place.folder / "manifest.json").exists():  # a model may have been taken away
            first.setdefault(place.label, place)
    marks = {
        label: [place.seed, (place.folder / "manifest.json").stat().st_mtime_ns]
        for label, place in first.items()
    }
    path = folder / SPEEDS
    if path.exists():
        known = json.loads(path.read_bytes())
        if known["of"] == marks:
            return dict(known["items_per_second"])
    if not first:
        return {}
    some = list(sources[:: max(1, len(sources) // ITEMS)][:ITEMS])
    tell(f"decoding {len(some)} inputs with each system in turns, on one thread ...")
    models = {label: Translator.load(place.folder) for label, place in first.items()}
    shown = shown_source(sources)
    for label, place in first.items():
        draw(models[label], shown, place)
    speeds = decode_speeds(models, some)
    record = {"of": marks, "items": len(some), "items_per_second": speeds}
    write_whole(path, json.dumps(record).encode())
    return speeds


def shown_source(sources: Sequence[str]) -> str:
    """The test input whose maps are shown: easily read, and in Hangul where there is such."""
    some = sources[:2000]
    return min(some, key=lambda t: (not any("가" <= c <= "힣" for c in t), abs(len(t) - 14)))
