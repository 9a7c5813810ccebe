"""``jumok tapes`` as a user meets it: a machine trained, scored beyond its tapes, drawn, kept."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from jumok.errors import Interrupted, UsageError
from jumok.interfaces.requests import TapesRequest
from jumok.interfaces.work.tapes import load_tapes, tapes
from jumok.training.events import Event

Call = Callable[..., Any]
SMALL = (
    *("--task.lengths_drawn", "1,3", "--task.bits", 3, "--data.test_rows", 3),
    *("--data.dev_rows", 2, "--data.batch_size", 4, "--quiet"),
)
MACHINE = ("--model.slots", 9, "--model.slot_size", 5, "--model.controller_size", 11)


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def scores_of(out: str) -> dict[str, dict[str, float]]:
    last = json.loads(out.splitlines()[-1])
    assert last["schema"] == "jumok/1" and last["event"] == "test"
    scores: dict[str, dict[str, float]] = last["scores"]
    return scores


@pytest.mark.parametrize(
    "model", [("ntm", *MACHINE), ("lstm", "--model.hidden_size", 7, "--model.num_layers", 2)]
)
def test_a_trained_folder_says_the_same_when_it_is_read_again(
    model: tuple[Any, ...], jumok: Call
) -> None:
    ran = jumok("tapes", "copy", "--model", *model, *SMALL, "--updates", 5, "--json")
    assert ran.code == 0, ran.said
    events = [json.loads(line)["event"] for line in ran.out.splitlines()]
    assert events.count("step") == 5 and events[-2:] == ["done", "test"]
    scores = scores_of(ran.out)
    assert list(scores) == ["as trained", *(f"length {n}" for n in (10, 20, 30, 50, 80, 120))]
    assert 0 < scores["length 10"]["errors"] < scores["length 120"]["errors"] <= 360
    again = jumok("tapes", "runs/copy", "--json")
    assert again.code == 0 and scores_of(again.out) == scores
    assert Path("runs/copy/tape.png").read_bytes().startswith(b"\x89PNG")
    assert jumok("tapes", "runs/copy", "--out", "tape.svg").code == 0
    assert "<svg" in Path("tape.svg").read_text(encoding="utf-8")
    weights = json.loads(again.out.splitlines()[-1])["weights"]
    assert weights == sum(w.numel() for w in load_tapes("runs/copy").network.parameters())


def test_people_get_a_table(jumok: Call) -> None:
    ran = jumok("tapes", "ngrams", *SMALL[4:], *MACHINE, "--task.length", 20, "--updates", 1)
    assert ran.code == 0, ran.said
    head, row = ran.out.splitlines()
    assert head.split("  ")[-3:] == ["bit errors a tape", "cost in bits", "tapes without error"]
    assert row.startswith("as trained") and "(best possible " in row
    assert ran.said.splitlines()[-1:] in ([], ["the picture: runs/ngrams/tape.png"])


def test_seed_and_keys_make_the_run(jumok: Call) -> None:
    scores = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        options = ("--seed", seed, "--updates", 3, "--out", name, "--json")
        scores.append(scores_of(jumok("tapes", "copy", *SMALL, *MACHINE, *options).out))
    assert scores[0] == scores[1] != scores[2]
    record = Path("a/config.toml").read_text(encoding="utf-8")
    assert 'name = "copy"' in record and "lengths_drawn = [1, 3]" in record
    assert load_tapes("a").run.data.seed == 3 and load_tapes("a").run.model.slots == 9


class Stopper:
    """Sends this process a signal after so many updates, as a terminal would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def tell(self, message: str) -> None:
        pass

    def __call__(self, event: Event) -> None:
        if event.kind == "step" and event.step == self.after:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_run_goes_on_with_the_same_bits() -> None:
    keys = {"task.lengths_drawn": "1,3", "task.bits": "3", "data.test_rows": "2"}
    keys |= {"data.dev_rows": "2", "data.batch_size": "4", "model.slots": "9"}
    whole = tapes(TapesRequest(what="copy", out="whole", updates=6, keys=keys), Stopper(0))
    with pytest.raises(Interrupted) as caught:
        tapes(TapesRequest(what="copy", out="cut", updates=6, keys=keys), Stopper(3))
    assert caught.value.hint == "go on with: jumok tapes copy --resume cut"
    for other, message in (
        (
            TapesRequest(what="ngrams", resume="cut"),
            "the task is ngrams, but cut was begun with copy.",
        ),
        (TapesRequest(model="lstm", resume="cut"), "--model is lstm, but cut was begun with ntm."),
        (TapesRequest(seed=3, resume="cut"), "--seed is 3, but cut was begun with 0."),
    ):
        with pytest.raises(UsageError) as refused:
            tapes(other, Stopper(0))
        assert refused.value.message == message
    cut = tapes(TapesRequest(resume="cut"), Stopper(0))
    assert cut.scores == whole.scores
    for one, other in zip(
        cut.tapes.network.parameters(), whole.tapes.network.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_the_papers_own_optimiser(jumok: Call) -> None:
    options = ("--optim.name", "rmsprop", "--optim.lr", "1e-4", "--optim.momentum", 0.9)
    clip = ("--optim.clip_value", 10, "--optim.clip_norm", 0, "--updates", 2)
    assert jumok("tapes", "copy", *SMALL, *MACHINE, *options, *clip).code == 0
    assert load_tapes("runs/copy").run.optim.clip_value == 10


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("tapes", "kopy"), 2, "there is no task on tapes called 'kopy'. Did you mean copy?"),
        (("tapes", "copy", "--model.slotz", 9), 2, "slotz"),
        (("tapes", "copy", "--task.lengths_drawn", "3,1"), 2, "low to high, but is (3, 1)"),
        (("tapes", "copy", "--out", "full"), 2, "full exists and is not empty"),
        (("tapes", "full"), 2, "full is a folder, but not one that jumok tapes has written."),
        (("tapes", "copy", "--resume", "full"), 4, "full: there is no checkpoint in it"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: tuple[Any, ...], code: int, message: str, jumok: Call
) -> None:
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine", encoding="utf-8")
    ran = jumok(*arguments)
    assert ran.code == code and message in ran.said
    assert [path.name for path in Path("full").iterdir()] == ["notes.txt"]


def test_a_model_of_something_else_is_refused(jumok: Call, folder: Path) -> None:
    ran = jumok("tapes", str(folder))
    assert ran.code == 4 and "this is not the record of a model of tapes." in ran.said
    assert jumok("tapes", "copy", *SMALL, *MACHINE, "--updates", 1, "--out", "t").code == 0
    other = jumok("evaluate", "t", "x.tsv")
    assert other.code in (3, 4)
