"""Models of the user's own, from a Python file that the command line names and nothing else can.

A model folder records the name of its model and never a file; who opens it says where the code is.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from jumok.errors import UsageError
from jumok.models import Own, with_own

__all__ = ["name_in", "own_models"]

HINT = 'it ends with MODELS = {"mine": (MineConfig, Mine)}; docs/own-model.md has a whole one.'


def own_models(path: str | None) -> dict[str, Own]:
    """``MODELS`` of the Python file ``path``, which is run; none where there is no file.

    Raises:
        UsageError: no such file, an error in it (with its line), no MODELS, a name that is taken.
    """
    if path is None:
        return {}
    found = getattr(_run(path), "MODELS", None)
    if not isinstance(found, Mapping) or not found:
        raise UsageError(f"{path} has no MODELS.", hint=HINT)
    with_own(found)
    return dict(found)


def name_in(path: str) -> str | None:
    """The model of a file that has but one; None where it must be named."""
    found = list(own_models(path))
    return str(found[0]) if len(found) == 1 else None


def _run(path: str) -> ModuleType:
    if not Path(path).is_file():
        raise UsageError(f"{path}: there is no such file.", hint="--model-file names a .py file.")
    name = f"jumok_own_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file.", hint="its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up to read its annotations
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(
            f"{path}{_line(error, path)}: {type(error).__name__}: {error}", hint=HINT
        ) from error
    return module


def _line(error: Any, path: str) -> str:
    """``:12``, the line of the file at which it went wrong."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    found, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            found = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return found
