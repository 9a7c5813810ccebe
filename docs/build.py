"""The generated pages of the documentation: the map of the house, the commands, the keys.

    python docs/build.py           writes docs/map.md, docs/commands.md and docs/keys.md
    python docs/build.py --check   says which of them are not what the code says; exit code 1

They are made from docstrings, from ``--help`` and from the configuration classes, so they cannot
say anything else than the code does.
"""

from __future__ import annotations

import ast
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from jumok.config import Entry

DOCS = Path(__file__).parent
HOUSE = DOCS.parent / "src" / "jumok"
MADE = "<!-- made by docs/build.py; change the code, not this page -->\n"
WIDTH = 96
NOTHING: Mapping[str, Any] = {}


def house_map() -> str:
    """Every file with the first line of its docstring."""
    rows = "\n".join(_tree(HOUSE, 0))
    text = "Each file's caption is the first line of its docstring.\n"
    return f"# The map of the house\n{MADE}\n{text}\n```\nsrc/jumok/\n{rows}\n```\n"


def _tree(folder: Path, depth: int) -> Iterator[str]:
    for path in sorted(folder.iterdir(), key=lambda p: (p.is_dir(), p.name)):
        indent = "  " * (depth + 1)
        if path.suffix == ".py" and path.name not in ("__init__.py", "__main__.py"):
            yield f"{indent}{path.name:{30 - 2 * depth}} {_caption(path)}".rstrip()
        elif path.is_dir() and (path / "__init__.py").exists():
            name = f"{path.name}/"
            yield f"{indent}{name:{30 - 2 * depth}} {_caption(path / '__init__.py')}".rstrip()
            yield from _tree(path, depth + 1)


def _caption(path: Path) -> str:
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return doc.partition("\n\n")[0].replace("\n", " ")


def commands() -> str:
    """``--help`` of every command."""
    from jumok.interfaces.cli.app import COMMANDS

    pages = [f"## jumok {name}\n\n```\n{_help(name)}\n```\n" for name in COMMANDS]
    return f"# The commands\n{MADE}\n```\n{_help()}\n```\n\n" + "\n".join(pages)


def _help(*command: str) -> str:
    from rich.console import Console

    from jumok.interfaces.cli.app import make_app

    out = io.StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, legacy_windows=False)
    make_app(*command).help_print([*command], console=console)
    return "\n".join(line.rstrip() for line in out.getvalue().strip("\n").split("\n"))


def keys() -> str:
    """Every key of the configuration, and the models with those of their own."""
    from jumok import config
    from jumok.models import MODELS
    from jumok.recipes.options import RunConfig

    types = {"model": next(iter(MODELS.values())).config}
    every = config.explain(RunConfig, types=types)
    shared = [entry for entry in every if not entry.name.startswith("model.")]
    parts = ["## All models\n", *_table(shared)]
    for name, model in MODELS.items():
        own = config.explain(model.config)
        parts += [f"\n## --model {name}\n", f"{model.about}\n"]
        parts += _table(own, "model.", model.preset)
    return f"# The keys of the configuration\n{MADE}\n" + "\n".join(parts) + "\n"


def _table(
    entries: Sequence[Entry], prefix: str = "", preset: Mapping[str, Any] = NOTHING
) -> list[str]:
    lines = ["| key | accepts | default | meaning |", "|---|---|---|---|"]
    for entry in entries:
        default = preset.get(entry.name, entry.default)
        shown = "(required)" if default is MISSING else "none" if default is None else str(default)
        cells = (f"`{prefix}{entry.name}`", entry.type_text, f"`{shown}`", entry.doc)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


PAGES: dict[str, Callable[[], str]] = {
    "map.md": house_map,
    "commands.md": commands,
    "keys.md": keys,
}


def main(check: bool) -> int:
    stale = []
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    verb = "not up to date" if check else "written"
    print(f"{verb}: {', '.join(stale)}" if stale else "all pages are up to date")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
