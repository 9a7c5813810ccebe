"""The ladder: equal sizes by number, runs that go on after a kill, one table, kept rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jumok.alignment.gold import agreement
from jumok.data.tasks import TaskData
from jumok.errors import DataError, Interrupted, UsageError
from jumok.evaluation import compare as compare_outputs
from jumok.evaluation import wilson
from jumok.evaluation.comparison import compare_counts
from jumok.evaluation.statistics import measure
from jumok.interfaces.comparing import climb, run
from jumok.interfaces.comparing.climb import Compared, compare
from jumok.interfaces.comparing.curve import Curve
from jumok.interfaces.comparing.lines import lines
from jumok.interfaces.comparing.run import Places, Result, result_of
from jumok.interfaces.comparing.state import Planned, State
from jumok.interfaces.comparing.table import table_of
from jumok.interfaces.options import Machine
from jumok.interfaces.requests import CompareRequest, TrainRequest
from jumok.interfaces.translator import Translator
from jumok.models import MODELS
from jumok.recipes.ladder import OTHER_SIZES, RUNGS, Sized, nearest_size, rungs_called
from jumok.training.events import Event, Resumed, Step, Validation

SYSTEMS = ("plain", "luong-location", "transformer")
BUDGET = 9000


class Killed(BaseException):
    """The process is gone: nobody saves anything."""


class Watch:
    """Collects what is told; ``kill``: (run, step) after which all is over."""

    def __init__(self, kill: tuple[int, int] | None = None, error: type = Killed) -> None:
        self.kill, self.error = kill, error
        self.said: list[str] = []
        self.runs = 0

    def tell(self, message: str) -> None:
        self.said.append(message)

    @contextmanager
    def run(self) -> Iterator[Callable[[Event], None]]:
        self.runs += 1

        def listen(event: Event) -> None:
            if isinstance(event, Step) and (self.runs, event.step) == self.kill:
                raise self.error

        yield listen


@pytest.fixture(scope="module")
def asked(words: TaskData, tmp_path_factory: pytest.TempPathFactory) -> CompareRequest:
    """Three systems, two seeds, five updates each."""
    place = tmp_path_factory.mktemp("ladder")
    rows = {
        "train.tsv": words.train.pairs()[:73],
        "dev.tsv": words.dev.pairs()[:7],
        "test.tsv": [*words.test.pairs()[:13], *words.train.pairs()[:5]],
    }
    for name, pairs in rows.items():
        text = "".join(f"{s}\t{t}\n" for s, t in pairs)
        (place / name).write_text(text, encoding="utf-8")
    return CompareRequest(
        data=(str(place / "train.tsv"),),
        dev=(str(place / "dev.tsv"),),
        test=(str(place / "test.tsv"),),
        out=str(place / "whole"),
        systems=SYSTEMS,
        seeds=(0, 3),
        examples=80,
        parameters=BUDGET,
        keys={"data.batch_size": "16", "search.max_length": "7", "training.validate_every": "2"},
        machine=Machine(threads=1, device="cpu"),
    )


@pytest.fixture(scope="module", autouse=True)
def _one_is_experimental() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "transformer", replace(MODELS["transformer"], experimental=True))
        yield


@pytest.fixture(scope="module")
def whole(asked: CompareRequest) -> Compared:
    """The ladder, uninterrupted."""
    return compare(asked, Watch())


def learnt(made: Compared) -> list[dict[str, Any]]:
    """What must not depend on interruptions: all but the clock's."""
    clock = {"seconds", "examples_per_second", "items_per_second"}
    systems = made.table.to_dict()["systems"]
    return [{k: v for k, v in row.items() if k not in clock} for row in systems]


def scores_on_the_way(folder: Path) -> list[list[tuple[int, int, float]]]:
    found = []
    for label in SYSTEMS:
        for seed in (0, 3):
            result = result_of(Places(folder, label, seed))
            assert result is not None
            found.append([(p.step, p.examples, p.score) for p in result.points])
    return found


# --- sizes --------------------------------------------------------------------------------


def test_every_model_is_on_the_ladder_and_nothing_else() -> None:
    assert {rung.model for rung in RUNGS} | set(OTHER_SIZES) == set(MODELS)
    labels = [rung.label for rung in RUNGS]
    assert len(set(labels)) == len(labels)
    assert {label for label in labels if label.startswith("luong-")} >= {
        f"luong-{name}"
        for name in (
            *("dot", "general", "concat", "location", "scaled", "learned-scale"),
            *("local-m", "local-p", "fast"),
        )
    }


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.label)
def test_the_keys_of_every_rung_are_keys_of_its_model(rung: Any) -> None:
    known = MODELS[rung.model].config.__dataclass_fields__
    assert {key.removeprefix("model.") for key in rung.keys(16, 9)} <= set(known)


