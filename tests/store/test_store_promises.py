"""What the whole package promises about files: no pickle anywhere, old folders stay readable."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np

from jumok.store import latest_good, open_folder, save_folder

SOURCE = Path(__file__).parent.parent.parent / "src" / "jumok"
GOLDEN = Path(__file__).parent / "golden"
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "joblib", "marshal"}
CALLS = {("torch", "load"), ("torch", "save"), ("np", "load"), ("yaml", "load")}
NAMES = {"eval", "exec"}


def _forbidden(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [n.name for n in names if n.name.split(".")[0] in MODULES]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in MODULES:
                found.append(module)
            case ast.Call(func=ast.Name(id=name)) if name in NAMES:
                found.append(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)):
                if (owner, name) in CALLS and not _without_pickle(node):
                    found.append(f"{owner}.{name}")
    return found


def _without_pickle(call: ast.Call) -> bool:
    """``np.load(..., allow_pickle=False)`` said in so many words."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    value = given.get("allow_pickle")
    return isinstance(value, ast.Constant) and value.value is False


def test_nothing_in_the_package_loads_code_from_a_file() -> None:
    files = list(SOURCE.rglob("*.py"))
    assert len(files) > 50
    found = {str(f): _forbidden(ast.parse(f.read_text())) for f in files}
    assert not {name: bad for name, bad in found.items() if bad}


def test_what_is_forbidden_is_noticed() -> None:
    for text in ("import pickle", "from dill import x", "torch.load(f)", "eval('1')", "np.load(f)"):
        assert _forbidden(ast.parse(text)), text
    assert not _forbidden(ast.parse("np.load(f, allow_pickle=False)\nmodel.eval()"))


def test_every_format_ever_released_is_still_read() -> None:
    folders = sorted(GOLDEN.iterdir())
    assert [folder.name for folder in folders] == ["format-1"]
    for folder in folders:
        model = open_folder(folder)
        assert model.text("config.toml") == '[model]\nname = "luong"\n'
        expected = {"weight": ((2, 3), "float32"), "bias": ((), "float64")}
        tensors = model.tensors("model.safetensors", expected, finite=True)
        assert np.array_equal(tensors["weight"], np.arange(6, dtype=np.float32).reshape(2, 3))
        assert tensors["bias"] == -0.5
        found = latest_good(folder)
        assert found is not None and found.step == 7
        assert json.loads(found.folder.text("cursor.json")) == {"step": 7}


def test_a_folder_can_hold_every_file_that_the_house_writes(tmp_path: Path) -> None:
    """The parts of an exported bundle are among them."""
    names = ("encoder.onnx", "step.onnx", "bundle.json", "model.safetensors")
    save_folder(tmp_path / "m", {name: name.encode() for name in names})
    folder = open_folder(tmp_path / "m")
    assert {name: folder.text(name) for name in names} == {name: name for name in names}
