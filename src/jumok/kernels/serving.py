"""Which path a layer can take: what the native library serves, and in which precision."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from jumok import native
from jumok.errors import UsageError

__all__ = ["OPERATIONS", "Precision", "auto_precision", "is_low", "operand_precision", "serves"]

Precision = Literal["fp32", "bf16"]
OPERATIONS = (
    "linear",
    "lstm",
    "gru",
    "forget_pool",
    "luong_feed",
    "additive_lstm",
    "additive_gru",
    "conditional_gru",
    "additive_scores",
    "ntm_step",
)


def auto_precision() -> Precision:
    """ "bf16" where the processor multiplies bfloat16 itself, else "fp32"."""
    return "bf16" if native.available() and native.library().has_bf16 else "fp32"


def operand_precision(x: Tensor) -> Precision:
    """ "bf16" inside torch.autocast to bfloat16 on this device, else "fp32"."""
    kind = x.device.type
    on = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16
    return "bf16" if on else "fp32"


def serves(operation: str, *tensors: Tensor | None) -> str | None:
    """Why the fast path cannot run for these tensors, in a few words; None if it can."""
    if operation not in OPERATIONS:
        return f"there is no kernel {operation}"
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.device.type != "cpu":
            return f"a tensor is on {tensor.device}, the kernels run on the CPU"
        if tensor.dtype not in (torch.float32, torch.bool):
            return f"a tensor is {str(tensor.dtype).removeprefix('torch.')}, not float32"
    return None if native.available() else native.status()


def is_low(precision: str) -> bool:
    """True for bf16 operands. Raises UsageError for a precision there is not."""
    if precision not in ("fp32", "bf16"):
        raise UsageError(f"`precision` ({precision!r}) must be 'fp32' or 'bf16'.")
    return precision == "bf16"
