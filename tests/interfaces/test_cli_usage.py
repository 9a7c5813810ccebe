"""The command line's frame: help, did-you-mean, exit codes, keys; nothing here needs a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jumok.errors import JumokError, ModelFolderError, UsageError
from jumok.interfaces.cli.app import COMMANDS, examples, make_app
from jumok.interfaces.cli.frame import run
from jumok.interfaces.cli.groups import one_or_two, seconds
from jumok.interfaces.cli.keys import take_keys
from jumok.interfaces.cli.models import captions

SRC = Path(__file__).parent.parent.parent / "src"


def jumok(*arguments: str, stdin: str = "", cwd: Path | None = None, **environment: str):
    """``python -m jumok`` as a user would start it."""
    env = {**os.environ, "PYTHONPATH": str(SRC), **environment}
    command = [sys.executable, "-m", "jumok", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, env=env, cwd=cwd, check=False
    )


def error(*arguments: str) -> str:
    with pytest.raises(JumokError) as caught:
        run(arguments)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_shows_two_examples_of_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert len(examples(name)) == 2
    for line in examples(name):
        assert f"\n  {line}" in shown
        assert line.split()[:2] == ["jumok", name]


def test_help_lists_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    alone = capsys.readouterr().out
    assert run(["--help"]) == 0
    assert capsys.readouterr().out == alone
    places = [alone.index(f"│ {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert "130 interrupted" in " ".join(alone.split())


def test_help_of_train_names_the_way_to_all_keys(capsys: pytest.CaptureFixture[str]) -> None:
    run(["train", "--help"])
    assert "jumok init" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_says_what_it_is(name: str) -> None:
    collection = make_app(name)[name].assemble_argument_collection(parse_docstring=True)
    mute = [a.name for a in collection if a.parameter.parse and a.show and not a.parameter.help]
    assert not mute


@pytest.mark.parametrize("name", ["train", "init"])
def test_help_lists_every_model_with_its_caption(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read from the registry's source without importing it, so that help stays quick."""
    from jumok.models import MODELS

    assert captions() == {k: (entry.about, entry.experimental) for k, entry in MODELS.items()}
    run([name, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for model, entry in MODELS.items():
        mark = " (experimental)" if entry.experimental else ""
        assert f"{model} {entry.about}{mark}" in shown


def test_help_lists_every_system_of_the_ladder(capsys: pytest.CaptureFixture[str]) -> None:
    from jumok.recipes.ladder import RUNGS

    run(["compare", "--help"])
    listed = capsys.readouterr().out.split("Systems (* experimental):")[1].split("Examples:")[0]
    marked = {name for name, (_, experimental) in captions().items() if experimental}
    wanted = [rung.label + "*" * (rung.model in marked) for rung in RUNGS]
    assert " ".join(listed.split()).split(", ") == wanted


def test_a_text_in_the_place_of_a_file_is_answered_with_the_way_to_give_one() -> None:
    said = error("translate", "runs/none", "it's 값")
    assert said == (
        "it's 값: there is no such file.\n"
        "  hint: for one text: echo 'it'\"'\"'s 값' | jumok translate runs/none"
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from jumok.interfaces.cli.frame import run\n"
        f"for name in {['', *COMMANDS]!r}: run([*name.split(), '--help'])\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'babel'} & set(sys.modules)\n"
        "print(*sorted(heavy), file=sys.stderr)"
    )
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_help_is_quick() -> None:
    """0.2 s on a machine that does nothing else; processor time, so that others do not count."""
    code = "import resource, subprocess, sys\n" + (
        "for _ in range(3):\n"
        "    a = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "    subprocess.run([sys.executable, '-m', 'jumok', 'train', '--help'],\n"
        "                   stdout=subprocess.DEVNULL, check=True)\n"
        "    b = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "    print(b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    )
    # Twice the figure that is measured by hand, for slower machines.
    assert min(map(float, done.stdout.split())) < 0.4


def test_a_misspelt_command_or_option_is_answered_with_the_nearest() -> None:
    assert 'Did you mean "train"?' in error("trian")
    assert error("translate", "m", "--baem", "3").startswith(
        "unknown option: --baem. Did you mean --beam?\n  hint: jumok translate --help"
    )
    assert 'Did you mean "auto"?' in error("data", "x", "--header", "aut")


def test_a_key_without_its_section_is_told_its_whole_name() -> None:
    assert error("train", "x.tsv", "--lr", "3").startswith(
        "unknown option: --lr. Did you mean --optim.lr?\n  hint: jumok train --help"
    )
    assert "Did you mean --model.hidden_size?" in error("init", "--hidden-size=3")
    assert "Did you mean --training.seed or --search.seed?" not in error("train", "--sed", "3")


def test_a_wrong_value_or_a_missing_argument_is_named() -> None:
    assert "MODEL" in error("translate")
    assert 'unable to convert "x" into int' in error("translate", "m", "--beam", "x")
    assert error("train", "--time", "soon").startswith("--time 'soon' is no length of time.")
    assert error("train", "a", "b", "c").startswith(
        "the data is one file of pairs or two parallel files, but 3 were given: a, b, c."
    )
    assert "--batch-size (0) must be at least 1." in error("translate", "m", "--batch-size", "0")


def test_align_without_a_model_or_with_half_of_what_it_needs_says_so() -> None:
    assert error("align").startswith("whose attention?")
    assert error("align", "--links", "x").startswith("--links scores given links")


def test_inspect_without_a_text_has_nothing_to_write() -> None:
    assert error("inspect", "m", "--out", "x.html").startswith("which text?")


def test_keys_are_refused_by_commands_that_have_none() -> None:
    assert error("align", "m", "x", "--optim.lr", "3").startswith(
        "jumok align has no configuration keys, so not --optim.lr."
    )


def test_keys_are_taken_out_wherever_they_stand() -> None:
    line = ["train", "--model.hidden_size", "256", "x.tsv", "--optim.lr=3e-4", "--seed", "1"]
    assert take_keys(line) == (
        ["train", "x.tsv", "--seed", "1"],
        {"model.hidden_size": "256", "optim.lr": "3e-4"},
    )
    assert take_keys(["--data.min-count=2"])[1] == {"data.min_count": "2"}
    assert take_keys(["--optim.lr", "-1"])[1] == {"optim.lr": "-1"}
    assert take_keys(["--data.sep="])[1] == {"data.sep": ""}


def test_what_follows_two_dashes_is_text() -> None:
    assert take_keys(["inspect", "m", "--", "--a.b", "c"]) == (
        ["inspect", "m", "--", "--a.b", "c"],
        {},
    )


@pytest.mark.parametrize("text", ["--out", "--3.4", "--a.", "-a.b", "a.b", "--a..b", "1994.9.27"])
def test_what_is_no_dotted_key_stays(text: str) -> None:
    assert take_keys([text]) == ([text], {})


def test_a_key_without_value_or_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="--a.b needs a value"):
        take_keys(["--a.b"])
    with pytest.raises(UsageError, match="--a.b needs a value"):
        take_keys(["--a.b", "--seed", "3"])
    with pytest.raises(UsageError, match="--a.b is given twice"):
        take_keys(["--a.b", "1", "--a.b=2"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("0.5m", 30)],
)
def test_lengths_of_time_are_read(text: str | None, expected: float | None) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "10 m", "m", "-3s", "1x"])
def test_other_texts_are_no_lengths_of_time(text: str) -> None:
    with pytest.raises(UsageError):
        seconds(text)


def test_one_or_two_files_are_fine() -> None:
    assert one_or_two((), "the data") == ()
    assert one_or_two(("a", "b"), "the data") == ("a", "b")


def test_usage_errors_leave_by_code_2_with_one_message_on_standard_error() -> None:
    done = jumok("translate", "m", "--bean", "3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown option: --bean. Did you mean --beam?\n  hint: ")
    assert "Traceback" not in done.stderr


def test_arguments_that_are_no_text_are_refused() -> None:
    env = {**os.environ, "PYTHONPATH": str(SRC), "LC_ALL": "C.UTF-8"}
    command = [sys.executable.encode(), b"-m", b"jumok", b"inspect", b"m", b"caf\xe9"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: argument 3 (")
    assert "Traceback" not in done.stderr


def test_a_dash_is_standard_input() -> None:
    pairs = "".join(f"word{n}\t{n % 7}\n" for n in range(60))
    done = jumok("data", "-", "--json", stdin=pairs)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["schema"] == "jumok/1"
    assert sum(part["rows"] for part in found["parts"]) == 60


def test_bad_data_leave_by_code_3_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tb\nonly one\n", encoding="utf-8")
    done = jumok("data", "pairs.tsv", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: pairs.tsv:2: ")


def test_a_missing_configuration_file_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = error("init", "--config", "no.toml")
    assert said.startswith("no.toml: there is no such configuration file.")


def test_a_missing_model_has_code_4() -> None:
    with pytest.raises(ModelFolderError, match=r"^runs/none does not exist\.") as caught:
        run(["inspect", "runs/none"])
    assert caught.value.exit_code == 4


def test_links_of_others_are_scored_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "links").write_text("0-0 1-1\n0-1\n", encoding="utf-8")
    (tmp_path / "gold").write_text("1-1 2p2\n1-1\n", encoding="utf-8")
    done = jumok("align", "--links", "links", "--gold", "gold", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found == {"schema": "jumok/1", "aer": 0.4, "precision": 2 / 3, "recall": 0.5}


@pytest.mark.parametrize("output", ["one line", "pages"])
def test_a_reader_that_leaves_ends_it_silently(tmp_path: Path, output: str) -> None:
    (tmp_path / "links").write_text("0-0\n", encoding="utf-8")
    line = ["align", "--links", "links", "--gold", "links"] if output == "one line" else ["init"]
    read, write = os.pipe()
    os.close(read)
    env = {**os.environ, "PYTHONPATH": str(SRC), "PYTHONUNBUFFERED": ""}  # as users have it
    command = [sys.executable, "-m", "jumok", *line]
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, env=env, check=False, cwd=tmp_path
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_init_prints_is_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["init", "--model", "luong", "--optim.lr", "3e-4", "--model.hidden_size=64"])
    printed = capsys.readouterr().out
    (tmp_path / "my.toml").write_text(printed, encoding="utf-8")
    run(["init", "--config", str(tmp_path / "my.toml")])
    assert capsys.readouterr().out == printed
    assert "lr = 0.0003\n" in printed
    assert printed.startswith("# Every key that stands here goes over what jumok train would ")
    run(["init", "--plain"])
    assert "#" not in capsys.readouterr().out


def test_a_wrong_key_is_told_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text("[optim]\nhidden_size = 3\n", encoding="utf-8")
    said = error("init", "--model", "luong", "--config", "my.toml")
    assert said == "my.toml: hidden_size belongs to [model], not to [optim]."


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--version"])
    assert capsys.readouterr().out.startswith("jumok ")


def test_doctor_answers_every_question_and_never_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jumok.interfaces.cli import doctor

    def broken() -> object:
        raise RuntimeError("no such library")

    monkeypatch.setitem(doctor.QUESTIONS, "native kernels", broken)
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "jumok/1"
    assert found["native kernels"] == "cannot tell: RuntimeError: no such library"
    assert found["packages"]["torch"][0].isdigit()
    assert set(found["extras"]) == {"export", "track"}
    assert set(found) == {"schema", *doctor.QUESTIONS}


def test_doctor_speaks_to_people_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("jumok  ")
    assert any(line.startswith("packages") and "torch" in line for line in lines)


def test_what_cannot_be_encoded_here_is_printed_all_the_same() -> None:
    done = jumok("align", "--links", "없다", "--gold", "x", LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 3
    assert "없다" in done.stderr
