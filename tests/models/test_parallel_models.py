"""QRNN, SRU, SSRU, minGRU, minLSTM and ConvS2S: what they refuse, how far they see, what they
keep, how they start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from jumok import native
from jumok.checks.laws import invented_batch, with_gradients
from jumok.checks.numerics import gradients_are_slopes
from jumok.errors import ConfigError, DataError
from jumok.models import MODELS
from jumok.models.contract import Want
from jumok.models.convs2s import ConvConfig
from jumok.models.parallel_rnn import ParallelConfig
from jumok.nn import gradients
from jumok.nn.paths import recorded_paths
from jumok.nn.positions import LearnedPositions
from jumok.nn.windows import WeightNormed
from jumok.records import EOS, Source
from laws.variants import SOURCE_SIZE, TARGET_SIZE, Variant

CELLS = ("qrnn", "sru", "ssru", "mingru", "minlstm")
NAMES = (*CELLS, "convs2s")


def fresh(name: str, **options: Any) -> Any:
    """As it is before training, in the sizes of the laws."""
    entry = MODELS[name]
    sizes = {"embedding_size": 64, "hidden_size": 128, **entry.preset, **options}
    return entry.model(entry.config(**sizes), SOURCE_SIZE, TARGET_SIZE, seed=1)


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: ParallelConfig(hidden_size=7),
            "`hidden_size` (7) must be even: each direction has half of it.",
        ),
        (
            lambda: ParallelConfig(cell="mingru"),
            "`output` = gated needs an output gate, and mingru has none.",
        ),
        (lambda: ParallelConfig(num_layers=0), "`num_layers` must be at least 1, but is 0."),
        (lambda: ParallelConfig(first_window=0), "`first_window` must be at least 1, but is 0."),
        (
            lambda: ConvConfig(window=4),
            "`window` (4) must be odd: the encoder looks as far ahead as back.",
        ),
        (
            lambda: ConvConfig(num_layers=2, alignment_layer=3),
            "`alignment_layer` (3) must be between 1 and `num_layers` (2).",
        ),
        (lambda: ConvConfig(maximum_length=0), "`maximum_length` must be at least 1, but is 0."),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.message == message
    ParallelConfig(hidden_size=7, bidirectional=False)


@pytest.mark.parametrize("length, fits", [(5, True), (6, False)])
def test_positions_end_where_the_table_ends(length: int, fits: bool) -> None:
    """Sources and targets beyond it are refused by number; padding does not count."""
    model = fresh("convs2s", maximum_length=5)
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, source_length=length, target_length=5)
    other = invented_batch(SOURCE_SIZE, TARGET_SIZE, source_length=5, target_length=length)
    if fits:
        padded = batch.source.map(lambda leaf: torch.nn.functional.pad(leaf, (0, 9)))
        assert model.forward(replace(batch, source=padded)).log_probs_BT.isfinite().all()
        return
    for one, what in ((batch, "source"), (other, "target")):
        with pytest.raises(DataError) as caught:
            model.forward(one)
        assert caught.value.message == (
            f"a {what} has 6 symbols, but positions are learned for at most `maximum_length` (5)."
        )
        assert caught.value.hint == "train with a larger --model.maximum_length."


def test_inside_a_search_positions_beyond_share_the_last_vector() -> None:
    table = LearnedPositions(5, 3)
    with torch.no_grad():
        table.table.normal_()
    found = table(torch.tensor([0, 4, 5, 99]))
    assert torch.equal(found, table.table[[0, 4, 4, 4]])


# --- what reaches how far -----------------------------------------------------------------


@pytest.mark.parametrize("layers, window", [(1, 3), (2, 3), (1, 5), (3, 1)])
def test_a_convolutional_decoder_sees_so_many_symbols_and_no_more(layers: int, window: int) -> None:
    """Its own and layers x (k - 1) before it; the encoder's share is the same for all."""
    options = {"num_layers": layers, "window": window, "alignment_layer": None}
    model = Variant("convs2s", options).build()
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, rows=1, target_length=11)
    ids = batch.target_in_BT.clone()
    ids[:, 0] = 4
    base = model.forward(batch).log_probs_BT[0]
    changed = model.forward(replace(batch, target_in_BT=ids)).log_probs_BT[0]
    reach = layers * (window - 1) + 1
    apart = (base - changed).abs() > 1e-12
    assert apart[:reach].all() and not apart[reach:].any()


