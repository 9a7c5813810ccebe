"""What the READMEs print is what works: the Python blocks run, the links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
READMES = ("README.md", "README.ko.md")
PAGES = (
    *READMES,
    "docs/beyond.md",
    "docs/beyond.ko.md",
    "docs/own-model.md",
    "benchmarks/README.md",
)


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


@pytest.mark.parametrize("name", PAGES)
def test_every_relative_link_leads_to_a_file(name: str) -> None:
    page = ROOT / name
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert len(targets) > (5 if name in READMES else 0)
    missing = [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]
    assert not missing


def test_what_goes_beyond_is_said_in_both_languages() -> None:
    """The same sections with the same commands, comments apart."""
    pages = [(ROOT / f"docs/beyond{end}.md").read_text(encoding="utf-8") for end in ("", ".ko")]
    english, korean = pages
    assert english.count("\n## ") == korean.count("\n## ") > 5
    blocks = [re.findall(r"```\n(.*?)```", page, re.S) for page in pages]
    commands = [
        [line.split("#")[0].strip() for b in found for line in b.splitlines()] for found in blocks
    ]
    assert commands[0] == commands[1]
    keys = [set(re.findall(r"`(--[a-z][\w.-]*)", page)) for page in pages]
    assert keys[0] == keys[1]


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
