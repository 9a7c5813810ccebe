"""``jumok train`` and ``jumok init``: requests turned into runs of ``recipes``."""

from __future__ import annotations

from jumok.config import read_toml
from jumok.interfaces.requests import InitRequest
from jumok.recipes.options import model_name_in, run_config, run_to_toml
from jumok.recipes.rule import DEFAULT_MODEL

__all__ = ["init"]


def init(request: InitRequest, *, comments: bool = True) -> str:
    """A complete configuration as TOML: keys over the file over the model's preset."""
    file = read_toml(request.config) if request.config else {}
    name = request.model or model_name_in(file) or DEFAULT_MODEL
    run = run_config(name, file=file, flags=request.keys, where=request.config or "")
    return run_to_toml(name, run, comments=comments)
