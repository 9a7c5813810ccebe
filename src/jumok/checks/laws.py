"""What every model obeys: forward equals repeated step, padding and batch-mates change nothing.

Each law takes a model and a batch and returns a ``Finding``; nothing is raised for a broken
law, so that `jumok verify` can report all of them. Compared are real positions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from jumok.models.contract import Output, Want, unroll
from jumok.nn import readout
from jumok.nn.noise import Noise
from jumok.nn.paths import recorded_paths
from jumok.records import EOS, PAD, UNK, Batch, Source

__all__ = [
    "LAWS",
    "Finding",
    "batch_mates_change_nothing",
    "dropout_is_keyed",
    "empty_source_is_finite",
    "forward_equals_step",
    "future_does_not_leak",
    "gap",
    "invented_batch",
    "likelihood_is_its_logits",
    "logit_gap",
    "loss_of",
    "padding_changes_nothing",
    "select_reorders_everything",
    "tolerance_of",
    "weights_are_shares_of_real_tokens",
    "with_gradients",
]


class Finding(NamedTuple):
    """One law, held or broken, and by how much."""

    law: str
    holds: bool
    worst: float
    detail: str


def tolerance_of(model: nn.Module) -> float:
    """What a law allows, by the model's own precision."""
    return 1e-10 if next(model.parameters()).dtype == torch.float64 else 1e-5


def invented_batch(
    source_size: int,
    target_size: int,
    *,
    rows: int = 5,
    source_length: int = 7,
    target_length: int = 6,
    seed: int = 0,
) -> Batch:
    """A batch of random pairs of random lengths; the first row is the longest on both sides."""
    g = torch.Generator().manual_seed(seed)
    ids_BS, mask_BS = _random_rows(source_size, rows, source_length, g)
    out_BT, mask_BT = _random_rows(target_size, rows, target_length, g)
    in_BT = torch.cat([torch.full((rows, 1), 2), out_BT[:, :-1]], dim=1)
    in_BT = in_BT.masked_fill(~mask_BT, PAD)
    return Batch(
        source=Source(ids_BS=ids_BS, mask_BS=mask_BS),
        target_in_BT=in_BT,
        target_out_BT=out_BT,
        target_mask_BT=mask_BT,
        example_B=torch.arange(rows) + 1000 * seed,
    )


def _random_rows(size: int, rows: int, length: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    lengths_B = torch.randint(1, length + 1, (rows,), generator=g)
    lengths_B[0] = length
    mask = torch.arange(length) < lengths_B[:, None]
    ids = torch.randint(4, size, (rows, length), generator=g).masked_fill(~mask, PAD)
    ids[torch.arange(rows), lengths_B - 1] = EOS
    return ids, mask


def forward_equals_step(
    model: Any, batch: Batch, *, noise: Noise | None = None, tolerance: float | None = None
) -> Finding:
    """``forward`` and ``unroll(step)``: values, weights and every parameter's gradient.

    Compared with everything wanted; and ``forward`` at ``Want.NOTHING`` against that.
    """
    tolerance = tolerance_of(model) if tolerance is None else tolerance
    want = Want.LOGITS | Want.WEIGHTS | Want.MAPS
    with recorded_paths() as paths:
        fast, fast_gradients = with_gradients(
            model, batch, lambda: model.forward(batch, noise=noise, want=want)
        )
    slow, slow_gradients = with_gradients(
        model, batch, lambda: unroll(model, batch, noise=noise, want=want)
    )
    bare = model.forward(batch, noise=noise, want=Want.NOTHING)
    mask = batch.target_mask_BT
    gaps = [
        ("log_probs", gap(fast.log_probs_BT, slow.log_probs_BT, mask)),
        ("log_probs at Want.NOTHING", gap(bare.log_probs_BT, slow.log_probs_BT, mask)),
    ]
    for name in ("uniform_BT", "logits_BTV", "weights_BTS"):
        one, other = getattr(fast, name), getattr(slow, name)
        if (one is None) != (other is None):
            return Finding("forward = step", False, float("inf"), f"{name} on one side only")
        if one is not None:
            apart = logit_gap if name == "logits_BTV" else gap
            gaps.append((name, apart(one, other, mask)))
    for name in fast_gradients:
        gaps.append((f"gradient of {name}", gap(fast_gradients[name], slow_gradients[name])))
    place, worst = max(gaps, key=lambda gap: gap[1])
    took = ", ".join(f"{k} {v}" for k, v in paths.items()) or "no recorded path"
    return Finding("forward = step", worst <= tolerance, worst, f"{place}; {took}")


def with_gradients(
    model: Any, batch: Batch, run: Callable[[], Output]
) -> tuple[Output, dict[str, Tensor]]:
    """The output and the gradients of a loss that touches all of it."""
    model.zero_grad(set_to_none=True)
    output = run()
    loss_of(batch, output).backward()  # type: ignore[no-untyped-call]
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }
    model.zero_grad(set_to_none=True)
    return output, gradients


