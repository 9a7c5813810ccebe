"""GNMT: what its wirings share, where they part, and what residual layers and norms add."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from jumok.checks.laws import gap, invented_batch, with_gradients
from jumok.errors import ConfigError
from jumok.models import MODELS
from jumok.models.contract import Output, Want, unroll
from jumok.models.gnmt import GNMTConfig
from jumok.nn.attention import Additive
from jumok.nn.paths import recorded_paths
from laws.variants import SMALL, SOURCE_SIZE, TARGET_SIZE, Variant

BATCH = invented_batch(SOURCE_SIZE, TARGET_SIZE, seed=6)
REAL = BATCH.target_mask_BT
E, H = SMALL["embedding_size"], SMALL["hidden_size"]


def build(**options: Any) -> Any:
    return Variant("gnmt", options).build()


def run(model: Any) -> Output:
    with torch.no_grad():
        return model.forward(BATCH, want=Want.WEIGHTS)


def apart(one: Output, other: Output) -> float:
    gaps = [gap(one.log_probs_BT, other.log_probs_BT, REAL)]
    return max([*gaps, gap(one.weights_BTS, other.weights_BTS, REAL)])


def widened(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The bottom decoder layer with zeros for the context that it does not read."""
    zeros = torch.zeros(4 * H, H, dtype=torch.float64)
    both = torch.cat([weights["decoder.0.W_x"], zeros], dim=1)
    return {**weights, "decoder.0.W_x": both}


def test_the_parallel_decoder_is_the_one_that_goes_step_by_step() -> None:
    """Values, weights and gradients, to 1e-10; and nothing of it is unrolled."""
    model = build(num_layers=4)
    with recorded_paths() as paths:
        fast = with_gradients(model, BATCH, lambda: model.forward(BATCH, want=Want.WEIGHTS))
    assert "gnmt" not in paths
    slow = with_gradients(model, BATCH, lambda: unroll(model, BATCH, want=Want.WEIGHTS))
    assert apart(fast[0], slow[0]) < 1e-10
    for name, gradient in fast[1].items():
        assert gap(gradient, slow[1][name]) < 1e-10, name


def test_tf_nmts_second_wiring_without_its_context_below_is_nvidias() -> None:
    parallel, theirs = build(num_layers=3), build(num_layers=3, wiring="tf_gnmt_v2")
    theirs.load_state_dict(widened(parallel.state_dict()))
    assert apart(run(parallel), run(theirs)) < 1e-12
    theirs.decoder[0].W_x.data[:, E:] = 1.0
    assert apart(run(parallel), run(theirs)) > 1e-3


def test_tf_nmts_first_wiring_reads_above_what_was_found_a_step_before() -> None:
    """At the first step there is nothing yet: the layers above read zeros."""
    old, new = (build(num_layers=3, wiring=w) for w in ("tf_gnmt", "tf_gnmt_v2"))
    old.load_state_dict(new.state_dict())
    assert apart(run(old), run(new)) > 1e-3
    new.norm = torch.nn.Module()
    new.norm.forward = torch.zeros_like  # a context of zeros
    first_old, first_new = run(old).log_probs_BT[:, 0], run(new).log_probs_BT[:, 0]
    torch.testing.assert_close(first_old, first_new, rtol=0, atol=1e-12)


def test_the_papers_query_is_the_bottom_state_of_the_step_before() -> None:
    """From zeros the first row asks with nothing: the same weights, whatever was written."""
    paper = build(wiring="paper", bridge="zero")
    encoded = paper.encode(BATCH.source)
    state = paper.start(encoded)
    rows = [paper.step(torch.full((5,), y), state, encoded) for y in (4, 5)]
    assert torch.equal(rows[0].weights_BS, rows[1].weights_BS)
    after = [paper.step(torch.full((5,), 6), row.state, encoded).weights_BS for row in rows]
    assert not torch.equal(*after)
    score = paper.score(torch.zeros(5, H, dtype=torch.float64), encoded.keys_BSA)
    expected = torch.softmax(score.masked_fill(~encoded.mask_BS, -torch.inf), dim=-1)
    torch.testing.assert_close(rows[0].weights_BS, expected)
    parallel = build()
    rows = [parallel.step(torch.full((5,), y), state, encoded).weights_BS for y in (4, 5)]
    assert not torch.equal(*rows)


