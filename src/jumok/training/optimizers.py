"""AdamW, SGD, Adadelta (torch's own), RMSProp: their state is saved by name, without pickle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from jumok.store.tensors import Spec
from jumok.training import rmsprop
from jumok.training.options import Optim

__all__ = ["build_optimizer", "load_state", "moments", "state_arrays", "state_specs"]

SLOTS: Mapping[str, tuple[str, ...]] = {
    "adamw": ("exp_avg", "exp_avg_sq"),
    "sgd": ("momentum_buffer",),
    "adadelta": ("square_avg", "acc_delta"),
    "rmsprop": rmsprop.SLOTS,
}
"""What each keeps per parameter, shaped like it; ``step`` beside them is a scalar."""


def build_optimizer(optim: Optim, model: nn.Module) -> Optimizer:
    """The optimiser over all trainable parameters; only matrices are decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if optim.name == "sgd":
        return torch.optim.SGD(trained, optim.lr, momentum=optim.momentum, nesterov=optim.nesterov)
    if optim.name == "adadelta":
        return torch.optim.Adadelta(trained, optim.lr, rho=optim.rho, eps=1e-6)
    if optim.name == "rmsprop":
        own = {"rho": optim.rho, "momentum": optim.momentum}
        return rmsprop.GravesRMSProp(trained, optim.lr, **own)
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": optim.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        optim.lr,
        betas=optim.betas,
        eps=optim.eps,
        fused=True,
    )


def set_rate(optimizer: Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def moments(optimizer: Optimizer) -> list[Tensor]:
    """Everything the next step will read besides weights and gradients."""
    return [
        value
        for state in optimizer.state.values()
        for name, value in state.items()
        if name != "step" and value is not None
    ]


def state_arrays(optimizer: Optimizer, model: nn.Module) -> dict[str, np.ndarray]:
    """``"exp_avg/encoder.weight"`` -> array, for every parameter that was ever updated."""
    return {
        f"{slot}/{name}": value.detach().cpu().numpy()
        for name, parameter in model.named_parameters()
        for slot, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }


def state_specs(name: str, model: nn.Module) -> dict[str, Spec]:
    """Every array that a state of the optimiser ``name`` may hold."""
    found: dict[str, Spec] = {}
    for key, parameter in model.named_parameters():
        dtype = str(parameter.dtype).removeprefix("torch.")
        found |= {f"{slot}/{key}": (tuple(parameter.shape), dtype) for slot in SLOTS[name]}
        found[f"step/{key}"] = ((), "float32")
    return found


def load_state(optimizer: Optimizer, model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """The inverse of ``state_arrays``, to the last bit."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    state = optimizer.state_dict()
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    for index, parameter in enumerate(ordered):
        slots = {
            key.split("/", 1)[0]: torch.from_numpy(array.copy())
            for key, array in arrays.items()
            if key.split("/", 1)[1] == names[parameter]
        }
        if slots:
            state["state"][index] = slots
    optimizer.load_state_dict(state)
