"""Stacks of recurrent layers and the bridge between two of them.

States are (B, L, H); for bidirectional stacks L counts l0 forward, l0 backward, l1 forward, ...
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from jumok.errors import ConfigError
from jumok.nn.noise import Noise, dropped
from jumok.nn.recurrent import GRU, LSTM, last_real, reversed_within, reversing_index

__all__ = [
    "Bridge",
    "BridgeKind",
    "Cell",
    "DecoderStack",
    "EncoderStack",
    "Merge",
    "Stacked",
    "direction_size",
    "state_zeros",
]

Cell = Literal["lstm", "gru"]
Merge = Literal["concat", "sum", "mean"]
BridgeKind = Literal["copy", "copy_h", "linear", "zero"]


class Stacked(NamedTuple):
    """What an encoder stack returns."""

    states_BSD: Tensor
    """The top layer, directions merged."""
    h_BLH: Tensor
    """Last state of every (layer, direction): l0f, l0b, l1f, l1b, ..."""
    c_BLH: Tensor | None
    """Last cell states; None for GRUs, or where they were not asked for."""


class EncoderStack(nn.Module):
    """``num_layers`` recurrent layers, one- or bidirectional, with optional skip connections.

    ``hidden_size`` is that of one direction. Directions are merged after every layer by
    concat (2H wide), sum or mean (H wide). With ``skip`` the input of a layer is added to its
    output wherever the two have one width (He 2015; GNMT 2016, eq. 5). ``reset`` and
    ``z_gates`` are the GRU's (see ``GRU``). Dropout falls on the input of each layer, at
    ``site``/0, ``site``/1, ...
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        merge: Merge = "concat",
        skip: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        reset: Literal["after", "before"] = "after",
        z_gates: Literal["old", "new"] = "old",
        cells: bool = True,
        site: str = "encoder",
    ) -> None:
        super().__init__()
        self.cell, self.merge, self.skip, self.dropout = cell, merge, skip, dropout
        self.site = site
        self.bidirectional, self.cells = bidirectional, cells
        self.hidden_size = hidden_size
        self.output_size = merged_size(hidden_size, bidirectional, merge)
        sizes = [input_size] + [self.output_size] * (num_layers - 1)

        def layer(size: int) -> LSTM | GRU:
            if cell == "lstm":
                return LSTM(size, hidden_size, bias=bias)
            return GRU(size, hidden_size, bias=bias, reset=reset, z_gates=z_gates)

        self.forward_layers = nn.ModuleList(layer(size) for size in sizes)
        self.backward_layers = nn.ModuleList(layer(s) for s in sizes if bidirectional)

    def forward(self, x_BSE: Tensor, mask_BS: Tensor, *, noise: Noise | None = None) -> Stacked:
        """Runs over embedded sources (B, S, E); real positions come first in each row."""
        index_BS = reversing_index(mask_BS) if self.bidirectional else None
        h_last: list[Tensor] = []
        c_last: list[Tensor] = []
        for depth, ahead in enumerate(self.forward_layers):
            x_in = dropped(x_BSE, self.dropout, f"{self.site}/{depth}", noise)
            out_BSD = self._run(ahead, x_in, mask_BS, h_last, c_last)
            if index_BS is not None:
                x_back = reversed_within(x_in, index_BS)
                back = self._run(self.backward_layers[depth], x_back, mask_BS, h_last, c_last)
                out_BSD = merged(out_BSD, reversed_within(back, index_BS), self.merge)
            residual = self.skip and out_BSD.shape[-1] == x_BSE.shape[-1]
            x_BSE = out_BSD + x_BSE if residual else out_BSD
        c_BLH = torch.stack(c_last, dim=1) if c_last else None
        return Stacked(x_BSE, torch.stack(h_last, dim=1), c_BLH)

    def _run(
        self,
        layer: nn.Module,
        x_BSE: Tensor,
        mask_BS: Tensor,
        h_last: list[Tensor],
        c_last: list[Tensor],
    ) -> Tensor:
        zeros_BH = state_zeros(x_BSE, self.hidden_size)
        if self.cell == "gru":
            h_BSH = layer(x_BSE, zeros_BH)
        else:
            h_BSH, c_BSH = layer(x_BSE, zeros_BH, zeros_BH, cells=self.cells)
            if self.cells:
                c_last.append(last_real(c_BSH, mask_BS))
        h_last.append(last_real(h_BSH, mask_BS))
        return h_BSH


def merged_size(hidden_size: int, bidirectional: bool, merge: Merge) -> int:
    """Width of the states of an encoder layer whose directions are ``hidden_size`` wide."""
    return 2 * hidden_size if bidirectional and merge == "concat" else hidden_size


