"""docs/own-model.md is what works: its model trains, is read back, obeys the laws."""

from __future__ import annotations

import importlib
import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jumok
from jumok.checks.own import assert_lawful
from jumok.errors import JumokError, ModelFolderError, UsageError
from jumok.interfaces.cli.frame import run as run_command
from jumok.interfaces.own_models import own_models
from jumok.models import MODELS, Entry, with_own

PAGE = Path(__file__).parents[2] / "docs" / "own-model.md"


def block(name: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"<!-- test: {re.escape(name)} -->\n```\w*\n(.*?)```", text, re.S)
    assert found, name
    return found[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with mine.py, which Python can import."""
    path = tmp_path_factory.mktemp("own")
    (path / "mine.py").write_text(block("mine.py"), encoding="utf-8")
    sys.path.insert(0, str(path))
    yield path
    sys.path.remove(str(path))
    for name in ("mine", "jumok_own_mine"):
        sys.modules.pop(name, None)


@pytest.fixture
def command(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """A command line run in that folder: exit code, standard output, standard error."""
    monkeypatch.chdir(place)

    def ran(line: str) -> tuple[int, str, str]:
        words = line.split("<")[0].split()[1:]
        try:
            code, error = run_command(words), ""
        except JumokError as found:
            code, error = found.exit_code, str(found)
        shown = capsys.readouterr()
        return code, shown.out, shown.err + error

    return ran


def test_the_commands_run_as_printed(
    place: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, translate, inspect, verify = block("commands").splitlines()
    code, _, said = command(train)
    assert code == 0, said
    assert "model mine: as asked" in said or "mine" in said
    config = (place / "runs/mine/config.toml").read_text()
    assert 'name = "mine"' in config and "mine.py" not in config and str(place) not in config
    files = [p.read_bytes() for p in (place / "runs/mine").rglob("*") if p.is_file()]
    assert not any(b"mine.py" in data for data in files), "no file of a folder names code"
    lines = io.BufferedReader(io.BytesIO(b"abcd\n\nba\n"))  # type: ignore[arg-type]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(lines, encoding="utf-8"))
    code, out, said = command(translate)
    assert code == 0 and out.count("\n") == 3, said
    code, out, said = command(inspect)
    assert code == 0 and "abcd" in out, said
    code, out, said = command(verify)
    assert code == 0 and "fail" not in out, out + said
    code, _, said = command("jumok train --resume runs/mine --model-file mine.py "
                            "--training.max_steps 32")  # fmt: skip
    assert code == 0, said
    for ask in ("score runs/mine few.tsv", "evaluate runs/mine few.tsv", "align runs/mine few.tsv"):
        (place / "few.tsv").write_text("abc\tcba\nde\ted\n")
        code, _, said = command(f"jumok {ask} --model-file mine.py")
        assert code == 0, said
    code, _, said = command("jumok train few.tsv --dev few.tsv --from runs/mine --out runs/more "
                            "--model-file mine.py --training.max_steps 2")  # fmt: skip
    assert code == 0, said


def test_without_its_code_a_folder_is_refused_and_says_what_is_missing(
    place: Path, command: Callable[..., Any]
) -> None:
    if not (place / "runs/mine").exists():
        assert command(block("commands").splitlines()[0])[0] == 0
    code, _, said = command("jumok inspect runs/mine abc")
    assert code == 4
    assert "this model folder needs the model 'mine'" in said and "--model-file" in said
    with pytest.raises(ModelFolderError, match="needs the model 'mine'"):
        jumok.load_model(place / "runs/mine")


def test_the_python_runs_as_printed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    names: dict[str, Any] = {}
    exec(compile(block("python"), "own-model.md", "exec"), names)
    assert names["model"].name == "mine"
    assert names["model"].network.config.hidden_size == 32
    assert "mine" not in MODELS, "nothing is registered behind one's back"


def test_the_model_obeys_every_law_as_printed(place: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(block("laws"), "own-model.md", "exec"), names)
    names["test_mine_obeys_every_law"]()


def test_a_model_that_looks_at_padding_is_told_so(place: Path) -> None:
    mine = importlib.import_module("mine")

    class Peeking(mine.Mine):  # type: ignore[name-defined,misc]
        def start(self, encoded: Any) -> Any:
            return mine.MineState(d_BH=encoded.h_BSH[:, -1])

    with pytest.raises(AssertionError, match="(?s)laws are broken.*padding: largest difference"):
        assert_lawful(Peeking, mine.MineConfig(hidden_size=5, embedding_size=3))


@pytest.mark.nightly
def test_the_model_learns(place: Path) -> None:
    mine = importlib.import_module("mine")
    words = jumok.tasks.reverse(400, 0, lengths=(2, 4), dev=50, test=100)
    model = jumok.build(
        ("mine", mine.MineConfig, mine.Mine),
        words.train,
        hidden_size=48,
        dropout=0.0,
        optim={"lr": 1e-2},
        training={"max_steps": 300, "validate_every": 100, "max_epochs": None},
    )
    jumok.fit(model, words.train, words.dev)
    assert jumok.evaluate(model, words.test).exact_match > 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file"),
        ("x = 1\n", "has no MODELS"),
        ("MODELS = {}\n", "has no MODELS"),
        ("x = 1\nraise ValueError('oh')\n", r"bad\.py:2: ValueError: oh"),
        ("def f(:\n", r"bad\.py:1: SyntaxError"),
        ("MODELS = {'mine': 3}\n", "must be a configuration class and a model class, not 3"),
        ("class C: pass\nMODELS = {'mine': (C, C)}\n", "is no dataclass"),
        (
            "from jumok.models import MODELS as M\nMODELS = {'luong': (M['plain'].config, int)}\n",
            "'luong' is a model of jumok's own",
        ),
    ],
)
def test_a_file_that_is_no_model_says_what_is_wrong(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=message):
        own_models(str(path))


def test_several_models_in_a_file_are_named(command: Callable[..., Any], place: Path) -> None:
    two = block("mine.py") + 'MODELS["other"] = (MineConfig, Mine)\n'
    (place / "two.py").write_text(two, encoding="utf-8")
    code, _, said = command("jumok train @reverse --model-file two.py")
    assert code == 2 and "--model names one of them: mine, other" in said
    code, _, said = command("jumok train @reverse --model-file two.py --model othr")
    assert code == 2 and "Did you mean other?" in said
    code, _, said = command("jumok train @reverse --model-file two.py --model other --model.hid 3")
    assert code == 2 and "hidden_size" in said


def test_an_entry_of_ones_own_may_say_more() -> None:
    config = MODELS["pointer"].config
    mine = Entry(config, MODELS["pointer"].model, "my pointer", copies=True)
    assert with_own({"mine": mine})["mine"].copies
