"""An ensemble is a model: every law holds for it, and some that are its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from jumok.checks.decoding import (
    attention_fits,
    batch_mates_change_no_bit,
    beam_of_one_is_greedy,
    forced_is_search,
)
from jumok.checks.laws import LAWS, forward_equals_step, invented_batch
from jumok.checks.numerics import NUMERICS
from jumok.engine import TorchEngine
from jumok.errors import ConfigError
from jumok.models.contract import Want
from jumok.models.ensemble import Ensemble, Reading, mixture
from jumok.nn.noise import Noise
from jumok.records import Batch
from jumok.search import SearchOptions
from laws.variants import SOURCE_SIZE, TARGET_SIZE, Variant

LUONG, RNN = Variant("luong", {"dropout": 0.3}), Variant("rnnsearch", {})
LOCAL = Variant("luong", {"window": "local-p", "window_size": 2})
RELA = Variant("luong", {"normalize": "rela"})
TRANSFORMER, MONOTONIC = Variant("transformer", {"num_layers": 1}), Variant("monotonic", {})
PLAIN, PEEKY = Variant("plain", {}), Variant("peeky", {})
MIXED = (LUONG, TRANSFORMER, PLAIN)
ENSEMBLES = {
    "one": (LUONG,),
    "mixed": MIXED,
    "rows over one": (RELA, RELA, RNN),
    "none has a map": (PLAIN, PEEKY),
    "filters": (MONOTONIC, RNN, LOCAL),
    "copying": (Variant("pointer", {}), Variant("pointer", {"coverage": False})),
}


def built(*variants: Variant, dtype: torch.dtype = torch.float64, average: str = "probabilities"):
    return Ensemble([v.build(dtype) for v in variants], average=average)  # type: ignore[arg-type]


def batch_of(**more: int) -> Batch:
    return invented_batch(SOURCE_SIZE, TARGET_SIZE, **more)


def distributions(model: object, batch: Batch) -> torch.Tensor:
    logits = model.forward(batch, want=Want.LOGITS).logits_BTV  # type: ignore[attr-defined]
    return torch.log_softmax(logits, -1)[batch.target_mask_BT].detach()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(
    ("name", "average"), [*((name, "probabilities") for name in ENSEMBLES), ("mixed", "logs")]
)
def test_law_holds(name: str, law: str, average: str) -> None:
    finding = LAWS[law](built(*ENSEMBLES[name], average=average), batch_of())
    assert finding.holds, finding


@pytest.mark.parametrize("law", NUMERICS)
def test_numbers_are_right(law: str) -> None:
    batch = batch_of(rows=3, source_length=5, target_length=3)
    finding = NUMERICS[law](built(*MIXED), batch)
    assert finding.holds, finding


@pytest.mark.parametrize("name", ENSEMBLES)
def test_forward_equals_step_under_noise(name: str) -> None:
    batch = batch_of(seed=2)
    noise = Noise(seed=5, step=11, example_B=batch.example_B)
    finding = forward_equals_step(built(*ENSEMBLES[name]), batch, noise=noise, tolerance=1e-10)
    assert finding.holds, finding


@pytest.mark.parametrize("average", ["probabilities", "logs"])
@pytest.mark.parametrize("copies", [1, 2, 3])
def test_one_member_or_equal_ones_are_that_member(copies: int, average: str) -> None:
    batch, member = batch_of(), LUONG.build()
    ensemble = Ensemble([member] * copies, average=average)  # type: ignore[arg-type]
    want = Want.WEIGHTS
    one, all_ = member.forward(batch, want=want), ensemble.forward(batch, want=want)
    real = batch.target_mask_BT
    assert torch.allclose(one.log_probs_BT[real], all_.log_probs_BT[real], atol=1e-13, rtol=0)
    assert torch.allclose(one.weights_BTS[real], all_.weights_BTS[real], atol=1e-15, rtol=0)


@pytest.mark.parametrize("average", ["probabilities", "logs"])
def test_the_order_of_the_members_does_not_matter(average: str) -> None:
    batch = batch_of()
    one = distributions(built(*MIXED, average=average), batch)
    other = distributions(built(*MIXED[::-1], average=average), batch)
    assert torch.allclose(one, other, atol=1e-12, rtol=0)


def test_probabilities_are_averaged_as_numpy_does_it() -> None:
    batch = batch_of()
    each = [distributions(v.build(), batch).exp().numpy() for v in MIXED]
    found = distributions(built(*MIXED), batch).numpy()
    assert np.allclose(found, np.log(np.mean(each, axis=0)), atol=1e-12, rtol=0)
    logs = np.mean([np.log(p) for p in each], axis=0)
    logs -= np.log(np.exp(logs).sum(axis=-1, keepdims=True))
    geometric = distributions(built(*MIXED, average="logs"), batch).numpy()
    assert np.allclose(geometric, logs, atol=1e-12, rtol=0)
    assert np.abs(geometric - found).max() > 0.01


def test_the_map_is_the_mean_of_those_that_have_one() -> None:
    batch = batch_of()
    maps = [v.build().forward(batch, want=Want.WEIGHTS).weights_BTS for v in MIXED[:2]]
    ensemble = built(*MIXED)
    output = ensemble.forward(batch, want=Want.WEIGHTS | Want.MAPS)
    looking = sum((m > 0).any(dim=-1, keepdim=True).double() for m in maps)
    mean = (maps[0] + maps[1]) / looking
    assert {1.0, 2.0} == set(looking.flatten().tolist()), "a source of its end symbol alone"
    assert torch.allclose(output.weights_BTS, mean, atol=1e-14, rtol=0)
    assert torch.allclose(output.maps["1/weights"], maps[0], atol=1e-14, rtol=0)
    assert {spec.name for spec in ensemble.maps} == {"weights", *output.maps}
    assert built(PLAIN, PEEKY).forward(batch, want=Want.WEIGHTS).weights_BTS is None


def test_members_drop_independently() -> None:
    batch, member = batch_of(), LUONG.build()
    noise = Noise(seed=5, step=11, example_B=batch.example_B)
    alone = member.forward(batch, noise=noise).log_probs_BT
    both = Ensemble([member, member]).forward(batch, noise=noise).log_probs_BT
    assert not torch.allclose(alone, both)


def test_members_with_other_ids_are_read_in_ours() -> None:
    """A member whose symbols have other numbers is the member with its tables re-ordered."""
    batch, member = batch_of(), RNN.build()
    g = torch.Generator().manual_seed(3)
    source = torch.cat([torch.arange(4), 4 + torch.randperm(SOURCE_SIZE - 4, generator=g)])
    target = torch.cat([torch.arange(4), 4 + torch.randperm(TARGET_SIZE - 4, generator=g)])
    other = RNN.build()
    with torch.no_grad():  # row target[i] of `other` is what row i of `member` is
        for name, weight in other.named_parameters():
            table = source if name == "source_embedding" else target
            if len(weight) == len(table):
                weight[table] = weight.clone()
    same = Reading(source_V=torch.arange(SOURCE_SIZE), target_V=torch.arange(TARGET_SIZE))
    ensemble = Ensemble([member, other], readings=[same, Reading(source_V=source, target_V=target)])
    assert torch.allclose(
        distributions(ensemble, batch), distributions(member, batch), atol=1e-12, rtol=0
    )
    assert forward_equals_step(ensemble, batch).holds


# --- the mixture itself -------------------------------------------------------------------------


@pytest.mark.parametrize("average", ["probabilities", "logs"])
def test_what_nobody_can_write_is_no_nan(average: str) -> None:
    one = torch.tensor([[0.5, -math.inf, 1.0, -math.inf]], dtype=torch.float64, requires_grad=True)
    two = torch.tensor([[0.1, 0.3, -2.0, -math.inf]], dtype=torch.float64, requires_grad=True)
    found = torch.log_softmax(mixture([one, two], average), -1)  # type: ignore[arg-type]
    assert found[0, 3] == -math.inf
    assert (found[0, 1] == -math.inf) == (average == "logs")
    assert float(found.detach().exp().sum()) == pytest.approx(1, abs=1e-12)
    found[0, 0].backward()  # type: ignore[no-untyped-call]
    assert one.grad is not None and torch.isfinite(one.grad).all()
    assert two.grad is not None and torch.isfinite(two.grad).all()


def test_very_unlikely_symbols_do_not_underflow() -> None:
    x = torch.tensor([[0.0, -2000.0]])
    assert mixture([x, x])[0, 1] == -2000.0


def test_no_member_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one member"):
        Ensemble([])


# --- searches -----------------------------------------------------------------------------------


def test_the_mixture_of_a_row_is_the_same_bits_in_any_company() -> None:
    """Eight rows of 13 numbers are no multiple of what is computed at a time."""
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randn(64, 13, generator=generator) for _ in range(3)]
    together = mixture(rows)
    for start in range(0, 64, 8):
        turned = (torch.arange(8) + 5 * start) % 64
        assert torch.equal(mixture([x[turned] for x in rows]), together[turned])


@pytest.mark.parametrize("name", ["mixed", "none has a map", "filters"])
def test_searches_over_an_ensemble_keep_their_promises(name: str) -> None:
    engine = TorchEngine(built(*ENSEMBLES[name], dtype=torch.float32), bits=True)
    random = np.random.default_rng(0)
    rows = [np.append(random.integers(4, SOURCE_SIZE, n), 3) for n in (5, 1, 3, 8, 2)]
    greedy = SearchOptions(max_length=9, maps=True)
    beam = SearchOptions(max_length=9, beam=3, nbest=3)
    drawn = SearchOptions(max_length=9, sample=True, nbest=2)
    found = [
        beam_of_one_is_greedy(engine, rows),
        attention_fits(engine, rows, beam),
        *(
            batch_mates_change_no_bit(engine, rows, o, name="ensemble", draws=2, largest=20)
            for o in (greedy, beam)
        ),
        *(f for o in (beam, drawn) for f in forced_is_search(engine, rows, o, tolerance=0.0)),
    ]
    for finding in found:
        assert finding.holds, finding


def test_a_mean_promises_no_more_of_its_rows_than_its_members_do() -> None:
    promised = [built(*v).maps[0] for v in ((RNN, RNN), (RNN, LOCAL), (RNN, RELA))]
    assert [m.sums_to_one for m in promised] == [True, False, False]
    assert [m.at_most_one for m in promised] == [True, True, False]