@pytest.mark.parametrize(("budget", "size"), [(1, 3), (400, 12), (560, 15), (20_000, 99)])
def test_the_nearest_size_by_number(budget: int, size: int) -> None:
    """n(h) = 2 h^2 + 7 h, in multiples of 3: the nearest of all of them, found by trying few."""

    def count(h: int) -> int:
        tried.append(h)
        return 2 * h * h + 7 * h

    tried: list[int] = []
    nearest = min(range(3, 300, 3), key=lambda h: abs(2 * h * h + 7 * h - budget))
    assert nearest == size
    assert nearest_size(count, budget, 3) == Sized(size, 2 * size * size + 7 * size)
    assert len(tried) < 16


def test_sizes_that_a_model_refuses_are_passed_over() -> None:
    def count(h: int) -> int | None:
        return None if h % 8 else 10 * h

    assert nearest_size(count, 235, 2) == Sized(24, 240)
    with pytest.raises(UsageError, match="no hidden size near"):
        nearest_size(lambda h: None, 235, 2)


def test_the_systems_have_equal_sizes_and_the_difference_is_said(whole: Compared) -> None:
    for row in whole.table.rows:
        assert row.off_budget is not None and abs(row.off_budget) < 0.15
        assert row.parameters == pytest.approx(BUDGET * (1 + row.off_budget))
        model = Translator.load(whole.folder / "runs" / row.label / "seed3")
        assert sum(p.numel() for p in model.network.parameters()) == row.parameters
        assert (model.run.training.seed, model.run.data.seed) == (3, 3)
        assert model.run.training.patience is None
        assert model.run.data.batch_size == 16


# --- the table ----------------------------------------------------------------------------


def test_a_row_holds_what_its_runs_came_to(whole: Compared) -> None:
    table = whole.table
    assert (table.inputs, table.headline, table.metric, table.missing) == (
        18,
        "test",
        "exact_match",
        0,
    )
    assert [row.best for row in table.rows] == [True, False, False]
    assert {row.label for row in table.rows} == set(SYSTEMS)
    for row in table.rows:
        runs = [result_of(Places(whole.folder, row.label, seed)) for seed in row.seeds]
        exact = [r.scores["test"]["exact_match"] for r in runs if r]
        assert row.exact_match == pytest.approx(np.mean(exact))
        assert (row.lowest, row.highest) == (min(exact), max(exact))
        assert row.interval == wilson(round(np.mean(exact) * 18), 18)
        assert row.seen is not None and row.unseen is not None
        assert row.exact_match == pytest.approx((5 * row.seen + 13 * row.unseen) / 18)
        assert row.examples is not None and 80 <= row.examples < 80 + 16
        assert row.items_per_second and row.size and row.seconds
        assert (row.attention is None) == (row.label == "plain")
        assert row.attention_kind in (None, "monotonic")
        assert row.experimental == (row.label == "transformer")


def test_distances_are_paired_over_rows_with_all_their_seeds() -> None:
    references = [["ab"], ["cd"], ["ef"], ["gh"]]
    first = [["ab", "cd", "ef", "x"], ["ab", "cd", "x", "gh"]]
    second = [["ab", "x", "x", "x"], ["ab", "cd", "x", "x"]]
    summed = [
        np.sum([measure(run, references).counts_NC for run in runs], axis=0)
        for runs in (first, second)
    ]
    found = compare_counts(*summed).deltas["exact_match"]
    assert (found.first, found.second) == (6 / 8, 3 / 8)
    one = compare_outputs(first[0], second[0], references)
    counts = [measure(runs[0], references).counts_NC for runs in (first, second)]
    assert compare_counts(*counts) == one


def planted_result(label: str, seed: int, outputs: str, **more: Any) -> Result:
    """Four inputs whose reference is "y"; ``outputs`` one letter each."""
    share = outputs.count("y") / 4
    head = {"count": 4, "exact_match": share, "cer": 1 - share, "seen": None, "unseen": None}
    scores = {"test": {**head, "wer": 1 - share, "bleu": 100 * (1 - share), "chrf": 0.0}}
    return Result(label=label, seed=seed, outputs=tuple(outputs), scores=scores, **more)


