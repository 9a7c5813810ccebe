"""The models as ``--help`` lists them: names and captions read from the registry's own source.

Importing ``jumok.models`` imports torch, which takes seconds; its dict literal is read instead.
"""

from __future__ import annotations

import ast
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

from jumok.recipes.ladder import RUNGS

__all__ = ["captions", "model_list", "system_list"]

REGISTRY = Path(__file__).parents[2] / "models" / "__init__.py"
FIELDS = ("config", "model", "about", "preset", "experimental")
"""Of ``jumok.models.Entry``, in their order."""
WIDTH = 78


def captions() -> dict[str, tuple[str, bool]]:
    """Name -> (``about``, whether it is experimental) of every entry of ``MODELS``."""
    for node in ast.parse(REGISTRY.read_text(encoding="utf-8")).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id="MODELS"), value=ast.Dict(keys, values)):
                pairs = zip(keys, values, strict=True)
                return {ast.literal_eval(key): _entry(value) for key, value in pairs if key}
    return {}


def _entry(call: Any) -> tuple[str, bool]:
    """``Entry(Config, Model, about, preset, experimental)``, by place or by name."""
    given = dict(zip(FIELDS, call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords}
    return ast.literal_eval(given["about"]), ast.literal_eval(given.get("experimental", "False"))


def model_list() -> str:
    """``Models:`` and a line or two for each."""
    found = captions()
    wide = max(map(len, found), default=0)
    fill = partial(textwrap.fill, width=WIDTH, subsequent_indent=" " * (wide + 4))
    lines = [
        fill(f"  {name:{wide}}  {about}{' (experimental)' if experimental else ''}")
        for name, (about, experimental) in found.items()
    ]
    return "\n".join(["Models:", *lines])


def system_list() -> str:
    """``Systems:`` and the rungs of the ladder, those of experimental models with a star."""
    experimental = {name for name, (_, tried) in captions().items() if tried}
    names = [f"{rung.label}{'*' if rung.model in experimental else ''}" for rung in RUNGS]
    indent = "  "
    shown = textwrap.fill(
        ", ".join(names),
        width=WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return f"Systems (* experimental):\n{shown}"
