"""Values and gradients of every kernel are those of a plain loop, at odd sizes too."""

from __future__ import annotations

from collections.abc import Callable

import kernel_loops as loops
import pytest
import torch
from kernel_loops import compare, drawn
from torch import Tensor

from jumok import kernels, native

pytestmark = pytest.mark.skipif(not native.available(), reason="no native library here")

BOUNDS = {"fp32": {"values": 3e-6, "gradients": 1e-5}, "bf16": {"values": 1e-2, "gradients": 3e-2}}
"""bf16: operands have 8 bits (4e-3), and errors add up over time."""

precision = pytest.mark.parametrize("precision", ["fp32", "bf16"])
# (B, T, E, H, S, D, A or F): distinct primes; whole registers; ones; many rows.
sizes = pytest.mark.parametrize(
    "sizes",
    [(5, 7, 3, 11, 13, 17, 19), (13, 3, 16, 64, 29, 32, 128), (1, 1, 1, 1, 1, 1, 1),
     (83, 2, 5, 37, 3, 67, 23)],
    ids=str,
)  # fmt: skip


def some_mask(B: int, S: int) -> Tensor:
    mask = torch.rand(B, S, generator=torch.Generator().manual_seed(2)) > 0.4
    mask[:, 0] = True
    return mask


@precision
@sizes
def test_lstm_equals_the_loop(sizes: tuple[int, ...], precision: kernels.Precision) -> None:
    B, T, E, H = sizes[:4]
    inputs = drawn((B, T, E), (4 * H, E), (4 * H, H), (4 * H,), (B, H), (B, H))
    compare(
        lambda *x: kernels.lstm(*x, precision=precision), loops.lstm, inputs, **BOUNDS[precision]
    )


@precision
@sizes
@pytest.mark.parametrize("z_gates", ["old", "new"])
@pytest.mark.parametrize("reset", ["after", "before"])
def test_gru_equals_the_loop(
    sizes: tuple[int, ...], precision: kernels.Precision, reset: str, z_gates: str
) -> None:
    B, T, E, H = sizes[:4]
    inputs = drawn((B, T, E), (3 * H, E), (3 * H, H), (3 * H,), (B, H))
    wiring = {"reset": reset, "z_gates": z_gates}
    compare(
        lambda *x: (kernels.gru(*x, **wiring, precision=precision),),
        lambda *x: loops.gru(*x, **wiring),
        inputs,
        **BOUNDS[precision],
    )


@precision
@sizes
def test_luong_equals_the_loop(sizes: tuple[int, ...], precision: kernels.Precision) -> None:
    B, T, E, H, S, D, F = sizes
    mask = some_mask(B, S)
    feed_mask = (torch.rand(B, T, F, generator=torch.Generator().manual_seed(3)) > 0.2) * 1.25

    def fast(x, keys, values, w_x, w_h, b, w_c, b_c, h, c, fed):  # type: ignore[no-untyped-def]
        return kernels.luong_feed(
            x, keys, values, mask, weight_x_GI=w_x, weight_h_GH=w_h, bias_G=b, weight_c_FJ=w_c,
            bias_c_F=b_c, h0_BH=h, c0_BH=c, feed0_BF=fed, feed_mask_BTF=feed_mask,
            precision=precision,
        )  # fmt: skip

    inputs = drawn(
        (B, T, E), (B, S, H), (B, S, D), (4 * H, E + F), (4 * H, H), (4 * H,), (F, D + H), (F,),
        (B, H), (B, H), (B, F),
    )  # fmt: skip
    compare(
        fast,
        lambda x, k, v, *rest: loops.luong(x, k, v, mask, feed_mask, *rest),
        inputs,
        **BOUNDS[precision],
    )


def test_scores_of_hundreds_are_weighed_like_small_ones() -> None:
    """Beyond what exp can take without the largest score subtracted first."""
    B, T, E, H, S = 3, 2, 5, 7, 11
    x, keys, w_x, w_h, w_c = drawn((B, T, E), (B, S, H), (4 * H, E + H), (4 * H, H), (H, 2 * H))
    keys = keys.detach() * 2000
    weights = kernels.luong_feed(
        x, keys, keys, None, weight_x_GI=w_x, weight_h_GH=w_h, bias_G=None, weight_c_FJ=w_c
    ).weights_BTS
    states, _ = kernels.lstm(torch.cat([x, x.new_zeros(B, T, H)], -1), w_x, w_h)
    scores = torch.einsum("bsh,bh->bs", keys.double(), states[:, 0].double())
    assert scores.max() > 200
    right = torch.softmax(scores, -1).float()
    torch.testing.assert_close(weights[:, 0], right, rtol=0, atol=1e-3)


