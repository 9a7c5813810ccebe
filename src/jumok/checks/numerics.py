"""Numbers that must be right or at least be numbers: slopes, low precision, poisoned padding.

As in ``laws.py`` each check takes a model and a batch and returns a ``Finding``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from jumok.checks.laws import Finding, gap, loss_of, tolerance_of, with_gradients
from jumok.models.contract import Want
from jumok.records import Batch

__all__ = [
    "NUMERICS",
    "bf16_is_finite",
    "gradients_are_slopes",
    "nothing_comes_unasked",
    "padded_states_change_nothing",
]

STEP = 1e-5
"""Of the finite differences, along a direction of length one, in float64."""
SLOPE_TOLERANCE = 1e-6
BF16_TOLERANCE = 0.5
"""Nats, or weights: bfloat16 has three digits, and a sentence has many steps."""
POISON = 1e4


def gradients_are_slopes(model: Any, batch: Batch) -> Finding:
    """Every parameter's gradient against finite differences of the loss, along one direction.

    In float64, whatever the model's own precision.
    """
    exact = copy.deepcopy(model).double()

    def output() -> Any:
        return exact.forward(batch, want=Want.WEIGHTS)

    _, gradients = with_gradients(exact, batch, output)
    generator = torch.Generator().manual_seed(0)
    worst, place = 0.0, ""
    for name, parameter in exact.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        direction = (direction / direction.norm()).to(parameter.device)
        slope = _slope(exact, batch, output, parameter, direction)
        expected = float((gradients[name] * direction).sum())
        off = abs(slope - expected) / max(1.0, abs(expected))
        if not off <= worst:
            worst, place = off, name
    return Finding("gradients", worst <= SLOPE_TOLERANCE, worst, place)


def _slope(
    model: Any, batch: Batch, output: Callable[[], Any], parameter: Tensor, direction: Tensor
) -> float:
    """(loss(w + STEP v) - loss(w - STEP v)) / (2 STEP)"""
    losses = []
    for sign in (1.0, -1.0):
        with torch.no_grad():
            parameter.add_(direction, alpha=sign * STEP)
            losses.append(float(loss_of(batch, output())))
            parameter.add_(direction, alpha=-sign * STEP)
    return (losses[0] - losses[1]) / (2 * STEP)


def bf16_is_finite(model: Any, batch: Batch, *, tolerance: float = BF16_TOLERANCE) -> Finding:
    """Inside autocast to bfloat16: values and gradients finite, near those of float32."""
    single = copy.deepcopy(model).float()
    plain = single.forward(batch, want=Want.WEIGHTS)
    kind = batch.target_in_BT.device.type

    def output() -> Any:
        with torch.autocast(kind, torch.bfloat16):
            return single.forward(batch, want=Want.WEIGHTS)

    low, gradients = with_gradients(single, batch, output)
    mask = batch.target_mask_BT
    gaps = [gap(low.log_probs_BT, plain.log_probs_BT, mask)]
    if plain.weights_BTS is not None and low.weights_BTS is not None:
        gaps.append(gap(low.weights_BTS, plain.weights_BTS, mask))
    finite = all(bool(torch.isfinite(g).all()) for g in gradients.values())
    return Finding("bf16", finite and max(gaps) <= tolerance, max(gaps), "")


def padded_states_change_nothing(model: Any, batch: Batch) -> Finding:
    """10,000 in the encoder's states of every padded position changes no step."""
    encoded = model.encode(batch.source)
    real = batch.source.mask_BS

    def poisoned(leaf: Tensor) -> Tensor:
        over_source = leaf.dim() == 3 and leaf.shape[1] == real.shape[1]
        return leaf.masked_fill(~real.unsqueeze(-1), POISON) if over_source else leaf

    spoilt = encoded.map(poisoned)
    state, other = model.start(encoded), model.start(spoilt)
    gaps = [0.0]
    for t in range(batch.target_in_BT.shape[1]):
        token = batch.target_in_BT[:, t]
        step, wrong = model.step(token, state, encoded), model.step(token, other, spoilt)
        gaps.append(gap(wrong.logits_BV, step.logits_BV))
        if step.weights_BS is not None:
            gaps.append(gap(wrong.weights_BS, step.weights_BS))
        state, other = step.state, wrong.state
    return Finding("padded states", max(gaps) <= tolerance_of(model), max(gaps), "")


def nothing_comes_unasked(model: Any, batch: Batch) -> Finding:
    """Weights, logits and maps come where they are wanted, and only there."""
    law = "wants"
    specs = {spec.name for spec in model.maps if not spec.is_weights}
    has_weights = any(spec.is_weights for spec in model.maps)
    for want in (Want.NOTHING, Want.WEIGHTS, Want.LOGITS, Want.MAPS, ~Want.NOTHING):
        output = model.forward(batch, want=want)
        encoded = model.encode(batch.source, want=want)
        token = batch.target_in_BT[:, 0]
        step = model.step(token, model.start(encoded), encoded, want=want)
        found = {
            "weights": output.weights_BTS is not None,
            "weights of a step": step.weights_BS is not None,
            "logits": output.logits_BTV is not None,
            "maps": bool(output.maps),
            "maps of a step": bool(step.maps) or bool(encoded.maps),
        }
        weights = has_weights and bool(want & Want.WEIGHTS)
        maps = bool(specs) and bool(want & Want.MAPS)
        expected = (weights, weights, bool(want & Want.LOGITS), maps, maps)
        wrong = [name for (name, came), due in zip(found.items(), expected, strict=True)
                 if came != due]  # fmt: skip
        if wrong:
            return Finding(law, False, float("inf"), f"{', '.join(wrong)} with {want}")
    return Finding(law, True, 0.0, "")


NUMERICS: dict[str, Callable[[Any, Batch], Finding]] = {
    "gradients": gradients_are_slopes,
    "bf16": bf16_is_finite,
    "padded states": padded_states_change_nothing,
    "wants": nothing_comes_unasked,
}
