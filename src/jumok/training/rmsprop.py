"""RMSProp as Graves 2013 has it: centred, with momentum, its constant under the root.

"Generating Sequences With Recurrent Neural Networks", equations 38 to 41, with e the gradient:

    n = rho n + (1 - rho) e^2                                       (38)
    g = rho g + (1 - rho) e                                         (39)
    d = momentum d - lr e / sqrt(n - g^2 + eps)                     (40)
    w = w + d                                                       (41)

torch's adds its constant outside the root, where 1e-4 means something else.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["SLOTS", "GravesRMSProp"]

SLOTS = ("square_avg", "grad_avg", "change")
"""n, g and d of the equations, per parameter."""


class GravesRMSProp(torch.optim.Optimizer):
    """The paper's constants are rho 0.95, momentum 0.9, lr 1e-4, eps 1e-4."""

    def __init__(
        self,
        weights: Iterable[Tensor],
        lr: float,
        *,
        rho: float = 0.95,
        momentum: float = 0.9,
        eps: float = 1e-4,
    ) -> None:
        super().__init__(weights, {"lr": lr, "rho": rho, "momentum": momentum, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update from ``grad``; it never evaluates the loss anew."""
        for group in self.param_groups:
            rho, momentum, eps = group["rho"], group["momentum"], group["eps"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state.update({slot: torch.zeros_like(weight) for slot in SLOTS})
                n, g, d = (state[slot] for slot in SLOTS)
                e = weight.grad
                n.lerp_(e.square(), 1 - rho)  # (38)
                g.lerp_(e, 1 - rho)  # (39)
                root = (n - g.square() + eps).sqrt()
                d.mul_(momentum).addcdiv_(e, root, value=-group["lr"])  # (40)
                weight.add_(d)  # (41)
