"""The engine over a torch model: parity with ``forward``, planted truth, ties, bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted_model import Planted, places

import jumok.engine
from jumok.engine import TorchEngine, best_on_device, decode_in_batches
from jumok.models import MODELS
from jumok.models.contract import Want
from jumok.records import BOS, EOS, PAD, Batch, Hypothesis, Source
from jumok.search import Ask, SearchOptions, best_candidates, score, search
from jumok.search.beam import beam_search

VOCABULARY = 23
MODES = (
    SearchOptions(max_length=9),
    SearchOptions(beam=5, nbest=5, max_length=9),
    SearchOptions(sample=True, nbest=3, temperature=2.0, max_length=9),
)
ATTENTIVE = ("luong", "bahdanau", "rnnsearch", "transformer", "modern", "hybrid")
TINY = (*ATTENTIVE, "cgru", "luong-fast", "attention")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model_of(name: str, scale: float = 3.0, width: int = 20, **options: str) -> torch.nn.Module:
    """Small, untrained, but with opinions: larger weights make sharper distributions."""
    entry = MODELS[name]
    sizes = {"embedding_size": width - 8, "hidden_size": width, **options}
    if name.startswith("hybrid"):  # four layers and an LSTM multiply what they round
        scale = min(scale, 2.0)
    model = entry.model(entry.config(**{**entry.preset, **sizes}), VOCABULARY, VOCABULARY, seed=0)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" not in key:  # what follows a norm's gain is as large as the gain
                parameter.mul_(scale)
    return model


def source_of(*sentences: list[int]) -> Source:
    width = max(map(len, sentences))
    ids_BS = np.full((len(sentences), width), PAD, np.int64)
    for b, sentence in enumerate(sentences):
        ids_BS[b, : len(sentence)] = sentence
    return Source(ids_BS=ids_BS, mask_BS=ids_BS != PAD)


def sentence(rng: np.random.Generator, longest: int) -> list[int]:
    return [*rng.integers(4, VOCABULARY, rng.integers(0, longest + 1)).tolist(), EOS]


def same_bits(one: list[Hypothesis], other: list[Hypothesis]) -> bool:
    return len(one) == len(other) and all(
        x.ids_T.tolist() == y.ids_T.tolist()
        and x.logprobs_T.tobytes() == y.logprobs_T.tobytes()
        and (x.score, x.rank_score) == (y.score, y.rank_score)
        and (None if x.weights_TS is None else x.weights_TS.tobytes())
        == (None if y.weights_TS is None else y.weights_TS.tobytes())
        for x, y in zip(one, other, strict=True)
    )


# ---- planted truth


@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("bits", [False, True])
def test_the_planted_alignment_comes_back_cell_by_cell(options, bits) -> None:
    engine = TorchEngine(Planted(VOCABULARY), bits=bits)
    rng = np.random.default_rng(5)
    sentences = [[*rng.integers(4, VOCABULARY, n).tolist(), EOS] for n in (7, 3, 0, 5, 8, 1)]
    options = SearchOptions(**{**vars(options), "maps": True})
    found = search(engine, source_of(*sentences), options)
    distinct = set()
    for words, hypotheses in zip(sentences, found, strict=True):
        for h in hypotheses:
            truth_T = places(len(words) - 1, h.ids_T.tolist())
            expected_TS = np.eye(len(words))[truth_T]
            np.testing.assert_array_equal(h.weights_TS, expected_TS)
            assert h.maps["next"].shape == h.weights_TS.shape
            np.testing.assert_array_equal(h.maps["mask"], np.ones((len(words),) * 2))
            distinct.add(tuple(truth_T))
    last = [hypotheses[-1] for hypotheses in found]
    again = score(engine, source_of(*sentences), [h.ids_T for h in last], options)
    assert same_bits(again, last)
    assert len(distinct) >= len(sentences)


def test_greedy_writes_the_planted_permutation() -> None:
    (found,) = search(TorchEngine(Planted(VOCABULARY)), source_of([9, 5, 7, 4, EOS]))
    assert found[0].ids_T.tolist() == [9, 7, 7, 7, EOS]
    assert found[0].weights_TS.argmax(axis=1).tolist() == [0, 2, 2, 2, 2]


# ---- parity with the model's own teacher-forced pass


def batch_of(source: Source, targets: list[np.ndarray]) -> Batch:
    width = max(map(len, targets))
    out_BT = np.full((len(targets), width), PAD, np.int64)
    for b, ids_T in enumerate(targets):
        out_BT[b, : len(ids_T)] = ids_T
    in_BT = np.concatenate([np.full((len(targets), 1), BOS), out_BT[:, :-1]], axis=1)
    mask_BT = np.arange(width) < np.array([len(t) for t in targets])[:, None]
    batch = Batch(
        source=source,
        target_in_BT=in_BT,
        target_out_BT=out_BT,
        target_mask_BT=mask_BT,
        example_B=np.arange(len(targets)),
    )
    return batch.map(torch.from_numpy)


@pytest.mark.parametrize("name", MODELS)
def test_scores_and_attention_are_those_of_the_forward_pass(name) -> None:
    """Laws 24 and 26, in every mode, against code that shares no step with the search."""
    model, rng = model_of(name), np.random.default_rng(11)
    source = source_of(*(sentence(rng, 13) for _ in range(5)))
    for options in MODES:
        found = search(TorchEngine(model), source, options)
        for n in range(options.nbest):
            column = [hypotheses[n] for hypotheses in found]
            with torch.no_grad():
                batch = batch_of(source, [h.ids_T for h in column])
                output = model.forward(batch, want=Want.WEIGHTS)
            for b, h in enumerate(column):
                length, words = len(h.ids_T), int(source.mask_BS[b].sum())
                got = output.log_probs_BT[b, :length].numpy()
                np.testing.assert_allclose(h.logprobs_T, got, atol=2e-5)
                assert (h.weights_TS is None) == (output.weights_BTS is None)
                if h.weights_TS is not None:
                    assert h.weights_TS.shape == (length, words)
                    expected_TS = output.weights_BTS[b, :length, :words].numpy()
                    np.testing.assert_allclose(h.weights_TS, expected_TS, atol=2e-5)


# ---- candidates


@given(st.integers(0, 10**6), st.integers(1, 60), st.booleans(), st.sampled_from([5, 37, 211]))
def test_candidates_are_those_of_the_numpy_rule_ties_included(seed, top, ties, width) -> None:
    rng = np.random.default_rng(seed)
    logprobs_NV = rng.normal(size=(7, width)).astype(np.float32)
    if ties:
        logprobs_NV = np.round(logprobs_NV)
    logprobs_NV[3] = np.nan
    ask = Ask(top=top, banned=(0, 2, 300))
    ids_NK, best_NK = best_candidates(logprobs_NV.copy(), ask)
    found = best_on_device(torch.from_numpy(logprobs_NV.copy()), ask)
    rows = [0, 1, 2, 4, 5, 6]
    np.testing.assert_array_equal(found[0].numpy()[rows], ids_NK[rows])
    np.testing.assert_array_equal(found[1].numpy(), best_NK)


def test_ties_among_the_best_keep_the_order_of_ids() -> None:
    rng = np.random.default_rng(5)
    logprobs_NV = rng.integers(-60, 0, size=(40, 997)).astype(np.float32)
    logprobs_NV[:, ::9] += rng.random(111, dtype=np.float32)
    ids_NK = best_on_device(torch.from_numpy(logprobs_NV.copy()), Ask(top=23))[0]
    alone = [
        best_on_device(torch.from_numpy(row_V[None].copy()), Ask(top=23)) for row_V in logprobs_NV
    ]
    for row_V, ids_K, (one_1K, _) in zip(logprobs_NV, ids_NK, alone, strict=True):
        expected = sorted(range(997), key=lambda i: (-row_V[i], i))[:23]
        assert ids_K.tolist() == one_1K[0].tolist() == expected


@pytest.mark.parametrize(("hidden", "rows"), [(20, 8), (22, 32)])
def test_rows_are_padded_to_what_the_widths_of_the_model_need(hidden, rows) -> None:
    entry = MODELS["luong"]
    config = entry.config(hidden_size=hidden)
    engine = TorchEngine(entry.model(config, VOCABULARY, VOCABULARY), bits=True)
    cursor = engine.start(source_of([4, EOS]), Ask()).cursor
    assert cursor.rows == 1 and len(cursor.sentence_P) == rows
    assert cursor.encoded.mask_BS.shape == (rows, 16)
    advanced = engine.step(cursor, np.array([BOS]), Ask(top=3))
    assert advanced.ids_NK.shape == (1, 3) and advanced.weights_NS.shape == (1, 2)


def test_the_vocabulary_is_measured_and_the_device_found() -> None:
    engine = TorchEngine(model_of("luong"), bits=True)
    assert (engine.vocabulary_size, engine.device.type) == (VOCABULARY, "cpu")
    assert TorchEngine(Planted(31)).vocabulary_size == 31


def test_the_encoders_side_is_tiled_only_where_the_tiling_changes() -> None:
    engine = TorchEngine(model_of("luong"))
    started = engine.start(source_of([4, 5, EOS], [6, EOS]), Ask())
    tiled = engine.select(started.cursor, np.array([0, 0, 1, 1]))
    swapped = engine.select(tiled, np.array([1, 0, 3, 2]))
    assert swapped.encoded is tiled.encoded
    assert engine.select(tiled, np.array([0, 2, 3])).encoded is not tiled.encoded


# ---- bits


def differing(model: torch.nn.Module, draws: int, *, bits: bool, seed: int = 0) -> int:
    """How often a sentence's result depends on its company, of ``draws`` random companies."""
    engine, rng, bad = TorchEngine(model, bits=bits), np.random.default_rng(seed), 0
    for draw in range(draws):
        beam = int((1, 1, 2, 5, 16)[draw % 5])
        options = SearchOptions(beam=beam, nbest=min(beam, 3), max_length=7)
        one = sentence(rng, 40)
        size = int(rng.choice([2, 3, 5, 7, 9, 15] if beam > 1 else [2, 3, 6, 31, 62]))
        company = [sentence(rng, 50) for _ in range(size - 1)] + [[EOS], one]
        places = [int(rng.integers(len(company))), len(company)]  # and a duplicate, last
        company.insert(places[0], one)
        (alone,) = search(engine, source_of(one), options)
        together = search(engine, source_of(*company), options)
        bad += not all(same_bits(alone, together[place]) for place in places)
    return bad


