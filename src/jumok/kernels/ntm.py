"""The Neural Turing Machine's memory: one step of addressing, writing, reading; native, by hand.

The equations are those of ``models/ntm_cell.py``, (2) to (9). Backwards, with d = the gradient of:
sharpening y = w~^c / Z hands back dw~ = c y / w~ (dy - y.dy) and dc = sum y log w~ (dy - y.dy);
shifting is a convolution, so what comes back is a correlation with s, and ds_j the product of
dw~ and w^g turned by j; a slot hears of its cosine and of its own length.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jumok.kernels.buffers import Call, contiguous, empty
from jumok.native.library import check

__all__ = ["MemoryStep", "ntm_step"]


class MemoryStep(NamedTuple):
    """The memory after a step, where its heads were, what they read."""

    memory_BMN: Tensor
    read_weights_BRN: Tensor
    write_weights_BWN: Tensor
    reads_BRM: Tensor


def ntm_step(
    addresses_BHX: Tensor,
    changes_BWX: Tensor,
    memory_BMN: Tensor,
    read_weights_BRN: Tensor,
    write_weights_BWN: Tensor,
    *,
    after_write: bool,
) -> MemoryStep:
    """One step from what the controller emits, before any of it is brought into its range.

    ``addresses``: key (M), strength, gate, shift (2 n + 1), sharpness of the R read heads and
    then of the W write heads; ``changes``: erase (M) and add (M) of the write heads. Read heads
    see the memory as this step leaves it (``after_write``) or as it found it.
    """
    found = _Step.apply(  # type: ignore[no-untyped-call]
        after_write,
        addresses_BHX,
        changes_BWX,
        memory_BMN,
        read_weights_BRN,
        write_weights_BWN,
    )
    return MemoryStep(*found)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, after_write: bool, *inputs: Tensor) -> tuple[Tensor, ...]:
        addresses, changes, memory, reading, writing = inputs = contiguous(inputs)
        (B, R, N), W, M = reading.shape, writing.shape[1], memory.shape[1]
        K = addresses.shape[2] - M - 3
        check("addresses_BHX", addresses, (B, R + W, M + 3 + K))
        check("changes_BWX", changes, (B, W, 2 * M))
        check("memory_BMN", memory, (B, M, N))
        check("read_weights_BRN", reading, (B, R, N))
        check("write_weights_BWN", writing, (B, W, N))
        outputs = (empty(B, M, N), empty(B, R, N), empty(B, W, N), empty(B, R, M))
        kept = empty(B, R + W, 4 * N + M + K)
        call = Call(False, (B, R, W, N, M, K, int(after_write)), (*inputs, *outputs, kept))
        call.run("ntm_forward")
        ctx.save_for_backward(*call.arrays)
        ctx.sizes = call.sizes
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        arrays = ctx.saved_tensors
        grads = [torch.empty_like(x) for x in arrays[:5]]
        Call(False, ctx.sizes, (*arrays, *contiguous(given), *grads)).run("ntm_backward")
        return None, *grads
