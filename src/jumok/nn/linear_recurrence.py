"""The recurrence without a matrix, c_t = f_t c_{t-1} + u_t, over all positions of a sequence.

Every number goes its own way through time: QRNN, SRU, SSRU, minGRU and minLSTM stand on it
(``nn/parallel_cells.py``), all in the form

    f_t = sigmoid(a_t + v * c_{t-1}),  c_t = f_t * c_{t-1} + (1 - f_t) * u_t,

where only SRU has v. ``ForgetPool`` computes it: native code on the CPU in float32; elsewhere a
scan whose backward pass is the same scan from the other end. With v nothing can be known ahead,
so that one is a loop everywhere. Sums are float32 at least, whatever autocast says.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from jumok import kernels
from jumok.nn.paths import took

__all__ = ["ForgetPool", "linear_recurrence", "log_space_recurrence"]


class ForgetPool(nn.Module):
    """c_t = f_t c_{t-1} + (1 - f_t) u_t with f_t = sigmoid(a_t [+ v c_{t-1}]).

    f is the share of what is *kept*. ``looks_back``: with v, so that the gate sees its cell.
    """

    def __init__(self, size: int, *, looks_back: bool = False) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.zeros(size)) if looks_back else None

    def step(self, a_BH: Tensor, u_BH: Tensor, c_BH: Tensor) -> Tensor:
        """c_t from c_{t-1}."""
        a_BH, u_BH = a_BH.to(c_BH.dtype), u_BH.to(c_BH.dtype)
        f_BH = torch.sigmoid(a_BH if self.v is None else a_BH + self.v * c_BH)
        return f_BH * c_BH + (1 - f_BH) * u_BH

    def forward(self, a_BTH: Tensor, u_BTH: Tensor, c_BH: Tensor) -> Tensor:
        """c_1 .. c_T, (B, T, H), from c_0; in the dtype of c_0."""
        a_BTH, u_BTH = a_BTH.to(c_BH.dtype), u_BTH.to(c_BH.dtype)
        refusal = kernels.serves("forget_pool", a_BTH, u_BTH, self.v, c_BH)
        if refusal is None:
            took("forget pool", "native fp32")
            return kernels.forget_pool(a_BTH, u_BTH, self.v, c_BH)
        if self.v is None:
            took("forget pool", f"scan: {refusal}")
            f_BTH = torch.sigmoid(a_BTH)
            return linear_recurrence(f_BTH, (1 - f_BTH) * u_BTH, c_BH)
        took("forget pool", f"loop: {refusal}")
        return _LookingBack.apply(  # type: ignore[no-untyped-call, no-any-return]
            a_BTH, u_BTH, self.v, c_BH
        )


def linear_recurrence(f_BTH: Tensor, u_BTH: Tensor, c_BH: Tensor) -> Tensor:
    """c_t = f_t c_{t-1} + u_t for t = 1 .. T from c_0: (B, T, H), on any device.

    Source: Martin & Cundy 2018 ("parallelizing linear recurrent neural nets"), eq. 1.
    """
    return _Linear.apply(f_BTH, u_BTH, c_BH)  # type: ignore[no-untyped-call, no-any-return]


class _Linear(torch.autograd.Function):
    """With g_t = dc_t + f_{t+1} g_{t+1}: df_t = g_t c_{t-1}, du_t = g_t, dc_0 = f_1 g_1."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, u: Tensor, c_0: Tensor) -> Tensor:
        c = _scan(f, u, c_0)
        ctx.save_for_backward(f, c, c_0)
        return c

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f, c, c_0 = ctx.saved_tensors
        after = F.pad(f[:, 1:], (0, 0, 0, 1)).flip(1)
        g = _scan(after, dc.flip(1), torch.zeros_like(c_0)).flip(1)
        return g * _before(c, c_0), g, f[:, 0] * g[:, 0]


