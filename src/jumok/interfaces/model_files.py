"""A model as the files of its folder, and back; what is read was verified first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from jumok import config
from jumok.data.codec_files import codec_files, codec_from_files
from jumok.data.encoded import PairCodec
from jumok.errors import ConfigError, ModelFolderError, did_you_mean
from jumok.models import MODELS, Entry, entry
from jumok.recipes.options import RunConfig, model_name_in, run_to_toml
from jumok.store import Folder, dump_tensors, open_folder, specs

__all__ = ["Parts", "files_of", "load_parts", "make_network"]

Models = Mapping[str, Entry]
"""Name -> configuration class, model class, preset."""

SEEN = "seen.bin"
"""Sorted 64-bit hashes (little-endian) of the sources that were trained on."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a model folder holds."""

    network: nn.Module
    codec: PairCodec
    name: str
    """The model's name in ``MODELS``, or among the user's own."""
    run: RunConfig
    """What the model was trained with."""
    card: str = ""
    seen: np.ndarray | None = None


def make_network(name: str, cfg: Any, codec: PairCodec, *, models: Models = MODELS) -> nn.Module:
    """The untrained network of the model ``name`` with the configuration ``cfg``."""
    found = entry(name, models)
    sizes = (len(codec.source_vocabulary), len(codec.target_vocabulary))
    network: nn.Module = found.model(cfg, *sizes)
    return network


def files_of(parts: Parts) -> dict[str, bytes]:
    """File name -> content: configuration, weights, vocabularies, card."""
    state = {k: v.detach().cpu().numpy() for k, v in parts.network.state_dict().items()}
    files = {
        "config.toml": run_to_toml(parts.name, parts.run).encode(),
        "model.safetensors": dump_tensors(state),
        **codec_files(parts.codec),
    }
    if parts.card:
        files["card.md"] = parts.card.encode()
    if parts.seen is not None:
        files[SEEN] = parts.seen.astype("<u8").tobytes()
    return files


def load_parts(path: str | Path, *, device: str = "cpu", models: Models = MODELS) -> Parts:
    """The model in the folder ``path``. Raises ModelFolderError; nothing in it can name code."""
    folder = open_folder(path)
    where = str(folder.path / "config.toml")
    codec = codec_from_files(_files(folder), where=str(folder.path))
    try:
        name, run = _run(config.parse_toml(folder.read("config.toml"), where), where, models)
        network = make_network(name, run.model, codec, models=models)
    except ConfigError as error:
        hint = "it may be from another version of jumok, or a model of your own: models={...}."
        raise ModelFolderError(error.message, hint=error.hint or hint) from None
    _load_weights(network, folder)
    return Parts(
        network=network.to(device).eval(),
        codec=codec,
        name=name,
        run=run,
        card=folder.text("card.md") if "card.md" in folder.names else "",
        seen=_seen(folder),
    )


def _known(name: str, models: Models, where: str) -> Entry:
    if name not in models:
        raise ModelFolderError(
            f"{where}: this model folder needs the model {name!r}, which is not one of jumok's."
            f"{did_you_mean(name, models)}",
            hint="if it is your own: --model-file FILE.py names the file that has it; in Python "
            f"load_model(path, models={{{name!r}: (Config, Class)}}). Else it may be from a newer "
            "version of jumok.",
        )
    return models[name]


def _run(mapping: Mapping[str, Any], where: str, models: Models) -> tuple[str, RunConfig]:
    name = model_name_in(mapping)
    if name is None:
        raise ConfigError(f"{where}: [model] has no name.")
    found = _known(name, models, where)
    section = {key: value for key, value in mapping["model"].items() if key != "name"}
    types = {"model": found.config}
    run = config.from_dict(RunConfig, {**mapping, "model": section}, where=where, types=types)
    return name, run


def _files(folder: Folder) -> dict[str, bytes]:
    """The small files, those of the codec among them."""
    return {
        name: folder.read(name)
        for name in folder.names
        if name.startswith(("codec", "source.", "target."))
    }


def _load_weights(network: nn.Module, folder: Folder) -> None:
    expected = specs({k: v.numpy() for k, v in network.state_dict().items()})
    arrays = folder.tensors("model.safetensors", expected, finite=True)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})


def _seen(folder: Folder) -> np.ndarray | None:
    if SEEN not in folder.names:
        return None
    data = folder.read(SEEN)
    return np.frombuffer(data, dtype="<u8") if len(data) % 8 == 0 else None