def planted_state(**more: Any) -> State:
    systems = {
        name: Planned(label=name, model="plain", parameters=n)
        for name, n in (("a", 90), ("b", 105), ("c", 100), ("d", 0))
    }
    systems["d"] = replace(systems["d"], error="no size will do")
    known = dict.fromkeys(("languages", "seconds", "epochs", "examples", "parameters"))
    lists: dict[str, Any] = dict.fromkeys(("data", "dev", "test"), ())
    made = State(**known, **lists, reading={}, keys={}, precision="auto", budget=100, seeds=(0, 1))
    return replace(made, systems=systems, **more)


def test_rows_are_ranked_and_tested_over_all_the_seeds_they_share() -> None:
    results = [
        planted_result("a", 0, "yynn"),
        planted_result("a", 1, "nnnn"),
        planted_result("b", 0, "yynn"),
        planted_result("b", 1, "yyyn"),
        Result(label="c", seed=0, error="out of luck"),
        planted_result("c", 1, "yynn"),
    ]
    table = table_of(planted_state(), results, [["y"]] * 4, {"b": 7.0})
    assert [row.label for row in table.rows] == ["b", "c", "a", "d"]
    b, c, a, d = table.rows
    assert (b.best, b.exact_match, b.lowest, b.highest) == (True, 5 / 8, 0.5, 0.75)
    assert b.off_budget == pytest.approx(0.05) and b.items_per_second == 7.0
    assert a.to_best is not None and (a.to_best.first, a.to_best.second) == (5 / 8, 2 / 8)
    assert c.to_best is not None and (c.to_best.first, c.to_best.second) == (3 / 4, 2 / 4)
    assert (c.seeds, c.error) == ((1,), "out of luck")
    assert (d.exact_match, d.error, d.off_budget) == (None, "no size will do", None)
    assert table.missing == 0
    text = "\n".join(lines(table))
    assert "c: not all seeds: out of luck" in text and "d: nothing to show: no size" in text
    assert [r["to_best"] and r["to_best"]["delta"] for r in table.to_dict()["systems"]] == [
        *(None, -0.25, -0.375, None),
    ]
    by_bleu = table_of(planted_state(choose_by="bleu"), results, [["y"]] * 4, {})
    assert [row.label for row in by_bleu.rows] == ["a", "c", "b", "d"]
    assert table_of(planted_state(), results[:3], [["y"]] * 4, {}).missing == 3


def test_what_it_costs_is_said_before_the_first_run(
    asked: CompareRequest, whole: Compared, tmp_path: Path
) -> None:
    watch = Watch()
    compare(asked, watch)
    told = next(line for line in watch.said if " of at most " in line)
    assert told.startswith("3 systems x 2 seeds = 6 runs of at most 80 examples: about ")
    assert "of training by the pace just measured, validations apart, and the scoring of 18" in told
    assert told.endswith("All are finished.")
    assert watch.runs == 0
    with_clock = replace(asked, out=str(tmp_path / "new"), seconds=30.0, systems=("plain",))
    watch = Watch(kill=(1, 1))
    with pytest.raises(Killed):
        compare(with_clock, watch)
    told = next(line for line in watch.said if " of at most " in line)
    assert told.startswith("1 system x 2 seeds = 2 runs of at most 30 s, 80 examples: at most ")
    assert watch.said.index(told) == len(watch.said) - 2


def test_the_lines_say_what_must_be_said(whole: Compared) -> None:
    wide = lines(whole.table)
    text = "\n".join(wide)
    assert wide[0] == (
        "3 systems of about 9,000 parameters, at most 80 examples each, seeds 0, 3; "
        "73 training pairs, 18 inputs of test."
    )
    for part in (
        "transformer *",
        "* experimental",
        "copy the source",
        "seen",
        "means over the seeds",
    ):
        assert part in text
    assert f"best by highest exact match: {whole.table.rows[0].label}." in text
    narrow = lines(whole.table, 60)
    assert max(map(len, narrow[2 : narrow.index("", 2)])) <= 60
    assert sum(line.startswith("system ") for line in narrow) > 1
    assert sum(line.startswith("system ") for line in wide) == 1


