"""Luong's decoder: one LSTM layer, input feeding, attention by dot product; native, by hand.

    gates from [y_t; h~_{t-1}] and h_{t-1}            (input feeding, Luong 2015 section 3.3)
    a_t = softmax(keys h_t), c_t = a_t values         (keys = source states for `dot`, their
                                                       product with W_a for `general`)
    h~_t = tanh(W_c [c_t; h_t] + b_c)                 (equation 5; the paper has no b_c)

Letters as everywhere; D is the width of the values, F of h~, G = 4 H.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jumok.kernels.buffers import Call, contiguous, empty, wanted
from jumok.kernels.serving import Precision, is_low
from jumok.native.library import check, library

__all__ = ["LuongOutput", "luong_feed"]


class LuongOutput(NamedTuple):
    """What `luong_feed` returns; every field takes a gradient."""

    attentional_BTF: Tensor
    weights_BTS: Tensor
    h_BH: Tensor
    c_BH: Tensor


def luong_feed(
    x_BTE: Tensor,
    keys_BSH: Tensor,
    values_BSD: Tensor,
    mask_BS: Tensor | None,
    *,
    weight_x_GI: Tensor,
    weight_h_GH: Tensor,
    bias_G: Tensor | None,
    weight_c_FJ: Tensor,
    bias_c_F: Tensor | None = None,
    h0_BH: Tensor | None = None,
    c0_BH: Tensor | None = None,
    feed0_BF: Tensor | None = None,
    feed_mask_BTF: Tensor | None = None,
    precision: Precision = "fp32",
) -> LuongOutput:
    """All T teacher-forced steps, attentional states first.

    ``weight_x_GI`` has I = E + F columns, the embedding's first, then those on the fed h~;
    ``weight_c_FJ`` has J = D + H, the context's first. ``feed_mask_BTF[:, t]`` multiplies what
    is fed at step t (dropout); it takes no gradient. Absent first states are zeros. A masked
    position has weight 0; a row with nothing to attend to has the context 0.
    """
    outputs = _Luong.apply(  # type: ignore[no-untyped-call]
        is_low(precision), mask_BS, feed_mask_BTF,
        x_BTE, weight_x_GI, weight_h_GH, bias_G, keys_BSH, values_BSD, weight_c_FJ, bias_c_F,
        h0_BH, c0_BH, feed0_BF,
    )  # fmt: skip
    return LuongOutput(*outputs)


class _Luong(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, low: bool, mask: Tensor | None, feed_mask: Tensor | None, *inputs: Tensor | None
    ) -> tuple[Tensor, ...]:
        mask, feed_mask, *inputs_ = contiguous((mask, feed_mask, *inputs))
        x, weight_x, weight_h, bias, keys, values, weight_c, bias_c, h0, c0, feed0 = inputs_
        sizes = B, T, E, H, S, D, F = _sizes(mask, feed_mask, *inputs_)
        out, weights = empty(B, T, F), empty(B, T, S)
        h, c = empty(B, T, H), empty(B, T, H)
        gates = empty(B, T, 4 * library().padded(H), low=low)
        operands = empty(B, T, library().row(low, E, F, H), low=low)
        joined = empty(B, T, library().row(low, D, H), low=low)
        arrays = (
            x, weight_x, weight_h, bias, keys, values, mask, weight_c, bias_c, h0, c0, feed0,
            feed_mask, out, weights, h, c, gates, operands, joined,
        )  # fmt: skip
        Call(low, sizes, arrays).run("luong_feed_forward")
        ctx.save_for_backward(*arrays)
        ctx.call = (low, sizes)
        ctx.set_materialize_grads(False)
        return out, weights, h[:, -1].clone(), c[:, -1].clone()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        inputs = (*saved[:6], *saved[7:12])
        grads = wanted(ctx.needs_input_grad[3:], inputs, always=(1, 2, 6))
        arrays = (*saved, *contiguous(given), *grads)
        Call(*ctx.call, arrays).run("luong_feed_backward")
        return None, None, None, *grads


def _sizes(
    mask: Tensor | None, feed_mask: Tensor | None, x: Tensor, weight_x: Tensor, weight_h: Tensor,
    bias: Tensor | None, keys: Tensor, values: Tensor, weight_c: Tensor, bias_c: Tensor | None,
    h0: Tensor | None, c0: Tensor | None, feed0: Tensor | None,
) -> tuple[int, ...]:  # fmt: skip
    """(B, T, E, H, S, D, F) of arguments that fit together; UsageError if they do not."""
    (B, T, E), (S, D), H, F = x.shape, values.shape[1:], weight_h.shape[1], weight_c.shape[0]
    check("x_BTE", x, (B, T, E))
    check("weight_x_GI", weight_x, (4 * H, E + F))
    check("weight_h_GH", weight_h, (4 * H, H))
    check("bias_G", bias, (4 * H,))
    check("keys_BSH", keys, (B, S, H))
    check("values_BSD", values, (B, S, D))
    check("mask_BS", mask, (B, S), "bool")
    check("weight_c_FJ", weight_c, (F, D + H))
    check("bias_c_F", bias_c, (F,))
    check("h0_BH", h0, (B, H))
    check("c0_BH", c0, (B, H))
    check("feed0_BF", feed0, (B, F))
    check("feed_mask_BTF", feed_mask, (B, T, F))
    return B, T, E, H, S, D, F
