"""Two ONNX graphs from any model that obeys the contract: ``encoder`` and ``step``.

The encoder graph reads ``ids_BS`` and ``mask_BS`` and returns every leaf of ``Encoded`` and of
the first ``State``; the step graph reads ``token_B``, the state and what it needs of the
encoder, and returns ``log_probs_BV``, ``weights_BS`` and the next state. A leaf is called by
its dotted name in ``Rows.arrays()``. Rows, source positions and growing caches are dynamic:
found by looking at the model at two sizes of each, not by trusting names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from jumok.errors import MissingExtraError
from jumok.export.scans import with_scans
from jumok.models.contract import Encoded, State, Want
from jumok.nn.attention import Location
from jumok.nn.positions import LearnedPositions
from jumok.records import BOS, EOS, PAD, UNK, Source

__all__ = ["FORMAT", "bundle_files", "export_onnx"]

FORMAT = "jumok-bundle/1"

Arrays = dict[str, Tensor]
Shapes = dict[str, list[int]]
"""Leaf -> size of each axis, -1 where it is not fixed."""


@dataclass(frozen=True)
class _Example:
    """A model seen at one batch size, source length and number of steps."""

    source: Source
    encoded: Encoded
    state: State

    def inputs(self) -> Arrays:
        """The step graph's inputs but the token."""
        state = _named("state", self.state.arrays())
        return state | _named("encoded", self.encoded.arrays())


class _Encoder(nn.Module):
    """ids_BS, mask_BS -> encoded.*, state.*, map.*"""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BS: Tensor, mask_BS: Tensor) -> Arrays:
        encoded = self.model.encode(Source(ids_BS=ids_BS, mask_BS=mask_BS), want=Want.MAPS)
        maps = _named("map", dict(encoded.maps))
        encoded = replace(encoded, maps={})
        state = self.model.start(encoded)
        leaves = _named("encoded", encoded.arrays()) | _named("state", state.arrays())
        return _distinct(leaves | maps)


class _Step(nn.Module):
    """token_B, then the leaves of an example -> log_probs_BV, weights_BS, next.state.*, map.*"""

    def __init__(self, model: Any, example: _Example) -> None:
        super().__init__()
        self.model, self.example = model, example

    def forward(self, token_B: Tensor, leaves: tuple[Tensor, ...]) -> Arrays:
        given = dict(zip(self.example.inputs(), leaves, strict=True))
        state = self.example.state.with_arrays(_under("state", given))
        encoded = self.example.encoded.with_arrays(_under("encoded", given))
        step = self.model.step(token_B, state, encoded, want=Want.WEIGHTS | Want.MAPS)
        found = {"log_probs_BV": torch.log_softmax(step.logits_BV, dim=-1)}
        if step.weights_BS is not None:
            found["weights_BS"] = step.weights_BS
        after = _named("next.state", step.state.arrays())
        return _distinct(found | after | _named("map", dict(step.maps)))


