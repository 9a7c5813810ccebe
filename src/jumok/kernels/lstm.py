"""An LSTM over a whole sequence; forward and backward by hand, in native code.

    i, f, o = sigmoid(W x_t + U h_{t-1} + b),  g = tanh(..)     gates in torch's order i, f, g, o
    c_t = f * c_{t-1} + i * g,  h_t = o * tanh(c_t)             (Hochreiter & Schmidhuber 1997)

Letters as everywhere; G = 4 H.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jumok.kernels.buffers import Call, contiguous, empty, wanted
from jumok.kernels.serving import Precision, is_low
from jumok.native.library import check, library

__all__ = ["lstm"]


def lstm(
    x_BTE: Tensor,
    weight_x_GE: Tensor,
    weight_h_GH: Tensor,
    bias_G: Tensor | None = None,
    h0_BH: Tensor | None = None,
    c0_BH: Tensor | None = None,
    *,
    precision: Precision = "fp32",
) -> tuple[Tensor, Tensor]:
    """``(h_BTH, c_BTH)``: the states after every step. Absent first states are zeros.

    It runs over padding like over any step; a gradient of zero there stays exactly zero.
    """
    return _Lstm.apply(  # type: ignore[no-untyped-call, no-any-return]
        is_low(precision), x_BTE, weight_x_GE, weight_h_GH, bias_G, h0_BH, c0_BH
    )


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, low: bool, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        x_BTE, weight_x_GE, weight_h_GH, bias_G, h0_BH, c0_BH = call_inputs = contiguous(inputs)
        (B, T, E), H = x_BTE.shape, weight_h_GH.shape[1]
        check("x_BTE", x_BTE, (B, T, E))
        check("weight_x_GE", weight_x_GE, (4 * H, E))
        check("weight_h_GH", weight_h_GH, (4 * H, H))
        check("bias_G", bias_G, (4 * H,))
        check("h0_BH", h0_BH, (B, H))
        check("c0_BH", c0_BH, (B, H))
        h_BTH, c_BTH = empty(B, T, H), empty(B, T, H)
        gates = empty(B, T, 4 * library().padded(H), low=low)
        operands = empty(B, T, library().row(low, E, H), low=low)
        call = Call(low, (B, T, E, H), (*call_inputs, h_BTH, c_BTH, gates, operands))
        call.run("lstm_forward")
        ctx.save_for_backward(*call.arrays)
        ctx.call = (low, call.sizes)
        ctx.set_materialize_grads(False)
        return h_BTH, c_BTH

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dh_BTH: Tensor | None, dc_BTH: Tensor | None) -> tuple[Any, ...]:
        arrays, given = ctx.saved_tensors, contiguous((dh_BTH, dc_BTH))
        grads = wanted(ctx.needs_input_grad[1:], arrays[:6], always=(1, 2))
        Call(*ctx.call, (*arrays, *given, *grads)).run("lstm_backward")
        return None, *grads
