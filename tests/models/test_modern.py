"""`modern` and its parts: rotary positions, RMSNorm, SwiGLU, grouped queries, the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jumok.checks.laws import LAWS, gap, invented_batch, with_gradients
from jumok.errors import ConfigError
from jumok.models.contract import Want, unroll
from jumok.models.modern import Modern, ModernConfig, ModernState
from jumok.nn.heads import causal
from jumok.nn.paths import recorded_paths
from jumok.nn.prenorm import GroupedHeads, PreNormEncoder, RMSNorm, SwiGLU, rotary, turned
from jumok.recipes.options import run_config
from jumok.records import Batch
from laws.variants import SOURCE_SIZE, TARGET_SIZE, stirred
from models.by_hand import Weights
from models.by_hand_modern import modern, turn

SIZES = {"hidden_size": 12, "num_layers": 3, "num_heads": 3, "feedforward_size": 7}
ALL = Want.LOGITS | Want.WEIGHTS | Want.MAPS


def built(dtype: torch.dtype = torch.float64, **options: Any) -> Modern:
    config = ModernConfig(**{**SIZES, **options})
    model: Modern = stirred(Modern(config, SOURCE_SIZE, TARGET_SIZE).to(dtype))
    return model


def a_batch(seed: int = 0) -> Batch:
    return invented_batch(SOURCE_SIZE, TARGET_SIZE, seed=seed)


def at(positions: list[int], size: int = 10) -> tuple[Tensor, Tensor]:
    return rotary(torch.tensor(positions), size, torch.zeros((), dtype=torch.float64))


# --- rotary positions ---------------------------------------------------------------------


def test_a_rotary_score_depends_on_the_distance_alone() -> None:
    """(R_m q) . (R_n k) is the same for m, n and m + 977, n + 977; it is not for other n - m."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 3, 1, 10, dtype=torch.float64)
    pairs = [(0, 0), (5, 2), (2, 5), (13, 1)]

    def score(m: int, n: int) -> Tensor:
        return (turned(q, at([m])) * turned(k, at([n]))).sum(dim=-1)

    found = torch.stack([score(m, n) for m, n in pairs])
    moved = torch.stack([score(m + 977, n + 977) for m, n in pairs])
    torch.testing.assert_close(moved, found, atol=1e-10, rtol=0)
    torch.testing.assert_close(found[0], (q * k).sum(dim=-1), atol=1e-12, rtol=0)
    apart = (found[:, None] - found[None]).abs().flatten(2).amax(dim=-1)
    assert (apart + torch.eye(len(pairs))).min() > 1e-3


def test_a_source_that_stands_elsewhere_is_read_the_same() -> None:
    """Self-attention of a whole layer, its queries and keys 500 places further on."""
    torch.manual_seed(0)
    heads = GroupedHeads(12, 3).double()
    x, places = torch.randn(2, 5, 12, dtype=torch.float64), [0, 1, 2, 3, 4]
    found = []
    for away in (0, 500):
        turns = at([p + away for p in places], 4)
        found.append(heads(x, heads.memory(x, turns), causal(5, x.device), turns))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)
    still, _ = heads(x, heads.memory(x), causal(5, x.device))
    assert (still - found[0][0]).abs().max() > 1e-3