def direction_size(hidden_size: int, bidirectional: bool, merge: Merge) -> int:
    """Width of one encoder direction whose merged states are ``hidden_size`` wide."""
    if not bidirectional or merge != "concat":
        return hidden_size
    if hidden_size % 2:
        raise ConfigError(
            f"`hidden_size` ({hidden_size}) must be even: concat gives each direction half of it."
        )
    return hidden_size // 2


def merged(ahead: Tensor, back: Tensor, merge: Merge) -> Tensor:
    """The two directions as one: concatenated, summed or averaged."""
    if merge == "concat":
        return torch.cat([ahead, back], dim=-1)
    return ahead + back if merge == "sum" else (ahead + back) / 2


def state_zeros(x: Tensor, hidden_size: int) -> Tensor:
    """Zero states (B, H) for inputs ``x``; float32 whatever autocast makes of ``x``."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return torch.zeros(x.shape[0], hidden_size, dtype=dtype, device=x.device)


class DecoderStack(nn.Module):
    """``num_layers`` LSTM layers that write; by step, or over all positions at once.

    With ``skip`` the input of a layer is added to its output wherever the two have one width.
    Dropout falls on the input of each layer.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        bias: bool = True,
        skip: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.skip, self.dropout = skip, dropout
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(LSTM(size, hidden_size, bias=bias) for size in sizes)

    def step(
        self, x: Tensor, h_BLH: Tensor, c_BLH: Tensor, noise: Noise | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(top state, all h', all c') one position further."""
        h_new, c_new = [], []
        for depth, layer in enumerate(self.layers):
            x_in = dropped(x, self.dropout, f"decoder/{depth}", noise)
            h, c = layer.step(x_in, h_BLH[:, depth], c_BLH[:, depth])
            h_new.append(h)
            c_new.append(c)
            x = self._joined(h, x)
        return x, torch.stack(h_new, dim=1), torch.stack(c_new, dim=1)

    def forward(self, x_BTE: Tensor, h_BLH: Tensor, c_BLH: Tensor, noise: Noise | None) -> Tensor:
        """Top states (B, T, H) for inputs that are all known: layer by layer."""
        for depth, layer in enumerate(self.layers):
            x_in = dropped(x_BTE, self.dropout, f"decoder/{depth}", noise)
            h, _ = layer(x_in, h_BLH[:, depth], c_BLH[:, depth], cells=False)
            x_BTE = self._joined(h, x_BTE)
        return x_BTE

    def _joined(self, h: Tensor, x: Tensor) -> Tensor:
        return h + x if self.skip and h.shape[-1] == x.shape[-1] else h


class Bridge(nn.Module):
    """The decoder's first states from the encoder's last ones.

    ``copy``: h and c layer by layer; ``copy_h``: h only, cells at zero (the book); ``linear``:
    h = tanh(W [all layers' h] + b), cells at zero; ``zero``: both at zero. The two directions
    of a bidirectional layer are merged as its outputs are. Only ``linear`` and ``zero`` join
    stacks of unequal depth: a copy would have to guess, and is refused.
    """

    def __init__(self, kind: BridgeKind, encoder: EncoderStack, num_layers: int, size: int) -> None:
        super().__init__()
        self.kind, self.num_layers, self.size = kind, num_layers, size
        self.bidirectional, self.merge = encoder.bidirectional, encoder.merge
        depth, width = len(encoder.forward_layers), encoder.output_size
        if kind.startswith("copy") and (depth, width) != (num_layers, size):
            raise ConfigError(
                f"The encoder has {depth} layers of {width} and the decoder {num_layers} of "
                f"{size}: states cannot be copied layer by layer.",
                hint="use equal depths and sizes, or bridge = linear or zero.",
            )
        linear = kind == "linear"
        self.W = nn.Linear(depth * width, num_layers * size) if linear else None

    def forward(self, h_BLH: Tensor, c_BLH: Tensor | None) -> tuple[Tensor, Tensor]:
        """(h_0, c_0) of the decoder, each (B, layers, size)."""
        batch = h_BLH.shape[0]
        zeros = h_BLH.new_zeros(batch, self.num_layers, self.size)
        if self.kind == "zero":
            return zeros, zeros
        h_BLH = self._merged(h_BLH)
        if self.W is not None:
            h_0 = torch.tanh(self.W(h_BLH.flatten(1))).to(zeros.dtype)
            return h_0.view(batch, self.num_layers, self.size), zeros
        if self.kind == "copy_h" or c_BLH is None:
            return h_BLH, zeros
        return h_BLH, self._merged(c_BLH)

    def _merged(self, last_BLH: Tensor) -> Tensor:
        if not self.bidirectional:
            return last_BLH
        batch, count, size = last_BLH.shape
        pairs = last_BLH.view(batch, count // 2, 2, size)
        return merged(pairs[:, :, 0], pairs[:, :, 1], self.merge)
