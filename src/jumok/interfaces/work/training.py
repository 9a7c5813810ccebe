"""``jumok init``: a complete configuration as text; the names of all keys."""

from __future__ import annotations

from jumok import config
from jumok.interfaces.requests import InitRequest
from jumok.models import MODELS
from jumok.recipes.options import RunConfig, model_name_in, run_config, run_to_toml
from jumok.recipes.rule import DEFAULT_MODEL

__all__ = ["init", "key_names"]

HEADER = """\
# Every key that stands here goes over what jumok train would choose from the data (units, sizes,
# rate, epochs): delete those that you do not mean.

"""


def init(request: InitRequest, *, comments: bool = True) -> str:
    """A complete configuration as TOML: keys over the file over the model's preset."""
    file = config.read_toml(request.config) if request.config else {}
    name = request.model or model_name_in(file) or DEFAULT_MODEL
    run = run_config(name, file=file, flags=request.keys, where=request.config or "")
    return (HEADER if comments else "") + run_to_toml(name, run, comments=comments)


def key_names() -> list[str]:
    """Every dotted key there is, those of all models among them."""
    names: dict[str, None] = {}
    for model in MODELS.values():
        types = {"model": model.config}
        names |= dict.fromkeys(entry.name for entry in config.explain(RunConfig, types=types))
    return list(names)
