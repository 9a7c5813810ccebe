"""Every example that ``--help`` shows runs, as it is written, and ends with code 0."""

from __future__ import annotations

import io
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from jumok.data.tasks import TaskData
from jumok.interfaces.cli.app import COMMANDS, examples
from jumok.interfaces.cli.frame import run

LINES = [line for name in COMMANDS for line in examples(name)]


@pytest.fixture
def workplace(
    folder: Path, words: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with the files that the examples name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "runs" / "dates")
    rows = [f"{s}\t{t}\n" for s, t in words.train.pairs()]
    for name, part in {
        "pairs.tsv": rows[:60],
        "train.tsv": rows[:60],
        "dev.tsv": rows[60:70],
        "test.tsv": rows[70:80],
        "in.txt": ["abc\n", "\n", "xyz\n"],
        "links.txt": ["0-0 1-1\n"],
        "gold.txt": ["1-1 2p2\n"],
    }.items():
        (tmp_path / name).write_text("".join(part), encoding="utf-8")
    return tmp_path


def redirected(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of a command line; what stands after ``<`` is on standard input."""
    program, *words = shlex.split(line)
    assert program == "jumok"
    if ">" in words:
        del words[words.index(">") :]
    if "<" in words:
        at = words.index("<")
        given = io.BufferedReader(io.BytesIO(Path(words[at + 1]).read_bytes()))  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given, encoding="utf-8"))
        del words[at : at + 2]
    return words


@pytest.mark.parametrize("line", LINES)
def test_an_example_of_help_runs(
    line: str,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(redirected(line, monkeypatch)) == 0
    assert capsys.readouterr().out.strip()
