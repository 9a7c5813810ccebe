"""What the READMEs print is what works: the Python blocks run, the links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
READMES = ("README.md", "README.ko.md")


def python_blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("name", READMES)
def test_every_python_block_runs_as_printed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(name)
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})
    shown = capsys.readouterr().out
    assert "exact match" in shown
    assert (tmp_path / "a.html").stat().st_size > 1000
    assert (tmp_path / "runs/dates/manifest.json").is_file()


@pytest.mark.parametrize("name", READMES)
def test_every_relative_link_leads_to_a_file(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
    assert len(targets) > 5
    missing = [t for t in targets if not t.startswith("http") and not (ROOT / t).exists()]
    assert not missing


def test_the_front_door_is_the_same_in_both_languages() -> None:
    """Only comments differ between the printed programs."""

    def code(block: str) -> list[str]:
        return [line.split("#")[0].rstrip() for line in block.splitlines() if line.strip()]

    english, korean = (python_blocks(name)[0] for name in READMES)
    assert code(english) == code(korean)


def test_the_map_names_every_room() -> None:
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- map -->")[1]
    drawn = set(re.findall(r"^  (\w+)[/.]", shown, re.M))
    rooms = {
        path.stem
        for path in (ROOT / "src/jumok").iterdir()
        if (path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py"))))
        and not path.name.startswith("_")
    }
    assert rooms <= drawn, f"not on the map: {sorted(rooms - drawn)}"
