"""The Neural Turing Machine on symbols: it reads a source into its memory and writes from there.

Not in the paper (Graves et al. 2014), whose tasks are tapes of bits, but its copy task with symbols
in place of bits: one machine (``models/ntm_cell.py``) for both sides. Encoding runs it over the
embedded source; what it is in then, memory, weightings, reads and controller, is all that writing
begins with. A step gives it one embedded symbol and reads out

    p(y_t | y_<t, x) = softmax(W [h_t; r_t] + b)

It attends to slots, never to source positions, so ``weights`` is None. Where its heads were at
each symbol are the maps ``read`` and ``write``, over the source ``source/read`` and
``source/write``: a slot that a source symbol was written to and a target symbol read from joins
the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.errors import at_least_one
from jumok.models.contract import Encoded, Output, Step, Want, read_out
from jumok.models.ntm_cell import NTMCell, NTMConfig, NTMState, head_specs
from jumok.nn import readout
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took
from jumok.nn.recurrent import reading
from jumok.records import NO_MAPS, Batch, Source

__all__ = ["NTMEncoded", "NTMReader", "NTMTokens", "NTMTokensConfig"]


@dataclass(frozen=True, kw_only=True)
class NTMTokensConfig:
    """Sizes for short strings; the paper's, for tapes, in brackets."""

    embedding_size: int = 64
    """Of the symbols of both sides."""
    hidden_size: int = 128
    """[100] Of the controller."""
    controller: Literal["lstm", "feedforward"] = "lstm"
    """[both] What reads the symbols and drives the heads."""
    slots: int = 48
    """[128] N: no fewer than the symbols that have to be kept apart."""
    slot_size: int = 24
    """[20] M"""
    read_heads: int = 1
    """[1]"""
    write_heads: int = 1
    """[1]"""
    shift: int = 1
    """[1] A head moves at most so far in one step."""
    reads: Literal["after_write", "before_write"] = "after_write"
    """Whether read heads see the memory as this step leaves it or as it found it."""
    initial_memory: Literal["constant", "learned"] = "constant"
    """[learned] What the memory holds before the first write."""
    reverse_source: bool = False
    """Read the source from its end; the end symbol stays last."""
    dropout: float = 0.1
    """[0] On embeddings and before the readout; never on memory."""

    def __post_init__(self) -> None:
        at_least_one(embedding_size=self.embedding_size, hidden_size=self.hidden_size)
        self.machine()  # refuses what it cannot be

    def machine(self) -> NTMConfig:
        """The machine's own configuration."""
        return NTMConfig(
            controller=self.controller,
            controller_size=self.hidden_size,
            slots=self.slots,
            slot_size=self.slot_size,
            read_heads=self.read_heads,
            write_heads=self.write_heads,
            shift=self.shift,
            reads=self.reads,
            initial_memory=self.initial_memory,
        )


@dataclass(frozen=True, kw_only=True)
class NTMEncoded(Encoded):
    """The machine after the source."""

    machine: NTMState


class Read(NamedTuple):
    """What reading a source leaves."""

    state: NTMState
    read_weights_BSRN: Tensor
    write_weights_BSRN: Tensor


class NTMReader(nn.Module):
    """The machine over padded sources: each row stops at its last real symbol."""

    def __init__(self, cell: NTMCell) -> None:
        super().__init__()
        self.cell = cell

    def step(
        self, x_BE: Tensor, real_B: Tensor, state: NTMState, *, fused: bool = False
    ) -> NTMState:
        """One symbol further where it is real; as it was elsewhere."""
        _, after = self.cell(x_BE, state, fused=fused)
        return where(real_B, after, state)

    def forward(self, x_BSE: Tensor, mask_BS: Tensor) -> Read:
        """Over all symbols; rows without any are as they began."""
        refusal = self.cell.refusal()
        took("ntm reader", "native" if refusal is None else f"loop: {refusal}")
        state, weights = self.cell.start(x_BSE.shape[0]), []
        for s, x_BE in enumerate(x_BSE.unbind(dim=1)):
            state = self.step(x_BE, mask_BS[:, s], state, fused=refusal is None)
            weights.append((state.read_weights_BRN, state.write_weights_BRN))
        read, written = (torch.stack(kind, dim=1) for kind in zip(*weights, strict=True))
        return Read(state, read, written)


