"""The ways of running a planted network, up to hypotheses and arrays, and the check of a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from jumok.engine import TorchEngine
from jumok.models.contract import Output, Want
from jumok.records import BOS, EOS, PAD, Batch, Hypothesis, Source
from jumok.search import SearchOptions, search
from planted.plant import TARGET, Mechanism, ids, places, weights

SURE = 0.95
TOLERANCE = 1e-4
"""Between a cell and its closed form, in float32."""


def source_of(sentences: Sequence[str]) -> Source:
    """Padded ids of several sentences, end symbols included."""
    rows = [ids(sentence) for sentence in sentences]
    width = max(map(len, rows))
    ids_BS = np.array([row + [PAD] * (width - len(row)) for row in rows])
    mask_BS = np.array([[s < len(row) for s in range(width)] for row in rows])
    return Source(ids_BS=ids_BS, mask_BS=mask_BS)


def hypotheses_of(
    network: Any, sentences: Sequence[str], options: SearchOptions, *, bits: bool = True
) -> list[list[Hypothesis]]:
    """A search over all sentences in one batch."""
    return search(TorchEngine(network, bits=bits), source_of(sentences), options)


def text_of(ids_T: np.ndarray) -> str:
    """The symbols of an output that ended, without its end symbol."""
    assert ids_T[-1] == EOS
    return "".join(TARGET[i] for i in ids_T[:-1])


def given_ids(text: str) -> np.ndarray:
    """The ids of a target with its end symbol."""
    return np.array([*(TARGET.index(symbol) for symbol in text), EOS])


def teacher_forced(network: Any, sentences: Sequence[str], targets: Sequence[str]) -> Output:
    """``forward`` over all pairs in one batch, weights wanted."""
    rows = [given_ids(target) for target in targets]
    T = max(map(len, rows))
    out_BT = np.array([[*row, *[PAD] * (T - len(row))] for row in rows])
    mask_BT = np.array([np.arange(T) < len(row) for row in rows])
    in_BT = np.concatenate([np.full((len(rows), 1), BOS), out_BT[:, :-1]], axis=1)
    batch = Batch(
        source=source_of(sentences),
        target_in_BT=np.where(mask_BT, in_BT, PAD),
        target_out_BT=out_BT,
        target_mask_BT=mask_BT,
        example_B=np.arange(len(rows)),
    ).map(torch.from_numpy)
    with torch.no_grad():
        return network(batch, want=Want.WEIGHTS)


def check(
    mechanism: Mechanism,
    sentence: str,
    found: Hypothesis | np.ndarray,
    scores_KX: np.ndarray,
    *,
    ids_T: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """A map against the truth: the place of every row, then every cell in closed form.

    ``found`` may lack the end symbol's column where that is not attended to.
    """
    if isinstance(found, Hypothesis):
        assert found.weights_TS is not None
        found, ids_T = found.weights_TS, found.ids_T
    assert ids_T is not None
    outputs = [TARGET[i] for i in ids_T]
    true_T = places(mechanism, sentence, outputs)
    true_TS = weights(mechanism, sentence, outputs, scores_KX)
    if found.shape[1] < true_TS.shape[1] and not mechanism.attends_end:
        true_TS = true_TS[:, :-1]
    assert found.shape == true_TS.shape
    assert found.argmax(axis=1).tolist() == true_T
    if mechanism.window is None or mechanism.window[0] != "local-p":
        assert found[np.arange(len(true_T)), true_T].min() > SURE
    assert np.abs(found - true_TS).max() < tolerance
