"""The loss is a sum over real tokens, and the smoothing everybody else's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_tiny import Tiny, collate, pairs

from jumok.errors import ConfigError
from jumok.models.contract import Output, Want
from jumok.records import Batch, Source
from jumok.training.losses import guided_alignment, weigh

B, T, V, S = 3, 5, 7, 11


def _batch(mask_BT: torch.Tensor, out_BT: torch.Tensor, links: torch.Tensor | None = None) -> Batch:
    source = Source(ids_BS=torch.zeros(B, S), mask_BS=torch.ones(B, S, dtype=torch.bool))
    return Batch(
        source=source,
        target_in_BT=out_BT,
        target_out_BT=out_BT,
        target_mask_BT=mask_BT,
        example_B=torch.arange(B),
        links_BTS=links,
    )


def _random() -> tuple[torch.Tensor, torch.Tensor, Batch, Output]:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(B, T, V, generator=generator, dtype=torch.float64, requires_grad=True)
    gold = torch.randint(0, V, (B, T), generator=generator)
    mask = torch.arange(T) < torch.tensor([[5], [2], [3]])
    log_p = logits.log_softmax(-1)
    output = Output(log_p.gather(-1, gold[..., None]).squeeze(-1), log_p.mean(-1))
    return logits, mask, _batch(mask, gold), output


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.37])
def test_smoothing_is_that_of_cross_entropy(smoothing: float) -> None:
    logits, mask, batch, output = _random()
    want = functional.cross_entropy(
        logits[mask], batch.target_out_BT[mask], label_smoothing=smoothing, reduction="sum"
    )
    total = weigh(output, batch, smoothing=smoothing).total
    assert torch.allclose(total, want, atol=1e-12, rtol=0)
    (found,) = torch.autograd.grad(total, logits, retain_graph=True)
    (expected,) = torch.autograd.grad(want, logits)
    assert torch.allclose(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("rubbish", [torch.nan, torch.inf, -torch.inf, 1e30])
def test_padding_counts_nothing_whatever_stands_there(rubbish: float) -> None:
    _, mask, batch, output = _random()
    clean = weigh(output, batch, smoothing=0.1)
    dirty = Output(
        output.log_probs_BT.masked_fill(~mask, rubbish),
        output.uniform_BT.masked_fill(~mask, rubbish),
    )
    found = weigh(dirty, batch, smoothing=0.1)
    assert torch.equal(found.total, clean.total) and torch.equal(found.nll_B, clean.nll_B)


def test_rows_sum_to_the_whole_and_are_free_of_smoothing() -> None:
    _, _, batch, output = _random()
    loss = weigh(output, batch, smoothing=0.3)
    plain = weigh(output, batch).total
    assert torch.allclose(loss.nll_B.sum(), plain) and not torch.allclose(loss.total, plain)
    assert not loss.nll_B.requires_grad


def test_guiding_is_the_cross_entropy_with_rows_that_sum_to_one() -> None:
    weights = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]]])
    links = torch.tensor([[[1, 0, 0], [0, 1, 1], [0, 0, 0]]], dtype=torch.bool)
    want = -(np.log(0.5) + 0.5 * np.log(0.2) + 0.5 * np.log(0.7))
    assert guided_alignment(weights, links).item() == pytest.approx(want, rel=1e-6)


def test_a_linked_position_outside_the_window_costs_much_but_not_infinity() -> None:
    weights = torch.tensor([[[0.0, 1.0]]])
    links = torch.tensor([[[True, False]]])
    assert guided_alignment(weights, links).item() == pytest.approx(-np.log(1e-6), rel=1e-5)


def test_the_guided_term_is_weighed_and_added() -> None:
    rows = pairs(5)
    batch = collate(rows, np.arange(5), links=True).map(torch.from_numpy)
    output = Tiny()(batch, want=Want.WEIGHTS)
    plain = weigh(output, batch).total
    guide = guided_alignment(output.weights_BTS, batch.links_BTS)
    both = weigh(output, batch, guided_weight=0.3).total
    assert torch.allclose(both, plain + 0.3 * guide, rtol=1e-6) and guide > 1


def test_what_the_model_or_the_data_cannot_give_is_said() -> None:
    _, _, batch, output = _random()
    with pytest.raises(ConfigError, match="`label_smoothing` needs mean log-probabilities"):
        weigh(output._replace(uniform_BT=None), batch, smoothing=0.1)
    with pytest.raises(ConfigError, match="`guided_weight` needs batches with links"):
        weigh(output, batch, guided_weight=1.0)
    linked = _batch(batch.target_mask_BT, batch.target_out_BT, torch.ones(B, T, S))
    with pytest.raises(ConfigError, match="needs attention weights; this model has none"):
        weigh(output, linked, guided_weight=1.0)