def loss_of(batch: Batch, output: Output) -> Tensor:
    """A number that depends on likelihood, smoothing and every weight at real positions."""
    real = batch.target_mask_BT.to(output.log_probs_BT.dtype)
    loss = (output.log_probs_BT * real).sum()
    if output.uniform_BT is not None:
        loss = loss + 0.1 * (output.uniform_BT * real).sum()
    if output.weights_BTS is not None:
        weights = output.weights_BTS
        ramp = torch.linspace(0, 1, weights.numel(), dtype=real.dtype, device=real.device)
        loss = loss + (weights * ramp.view_as(weights) * real[..., None]).sum()
    return loss


def gap(one: Tensor, other: Tensor, mask_BT: Tensor | None = None) -> float:
    """Largest difference, relative where values are large; infinite where one is not finite."""
    if mask_BT is not None:
        one, other = one[mask_BT], other[mask_BT]
    if one.numel() == 0:
        return 0.0
    if not (torch.isfinite(one).all() and torch.isfinite(other).all()):
        return float("inf")
    scale = torch.clamp(other.detach().abs().max(), min=1.0)
    return float((one - other).detach().abs().max() / scale)


def logit_gap(one: Tensor, other: Tensor, mask_BT: Tensor | None = None) -> float:
    """As ``gap``; an id that is impossible (another sentence's, to copy) on both sides agrees."""
    impossible = (one == -torch.inf) & (other == -torch.inf)
    return gap(one.masked_fill(impossible, 0), other.masked_fill(impossible, 0), mask_BT)


def likelihood_is_its_logits(model: Any, batch: Batch) -> Finding:
    """log_probs and uniform are those of log_softmax(logits)."""
    output = model.forward(batch, want=Want.LOGITS)
    log_p = torch.log_softmax(output.logits_BTV, dim=-1)
    gold = log_p.gather(-1, batch.target_out_BT.unsqueeze(-1)).squeeze(-1)
    worst = gap(output.log_probs_BT, gold, batch.target_mask_BT)
    if output.uniform_BT is not None:
        uniform_BT = readout.uniform(log_p, batch.source.extra)
        worst = max(worst, gap(output.uniform_BT, uniform_BT, batch.target_mask_BT))
    return Finding("likelihood = logits", worst <= tolerance_of(model), worst, "")


def weights_are_shares_of_real_tokens(model: Any, batch: Batch) -> Finding:
    """Weights are >= 0, exactly 0 on padding and, if the map says so, sum to one."""
    law = "weights"
    weights = model.forward(batch, want=Want.WEIGHTS).weights_BTS
    spec = next((m for m in model.maps if m.is_weights), None)
    if (weights is None) != (spec is None):
        return Finding(law, False, float("inf"), "weights and `maps` disagree on whether any")
    if weights is None or spec is None:
        return Finding(law, True, 0.0, "has none")
    weights = weights.detach()
    padding = ~batch.source.mask_BS.unsqueeze(1).expand_as(weights)
    on_padding = float(weights[padding].abs().max()) if padding.any() else 0.0
    negative = float((-weights).clamp(min=0).max())
    sums = weights.sum(dim=-1)[batch.target_mask_BT]
    somewhere = sums > 0 if spec.sums_to_one else torch.zeros_like(sums, dtype=torch.bool)
    off = float((sums[somewhere] - 1).abs().max()) if somewhere.any() else 0.0
    over = float((sums - 1).clamp(min=0).max()) if spec.at_most_one else 0.0
    worst = max(on_padding, negative, off, over)
    holds = on_padding == 0 and negative == 0 and max(off, over) <= 1e-5
    return Finding(law, holds, worst, f"on padding {on_padding}, sums off by {max(off, over)}")


