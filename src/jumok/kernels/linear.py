"""y = x W^T + b with bfloat16 or float32 operands and float32 sums, forward and backward.

torch's own product is as fast for big float32 matrices; this one also takes bfloat16 operands
without rounding the result or the weight's gradient, and the small shapes that a step has.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jumok.kernels.buffers import Call, contiguous, empty, wanted
from jumok.kernels.serving import Precision, is_low
from jumok.native.library import check, library

__all__ = ["linear"]


def linear(
    x: Tensor, weight_FE: Tensor, bias_F: Tensor | None = None, *, precision: Precision = "fp32"
) -> Tensor:
    """``x`` [..., E] times the transpose of ``weight_FE``, plus the bias: [..., F]."""
    rows = contiguous((x.reshape(-1, x.shape[-1]), weight_FE, bias_F))
    y = _Linear.apply(is_low(precision), *rows)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], weight_FE.shape[0])  # type: ignore[no-any-return]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, low: bool, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sizes = N, E, F = (*x.shape, weight.shape[0])
        check("x", x, (N, E))
        check("weight_FE", weight, (F, E))
        check("bias_F", bias, (F,))
        y, operands = empty(N, F), empty(N, library().row(low, E), low=low)
        Call(low, sizes, (x, weight, bias, y, operands)).run("linear_forward")
        ctx.save_for_backward(weight, operands)
        ctx.call = (low, sizes)
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        (weight, operands), (_, (N, E, F)) = ctx.saved_tensors, ctx.call
        shapes = (empty(N, E), weight, empty(F))
        grads = wanted(ctx.needs_input_grad[1:], shapes)
        Call(*ctx.call, (weight, operands, dy.contiguous(), *grads)).run("linear_backward")
        return None, *grads
