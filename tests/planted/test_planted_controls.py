"""The check can fail: maps that are almost right, and code that is almost right, are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from jumok.engine import TorchEngine
from jumok.nn.recurrent import Reading
from jumok.records import Hypothesis
from jumok.search import SearchOptions
from jumok.search.history import History
from planted.mechanisms import MECHANISMS, book, luong
from planted.plant import Mechanism
from planted.planting import plant
from planted.reading import check, hypotheses_of, teacher_forced, text_of

BEAM = SearchOptions(beam=4, nbest=3)
LATE = [m for m in MECHANISMS if m.memory == "attended-late"]


def mirrored(weights_TS: np.ndarray) -> np.ndarray:
    """The words turned round, the end symbol in its place: a reversed source not turned back."""
    return np.concatenate([weights_TS[:, -2::-1], weights_TS[:, -1:]], axis=1)


def transposed(weights_TS: np.ndarray) -> np.ndarray:
    return weights_TS.T


def rows_late(weights_TS: np.ndarray) -> np.ndarray:
    return np.roll(weights_TS, 1, axis=0)


def rows_early(weights_TS: np.ndarray) -> np.ndarray:
    return np.roll(weights_TS, -1, axis=0)


def columns_on(weights_TS: np.ndarray) -> np.ndarray:
    return np.roll(weights_TS, 1, axis=1)


def blurred(weights_TS: np.ndarray) -> np.ndarray:
    return 0.9 * weights_TS + 0.1 / weights_TS.shape[1]


@pytest.mark.parametrize(
    "spoil", [mirrored, transposed, rows_late, rows_early, columns_on, blurred]
)
@pytest.mark.parametrize("mechanism", [book(), luong(attend_end=True), *LATE], ids=str)
def test_a_spoilt_map_is_caught(
    mechanism: Mechanism, spoil: Callable[[np.ndarray], np.ndarray]
) -> None:
    planted = plant(mechanism)
    sentence = "DC.AB"  # as many columns as rows, and its map is not its own transpose
    [[*_, hypothesis]] = hypotheses_of(planted.network, [sentence], BEAM)
    check(mechanism, sentence, hypothesis, planted.scores)
    spoilt = spoil(hypothesis.weights_TS)
    with pytest.raises(AssertionError):
        check(mechanism, sentence, spoilt, planted.scores, ids_T=hypothesis.ids_T)


@pytest.mark.parametrize("mechanism", [book(), luong(), *LATE], ids=str)
def test_the_map_of_another_hypothesis_is_caught(mechanism: Mechanism) -> None:
    planted = plant(mechanism)
    [[first, second, third]] = hypotheses_of(planted.network, ["FBEz.DCA"], BEAM)
    rows = min(len(first.ids_T), len(second.ids_T))
    assert rows > 3
    with pytest.raises(AssertionError):
        swapped = second.weights_TS[:rows]
        check(mechanism, "FBEz.DCA", swapped, planted.scores, ids_T=first.ids_T[:rows])
    # B and its doubtful successor in either case attend alike: only the fork tells them apart.
    check(mechanism, "FBEz.DCA", third.weights_TS, planted.scores, ids_T=second.ids_T)


def all_right(mechanism: Mechanism, options: SearchOptions = BEAM, bits: bool = True) -> None:
    planted = plant(mechanism)
    sentences = mechanism.sentences
    for sentence, found in zip(
        sentences, hypotheses_of(planted.network, sentences, options, bits=bits), strict=True
    ):
        for hypothesis in found:
            if hypothesis.score > -8:
                check(mechanism, sentence, hypothesis, planted.scores)


@pytest.mark.parametrize("mechanism", [book(), luong(), luong(score="location")], ids=str)
def test_a_source_left_reversed_is_caught(
    mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_right(mechanism)
    monkeypatch.setattr(Reading, "in_readers_order", lambda self, states_BSD: states_BSD)
    if mechanism.options.get("score") == "location":
        # Weights by position come out where they should, but what is read there is not.
        planted = plant(mechanism)
        [[wrong]] = hypotheses_of(planted.network, ["CA.DBE"], SearchOptions())
        assert text_of(wrong.ids_T) != "ABCDE."
    else:
        with pytest.raises(AssertionError):
            all_right(mechanism)


def keeps_states(self: TorchEngine, cursor: Any, rows_N: np.ndarray) -> Any:
    """A ``select`` that re-orders everything but the decoder's state, whose rows stay put."""
    moved = genuine_select(self, cursor, rows_N)
    put_P = torch.arange(len(moved.sentence_P)).clamp(max=cursor.rows - 1)
    return replace(moved, state=cursor.state.select(put_P))


