"""A small trained model in a folder, made once: it reverses words, nearly always rightly."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from jumok.data.tasks import TaskData, reverse
from jumok.errors import JumokError
from jumok.interfaces.cli.frame import run
from jumok.interfaces.fitting import codec_of, fit, make_translator
from jumok.interfaces.translator import Translator
from jumok.recipes.options import run_config


class Ran(NamedTuple):
    """What a command line gave; ``said`` is standard error, errors included."""

    code: int
    out: str
    said: str


@pytest.fixture(scope="session")
def words() -> TaskData:
    return reverse(400, 0, lengths=(2, 6), dev=50, test=100)


@pytest.fixture(scope="session")
def trained(words: TaskData) -> Translator:
    torch.set_num_threads(1)
    flags = {
        "model.hidden_size": "48",
        "model.embedding_size": "48",
        "model.dropout": "0",
        "optim.lr": "1e-2",
        "training.max_epochs": "30",
        "training.validate_every": "50",
    }
    config = run_config("luong", flags=flags)
    model = make_translator("luong", config, codec_of(words.train, config.data), words.train)
    fit(model, words.train, words.dev)
    return model


@pytest.fixture(scope="session")
def folder(trained: Translator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "model"
    trained.save(path)
    return path


@pytest.fixture
def jumok(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Ran]]:
    """Runs a command line in this process, standard input as given."""

    def call(*arguments: object, stdin: str = "") -> Ran:
        capsys.readouterr()
        given = io.BufferedReader(io.BytesIO(stdin.encode()))  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given, encoding="utf-8"))
        try:
            code, error = run([str(a) for a in arguments]), ""
        except JumokError as caught:
            code, error = caught.exit_code, f"error: {caught}\n"
        out, said = capsys.readouterr()
        return Ran(code, out, said + error)

    yield call
