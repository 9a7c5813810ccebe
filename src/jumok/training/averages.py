"""Averages of the weights: what is scored and chosen may be smoother than what is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from jumok.store.tensors import Spec

__all__ = ["Averages", "Weights", "arrays_of", "copy_of", "put", "specs_of", "worn"]

Weights = dict[str, Tensor]
"""State-dict name -> tensor."""


def copy_of(model: nn.Module) -> Weights:
    """The weights (and buffers) as they are now, detached from the model."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def put(model: nn.Module, weights: Weights) -> None:
    """Copies ``weights`` into the model, in place."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(weights[name])


@contextmanager
def worn(model: nn.Module, weights: Weights | None) -> Iterator[None]:
    """The model with other weights for a while; None = its own."""
    if weights is None:
        yield
        return
    own = copy_of(model)
    put(model, weights)
    try:
        yield
    finally:
        put(model, own)


def arrays_of(weights: Weights) -> dict[str, np.ndarray]:
    """As NumPy, for the disk."""
    return {name: value.detach().cpu().numpy() for name, value in weights.items()}


def specs_of(model: nn.Module) -> dict[str, Spec]:
    """Names, shapes and dtypes of the model's weights: what a file of them must hold."""
    return {
        name: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in model.state_dict().items()
    }


class Averages:
    """An exponential moving average, or the mean of the last k snapshots, or neither.

    The moving average warms up, decay_n = min(decay, (1 + n) / (10 + n)), so that the random
    weights of the beginning are forgotten in a short run too.
    """

    def __init__(self, model: nn.Module, *, ema_decay: float, last: int) -> None:
        self._model, self._decay, self._last = model, ema_decay, last
        self.moving: Weights | None = copy_of(model) if ema_decay else None
        self.recent: list[Weights] = []

    def follow(self, update: int) -> None:
        """To be called after each update; ``update`` counts from 1."""
        if self.moving is None:
            return
        decay = min(self._decay, (1 + update) / (10 + update))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        now = self._model.state_dict()
        smooth = [name for name, value in now.items() if value.is_floating_point()]
        with torch.no_grad():
            average([self.moving[n] for n in smooth], [now[n].detach() for n in smooth], None)
            for name in now.keys() - set(smooth):
                self.moving[name].copy_(now[name])

    def candidate(self) -> Weights | None:
        """The weights to score and to choose; None = the model's own."""
        if self.moving is not None:
            return self.moving
        return _mean([*self.recent, copy_of(self._model)]) if self._last else None

    def snapshot(self) -> None:
        """To be called after each validation: what the next candidates are averaged with."""
        if self._last > 1:
            self.recent = [*self.recent, copy_of(self._model)][1 - self._last :]


def _mean(snapshots: list[Weights]) -> Weights:
    """Summed in float64, in order, so that it does not depend on when it is computed."""
    newest = snapshots[-1]
    return {
        name: torch.stack([s[name].double() for s in snapshots]).mean(dim=0).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for name, value in newest.items()
    }
