"""What holds whatever the numbers: rows, threads, padding, NaN, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from kernel_loops import drawn
from torch import Tensor

from jumok import kernels, native
from jumok.errors import UsageError

pytestmark = pytest.mark.skipif(not native.available(), reason="no native library here")

B, T, E, H, S, D, A = 37, 3, 5, 19, 11, 13, 17
LENGTHS = torch.arange(B) % S + 1
MASK = torch.arange(S) < LENGTHS[:, None]
WEIGHTS = drawn(
    (4 * H, E), (4 * H, H), (4 * H,), (4 * H, E + D), (4 * H, E + A), (A, D + H), (A, H), (A,)
)  # fmt: skip
Precision = kernels.Precision


def lstm(rows: dict[str, Tensor], precision: Precision) -> tuple[Tensor, ...]:
    w_x, w_h, b = WEIGHTS[:3]
    return kernels.lstm(rows["x"], w_x, w_h, b, rows["h"], rows["c"], precision=precision)


def gru(rows: dict[str, Tensor], precision: Precision) -> tuple[Tensor, ...]:
    w_x, w_h, b = (w[: 3 * H] for w in WEIGHTS[:3])
    states = [
        kernels.gru(rows["x"], w_x, w_h, b, rows["h"], reset=reset, precision=precision)
        for reset in ("before", "after")
    ]
    return tuple(states)


def pool(rows: dict[str, Tensor], precision: Precision) -> tuple[Tensor, ...]:
    """Without products nothing is ever bf16."""
    one, other, v = WEIGHTS[2][: 3 * H].view(3, H)
    a, u = rows["x"][..., 2:3] * one, rows["x"][..., :1] * other
    return kernels.forget_pool(a, u, v, rows["h"]), kernels.forget_pool(a, u)


def luong(rows: dict[str, Tensor], precision: Precision) -> tuple[Tensor, ...]:
    return kernels.luong_feed(
        rows["x"], rows["keys_h"], rows["values"], rows["mask"], weight_x_GI=WEIGHTS[4],
        weight_h_GH=WEIGHTS[1], bias_G=WEIGHTS[2], weight_c_FJ=WEIGHTS[5], h0_BH=rows["h"],
        c0_BH=rows["c"], precision=precision,
    )  # fmt: skip


def additive(rows: dict[str, Tensor], precision: Precision) -> tuple[Tensor, ...]:
    outputs = kernels.additive_lstm(
        rows["x"], rows["keys"], rows["values"], rows["mask"], weight_x_GI=WEIGHTS[3],
        weight_h_GH=WEIGHTS[1], bias_G=WEIGHTS[2], weight_q_AH=WEIGHTS[6], v_A=WEIGHTS[7],
        h0_BH=rows["h"], c0_BH=rows["c"], precision=precision,
    )  # fmt: skip
    return outputs[:4]  # type: ignore[return-value]


def rnnsearch(rows: dict[str, Tensor], precision: Precision) -> tuple[Tensor, ...]:
    return kernels.additive_gru(
        rows["x"], rows["keys"], rows["values"], rows["mask"], weight_x_GI=WEIGHTS[3][: 3 * H],
        weight_h_GH=WEIGHTS[1][: 3 * H], bias_G=None, weight_q_AH=WEIGHTS[6], v_A=WEIGHTS[7],
        h0_BH=rows["h"], precision=precision,
    )[:3]  # fmt: skip


def conditional(rows: dict[str, Tensor], precision: Precision) -> tuple[Tensor, ...]:
    w_x, w_h, b, both = (w[: 3 * H] for w in WEIGHTS[:4])
    return kernels.conditional_gru(
        rows["x"], rows["keys"], rows["values"], rows["mask"], first=(w_x, w_h, b),
        second=(both[:, E:], w_h, None), weight_q_AH=WEIGHTS[6], v_A=WEIGHTS[7],
        h0_BH=rows["h"], precision=precision,
    )[:3]  # fmt: skip


def linear(rows: dict[str, Tensor], precision: Precision) -> tuple[Tensor, ...]:
    return (kernels.linear(rows["x"], WEIGHTS[0], WEIGHTS[2], precision=precision),)


ATTENDING = {
    "luong": luong,
    "additive": additive,
    "rnnsearch": rnnsearch,
    "conditional": conditional,
}
KERNELS = {"lstm": lstm, "gru": gru, "pool": pool, "linear": linear, **ATTENDING}
every = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
attending = pytest.mark.parametrize("kernel", ATTENDING.values(), ids=ATTENDING)
precision = pytest.mark.parametrize("precision", ["fp32", "bf16"])
Kernel = Callable[[dict[str, Tensor], Precision], tuple[Tensor, ...]]


def all_rows() -> dict[str, Tensor]:
    names = {"x": (B, T, E), "h": (B, H), "c": (B, H), "keys": (B, S, A), "keys_h": (B, S, H)}
    names["values"] = (B, S, D)
    drawn_rows = dict(zip(names, drawn(*names.values(), scale=1.0), strict=True))
    return {**drawn_rows, "mask": MASK}


def picked(rows: dict[str, Tensor], index: slice | list[int]) -> dict[str, Tensor]:
    return {
        name: x.detach()[index].clone().requires_grad_(x.is_floating_point())
        for name, x in rows.items()
    }


def run(
    kernel: Kernel, rows: dict[str, Tensor], precision: Precision
) -> tuple[list[Tensor], dict[str, Tensor], list[Tensor]]:
    """(outputs, gradients of the rows, gradients of the weights)."""
    for weight in WEIGHTS:
        weight.grad = None
    outputs = [y.detach() for y in kernel(rows, precision)]
    sum((y * y).sum() for y in kernel(rows, precision)).backward()  # type: ignore[union-attr]
    grads = {name: x.grad for name, x in rows.items() if x.grad is not None}
    return outputs, grads, [w.grad for w in WEIGHTS if w.grad is not None]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@precision
@every
def test_no_bit_of_a_row_depends_on_its_companions(kernel: Kernel, precision: Precision) -> None:
    rows = all_rows()
    outputs, grads, _ = run(kernel, rows, precision)
    for index in ([4], [30, 2, 4, 9, 4], list(range(3, 30))):
        few_outputs, few_grads, _ = run(kernel, picked(rows, index), precision)
        for few, many in zip(few_outputs, outputs, strict=True):
            assert torch.equal(few, many[index])
        for name, few in few_grads.items():
            assert torch.equal(few, grads[name][index]), name


@precision
@every
def test_no_bit_depends_on_the_number_of_threads(kernel: Kernel, precision: Precision) -> None:
    rows = all_rows()
    one = run(kernel, picked(rows, slice(None)), precision)
    for count in (2, 3):
        torch.set_num_threads(count)
        more = run(kernel, picked(rows, slice(None)), precision)
        for a, b in zip(one[0] + one[2], more[0] + more[2], strict=True):
            assert torch.equal(a, b)
        for name in one[1]:
            assert torch.equal(one[1][name], more[1][name]), name


@precision
@attending
@pytest.mark.parametrize("content", [1e4, float("nan")])
def test_padding_content_changes_nothing(
    kernel: Kernel, precision: Precision, content: float
) -> None:
    rows = all_rows()
    clean = run(kernel, picked(rows, slice(None)), precision)
    for name in ("keys", "keys_h", "values"):
        with torch.no_grad():
            rows[name][~MASK] = content
    dirty = run(kernel, picked(rows, slice(None)), precision)
    for a, b in zip(clean[0] + clean[2], dirty[0] + dirty[2], strict=True):
        assert torch.equal(a, b)
    for name in clean[1]:
        assert torch.equal(clean[1][name], dirty[1][name]), name


@precision
@attending
def test_weights_sum_to_one_over_real_tokens(kernel: Kernel, precision: Precision) -> None:
    outputs = kernel(all_rows(), precision)
    weights = next(y for y in outputs if y.shape == (B, T, S))
    assert weights[~MASK[:, None].expand(B, T, S)].abs().max() == 0
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, T))


@precision
@attending
def test_a_row_with_nothing_to_attend_to_is_finite(kernel: Kernel, precision: Precision) -> None:
    rows = picked(all_rows(), slice(0, 5))
    rows["mask"] = rows["mask"].clone()
    rows["mask"][2] = False
    outputs, grads, weights = run(kernel, rows, precision)
    assert next(y for y in outputs if y.shape == (5, T, S))[2].abs().max() == 0
    for y in [*outputs, *grads.values(), *weights]:
        assert torch.isfinite(y).all()
    assert grads["values"][2].abs().max() == 0


@precision
@every
def test_nan_comes_out_as_nan(kernel: Kernel, precision: Precision) -> None:
    rows = picked(all_rows(), slice(0, 3))
    with torch.no_grad():
        rows["x"][1, 1, 2] = float("nan")
    first = kernel(rows, precision)[0]
    assert torch.isnan(first[1, 1:2]).all() and torch.isfinite(first[1, 0]).all()
    assert torch.isfinite(first[[0, 2]]).all()


@precision
@every
def test_extreme_values_stay_finite(kernel: Kernel, precision: Precision) -> None:
    rows = picked(all_rows(), slice(0, 3))
    for name, x in rows.items():
        if name in ("x", "keys", "keys_h"):
            rows[name] = (x.detach() * 1e4).requires_grad_()
    outputs, grads, weights = run(kernel, rows, precision)
    for y in [*outputs, *grads.values(), *weights]:
        assert torch.isfinite(y).all()


@precision
def test_padded_steps_without_gradient_receive_none(precision: Precision) -> None:
    x, w_x, w_h = drawn((3, 7, E), (4 * H, E), (4 * H, H))
    h, c = kernels.lstm(x, w_x, w_h, precision=precision)
    (h[:, :4].sum() + c[:, 3].sum()).backward()
    assert x.grad is not None and x.grad[:, 4:].abs().max() == 0 and x.grad[:, :4].abs().min() > 0


def test_what_is_not_served_is_named() -> None:
    x = torch.zeros(2, 3)
    assert kernels.serves("lstm", x, None, x > 0) is None
    assert kernels.serves("lstm", x.double()) == "a tensor is float64, not float32"
    assert kernels.serves("lstm", x.to("meta")) == "a tensor is on meta, the kernels run on the CPU"
    assert kernels.serves("transformer") == "there is no kernel transformer"


def test_wrong_shapes_and_precisions_are_refused() -> None:
    x, w_x, w_h = drawn((2, 3, 5), (28, 5), (28, 7))
    with pytest.raises(UsageError, match=r"`weight_h_GH` has shape \[27, 7\]; .* \[28, 7\]"):
        kernels.lstm(x, w_x, w_h[:27])
    with pytest.raises(UsageError, match=r"`weight_x_GE` has shape \[28, 5\]; .* \[28, 4\]"):
        kernels.lstm(x[..., :4], w_x, w_h)
    with pytest.raises(UsageError, match=r"`x_BTE` is torch.float64; it must be float32"):
        kernels.lstm(x.double(), w_x, w_h)
    with pytest.raises(UsageError, match=r"`precision` \('fp16'\) must be 'fp32' or 'bf16'"):
        kernels.lstm(x, w_x, w_h, precision="fp16")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"`reset` \('never'\) must be 'after' or 'before'"):
        kernels.gru(x, w_x[:21], w_h[:21], reset="never")  # type: ignore[arg-type]


def test_strided_inputs_are_as_good_as_contiguous_ones() -> None:
    x, w_x, w_h = drawn((T, B, E), (4 * H, 2 * E), (H, 4 * H))
    strided = kernels.lstm(x.transpose(0, 1), w_x[:, ::2], w_h.T)
    dense = kernels.lstm(
        x.transpose(0, 1).contiguous(), w_x[:, ::2].contiguous(), w_h.T.contiguous()
    )
    assert torch.equal(strided[0], dense[0])


def test_without_the_library_nothing_is_served() -> None:
    code = (
        "import torch; from jumok import kernels; "
        "print(kernels.auto_precision(), kernels.serves('lstm', torch.zeros(1)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "JUMOK_NATIVE": "0"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "fp32 native library: off, JUMOK_NATIVE=0 turned it off\n"
