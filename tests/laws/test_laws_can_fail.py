"""A law that cannot fail is a defect: for each, a model with the very bug it stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from jumok.checks.laws import LAWS, invented_batch
from jumok.checks.numerics import NUMERICS
from jumok.models.contract import unroll
from jumok.models.luong import Luong
from jumok.nn.noise import Noise
from jumok.records import Batch
from laws.variants import SOURCE_SIZE, TARGET_SIZE, Variant

VARIANT = Variant("luong", {"feeding": False, "dropout": 0.3, "attend_end": True})
EVERY_LAW = {**LAWS, **NUMERICS}


class Broken(Luong):
    """The model of ``VARIANT``, whose parts a sabotage replaces."""


def forward_drifts(self: Any, batch: Batch, **how: Any) -> Any:
    output = Luong.forward(self, batch, **how)
    return output._replace(log_probs_BT=output.log_probs_BT + 1e-6)


def uniform_is_forgotten(self: Any, batch: Batch, **how: Any) -> Any:
    output = Luong.forward(self, batch, **how)
    return output._replace(uniform_BT=output.uniform_BT * 0)


def weights_on_padding(self: Any, batch: Batch, **how: Any) -> Any:
    output = Luong.forward(self, batch, **how)
    if output.weights_BTS is None:
        return output
    return output._replace(weights_BTS=(output.weights_BTS + 1e-7).clamp(max=1))


def weights_of_half(self: Any, batch: Batch, **how: Any) -> Any:
    output = Luong.forward(self, batch, **how)
    found = output.weights_BTS
    return output._replace(weights_BTS=None if found is None else found / 2)


def counts_padding(self: Any, batch: Batch, **how: Any) -> Any:
    """A mean over the padded length."""
    output = Luong.forward(self, batch, **how)
    return output._replace(log_probs_BT=output.log_probs_BT / batch.source.ids_BS.shape[1])


def knows_its_neighbours(self: Any, batch: Batch, **how: Any) -> Any:
    output = Luong.forward(self, batch, **how)
    mean = output.log_probs_BT.mean(dim=0, keepdim=True)
    return output._replace(log_probs_BT=output.log_probs_BT + 1e-6 * mean)


def looks_ahead(self: Any, batch: Batch, **how: Any) -> Any:
    """The next input instead of this one."""
    ahead = batch.target_in_BT.roll(-1, 1)
    return Luong.forward(self, replace(batch, target_in_BT=ahead), **how)


def reads_no_history(self: Any, batch: Batch, **how: Any) -> Any:
    blind = torch.full_like(batch.target_in_BT, 4)
    return Luong.forward(self, replace(batch, target_in_BT=blind), **how)


def counts_rows(self: Any, token_B: Any, state: Any, encoded: Any, **how: Any) -> Any:
    """A buffer kept by row number: what re-ordering leaves behind."""
    step = Luong.step(self, token_B, state, encoded, **how)
    rows = torch.arange(len(token_B), dtype=step.logits_BV.dtype)[:, None]
    return step._replace(logits_BV=step.logits_BV + 1e-6 * rows * step.logits_BV)


def divides_by_its_words(self: Any, batch: Batch, **how: Any) -> Any:
    output = Luong.forward(self, batch, **how)
    words = batch.source.mask_BS.sum(1) - 1
    return output._replace(log_probs_BT=output.log_probs_BT / words[:, None])


def keyed_by_row(self: Any, batch: Batch, *, noise: Noise | None = None, **how: Any) -> Any:
    if noise is not None:
        noise = replace(noise, example_B=torch.arange(len(noise.example_B)))
    return Luong.forward(self, batch, noise=noise, **how)


def wrong_slope(self: Any, batch: Batch, **how: Any) -> Any:
    """The right value with a gradient a thousandth too large."""
    output = Luong.forward(self, batch, **how)
    p = output.log_probs_BT
    return output._replace(log_probs_BT=p + 1e-3 * (p - p.detach()))


def overflows(self: Any, batch: Batch, **how: Any) -> Any:
    output = Luong.forward(self, batch, **how)
    low = torch.is_autocast_enabled("cpu")
    return output._replace(log_probs_BT=output.log_probs_BT * (torch.nan if low else 1))


def sees_padded_states(self: Any, token_B: Any, state: Any, encoded: Any, **how: Any) -> Any:
    step = Luong.step(self, token_B, state, encoded, **how)
    everything = encoded.states_BSD.mean(dim=(1, 2))[:, None]
    return step._replace(logits_BV=step.logits_BV * (1 + 1e-6 * everything))


def gives_unasked(self: Any, token_B: Any, state: Any, encoded: Any, **how: Any) -> Any:
    how.pop("want", None)
    return Luong.step(self, token_B, state, encoded, **how)


SABOTAGES: list[tuple[str, str, Callable[..., Any]]] = [
    ("forward = step", "forward", forward_drifts),
    ("forward = step", "forward", wrong_slope),
    ("likelihood = logits", "forward", forward_drifts),
    ("likelihood = logits", "forward", uniform_is_forgotten),
    ("weights", "forward", weights_on_padding),
    ("weights", "forward", weights_of_half),
    ("padding", "forward", counts_padding),
    ("batch-mates", "forward", knows_its_neighbours),
    ("batch-mates", "forward", counts_padding),
    ("future", "forward", looks_ahead),
    ("future", "forward", reads_no_history),
    ("select", "step", counts_rows),
    ("empty source", "forward", divides_by_its_words),
    ("dropout", "forward", keyed_by_row),
    ("gradients", "forward", wrong_slope),
    ("bf16", "forward", overflows),
    ("padded states", "step", sees_padded_states),
    ("wants", "step", gives_unasked),
]


@pytest.mark.parametrize("law, part, sabotage", SABOTAGES, ids=lambda v: getattr(v, "__name__", v))
def test_the_bug_breaks_its_law(
    law: str, part: str, sabotage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = VARIANT.build()
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE)
    assert EVERY_LAW[law](model, batch).holds
    model.__class__ = Broken
    monkeypatch.setattr(Broken, part, sabotage, raising=False)
    finding = EVERY_LAW[law](model, batch)
    assert not finding.holds, finding


def test_a_wrong_slope_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One parameter's gradient is off by a thousandth: which one is said."""
    model = VARIANT.build()

    def copied(one: Any) -> Any:
        one.score.W_a.weight.register_hook(lambda gradient: gradient * 1.001)
        return one

    monkeypatch.setattr("jumok.checks.numerics.copy.deepcopy", copied)
    finding = NUMERICS["gradients"](model, invented_batch(SOURCE_SIZE, TARGET_SIZE))
    assert not finding.holds and finding.detail == "worst: score.W_a.weight"


def test_every_law_has_its_bug() -> None:
    assert {law for law, _, _ in SABOTAGES} == set(EVERY_LAW)


def test_an_invented_batch_has_every_length_it_needs() -> None:
    """Different lengths on both sides, the first row the longest; ends and starts in place."""
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, rows=7, source_length=5, target_length=4)
    for mask in (batch.source.mask_BS, batch.target_mask_BT):
        lengths = mask.sum(1)
        assert lengths[0] == mask.shape[1] and len(set(lengths.tolist())) > 1
    assert torch.all(batch.target_in_BT[:, 0] == 2)
    one = unroll(VARIANT.build(), batch).log_probs_BT
    assert one.shape == batch.target_out_BT.shape
