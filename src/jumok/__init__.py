"""jumok (주목, "attention"): train, read and ship seq2seq models whose attention you can see.

The front door: ``load`` or ``tasks``, ``build``, ``fit``, ``evaluate``, ``load_model``, and the
one function underneath, ``attend``. Names are imported when first used, so that ``import jumok``
is quick and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jumok import errors
    from jumok.data import tasks
    from jumok.data.corpus import load
    from jumok.interfaces.front import build, ensemble, evaluate, fit, load_model
    from jumok.nn.attention import attend

__all__ = [
    "attend",
    "build",
    "ensemble",
    "errors",
    "evaluate",
    "fit",
    "load",
    "load_model",
    "tasks",
]

_HOMES = {
    "attend": ("jumok.nn.attention", "attend"),
    "build": ("jumok.interfaces.front", "build"),
    "ensemble": ("jumok.interfaces.front", "ensemble"),
    "errors": ("jumok.errors", None),
    "evaluate": ("jumok.interfaces.front", "evaluate"),
    "fit": ("jumok.interfaces.front", "fit"),
    "load": ("jumok.data.corpus", "load"),
    "load_model": ("jumok.interfaces.front", "load_model"),
    "tasks": ("jumok.data.tasks", None),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jumok' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    found = importlib.import_module(module)
    return found if attribute is None else getattr(found, attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
