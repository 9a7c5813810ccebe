"""The baseline of Graves, Wayne & Danihelka 2014: a stack of LSTM layers over tapes of bits.

"Neural Turing Machines", section 4 and table 3: the same tapes in and out as ``models/ntm.py``,
three layers of 256 for the copy task, and no memory but the states.

Where we depart: states start at zero; the paper learns what they start from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import init

from jumok.data.tasks.tape_data import TapeBatch
from jumok.errors import at_least_one
from jumok.models.contract import Output, Want
from jumok.models.ntm import bits_read_out
from jumok.nn.noise import Noise
from jumok.nn.recurrent import LSTM
from jumok.records import MapSpec

__all__ = ["TapeLSTM", "TapeLSTMConfig"]


@dataclass(frozen=True, kw_only=True)
class TapeLSTMConfig:
    """The paper's sizes for the copy task."""

    hidden_size: int = 256
    """[256; 512 for repeat copy, 128 for n-grams and sorting]"""
    num_layers: int = 3
    """[3]"""

    def __post_init__(self) -> None:
        at_least_one(hidden_size=self.hidden_size, num_layers=self.num_layers)


class TapeLSTM(nn.Module):
    """LSTM layers between tapes."""

    paper = "forward"
    maps: tuple[MapSpec, ...] = ()

    def __init__(
        self, config: TapeLSTMConfig, input_size: int, output_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        sizes = [input_size] + [config.hidden_size] * (config.num_layers - 1)
        self.layers = nn.ModuleList(LSTM(size, config.hidden_size) for size in sizes)
        self.output = nn.Linear(config.hidden_size, output_size)
        generator, r = torch.Generator().manual_seed(seed), config.hidden_size**-0.5
        for weight in self.parameters():
            init.uniform_(weight, -r, r, generator=generator)

    def forward(
        self, batch: TapeBatch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        """As ``NTM.forward``; there are no maps."""
        inputs_BTI: Tensor = batch.inputs_BTI.to(self.output.weight.dtype)
        zeros = inputs_BTI.new_zeros(inputs_BTI.shape[0], self.config.hidden_size)
        states_BTX = inputs_BTI
        for layer in self.layers:
            states_BTX, _ = layer(states_BTX, zeros, zeros, cells=False)
        return bits_read_out(self.output(states_BTX), batch, want, {})