@pytest.mark.parametrize("wiring", ["parallel", "paper"])
def test_a_residual_layer_of_zeros_is_no_layer(wiring: str) -> None:
    """The third layer's output is added to its input; below it nothing is."""
    deep, flat = build(num_layers=3, wiring=wiring), build(num_layers=2, wiring=wiring)
    weights = deep.state_dict()
    third = ("decoder.2.", "encoder.upper.forward_layers.1.")
    flat.load_state_dict({k: v for k, v in weights.items() if not k.startswith(third)})
    assert apart(run(deep), run(flat)) > 1e-3
    deep.load_state_dict({k: v * (not k.startswith(third)) for k, v in weights.items()})
    assert apart(run(deep), run(flat)) < 1e-12
    second = ("decoder.1.", "encoder.upper.forward_layers.0.")
    flat.load_state_dict({k: v * (not k.startswith(second)) for k, v in flat.state_dict().items()})
    with torch.no_grad():
        logits = flat.forward(BATCH, want=Want.LOGITS).logits_BTV
    bias = flat.W_s.bias.expand_as(logits)  # the second is not residual: nothing comes through
    torch.testing.assert_close(logits, bias.detach(), rtol=0, atol=1e-14)


def test_the_decoder_starts_from_zeros_or_from_the_encoder() -> None:
    for first in ("zero", "copy"):
        model = build(num_layers=3, bridge=first)
        state = model.start(model.encode(BATCH.source))
        nothing = torch.zeros(5, 3, H, dtype=torch.float64)
        assert torch.equal(state.h_BLH, nothing) == (first == "zero")
    encoded = model.encode(BATCH.source)
    last = BATCH.source.mask_BS.sum(1) - 1
    # The top layer is residual: its own state is what it added to the one below.
    assert not torch.allclose(state.h_BLH[:, 2], encoded.states_BSH[torch.arange(5), last])
    bottom = model.encoder.bottom(
        model.source_embedding[BATCH.source.ids_BS], BATCH.source.mask_BS
    ).states_BSD
    torch.testing.assert_close(state.h_BLH[:, 0], bottom[:, 0, H:])


def test_a_normed_score_has_the_length_that_it_is_given() -> None:
    """g v / |v|: with g = |v| it is the plain one; the length of v alone changes nothing."""
    plain = Additive(3, 5, 7, bias=True).double()
    normed = Additive(3, 5, 7, bias=True, normed=True).double()
    assert normed.g.item() == pytest.approx(7**-0.5)
    for weight in plain.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(weight.dim()))
    normed.load_state_dict({**plain.state_dict(), "g": plain.v_a.norm()})
    query, states = torch.randn(2, 4, 3).double(), torch.randn(2, 6, 5).double()
    expected = plain(query, plain.keys(states))
    torch.testing.assert_close(normed(query, normed.keys(states)), expected)
    normed.v_a.data *= 3
    torch.testing.assert_close(normed(query, normed.keys(states)), expected)


@pytest.mark.parametrize("normed", [True, False])
def test_scores_of_all_steps_at_once_are_those_of_each(normed: bool) -> None:
    """In float32 the kernel that keeps nothing of size T S A; in float64 the formula."""
    score = Additive(3, 5, 7, bias=True, normed=normed)
    for weight in score.parameters():
        if weight.dim():
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(weight.dim()))
    query, states = torch.randn(2, 4, 3), torch.randn(2, 6, 5)
    with recorded_paths() as paths:
        together = score(query, score.keys(states))
    alone = [score(one, score.keys(states)) for one in query.unbind(1)]
    torch.testing.assert_close(together, torch.stack(alone, 1), atol=1e-5, rtol=1e-5)
    assert set(paths) == {"additive"}


def test_one_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="`num_layers` must be at least 2, but is 1: one layer"):
        GNMTConfig(num_layers=1)


def test_its_search_is_nvidias_with_the_papers_formula() -> None:
    search = MODELS["gnmt"].over_rule["search"]
    assert search == {"length_penalty": "gnmt", "length_alpha": 0.6, "coverage_penalty": 0.1}


def test_the_papers_own_sizes_can_be_built() -> None:
    """8 + 8 layers of 1,024: 8 x 1,024 x 1,024 x ... weights, counted by hand."""
    config = GNMTConfig(
        num_layers=8, hidden_size=1024, embedding_size=1024, wiring="paper", score="additive"
    )
    with torch.device("meta"):
        model = MODELS["gnmt"].model(config, 100, 200)
    n = 1024
    lstm = {1: 4 * n * (2 * n + 1), 2: 4 * n * (3 * n + 1)}  # of one input of n, of two
    encoder = 2 * lstm[1] + lstm[2] + 6 * lstm[1]
    rest = 300 * n + 2 * n * n + n + 200 * n + 200
    assert sum(p.numel() for p in model.parameters()) == encoder + 8 * lstm[2] + rest
