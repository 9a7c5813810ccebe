"""An Engine over a model: padding for bit-exactness, top-k on the device.

With ``bits=True`` the result of a sentence does not depend on its batch-mates to the last bit
(``search/padding.py``). The model knows nothing of it; what a model owes in return is products
whose rows are independent (``nn/attention.py``), and float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from jumok.models.contract import Encoded, Seq2Seq, State, Want
from jumok.records import EOS, MapSpec, Source
from jumok.search.batches import decode_in_batches
from jumok.search.engine import Advance, Ask, Started
from jumok.search.padding import filled, padded, rows_for

__all__ = ["Cursor", "TorchEngine", "best_on_device", "decode_in_batches"]


@dataclass(frozen=True)
class Cursor:
    """Where every row stands; P >= N rows are computed, the first N of them are real."""

    sentences: Encoded
    """One row per sentence."""
    encoded: Encoded
    """One row per row: ``sentences`` tiled; shared by steps as long as the tiling stays."""
    sentence_P: np.ndarray
    state: State
    rows: int
    width: int
    """S as the search knows it, without our padding."""


FEW_OUTPUTS = 12
"""Products with fewer outputs and a sum that is no multiple of 4 numbers long treat a row by where
it stands among the rows (MKL; seen with 2 to 11 outputs, and not with 12 to 35, 48, 50, 64 or 100,
for 18 lengths of the sum from 3 to 512)."""


class WholeSums(TorchFunctionMode):
    """Fills the sum of such a product up with zeros."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is F.linear and len(args) >= 2 and needs_whole_sums(args[1]):
            missing = -args[1].shape[-1] % 4
            args = (F.pad(args[0], (0, missing)), F.pad(args[1], (0, missing)), *args[2:])
        return function(*args, **(kwargs or {}))


def needs_whole_sums(weight: Tensor) -> bool:
    """Whether rows times this matrix depend on where a row stands."""
    return weight.dim() == 2 and weight.shape[0] < FEW_OUTPUTS and weight.shape[1] % 4 != 0


