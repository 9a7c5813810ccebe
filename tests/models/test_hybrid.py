"""`hybrid`: a Transformer reads, an LSTM or SSRUs write; nothing of attention comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jumok import native
from jumok.checks.laws import gap, invented_batch, with_gradients
from jumok.errors import ConfigError
from jumok.models import MODELS
from jumok.models.contract import Want, unroll
from jumok.models.hybrid import Hybrid, HybridConfig
from jumok.nn.paths import recorded_paths
from jumok.records import Batch
from laws.variants import SOURCE_SIZE, TARGET_SIZE, stirred
from models.by_hand import Weights
from models.by_hand_modern import hybrid

SIZES = {"hidden_size": 12, "num_layers": 2, "num_heads": 3, "feedforward_size": 7}
ALL = Want.LOGITS | Want.WEIGHTS | Want.MAPS
CELLS = ({"cell": "lstm"}, {"cell": "ssru"}, {"cell": "lstm", "decoder_layers": 3})


def built(dtype: torch.dtype = torch.float64, **options: Any) -> Hybrid:
    config = HybridConfig(**{**SIZES, "attention_heads": 2, **options})
    model: Hybrid = stirred(Hybrid(config, SOURCE_SIZE, TARGET_SIZE).to(dtype))
    return model


def a_batch(seed: int = 0) -> Batch:
    return invented_batch(SOURCE_SIZE, TARGET_SIZE, seed=seed)


@pytest.mark.parametrize("form", ["forward", "unroll"])
@pytest.mark.parametrize("options", [*CELLS, {"cell": "ssru", "decoder_layers": 3}], ids=str)
def test_every_head_of_every_layer_is_its_map(form: str, options: dict[str, Any]) -> None:
    """The encoder's, too; the map that is shown is the mean of one layer's, or a chosen head."""
    model, batch = built(**options), a_batch(3)
    run = model.forward if form == "forward" else lambda b, want: unroll(model, b, want=want)
    with torch.no_grad():
        output = run(batch, want=ALL)
    specs = {spec.name: spec for spec in model.maps if not spec.is_weights}
    layers = model.config.attending_layers
    assert set(output.maps) == set(specs) and len(specs) == 2 * 3 + 2 * layers
    for row in range(len(batch.example_B)):
        S, T = int(batch.source.mask_BS[row].sum()), int(batch.target_mask_BT[row].sum())
        sides = batch.source.ids_BS[row, :S].numpy(), batch.target_in_BT[row, :T].numpy()
        expected = hybrid(Weights.of(model), model.config, *sides)
        for name, spec in specs.items():
            rows, columns = ({"S": S, "T": T}[axis] for axis in spec.axes)
            cut = output.maps[name][row].numpy()[:rows, :columns]
            np.testing.assert_allclose(cut, expected.maps[name], atol=1e-10, rtol=0)
    shown = max(1, layers - 1)
    mean = sum(output.maps[f"layer{shown}/head{m}"] for m in (1, 2)) / 2
    torch.testing.assert_close(output.weights_BTS, mean, atol=1e-14, rtol=0)
    one = built(**options, alignment_head=2).forward(batch, want=ALL)
    torch.testing.assert_close(one.weights_BTS, one.maps[f"layer{shown}/head2"], atol=0, rtol=0)


@pytest.mark.parametrize("options", CELLS, ids=str)
def test_all_steps_are_trained_at_once_by_the_fused_kernels(options: dict[str, Any]) -> None:
    """Fused attention where no weights are wanted; the recurrence native, not step by step."""
    if not native.available():
        pytest.skip(f"no native library: {native.status()}")
    model = built(torch.float32, **options)
    with recorded_paths() as paths:
        model.forward(a_batch())
    part = "lstm" if options["cell"] == "lstm" else "forget pool"
    assert paths == {"hybrid": "fused attention", part: "native fp32"}


@pytest.mark.parametrize("options", CELLS, ids=str)
def test_fused_attention_gives_the_same_values_and_gradients(options: dict[str, Any]) -> None:
    model, batch = built(**options), a_batch(1)

    def loss_with(want: Want) -> tuple[Any, dict[str, Tensor]]:
        def run() -> Any:
            return model.forward(batch, want=want)._replace(weights_BTS=None)

        return with_gradients(model, batch, run)

    fused, fused_gradients = loss_with(Want.NOTHING)
    explicit, gradients = loss_with(Want.WEIGHTS)
    assert gap(fused.log_probs_BT, explicit.log_probs_BT, batch.target_mask_BT) < 1e-12
    for name, gradient in gradients.items():
        assert gap(fused_gradients[name], gradient) < 1e-12, name


def test_what_was_attended_to_never_reaches_the_bottom_layer() -> None:
    """Other memories change the logits and the LSTM above, not the LSTM that asks."""
    model, batch = built(decoder_layers=2), a_batch()
    encoded = model.encode(batch.source)
    other = replace(encoded, memories=tuple((k + 1, v + 1) for k, v in encoded.memories))
    ends = []
    for seen in (encoded, other):
        state = model.start(seen)
        for token in (4, 5, 6):
            step = model.step(torch.full((5,), token), state, seen)
            state = step.state
        ends.append((*(part.unbind(dim=1) for part in state.kept), step.logits_BV))
    (h, c, logits), (h_other, c_other, logits_other) = ends
    assert torch.equal(h[0], h_other[0]) and torch.equal(c[0], c_other[0])
    for one, another in ((h[1], h_other[1]), (c[1], c_other[1]), (logits, logits_other)):
        assert (one - another).abs().max() > 1e-3


def test_an_ssru_that_keeps_nothing_reads_one_symbol_and_one_that_keeps_all_reads_none() -> None:
    """f = 0: c_t = W x_t, the history is gone; f = 1: c_t = c_0 = 0."""
    batch = a_batch()
    for bias, expected in ((-60.0, "last"), (60.0, "none")):
        model = built(cell="ssru")
        [layer] = model.decoder.layers
        torch.nn.init.zeros_(layer.W_f.weight)
        torch.nn.init.constant_(layer.W_f.bias, bias)
        encoded = model.encode(batch.source)
        cells = []
        for history in ((4, 5, 6), (7, 8, 6)):
            state = model.start(encoded)
            for token in history:
                state = model.step(torch.full((5,), token), state, encoded).state
            cells.append(state.kept[0][:, 0])
        torch.testing.assert_close(cells[0], cells[1])
        x = model.symbols.target(torch.tensor([6]))
        wanted = layer.W(layer.norm_self(x)).expand(5, -1)
        wanted = wanted if expected == "last" else torch.zeros_like(wanted)
        torch.testing.assert_close(cells[0], wanted)


@pytest.mark.parametrize("options", CELLS[:2], ids=str)
def test_rows_at_different_positions_share_a_batch(options: dict[str, Any]) -> None:
    """With turned attention a row's position matters: it is the row's own."""
    model, batch = built(**options), a_batch().select(torch.tensor([0, 1, 2]))
    encoded = model.encode(batch.source)
    alone, states = [], []
    for row, gone in enumerate((4, 1, 0)):
        own = encoded.select(torch.tensor([row]))
        state = model.start(own)
        for t in range(gone):
            state = model.step(torch.tensor([4 + t]), state, own).state
        states.append(state)
        alone.append(model.step(torch.tensor([7]), state, own))
    leaves = {k: torch.cat([s.arrays()[k] for s in states]) for k in states[0].arrays()}
    mixed = model.start(encoded).with_arrays(leaves)
    together = model.step(torch.tensor([7] * 3), mixed, encoded)
    for row, one in enumerate(alone):
        torch.testing.assert_close(together.logits_BV[row], one.logits_BV[0])
        torch.testing.assert_close(together.weights_BS[row], one.weights_BS[0])


@pytest.mark.parametrize("options", CELLS[:2], ids=str)
def test_the_inside_may_be_bfloat16_but_what_comes_out_is_float32(options: dict[str, Any]) -> None:
    model, batch = built(torch.float32, **options), a_batch()
    with torch.autocast("cpu", torch.bfloat16):
        output, bare = model.forward(batch, want=ALL), model.forward(batch)
        encoded = model.encode(batch.source)
        step = model.step(batch.target_in_BT[:, 0], model.start(encoded), encoded, want=ALL)
    found = [output.log_probs_BT, output.logits_BTV, output.weights_BTS, bare.log_probs_BT]
    found += [step.logits_BV, step.weights_BS, *step.maps.values(), *step.state.kept]
    assert {one.dtype for one in found} == {torch.float32}
    assert gap(bare.log_probs_BT, model.forward(batch).log_probs_BT, batch.target_mask_BT) < 0.1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_layers": 0}, "`num_layers` must be at least 1, but is 0."),
        ({"decoder_layers": 0}, "`decoder_layers` must be at least 1, but is 0."),
        ({"num_heads": 5}, "`hidden_size` (12) must be divisible by `num_heads` (5)."),
        ({"attention_heads": 5}, "`hidden_size` (12) must be divisible by `attention_heads` (5)."),
        (
            {"attention_heads": 4},
            "A head has 3 numbers (`hidden_size` 12 / `attention_heads` 4), but rotary positions "
            "turn pairs of them.",
        ),
        (
            {"alignment_head": 2},
            "`alignment_head` (2) must be between 1 and `attention_heads` (1).",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HybridConfig(**{**SIZES, **options})
    assert caught.value.message == message
    assert HybridConfig(**SIZES, attention_heads=4, rotate_source=False).attention_heads == 4


def test_the_two_names_are_the_two_cells() -> None:
    found = {n: MODELS[n].config(**MODELS[n].preset).cell for n in ("hybrid", "hybrid-ssru")}
    assert found == {"hybrid": "lstm", "hybrid-ssru": "ssru"}
