"""One update: forward, backward, clip, step; or nothing at all if anything is not finite."""

from __future__ import annotations

import math

import torch
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm

from jumok.data.order import Cursor
from jumok.models.contract import Output, Want
from jumok.nn.noise import Noise
from jumok.records import Batch
from jumok.training.data import num_tokens, to_torch
from jumok.training.events import Skipped, Step
from jumok.training.losses import Loss, r_drop, weigh
from jumok.training.optimizers import moments, set_rate
from jumok.training.run import Run
from jumok.training.schedules import rate

__all__ = ["update"]

MOST_NAMED = 64
"""Rows named in one event, at most."""


def update(run: Run, batches: list[Batch], after: Cursor) -> Step | Skipped:
    """Makes one update of ``run`` from all of ``batches``; ``after`` is where to go on then.

    Gradients are those of the loss per real token of all batches together. Where loss, gradient
    or optimiser state is not finite the weights stay as they are, to the last bit.
    """
    learning_rate = rate(run.optim, run.progress())
    tokens = sum(map(num_tokens, batches))
    run.optimizer.zero_grad(set_to_none=True)
    losses = [_backward(run, batch, tokens) for batch in batches]
    norm = get_total_norm([p.grad for p in run.model.parameters() if p.grad is not None])
    loss, nll, gradient, state = _numbers(run, losses, norm)

    rows = [int(row) for batch in batches for row in batch.example_B]
    run.advance(after, len(rows))
    reason = _not_finite({"loss": loss, "gradient": gradient, "optimiser state": state})
    if reason is not None:
        run.optimizer.zero_grad(set_to_none=True)
        run.at.skipped += 1
        return Skipped(step=run.at.step, reason=reason, rows=_to_blame(rows, losses))

    if run.optim.clip_value:
        clip_grad_value_(run.model.parameters(), run.optim.clip_value)
        norm = get_total_norm([p.grad for p in run.model.parameters() if p.grad is not None])
    if run.optim.clip_norm:
        clip_grads_with_norm_(run.model.parameters(), run.optim.clip_norm, norm)
    set_rate(run.optimizer, learning_rate)
    run.optimizer.step()
    run.at.skipped, run.at.updates = 0, run.at.updates + 1
    run.averages.follow(run.at.updates)
    return Step(
        step=run.at.step,
        epoch=run.epoch,
        loss=loss / tokens,
        nll=nll / tokens,
        rate=learning_rate,
        norm=gradient,
        tokens=tokens,
        fraction=run.fraction,
        seconds=run.seconds,
        seconds_left=run.seconds_left,
    )


def _backward(run: Run, batch: Batch, tokens: int) -> Loss:
    """Adds the gradient of one batch, its share of ``tokens``, to those of the others."""
    options = run.options
    number = run.at.step + 1
    noise = Noise(options.seed, number, torch.from_numpy(batch.example_B))
    moved = to_torch(batch, run.device)
    output, loss = _pass(run, moved, noise)
    if options.r_drop:
        other, second = _pass(run, moved, noise.again())
        loss = r_drop(loss, second, (output, other), moved, alpha=options.r_drop)
    (loss.total / tokens).backward()  # type: ignore[no-untyped-call]
    return Loss(loss.total.detach(), loss.nll_B)


def _pass(run: Run, batch: Batch, noise: Noise) -> tuple[Output, Loss]:
    """Forward, and what it costs."""
    options = run.options
    looks = options.guided_weight or options.coverage_weight
    want = Want.WEIGHTS if looks else Want.NOTHING
    want = want | Want.LOGITS if options.r_drop else want
    with torch.autocast(run.device.type, torch.bfloat16, enabled=options.precision == "bf16"):
        output = run.model(batch, noise=noise, want=want)
    loss = weigh(
        output,
        batch,
        smoothing=options.label_smoothing,
        guided_weight=options.guided_weight,
        coverage_weight=options.coverage_weight,
    )
    return output, loss


def _numbers(run: Run, losses: list[Loss], norm: torch.Tensor) -> list[float]:
    """Loss, likelihood, norms of gradient and optimiser state: one wait for the device."""
    state = get_total_norm(moments(run.optimizer)).to(norm)
    total = torch.stack([loss.total for loss in losses]).sum().to(norm)
    nll = torch.stack([loss.nll_B.sum() for loss in losses]).sum().to(norm)
    return torch.stack([total, nll, norm, state]).tolist()


def _not_finite(numbers: dict[str, float]) -> str | None:
    """The first that is not finite, in the order in which one follows from the other."""
    return next((name for name, value in numbers.items() if not math.isfinite(value)), None)


def _to_blame(rows: list[int], losses: list[Loss]) -> tuple[int, ...]:
    """Rows whose own likelihood is not finite; all of them where none stands out."""
    finite = torch.cat([loss.nll_B for loss in losses]).isfinite().tolist()
    found = [row for row, fine in zip(rows, finite, strict=True) if not fine]
    return tuple((found or rows)[:MOST_NAMED])
