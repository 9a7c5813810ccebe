"""The pointer-generator and hard monotonic attention from the command line, from file to checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jumok.interfaces.cli.frame import run

NAMES = ("Temi", "Zofa", "Ulu", "Pino", "Kore", "Bado", "Sifu", "Lagi")


@pytest.fixture
def jumok(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def call(*arguments: object) -> str:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        out, said = capsys.readouterr()
        assert code == 0, said
        return out

    return call


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "model, options",
    [
        ("monotonic", []),
        ("monotonic", ["--model.order", "1"]),
        # No name comes so often: all of them are copied.
        ("pointer", ["--data.min_count", "30", "--training.coverage_weight", "0.5"]),
    ],
)
def test_every_command_serves(
    model: str, options: list[str], tmp_path: Path, jumok: Callable[..., str]
) -> None:
    pairs = tmp_path / "pairs.tsv"
    said = [(a, b) for a in NAMES for b in NAMES if a != b]
    pairs.write_text("".join(f"{a} sees {b}\t{b} is seen by {a}\n" for a, b in said), "utf-8")
    folder, given = tmp_path / "model", tmp_path / "given.tsv"
    units = ["--data.source_unit", "space", "--data.target_unit", "space"]
    few = ["--training.max_steps", "30", "--training.max_epochs", "40"]
    jumok("train", pairs, "--model", model, "--out", folder, "--threads", 1, *units, *few, *options)

    texts = tmp_path / "in.txt"
    texts.write_text("Temi sees Oyuki\n", "utf-8")
    found = json.loads(jumok("translate", folder, texts, "--beam", 3, "--nbest", 2, "--json"))
    assert len(found["nbest"]) == 2 and len(found["attention"]) == len(found["tokens"])
    given.write_text("Temi sees Oyuki\tOyuki is seen by Temi\n", "utf-8")
    [score] = jumok("score", folder, given).splitlines()
    assert float(score.split("\t")[0]) < 0
    aligned = json.loads(jumok("align", folder, given, "--json"))
    assert len(aligned["attention"]) == 6
    page = tmp_path / "a.html"
    jumok("inspect", folder, "Temi sees Oyuki", "--out", page)
    text = page.read_text("utf-8")
    for name in ("copied", "coverage") if model == "pointer" else ("posterior",):
        assert name in text
    lines = jumok("verify", folder).splitlines()
    assert len(lines) > 20 and all(line.startswith("pass") for line in lines)