def padding_changes_nothing(model: Any, batch: Batch) -> Finding:
    """Other ids under the mask, and more padding, change neither values nor gradients."""
    base, gradients = with_gradients(model, batch, lambda: model.forward(batch, want=Want.WEIGHTS))
    other = _padded_otherwise(batch)
    changed, other_gradients = _with_gradients_narrowed(model, other, batch)
    mask = batch.target_mask_BT
    gaps = [gap(changed.log_probs_BT, base.log_probs_BT, mask)]
    if base.weights_BTS is not None and changed.weights_BTS is not None:
        gaps.append(gap(changed.weights_BTS, base.weights_BTS, mask))
    gaps += [gap(other_gradients[name], gradients[name]) for name in gradients]
    return Finding("padding", max(gaps) <= tolerance_of(model), max(gaps), "")


def _padded_otherwise(batch: Batch) -> Batch:
    """Three more padded columns on each side, and a real symbol's id wherever a mask is False."""

    def widen(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        extra = torch.nn.functional.pad(mask, (0, 3))
        return torch.nn.functional.pad(ids, (0, 3)).masked_fill(~extra, 4), extra

    ids_BS, mask_BS = widen(batch.source.ids_BS, batch.source.mask_BS)
    in_BT, mask_BT = widen(batch.target_in_BT, batch.target_mask_BT)
    out_BT, _ = widen(batch.target_out_BT, batch.target_mask_BT)
    source = replace(batch.source, ids_BS=ids_BS, mask_BS=mask_BS)
    if source.copy_ids_BS is not None:  # and more ids to copy than anybody here has
        copy_ids_BS, _ = widen(source.copy_ids_BS, batch.source.mask_BS)
        source = replace(source, copy_ids_BS=copy_ids_BS, extra=source.extra + 16)
    return replace(
        batch,
        source=source,
        target_in_BT=in_BT,
        target_out_BT=out_BT,
        target_mask_BT=mask_BT,
    )


def _with_gradients_narrowed(
    model: Any, wide: Batch, narrow: Batch
) -> tuple[Output, dict[str, Tensor]]:
    """``wide`` through the model, its output cut to ``narrow``'s shape before the loss."""
    S, T = narrow.source.ids_BS.shape[1], narrow.target_in_BT.shape[1]

    def run() -> Output:
        output = model.forward(wide, want=Want.WEIGHTS)
        weights = output.weights_BTS
        return output._replace(
            log_probs_BT=output.log_probs_BT[:, :T],
            uniform_BT=None if output.uniform_BT is None else output.uniform_BT[:, :T],
            weights_BTS=None if weights is None else weights[:, :T, :S],
        )

    return with_gradients(model, narrow, run)


def batch_mates_change_nothing(model: Any, batch: Batch) -> Finding:
    """Each row alone, trimmed to its own length, gives what it gives in the batch."""
    together = model.forward(batch, want=Want.WEIGHTS)
    gaps = [0.0]
    for row, alone in enumerate(_rows_alone(batch)):
        output = model.forward(alone, want=Want.WEIGHTS)
        S, T = alone.source.ids_BS.shape[1], alone.target_in_BT.shape[1]
        gaps.append(gap(output.log_probs_BT[0], together.log_probs_BT[row, :T]))
        if output.weights_BTS is not None:
            gaps.append(gap(output.weights_BTS[0], together.weights_BTS[row, :T, :S]))
    return Finding("batch-mates", max(gaps) <= tolerance_of(model), max(gaps), "")


def _rows_alone(batch: Batch) -> Iterator[Batch]:
    for row in range(batch.example_B.shape[0]):
        one = batch.select(torch.tensor([row]))
        S, T = int(one.source.mask_BS.sum()), int(one.target_mask_BT.sum())
        yield replace(
            one,
            source=one.source.map(lambda leaf, S=S: leaf[:, :S]),
            target_in_BT=one.target_in_BT[:, :T],
            target_out_BT=one.target_out_BT[:, :T],
            target_mask_BT=one.target_mask_BT[:, :T],
        )


def future_does_not_leak(model: Any, batch: Batch, *, must_read: bool = True) -> Finding:
    """Another symbol at position t changes no log-probability before it.

    ``must_read``: a model that does not read its history at all breaks the law, too.
    """
    half = batch.target_in_BT.shape[1] // 2
    other_in = batch.target_in_BT.clone()
    other_in[:, half:] = torch.where(other_in[:, half:] == 4, 5, 4)
    base = model.forward(batch).log_probs_BT
    changed = model.forward(replace(batch, target_in_BT=other_in)).log_probs_BT
    worst = gap(changed[:, :half], base[:, :half])
    reads_it = gap(changed[:, half:], base[:, half:]) > 0
    detail = "" if reads_it else "the history is not read at all"
    holds = worst <= tolerance_of(model) and (reads_it or not must_read)
    return Finding("future", holds, worst, detail)


def select_reorders_everything(model: Any, batch: Batch) -> Finding:
    """Re-ordering rows between two steps re-orders the next step's result, and nothing else."""
    order = torch.tensor([2, 0, 0, 1]) % batch.example_B.shape[0]
    encoded = model.encode(batch.source)
    state = model.step(batch.target_in_BT[:, 0], model.start(encoded), encoded).state
    token = batch.target_in_BT[:, 1 % batch.target_in_BT.shape[1]]
    plain = model.step(token, state, encoded)
    moved = model.step(token[order], state.select(order), encoded.select(order))
    gaps = [logit_gap(moved.logits_BV, plain.logits_BV[order])]
    if plain.weights_BS is not None:
        gaps.append(gap(moved.weights_BS, plain.weights_BS[order]))
    for one, other in zip(
        moved.state.arrays().values(), plain.state.arrays().values(), strict=True
    ):
        same = one == other[order]  # log space has its -inf: the same place is no difference
        gaps.append(gap(one.double()[~same], other[order].double()[~same]))
    return Finding("select", max(gaps) <= tolerance_of(model), max(gaps), "")


def empty_source_is_finite(model: Any, batch: Batch) -> Finding:
    """A source that is only its end symbol gives finite values and gradients."""
    ids = torch.full_like(batch.source.ids_BS, PAD)
    mask = torch.zeros_like(batch.source.mask_BS)
    ids[:, 0], mask[:, 0] = EOS, True
    source = replace(batch.source, ids_BS=ids, mask_BS=mask)
    out = batch.target_out_BT
    if source.copy_ids_BS is not None:  # what was copied has no source any more
        width = model.step(out[:, 0], *_begun(model, batch.source)).logits_BV.shape[1]
        out = out.masked_fill(out >= width - source.extra, UNK)
        source = replace(source, copy_ids_BS=ids)
    empty = replace(batch, source=source, target_out_BT=out)
    output, gradients = with_gradients(
        model, empty, lambda: model.forward(empty, want=Want.WEIGHTS)
    )
    found = [output.log_probs_BT, *gradients.values()]
    finite = all(bool(torch.isfinite(t).all()) for t in found)
    return Finding("empty source", finite, 0.0 if finite else float("inf"), "")


def _begun(model: Any, source: Source) -> tuple[Any, Any]:
    encoded = model.encode(source)
    return model.start(encoded), encoded


def dropout_is_keyed(model: Any, batch: Batch) -> Finding:
    """The same noise twice is the same; rows keep their masks when the batch is re-ordered."""
    noise = Noise(seed=3, step=5, example_B=batch.example_B)
    order = torch.arange(batch.example_B.shape[0]).flip(0)
    turned = batch.select(order)
    again = Noise(seed=3, step=5, example_B=turned.example_B)
    one = model.forward(batch, noise=noise).log_probs_BT
    other = model.forward(turned, noise=again).log_probs_BT
    worst = gap(other, one[order], batch.target_mask_BT[order])
    return Finding("dropout", worst <= tolerance_of(model), worst, "")


LAWS: dict[str, Callable[[Any, Batch], Finding]] = {
    "forward = step": forward_equals_step,
    "likelihood = logits": likelihood_is_its_logits,
    "weights": weights_are_shares_of_real_tokens,
    "padding": padding_changes_nothing,
    "batch-mates": batch_mates_change_nothing,
    "future": future_does_not_leak,
    "select": select_reorders_everything,
    "empty source": empty_source_is_finite,
    "dropout": dropout_is_keyed,
}
