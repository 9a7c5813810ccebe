"""R-Drop: two passes that differ in their masks alone, drawn together (Liang et al. 2021)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from training_tiny import Tiny, data, flat

from jumok.checks.laws import invented_batch
from jumok.errors import ConfigError
from jumok.models import MODELS
from jumok.models.contract import Output, Want
from jumok.nn.noise import Noise
from jumok.records import Batch, Source
from jumok.training import losses
from jumok.training.losses import Loss, apart, r_drop, weigh
from jumok.training.options import Optim, Training
from jumok.training.run import START, Run
from jumok.training.trainer import fit
from jumok.training.update import update
from laws.variants import SOURCE_SIZE, TARGET_SIZE, Variant

B, T, V = 3, 5, 7
MASK = torch.arange(T) < torch.tensor([[5], [2], [3]])
PLAIN = Training(threads=1, max_epochs=2.0)


def logits(seed: int, *, impossible: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(B, T, V, generator=generator, dtype=torch.float64)
    if impossible:  # the same ids in both passes, other ones in every row
        drawn[torch.arange(B), :, torch.tensor([1, 4, 6])] = -torch.inf
    return drawn.requires_grad_()


def by_hand(one: np.ndarray, other: np.ndarray) -> float:
    """1/2 (KL(p || q) + KL(q || p)), written out, position by position."""
    total = 0.0
    for b, t in np.argwhere(MASK.numpy()):
        p, q = (np.exp(x[b, t]) / np.exp(x[b, t]).sum() for x in (one, other))
        there = p > 0
        total += 0.5 * float((p[there] * np.log(p[there] / q[there])).sum())
        total += 0.5 * float((q[there] * np.log(q[there] / p[there])).sum())
    return total


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("chunk", [1 << 22, 2 * V, 1])
def test_the_distance_is_the_written_one(
    impossible: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", chunk)
    one, other = logits(1, impossible=impossible), logits(2, impossible=impossible)
    found = apart(one, other, MASK)
    expected = by_hand(one.detach().numpy(), other.detach().numpy())
    assert found.item() == pytest.approx(expected, rel=1e-12) and expected > 1
    assert apart(other, one, MASK).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("chunk", [1 << 22, 8 * V])
def test_its_gradient_is_its_slope(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", chunk)
    assert torch.autograd.gradcheck(lambda p, q: apart(p, q, MASK), (logits(1), logits(2)))


def test_impossible_ids_have_no_gradient_and_make_no_nan() -> None:
    one, other = logits(1, impossible=True), logits(2, impossible=True)
    apart(one, other, MASK).backward()  # type: ignore[no-untyped-call]
    for x in (one, other):
        assert x.grad is not None and torch.isfinite(x.grad).all()
        assert (x.grad[x == -torch.inf] == 0).all() and x.grad.abs().max() > 0.01


@pytest.mark.parametrize("rubbish", [torch.nan, torch.inf, 1e30])
def test_padding_counts_nothing_whatever_stands_there(rubbish: float) -> None:
    one, other = logits(1), logits(2)
    dirty = one.detach().masked_fill(~MASK[..., None], rubbish).requires_grad_()
    found = apart(dirty, other, MASK)
    assert torch.equal(found, apart(one, other, MASK))
    found.backward()  # type: ignore[no-untyped-call]
    assert dirty.grad is not None and (dirty.grad[~MASK] == 0).all()


def test_the_loss_is_half_the_papers() -> None:
    """Both likelihoods and alpha times the distance (4), per token of one pass."""
    gold = torch.zeros(B, T, dtype=torch.long)
    source = Source(ids_BS=gold, mask_BS=gold == 0)
    batch = Batch(
        source=source, target_in_BT=gold, target_out_BT=gold, target_mask_BT=MASK,
        example_B=torch.arange(B),
    )  # fmt: skip
    both = tuple(
        Output(x.log_softmax(-1)[..., 0], x.log_softmax(-1).mean(-1), logits_BTV=x)
        for x in (logits(1), logits(2))
    )
    one, two = (weigh(output, batch, smoothing=0.1) for output in both)
    found = r_drop(one, two, (both[0], both[1]), batch, alpha=5.0)
    papers = one.total + two.total + 5.0 * apart(both[0].logits_BTV, both[1].logits_BTV, MASK)
    assert torch.allclose(found.total, papers / 2, rtol=1e-12, atol=0)
    assert torch.allclose(found.nll_B, (one.nll_B + two.nll_B) / 2)
    mute = both[0]._replace(logits_BTV=None)
    with pytest.raises(ConfigError, match="`r_drop` needs logits"):
        r_drop(one, two, (mute, both[1]), batch, alpha=5.0)


def run_of(model: Any, **options: Any) -> Run:
    return Run(model, data(), Optim(name="sgd", lr=1e-30), replace(PLAIN, **options), scored=False)


def test_without_dropout_there_is_nothing_between_the_passes() -> None:
    def loss(dropout: float, weight: float) -> float:
        run = run_of(Tiny(dropout=dropout), r_drop=weight)
        return update(run, [run.data.collate(np.arange(7))], START).loss  # type: ignore[union-attr]

    assert loss(0.0, 5.0) == loss(0.0, 0.0)
    assert loss(0.4, 5.0) > loss(0.4, 0.0) + 0.01


def test_the_second_pass_has_masks_of_its_own_that_depend_on_step_and_example_alone() -> None:
    class Heard(Tiny):
        def forward(self, batch, *, noise=None, want=0):  # type: ignore[no-untyped-def]
            masks.append(noise.mask("both", 0.5, torch.zeros(len(noise.example_B), 3, 50)))
            return super().forward(batch, noise=noise, want=want)

    masks: list[torch.Tensor] = []
    run = run_of(Heard(), r_drop=1.0)
    batches = [run.data.collate(np.arange(7)), run.data.collate(np.arange(3))]
    update(run, batches, START)
    first, second, again_first, again_second = masks
    assert abs((first == second).double().mean() - 0.5) < 0.05, "they agree as strangers would"
    assert torch.equal(first[:3], again_first) and torch.equal(second[:3], again_second)


def test_off_is_the_run_as_it_was() -> None:
    """The first pass has the masks of a run without R-Drop, and 0 makes one pass."""
    calls = []

    class Counted(Tiny):
        def forward(self, batch, *, noise=None, want=0):  # type: ignore[no-untyped-def]
            calls.append((noise.draw, want))
            return super().forward(batch, noise=noise, want=want)

    model = Counted(dropout=0.3)
    fit(model, data(), options=PLAIN)
    assert set(calls) == {(0, Want.NOTHING)}
    assert flat(model) == flat(fitted(0.0)) != flat(fitted(5.0))


def fitted(weight: float) -> Tiny:
    model = Tiny(dropout=0.3)
    fit(model, data(), options=replace(PLAIN, r_drop=weight))
    return model


def of(name: str) -> Any:
    return Variant(name, {"dropout": 0.3}).build()


@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_what_it_takes(name: str) -> None:
    """Finite value and slopes; of the two passes that the masks of one step name."""
    model = of(name)
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE)
    noise = Noise(3, 5, batch.example_B)
    outputs = [model.forward(batch, noise=noise.again(k), want=Want.LOGITS) for k in (0, 1)]
    one, two = (weigh(output, batch, smoothing=0.1) for output in outputs)
    found = r_drop(one, two, (outputs[0], outputs[1]), batch, alpha=5.0)
    assert found.total > (one.total + two.total) / 2 + 1e-6
    found.total.backward()
    for weight, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), weight


def copying(batch: Batch) -> Batch:
    """Each source symbol can be copied, some as ids that the vocabulary lacks."""
    copy = torch.where(batch.source.ids_BS > 8, batch.source.ids_BS + TARGET_SIZE, 1)
    copy = copy.masked_fill(~batch.source.mask_BS, 0)
    source = replace(batch.source, copy_ids_BS=copy, extra=32)
    out = batch.target_out_BT.clone()
    out[0, 0] = copy[0].max()
    return replace(batch, source=source, target_out_BT=out)


def test_copies_of_other_sentences_are_impossible_and_make_no_nan() -> None:
    model, batch = of("pointer"), copying(invented_batch(SOURCE_SIZE, TARGET_SIZE))
    noise = Noise(3, 5, batch.example_B)
    outputs = [model.forward(batch, noise=noise.again(k), want=Want.LOGITS) for k in (0, 1)]
    assert (outputs[0].logits_BTV == -torch.inf).any()
    one, two = (weigh(output, batch, smoothing=0.1) for output in outputs)
    found: Loss = r_drop(one, two, (outputs[0], outputs[1]), batch, alpha=5.0)
    found.total.backward()
    assert torch.isfinite(found.total)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_weight_below_0_is_refused() -> None:
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"`r_drop` must be 0 \(off\) or more"):
            Training(r_drop=wrong)
