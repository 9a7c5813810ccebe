"""The model itself as text: what it computes from what, with shapes, found by running it once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from jumok.interfaces.translator import Translator
from jumok.models.contract import Want
from jumok.records import EOS, Source

__all__ = ["wiring"]

ROWS, LENGTH = 3, 7
"""Odd enough sizes to be told from those of a model."""


def wiring(model: Translator) -> list[str]:
    """Encoder, first state and one step: every array by name with its shape, then the weights."""
    network: Any = model.network
    sizes = {len(model.codec.target_vocabulary): "V"}
    source = _source()
    with torch.no_grad():
        encoded = network.encode(source, want=Want.WEIGHTS)
        state = network.start(encoded)
        step = network.step(torch.zeros(ROWS, dtype=torch.long), state, encoded)
    returned = {"logits_BV": step.logits_BV}
    if step.weights_BS is not None:
        returned["weights_BS"] = step.weights_BS
    weights = {name: tuple(p.shape) for name, p in network.named_parameters()}
    return [
        f"{model.name}: B rows, S source symbols, V = {len(model.codec.target_vocabulary):,}",
        "",
        f"source ids_BS (B, S), {len(model.codec.source_vocabulary):,} symbols",
        *_arrows("encode", encoded.arrays(), sizes),
        *_arrows("start", state.arrays(), sizes),
        *_arrows("step (one symbol further)", {**returned, **step.state.arrays()}, sizes),
        "",
        "weights:",
        *_listed((name, ", ".join(map(str, shape))) for name, shape in weights.items()),
    ]


def _source() -> Source:
    ids = torch.full((ROWS, LENGTH), 4)
    ids[:, -1] = EOS
    return Source(ids_BS=ids, mask_BS=torch.ones(ROWS, LENGTH, dtype=torch.bool))


def _arrows(title: str, arrays: Mapping[str, Any], sizes: Mapping[int, str]) -> list[str]:
    shapes = ((name, _letters(tuple(array.shape), sizes)) for name, array in arrays.items())
    return [f"  | {title}", "  v", *_listed(shapes)]


def _letters(shape: tuple[int, ...], sizes: Mapping[int, str]) -> str:
    """``B, S, 256``: axis 0 is rows, the test's length is S, V is V, all else a number."""
    names = ["B", *(("S" if n == LENGTH else sizes.get(n, str(n))) for n in shape[1:])]
    return ", ".join(names)


def _listed(rows: Iterable[tuple[str, str]]) -> list[str]:
    found = list(rows)
    width = max((len(name) for name, _ in found), default=0)
    return [f"{name:{width}}  ({shape})" for name, shape in found]
