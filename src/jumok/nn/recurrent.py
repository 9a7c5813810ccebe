"""Recurrent layers, stacks and bridges: LSTM and GRU over padded batches, in either direction.

Sequences are padded on the right. A forward layer may run on over the padding, since nothing
reads what it makes there; a backward layer sees each row reversed inside its own length, so
that padding stays at its end. The last state is the one at the last real position.
States are (B, L, H); for bidirectional stacks L counts l0 forward, l0 backward, l1 forward, ...
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jumok import kernels
from jumok.errors import ConfigError
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took

__all__ = [
    "GRU",
    "LSTM",
    "Bridge",
    "BridgeKind",
    "Cell",
    "DecoderStack",
    "EncoderStack",
    "Merge",
    "Stacked",
    "last_real",
    "operand_precision",
    "reversed_within",
    "reversing_index",
]

Cell = Literal["lstm", "gru"]
Merge = Literal["concat", "sum", "mean"]
BridgeKind = Literal["copy", "copy_h", "linear", "zero"]


def operand_precision(x: Tensor) -> str:
    """"bf16" inside torch.autocast to bfloat16 on this device, else "fp32"."""
    kind = x.device.type
    on = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16
    return "bf16" if on else "fp32"


def reversing_index(mask_BS: Tensor, keep_last: bool = False) -> Tensor:
    """Index that reverses each row inside its real length; padding stays in place.

    With ``keep_last`` the last real position (the end-of-sentence symbol) stays last.
    It is its own inverse.
    """
    position_S = torch.arange(mask_BS.shape[1], device=mask_BS.device)
    length_B1 = mask_BS.sum(dim=1, keepdim=True) - int(keep_last)
    return torch.where(position_S < length_B1, length_B1 - 1 - position_S, position_S)


def reversed_within(x_BSD: Tensor, index_BS: Tensor) -> Tensor:
    """``x`` re-ordered along S by ``index`` (see ``reversing_index``)."""
    return x_BSD.gather(1, index_BS.unsqueeze(-1).expand(-1, -1, x_BSD.shape[-1]))


def last_real(x_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    """The vector at each row's last real position (zeros for a row with none)."""
    length_B = mask_BS.sum(dim=1)
    index_B11 = (length_B - 1).clamp(min=0)[:, None, None].expand(-1, 1, x_BSD.shape[-1])
    return x_BSD.gather(1, index_B11).squeeze(1) * (length_B > 0).unsqueeze(1)


