"""Graves, Wayne & Danihelka 2014: the Neural Turing Machine on tapes of bits.

"Neural Turing Machines", section 4; the machine itself is ``models/ntm_cell.py``. At every step a
vector goes in and the logits of a vector of bits come out, o_t = W [h_t; r_t] + b.

A tape has no symbols, so there is no vocabulary and no search: this file is the trainable half of
the contract. The likelihood of a step is that of all its bits,

    log p(y_t) = sum_f y_tf o_tf - softplus(o_tf)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.data.tasks.tape_data import TapeBatch
from jumok.models.contract import Output, Want
from jumok.models.ntm_cell import NTMCell, NTMConfig, head_specs
from jumok.nn.noise import Noise
from jumok.nn.paths import took

__all__ = ["NTM", "Seen", "bits_read_out"]


class Seen(NamedTuple):
    """What one tape made of the machine, step by step; the paper's figures 6 and 11."""

    logits_TF: Tensor
    adds_TWM: Tensor
    """a_t of every write head."""
    write_weights_TWN: Tensor
    reads_TRM: Tensor
    read_weights_TRN: Tensor


class NTM(nn.Module):
    """The machine over tapes: bits in, bits out."""

    paper = "step"

    def __init__(
        self, config: NTMConfig, input_size: int, output_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        self.cell = NTMCell(config, input_size, generator=generator)
        self.output = nn.Linear(self.cell.output_size, output_size)
        for weight in self.output.parameters():
            r = self.cell.output_size**-0.5
            init.uniform_(weight, -r, r, generator=generator)
        self.maps = head_specs(config)

    def forward(
        self, batch: TapeBatch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        """log_probs_BT are summed over the bits of a step; there is no dropout to draw."""
        refusal = self.cell.refusal()
        took("ntm", "native" if refusal is None else f"loop: {refusal}")
        inputs_BTI = batch.inputs_BTI.to(self.output.weight.dtype)
        state, outputs, weights = self.cell.start(inputs_BTI.shape[0]), [], []
        for x_BI in inputs_BTI.unbind(dim=1):
            output_BD, state = self.cell(x_BI, state, fused=refusal is None)
            outputs.append(output_BD)
            weights.append((state.read_weights_BRN, state.write_weights_BRN))
        maps = {}
        if want & Want.MAPS:
            found = torch.stack([torch.cat(pair, dim=1) for pair in weights], dim=1)  # (B, T, R, N)
            maps = {spec.name: found[:, :, r] for r, spec in enumerate(self.maps)}
        return bits_read_out(self.output(torch.stack(outputs, dim=1)), batch, want, maps)

    def look(self, inputs_TI: Tensor) -> Seen:
        """The machine at work on one tape."""
        rows: list[tuple[Tensor, ...]] = []
        state = self.cell.start(1)
        for x_I in inputs_TI.to(self.output.weight.dtype):
            output_BD, state = self.cell(x_I.unsqueeze(0), state)
            writes, reads = state.write_weights_BRN, state.read_weights_BRN
            seen = (self.cell.adds(state.h_BH), writes, state.reads_BRM, reads)
            rows.append((self.output(output_BD)[0], *(leaf[0] for leaf in seen)))
        return Seen(*(torch.stack(leaf) for leaf in zip(*rows, strict=True)))


def bits_read_out(
    logits_BTF: Tensor, batch: TapeBatch, want: Want, maps: dict[str, Tensor]
) -> Output:
    """The ``Output`` of a model of tapes whose bits have these logits."""
    if logits_BTF.dtype != torch.float64:
        logits_BTF = logits_BTF.float()
    bits_BTF = batch.targets_BTF.to(logits_BTF.dtype)
    log_probs_BT = (bits_BTF * logits_BTF - F.softplus(logits_BTF)).sum(dim=2)
    return Output(
        log_probs_BT=log_probs_BT,
        uniform_BT=None,
        logits_BTV=logits_BTF if want & Want.LOGITS else None,
        maps=maps,
    )
