"""``jumok verify`` on a planted model: all pass; with a fault, the right line fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jumok.engine import TorchEngine
from jumok.errors import ModelFolderError
from jumok.interfaces.cli.frame import run
from jumok.interfaces.translator import Translator
from jumok.models.luong import Luong
from jumok.nn.recurrent import LSTM
from jumok.recipes.options import RunConfig
from jumok.training import checkpoints
from planted.mechanisms import luong
from planted.plant import codec, raw
from planted.planting import plant

PROMISES = {
    "integrity",
    "forward = step",
    "forward = step, float32",
    "gradients",
    "padded states",
    "batch invariance, greedy",
    "batch invariance, beam 4",
    "beam 1 = greedy",
    "search score = given score",
    "attention is the output's own",
    "attention fits",
    "training = scoring",
    "resume is exact",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = plant(luong()).network
    path = tmp_path_factory.mktemp("verify") / "model"
    settings = RunConfig(model=network.config)
    Translator(network=network, codec=codec(), name="luong", run=settings).save(path)
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify") / "pairs.tsv"
    sentences = ("zC.AB", "A.", "FBEz.DCA", ".", "DC.AB", "BAC.")
    path.write_text("".join(f"{raw(s)}\tAB.\n" for s in sentences), "utf-8")
    return path


@pytest.fixture
def verify(
    folder: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, set[str], set[str]]]:
    """(exit code, what passed, what failed)"""

    def call(*arguments: str) -> tuple[int, set[str], set[str]]:
        capsys.readouterr()
        code = run(["verify", str(folder), str(pairs), "--header", "no", "--json", *arguments])
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        passed = {one["check"] for one in found if one["passed"]}
        return code, passed, {one["check"] for one in found} - passed

    return call


def test_a_sound_model_keeps_every_promise(verify: Any) -> None:
    code, passed, failed = verify()
    assert (code, failed) == (0, set())
    assert passed >= PROMISES


def test_without_data_texts_are_made_of_the_models_own_symbols(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(folder), "--rows", "6"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("pass  ") for line in lines)
    assert any("largest difference" in line for line in lines)


def left_behind(self: TorchEngine, cursor: Any, rows_N: np.ndarray) -> Any:
    moved = genuine_select(self, cursor, rows_N)
    stay_P = np.minimum(np.arange(len(moved.sentence_P)), cursor.rows - 1)
    return replace(moved, state=cursor.state.select(torch.from_numpy(stay_P)))


def step_with_less(self: LSTM, x_BE: Any, h_BH: Any, c_BH: Any) -> Any:
    return genuine_lstm_step(self, 0.9 * x_BE, h_BH, c_BH)


def off_by_a_row(self: Luong, batch: Any, **how: Any) -> Any:
    output = genuine_forward(self, batch, **how)
    weights = output.weights_BTS
    return output._replace(weights_BTS=None if weights is None else weights.roll(1, 1))


genuine_select, genuine_lstm_step = TorchEngine.select, LSTM.step
genuine_forward = Luong.forward

FAULTS: list[tuple[Any, str, Any, set[str]]] = [
    (
        TorchEngine,
        "select",
        left_behind,
        {"search score = given score", "attention is the output's own"},
    ),
    (LSTM, "step", step_with_less, {"forward = step, float32"}),
    (Luong, "forward", off_by_a_row, {"forward = step", "training = scoring"}),
    (checkpoints, "load_state", lambda *_: None, {"resume is exact"}),
]


@pytest.mark.parametrize(
    "place, name, fault, expected", FAULTS, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_fault_fails_its_promise(
    verify: Any,
    place: Any,
    name: str,
    fault: Any,
    expected: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, name, fault)
    code, _, failed = verify()
    assert code == 1
    assert failed >= expected


def test_one_changed_byte_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    file = copy / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(ModelFolderError) as caught:
        run(["verify", str(copy)])
    assert caught.value.exit_code == 4
    assert "model.safetensors" in caught.value.message
