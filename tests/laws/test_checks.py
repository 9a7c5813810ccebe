"""The checks behind ``jumok verify``: sound engines pass to the last bit, broken ones fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from jumok.checks import decoding
from jumok.checks.resuming import resume_is_exact
from jumok.data.arrays import InMemory, Ragged, collate
from jumok.data.order import Plan
from jumok.engine import TorchEngine
from jumok.records import EOS
from jumok.search import SearchOptions
from jumok.training import checkpoints
from jumok.training.data import TrainingData
from jumok.training.options import Optim, Training
from laws.variants import SOURCE_SIZE, TARGET_SIZE, Variant

BEAM = SearchOptions(beam=4, nbest=4, max_length=12)
SIZES = {"hidden_size": 20, "embedding_size": 12}
MODELS = [
    Variant("attention", SIZES),
    Variant("luong", SIZES),
    Variant("luong-fast", SIZES),
    Variant("luong", {"window": "local-p", "window_size": 2, **SIZES}),
    Variant("rnnsearch", {"attention_size": 20, **SIZES}),
    Variant("bahdanau", {"attention_size": 20, **SIZES}),
    Variant("plain", SIZES),
    Variant("transformer", SIZES),
    Variant("gnmt", {"normalize": "entmax15", **SIZES}),
    Variant("luong", {"normalize": "rela", **SIZES}),
    Variant("luong-fast", {"hidden_size": 22, "embedding_size": 12}),
]
each = pytest.mark.parametrize("variant", MODELS, ids=lambda v: v.model)


def rows(count: int = 9, size: int = SOURCE_SIZE, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [np.append(random.integers(4, size, random.integers(0, 11)), EOS) for _ in range(count)]


def engine(variant: Variant = MODELS[1]) -> TorchEngine:
    return TorchEngine(variant.build(torch.float32), bits=True)


@pytest.mark.parametrize("variant", MODELS, ids=lambda v: v.model)
@pytest.mark.parametrize(
    "options",
    [SearchOptions(max_length=12), BEAM, SearchOptions(sample=True, max_length=12)],
    ids=["greedy", "beam", "sample"],
)
def test_company_changes_no_bit(variant: Variant, options: SearchOptions) -> None:
    if options.sample:  # a draw is keyed by the sentence's number, so numbers must stay
        options = replace(options, top_k=1)
    found = decoding.batch_mates_change_no_bit(
        engine(variant), rows(), options, name="here", draws=3
    )
    assert (found.law, found.holds, found.worst) == ("batch invariance, here", True, 0.0), found
    assert found.detail.startswith("0 of ")


@each
def test_a_search_gives_what_scoring_gives(variant: Variant) -> None:
    """To the last bit, for every hypothesis of a beam."""
    for found in decoding.forced_is_search(engine(variant), rows(), BEAM, tolerance=0.0):
        assert found.holds, found
    assert decoding.beam_of_one_is_greedy(engine(variant), rows()).holds
    fits = decoding.attention_fits(engine(variant), rows(), BEAM)
    assert fits.holds, fits


@each
def test_training_sees_what_scoring_sees(variant: Variant) -> None:
    model = variant.build(torch.float32)
    found = decoding.forward_is_engine(
        model,
        TorchEngine(model, bits=True),
        rows(),
        rows(size=TARGET_SIZE, seed=1),
        tolerance=1e-4,
    )
    assert found.holds, found


# --- broken engines -----------------------------------------------------------------------


class Wrapped(TorchEngine):
    """An engine with a fault."""

    def __init__(self, fault: str) -> None:
        super().__init__(MODELS[1].build(torch.float32), bits=True)
        self.fault = fault

    def step(self, cursor: Any, tokens_N: np.ndarray, ask: Any, given_N: Any = None) -> Any:
        found = super().step(cursor, tokens_N, ask, given_N)
        match self.fault:
            case "one ulp by batch size" if len(tokens_N) > 4:
                nudged = np.nextafter(found.logprobs_NK, np.float32(0), dtype=np.float32)
                return found._replace(logprobs_NK=nudged)
            case "other numbers for a wider beam" if ask.top > 1:
                return found._replace(logprobs_NK=found.logprobs_NK - np.float32(1e-6))
            case "weights by row number":
                return found._replace(weights_NS=found.weights_NS[::-1])
            case "padding not cut off":
                wide = np.pad(found.weights_NS, ((0, 0), (1, 0)))[:, :-1]
                return found._replace(weights_NS=wide)
            case "weights doubled":
                return found._replace(weights_NS=2 * found.weights_NS)
        return found

    def select(self, cursor: Any, rows_N: np.ndarray) -> Any:
        moved = super().select(cursor, rows_N)
        if self.fault == "state left behind":
            stay_P = np.minimum(np.arange(len(moved.sentence_P)), cursor.rows - 1)
            return replace(moved, state=cursor.state.select(torch.from_numpy(stay_P)))
        return moved


def test_one_ulp_is_seen() -> None:
    found = decoding.batch_mates_change_no_bit(
        Wrapped("one ulp by batch size"), rows(), SearchOptions(max_length=12), name="greedy"
    )
    assert not found.holds and 0 < found.worst < 1e-5
    assert "first: source" in found.detail and "in a batch of" in found.detail


def test_weights_of_a_neighbour_are_seen() -> None:
    found = decoding.batch_mates_change_no_bit(
        Wrapped("weights by row number"), rows(), SearchOptions(max_length=12), name="greedy"
    )
    assert not found.holds and found.worst > 0.01


def test_a_state_left_behind_is_seen() -> None:
    scores, maps = decoding.forced_is_search(
        Wrapped("state left behind"), rows(), BEAM, tolerance=1e-4
    )
    assert not scores.holds and not maps.holds


def test_attention_of_another_row_is_seen() -> None:
    scores, maps = decoding.forced_is_search(
        Wrapped("weights by row number"), rows(), BEAM, tolerance=1e-4
    )
    assert scores.holds and not maps.holds


def test_a_beam_that_computes_otherwise_is_seen() -> None:
    broken = Wrapped("other numbers for a wider beam")
    assert not decoding.forced_is_search(broken, rows(), BEAM, tolerance=0.0)[0].holds


def test_weights_that_are_no_shares_are_seen() -> None:
    assert not decoding.attention_fits(Wrapped("weights doubled"), rows(), BEAM).holds


def test_a_forward_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS[1].build(torch.float32)
    genuine = model.forward

    def off(batch: Any, **how: Any) -> Any:
        output = genuine(batch, **how)
        return output._replace(weights_BTS=output.weights_BTS.roll(1, 1))

    monkeypatch.setattr(model, "forward", off)
    found = decoding.forward_is_engine(
        model, TorchEngine(model), rows(), rows(size=TARGET_SIZE, seed=1), tolerance=1e-4
    )
    assert not found.holds


# --- resume -------------------------------------------------------------------------------


def data() -> TrainingData:
    pairs = InMemory(Ragged.of(rows(23)), Ragged.of(rows(23, TARGET_SIZE, seed=1)))
    lengths = (np.array([len(r) for r in side]) for side in (pairs.source, pairs.target))
    plan = Plan(source_lengths=next(lengths), target_lengths=next(lengths), seed=0, batch_size=5)
    return TrainingData(plan=plan, collate=lambda numbers: collate(pairs, numbers), digest="d")


def resumed(**options: Any) -> Any:
    model = Variant("luong", {"dropout": 0.3}).build(torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    finding = resume_is_exact(
        model,
        data(),
        optim=Optim(lr=1e-2, schedule="inverse_sqrt", warmup_steps=2),
        options=Training(**options),
        steps=6,
    )
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), "the model itself was touched"
    return finding


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9}, {"label_smoothing": 0.1}], ids=str)
def test_a_run_that_was_cut_off_ends_with_the_same_bits(options: dict[str, Any]) -> None:
    found = resumed(**options)
    assert found.holds, found
    assert found.detail.startswith("6 updates, cut off after 4: the same bits")


def test_a_forgotten_optimiser_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "load_state", lambda *_: None)
    assert not resumed().holds


def test_a_cursor_that_is_off_by_one_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = checkpoints._counters

    def late(document: dict[str, Any]) -> Any:
        at = genuine(document)
        at.cursor = at.cursor._replace(place=at.cursor.place + 1)
        return at

    monkeypatch.setattr(checkpoints, "_counters", late)
    assert not resumed().holds
