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

from jumok.errors import UsageError
from jumok.kernels.buffers import Call, contiguous, empty, wanted
from jumok.kernels.serving import Precision, is_low
from jumok.native.library import check, library

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
    if reset not in ("after", "before") or z_gates not in ("old", "new"):
        raise UsageError(
            f"`reset` ({reset!r}) must be 'after' or 'before', "
            f"`z_gates` ({z_gates!r}) 'old' or 'new'."
        )
    wiring = (int(reset == "before"), int(z_gates == "new"))
    return _Gru.apply(  # type: ignore[no-untyped-call, no-any-return]
        is_low(precision), wiring, x_BTE, weight_x_GE, weight_h_GH, bias_G, h0_BH
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
        kept = [empty(B, T, library().padded(H)) for _ in range(3 if wiring[0] else 4)]
        inner = kept[3] if len(kept) > 3 else None
        h, operands = empty(B, T, H), empty(B, T, library().row(low, H, E, H), low=low)
        arrays = (*inputs_, h, *kept[:3], inner, operands)
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
