"""A GRU over a whole sequence, in both senses of its gates; native, by hand.

    r, z = sigmoid(W x_t + U h_{t-1} + b)                               rows r, z, n
    n = tanh(W x_t + b + r * (U h_{t-1}))     reset "after" the product (cuDNN, PyTorch, dl4mt)
    n = tanh(W x_t + b + U (r * h_{t-1}))     reset "before" it (Cho 2014, Bahdanau 2015)
    h_t = (1 - z) n + z h_{t-1}               z gates the "old" state
    h_t = (1 - z) h_{t-1} + z n               z gates the "new" state (Bahdanau's code)

Letters as everywhere; G = 3 H.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jumok.kernels.additive import gru_buffers, wired
from jumok.kernels.buffers import Call, contiguous, empty, wanted
from jumok.kernels.serving import Precision, is_low
from jumok.native.library import check

__all__ = ["gru"]


def gru(
    x_BTE: Tensor,
    weight_x_GE: Tensor,
    weight_h_GH: Tensor,
    bias_G: Tensor | None = None,
    h0_BH: Tensor | None = None,
    *,
    reset: Literal["after", "before"] = "after",
    z_gates: Literal["old", "new"] = "old",
    precision: Precision = "fp32",
) -> Tensor:
    """``h_BTH``: the states after every step. Absent first states are zeros.

    It runs over padding like over any step; a gradient of zero there stays exactly zero.
    """
    return _Gru.apply(  # type: ignore[no-untyped-call, no-any-return]
        is_low(precision), wired(reset, z_gates), x_BTE, weight_x_GE, weight_h_GH, bias_G, h0_BH
    )


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, low: bool, wiring: tuple[int, int], *inputs: Tensor | None) -> Tensor:
        x, weight_x, weight_h, bias, h0 = inputs_ = contiguous(inputs)
        (B, T, E), H = x.shape, weight_h.shape[1]
        check("x_BTE", x, (B, T, E))
        check("weight_x_GE", weight_x, (3 * H, E))
        check("weight_h_GH", weight_h, (3 * H, H))
        check("bias_G", bias, (3 * H,))
        check("h0_BH", h0, (B, H))
        h = empty(B, T, H)
        arrays = (*inputs_, h, *gru_buffers(low, wiring[0], B, T, E, H))
        ctx.call = (low, (*wiring, B, T, E, H))
        Call(*ctx.call, arrays).run("gru_forward")
        ctx.save_for_backward(*arrays)
        return h

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dh: Tensor) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        grads = wanted(ctx.needs_input_grad[2:], saved[:5], always=(1, 2))
        Call(*ctx.call, (*saved, dh.contiguous(), *grads)).run("gru_backward")
        return None, None, *grads
