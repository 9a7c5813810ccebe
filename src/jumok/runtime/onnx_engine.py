"""An Engine over an exported bundle: onnxruntime and NumPy, no torch.

A bundle is a folder with ``encoder.onnx``, ``step.onnx`` and ``bundle.json``; its files are
verified against their SHA-256 before any of them is parsed. File names are fixed: nothing in
a bundle can point elsewhere.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jumok.errors import DataError, MissingExtraError, ModelFolderError
from jumok.records import MapSpec, Source
from jumok.search import Advance, Ask, Started, best_candidates
from jumok.search.padding import filled, padded, rows_for

__all__ = ["FORMAT", "Cursor", "OnnxEngine"]

FORMAT = "jumok-bundle/1"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Cursor:
    """Where every row stands."""

    sentences: Arrays
    """``encoded.*``, one row per sentence."""
    encoded: Arrays
    """The same, one row per row; shared by steps as long as the tiling stays."""
    sentence_N: np.ndarray
    state: Arrays
    """``state.*``"""
    rows: int
    """How many of them are real."""
    width: int
    """S as the search knows it, without our padding."""


class OnnxEngine:
    """Drives an exported model; see ``search.Engine``."""

    def __init__(self, folder: str | Path, *, bits: bool = False, threads: int = 0) -> None:
        """``threads`` inside one operation; 0 = as many as the processor has.

        ``bits``: batch-mates change nothing, to the last bit (``search/padding.py``).

        Raises ModelFolderError for a missing, damaged or newer bundle, MissingExtraError
        without onnxruntime.
        """
        self.bits = bits
        folder = Path(folder)
        manifest = _manifest(folder)
        self.vocabulary_size = int(manifest["vocabulary_size"])
        self.longest_source: int | None = manifest.get("longest_source")
        self.maps = tuple(MapSpec(**spec) for spec in manifest["maps"])
        self._encoder = _session(folder, "encoder.onnx", manifest, threads)
        self._step = _session(folder, "step.onnx", manifest, threads)
        self._wanted = {i.name for i in self._step.get_inputs()}
        leaves = [i for i in self._step.get_inputs() if _is(i.name, "state")]
        floats = [i.shape[1:] for i in leaves if i.type == "tensor(float)"]
        self._multiple = rows_for(
            math.prod(n for n in shape if isinstance(n, int)) for shape in floats
        )

    def start(self, source: Source, ask: Ask) -> Started:
        """Encode the sentences. DataError for one that is longer than the model attends to."""
        size, width = source.ids_BS.shape
        longest = int(source.mask_BS.sum(axis=1).max(initial=0))
        if self.longest_source is not None and longest > self.longest_source:
            raise DataError(
                f"a source has {longest} symbols with its end, but this exported model attends to "
                f"at most {self.longest_source} (score = location).",
                hint="train with a larger --model.maximum_length, or with another score.",
            )
        source = padded(source, self._multiple) if self.bits else source
        inputs = {
            "ids_BS": np.ascontiguousarray(source.ids_BS, dtype=np.int64),
            "mask_BS": np.ascontiguousarray(source.mask_BS, dtype=bool),
        }
        found = _run(self._encoder, inputs, {"map": ask.maps})
        encoded = {n: a for n, a in found.items() if n in self._wanted and _is(n, "encoded")}
        state = {n: a for n, a in found.items() if _is(n, "state")}
        maps = {n: a[:size] for n, a in _under("map", found).items()}
        sentence_N = np.arange(len(source.ids_BS))
        return Started(Cursor(encoded, encoded, sentence_N, state, size, width), maps)

    def step(
        self, cursor: Cursor, tokens_N: np.ndarray, ask: Ask, given_N: np.ndarray | None = None
    ) -> Advance:
        """Feed one token to every row."""
        inputs = {"token_B": self._filled(np.asarray(tokens_N, dtype=np.int64))}
        inputs |= {n: a for n, a in cursor.state.items() if n in self._wanted}
        asked = {"weights_BS": ask.weights, "map": ask.maps}
        found = _run(self._step, inputs | cursor.encoded, asked)
        logprobs_NV = found["log_probs_BV"][: cursor.rows]
        given = None if given_N is None else logprobs_NV[np.arange(len(given_N)), given_N]
        ids_NK, best_NK = best_candidates(logprobs_NV, ask)
        state = {f"state.{name}": leaf for name, leaf in _under("next.state", found).items()}
        weights = found.get("weights_BS")
        return Advance(
            replace(cursor, state=state),
            ids_NK,
            best_NK,
            given,
            None if weights is None else weights[: cursor.rows, : cursor.width],
            {n: a[: cursor.rows] for n, a in _under("map", found).items()},
        )

    def select(self, cursor: Cursor, rows_N: np.ndarray) -> Cursor:
        """Tile, re-order or drop rows; the encoder's side only where its tiling changes."""
        real, rows_N = len(rows_N), self._filled(rows_N)
        sentence_N = cursor.sentence_N[rows_N]
        encoded = cursor.encoded
        if not np.array_equal(sentence_N, cursor.sentence_N):
            encoded = {name: leaf[sentence_N] for name, leaf in cursor.sentences.items()}
        state = {name: leaf[rows_N] for name, leaf in cursor.state.items()}
        return replace(cursor, encoded=encoded, sentence_N=sentence_N, state=state, rows=real)

    def _filled(self, values_N: np.ndarray) -> np.ndarray:
        return filled(values_N, self._multiple) if self.bits else values_N


def _run(session: Any, inputs: Mapping[str, np.ndarray], asked: Mapping[str, bool]) -> Arrays:
    """The outputs, but for those whose name (or its first part) is not ``asked`` for."""
    names = [output.name for output in session.get_outputs()]
    names = [name for name in names if asked.get(name.partition(".")[0], True)]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _is(name: str, prefix: str) -> bool:
    return name.startswith(f"{prefix}.")


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    return {n.removeprefix(f"{prefix}."): a for n, a in arrays.items() if _is(n, prefix)}


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found = manifest["format"]
    except FileNotFoundError:
        raise ModelFolderError(
            f"{folder} holds no exported model: bundle.json is missing.",
            hint="jumok export MODEL --to onnx writes one.",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFolderError(f"{path} is damaged: {error}.") from None
    if found != FORMAT:
        raise ModelFolderError(
            f"{path} has format {found!r}, and this version reads {FORMAT!r}.",
            hint="export the model again, or update jumok.",
        )
    return dict(manifest)


def _session(folder: Path, name: str, manifest: Mapping[str, Any], threads: int) -> Any:
    """The verified graph, loaded from the very bytes that were verified."""
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        raise MissingExtraError("onnxruntime", "export", "running an exported model") from None
    try:
        data = (folder / name).read_bytes()
        expected = manifest["files"][name]["sha256"]
    except (OSError, KeyError, TypeError) as error:
        raise ModelFolderError(f"{folder / name} cannot be read: {error}.") from None
    if hashlib.sha256(data).hexdigest() != expected:
        raise ModelFolderError(
            f"{folder / name} is damaged: its SHA-256 is not the one in bundle.json.",
            hint="copy or export the bundle again.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