def additive_inputs(sizes: tuple[int, ...]) -> list[Tensor]:
    B, T, E, H, S, D, A = sizes
    return drawn(
        (B, T, E), (B, S, A), (B, S, D), (4 * H, E + D), (4 * H, H), (4 * H,), (A, H), (A,),
        (B, H), (B, H),
    )  # fmt: skip


def additive(mask: Tensor | None, precision: kernels.Precision) -> Callable[..., object]:
    def fast(x, keys, values, w_x, w_h, b, w_q, v, h, c):  # type: ignore[no-untyped-def]
        return kernels.additive_lstm(
            x, keys, values, mask, weight_x_GI=w_x, weight_h_GH=w_h, bias_G=b, weight_q_AH=w_q,
            v_A=v, h0_BH=h, c0_BH=c, precision=precision,
        )[:4]  # fmt: skip

    return fast


@precision
@sizes
@pytest.mark.parametrize("spread", [1.0, 90.0], ids=["small keys", "keys beyond exp's range"])
def test_additive_equals_the_loop(
    sizes: tuple[int, ...], precision: kernels.Precision, spread: float
) -> None:
    mask = some_mask(sizes[0], sizes[4])
    inputs = additive_inputs(sizes)
    inputs[1] = (inputs[1].detach() * spread).requires_grad_()
    compare(
        additive(mask, precision),
        lambda x, k, v, *rest: loops.additive(x, k, v, mask, *rest),
        inputs,
        **BOUNDS[precision],
    )


@precision
@sizes
@pytest.mark.parametrize("reset", ["after", "before"])
def test_additive_gru_equals_the_loop(
    sizes: tuple[int, ...], precision: kernels.Precision, reset: str
) -> None:
    B, T, E, H, S, D, A = sizes
    mask, z_gates = some_mask(B, S), "new" if reset == "before" else "old"

    def fast(x, keys, values, w_x, w_h, b, w_q, v, h):  # type: ignore[no-untyped-def]
        return kernels.additive_gru(
            x, keys, values, mask, weight_x_GI=w_x, weight_h_GH=w_h, bias_G=b, weight_q_AH=w_q,
            v_A=v, h0_BH=h, reset=reset, z_gates=z_gates, precision=precision,
        )[:3]  # fmt: skip

    def slow(x, keys, values, *rest):  # type: ignore[no-untyped-def]
        return loops.additive_gru(x, keys, values, mask, *rest, reset=reset, z_gates=z_gates)

    inputs = drawn(
        (B, T, E), (B, S, A), (B, S, D), (3 * H, E + D), (3 * H, H), (3 * H,), (A, H), (A,), (B, H)
    )
    compare(fast, slow, inputs, **BOUNDS[precision])


@precision
@sizes
def test_conditional_gru_equals_the_loop(
    sizes: tuple[int, ...], precision: kernels.Precision
) -> None:
    B, T, E, H, S, D, A = sizes
    mask = some_mask(B, S)

    def fast(x, keys, values, x1, h1, b1, x2, h2, b2, w_q, v, h):  # type: ignore[no-untyped-def]
        return kernels.conditional_gru(
            x, keys, values, mask, first=(x1, h1, b1), second=(x2, h2, b2), weight_q_AH=w_q,
            v_A=v, h0_BH=h, precision=precision,
        )[:3]  # fmt: skip

    inputs = drawn(
        (B, T, E), (B, S, A), (B, S, D), (3 * H, E), (3 * H, H), (3 * H,), (3 * H, D), (3 * H, H),
        (3 * H,), (A, H), (A,), (B, H),
    )  # fmt: skip
    compare(
        fast,
        lambda x, k, v, *rest: loops.conditional_gru(x, k, v, mask, *rest),
        inputs,
        **BOUNDS[precision],
    )