def where(real_B: Tensor, after: NTMState, before: NTMState) -> NTMState:
    """``after`` in real rows, ``before`` in the others, leaf by leaf."""
    old = before.arrays()
    chosen = {
        name: torch.where(real_B.view(-1, *[1] * (new.dim() - 1)), new, old[name])
        for name, new in after.arrays().items()
    }
    return after.with_arrays(chosen)


class NTMTokens(nn.Module):
    """The machine from symbols to symbols."""

    paper = "step"

    def __init__(
        self, config: NTMTokensConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        E = config.embedding_size
        cell = NTMCell(config.machine(), E, generator=generator)
        self.reader = NTMReader(cell)
        self.source_embedding = nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        self.output = nn.Linear(cell.output_size, target_size)
        for weight in (self.source_embedding, self.target_embedding):
            init.normal_(weight, generator=generator)
        for weight in self.output.parameters():
            r = cell.output_size**-0.5
            init.uniform_(weight, -r, r, generator=generator)
        self.maps = (
            *head_specs(config.machine()),
            *head_specs(config.machine(), "source/"),
        )

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> NTMEncoded:
        read = reading(source, self.source_embedding, reverse=self.config.reverse_source)
        x_BSE = dropped(read.embedded_BSE, self.config.dropout, "encoder/0", noise)
        found = self.reader(x_BSE, read.mask_BS)
        maps: Mapping[str, Tensor] = {}
        if want & Want.MAPS:
            shown = self._maps(found.read_weights_BSRN, found.write_weights_BSRN, "source/")
            maps = {name: read.in_readers_order(weights) for name, weights in shown.items()}
        return NTMEncoded(mask_BS=read.mask_BS, machine=found.state, maps=maps)

    def start(self, encoded: NTMEncoded) -> NTMState:
        return encoded.machine

    def step(
        self,
        token_B: Tensor,
        state: NTMState,
        encoded: NTMEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        y = F.embedding(token_B, self.target_embedding)
        y = dropped(y, self.config.dropout, "decoder/0", noise)
        out, state = self.reader.cell(y, state)
        out = dropped(out, self.config.dropout, "readout", noise)
        logits = readout.logits(out, self.output.weight, self.output.bias)
        maps: Mapping[str, Tensor] = NO_MAPS
        if want & Want.MAPS:
            maps = self._maps(state.read_weights_BRN, state.write_weights_BRN)
        return Step(logits, None, state, maps)

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        encoded = self.encode(batch.source, noise=noise, want=want)
        refusal = self.reader.cell.refusal()
        took("ntm", "native" if refusal is None else f"loop: {refusal}")
        y = F.embedding(batch.target_in_BT, self.target_embedding)
        y = dropped(y, self.config.dropout, "decoder/0", noise)
        state, outputs, weights = self.start(encoded), [], []
        for y_BE in y.unbind(dim=1):
            out, state = self.reader.cell(y_BE, state, fused=refusal is None)
            outputs.append(out)
            weights.append((state.read_weights_BRN, state.write_weights_BRN))
        out = dropped(torch.stack(outputs, dim=1), self.config.dropout, "readout", noise)
        maps: Mapping[str, Tensor] = NO_MAPS
        if want & Want.MAPS:
            shown = (torch.stack(kind, dim=1) for kind in zip(*weights, strict=True))
            maps = {**encoded.maps, **self._maps(*shown)}
        return read_out(out, self.output.weight, self.output.bias, batch, want=want, maps=maps)

    def _maps(self, read: Tensor, written: Tensor, place: str = "") -> dict[str, Tensor]:
        """Weightings (..., R, N) by the names of ``maps``."""
        specs = head_specs(self.config.machine(), place)
        heads = torch.cat([read, written], dim=-2).unbind(dim=-2)
        return {spec.name: head for spec, head in zip(specs, heads, strict=True)}
