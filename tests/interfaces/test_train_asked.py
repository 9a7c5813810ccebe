"""What ``jumok train`` is told: refused before data are read, held out only where it is meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jumok.data.tasks import TaskData
from jumok.errors import MissingExtraError
from jumok.interfaces.fitting import SCORES, validator
from jumok.interfaces.requests import TrainRequest
from jumok.interfaces.translator import Translator
from jumok.interfaces.work import running
from jumok.interfaces.work.planning import ask
from jumok.training.events import Step

Call = Callable[..., Any]
SHORT = ("--model", "luong", "--model.hidden_size", 8, "--model.embedding_size", 4)
SHORT += ("--training.max_steps", 2, "--threads", 1)


def table(path: Path, pairs: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f"{s}\t{t}\n" for s, t in pairs), encoding="utf-8")
    return path


@pytest.fixture
def pairs(words: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "dev.tsv", words.dev.pairs()[:11])
    return table(tmp_path / "pairs.tsv", words.train.pairs()[:73])


WRONG = [
    (("--model.hiden_size", "3"), "Did you mean --model.hidden_size?"),
    (("--model", "luong", "--optim.hidden_size", "3"), "hidden_size belongs to [model]"),
    (("--training.max_steps", "many"), "--training.max_steps: expected a whole number"),
    (("--model", "luongg"), "there is no model called 'luongg'"),
    (("--training.choose_by", "rouge"), "--training.choose_by rouge: validation gives no such"),
    (("--device", "quantum"), "--device 'quantum' is no device."),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_what_is_wrong_without_data_is_told_before_they_are_read(
    jumok: Call, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """The file does not even exist: a key is refused all the same."""
    ran = jumok("train", tmp_path / "no.tsv", *arguments)
    assert ran.code == 2
    assert said in ran.said


def test_so_is_a_wrong_key_of_a_file(
    jumok: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text("[model]\nhiden_size = 3\n", encoding="utf-8")
    ran = jumok("train", "no.tsv", "--config", "my.toml")
    assert "my.toml: unknown key model.hiden_size. Did you mean model.hidden_size?" in ran.said


def test_a_unit_in_the_file_counts_as_one_on_the_command_line(jumok: Call, pairs: Path) -> None:
    Path("my.toml").write_text('[data]\nsource_unit = "word"\n', encoding="utf-8")
    ran = jumok("train", "pairs.tsv", *SHORT, "--config", "my.toml", "--out", "m")
    assert "source symbols: word, as asked." in ran.said
    assert "target symbols: character, because" in ran.said
    assert "over that, as asked: --model.hidden_size 8, " in ran.said
    assert ", what my.toml says." in ran.said


def test_an_error_rate_is_chosen_where_it_is_lowest(jumok: Call, pairs: Path) -> None:
    chosen = ("--training.choose_by", "cer")
    assert jumok("train", "pairs.tsv", *SHORT, *chosen, "--out", "m", "--quiet").code == 0
    assert Translator.load("m").run.training.lower_is_better


def test_the_names_of_scores_are_those_that_validation_gives(
    trained: Translator, words: TaskData
) -> None:
    assert tuple(validator(trained, words.dev[:3])(trained.network)) == SCORES
    assert ask(TrainRequest(keys={"training.choose_by": "chrf"})).name is None


def test_with_dev_and_no_test_nothing_is_held_out_and_the_score_is_called_devs(
    jumok: Call, pairs: Path
) -> None:
    ran = jumok("train", "pairs.tsv", "--dev", "dev.tsv", *SHORT, "--out", "m")
    assert ran.code == 0
    assert "pairs.tsv: 73 rows" in ran.said
    assert "no test set: nothing is held out, and the score at the end is that of --dev" in ran.said
    assert "dev (it chose the model) 11 " in " ".join(ran.out.split())
    card = Path("m/card.md").read_text(encoding="utf-8")
    assert "on 73 pairs" in card and "on dev, no test set." in card


def test_events_call_it_dev_too(jumok: Call, pairs: Path) -> None:
    ran = jumok("train", "pairs.tsv", "--dev", "dev.tsv", *SHORT, "--json", "--quiet")
    assert list(json.loads(ran.out.splitlines()[-1])["scores"]) == ["dev (it chose the model)"]


LONG = ("--data.max_source", 5)


def test_a_long_text_of_dev_is_refused_by_line_before_the_first_step(
    jumok: Call, pairs: Path
) -> None:
    table(pairs, [(f"a{n}", "b") for n in range(73)])
    table(Path("dev.tsv"), [("x", "a"), ("abcdefgh", "b"), ("y", "abcdefghijk")])
    ran = jumok("train", "pairs.tsv", "--dev", "dev.tsv", *SHORT, *LONG, "--out", "m")
    assert ran.code == 3
    assert "dev.tsv:2: the source has 9 symbols with its end, more than --data.max_source (5)." in (
        ran.said
    )
    assert "--data.on_long drop leaves such pairs out (1 of 3 pairs here)" in ran.said
    assert not Path("m").exists()


def test_a_long_text_of_dev_is_left_out_and_counted_where_that_is_asked(
    jumok: Call, pairs: Path
) -> None:
    table(pairs, [(f"a{n}", "b") for n in range(73)] + [("abcdefg", "b")])
    table(Path("dev.tsv"), [("x", "a"), ("abcdefgh", "b"), ("y", "abcdefghijk")])
    long = (*LONG, "--data.on_long", "drop", "--out", "m")
    ran = jumok("train", "pairs.tsv", "--dev", "dev.tsv", *SHORT, *long)
    assert ran.code == 0, ran.said
    assert "dev.tsv: 1 of 3 pairs is too long for the model and left out" in ran.said
    assert "the first: dev.tsv:2, a source of 9 symbols (--data.max_source)" in ran.said
    assert "pairs.tsv: 1 of 74 pairs is too long" in ran.said
    assert "dev (it chose the model) 2 " in " ".join(ran.out.split())


def test_a_long_text_of_train_is_named_by_its_line_in_the_file(jumok: Call, pairs: Path) -> None:
    table(pairs, [(f"a{n}", "b") for n in range(73)] + [("c", "abcdefg")])
    long = ("--data.max_target", 5, "--out", "m")
    ran = jumok("train", "pairs.tsv", "--dev", "dev.tsv", *SHORT, *long)
    assert ran.code == 3
    assert "pairs.tsv:74: the target has 8 symbols with its end" in ran.said


@pytest.fixture
def model(jumok: Call, pairs: Path) -> str:
    assert jumok("train", "pairs.tsv", *SHORT, "--out", "old", "--quiet").code == 0
    return "old"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "old", "--model", "plain"), "--model does not go together with --from: model"),
        (("--from", "old", "--config", "x.toml"), "--config does not go together with --from"),
        (("--from", "old", "--model.hidden_size", 16), "the weights of old do not fit such a mod"),
        (("--from", "old", "--data.source_unit", "word"), "units and vocabulary are those of old"),
        (("--from", "old", "--optim.lrr", 1), "Did you mean --optim.lr?"),
        (("--resume", "old", "--from", "old"), "--from does not go together with --resume"),
        (("--resume", "old", "--model", "plain"), "--model does not go together with --resume"),
        (("--resume", "old", "--out", "new"), "model (luong), configuration and folder are those"),
        (("--resume", "nowhere"), "nowhere does not exist."),
    ],
)
def test_what_a_run_that_goes_on_has_already_is_not_asked_for_otherwise(
    jumok: Call, model: str, arguments: tuple[object, ...], said: str
) -> None:
    ran = jumok("train", "no.tsv", *arguments)
    assert ran.code in (2, 4)
    assert said in ran.said


def test_what_it_has_may_be_repeated(jumok: Call, model: str) -> None:
    same = ("--model", "luong", "--model.hidden_size", 8, "--training.max_steps", 1)
    assert jumok("train", "pairs.tsv", "--from", "old", *same, "--out", "new").code == 0


def test_a_file_in_the_place_of_the_folder_is_refused_before_training(
    jumok: Call, pairs: Path
) -> None:
    ran = jumok("train", "pairs.tsv", *SHORT, "--out", "dev.tsv")
    assert (ran.code, ran.out) == (2, "")
    assert "dev.tsv is a file; a model is a folder. Nothing was changed." in ran.said


def test_what_a_failed_start_leaves_does_not_stand_in_the_way(jumok: Call, pairs: Path) -> None:
    """A full disk at the first checkpoint: the same command can be given again."""
    Path("m/checkpoints").mkdir(parents=True)
    Path("m/metrics.jsonl").write_text('{"event": "step"}\n', encoding="utf-8")
    assert jumok("train", "pairs.tsv", *SHORT, "--out", "m").code == 0
    assert Path("m/metrics.jsonl").read_text(encoding="utf-8").count('"event": "done"') == 1
    Path("n/checkpoints/step-00000001").mkdir(parents=True)
    assert "n exists and is not empty" in jumok("train", "pairs.tsv", *SHORT, "--out", "n").said


def test_a_run_on_standard_input_wants_it_again(
    jumok: Call, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = pairs.read_text(encoding="utf-8")
    assert jumok("train", "-", *SHORT, "--out", "m", stdin=text).code == 0
    again = ("train", "--resume", "m", "--training.max_steps", 3)
    assert jumok(*again, stdin=text).code == 0
    monkeypatch.setattr(running, "at_terminal", lambda: True)
    ran = jumok(*again)
    assert ran.code == 2
    assert "m is trained on standard input, which has to be given again." in ran.said
    assert "jumok train --resume m < FILE" in ran.said


def test_the_seconds_before_an_interruption_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 107.0, 110.0])
    monkeypatch.setattr(running.time, "monotonic", lambda: next(now))
    clock = running._Clock()
    rest = {"loss": 1.0, "nll": 1.0, "rate": 1.0, "norm": 1.0, "tokens": 1}
    clock(Step(step=41, epoch=1.0, seconds=2007.0, **rest))
    assert clock.seconds() == 2010.0


def test_learning_pieces_is_announced(jumok: Call, pairs: Path) -> None:
    """With a million pairs it takes minutes in which nothing else is said."""
    sizes = ("--data.source_unit", "bpe", "--data.source_size", 40)
    ran = jumok("train", "pairs.tsv", "--dev", "dev.tsv", *SHORT, *sizes, "--out", "m")
    assert ran.code == 0, ran.said
    assert "learning the pieces of 73 pairs ..." in ran.said
    plain = jumok("train", "pairs.tsv", "--dev", "dev.tsv", *SHORT, "--out", "n")
    assert "learning" not in plain.said


@pytest.mark.parametrize(("limit", "told"), [(0.02, True), (1000.0, False)])
def test_a_limit_below_one_epoch_is_told_with_what_may_help(
    jumok: Call, pairs: Path, limit: float, told: bool
) -> None:
    limits = ("--training.max_steps", "none", "--training.max_epochs", limit)
    ran = jumok("train", "pairs.tsv", *SHORT[:-4], *limits, "--training.time_limit", 0.5)
    assert ran.code == 0, ran.said
    assert ("% of an epoch: a smaller --model.hidden_size" in ran.said) is told


def test_ctrl_c_while_scoring_loses_nothing_and_says_how_to_go_on(
    jumok: Call, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(running, "end_run", stopped)
        ran = jumok("train", "pairs.tsv", *SHORT, "--out", "m")
    assert ran.code == 130
    assert "stopped while it was scored; the trained model is saved in m/checkpoints." in ran.said
    assert "jumok train --resume m" in ran.said
    assert jumok("train", "--resume", "m").code == 0
    assert jumok("train", "pairs.tsv", *SHORT, "--out", "n").code == 0
    weights = [Path(name, "model.safetensors").read_bytes() for name in ("m", "n")]
    assert weights[0] == weights[1]


def test_tensorboard_gets_the_events_of_a_run(
    jumok: Call, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[Path, str]] = []
    monkeypatch.setattr(
        running, "tensorboard", lambda folder: lambda event: heard.append((folder, event.kind))
    )
    ran = jumok("train", "pairs.tsv", *SHORT, "--out", "m", "--tensorboard", "board")
    assert ran.code == 0
    assert {folder for folder, _ in heard} == {Path("board")}
    assert {"step", "validation", "done"} <= {kind for _, kind in heard}


def test_a_missing_tensorboard_is_told_before_data_are_read(
    jumok: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(folder: Path) -> None:
        raise MissingExtraError("tensorboard", "track", "writing for TensorBoard")

    monkeypatch.setattr(running, "tensorboard", missing)
    ran = jumok("train", tmp_path / "no.tsv", "--tensorboard", tmp_path / "board")
    assert ran.code == 5
    assert "pip install 'jumok[track]'" in ran.said