@pytest.mark.parametrize("name", ATTENTIVE)
def test_batch_mates_change_nothing_to_the_last_bit(name) -> None:
    assert differing(model_of(name), 65, bits=True) == 0


@pytest.mark.parametrize(
    ("name", "normalize"),
    [
        ("luong", "sparsemax"),
        ("luong-fast", "entmax15"),
        ("bahdanau", "rela"),
        ("transformer", "sparsemax"),
        ("gnmt", "entmax15"),
        ("gnmt", "softmax"),
    ],
)
def test_no_way_of_attending_shows_its_batch_mates(name, normalize) -> None:
    assert differing(model_of(name, normalize=normalize), 20, bits=True) == 0


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("width", [10, pytest.param(14, marks=pytest.mark.nightly)])
def test_tiny_widths_that_no_four_divides_change_nothing_either(name, width) -> None:
    assert differing(model_of(name, width=width), 10, bits=True) == 0


def test_tiny_products_show_where_a_row_stands_without_whole_sums(monkeypatch) -> None:
    """The negative control, and a reminder to drop the mode when the library no longer needs it."""
    monkeypatch.setattr(jumok.engine, "FEW_OUTPUTS", 0)
    assert differing(model_of("luong-fast", width=10), 20, bits=True) > 0


def test_without_the_recipe_batch_mates_do_show() -> None:
    """The negative control: the test above can see a difference of one unit."""
    assert sum(differing(model_of(name), 15, bits=False) for name in ATTENTIVE) > 0


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MODELS)
def test_ten_thousand_companies_change_nothing(name) -> None:
    assert differing(model_of(name), 10_000 // len(MODELS) + 1, bits=True, seed=1) == 0


@pytest.mark.parametrize("options", MODES)
def test_batches_of_like_length_give_the_bits_of_one_by_one(options) -> None:
    engine, rng = TorchEngine(model_of("luong"), bits=True), np.random.default_rng(2)
    sentences = [sentence(rng, 30) for _ in range(13)]
    together = decode_in_batches(engine, source_of(*sentences), options, batch_size=5)
    for b, one in enumerate(sentences):
        (alone,) = search(engine, source_of(one), options, numbers_B=np.array([b]))
        assert same_bits(alone, together[b])


@pytest.mark.parametrize("bits", [False, True])
def test_a_beam_of_one_is_greedy_bit_for_bit_on_a_real_model(bits) -> None:
    engine, rng = TorchEngine(model_of("bahdanau"), bits=bits), np.random.default_rng(3)
    source = source_of(*(sentence(rng, 20) for _ in range(11)))
    options = SearchOptions(max_length=12)
    greedy, beam = search(engine, source, options), beam_search(engine, source, options)
    assert all(same_bits(a, b) for a, b in zip(greedy, beam, strict=True))
