"""The Transformer: both attentions agree, every head is a true map, rows may stand anywhere."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jumok.checks.laws import LAWS, gap, invented_batch, loss_of, with_gradients
from jumok.data.tasks import reverse
from jumok.engine import TorchEngine
from jumok.errors import ConfigError
from jumok.interfaces.fitting import codec_of, fit, make_translator
from jumok.models.contract import Want, unroll
from jumok.models.transformer import Transformer, TransformerConfig, TransformerState
from jumok.nn.heads import MultiHead, causal, written
from jumok.nn.paths import recorded_paths
from jumok.nn.positions import sinusoids
from jumok.recipes.options import run_config
from jumok.records import BOS, EOS, PAD, Batch, Source
from jumok.search import SearchOptions, search
from laws.variants import SOURCE_SIZE, TARGET_SIZE, Variant, stirred
from models.by_hand import Weights
from models.by_hand_transformer import transformer

SIZES = {"hidden_size": 12, "num_layers": 3, "num_heads": 3, "feedforward_size": 7}
ALL = Want.LOGITS | Want.WEIGHTS | Want.MAPS


def built(dtype: torch.dtype = torch.float64, **options: Any) -> Transformer:
    config = TransformerConfig(**{**SIZES, **options})
    model: Transformer = stirred(Transformer(config, SOURCE_SIZE, TARGET_SIZE).to(dtype))
    return model


def a_batch(seed: int = 0) -> Batch:
    return invented_batch(SOURCE_SIZE, TARGET_SIZE, seed=seed)


# --- every head is a map ------------------------------------------------------------------


@pytest.mark.parametrize("form", ["forward", "unroll"])
def test_every_head_of_every_layer_is_its_map(form: str) -> None:
    """Cell by cell against NumPy, by name, axes as the specification says, zeros elsewhere."""
    model, batch = built(), a_batch(3)
    run = model.forward if form == "forward" else lambda b, want: unroll(model, b, want=want)
    with torch.no_grad():
        output = run(batch, want=ALL)
    specs = {spec.name: spec for spec in model.maps if not spec.is_weights}
    assert set(output.maps) == set(specs) and len(specs) == 3 * 3 * 3
    for row in range(len(batch.example_B)):
        S, T = int(batch.source.mask_BS[row].sum()), int(batch.target_mask_BT[row].sum())
        sides = batch.source.ids_BS[row, :S].numpy(), batch.target_in_BT[row, :T].numpy()
        expected = transformer(Weights.of(model), model.config, *sides)
        for name, spec in specs.items():
            found = output.maps[name][row].numpy()
            lengths = tuple({"S": S, "T": T}[axis] for axis in spec.axes)
            kind = {"SS": "encoder", "TT": "decoder", "TS": "cross"}[spec.axes]
            assert (kind, spec.axes) == (spec.kind, spec.axes)
            assert name.startswith("layer") == (kind == "cross")
            cut = found[: lengths[0], : lengths[1]]
            np.testing.assert_allclose(cut, expected.maps[name], atol=1e-10, rtol=0)
            if spec.axes[1] == "S":
                assert np.all(found[:, S:] == 0)


def test_a_search_returns_the_heads_of_its_own_output() -> None:
    """Of every hypothesis of a beam, trimmed: what ``forward`` gives for that very output."""
    model = built(torch.float32)
    sentences = [[5, 9, 4, 11, EOS], [7, EOS], [4, 5, 6, 7, 8, 9, 10, EOS]]
    width = max(map(len, sentences))
    ids_BS = np.array([[*one, *[PAD] * (width - len(one))] for one in sentences])
    source = Source(ids_BS=ids_BS, mask_BS=ids_BS != PAD)
    options = SearchOptions(beam=3, nbest=3, max_length=6, maps=True)
    different = set()
    for b, hypotheses in enumerate(search(TorchEngine(model, bits=True), source, options)):
        S = len(sentences[b])
        for h in hypotheses:
            sides = ids_BS[b, :S], np.array([BOS, *h.ids_T[:-1]])
            expected = transformer(Weights.of(model.double()), model.config, *sides)
            model.float()
            np.testing.assert_allclose(h.weights_TS, expected.weights_TS, atol=1e-4)
            assert set(h.maps) == set(expected.maps)
            for name, values in h.maps.items():
                np.testing.assert_allclose(values, expected.maps[name], atol=1e-4)
            different.add(h.ids_T.tobytes())
    assert len(different) > 3


@pytest.mark.parametrize(
    "options, layer, heads",
    [
        ({}, 2, (1, 2, 3)),
        ({"alignment_layer": 3}, 3, (1, 2, 3)),
        ({"alignment_layer": 1, "alignment_head": 2}, 1, (2,)),
        ({"num_layers": 1}, 1, (1, 2, 3)),
        ({"alignment_head": 3}, 2, (3,)),
    ],
)
def test_the_map_that_is_shown_can_be_chosen(
    options: dict[str, int], layer: int, heads: tuple[int, ...]
) -> None:
    output = built(**options).forward(a_batch(), want=ALL)
    expected = sum(output.maps[f"layer{layer}/head{m}"] for m in heads) / len(heads)
    torch.testing.assert_close(output.weights_BTS, expected, atol=1e-14, rtol=0)


# --- two attentions, one result -----------------------------------------------------------


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
    assert paths == {"transformer": "fused attention"}
    with recorded_paths() as paths:
        explicit, gradients = loss_with(Want.WEIGHTS)
    assert paths == {"transformer": "weights"}
    assert gap(fused.log_probs_BT, explicit.log_probs_BT, batch.target_mask_BT) < tolerance
    for name, gradient in gradients.items():
        assert gap(fused_gradients[name], gradient) < tolerance, name
    assert loss_of(batch, fused).isfinite()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shown", [True, False])
def test_a_query_that_may_attend_nowhere_gets_zeros(dtype: torch.dtype, shown: bool) -> None:
    """Forward and backward, never NaN; its neighbours are none the worse for it."""
    torch.manual_seed(0)
    heads = MultiHead(12, 3).to(dtype)
    x = torch.randn(2, 5, 12, dtype=dtype, requires_grad=True)
    mask = torch.ones(2, 1, 5, dtype=torch.bool)
    mask[0] = False
    found, _ = heads(x, heads.memory(x), mask, shown=shown)
    assert torch.all(found[0] == 0) and torch.all(found[1] != 0)
    found.sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert torch.all(x.grad[0] == 0)


@pytest.mark.parametrize("shown", [True, False])
def test_heads_are_those_of_pytorch(shown: bool) -> None:
    """``nn.MultiheadAttention`` with the same weights; its masks are the other way round."""
    torch.manual_seed(0)
    heads, theirs = MultiHead(12, 3), nn.MultiheadAttention(12, 3, bias=False, batch_first=True)
    with torch.no_grad():
        assert theirs.in_proj_weight is not None
        parts = (heads.W_q.weight, heads.W_k.weight, heads.W_v.weight)
        theirs.in_proj_weight.copy_(torch.cat(parts))
        theirs.out_proj.weight.copy_(heads.W_o.weight)
    x, states = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    found, weights = heads(x, heads.memory(states), mask.unsqueeze(1), shown=shown)
    expected, expected_weights = theirs(
        x, states, states, key_padding_mask=~mask, average_attn_weights=False
    )
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert (weights is not None) == shown
    if weights is not None:
        torch.testing.assert_close(weights, expected_weights, atol=1e-6, rtol=0)
    ahead, _ = heads(x, heads.memory(x), causal(5, x.device), shown=shown)
    expected, _ = theirs(x, x, x, attn_mask=~causal(5, x.device)[0])
    torch.testing.assert_close(ahead, expected, atol=1e-6, rtol=0)


def test_the_inside_may_be_bfloat16_but_what_comes_out_is_float32() -> None:
    model, batch = built(torch.float32), a_batch()
    with torch.autocast("cpu", torch.bfloat16):
        output = model.forward(batch, want=ALL)
        bare = model.forward(batch)
        encoded = model.encode(batch.source)
        step = model.step(batch.target_in_BT[:, 0], model.start(encoded), encoded, want=ALL)
    assert encoded.memories[0][0].dtype == torch.bfloat16
    found = [output.log_probs_BT, output.logits_BTV, output.weights_BTS, bare.log_probs_BT]
    found += [step.logits_BV, step.weights_BS, *step.maps.values(), *output.maps.values()]
    assert {one.dtype for one in found} == {torch.float32}
    assert gap(bare.log_probs_BT, model.forward(batch).log_probs_BT, batch.target_mask_BT) < 0.05


# --- the cache ----------------------------------------------------------------------------


def test_rows_at_different_positions_share_a_batch() -> None:
    """Rows that have gone 4, 1 and 0 steps, side by side: each goes on as if alone."""
    model, batch = built(), a_batch().select(torch.tensor([0, 1, 2]))
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
        for name, values in one.maps.items():
            found, width = together.maps[name][row], values.shape[1]
            torch.testing.assert_close(found[:width], values[0])
            assert torch.all(found[width:] == 0)


def _side_by_side(states: list[TransformerState]) -> TransformerState:
    """One state of all rows; what a shorter cache lacks is filled with what must not matter."""
    width = max(state.memories[0][0].shape[2] for state in states)

    def wider(leaf: Tensor) -> Tensor:
        return nn.functional.pad(leaf, (0, 0, 0, width - leaf.shape[2]), value=1e4)

    columns = zip(*([wider(x) for pair in s.memories for x in pair] for s in states), strict=True)
    leaves = [torch.cat(column) for column in columns]
    return TransformerState(
        memories=tuple(zip(leaves[::2], leaves[1::2], strict=True)),
        position_B=torch.cat([state.position_B for state in states]),
    )


def test_a_new_position_is_written_where_its_row_stands() -> None:
    cache = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    new = -torch.ones(2, 3, 5)
    keys, values = written((cache, cache + 1), (new, new - 1), torch.tensor([4, 1]))
    assert torch.equal(keys[0], torch.cat([cache[0], new[0].unsqueeze(1)], dim=1))
    assert torch.equal(keys[1, :, [0, 2, 3]], cache[1, :, [0, 2, 3]])
    assert torch.all(keys[1, :, 1] == -1) and torch.all(values[1, :, 1] == -2)
    empty = cache[:, :, :0]
    keys, _ = written((empty, empty), (new, new), torch.tensor([0, 0]))
    assert torch.equal(keys, new.unsqueeze(2))


def test_what_stands_in_the_memory_of_padding_does_not_matter() -> None:
    model, batch = built(), a_batch()
    encoded = model.encode(batch.source)
    padding = ~batch.source.mask_BS[:, None, :, None]
    assert padding.any()
    poisoned = replace(
        encoded,
        memories=tuple(
            (k.masked_fill(padding, 1e4), v.masked_fill(padding, 1e4)) for k, v in encoded.memories
        ),
    )
    token_B = batch.target_in_BT[:, 0]
    one = model.step(token_B, model.start(encoded), encoded)
    other = model.step(token_B, model.start(poisoned), poisoned)
    torch.testing.assert_close(other.logits_BV, one.logits_BV, atol=1e-12, rtol=0)


def test_asking_for_more_changes_no_bit() -> None:
    """Of the encoder and of a step: fused attention, which differs, is for training alone."""
    model, batch = built(torch.float32), a_batch()
    found = []
    for want in (Want.NOTHING, Want.WEIGHTS, ALL):
        encoded = model.encode(batch.source, want=want)
        step = model.step(batch.target_in_BT[:, 0], model.start(encoded), encoded, want=want)
        found.append(step.logits_BV)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


# --- positions ----------------------------------------------------------------------------


def test_positions_are_the_papers() -> None:
    for size in (1, 2, 7, 64):
        found = sinusoids(torch.tensor([[0, 1], [13, 5003]]), size)
        assert found.shape == (2, 2, size) and found.dtype == torch.float64
        for place, row in zip((0, 1, 13, 5003), found.view(4, size).tolist(), strict=True):
            for i, value in enumerate(row):
                angle = place / 10000 ** (2 * (i // 2) / size)
                expected = math.sin(angle) if i % 2 == 0 else math.cos(angle)
                assert abs(value - expected) < 1e-11


def test_a_position_is_the_same_wherever_it_stands_in_an_array() -> None:
    """In float32, to the last bit: else a row would depend on its neighbours."""
    whole = sinusoids(torch.arange(301), 37).float()
    for place in (0, 1, 2, 29, 300):
        assert torch.equal(sinusoids(torch.tensor([place]), 37).float()[0], whole[place])
        assert torch.equal(sinusoids(torch.tensor([5, place]), 37).float()[1], whole[place])


# --- the configuration --------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"hidden_size": 100, "num_heads": 8},
            "`hidden_size` (100) must be divisible by `num_heads` (8).",
        ),
        ({"num_heads": 0}, "`hidden_size` (12) must be divisible by `num_heads` (0)."),
        ({"num_layers": 0}, "`num_layers` must be at least 1, but is 0."),
        (
            {"alignment_layer": 4},
            "`alignment_layer` (4) must be between 1 and `num_layers` (3).",
        ),
        (
            {"alignment_head": 0},
            "`alignment_head` (0) must be between 1 and `num_heads` (3).",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TransformerConfig(**{**SIZES, **options})
    assert caught.value.message == message


@pytest.mark.parametrize("hidden, heads", [(512, 8), (100, 4), (10, 2), (7, 1)])
def test_heads_are_as_many_as_divide_the_hidden_size(hidden: int, heads: int) -> None:
    assert TransformerConfig(hidden_size=hidden).heads == heads


def test_one_matrix_for_all_needs_one_vocabulary() -> None:
    config = TransformerConfig(**SIZES, tie="all")
    with pytest.raises(ConfigError) as caught:
        Transformer(config, 11, 7)
    assert caught.value.message == (
        "`tie` = all needs one vocabulary for both sides, but the source has 11 symbols and the "
        "target 7."
    )
    assert "--data.shared true" in str(caught.value.hint)


@pytest.mark.parametrize("embedding_size", [None, 5])
def test_one_matrix_for_all_obeys_the_laws(embedding_size: int | None) -> None:
    """Source, target and softmax (3.4): one matrix, with the gradients of all three places."""
    config = TransformerConfig(**SIZES, tie="all", embedding_size=embedding_size)
    model = stirred(Transformer(config, TARGET_SIZE, TARGET_SIZE).double())
    tables = [p for p in model.parameters() if p.shape[0] == TARGET_SIZE]
    assert len(tables) == 1
    batch = invented_batch(TARGET_SIZE, TARGET_SIZE)
    for law in LAWS.values():
        finding = law(model, batch)
        assert finding.holds, finding
    with torch.no_grad():
        output = model.forward(batch, want=ALL)
    first = int(batch.source.mask_BS[0].sum()), int(batch.target_mask_BT[0].sum())
    sides = batch.source.ids_BS[0, : first[0]], batch.target_in_BT[0, : first[1]]
    expected = transformer(Weights.of(model), config, *(side.numpy() for side in sides))
    log_p_TV = torch.log_softmax(output.logits_BTV[0], dim=-1)[: first[1]]
    np.testing.assert_allclose(log_p_TV.numpy(), expected.log_p_TV, atol=1e-10)


def test_the_paper_has_as_many_weights() -> None:
    """Base model, 37,000 pieces shared: 63 million, term by term (table 3 says 65)."""
    D, F, L, V = 512, 2048, 6, 37_000
    config = TransformerConfig(
        hidden_size=D, feedforward_size=F, num_layers=L, num_heads=8, tie="all"
    )
    with torch.device("meta"):
        encoder = 4 * D * D + 2 * D * F + F + D + 2 * 2 * D
        decoder = encoder + 4 * D * D + 2 * D
        model = Transformer(config, V, V)
    count = sum(p.numel() for p in model.parameters())
    assert count == V * D + L * (encoder + decoder)
    assert round(count / 1e6) == 63


def test_first_weights_keep_embeddings_at_variance_one() -> None:
    """E y sqrt(d_model) is as large as a norm's output; matrices are Glorot's; gains are 1."""
    for embedding_size in (None, 96):
        config = TransformerConfig(hidden_size=64, embedding_size=embedding_size)
        model = Transformer(config, 400, 300)
        ids = torch.arange(300)
        x = model._input(ids[:, None], model.target_embedding) - sinusoids(torch.tensor([0]), 64)
        assert abs(float(x.detach().std()) - 1) < 0.05
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                assert torch.all(weight == float("norm" in name and "weight" in name)), name
            elif "encoder" in name or "decoder" in name:
                edge = (6 / sum(weight.shape)) ** 0.5
                assert 0.95 * edge < weight.abs().max() <= edge, name


def test_what_the_rule_says_of_recurrent_models_goes_under_the_models_own() -> None:
    """Dropout among them: 0.5 suits an LSTM of little data, not what is added to a residual."""
    sizes = {"embedding_size": 64, "hidden_size": 192, "dropout": 0.5}
    rule = {"model": sizes, "optim": {"lr": 3e-3}}
    run = run_config("transformer", preset=rule)
    assert (run.model.embedding_size, run.model.hidden_size) == (None, 192)
    assert run.model.dropout == 0.1
    assert (run.optim.lr, run.optim.warmup_part) == (1e-3, 0.1)
    asked = {"optim.lr": "2e-3", "model.embedding_size": "32"}
    run = run_config("transformer", preset=rule, flags=asked)
    assert (run.optim.lr, run.model.embedding_size) == (2e-3, 32)
    assert run_config("luong", preset=rule).optim.lr == 3e-3


# --- learning -----------------------------------------------------------------------------


def test_it_learns_to_reverse_and_looks_where_it_reads() -> None:
    """500 updates; the strongest source of each symbol is the one it copies, mirrored."""
    data = reverse(2000, 0, lengths=(2, 5), dev=50, test=200)
    flags = {
        "model.hidden_size": "48",
        "model.num_layers": "1",
        "model.dropout": "0",
        "optim.lr": "5e-3",
        "data.batch_size": "48",
        "training.max_epochs": "none",
        "training.max_steps": "500",
        "training.threads": "1",
    }
    run = run_config("transformer", flags=flags)
    model = make_translator("transformer", run, codec_of(data.train, run.data), data.train)
    fit(model, data.train, None)
    pairs = data.test.pairs()
    found = model.translate([source for source, _ in pairs])
    right = [one for one, (_, target) in zip(found, pairs, strict=True) if one.text == target]
    assert len(right) > 0.8 * len(pairs)
    looks = [
        (int(row.argmax()), len(one.text) - 1 - t)
        for one in right
        for t, row in enumerate(one.attention.weights_TS[: len(one.text)])
    ]
    assert sum(at == due for at, due in looks) > 0.8 * len(looks)


def test_every_variant_of_the_laws_has_more_than_one_head() -> None:
    """Else a mistake in the order of heads would go unseen."""
    assert Variant("transformer", {}).build().config.heads > 1