def test_turning_is_multiplication_by_a_complex_number() -> None:
    """Pairs of neighbours, as in the paper's equation 34; forms (B, R, T, K) and (B, R, K)."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 10, dtype=torch.float64)
    places = [0, 1, 7, 5003]
    whole = turned(x, at(places))
    for b, r, t in np.ndindex(2, 3, 4):
        expected = turn(x[b, r, t].numpy(), places[t])
        np.testing.assert_allclose(whole[b, r, t].numpy(), expected, atol=1e-10)
    for b, place in ((0, 7), (1, 1)):
        column = places.index(place)
        one = turned(x[:, :, column], at([7, 1]))
        torch.testing.assert_close(one[b], whole[b, :, column], atol=0, rtol=0)
    torch.testing.assert_close(whole.norm(dim=-1), x.norm(dim=-1))


def test_an_angle_is_the_same_wherever_it_stands_in_an_array() -> None:
    like = torch.zeros(())
    whole = rotary(torch.arange(301), 22, like)
    for place in (0, 1, 29, 300):
        for one, all_of_them in zip(rotary(torch.tensor([5, place]), 22, like), whole, strict=True):
            assert one.dtype == torch.float32 and torch.equal(one[1], all_of_them[place])


# --- the other parts ----------------------------------------------------------------------


def test_the_norm_is_pytorchs() -> None:
    torch.manual_seed(0)
    norm, x = RMSNorm(11), 3 * torch.randn(2, 5, 11)
    nn.init.normal_(norm.gain)
    expected = F.rms_norm(x, (11,), norm.gain, 1e-6)
    torch.testing.assert_close(norm(x), expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(norm(torch.zeros(1, 11)), torch.zeros(1, 11))


def test_swiglu_is_shazeers() -> None:
    torch.manual_seed(0)
    layer, x = SwiGLU(5, 7), torch.randn(3, 5)
    a, b = x @ layer.W_1.weight.T, x @ layer.V.weight.T
    expected = (a / (1 + torch.exp(-a)) * b) @ layer.W_2.weight.T
    torch.testing.assert_close(layer(x), expected)


def test_nothing_has_a_bias() -> None:
    names = [name for name, weight in built().named_parameters() if weight.dim() == 1]
    assert names and all("norm" in name and name.endswith("gain") for name in names)


def test_silent_sub_layers_leave_the_input_as_it_is() -> None:
    """Pre-norm: x + 0; only the norm at the top is left."""
    encoder = PreNormEncoder(12, 3, 7, 4).double()
    for layer in encoder.layers:
        nn.init.zeros_(layer.attend_self.W_o.weight)
        nn.init.zeros_(layer.feed_forward.W_2.weight)
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    found, _ = encoder(x, torch.ones(2, 5, dtype=torch.bool))
    torch.testing.assert_close(found, encoder.norm(x))


@pytest.mark.parametrize("shown", [True, False])
def test_grouped_heads_are_heads_whose_keys_and_values_repeat(shown: bool) -> None:
    """2 of 6: the same as 6 heads whose rows of W_k and W_v stand there three times."""
    torch.manual_seed(0)
    few, many = GroupedHeads(12, 6, 2).double(), GroupedHeads(12, 6).double()
    repeated = {
        name: value.view(2, 2, 12).repeat_interleave(3, 0).flatten(0, 1)
        if name in ("W_k.weight", "W_v.weight")
        else value
        for name, value in few.state_dict().items()
    }
    many.load_state_dict(repeated)
    x, turns = torch.randn(3, 5, 12, dtype=torch.float64), at(list(range(5)), 2)
    mask = causal(5, x.device)
    found, weights = few(x, few.memory(x, turns), mask, turns, shown=shown)
    expected, all_weights = many(x, many.memory(x, turns), mask, turns, shown=shown)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert few.memory(x)[0].shape == (3, 2, 5, 2)
    if shown:
        torch.testing.assert_close(weights, all_weights, atol=1e-12, rtol=0)


def test_normed_queries_and_keys_cannot_shout() -> None:
    """Without the norm, ten times the weights are a hundred times the score."""
    torch.manual_seed(0)
    x = torch.randn(1, 5, 12, dtype=torch.float64)
    for normed in (True, False):
        heads = GroupedHeads(12, 3, qk_norm=normed).double()
        _, weights = heads(x, heads.memory(x), causal(5, x.device))
        with torch.no_grad():
            heads.W_q.weight.mul_(10)
            heads.W_k.weight.mul_(10)
        _, louder = heads(x, heads.memory(x), causal(5, x.device))
        assert ((louder - weights).abs().max() < 1e-5) == normed


# --- the whole ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["forward", "unroll"])
@pytest.mark.parametrize("options", [{}, {"num_heads": 6, "num_kv_heads": 2, "qk_norm": True}])
def test_every_head_of_every_layer_is_its_map(form: str, options: dict[str, Any]) -> None:
    model, batch = built(**options), a_batch(3)
    run = model.forward if form == "forward" else lambda b, want: unroll(model, b, want=want)
    with torch.no_grad():
        output = run(batch, want=ALL)
    specs = {spec.name: spec for spec in model.maps if not spec.is_weights}
    assert set(output.maps) == set(specs) and len(specs) == 3 * 3 * model.config.heads
    for row in range(len(batch.example_B)):
        S, T = int(batch.source.mask_BS[row].sum()), int(batch.target_mask_BT[row].sum())
        sides = batch.source.ids_BS[row, :S].numpy(), batch.target_in_BT[row, :T].numpy()
        expected = modern(Weights.of(model), model.config, *sides)
        for name, spec in specs.items():
            rows, columns = ({"S": S, "T": T}[axis] for axis in spec.axes)
            cut = output.maps[name][row].numpy()[:rows, :columns]
            np.testing.assert_allclose(cut, expected.maps[name], atol=1e-10, rtol=0)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_fused_attention_gives_the_same_values_and_gradients(
    dtype: torch.dtype, tolerance: float
) -> None:
    """Where nobody wants weights; and it has run."""
    model, batch = built(dtype), a_batch(1)

    def loss_with(want: Want) -> tuple[Any, dict[str, Tensor]]:
        def run() -> Any:
            return model.forward(batch, want=want)._replace(weights_BTS=None)

        return with_gradients(model, batch, run)

    with recorded_paths() as paths:
        fused, fused_gradients = loss_with(Want.NOTHING)
    assert paths == {"modern": "fused attention"}
    explicit, gradients = loss_with(Want.WEIGHTS)
    assert gap(fused.log_probs_BT, explicit.log_probs_BT, batch.target_mask_BT) < tolerance
    for name, gradient in gradients.items():
        assert gap(fused_gradients[name], gradient) < tolerance, name


@pytest.mark.parametrize("options", [{}, {"num_heads": 6, "num_kv_heads": 3}])
def test_rows_at_different_positions_share_a_batch(options: dict[str, Any]) -> None:
    """Rows that have gone 4, 1 and 0 steps, side by side: each goes on as if alone."""
    model, batch = built(**options), a_batch().select(torch.tensor([0, 1, 2]))
    encoded = model.encode(batch.source)
    alone, states = [], []
    for row, gone in enumerate((4, 1, 0)):
        own = encoded.select(torch.tensor([row]))
        state = model.start(own)
        for t in range(gone):
            state = model.step(torch.tensor([4 + t]), state, own).state
        states.append(state)
        alone.append(model.step(torch.tensor([7]), state, own, want=ALL))
    together = model.step(torch.tensor([7] * 3), _side_by_side(states), encoded, want=ALL)
    assert together.state.position_B.tolist() == [5, 2, 1]
    for row, one in enumerate(alone):
        torch.testing.assert_close(together.logits_BV[row], one.logits_BV[0])
        torch.testing.assert_close(together.weights_BS[row], one.weights_BS[0])


def _side_by_side(states: list[ModernState]) -> ModernState:
    """One state of all rows; what a shorter cache lacks is filled with what must not matter."""
    width = max(state.memories[0][0].shape[2] for state in states)

    def wider(leaf: Tensor) -> Tensor:
        return F.pad(leaf, (0, 0, 0, width - leaf.shape[2]), value=1e4)

    columns = zip(*([wider(x) for pair in s.memories for x in pair] for s in states), strict=True)
    leaves = [torch.cat(column) for column in columns]
    return ModernState(
        memories=tuple(zip(leaves[::2], leaves[1::2], strict=True)),
        position_B=torch.cat([state.position_B for state in states]),
    )


def test_the_inside_may_be_bfloat16_but_what_comes_out_is_float32() -> None:
    model, batch = built(torch.float32), a_batch()
    with torch.autocast("cpu", torch.bfloat16):
        output, bare, encoded = model.forward(batch, want=ALL), model.forward(batch), None
        encoded = model.encode(batch.source)
        step = model.step(batch.target_in_BT[:, 0], model.start(encoded), encoded, want=ALL)
    assert encoded.memories[0][0].dtype == torch.bfloat16
    found = [output.log_probs_BT, output.logits_BTV, output.weights_BTS, bare.log_probs_BT]
    found += [step.logits_BV, step.weights_BS, *step.maps.values(), *output.maps.values()]
    assert {one.dtype for one in found} == {torch.float32}
    assert gap(bare.log_probs_BT, model.forward(batch).log_probs_BT, batch.target_mask_BT) < 0.05


@pytest.mark.parametrize("embedding_size", [None, 24, 240])
def test_first_weights_keep_embeddings_at_variance_one(embedding_size: int | None) -> None:
    """E y sqrt(D), also where a matrix leads from a narrower or wider embedding to D."""
    model = Modern(ModernConfig(hidden_size=96, embedding_size=embedding_size), 500, 500)
    assert model.symbols.target(torch.arange(500)).var().item() == pytest.approx(1, rel=0.1)


def test_one_matrix_for_all_obeys_the_laws() -> None:
    config = ModernConfig(**SIZES, tie="all", embedding_size=5)
    model = stirred(Modern(config, TARGET_SIZE, TARGET_SIZE).double())
    assert len([p for p in model.parameters() if p.shape[0] == TARGET_SIZE]) == 1
    for law in LAWS.values():
        finding = law(model, invented_batch(TARGET_SIZE, TARGET_SIZE))
        assert finding.holds, finding
    with pytest.raises(ConfigError, match="`tie` = all needs one vocabulary for both sides"):
        Modern(config, 11, 7)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_heads": 5}, "`hidden_size` (12) must be divisible by `num_heads` (5)."),
        (
            {"num_heads": 4},
            "A head has 3 numbers (`hidden_size` 12 / `num_heads` 4), but rotary positions turn "
            "pairs of them.",
        ),
        (
            {"num_heads": 6, "num_kv_heads": 4},
            "`num_heads` (6) must be divisible by `num_kv_heads` (4): so many queries share each "
            "pair of keys and values.",
        ),
        ({"num_layers": 0}, "`num_layers` must be at least 1, but is 0."),
        ({"alignment_layer": 4}, "`alignment_layer` (4) must be between 1 and `num_layers` (3)."),
        ({"alignment_head": 0}, "`alignment_head` (0) must be between 1 and `num_heads` (3)."),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ModernConfig(**{**SIZES, **options})
    assert caught.value.message == message


def test_as_many_weights_as_the_transformer_of_the_same_size() -> None:
    """Three matrices of 8/3 D in place of two of 4 D; heads of an even size."""
    config = ModernConfig(hidden_size=192)
    assert (config.heads, config.inner_size) == (8, 512)
    assert ModernConfig(hidden_size=20).heads == 2
    assert ModernConfig(hidden_size=10).heads == 1


def test_the_preset_goes_over_the_rule() -> None:
    rule = {"model": {"embedding_size": 64, "hidden_size": 192}, "optim": {"lr": 3e-3}}
    run = run_config("modern", preset=rule)
    assert (run.model.embedding_size, run.model.hidden_size) == (None, 192)
    assert run_config("modern", preset=rule, flags={"model.rotate_source": "false"}).model == (
        ModernConfig(hidden_size=192, dropout=run.model.dropout, rotate_source=False)
    )
