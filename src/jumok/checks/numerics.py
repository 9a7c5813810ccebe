"""Numbers that must be right or at least be numbers: slopes, low precision, poisoned padding.

As in ``laws.py`` each check takes a model and a batch and returns a ``Finding``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from jumok.checks.laws import Finding, gap, logit_gap, loss_of, tolerance_of, with_gradients
from jumok.models.contract import Want
from jumok.nn.gradients import true_gradients
from jumok.records import Batch

__all__ = [
    "NUMERICS",
    "bf16_is_finite",
    "gradients_are_slopes",
    "nothing_comes_unasked",
    "padded_states_change_nothing",
]

STEPS = (1e-5, 1e-6, 1e-7)
"""Of the finite differences, in float64: where weights bend the loss sharply a smaller step is
nearer the slope, elsewhere it loses digits. A wrong gradient agrees with none of them."""
SLOPE_TOLERANCE = 1e-8
BF16_TOLERANCE = 0.05
"""Nats, or weights: bfloat16 has three digits, and a sentence has many steps."""
POISON = 1e4


def gradients_are_slopes(
    model: Any, batch: Batch, *, tolerance: float = SLOPE_TOLERANCE
) -> Finding:
    """The gradient of the loss against finite differences along a direction in all weights.

    In float64, whatever the model's own precision. Every parameter has a share of like length
    in the direction; where the slope is wrong, each is tried alone and the worst one named.
    What a model scales on purpose (``nn.gradients``; ConvS2S) is left as it is for the time.
    """
    exact = copy.deepcopy(model).double()
    with true_gradients():
        _, gradients = with_gradients(exact, batch, lambda: exact.forward(batch, want=Want.WEIGHTS))
    generator = torch.Generator().manual_seed(0)
    directions = {
        name: _direction(gradients[name], generator) for name, _ in exact.named_parameters()
    }
    worst = min(_off(exact, batch, gradients, directions, step) for step in STEPS)
    if worst <= tolerance:
        return Finding("gradients", True, worst, "")
    alone = {n: _off(exact, batch, gradients, {n: v}, STEPS[0]) for n, v in directions.items()}
    place = max(alone, key=lambda name: alone[name])
    return Finding("gradients", False, worst, f"worst: {place}")


def _direction(gradient: Tensor, generator: torch.Generator) -> Tensor:
    """Half along the gradient, so that its size shows, half at random, so that all of it does."""
    random = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
    along = gradient / gradient.norm().clamp(min=1e-30)
    return along + (random / random.norm()).to(gradient.device)


def _off(
    model: Any,
    batch: Batch,
    gradients: dict[str, Tensor],
    directions: dict[str, Tensor],
    step: float,
) -> float:
    """(loss(w + step v) - loss(w - step v)) / (2 step) against the gradient along v, relative."""
    parameters = dict(model.named_parameters())
    losses = []
    with torch.no_grad():
        for sign in (1.0, -1.0):
            for name, v in directions.items():
                parameters[name].add_(v, alpha=sign * step)
            losses.append(float(loss_of(batch, model.forward(batch, want=Want.WEIGHTS))))
            for name, v in directions.items():
                parameters[name].add_(v, alpha=-sign * step)
    slope = (losses[0] - losses[1]) / (2 * step)
    expected = sum(float((gradients[name] * v).sum()) for name, v in directions.items())
    off = abs(slope - expected) / max(1.0, abs(expected))
    return off if math.isfinite(off) else math.inf


def bf16_is_finite(model: Any, batch: Batch, *, tolerance: float = BF16_TOLERANCE) -> Finding:
    """Inside autocast to bfloat16: values and gradients finite, near those of float32."""
    single = copy.deepcopy(model).float()
    plain = single.forward(batch, want=Want.WEIGHTS)
    kind = batch.target_mask_BT.device.type

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
        gaps.append(logit_gap(wrong.logits_BV, step.logits_BV))
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
