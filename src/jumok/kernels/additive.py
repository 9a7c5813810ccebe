"""Bahdanau's decoder as the notes wire it, with an LSTM cell; native, by hand.

    e_s = v . tanh(W_q s_{t-1} + keys_s)       the query is the PREVIOUS state
    a_t = softmax(e), c_t = a_t values          (Bahdanau 2015, section 3.1 and appendix A.1.2)
    s_t = LSTM([y_t; c_t], s_{t-1})

The tanh is recomputed on the way back: nothing of size T S A is ever kept. Letters as
everywhere; D is the width of the values, G = 4 H.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jumok.kernels.buffers import Call, contiguous, empty, wanted
from jumok.kernels.serving import Precision, is_low
from jumok.native.library import check, library

__all__ = ["AdditiveOutput", "additive_lstm"]


class AdditiveOutput(NamedTuple):
    """What `additive_lstm` returns; every field takes a gradient."""

    h_BTH: Tensor
    context_BTD: Tensor
    weights_BTS: Tensor
    c_BH: Tensor


def additive_lstm(
    x_BTE: Tensor,
    keys_BSA: Tensor,
    values_BSD: Tensor,
    mask_BS: Tensor | None,
    *,
    weight_x_GI: Tensor,
    weight_h_GH: Tensor,
    bias_G: Tensor | None,
    weight_q_AH: Tensor,
    v_A: Tensor,
    h0_BH: Tensor | None = None,
    c0_BH: Tensor | None = None,
    precision: Precision = "fp32",
) -> AdditiveOutput:
    """All T teacher-forced steps: the new states, what each attended to, the last cell state.

    ``keys_BSA`` are the projected annotations, any bias of the scorer included. ``weight_x_GI``
    has I = E + D columns, the embedding's first. Absent first states are zeros. A masked
    position has weight 0; a row with nothing to attend to has the context 0.
    """
    outputs = _Additive.apply(  # type: ignore[no-untyped-call]
        is_low(precision), mask_BS,
        x_BTE, weight_x_GI, weight_h_GH, bias_G, weight_q_AH, v_A, keys_BSA, values_BSD,
        h0_BH, c0_BH,
    )  # fmt: skip
    return AdditiveOutput(*outputs)


class _Additive(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, low: bool, mask: Tensor | None, *inputs: Tensor | None
    ) -> tuple[Tensor, ...]:
        mask, *inputs_ = contiguous((mask, *inputs))
        sizes = B, T, E, H, S, D, A = _sizes(mask, *inputs_)
        h, context, weights = empty(B, T, H), empty(B, T, D), empty(B, T, S)
        c, query = empty(B, T, H), empty(B, T, library().padded(A))
        gates = empty(B, T, 4 * library().padded(H), low=low)
        operands = empty(B, T, library().row(low, E, D, H), low=low)
        first, states = inputs_[:8], inputs_[8:]
        arrays = (*first, mask, *states, h, context, weights, c, query, gates, operands)
        Call(low, sizes, arrays).run("additive_lstm_forward")
        ctx.save_for_backward(*(None if x is h or x is context else x for x in arrays))
        ctx.call = (low, sizes)
        ctx.set_materialize_grads(False)
        return h, context, weights, c[:, -1].clone()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        inputs = (*saved[:8], *saved[9:11])
        grads = wanted(ctx.needs_input_grad[2:], inputs, always=(1, 2, 4))
        Call(*ctx.call, (*saved, *contiguous(given), *grads)).run("additive_lstm_backward")
        return None, None, *grads


def _sizes(
    mask: Tensor | None, x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor | None,
    weight_q: Tensor, v: Tensor, keys: Tensor, values: Tensor, h0: Tensor | None,
    c0: Tensor | None,
) -> tuple[int, ...]:  # fmt: skip
    """(B, T, E, H, S, D, A) of arguments that fit together; UsageError if they do not."""
    (B, T, E), (S, D), H, A = x.shape, values.shape[1:], weight_h.shape[1], v.shape[0]
    check("x_BTE", x, (B, T, E))
    check("weight_x_GI", weight_x, (4 * H, E + D))
    check("weight_h_GH", weight_h, (4 * H, H))
    check("bias_G", bias, (4 * H,))
    check("weight_q_AH", weight_q, (A, H))
    check("v_A", v, (A,))
    check("keys_BSA", keys, (B, S, A))
    check("values_BSD", values, (B, S, D))
    check("mask_BS", mask, (B, S), "bool")
    check("h0_BH", h0, (B, H))
    check("c0_BH", c0, (B, H))
    return B, T, E, H, S, D, A