class TorchEngine:
    """Drives any model that obeys the contract; see ``search.Engine``."""

    def __init__(
        self,
        model: Seq2Seq,
        *,
        bits: bool = False,
        device: torch.device | str | None = None,
        vocabulary_size: int | None = None,
    ) -> None:
        """``device``: where the model is, not where it should go; found out if not given."""
        self.model = model
        self.bits = bits
        self.device = torch.device(device) if device is not None else _device_of(model)
        self._multiple = 8
        parameters: Iterable[Tensor] = getattr(model, "parameters", tuple)()
        self._whole = bits and any(
            p.dim() == 2 and p.shape[0] < 4 * FEW_OUTPUTS and p.shape[1] % 4 for p in parameters
        )  # four times: a recurrent layer's gates lie in one matrix
        self.vocabulary_size = self._look(vocabulary_size)

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """What ``Ask(maps=True)`` brings."""
        return self.model.maps

    @torch.inference_mode()
    def start(self, source: Source, ask: Ask) -> Started:
        """Encode the sentences."""
        size, width = source.ids_BS.shape
        given = (padded(source, self._multiple) if self.bits else source).map(self._tensor)
        with self._sums():
            encoded = self.model.encode(given, want=Want.MAPS if ask.maps else Want.NOTHING)
        maps = {name: _numpy(values[:size]) for name, values in encoded.maps.items()}
        encoded = replace(encoded, maps={})
        state = self.model.start(encoded)
        sentence_P = np.arange(len(given.ids_BS))
        return Started(Cursor(encoded, encoded, sentence_P, state, size, width), maps)

    @torch.inference_mode()
    def step(
        self, cursor: Cursor, tokens_N: np.ndarray, ask: Ask, given_N: np.ndarray | None = None
    ) -> Advance:
        """Feed one token to every row."""
        rows = cursor.rows
        token_P = self._tensor(self._filled(tokens_N))
        want = Want.WEIGHTS if ask.weights else Want.NOTHING
        want = want | Want.MAPS if ask.maps else want
        with self._sums():
            step = self.model.step(token_P, cursor.state, cursor.encoded, want=want)
        logprobs_NV = torch.log_softmax(step.logits_BV, dim=-1)[:rows]
        given = None
        if given_N is not None:
            given = _numpy(logprobs_NV.gather(1, self._tensor(given_N)[:, None])[:, 0])
        ids_NK, best_NK = best_on_device(logprobs_NV, ask)
        weights = step.weights_BS
        return Advance(
            replace(cursor, state=step.state),
            _numpy(ids_NK),
            _numpy(best_NK),
            given,
            None if weights is None else _numpy(weights[:rows, : cursor.width]),
            {name: _numpy(values[:rows]) for name, values in step.maps.items()},
        )

    @torch.inference_mode()
    def select(self, cursor: Cursor, rows_N: np.ndarray) -> Cursor:
        """Tile, re-order or drop rows; the encoder's side only where its tiling changes."""
        rows_P = self._filled(rows_N)
        sentence_P = cursor.sentence_P[rows_P]
        encoded = cursor.encoded
        if not np.array_equal(sentence_P, cursor.sentence_P):
            encoded = cursor.sentences.select(self._tensor(sentence_P))
        state = cursor.state.select(self._tensor(rows_P))
        return replace(
            cursor, encoded=encoded, sentence_P=sentence_P, state=state, rows=len(rows_N)
        )

    def _sums(self) -> AbstractContextManager[Any]:
        return WholeSums() if self._whole else nullcontext()

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _filled(self, values_N: np.ndarray) -> np.ndarray:
        return filled(values_N, self._multiple) if self.bits else values_N

    def _look(self, vocabulary_size: int | None) -> int:
        """One step on an empty sentence: the vocabulary's size, and how wide a row is."""
        ids_BS = np.full((1, 1), EOS)
        cursor = self.start(Source(ids_BS=ids_BS, mask_BS=ids_BS == EOS), Ask()).cursor
        leaves = [leaf for leaf in cursor.state.arrays().values() if leaf.is_floating_point()]
        self._multiple = rows_for(leaf[0].numel() for leaf in leaves)
        if vocabulary_size is not None:
            return vocabulary_size
        token_P = self._tensor(np.full(len(cursor.sentence_P), EOS))
        with torch.inference_mode():
            step = self.model.step(token_P, cursor.state, cursor.encoded, want=Want.NOTHING)
        return int(step.logits_BV.shape[-1])


def best_on_device(logprobs_NV: Tensor, ask: Ask) -> tuple[Tensor, Tensor]:
    """``(ids_NK, logprobs_NK)``, best first, ties in the order of ids; overwrites banned ones.

    ``torch.topk`` promises no order among equals, so its choice is kept only where there are
    none at the edge, and re-ordered by id inside.
    """
    width = logprobs_NV.shape[1]
    lost_N = logprobs_NV[:, 0].isnan()  # one NaN makes a whole log-softmax NaN
    logprobs_NV[:, [i for i in ask.banned if i < width]] = -torch.inf
    if ask.top == 1:
        best_N, ids_N = logprobs_NV.max(dim=1)  # the first of equals
        return ids_N[:, None], best_N[:, None]
    if ask.top >= width // 4:
        return _stable(logprobs_NV, ask.top, lost_N)
    ids_NK = logprobs_NV.topk(ask.top, dim=1).indices.sort(dim=1).values
    best_NK, order_NK = logprobs_NV.gather(1, ids_NK).sort(dim=1, descending=True, stable=True)
    if bool(((logprobs_NV >= best_NK[:, -1:]).sum(dim=1) > ask.top).any()):
        return _stable(logprobs_NV, ask.top, lost_N)
    return ids_NK.gather(1, order_NK), best_NK.masked_fill(lost_N[:, None], torch.nan)


def _stable(logprobs_NV: Tensor, top: int, lost_N: Tensor) -> tuple[Tensor, Tensor]:
    best_NV, ids_NV = logprobs_NV.sort(dim=1, descending=True, stable=True)
    return ids_NV[:, :top], best_NV[:, :top].masked_fill(lost_N[:, None], torch.nan)


def _numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array


def _device_of(model: Seq2Seq) -> torch.device:
    parameters = getattr(model, "parameters", None)
    first = next(iter(parameters()), None) if parameters is not None else None
    return torch.device("cpu") if first is None else torch.device(first.device)
