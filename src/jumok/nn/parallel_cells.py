"""QRNN, SRU, SSRU, minGRU, minLSTM: cells whose gates read the input, not the state before.

All are c_t = f_t c_{t-1} + (1 - f_t) u_t (``ForgetPool``: f is the share that is kept). They
differ in what u and f are made of and in what is shown of c.

QRNN (Bradbury et al. 2017, eq. 1 and 4), x the last k inputs in a row
    u = tanh(W_z x)  f = sigmoid(W_f x)  o = sigmoid(W_o x)  h = o c
    Salesforce's code has the other sense: there f gates the new value.
SRU (Lei et al. 2018, eq. 1-4)
    f = sigmoid(W_f x + v_f c_{t-1} + b_f)  u = W x
    r = sigmoid(W_r x + v_r c_{t-1} + b_r)  h = r c + (1 - r) alpha x, alpha = sqrt(1 + 2 e^b)
    with b what b_r starts from: 0. Where x is not as wide as h, a matrix makes it so.
SSRU (Kim et al. 2019)
    f = sigmoid(W_f x + b_f)  u = W x  h = ReLU(c)
minGRU (Feng et al. 2024, 3.1): z = sigmoid(W_z x) gates the new value, so f = 1 - z
    u = g(W_h x)  h = c
minLSTM (3.2): f' = sigmoid(W_f x), i' = sigmoid(W_i x), f = f' / (f' + i'), 1 - f = i' / (f' + i')
    u = g(W_h x)  h = c, with g(y) = y + 1/2 for y >= 0, sigmoid(y) below (appendix B)

Biases: those of the equations, for QRNN one per matrix; minGRU and minLSTM have none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jumok.nn.linear_recurrence import ForgetPool

__all__ = ["CellName", "ParallelLayer", "Ran"]

CellName = Literal["qrnn", "sru", "ssru", "mingru", "minlstm"]


class Ran(NamedTuple):
    """A layer between its recurrence and its output; (B, ...) in a step, (B, T, ...) for all."""

    c: Tensor
    before: Tensor
    """c_{t-1}"""
    gates: Tensor
    """W x + b, in blocks of H."""
    x: Tensor
    """The input."""


class Cell(Protocol):
    """What is a cell's own."""

    blocks: int
    """Of H rows each in W: first those with a bias, f's before all."""
    biases: int
    """Blocks that have one."""
    looks_back: bool
    """The gate sees c_{t-1}."""

    def pooled(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        """(a, u) with f = sigmoid(a [+ v c_{t-1}])."""
        ...

    def value(self, y: Tensor) -> Tensor:
        """What makes a number a possible value of u, and so of c."""
        ...

    def emit(self, ran: Ran) -> Tensor:
        """h"""
        ...


class QRNN(nn.Module):
    blocks, biases, looks_back = 3, 3, False

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()

    def pooled(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        a, _, z = gates.chunk(3, dim=-1)
        return a, self.value(z)

    def value(self, y: Tensor) -> Tensor:
        return torch.tanh(y)

    def emit(self, ran: Ran) -> Tensor:
        return torch.sigmoid(ran.gates.chunk(3, dim=-1)[1]) * ran.c  # (4)


class SRU(nn.Module):
    biases, looks_back = 2, True

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.blocks = 3 if input_size == hidden_size else 4
        self.v_r = nn.Parameter(torch.zeros(hidden_size))

    def pooled(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        parts = gates.chunk(self.blocks, dim=-1)
        return parts[0], parts[2]

    def value(self, y: Tensor) -> Tensor:
        return y

    def emit(self, ran: Ran) -> Tensor:
        parts = ran.gates.chunk(self.blocks, dim=-1)
        x = ran.x if self.blocks == 3 else parts[3]
        r = torch.sigmoid(parts[1] + self.v_r * ran.before)  # (3)
        return r * ran.c + (1 - r) * (math.sqrt(3.0) * x)  # (4)


class SSRU(nn.Module):
    blocks, biases, looks_back = 2, 1, False

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()

    def pooled(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        a, u = gates.chunk(2, dim=-1)
        return a, u

    def value(self, y: Tensor) -> Tensor:
        return y

    def emit(self, ran: Ran) -> Tensor:
        return torch.relu(ran.c)


class MinGRU(nn.Module):
    blocks, biases, looks_back = 2, 0, False

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()

    def pooled(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        z, h = gates.chunk(2, dim=-1)
        return -z, self.value(h)  # 1 - sigmoid(z) = sigmoid(-z)

    def value(self, y: Tensor) -> Tensor:
        """g, positive everywhere, so that its logarithm exists."""
        return torch.where(y >= 0, y + 0.5, torch.sigmoid(y))

    def emit(self, ran: Ran) -> Tensor:
        return ran.c


class MinLSTM(MinGRU):
    blocks, biases, looks_back = 3, 0, False

    def pooled(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        f, i, h = gates.chunk(3, dim=-1)
        # f' / (f' + i') = sigmoid(log f' - log i'), log sigmoid(y) = -softplus(-y)
        return F.softplus(-i) - F.softplus(-f), self.value(h)


CELLS: Mapping[CellName, type] = {
    "qrnn": QRNN,
    "sru": SRU,
    "ssru": SSRU,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
}


class ParallelLayer(nn.Module):
    """One layer of a cell. Without a first state c_0 is zero.

    ``forward`` takes (B, T, E) and gives all h and c (B, T, H); ``step`` takes (B, E) and c_{t-1}.
    It runs on over padding on the right: nothing real comes after it. States are float32, or
    float64 where the input is, also under bf16.
    """

    def __init__(self, cell: CellName, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.cell: Cell = CELLS[cell](input_size, hidden_size)
        self.pool = ForgetPool(hidden_size, looks_back=self.cell.looks_back)
        rows = self.cell.blocks * hidden_size
        self.W = nn.Parameter(torch.zeros(rows, input_size))
        biases = self.cell.biases * hidden_size
        self.b = nn.Parameter(torch.zeros(biases)) if biases else None

    def start(self, x: Tensor) -> Tensor:
        """c_0 = 0, (B, H)."""
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        return torch.zeros(x.shape[0], self.hidden_size, dtype=dtype, device=x.device)

    def forward(self, x_BTE: Tensor, c_BH: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(h, c), (B, T, H) each."""
        ran = self.run(x_BTE, self.start(x_BTE) if c_BH is None else c_BH)
        return self.cell.emit(ran), ran.c

    def step(self, x_BE: Tensor, c_BH: Tensor) -> tuple[Tensor, Tensor]:
        """(h_t, c_t)"""
        ran = self.run(x_BE, c_BH)
        return self.cell.emit(ran), ran.c

    def run(self, x: Tensor, c_BH: Tensor, added_BG: Tensor | None = None) -> Ran:
        """Up to c, for a position or for all; ``added`` goes to the gates of every position."""
        missing = self.W.shape[0] - (0 if self.b is None else self.b.shape[0])
        gates = F.linear(x, self.W, None if self.b is None else F.pad(self.b, (0, missing)))
        gates = gates.to(c_BH.dtype)
        if added_BG is not None:
            gates = gates + (added_BG if x.dim() == 2 else added_BG.unsqueeze(1))
        a, u = self.cell.pooled(gates)
        if x.dim() == 2:
            return Ran(self.pool.step(a, u, c_BH), c_BH, gates, x)
        c_BTH = self.pool(a, u, c_BH)
        return Ran(c_BTH, torch.cat([c_BH.unsqueeze(1), c_BTH[:, :-1]], dim=1), gates, x)
