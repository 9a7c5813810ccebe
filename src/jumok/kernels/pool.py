"""Pooling by a forget gate over a whole sequence; native, by hand.

    f_t = sigmoid(a_t + v * c_{t-1})          without v: sigmoid(a_t)
    c_t = f_t * c_{t-1} + (1 - f_t) * u_t

and with g_t = dc_t + what comes back from t + 1:

    da_t = g_t (c_{t-1} - u_t) f_t (1 - f_t)    du_t = g_t (1 - f_t)    dv += da_t c_{t-1}
    to t - 1: g_t f_t + da_t v
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jumok.kernels.buffers import Call, contiguous, empty
from jumok.native.library import check

__all__ = ["forget_pool"]


def forget_pool(
    a_BTH: Tensor, u_BTH: Tensor, v_H: Tensor | None = None, c0_BH: Tensor | None = None
) -> Tensor:
    """``c_BTH``: the cells after every step, float32. An absent first cell is zero."""
    return _Pool.apply(a_BTH, u_BTH, v_H, c0_BH)  # type: ignore[no-untyped-call, no-any-return]


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor | None) -> Tensor:
        inputs_ = contiguous(inputs)
        B, T, H = inputs_[0].shape
        for name, x, shape in zip(
            ("a_BTH", "u_BTH", "v_H", "c0_BH"),
            inputs_,
            ((B, T, H), (B, T, H), (H,), (B, H)),
            strict=True,
        ):
            check(name, x, shape)
        c = empty(B, T, H)
        Call(False, (B, T, H), (*inputs_, c)).run("forget_pool_forward")
        ctx.save_for_backward(*inputs_, c)
        return c

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dc: Tensor) -> tuple[Any, ...]:
        a, u, v, c0, c = ctx.saved_tensors
        B, T, H = a.shape
        da, du, dc0 = torch.empty_like(a), torch.empty_like(u), empty(B, H)
        dv_BH = None if v is None else empty(B, H)
        arrays = (a, u, v, c0, c, dc.contiguous(), da, du, dv_BH, dc0)
        Call(False, (B, T, H), arrays).run("forget_pool_backward")
        dv = None if dv_BH is None else dv_BH.sum(dim=0)
        return da, du, dv, None if c0 is None else dc0
