"""Several models that answer as one: the mean of their distributions, the mean of their maps.

    p(y_t | y_<t, x)     = 1/n sum_k p_k(y_t | y_<t, x)                      average="probabilities"
    log p(y_t | y_<t, x) = 1/n sum_k log p_k(y_t | y_<t, x) - log Z          average="logs"
    a_t                  = mean of the a_t of those members that have one

The first is the mixture that Sutskever 2014 (section 3.6) and Luong 2015 (4.1) search with, the
second the normalised geometric mean, which shuns what any one member finds unlikely. Members
may be of any kind: an ensemble obeys the contract, with tuples of their ``Encoded`` and ``State``.
It is not trained: each member was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from jumok.errors import ConfigError
from jumok.models.contract import Encoded, Output, State, Step, Want
from jumok.nn import readout
from jumok.nn.noise import Noise
from jumok.records import NO_MAPS, Batch, MapSpec, Source

__all__ = ["Average", "Ensemble", "EnsembleEncoded", "EnsembleState", "Reading", "mixture"]

Average = Literal["probabilities", "logs"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How ids of the ensemble become those of a member, and its target ids ours."""

    source_V: Tensor
    """(V_source,): the member's id of each of our source ids."""
    target_V: Tensor
    """(V,): the member's id of each of our target ids, a permutation."""


@dataclass(frozen=True, kw_only=True)
class EnsembleEncoded(Encoded):
    members: tuple[Encoded, ...]


@dataclass(frozen=True, kw_only=True)
class EnsembleState(State):
    members: tuple[State, ...]


