"""Bahdanau's decoders: additive attention asked by a state, and the recurrence that reads it.

    e_s = v . tanh(W_q s + keys_s)        (Bahdanau 2015, section 3.1 and appendix A.1.2)
    a_t = softmax(e), c_t = a_t values

`additive_lstm` and `additive_gru` ask with the PREVIOUS state and then step over [y_t; c_t];
`conditional_gru` (dl4mt, Nematus) asks with the state of a first GRU over y_t, from which a
second one goes on over c_t. The tanh is recomputed on the way back: nothing of size T S A is
ever kept. Letters as everywhere; D is the width of the values, G = 4 H (LSTM) or 3 H (GRU).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jumok.errors import UsageError
from jumok.kernels.buffers import Call, contiguous, empty, wanted
from jumok.kernels.serving import Precision, is_low
from jumok.native.library import check, library

__all__ = [
    "AdditiveOutput",
    "additive_gru",
    "additive_lstm",
    "additive_scores",
    "conditional_gru",
]


class AdditiveOutput(NamedTuple):
    """What the decoders return; the first three take gradients, and so does an LSTM's c."""

    h_BTH: Tensor
    context_BTD: Tensor
    weights_BTS: Tensor
    c_BH: Tensor | None = None
    """The last cell state of an LSTM."""
    asking_BTH: Tensor | None = None
    """The states that asked, where another recurrence made them; takes no gradient."""


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
        is_low(precision), None, mask_BS,
        x_BTE, weight_x_GI, weight_h_GH, bias_G, weight_q_AH, v_A, keys_BSA, values_BSD,
        h0_BH, c0_BH,
    )  # fmt: skip
    return AdditiveOutput(*outputs)


def additive_gru(
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
    reset: Literal["after", "before"] = "before",
    z_gates: Literal["old", "new"] = "new",
    precision: Precision = "fp32",
) -> AdditiveOutput:
    """`additive_lstm` with the GRU of `kernels.gru`; the defaults are RNNsearch's (2015)."""
    outputs = _Additive.apply(  # type: ignore[no-untyped-call]
        is_low(precision), wired(reset, z_gates), mask_BS,
        x_BTE, weight_x_GI, weight_h_GH, bias_G, weight_q_AH, v_A, keys_BSA, values_BSD,
        h0_BH, None,
    )  # fmt: skip
    return AdditiveOutput(*outputs)


def wired(reset: str, z_gates: str) -> tuple[int, int]:
    """A GRU's wiring as the native code wants it. Raises UsageError for an unknown one."""
    if reset not in ("after", "before") or z_gates not in ("old", "new"):
        raise UsageError(
            f"`reset` ({reset!r}) must be 'after' or 'before', "
            f"`z_gates` ({z_gates!r}) 'old' or 'new'."
        )
    return int(reset == "before"), int(z_gates == "new")


class _Additive(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        low: bool,
        wiring: tuple[int, int] | None,
        mask: Tensor | None,
        *inputs: Tensor | None,
    ) -> tuple[Tensor, ...]:
        mask, *inputs_ = contiguous((mask, *inputs))
        sizes = B, T, E, H, S, D, A = _sizes(3 if wiring else 4, mask, *inputs_)
        found = (empty(B, T, H), empty(B, T, D), empty(B, T, S), empty(B, T, library().padded(A)))
        if wiring is None:
            ctx.name, states = "additive_lstm", inputs_[8:]
            gates = empty(B, T, 4 * library().padded(H), low=low)
            kept = (empty(B, T, H), gates, empty(B, T, library().row(low, E + D, H), low=low))
        else:
            ctx.name, states, sizes = "additive_gru", inputs_[8:9], (*wiring, *sizes)
            kept = gru_buffers(low, wiring[0], B, T, E + D, H)
        ctx.call = (low, sizes)
        arrays = (*inputs_[:8], mask, *states, *found, *kept)
        Call(*ctx.call, arrays).run(f"{ctx.name}_forward")
        ctx.save_for_backward(*arrays)
        ctx.set_materialize_grads(False)
        return found[:3] if wiring else (*found[:3], kept[0][:, -1].clone())

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        saved, lstm = ctx.saved_tensors, ctx.name == "additive_lstm"
        inputs = (*saved[:8], saved[9], saved[10] if lstm else None)
        grads = wanted(ctx.needs_input_grad[3:], inputs, always=(1, 2, 4))
        arrays = (*saved, *contiguous(given), *(grads if lstm else grads[:9]))
        Call(*ctx.call, arrays).run(f"{ctx.name}_backward")
        return None, None, None, *grads


def gru_buffers(low: bool, before: int, B: int, T: int, E: int, H: int) -> tuple[Tensor, Tensor]:
    """What a GRU over [B, T, E] keeps for its way back: gates, operands."""
    kept = empty(3 if before else 4, B, T, library().padded(H))
    return kept, empty(B, T, library().row(low, H, E, H), low=low)


