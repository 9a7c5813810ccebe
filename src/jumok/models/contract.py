"""What a model is to everyone else. Axis 0 is rows. logits, log_probs, weights: float32.

The trainer sees ``forward``; search, export and serving see ``encode``, ``start``, ``step``.
A model file declares which form is its paper's (``paper = "step"`` or ``paper = "forward"``):
that one carries the equations, the other is derived from it. The likelihood belongs to the
model (through the shared functions of ``nn/readout.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Flag
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from jumok.nn import readout
from jumok.nn.noise import Noise
from jumok.records import NO_MAPS, Batch, MapSpec, Rows, Source

__all__ = [
    "Encoded",
    "Output",
    "Seq2Seq",
    "State",
    "Step",
    "Trainable",
    "Want",
    "read_out",
    "unroll",
]


class Want(Flag):
    """What the caller wants returned; nothing is computed that nobody asked for."""

    NOTHING = 0
    LOGITS = 1
    WEIGHTS = 2
    MAPS = 4


@dataclass(frozen=True, kw_only=True)
class Encoded(Rows):
    """All that belongs to the sentence and not to a hypothesis. A model subclasses it."""

    mask_BS: Tensor
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    """Encoder-side maps, if asked for."""


@dataclass(frozen=True, kw_only=True)
class State(Rows):
    """All that belongs to a hypothesis; positions are ``position_B``, never an int."""


class Step(NamedTuple):
    """One symbol further."""

    logits_BV: Tensor
    """V or V + extra wide; its log_softmax *is* the model's distribution."""
    weights_BS: Tensor | None
    """The map to look at, reader's order; None = this model has none, or none was wanted."""
    state: State
    maps: Mapping[str, Tensor] = NO_MAPS


class Output(NamedTuple):
    """A teacher-forced pass over whole sequences."""

    log_probs_BT: Tensor
    """log p(target_out_t | before); over real positions it sums to the sequence score."""
    uniform_BT: Tensor | None
    """mean_v log p(v): what label smoothing needs; None = undefined."""
    logits_BTV: Tensor | None = None
    """Only with ``Want.LOGITS``."""
    weights_BTS: Tensor | None = None
    """Only with ``Want.WEIGHTS``; differentiable; None where the model has no such map."""
    maps: Mapping[str, Tensor] = NO_MAPS
    """Only with ``Want.MAPS``."""


class Trainable(Protocol):
    """All that the trainer, DDP and torch.compile ever call."""

    paper: Literal["step", "forward"]
    maps: tuple[MapSpec, ...]

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        """Teacher-forced. ``noise=None``: no dropout; train() and eval() change nothing."""
        ...


class Seq2Seq(Trainable, Protocol):
    """What search, export and serving see as well."""

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Encoded: ...

    def start(self, encoded: Encoded) -> State: ...

    def step(
        self,
        token_B: Tensor,
        state: State,
        encoded: Encoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step: ...


def unroll(
    model: Seq2Seq,
    batch: Batch,
    *,
    noise: Noise | None = None,
    want: Want = Want.NOTHING,
    choose: Callable[[int, Tensor, Tensor], Tensor] | None = None,
) -> Output:
    """``forward`` by repeated ``step``: a model's forward may be this, the laws' oracle always is.

    ``choose(t, logits_BV, gold_B) -> token_B`` picks the next input in place of the gold symbol
    (scheduled sampling, free running); only ever on this slow path.
    """
    encoded = model.encode(batch.source, noise=noise, want=want)
    state = model.start(encoded)
    token_B = batch.target_in_BT[:, 0]
    steps: list[Step] = []
    for t in range(batch.target_in_BT.shape[1]):
        here = noise.at(t) if noise is not None else None
        step = model.step(token_B, state, encoded, noise=here, want=want)
        steps.append(step)
        state = step.state
        if t + 1 < batch.target_in_BT.shape[1]:
            gold_B = batch.target_in_BT[:, t + 1]
            token_B = gold_B if choose is None else choose(t, step.logits_BV, gold_B)

    logits_BTV = torch.stack([s.logits_BV for s in steps], dim=1)
    log_p_BTV = torch.log_softmax(logits_BTV, dim=-1)
    log_probs_BT = log_p_BTV.gather(-1, batch.target_out_BT.unsqueeze(-1)).squeeze(-1)
    weights = [s.weights_BS for s in steps]
    wanted = bool(want & Want.WEIGHTS) and all(w is not None for w in weights)
    maps = dict(encoded.maps) if want & Want.MAPS else {}
    if want & Want.MAPS:
        maps |= {name: _over_time([s.maps[name] for s in steps]) for name in steps[0].maps}
    return Output(
        log_probs_BT=log_probs_BT,
        uniform_BT=readout.uniform(log_p_BTV, batch.source.extra),
        logits_BTV=logits_BTV if want & Want.LOGITS else None,
        weights_BTS=torch.stack([w for w in weights if w is not None], dim=1) if wanted else None,
        maps=maps,
    )


def _over_time(rows: list[Tensor]) -> Tensor:
    """One row a step, (B, T, ...); rows that grow with what was written end in zeros."""
    widest = rows[-1].shape[-1]
    return torch.stack([F.pad(row, (0, widest - row.shape[-1])) for row in rows], dim=1)


def read_out(
    hidden_BTD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    batch: Batch,
    *,
    want: Want,
    weights_BTS: Tensor | None = None,
    maps: Mapping[str, Tensor] = NO_MAPS,
) -> Output:
    """The ``Output`` of a model that ends in one linear layer and a softmax over V."""
    log_probs_BT, uniform_BT = readout.likelihood(
        hidden_BTD, weight_VD, bias_V, batch.target_out_BT
    )
    wants_logits = bool(want & Want.LOGITS)
    return Output(
        log_probs_BT=log_probs_BT,
        uniform_BT=uniform_BT,
        logits_BTV=readout.logits(hidden_BTD, weight_VD, bias_V) if wants_logits else None,
        weights_BTS=weights_BTS if want & Want.WEIGHTS else None,
        maps=maps if want & Want.MAPS else NO_MAPS,
    )
