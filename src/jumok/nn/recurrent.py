"""LSTM and GRU layers over padded batches, and the order in which a source is read.

Sequences are padded on the right. A forward layer may run on over the padding, since nothing
reads what it makes there; a backward layer sees each row reversed inside its own length, so
that padding stays at its end. The last state is the one at the last real position.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jumok import kernels
from jumok.nn.paths import took
from jumok.records import Source

__all__ = [
    "GRU",
    "LSTM",
    "Reading",
    "last_real",
    "mean_real",
    "reading",
    "reversed_within",
    "reversing_index",
]


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


def mean_real(x_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    """The mean of each row's real vectors (zeros for a row with none)."""
    real_BS1 = mask_BS.unsqueeze(-1).to(x_BSD.dtype)
    return (x_BSD * real_BS1).sum(dim=1) / real_BS1.sum(dim=1).clamp(min=1)


class Reading(NamedTuple):
    """A source in the order in which the encoder reads it."""

    embedded_BSE: Tensor
    mask_BS: Tensor
    index_BS: Tensor | None
    """Reader's order -> reading order (its own inverse); None = the same."""

    def in_readers_order(self, states_BSD: Tensor) -> Tensor:
        """States back in the reader's order, so that weights never come out mirrored."""
        return states_BSD if self.index_BS is None else reversed_within(states_BSD, self.index_BS)


def reading(source: Source, embedding_VE: Tensor, *, reverse: bool, mask: bool = True) -> Reading:
    """``source`` embedded in reading order.

    ``reverse`` reverses the words and leaves the end-of-sentence symbol last (Sutskever 2014).
    ``mask=False`` takes padding for real, as the book does.
    """
    mask_BS = source.mask_BS if mask else torch.ones_like(source.mask_BS)
    index_BS = reversing_index(mask_BS, keep_last=True) if reverse else None
    ids_BS = source.ids_BS if index_BS is None else source.ids_BS.gather(1, index_BS)
    return Reading(F.embedding(ids_BS, embedding_VE), mask_BS, index_BS)


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
            precision = kernels.operand_precision(x_BTE)
            took("lstm", f"native {precision}")
            return kernels.lstm(x_BTE, self.W_x, self.W_h, self.b, h_BH, c_BH, precision=precision)
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
        """h' (..., H) from the input's share of the gates (..., 3H)."""
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
            precision = kernels.operand_precision(x_BTE)
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