def _sizes(
    gates: int, mask: Tensor | None, x: Tensor, weight_x: Tensor, weight_h: Tensor,
    bias: Tensor | None, weight_q: Tensor, v: Tensor, keys: Tensor, values: Tensor,
    h0: Tensor | None, c0: Tensor | None,
) -> tuple[int, ...]:  # fmt: skip
    """(B, T, E, H, S, D, A) of arguments that fit together; UsageError if they do not."""
    (B, T, E), (S, D), H, A = x.shape, values.shape[1:], weight_h.shape[1], v.shape[0]
    check("x_BTE", x, (B, T, E))
    check("weight_x_GI", weight_x, (gates * H, E + D))
    check("weight_h_GH", weight_h, (gates * H, H))
    check("bias_G", bias, (gates * H,))
    check("c0_BH", c0, (B, H))
    _check_memory(mask, weight_q, v, keys, values, h0, (B, H, S, D, A))
    return B, T, E, H, S, D, A


def _check_memory(
    mask: Tensor | None, weight_q: Tensor, v: Tensor, keys: Tensor, values: Tensor,
    h0: Tensor | None, sizes: tuple[int, int, int, int, int],
) -> None:  # fmt: skip
    B, H, S, D, A = sizes
    check("weight_q_AH", weight_q, (A, H))
    check("v_A", v, (A,))
    check("keys_BSA", keys, (B, S, A))
    check("values_BSD", values, (B, S, D))
    check("mask_BS", mask, (B, S), "bool")
    check("h0_BH", h0, (B, H))


def conditional_gru(
    x_BTE: Tensor,
    keys_BSA: Tensor,
    values_BSD: Tensor,
    mask_BS: Tensor | None,
    *,
    first: tuple[Tensor, Tensor, Tensor | None],
    second: tuple[Tensor, Tensor, Tensor | None],
    weight_q_AH: Tensor,
    v_A: Tensor,
    h0_BH: Tensor | None = None,
    precision: Precision = "fp32",
) -> AdditiveOutput:
    """All T steps of dl4mt's decoder; ``h_BTH`` are the second GRU's states.

    ``first`` and ``second`` are (weight_x, weight_h, bias) with 3 H rows, over E and D columns;
    the reset comes after the product and z gates the old state.
    """
    outputs = _Conditional.apply(  # type: ignore[no-untyped-call]
        is_low(precision), mask_BS,
        x_BTE, *first, *second, weight_q_AH, v_A, keys_BSA, values_BSD, h0_BH,
    )  # fmt: skip
    return AdditiveOutput(*outputs[:3], asking_BTH=outputs[3])


class _Conditional(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, low: bool, mask: Tensor | None, *inputs: Tensor | None
    ) -> tuple[Tensor, ...]:
        mask, *inputs_ = contiguous((mask, *inputs))
        x, x1, h1, b1, x2, h2, b2, weight_q, v, keys, values, h0 = inputs_
        (B, T, E), (S, D), H, A = x.shape, values.shape[1:], h1.shape[1], v.shape[0]
        for which, (on_x, on_h, bias, width) in enumerate(((x1, h1, b1, E), (x2, h2, b2, D)), 1):
            check(f"weight_x{which}", on_x, (3 * H, width))
            check(f"weight_h{which}", on_h, (3 * H, H))
            check(f"bias{which}", bias, (3 * H,))
        check("x_BTE", x, (B, T, E))
        _check_memory(mask, weight_q, v, keys, values, h0, (B, H, S, D, A))
        found = (empty(B, T, H), empty(B, T, D), empty(B, T, S), empty(B, T, library().padded(A)))
        asking, buffers = empty(B, T, H), [gru_buffers(low, 0, B, T, w, H) for w in (E, D)]
        kept = (asking, *(b[0] for b in buffers), *(b[1] for b in buffers))
        arrays = (*inputs_[:11], mask, h0, *found, *kept)
        ctx.call = (low, (B, T, E, H, S, D, A))
        Call(*ctx.call, arrays).run("conditional_gru_forward")
        ctx.save_for_backward(*arrays)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(asking)
        return *found[:3], asking

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        inputs = (*saved[:11], saved[12])
        grads = wanted(ctx.needs_input_grad[2:], inputs, always=(1, 2, 4, 5, 7))
        Call(*ctx.call, (*saved, *contiguous(given[:3]), *grads)).run("conditional_gru_backward")
        return None, None, *grads


def additive_scores(
    query_BTA: Tensor, keys_BSA: Tensor, v_A: Tensor, mask_BS: Tensor | None = None
) -> Tensor:
    """v . tanh(query + keys) for all pairs, [B, T, S], without anything of size T S A.

    Masked positions are not looked at: their score is 0 and takes no gradient.
    """
    return _Scores.apply(mask_BS, query_BTA, keys_BSA, v_A)  # type: ignore[no-untyped-call]


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask: Tensor | None, *inputs: Tensor) -> Tensor:
        mask, query, keys, v = contiguous((mask, *inputs))
        (B, T, A), S = query.shape, keys.shape[1]
        check("query_BTA", query, (B, T, A))
        check("keys_BSA", keys, (B, S, A))
        check("v_A", v, (A,))
        check("mask_BS", mask, (B, S), "bool")
        scores, ctx.sizes = empty(B, T, S), (torch.get_num_threads(), B, T, S, A)
        library().call("additive_scores_forward", ctx.sizes, (query, keys, v, mask, scores))
        ctx.save_for_backward(query, keys, v, mask)
        return scores

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dscores: Tensor) -> tuple[Any, ...]:
        query, keys, v, mask = ctx.saved_tensors
        grads = wanted(ctx.needs_input_grad[1:], (query, keys, v))
        arrays = (query, keys, v, mask, None, dscores.contiguous(), *grads)
        library().call("additive_scores_backward", ctx.sizes, arrays)
        return None, *grads
