"""c_t = f_t c_{t-1} + (1 - f_t) u_t over a sequence, forward and backward, in every form there is.

    python benchmarks/kernels/recurrence.py

Batch 64, hidden size 256, float32, one thread, by the time this thread computed; the best of
nine, in milliseconds. f is a sigmoid of its input in every form.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from jumok import kernels
from jumok.nn import linear_recurrence as forms

B, H = 64, 256


def autograd(a: Tensor, u: Tensor, c: Tensor) -> Tensor:
    f, cells = torch.sigmoid(a), []
    for t in range(a.shape[1]):
        c = f[:, t] * c + (1 - f[:, t]) * u[:, t]
        cells.append(c)
    return torch.stack(cells, dim=1)


def by_hand(a: Tensor, u: Tensor, c: Tensor) -> Tensor:
    f = torch.sigmoid(a)
    return forms.linear_recurrence(f, (1 - f) * u, c)


def doubling(a: Tensor, u: Tensor, c: Tensor) -> Tensor:
    return by_hand(a, u, c)


def log_space(a: Tensor, u: Tensor, c: Tensor) -> Tensor:
    return forms.log_space_recurrence(a, u.log(), c.log())


def native(a: Tensor, u: Tensor, c: Tensor, v: Tensor | None = None) -> Tensor:
    return kernels.forget_pool(a, u, v, c)


def milliseconds(form: Callable[..., Tensor], *inputs: Tensor) -> float:
    took = []
    for _ in range(10):
        began = time.thread_time()
        form(*inputs).sum().backward()
        took.append(1000 * (time.thread_time() - began))
    return min(took[1:])


def main() -> None:
    torch.set_num_threads(1)
    v = torch.rand(H, requires_grad=True)
    for length in (10, 25, 50, 100):
        shapes = (B, length, H), (B, length, H), (B, H)
        inputs = [(torch.rand(s) + 0.1).requires_grad_() for s in shapes]
        found = {f.__name__: milliseconds(f, *inputs) for f in (autograd, by_hand, log_space)}
        with patch.object(forms, "_scan", forms._by_doubling):
            found["doubling"] = milliseconds(doubling, *inputs)
        found["native"] = milliseconds(native, *inputs)
        found["native with v"] = milliseconds(partial(native, v=v), *inputs)
        shown = ", ".join(f"{name} {ms:.1f}" for name, ms in found.items())
        print(f"T {length}: {shown}")


if __name__ == "__main__":
    main()
