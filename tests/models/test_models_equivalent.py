"""What must come out the same by two ways, and what must come out different."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jumok.checks.laws import invented_batch
from jumok.models.contract import Output, Want, unroll
from jumok.nn.noise import Noise
from jumok.records import BOS, Batch
from laws.variants import SOURCE_SIZE, TARGET_SIZE, Variant
from models.by_hand import BY_HAND, Weights

BATCH = invented_batch(SOURCE_SIZE, TARGET_SIZE, seed=6)
REAL = BATCH.target_mask_BT


def build(model: str, **options: Any) -> Any:
    return Variant(model, options).build()


def run(model: Any, batch: Batch = BATCH) -> Output:
    with torch.no_grad():
        return model.forward(batch, want=Want.WEIGHTS)


def same(one: Output, other: Output, bound: float = 1e-12) -> bool:
    gaps = [(one.log_probs_BT - other.log_probs_BT)[REAL].abs().max()]
    if one.weights_BTS is not None and other.weights_BTS is not None:
        gaps.append((one.weights_BTS - other.weights_BTS)[REAL].abs().max())
    return float(max(gaps)) < bound


def copy_into(model: Any, weights: dict[str, Tensor]) -> None:
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and not missing


def test_peeky_with_zeros_for_what_it_peeks_at_is_plain() -> None:
    plain, peeky = build("plain"), build("peeky")
    H = plain.config.hidden_size
    weights = plain.state_dict()
    for name in ("decoder.W_x", "affine.weight"):  # h_S comes first in both
        zeros = torch.zeros(weights[name].shape[0], H, dtype=torch.float64)
        weights[name] = torch.cat([zeros, weights[name]], dim=1)
    copy_into(peeky, weights)
    assert same(run(plain), run(peeky))
    peeky.affine.weight.data[0, :H] = 0.1
    assert not same(run(plain), run(peeky))


@pytest.mark.parametrize("feeding", [True, False])
def test_a_window_without_bounds_is_global(feeding: bool) -> None:
    """local-m with D >= S; local-p with D >= S and so sigma without end."""
    whole = build("luong", feeding=feeding)
    weights = whole.state_dict()
    local_m = build("luong", feeding=feeding, window="local-m", window_size=7)
    copy_into(local_m, weights)
    assert same(run(whole), run(local_m))
    local_p = build("luong", feeding=feeding, window="local-p", window_size=10**6)
    copy_into(local_p, {**local_p.state_dict(), **weights})
    assert same(run(whole), run(local_p), bound=1e-9)
    narrow = build("luong", feeding=feeding, window="local-m", window_size=1)
    copy_into(narrow, weights)
    assert not same(run(whole), run(narrow))


def test_a_renormalised_window_sums_to_one_and_the_papers_does_not() -> None:
    for renormalise in (True, False):
        model = build("luong", window="local-p", window_size=2, renormalise=renormalise)
        sums = run(model).weights_BTS.sum(-1)[REAL]
        sums = sums[sums > 0]
        assert torch.allclose(sums, torch.ones_like(sums), atol=1e-6) == renormalise
        assert model.maps[0].sums_to_one == renormalise


def test_the_notes_score_is_one_hidden_layer_over_both_states() -> None:
    """W_a^T tanh(W_b s + W_c H) = the network [s; h] -> tanh -> number, for all of H at once."""
    model = build("bahdanau")
    align, n = model.align, model.config.hidden_size
    network = torch.nn.Sequential(
        torch.nn.Linear(2 * n, align.v_a.shape[0], bias=False, dtype=torch.float64),
        torch.nn.Tanh(),
        torch.nn.Linear(align.v_a.shape[0], 1, bias=False, dtype=torch.float64),
    )
    network[0].weight.data = torch.cat([align.W_a.weight, align.U_a.weight], dim=1)
    network[2].weight.data = align.v_a.data[None]
    s, H = torch.randn(3, n, dtype=torch.float64), torch.randn(3, 5, n, dtype=torch.float64)
    both = torch.cat([s[:, None].expand(-1, 5, -1), H], dim=-1)
    torch.testing.assert_close(align(s, align.keys(H)), network(both)[..., 0])


def test_the_first_query_of_the_notes_is_the_encoders_last_state_unchanged() -> None:
    model = build("bahdanau")
    source = BATCH.source
    encoded = model.encode(source)
    n = model.config.hidden_size // 2
    last = source.mask_BS.sum(1) - 1
    rows = torch.arange(len(last))
    expected = torch.cat(
        [encoded.states_BSD[rows, last, :n], encoded.states_BSD[rows, 0, n:]], dim=1
    )
    torch.testing.assert_close(model.start(encoded).s_BH, expected, rtol=0, atol=1e-14)


def test_a_conditional_gru_without_its_context_is_two_grus() -> None:
    """dl4mt's step with the context's matrices at zero: GRU_1 reads y, GRU_2 reads nothing."""
    model = build("cgru")
    decoder = model.decoder
    decoder.gru_2.W_x.data.zero_()
    cells = []
    for ours in (decoder.gru_1, decoder.gru_2):
        theirs = torch.nn.GRUCell(ours.W_x.shape[1], ours.hidden_size, dtype=torch.float64)
        theirs.weight_ih.data, theirs.weight_hh.data = ours.W_x.data, ours.W_h.data
        theirs.bias_ih.data, theirs.bias_hh.data = ours.b.data, torch.zeros_like(ours.b)
        cells.append(theirs)
    encoded = model.encode(BATCH.source)
    state = model.start(encoded)
    s = state.s_BH
    for t in range(BATCH.target_in_BT.shape[1]):
        token = BATCH.target_in_BT[:, t]
        y = model.target_embedding[token] * (token != BOS)[:, None]
        state = model.step(token, state, encoded).state
        s = cells[1](torch.zeros_like(encoded.states_BSD[:, 0]), cells[0](y, s))
        torch.testing.assert_close(state.s_BH, s, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "model, silent", [("rnnsearch", True), ("cgru", True), ("bahdanau", False)]
)
def test_the_start_symbol_embeds_to_zero_in_the_grus_and_to_its_own_in_the_notes(
    model: str, silent: bool
) -> None:
    network = build(model)
    before = run(network)
    network.target_embedding.data[BOS] += 1.0
    assert same(before, run(network)) == silent


def test_rnnsearch_reads_out_the_previous_state_and_cgru_the_new_one() -> None:
    """The first output of rnnsearch cannot depend on how the state moves; cgru's can."""
    for name, gru in (("rnnsearch", "gru"), ("cgru", "gru_2")):
        network = build(name)
        before = run(network).log_probs_BT[:, 0]
        getattr(network.decoder, gru).W_h.data += 0.5
        getattr(network.decoder, gru).b.data += 0.5
        after = run(network).log_probs_BT[:, 0]
        assert torch.equal(before, after) == (name == "rnnsearch")