class Ensemble(nn.Module):
    """``members`` side by side; ``readings`` where their ids are not all the same.

    Raises:
        ConfigError: no member.
    """

    paper = "step"

    def __init__(
        self,
        members: Sequence[nn.Module],
        *,
        average: Average = "probabilities",
        readings: Sequence[Reading] = (),
    ) -> None:
        super().__init__()
        if not members:
            raise ConfigError("an ensemble needs at least one member.")
        self.average: Average = average
        self.members = nn.ModuleList(members)
        self.translated = bool(readings)
        for k, reading in enumerate(readings):
            self.register_buffer(f"source_V{k}", reading.source_V, persistent=False)
            self.register_buffer(f"target_V{k}", reading.target_V, persistent=False)
        self.maps = _specs([member.maps for member in self._all()])

    def _all(self) -> list[Any]:
        return list(self.members)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> EnsembleEncoded:
        found = [
            member.encode(self._source(source, k), noise=_own(noise, k), want=want)
            for k, member in enumerate(self._all())
        ]
        maps = _numbered([one.maps for one in found]) if want & Want.MAPS else {}
        members = tuple(replace(one, maps={}) for one in found)
        return EnsembleEncoded(mask_BS=source.mask_BS, maps=maps, members=members)

    def start(self, encoded: EnsembleEncoded) -> EnsembleState:
        pairs = zip(self._all(), encoded.members, strict=True)
        return EnsembleState(members=tuple(member.start(own) for member, own in pairs))

    def step(
        self,
        token_B: Tensor,
        state: EnsembleState,
        encoded: EnsembleEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        inside = want | Want.WEIGHTS if want & Want.MAPS else want
        steps = [
            member.step(
                self._target(token_B, k),
                state.members[k],
                encoded.members[k],
                noise=_own(noise, k),
                want=inside,
            )
            for k, member in enumerate(self._all())
        ]
        logits_BV = mixture([self._ours(s.logits_BV, k) for k, s in enumerate(steps)], self.average)
        weights = [s.weights_BS for s in steps]
        return Step(
            logits_BV,
            _mean(weights) if want & Want.WEIGHTS else None,
            EnsembleState(members=tuple(s.state for s in steps)),
            self._maps(weights, [s.maps for s in steps]) if want & Want.MAPS else NO_MAPS,
        )

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        """Every member's own forward, then the mixture at every position."""
        inside = want | Want.LOGITS | (Want.WEIGHTS if want & Want.MAPS else Want.NOTHING)
        outputs = [
            member.forward(self._batch(batch, k), noise=_own(noise, k), want=inside)
            for k, member in enumerate(self._all())
        ]
        logits = [self._ours(o.logits_BTV, k) for k, o in enumerate(outputs)]
        logits_BTV = mixture(logits, self.average)
        log_p_BTV = torch.log_softmax(logits_BTV, dim=-1)
        weights = [o.weights_BTS for o in outputs]
        return Output(
            log_probs_BT=log_p_BTV.gather(-1, batch.target_out_BT.unsqueeze(-1)).squeeze(-1),
            uniform_BT=readout.uniform(log_p_BTV, batch.source.extra),
            logits_BTV=logits_BTV if want & Want.LOGITS else None,
            weights_BTS=_mean(weights) if want & Want.WEIGHTS else None,
            maps=self._maps(weights, [o.maps for o in outputs]) if want & Want.MAPS else NO_MAPS,
        )

    # -- between our ids and those of member k

    def _source(self, source: Source, k: int) -> Source:
        if not self.translated:
            return source
        return replace(source, ids_BS=self.get_buffer(f"source_V{k}")[source.ids_BS])

    def _target(self, ids: Tensor, k: int) -> Tensor:
        return self.get_buffer(f"target_V{k}")[ids] if self.translated else ids

    def _ours(self, logits: Tensor, k: int) -> Tensor:
        return logits[..., self.get_buffer(f"target_V{k}")] if self.translated else logits

    def _batch(self, batch: Batch, k: int) -> Batch:
        if not self.translated:
            return batch
        return replace(
            batch,
            source=self._source(batch.source, k),
            target_in_BT=self._target(batch.target_in_BT, k),
            target_out_BT=self._target(batch.target_out_BT, k),
        )

    def _maps(
        self, weights: Sequence[Tensor | None], maps: Sequence[Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The members' own, each under its number; what they return as weights among them."""
        mains = [
            {spec.name: w for spec in member.maps if spec.is_weights and w is not None}
            for member, w in zip(self._all(), weights, strict=True)
        ]
        return _numbered([{**m, **own} for m, own in zip(mains, maps, strict=True)])


def mixture(logits: Sequence[Tensor], average: Average = "probabilities") -> Tensor:
    """Logits whose log_softmax is the mean of the given distributions, (..., V).

    Never NaN, forward or backward: an id that no member can write is -inf, with a slope of 0.
    Of one distribution, or of equal ones, it is that distribution's log_softmax, to the bit.
    """
    log_p = [torch.log_softmax(x, dim=-1) for x in logits]
    if average == "logs":
        impossible = reduce(torch.logical_or, [x == -math.inf for x in log_p])
        total = sum(x.masked_fill(impossible, 0.0) for x in log_p) / len(log_p)
        return torch.as_tensor(total).masked_fill(impossible, -math.inf)
    # Not logaddexp, whose last bit depends on where in an array a number stands.
    best = reduce(torch.maximum, [x.detach() for x in log_p])
    impossible = best == -math.inf
    best = best.masked_fill(impossible, 0.0)
    total = torch.as_tensor(sum((x - best).exp() for x in log_p) / len(log_p))
    log_mean = total.masked_fill(impossible, 1.0).log() + best
    return log_mean.masked_fill(impossible, -math.inf)


def _mean(weights: Sequence[Tensor | None]) -> Tensor | None:
    """Of those that are there; None where none is.

    A row in which a member looks at nothing (an empty source) is not there either.
    """
    there = [w for w in weights if w is not None]
    if not there:
        return None
    looking = torch.as_tensor(sum((w > 0).any(dim=-1, keepdim=True).to(w.dtype) for w in there))
    return torch.as_tensor(sum(there)) / looking.clamp(min=1)


def _own(noise: Noise | None, k: int) -> Noise | None:
    """Members drop independently of each other."""
    return noise if noise is None else noise.again(k)


def _numbered(maps: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{k}/{name}": x for k, own in enumerate(maps, 1) for name, x in own.items()}


def _specs(members: Sequence[Sequence[MapSpec]]) -> tuple[MapSpec, ...]:
    """The mean map, where any member has one, and the members' own from ``1/`` on."""
    mains = [spec for own in members for spec in own if spec.is_weights]
    mean = MapSpec(
        "weights",
        "TS",
        "cross",
        "the mean of the members' weights",
        is_weights=True,
        sums_to_one=all(spec.sums_to_one for spec in mains),
        at_most_one=all(spec.at_most_one for spec in mains),
    )
    own = [
        replace(spec, name=f"{k}/{spec.name}", about=f"member {k}: {spec.about}", is_weights=False)
        for k, specs in enumerate(members, 1)
        for spec in specs
    ]
    return (mean, *own) if mains else tuple(own)
