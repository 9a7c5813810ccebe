"""Coverage (Tu et al. 2016): what it counts, and that attention reads it."""

from __future__ import annotations

import pytest
import torch

from jumok.checks.laws import invented_batch
from jumok.errors import ConfigError
from jumok.models.bahdanau import BahdanauConfig
from jumok.models.contract import Want
from jumok.nn.coverage import Linguistic
from laws.variants import SOURCE_SIZE, TARGET_SIZE, Variant


def test_a_fertility_of_one_counts_plain_attention() -> None:
    """U_f = 0 and N = 2: Phi = 1, and C is the sum of the weights so far."""
    cover = Linguistic(key_size=5, attention_size=3, fertility=2.0).double()
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    alphas = torch.rand(4, 2, 7, generator=generator, dtype=torch.float64)
    covered, prepared = torch.zeros(2, 7, 1, dtype=torch.float64), cover.prepare(states)
    for alpha in alphas:
        covered = cover(covered, alpha, torch.zeros(2, 11), prepared)
    assert torch.allclose(covered.squeeze(2), alphas.sum(dim=0), rtol=1e-14)


def test_a_fertile_word_is_covered_more_slowly() -> None:
    cover = Linguistic(key_size=1, attention_size=3, fertility=4.0)
    torch.nn.init.ones_(cover.U_f)
    states = torch.tensor([[[-2.0], [0.0], [2.0]]])
    once = cover(torch.zeros(1, 3, 1), torch.ones(1, 3), torch.zeros(1, 1), cover.prepare(states))
    assert torch.allclose(once.flatten(), 1 / (4 * torch.sigmoid(states.flatten())))


@pytest.mark.parametrize("name", ["rnnsearch", "cgru", "bahdanau"])
def test_the_map_of_coverage_is_the_attention_before(name: str) -> None:
    """Row t holds what rows before t gave, in shares of the fertility."""
    model = Variant(name, {"coverage": "linguistic"}).build()
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE)
    output = model.forward(batch, want=Want.WEIGHTS | Want.MAPS)
    weights, covered = output.weights_BTS, output.maps["coverage"]
    assert weights is not None
    given = weights.cumsum(dim=1) - weights
    share = model.cover.prepare(model.encode(batch.source).states_BSD).squeeze(2).unsqueeze(1)
    assert torch.allclose(covered, given * share, rtol=1e-12)
    assert covered[:, 0].abs().max() == 0


@pytest.mark.parametrize("coverage", ["linguistic", "neural"])
def test_attention_reads_its_coverage(coverage: str) -> None:
    """Without V_a, coverage changes nothing; with it, it does, from the second symbol on."""
    model = Variant("rnnsearch", {"coverage": coverage}).build()
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE)
    reading = model.forward(batch, want=Want.WEIGHTS).weights_BTS
    V_a = model.cover.V_a if coverage == "linguistic" else model.cover.V_a.weight
    torch.nn.init.zeros_(V_a)
    blind = model.forward(batch, want=Want.WEIGHTS).weights_BTS
    assert torch.equal(reading[:, 0], blind[:, 0])
    assert (reading[:, 1:] - blind[:, 1:]).abs().max() > 1e-3


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"`coverage_size` \(0\) must be at least 1"):
        BahdanauConfig(coverage="neural", coverage_size=0)
    with pytest.raises(ConfigError, match=r"`fertility` \(0\) above 0"):
        BahdanauConfig(coverage="linguistic", fertility=0)