class _LookingBack(torch.autograd.Function):
    """The loop with v; its equations stand in ``kernels/pool.py``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, u: Tensor, v: Tensor, c_0: Tensor) -> Tensor:
        cells, gates, c = [], [], c_0
        for a_t, u_t in zip(a.unbind(1), u.unbind(1), strict=True):
            f_t = torch.sigmoid(torch.addcmul(a_t, c, v))
            c = torch.lerp(u_t, c, f_t)
            gates.append(f_t)
            cells.append(c)
        c_all = torch.stack(cells, dim=1)
        ctx.save_for_backward(torch.stack(gates, dim=1), u, v, _before(c_all, c_0))
        return c_all

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dc: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        f, u, v, before = ctx.saved_tensors
        slope = (before - u) * f * (1 - f)  # of c_t with respect to a_t
        back = torch.addcmul(f, slope, v)  # of c_t with respect to c_{t-1}
        g_all, g = [], torch.zeros_like(dc[:, 0])
        for dc_t, back_t in zip(dc.flip(1).unbind(1), back.flip(1).unbind(1), strict=True):
            g_t = dc_t + g
            g = g_t * back_t
            g_all.append(g_t)
        g_BTH = torch.stack(g_all[::-1], dim=1)
        da = g_BTH * slope
        return da, g_BTH * (1 - f), (da * before).sum(dim=(0, 1)), g


def log_space_recurrence(a_BTH: Tensor, log_u_BTH: Tensor, log_c_BH: Tensor) -> Tensor:
    """The forget pool of positive numbers in the form of Feng et al. 2024, appendix B.

    log f = -softplus(-a), log (1 - f) = -softplus(a); with A_t = log f_1 + .. + log f_t

        log c_t = A_t + logcumsumexp_{i <= t} (log (1 - f_i) u_i - A_i),  c_0 standing at i = 0.

    (B, T, H) -> c, in the inputs' dtype. Measured (``docs/log.md``) it is the slowest way here;
    what it equals is ``ForgetPool``, and a test holds both to it.
    """
    log_f = -F.softplus(-a_BTH)
    log_values = torch.cat([log_c_BH.unsqueeze(1), log_u_BTH - F.softplus(a_BTH)], dim=1)
    A_BTH = F.pad(torch.cumsum(log_f, dim=1), (0, 0, 1, 0))
    return torch.exp(A_BTH + torch.logcumsumexp(log_values - A_BTH, dim=1))[:, 1:]


def _scan(f_BTH: Tensor, u_BTH: Tensor, c_BH: Tensor) -> Tensor:
    """The recurrence without a backward pass: a loop, or by doubling on a GPU."""
    if f_BTH.device.type == "cpu":
        cells = []
        for f_BH, u_BH in zip(f_BTH.unbind(1), u_BTH.unbind(1), strict=True):
            c_BH = torch.addcmul(u_BH, f_BH, c_BH)
            cells.append(c_BH)
        return torch.stack(cells, dim=1)
    return _by_doubling(f_BTH, u_BTH, c_BH)


def _by_doubling(f_BTH: Tensor, u_BTH: Tensor, c_BH: Tensor) -> Tensor:
    """log2 T rounds (Hillis & Steele 1986): after one with reach r, f and u span 2 r steps."""
    f, reach = f_BTH, 1
    c = torch.cat([torch.addcmul(u_BTH[:, :1], f[:, :1], c_BH.unsqueeze(1)), u_BTH[:, 1:]], dim=1)
    while reach < f.shape[1]:
        c = torch.cat([c[:, :reach], torch.addcmul(c[:, reach:], f[:, reach:], c[:, :-reach])], 1)
        f = torch.cat([f[:, :reach], f[:, reach:] * f[:, :-reach]], dim=1)
        reach *= 2
    return c


def _before(c_BTH: Tensor, c_BH: Tensor) -> Tensor:
    """c_0 .. c_{T-1}"""
    return torch.cat([c_BH.unsqueeze(1), c_BTH[:, :-1]], dim=1)