def test_agreement_with_gold_where_the_task_knows_it(trained: Translator, words: TaskData) -> None:
    def attended(data: str) -> Any:
        bench: Any = SimpleNamespace(request=TrainRequest(data=(data,)))
        return run._attended(trained, words.test, bench)

    pairs = words.test.pairs()
    traces = [one.attention.trace for one in trained.score(pairs)]
    gold = [range(len(target))[::-1] for _, target in pairs]
    found = attended("@reverse")
    assert (found.kind, found.rows) == ("gold", len(pairs))
    assert found.value == agreement(traces, gold).attention
    assert found.value > 2 * attended("@copy").value
    assert attended("@dates").kind == attended("words.tsv").kind == "monotonic"


def test_the_command_prints_one_object_and_names_the_page(jumok: Any, whole: Compared) -> None:
    ran = jumok("compare", "--out", whole.folder, "--report", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)
    assert found["schema"] == "jumok/1"
    assert found["ladder"]["budget"] == BUDGET
    assert [row["label"] for row in found["systems"]] == [r.label for r in whole.table.rows]
    assert found["systems"][0]["best"] and found["systems"][0]["to_best"] is None
    assert set(found["systems"][1]["to_best"]) == {"delta", "interval", "p"}
    assert ran.said == f"page: {whole.folder}/report.html\n"
    again = jumok("compare", "--out", whole.folder, "--report", "--quiet")
    assert again.out.startswith("3 systems of about 9,000 parameters") and not again.said
    ran = jumok("compare", "pairs.tsv", "--seeds", "one")
    assert (ran.code, ran.out) == (2, "")
    assert "--seeds 'one': whole numbers with commas are needed, such as 0,1,2." in ran.said


def test_a_model_that_was_taken_away_keeps_its_row(whole: Compared, tmp_path: Path) -> None:
    copied = tmp_path / "out"
    shutil.copytree(whole.folder, copied)
    shutil.rmtree(copied / "runs" / "plain")
    watch = Watch()
    table = compare(CompareRequest(out=str(copied), report=True), watch).table
    plain = next(row for row in table.rows if row.label == "plain")
    assert plain.exact_match is not None and plain.items_per_second is None


# --- going on -----------------------------------------------------------------------------


def step(number: int, seconds: float) -> Step:
    """Ten examples a step."""
    more = {"loss": 1.0, "nll": 1.0, "rate": 1.0, "norm": 1.0, "tokens": 9}
    return Step(step=number, epoch=number / 10, seconds=seconds, **more)  # type: ignore[arg-type]


def scored(number: int, score: float) -> Validation:
    return Validation(
        step=number, epoch=number / 10, scores={"cer": score, "wer": 9.0}, chosen=False
    )


def test_a_curve_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "new" / "curve.json"
    told = Curve(path, rows=100, score="cer")
    for event in (step(1, 3.0), step(2, 3.5), scored(2, 0.9), step(3, 9.0), step(4, 10.0)):
        told(event)
    told(scored(4, 0.7))
    assert told.pace() == pytest.approx(20 / 1.5)  # two of four: the first, and after scoring
    again = Curve(path, rows=100, score="cer")
    assert [(p.step, p.examples, p.score) for p in again.points] == [(2, 20, 0.9), (4, 40, 0.7)]
    assert again.pace() == told.pace()
    again(Resumed(step=2, folder="x"))
    assert [p.step for p in again.points] == [2]
    assert again.pace() == pytest.approx(10 / 0.5)
    again(step(3, 4.0))
    again(scored(3, 0.8))
    again(Resumed(step=3, folder="x"))
    again(scored(3, 0.6))  # the same once more: the run was killed before it was saved
    assert [(p.step, p.score) for p in again.points] == [(2, 0.9), (3, 0.6)]
    assert again.points[-1].seconds >= again.points[0].seconds >= 3.5
    anew = Curve(path, rows=100, score="cer")
    anew(step(1, 0.5))  # there was no checkpoint
    assert anew.points == [] and anew.pace() is None


@pytest.mark.parametrize("kill", [(1, 1), (4, 3)])
def test_a_killed_ladder_goes_on_to_the_same_table(
    asked: CompareRequest, whole: Compared, kill: tuple[int, int], tmp_path: Path
) -> None:
    again = replace(asked, out=str(tmp_path / "out"))
    with pytest.raises(Killed):
        compare(again, Watch(kill))
    watch = Watch()
    made = compare(again, watch)
    assert watch.runs == 7 - kill[0]
    assert learnt(made) == learnt(whole)
    assert scores_on_the_way(made.folder) == scores_on_the_way(whole.folder)