def test_attending_to_the_end_symbol_or_not() -> None:
    ends = BATCH.source.mask_BS.sum(1) - 1
    for model, attends in (
        (build("luong"), False),
        (build("luong", attend_end=True), True),
        (build("attention"), True),
        (build("rnnsearch"), True),
    ):
        weights = run(model).weights_BTS[torch.arange(len(ends)), :, ends]
        assert bool((weights > 0).all()) == attends
        assert bool((weights == 0).all()) != attends


def test_without_a_mask_the_book_attends_to_padding() -> None:
    """``mask=False`` is the model over sources that are padded with a word called PAD."""
    model = build("attention", mask=False)
    output = run(model)
    assert bool(
        (output.weights_BTS[~BATCH.source.mask_BS[:, None].expand_as(output.weights_BTS)] > 0).all()
    )
    W = Weights.of(model)
    for row in range(len(BATCH.example_B)):
        T = int(REAL[row].sum())
        source, target = BATCH.source.ids_BS[row].numpy(), BATCH.target_in_BT[row, :T].numpy()
        expected = BY_HAND["attention"](W, model.config, source, target)
        found = output.weights_BTS[row, :T].numpy()
        assert np.abs(found - expected.weights_TS).max() < 1e-12


@pytest.mark.parametrize("name", ["plain", "attention", "luong", "sutskever"])
def test_reading_backwards_is_reading_a_reversed_source(name: str) -> None:
    """Words turned round by hand, the end symbol left last; and the map is turned back."""
    options = {"window": "local-m", "window_size": 2} if name == "luong" else {}
    ahead = build(name, reverse_source=False, **({} if name == "luong" else options))
    back = build(name, reverse_source=True)
    turned_ids = BATCH.source.ids_BS.clone()
    for row, length in enumerate(BATCH.source.mask_BS.sum(1).tolist()):
        turned_ids[row, : length - 1] = BATCH.source.ids_BS[row, : length - 1].flip(0)
    turned = replace(BATCH, source=replace(BATCH.source, ids_BS=turned_ids))
    one, other = run(back), run(ahead, turned)
    torch.testing.assert_close(one.log_probs_BT[REAL], other.log_probs_BT[REAL])
    if one.weights_BTS is not None:
        for row, length in enumerate(BATCH.source.mask_BS.sum(1).tolist()):
            words = other.weights_BTS[row, :, : length - 1].flip(1)
            torch.testing.assert_close(one.weights_BTS[row, :, : length - 1], words)


def test_unroll_can_choose_what_comes_next() -> None:
    """Scheduled sampling: ``choose`` replaces the gold symbol from the second step on."""
    model = build("luong")
    seen = []

    def choose(t: int, logits_BV: Tensor, gold_B: Tensor) -> Tensor:
        seen.append((t, gold_B.tolist()))
        return logits_BV.argmax(-1)

    free = unroll(model, BATCH, choose=choose, want=Want.LOGITS)
    assert [t for t, _ in seen] == list(range(BATCH.target_in_BT.shape[1] - 1))
    assert seen[0][1] == BATCH.target_in_BT[:, 1].tolist()
    fed = free.logits_BTV.argmax(-1)[:, :-1]
    in_BT = torch.cat([BATCH.target_in_BT[:, :1], fed], dim=1)
    forced = model.forward(replace(BATCH, target_in_BT=in_BT), want=Want.LOGITS)
    torch.testing.assert_close(free.logits_BTV, forced.logits_BTV)


@pytest.mark.parametrize("layers", [1, 2])
def test_what_is_fed_back_is_not_dropped(layers: int) -> None:
    """Dropout falls on what reads h~ (the next input, the softmax), not on h~ itself."""
    model = build("luong", num_layers=layers, dropout=0.5)
    encoded = model.encode(BATCH.source)
    state = model.start(encoded)
    noise = Noise(3, 7, BATCH.example_B)
    step = model.step(BATCH.target_in_BT[:, 0], state, encoded, noise=noise)
    top = step.state.h_BLH[:, -1]
    h_tilde, _ = model._attentional(top, encoded, state.position_B)
    torch.testing.assert_close(step.state.feed_BH, h_tilde)
    logits = torch.nn.functional.linear(h_tilde, model.W_s.weight, model.W_s.bias)
    assert not torch.allclose(step.logits_BV, logits), "the softmax reads it dropped"