genuine_select = TorchEngine.select


@pytest.mark.parametrize("mechanism", [book(), luong(), *LATE], ids=str)
def test_a_state_that_is_not_reordered_is_caught(
    mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = replace(mechanism, sentences=("FBEz.DCA",))
    all_right(alone)
    monkeypatch.setattr(TorchEngine, "select", keeps_states)
    with pytest.raises(AssertionError):
        all_right(alone)


def test_attention_left_in_the_row_where_it_was_made_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A history that forgets back-pointers: each hypothesis takes its last row all along."""
    genuine = History._weights

    def stuck(self: History, steps: Any, rows_T: np.ndarray, length: int) -> Any:
        last_T = [min(rows_T[-1], len(step.weights_NS) - 1) for step in steps]
        return genuine(self, steps, np.array(last_T), length)

    monkeypatch.setattr(History, "_weights", stuck)
    with pytest.raises(AssertionError):
        all_right(luong())


def test_padding_that_is_attended_to_is_caught() -> None:
    """The book's own choice, ``mask=False``: padding looks like a full stop here."""
    all_right(book(mask=True))
    with pytest.raises(AssertionError):
        all_right(book(mask=False))


@pytest.mark.parametrize("renormalise", [True, False])
def test_a_gaussian_renormalised_or_not_is_told_apart(renormalise: bool) -> None:
    right = luong("output", window="local-p", renormalise=renormalise)
    wrong = luong("output", window="local-p", renormalise=not renormalise)
    planted = plant(right)
    found = hypotheses_of(planted.network, right.sentences, SearchOptions())
    for sentence, [hypothesis] in zip(right.sentences, found, strict=True):
        check(right, sentence, hypothesis, planted.scores)
        with pytest.raises(AssertionError):
            check(wrong, sentence, hypothesis, planted.scores)


def test_a_hypothesis_is_not_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a batch exchanged between encoder and decoder."""
    mechanism = luong()
    planted = plant(mechanism)
    genuine = planted.network.encode

    def exchanged(source: Any, **how: Any) -> Any:
        encoded = genuine(source, **how)
        rows = torch.arange(len(encoded.mask_BS))
        return encoded.select(rows.roll(1))

    monkeypatch.setattr(planted.network, "encode", exchanged)
    found: list[list[Hypothesis]] = hypotheses_of(
        planted.network, mechanism.sentences, SearchOptions()
    )
    with pytest.raises(AssertionError):
        for sentence, [hypothesis] in zip(mechanism.sentences, found, strict=True):
            check(mechanism, sentence, hypothesis, planted.scores)


def test_teacher_forcing_against_another_target_is_caught() -> None:
    from planted.reading import given_ids

    mechanism = luong("output", feeding=False)
    planted = plant(mechanism)
    output = teacher_forced(planted.network, ["zC.AB"], ["AB.C"])
    weights_TS = output.weights_BTS[0].numpy()
    check(mechanism, "zC.AB", weights_TS, planted.scores, ids_T=given_ids("AB.C"))
    with pytest.raises(AssertionError):
        check(mechanism, "zC.AB", weights_TS, planted.scores, ids_T=given_ids("ABC."))