@pytest.mark.parametrize("name", CELLS)
def test_a_recurrent_decoder_sees_everything_and_keeps_no_more_for_it(name: str) -> None:
    """Its state has the same size after every step; ConvS2S's too."""
    model = Variant(name, {}).build()
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, rows=2, target_length=11)
    ids = batch.target_in_BT.clone()
    ids[:, 0] = torch.where(ids[:, 0] == 4, 5, 4)
    base = model.forward(batch).log_probs_BT[0]
    changed = model.forward(replace(batch, target_in_BT=ids)).log_probs_BT[0]
    assert ((base - changed).abs() > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_state_does_not_grow(name: str) -> None:
    model, source = fresh(name), invented_batch(SOURCE_SIZE, TARGET_SIZE).source
    encoded = model.encode(source)
    state = model.start(encoded)
    before = {key: leaf.shape for key, leaf in state.arrays().items()}
    for _ in range(5):
        state = model.step(torch.full((5,), 4), state, encoded).state
    assert {key: leaf.shape for key, leaf in state.arrays().items()} == before


@pytest.mark.parametrize("name", CELLS)
def test_training_in_float32_is_native(name: str) -> None:
    if not native.available():
        pytest.skip(native.status())
    with recorded_paths() as paths:
        fresh(name).forward(invented_batch(SOURCE_SIZE, TARGET_SIZE))
    assert paths == {"forget pool": "native fp32"}


# --- ConvS2S ------------------------------------------------------------------------------


def test_the_encoders_gradient_is_divided_and_nothing_else(monkeypatch) -> None:
    """By 2 L on the way to z; the embeddings' own way into the values keeps its own."""
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE)
    found: list[dict[str, Tensor]] = []
    for scaled in (False, True):
        model = Variant("convs2s", {"scale_gradient": scaled}).build()
        output, slopes = with_gradients(model, batch, lambda m=model: m.forward(batch))
        found.append({**slopes, "value": output.log_probs_BT.detach()})
    true, divided = found
    torch.testing.assert_close(divided["value"], true["value"], atol=0, rtol=0)
    for name, gradient in true.items():
        share = 6 if name.startswith("encoder") else 1
        if name.startswith("source"):
            assert not torch.allclose(divided[name], gradient)
            assert not torch.allclose(divided[name], gradient / 6)
        else:
            torch.testing.assert_close(divided[name] * share, gradient, atol=1e-12, rtol=1e-10)
    assert gradients_are_slopes(model, batch).holds
    own = gradients._Divided.apply
    monkeypatch.setattr("jumok.models.convs2s.gradient_divided", own)
    assert not gradients_are_slopes(model, batch).holds, "one that nobody can switch off"


@pytest.mark.parametrize("chosen", [None, 1, 2, 3])
def test_the_map_that_is_shown_is_the_mean_or_the_chosen_layers(chosen: int | None) -> None:
    model = Variant("convs2s", {"alignment_layer": chosen}).build()
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE)
    output = model.forward(batch, want=Want.WEIGHTS | Want.MAPS)
    assert set(output.maps) == {"layer1", "layer2", "layer3"}
    layers = [output.maps[f"layer{n}"] for n in ((1, 2, 3) if chosen is None else (chosen,))]
    torch.testing.assert_close(output.weights_BTS, sum(layers) / len(layers))
    assert not torch.allclose(output.maps["layer1"], output.maps["layer3"])


def test_a_weight_is_its_length_times_its_direction() -> None:
    layer = WeightNormed(7, 5)
    layer.draw(0.3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer.weight(), layer.v)
    with torch.no_grad():
        layer.v.mul_(3.0)
        layer.g.fill_(2.0)
    torch.testing.assert_close(layer.weight().norm(dim=1), torch.full((5,), 2.0))


def test_convolutional_first_weights_are_the_papers() -> None:
    """3.5: N(0, 4p / n) before a GLU, N(0, p / n) behind dropout, else N(0, 1 / n)."""
    model = fresh("convs2s", hidden_size=256, embedding_size=128, dropout=0.2)
    expected = {
        "encoder.0.v": (4 * 0.8 / 768) ** 0.5,
        "decoder.1.convolution.v": (4 * 0.8 / 768) ** 0.5,
        "encoder_in.v": (0.8 / 128) ** 0.5,
        "decoder.1.W_d.v": (1 / 256) ** 0.5,
        "encoder_out.v": (1 / 256) ** 0.5,
        "source_positions.table": 0.1,
    }
    weights = dict(model.named_parameters())
    for name, std in expected.items():
        assert abs(float(weights[name].detach().std()) / std - 1) < 0.05, name


# --- first steps --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_attention_starts_undecided(name: str) -> None:
    """A softmax that has made up its mind before training passes no gradient on."""
    model = fresh(name)
    g = torch.Generator().manual_seed(2)
    ids = torch.randint(4, SOURCE_SIZE, (11, 13), generator=g)
    ids[:, -1] = EOS
    encoded = model.encode(Source(ids_BS=ids, mask_BS=ids > 0))
    weights = model.step(torch.full((11,), 5), model.start(encoded), encoded).weights_BS
    assert float(weights.detach().amax(dim=1).mean()) < 0.5
