"""``jumok train`` as a user meets it: a file in, events, a folder, a score on what was held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jumok.data.tasks import TaskData
from jumok.interfaces.translator import Translator

Call = Callable[..., Any]
SHORT = ("--model", "luong", "--model.hidden_size", 16, "--training.max_steps", 3)


@pytest.fixture
def pairs(words: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pairs.tsv"
    rows = [f"{s}\t{t}\n" for s, t in words.train.pairs()[:80]]
    path.write_text("".join(rows), encoding="utf-8")
    return path


def test_events_are_lines_and_the_last_has_the_scores(jumok: Call, pairs: Path) -> None:
    ran = jumok("train", "pairs.tsv", *SHORT, "--seed", 5, "--json", "--quiet")
    assert ran.code == 0
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert all(event["schema"] == "jumok/1" for event in events)
    kinds = [event["event"] for event in events]
    assert kinds.count("step") == 3
    assert kinds[-2:] == ["done", "test"]
    assert {"validation", "checkpoint"} <= set(kinds)
    headline = events[-1]["scores"]["test"]
    low, high = headline["exact_match_interval"]
    assert 0 <= low <= headline["exact_match"] <= high <= 1
    assert len(events[-1]["baselines"]) == 3
    model = Translator.load(events[-1]["folder"])
    assert model.run.training.seed == 5
    logged = Path(events[-1]["folder"], "metrics.jsonl").read_text(encoding="utf-8")
    assert '"event": "done"' in logged


def test_people_get_a_table_a_map_and_the_next_command(jumok: Call, pairs: Path) -> None:
    ran = jumok("train", "pairs.tsv", *SHORT, "--out", "runs/mine")
    assert ran.code == 0
    assert "free-running" in ran.out and "copy the source" in ran.out
    assert "strongest source of the row" in ran.out
    assert "the model of step 3 was chosen\nscoring, free-running, and the answers" in ran.said
    assert "model: runs/mine" in ran.said
    assert 'next: jumok inspect runs/mine "' in ran.said
    assert Path("runs/mine/attention.html").exists()


def test_a_folder_is_replaced_only_by_force(jumok: Call, pairs: Path) -> None:
    jumok("train", "pairs.tsv", *SHORT, "--out", "m", "--quiet")
    before = Path("m/manifest.json").read_bytes()
    ran = jumok("train", "pairs.tsv", *SHORT, "--out", "m")
    assert (ran.code, ran.out) == (2, "")
    assert "m exists and is not empty; nothing was changed." in ran.said
    assert Path("m/manifest.json").read_bytes() == before
    forced = jumok("train", "pairs.tsv", *SHORT, "--seed", 9, "--out", "m", "--force", "--quiet")
    assert forced.code == 0
    assert Translator.load("m").run.training.seed == 9
    assert Path("m/metrics.jsonl").read_text(encoding="utf-8").count('"event": "done"') == 1


def test_force_replaces_models_alone(jumok: Call, pairs: Path) -> None:
    Path("thesis").mkdir()
    Path("thesis/chapter.txt").write_text("mine", encoding="utf-8")
    ran = jumok("train", "pairs.tsv", *SHORT, "--out", "thesis", "--force")
    assert (ran.code, ran.out) == (2, "")
    assert "thesis exists and holds other things than a model; nothing was changed." in ran.said
    assert [path.name for path in Path("thesis").iterdir()] == ["chapter.txt"]


def test_the_record_of_a_model_is_a_configuration(jumok: Call, pairs: Path) -> None:
    jumok("train", "pairs.tsv", *SHORT, "--out", "first", "--optim.lr", "0.005", "--quiet")
    jumok("train", "pairs.tsv", "--config", "first/config.toml", "--out", "second", "--quiet")
    assert Translator.load("second").run == Translator.load("first").run
    assert Path("second/model.safetensors").read_bytes() == (
        Path("first/model.safetensors").read_bytes()
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "luongg"), "there is no model called 'luongg'. Did you mean luong"),
        (("--model.hiden_size", "3"), "Did you mean --model.hidden_size?"),
        (("--optim.lr", "fast"), '--optim.lr: expected a number, got "fast".'),
        (("--config", "no.toml"), "no.toml: there is no such configuration file."),
        (("--languages", "ko"), "--languages is for @dates alone."),
        (("--device", "quantum"), "--device 'quantum' is no device."),
        (("--training.choose_by", "rouge"), "validation gives no such score"),
        (("--from", "nowhere"), "nowhere does not exist."),
        (("--training.r_drop", "1", "--model.dropout", "0"), "compares two passes that differ in"),
        (("--training.r_drop", "-1"), "`r_drop` must be 0 (off) or more"),
    ],
)
def test_a_refusal_comes_before_anything_is_written(
    jumok: Call, pairs: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = jumok("train", "pairs.tsv", "--out", "new", "--quiet", *arguments)
    assert ran.code in (2, 4)
    assert said in ran.said
    assert not Path("new").exists()


def test_a_file_that_is_no_pairs_is_told_by_line(jumok: Call, pairs: Path) -> None:
    pairs.write_text("a\tb\n" * 60 + "no tab here\n", encoding="utf-8")
    ran = jumok("train", "pairs.tsv", "--out", "new", "--quiet")
    assert ran.code == 3
    assert "pairs.tsv:61: " in ran.said
    assert not Path("new").exists()