@pytest.mark.parametrize("masked", [False, True])
def test_additive_scores_equal_the_loop(masked: bool) -> None:
    B, T, S, A = 5, 7, 11, 19
    mask = some_mask(B, S) if masked else None
    real = torch.ones(B, 1, S) if mask is None else mask[:, None].double()
    compare(
        lambda q, k, v: (kernels.additive_scores(q, k, v, mask),),
        lambda q, k, v: ((torch.tanh(q[:, :, None] + k[:, None]) @ v) * real,),
        drawn((B, T, A), (B, S, A), (A,)),
        **BOUNDS["fp32"],
    )


@precision
@pytest.mark.parametrize("shape", [(5, 7, 3), (67, 256, 129), (1, 1, 1)], ids=str)
def test_linear_equals_torch(shape: tuple[int, int, int], precision: kernels.Precision) -> None:
    N, E, F = shape
    inputs = drawn((N, E), (F, E), (F,))
    compare(
        lambda x, w, b: (kernels.linear(x, w, b, precision=precision),),
        lambda x, w, b: (torch.nn.functional.linear(x, w, b),),
        inputs,
        **BOUNDS[precision],
    )


def test_lstm_agrees_with_finite_differences() -> None:
    """Without autograd as the judge: central differences of the kernel itself."""
    inputs = drawn((2, 3, 5), (28, 5), (28, 7), (28,), (2, 7), (2, 7))
    difference(lambda *x: kernels.lstm(*x)[0], inputs)


def test_additive_agrees_with_finite_differences() -> None:
    inputs = additive_inputs((2, 3, 5, 7, 3, 2, 11))
    difference(lambda *x: additive(None, "fp32")(*x)[0], inputs)  # type: ignore[index]


def difference(function: Callable[..., Tensor], inputs: list[Tensor], step: float = 2e-2) -> None:
    pull = torch.randn(function(*inputs).shape, generator=torch.Generator().manual_seed(5))
    grads = torch.autograd.grad((function(*inputs) * pull).sum(), inputs)
    for i, (x, grad) in enumerate(zip(inputs, grads, strict=True)):
        (way,) = drawn(tuple(x.shape), scale=1.0, seed=11 + i)
        way = way.detach() / way.detach().norm()
        ends = []
        for sign in (1, -1):
            moved = [y.detach() for y in inputs]
            moved[i] = moved[i] + sign * step * way
            ends.append(float((function(*moved).double() * pull).sum()))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert abs(slope - float((grad * way).sum().detach())) < 2e-3 * max(
            1.0, float(grad.norm())
        ), i


@precision
def test_a_gradient_on_the_weights_alone_arrives(precision: kernels.Precision) -> None:
    inputs = additive_inputs((3, 5, 2, 7, 11, 13, 17))
    weights = additive(None, precision)(*inputs)[2]  # type: ignore[index]
    (dv,) = torch.autograd.grad((weights**2).sum(), inputs[7])
    assert dv.abs().sum() > 0


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    x, w_x, w_h, b, h, c = drawn((3, 5, 2), (28, 2), (28, 7), (28,), (3, 7), (3, 7))
    everything = torch.autograd.grad(kernels.lstm(x, w_x, w_h, b, h, c)[0].sum(), [w_x, w_h, b])
    out, _ = kernels.lstm(x.detach(), w_x, w_h, b, h.detach(), c.detach())
    out.sum().backward()
    assert x.grad is None and h.grad is None
    for ours, right in zip([w_x, w_h, b], everything, strict=True):
        assert torch.equal(ours.grad, right)  # type: ignore[arg-type]


def test_absent_states_and_bias_are_zeros() -> None:
    x, w_x, w_h = drawn((3, 5, 2), (28, 2), (28, 7))
    zeros = torch.zeros(3, 7)
    for ours, right in zip(
        kernels.lstm(x, w_x, w_h), kernels.lstm(x, w_x, w_h, torch.zeros(28), zeros, zeros),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(ours, right)


def test_backward_can_run_twice() -> None:
    inputs = additive_inputs((3, 5, 2, 7, 11, 13, 17))
    loss = additive(None, "fp32")(*inputs)[0].sum()  # type: ignore[index]
    first = torch.autograd.grad(loss, inputs, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(loss, inputs), strict=True):
        assert torch.equal(a, b)