def test_killed_between_training_and_scoring_nothing_is_trained_twice(
    asked: CompareRequest, whole: Compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = replace(asked, out=str(tmp_path / "out"), systems=("plain",), seeds=(3,))

    def dies(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("jumok.interfaces.comparing.run.evaluate_model", dies)
        with pytest.raises(Killed):
            compare(again, Watch())
    compare(again, Watch(kill=(1, 1)))  # not one step is made
    places = [Places(folder, "plain", 3) for folder in (tmp_path / "out", whole.folder)]
    now, then = map(result_of, places)
    assert now and then
    assert (now.outputs, now.scores, now.examples) == (then.outputs, then.scores, then.examples)


def test_an_interrupted_ladder_says_how_to_go_on(asked: CompareRequest, tmp_path: Path) -> None:
    again = replace(asked, out=str(tmp_path / "out"), systems=("plain",))
    with pytest.raises(Interrupted) as caught:
        compare(again, Watch((2, 1), KeyboardInterrupt))
    assert str(caught.value) == (
        "stopped. What is finished is kept.\n"
        f"  hint: go on with: jumok compare --out {tmp_path}/out"
    )
    bare = CompareRequest(out=again.out, machine=again.machine)
    partial = compare(replace(bare, report=True), Watch())
    assert partial.table.missing == 1
    assert partial.table.rows[0].seeds == (0,)
    made = compare(bare, Watch())
    assert made.table.rows[0].seeds == (0, 3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"examples": 90}, "was begun with --examples 80 and now has --examples 90"),
        ({"seconds": 9.0}, "was begun with no --time and now has --time 9s"),
        ({"parameters": 77}, "was begun with --parameters 9000 and now has --parameters 77"),
        (
            {"keys": {"optim.lr": "1"}},
            "--training.validate_every 2 and now has --optim.lr 1",
        ),
        ({"systems": ("luong-dott",)}, "no system called 'luong-dott' on the ladder. Did you mean"),
        (
            {"keys": {"model.dropout": "0"}},
            "--model.dropout: each system of the ladder has its own",
        ),
        ({"keys": {"training.seed": "1"}}, "--training.seed: the ladder has --seeds for that."),
        ({"examples": 0}, "--examples (0) must be above 0."),
        ({"keys": {"optim.lrr": "1"}}, "and now has --optim.lrr 1"),
        ({"data": ("-",)}, "so not from standard input"),
    ],
)
def test_what_does_not_fit_the_ladder_is_refused(
    asked: CompareRequest, whole: Compared, changed: dict[str, Any], said: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")}
    with pytest.raises(UsageError) as caught:
        compare(replace(asked, **changed), Watch())
    assert said in str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")} == before


def test_other_data_and_other_folders_are_refused(
    asked: CompareRequest, whole: Compared, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="not the pairs that this ladder was begun with"):
        compare(replace(asked, data=asked.dev), Watch())
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists and holds no ladder; nothing was changed"):
        compare(replace(asked, out=str(tmp_path)), Watch())
    with pytest.raises(UsageError, match="holds no ladder to report on"):
        compare(replace(asked, out=str(tmp_path / "none"), report=True), Watch())
    wrong = replace(asked, out=str(tmp_path / "new"), keys={"optim.lrr": "1"})
    with pytest.raises(UsageError, match="Did you mean --optim.lr"):
        compare(wrong, Watch())
    assert not (tmp_path / "new").exists()


def test_a_system_that_fails_keeps_its_row_and_stops_no_other(
    asked: CompareRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = climb.carry_out

    def fails(bench: Any, rung: Any, *rest: Any) -> Any:
        if rung.label == "plain":
            raise RuntimeError("out of luck")
        return real(bench, rung, *rest)

    again = replace(asked, out=str(tmp_path), systems=("plain", "luong-location"), seeds=(0,))
    with monkeypatch.context() as patch:
        patch.setattr(climb, "carry_out", fails)
        made = compare(again, Watch())
    rows = made.table.rows
    assert [row.label for row in rows] == ["luong-location", "plain"]
    assert rows[1].error == "RuntimeError: out of luck"
    assert rows[1].exact_match is None
    assert "RuntimeError: out of luck" in made.report.read_text(encoding="utf-8")
    json.dumps(made.table.to_dict(), allow_nan=False)
    watch = Watch()
    assert compare(again, watch).table.rows[1].error is None
    assert watch.runs == 1


def test_a_rung_is_named_as_it_stands() -> None:
    assert [r.label for r in rungs_called(["transformer", "plain"])] == ["plain", "transformer"]
    with pytest.raises(UsageError, match="no system is named"):
        rungs_called([])
