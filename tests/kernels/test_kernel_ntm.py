"""The memory's kernel: values and gradients are those of the equations, rows and threads apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kernel_loops import compare, drawn
from torch import Tensor

from jumok import kernels, native
from jumok.errors import UsageError
from jumok.models.ntm_cell import NTMCell, NTMConfig, NTMState

pytestmark = pytest.mark.skipif(not native.available(), reason="no native library here")

# (B, R, W, N, M, n): one head; several; whole registers; no shift; a shift by many.
sizes = pytest.mark.parametrize(
    "sizes",
    [(3, 1, 1, 7, 5, 1), (5, 2, 3, 13, 11, 2), (2, 1, 1, 128, 16, 1), (3, 2, 1, 17, 3, 0),
     (37, 1, 2, 19, 2, 8)],
    ids=str,
)  # fmt: skip
when = pytest.mark.parametrize("reads", ["after_write", "before_write"])


def inputs_of(B: int, R: int, W: int, N: int, M: int, n: int) -> list[Tensor]:
    """Emitted numbers far enough from nothing, and weightings that are shares."""
    addresses, changes, memory, read, write = drawn(
        (B, R + W, M + 4 + 2 * n), (B, W, 2 * M), (B, M, N), (B, R, N), (B, W, N), scale=1.0
    )
    shares = [torch.softmax(x.detach(), dim=2).requires_grad_() for x in (read, write)]
    return [addresses, changes, memory, *shares]


def by_equations(reads: Any, R: int, W: int, N: int, M: int, n: int) -> Any:
    """The torch path of the cell, which the kernel is to equal."""
    config = NTMConfig(
        controller_size=1, slots=N, slot_size=M, read_heads=R, write_heads=W, shift=n, reads=reads
    )
    cell = NTMCell(config, 1, generator=torch.Generator()).double()

    def slow(
        addresses: Tensor, changes: Tensor, memory: Tensor, read: Tensor, write: Tensor
    ) -> tuple[Tensor, ...]:
        nothing = torch.zeros(len(memory), 1)
        state = NTMState(
            memory_BMN=memory,
            read_weights_BRN=read,
            write_weights_BRN=write,
            reads_BRM=nothing,
            h_BH=nothing,
            c_BH=nothing,
        )
        return cell._moved(addresses, changes, state)

    return slow


@when
@sizes
def test_a_step_equals_the_equations(sizes: tuple[int, ...], reads: str) -> None:
    _, R, W, N, M, n = sizes
    compare(
        lambda *x: kernels.ntm_step(*x, after_write=reads == "after_write"),
        by_equations(reads, R, W, N, M, n),
        inputs_of(*sizes),
        values=3e-6,
        gradients=1e-5,
    )


def stepped(inputs: list[Tensor]) -> list[Tensor]:
    """Outputs, then gradients of the inputs."""
    fresh = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = kernels.ntm_step(*fresh, after_write=True)
    sum((y * y).sum() for y in outputs).backward()  # type: ignore[union-attr]
    return [y.detach() for y in outputs] + [x.grad for x in fresh]


def test_no_bit_of_a_row_depends_on_its_companions_or_on_threads() -> None:
    inputs = inputs_of(37, 2, 2, 13, 5, 1)
    together = stepped(inputs)
    for index in ([4], [30, 2, 4, 9, 4], list(range(3, 30))):
        alone = stepped([x[index] for x in inputs])
        assert all(torch.equal(a, b[index]) for a, b in zip(alone, together, strict=True))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert all(torch.equal(a, b) for a, b in zip(stepped(inputs), together, strict=True))
    finally:
        torch.set_num_threads(before)


def test_a_memory_of_nothing_and_a_weighting_on_one_slot_stay_finite() -> None:
    """Where a cosine has no length and a weight no logarithm."""
    inputs = inputs_of(3, 1, 1, 11, 5, 1)
    with torch.no_grad():
        inputs[2].zero_()
        for weights in inputs[3:]:
            weights.copy_(torch.eye(11)[:3].unsqueeze(1))
        inputs[0][..., 6] = -100.0  # the gate: nothing by content
        inputs[0][..., -1] = 90.0  # so sharp that w^c is 0 in float32
    for leaf in stepped(inputs):
        assert torch.isfinite(leaf).all()


def test_a_step_without_gradients_back_hands_nothing_back() -> None:
    """Each output alone: what was not asked for counts as zeros."""
    for wanted in range(4):
        fresh = [x.detach().requires_grad_() for x in inputs_of(3, 1, 2, 7, 5, 1)]
        wide = [x.detach().double().requires_grad_() for x in fresh]
        kernels.ntm_step(*fresh, after_write=True)[wanted].square().sum().backward()
        slow = by_equations("after_write", 1, 2, 7, 5, 1)(*wide)
        slow[wanted].square().sum().backward()
        for a, b in zip(fresh, wide, strict=True):
            expected = torch.zeros_like(b) if b.grad is None else b.grad
            torch.testing.assert_close(a.grad.double(), expected, atol=2e-6, rtol=1e-5)


def test_nan_comes_out_as_nan() -> None:
    inputs = [x.detach() for x in inputs_of(3, 1, 1, 11, 5, 1)]
    inputs[2][1, 0, 0] = float("nan")
    for leaf in kernels.ntm_step(*inputs, after_write=True):
        assert torch.isfinite(leaf[[0, 2]]).all()
        assert torch.isnan(leaf[1]).any()


def test_what_does_not_fit_is_refused() -> None:
    addresses, changes, memory, read, write = inputs_of(3, 1, 1, 7, 5, 1)
    with pytest.raises(UsageError) as caught:
        kernels.ntm_step(addresses, changes[..., :-1], memory, read, write, after_write=True)
    assert caught.value.message == "`changes_BWX` has shape [3, 1, 9]; it must be [3, 1, 10]."