class LSTM(nn.Module):
    """One LSTM layer. Gates in the order i, f, g, o; one bias or none.

    i, f, o = sigmoid(W_x x + W_h h + b); g = tanh(...); c' = f c + i g; h' = o tanh(c').
    """

    def __init__(self, input_size: int, hidden_size: int, *, bias: bool = True) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.W_x = nn.Parameter(torch.zeros(4 * hidden_size, input_size))
        self.W_h = nn.Parameter(torch.zeros(4 * hidden_size, hidden_size))
        self.b = nn.Parameter(torch.zeros(4 * hidden_size)) if bias else None

    def step(self, x_BE: Tensor, h_BH: Tensor, c_BH: Tensor) -> tuple[Tensor, Tensor]:
        """(h', c') one position further."""
        return self._cell(F.linear(x_BE, self.W_x, self.b), h_BH, c_BH)

    def _cell(self, gates_x: Tensor, h_BH: Tensor, c_BH: Tensor) -> tuple[Tensor, Tensor]:
        gates = gates_x + F.linear(h_BH.to(gates_x.dtype), self.W_h)
        i, f, g, o = gates.to(c_BH.dtype).chunk(4, dim=-1)
        c_BH = torch.sigmoid(f) * c_BH + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c_BH), c_BH

    def forward(
        self, x_BTE: Tensor, h_BH: Tensor, c_BH: Tensor, *, cells: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """All states (B, T, H) and, if ``cells``, all cell states, from initial h and c."""
        refusal = kernels.serves("lstm", x_BTE, self.W_x, self.W_h, h_BH, c_BH)
        if refusal is None:
            precision = operand_precision(x_BTE)
            took("lstm", f"native {precision}")
            return kernels.lstm(
                x_BTE, self.W_x, self.W_h, self.b, h_BH, c_BH, precision=precision
            )
        if not cells:
            took("lstm", f"torch: {refusal}")
            return self._by_torch(x_BTE, h_BH, c_BH), None
        took("lstm", f"loop: {refusal}")
        gates_BTG = F.linear(x_BTE, self.W_x, self.b)
        h_all, c_all = [], []
        for gates_BG in gates_BTG.unbind(dim=1):
            h_BH, c_BH = self._cell(gates_BG, h_BH, c_BH)
            h_all.append(h_BH)
            c_all.append(c_BH)
        return torch.stack(h_all, dim=1), torch.stack(c_all, dim=1)

    def _by_torch(self, x_BTE: Tensor, h_BH: Tensor, c_BH: Tensor) -> Tensor:
        biases = [] if self.b is None else [self.b, torch.zeros_like(self.b)]
        weights = [self.W_x, self.W_h, *biases]
        hx = [h_BH.unsqueeze(0).to(x_BTE.dtype), c_BH.unsqueeze(0).to(x_BTE.dtype)]
        return torch.lstm(x_BTE, hx, weights, bool(biases), 1, 0.0, True, False, True)[0]


class GRU(nn.Module):
    """One GRU layer; gates in the order r, z, n.

    r, z = sigmoid(W_x x + W_h h + b). With ``reset="after"`` (PyTorch, dl4mt):
    n = tanh(W_x x + b + r (W_h h + b_h)) and h' = (1 - z) n + z h. With ``reset="before"``
    (Cho 2014, Bahdanau 2015): n = tanh(W_x x + b + W_h (r h)). ``z_gates="new"`` swaps the
    sense of z (Bahdanau's code: h' = (1 - z) h + z n).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        reset: Literal["after", "before"] = "after",
        z_gates: Literal["old", "new"] = "old",
    ) -> None:
        super().__init__()
        self.hidden_size, self.reset, self.z_gates = hidden_size, reset, z_gates
        self.W_x = nn.Parameter(torch.zeros(3 * hidden_size, input_size))
        self.W_h = nn.Parameter(torch.zeros(3 * hidden_size, hidden_size))
        self.b = nn.Parameter(torch.zeros(3 * hidden_size)) if bias else None

    def step(self, x_BE: Tensor, h_BH: Tensor) -> Tensor:
        """h' one position further."""
        return self.cell(F.linear(x_BE, self.W_x, self.b), h_BH)

    def cell(self, gates_x: Tensor, h_BH: Tensor) -> Tensor:
        """h' from the input's share of the gates (B, 3H)."""
        size = self.hidden_size
        x_rz, x_n = gates_x.to(h_BH.dtype).split([2 * size, size], dim=-1)
        W_rz, W_n = self.W_h.split([2 * size, size])
        r, z = torch.sigmoid(x_rz + F.linear(h_BH, W_rz)).chunk(2, dim=-1)
        if self.reset == "after":
            n = torch.tanh(x_n + r * F.linear(h_BH, W_n))
        else:
            n = torch.tanh(x_n + F.linear(r * h_BH, W_n))
        if self.z_gates == "new":
            return (1 - z) * h_BH + z * n
        return (1 - z) * n + z * h_BH

    def forward(self, x_BTE: Tensor, h_BH: Tensor) -> Tensor:
        """All states (B, T, H) from the initial h."""
        refusal = kernels.serves("gru", x_BTE, self.W_x, self.W_h, h_BH)
        if refusal is None:
            precision = operand_precision(x_BTE)
            took("gru", f"native {precision}")
            return kernels.gru(
                x_BTE,
                self.W_x,
                self.W_h,
                self.b,
                h_BH,
                reset=self.reset,
                z_gates=self.z_gates,
                precision=precision,
            )
        if self.reset == "after" and self.z_gates == "old":
            took("gru", f"torch: {refusal}")
            biases = [] if self.b is None else [self.b, torch.zeros_like(self.b)]
            weights = [self.W_x, self.W_h, *biases]
            h_0 = h_BH.unsqueeze(0).to(x_BTE.dtype)
            return torch.gru(x_BTE, h_0, weights, bool(biases), 1, 0.0, True, False, True)[0]
        took("gru", f"loop: {refusal}")
        states = []
        for gates_BG in F.linear(x_BTE, self.W_x, self.b).unbind(dim=1):
            h_BH = self.cell(gates_BG, h_BH)
            states.append(h_BH)
        return torch.stack(states, dim=1)


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
    ``z_gates`` are the GRU's (see ``GRU``). Dropout falls on the input of each layer.
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
    ) -> None:
        super().__init__()
        self.cell, self.merge, self.skip, self.dropout = cell, merge, skip, dropout
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
            x_in = dropped(x_BSE, self.dropout, f"encoder/{depth}", noise)
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

    def forward(
        self, x_BTE: Tensor, h_BLH: Tensor, c_BLH: Tensor, noise: Noise | None
    ) -> Tensor:
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