def export_onnx(model: Any, folder: str | Path) -> Path:
    """Write the files of ``bundle_files`` into ``folder`` and return it."""
    folder = Path(folder)
    files = bundle_files(model)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def bundle_files(model: Any) -> dict[str, bytes]:
    """``encoder.onnx``, ``step.onnx`` and ``bundle.json`` of a ``Seq2Seq`` that is a module.

    Raises MissingExtraError without the packages onnx and onnxscript.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "export", "exporting to ONNX")
    scanned = with_scans(model)
    with torch.no_grad(), _quiet():
        encoder, encoder_shapes = _export_encoder(scanned)
        step, step_shapes = _export_step(scanned)
    files = {"encoder.onnx": encoder, "step.onnx": step}
    manifest = {
        "format": FORMAT,
        "vocabulary_size": step_shapes["log_probs_BV"][1],
        "pad": PAD,
        "unk": UNK,
        "bos": BOS,
        "eos": EOS,
        "longest_source": longest_source(model),
        "maps": [asdict(spec) for spec in model.maps],
        "encoder": encoder_shapes,
        "step": step_shapes,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
    return files | {"bundle.json": text.encode()}


def longest_source(model: Any) -> int | None:
    """The most symbols of a source, end included, where a score by location or positions that
    are learned limit them.

    A graph cannot refuse a longer one, so the bundle says it and the engine does.
    """
    places = [m.maximum_length for m in model.modules() if isinstance(m, LearnedPositions)]
    rows = [m.maximum_length for m in model.modules() if isinstance(m, Location)]
    limits = places + [n + int(not model.config.attend_end) for n in rows]
    return min(limits, default=None)


def _export_encoder(model: Any) -> tuple[bytes, Shapes]:
    graph = _Encoder(model)
    near, far = _source(3, 7), _source(5, 11)
    arrays = (near.ids_BS, near.mask_BS)
    shapes = _shapes(graph(*arrays), graph(far.ids_BS, far.mask_BS))
    free = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    program = _program(graph, arrays, (free, free), ["ids_BS", "mask_BS"], list(shapes))
    return program, {"ids_BS": [-1, -1], "mask_BS": [-1, -1]} | shapes


def _export_step(model: Any) -> tuple[bytes, Shapes]:
    """Sizes are compared at two batch sizes, source lengths and numbers of steps."""
    near, far = _seen(model, 3, 7, steps=2), _seen(model, 5, 11, steps=19)
    shapes = _shapes(near.inputs(), far.inputs())
    leaves = tuple(_distinct(near.inputs()).values())
    free = tuple(
        {axis: Dim.DYNAMIC for axis, size in enumerate(sizes) if size == -1}
        for sizes in shapes.values()
    )
    graph = _Step(model, near)
    token_B = torch.full((3,), EOS)
    after = graph(token_B, leaves)
    other = _Step(model, far)(torch.full((5,), EOS), tuple(far.inputs().values()))
    found = _shapes(after, other)
    dynamic = ({0: Dim.DYNAMIC}, free)
    names = ["token_B", *shapes]
    program = _program(graph, (token_B, leaves), dynamic, names, list(found))
    return program, {"token_B": [-1]} | shapes | found


def _program(
    graph: nn.Module, arrays: Any, dynamic: Any, inputs: Sequence[str], outputs: Sequence[str]
) -> bytes:
    program = torch.onnx.export(
        graph,
        arrays,
        dynamo=True,
        verbose=False,
        dynamic_shapes=dynamic,
        input_names=inputs,
        output_names=outputs,
        external_data=False,
    )
    assert program is not None
    for value in list(program.model.graph.inputs):
        if not value.uses():
            program.model.graph.inputs.remove(value)
    data: bytes = program.model_proto.SerializeToString()
    return data


def _source(rows: int, width: int) -> Source:
    """Rows of falling length; only sizes matter."""
    mask_BS = torch.arange(width) < (width - torch.arange(rows))[:, None]
    return Source(ids_BS=torch.where(mask_BS, EOS, PAD), mask_BS=mask_BS)


def _seen(model: Any, rows: int, width: int, steps: int) -> _Example:
    source = _source(rows, width)
    encoded = model.encode(source)
    state = model.start(encoded)
    for _ in range(steps):
        state = model.step(torch.full((rows,), EOS), state, encoded, want=Want.NOTHING).state
    return _Example(source, encoded, state)


def _shapes(near: Mapping[str, Tensor], far: Mapping[str, Tensor]) -> Shapes:
    """Axes whose size differs between two examples are free; axis 0 is rows."""
    return {
        name: [a if a == b else -1 for a, b in zip(leaf.shape, far[name].shape, strict=True)]
        for name, leaf in near.items()
    }


def _named(prefix: str, arrays: Mapping[str, Tensor]) -> Arrays:
    return {f"{prefix}.{name}": leaf for name, leaf in arrays.items()}


def _under(prefix: str, arrays: Mapping[str, Tensor]) -> Arrays:
    """The inverse of ``_named``."""
    start = f"{prefix}."
    return {n.removeprefix(start): leaf for n, leaf in arrays.items() if n.startswith(start)}


def _distinct(arrays: Mapping[str, Tensor]) -> Arrays:
    """Each leaf an array of its own: two names of one array would become one in a graph."""
    return {name: leaf.clone() for name, leaf in arrays.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that nobody here needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
