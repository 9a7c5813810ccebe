"""Every mechanism attends where it was planted to, cell by cell, however it is run."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from jumok.engine import TorchEngine
from jumok.search import SearchOptions, score, search
from planted.mechanisms import MECHANISMS
from planted.plant import Mechanism, best, greedy, places
from planted.planting import Planted, plant
from planted.reading import check, given_ids, hypotheses_of, source_of, teacher_forced, text_of

each = pytest.mark.parametrize("mechanism", MECHANISMS, ids=str)
LIKELY = -8.0
"""Log-probability: what lies below is noise around the planted choices."""


@functools.cache
def planted(index: int) -> Planted:
    return plant(MECHANISMS[index])


def network_of(mechanism: Mechanism) -> Planted:
    return planted(MECHANISMS.index(mechanism))


@each
@pytest.mark.parametrize("bits", [True, False])
def test_greedy_attends_to_the_planted_places(mechanism: Mechanism, bits: bool) -> None:
    found = hypotheses_of(
        network_of(mechanism).network, mechanism.sentences, SearchOptions(), bits=bits
    )
    for sentence, [hypothesis] in zip(mechanism.sentences, found, strict=True):
        assert text_of(hypothesis.ids_T) == greedy(mechanism, sentence)
        check(mechanism, sentence, hypothesis, network_of(mechanism).scores)


@each
@pytest.mark.parametrize("bits", [True, False])
def test_every_hypothesis_of_a_beam_has_its_own_map(mechanism: Mechanism, bits: bool) -> None:
    options = SearchOptions(beam=4, nbest=3)
    found = hypotheses_of(network_of(mechanism).network, mechanism.sentences, options, bits=bits)
    maps = set()
    for sentence, hypotheses in zip(mechanism.sentences, found, strict=True):
        likely = [h for h in hypotheses if h.score > LIKELY]
        assert text_of(likely[0].ids_T) == best(mechanism, sentence)
        for hypothesis in likely:
            check(mechanism, sentence, hypothesis, network_of(mechanism).scores)
            maps.add((sentence, tuple(hypothesis.weights_TS.argmax(1))))
    if mechanism.sentences == Mechanism.sentences:
        assert len(maps) > len(mechanism.sentences), "no sentence had hypotheses that differ"


@each
def test_every_draw_has_its_own_map(mechanism: Mechanism) -> None:
    options = SearchOptions(sample=True, nbest=6, seed=3)
    found = hypotheses_of(network_of(mechanism).network, mechanism.sentences, options)
    texts = set()
    for sentence, hypotheses in zip(mechanism.sentences, found, strict=True):
        for hypothesis in hypotheses:
            check(mechanism, sentence, hypothesis, network_of(mechanism).scores)
            texts.add((sentence, text_of(hypothesis.ids_T)))
    assert len(texts) > len(mechanism.sentences)


@each
def test_a_forced_prefix_leads_the_attention(mechanism: Mechanism) -> None:
    """The likelier B where a beam would have written b, and the reverse for greedy."""
    planted, sentences = network_of(mechanism), mechanism.sentences
    for beam, choose in ((3, greedy), (1, best)):
        texts = [choose(mechanism, sentence) for sentence in sentences]
        prefixes = [given_ids(text)[:-1][: 2 + mechanism.ahead] for text in texts]
        found = search(
            TorchEngine(planted.network, bits=True),
            source_of(sentences),
            SearchOptions(beam=beam),
            prefixes=prefixes,
        )
        for sentence, prefix, [hypothesis] in zip(sentences, prefixes, found, strict=True):
            assert hypothesis.ids_T[: len(prefix)].tolist() == prefix.tolist()
            check(mechanism, sentence, hypothesis, planted.scores)


def given_pairs(mechanism: Mechanism) -> list[tuple[str, str]]:
    """Outputs to force: both likely ones, and one that no model would write."""
    odd = ["-" * mechanism.ahead + "AEF."] if mechanism.window is None else []
    return [
        (s, t)
        for s in mechanism.sentences
        for t in (best(mechanism, s), greedy(mechanism, s), *odd)
    ]


@each
def test_forced_scoring_returns_the_attention_of_what_is_given(mechanism: Mechanism) -> None:
    planted = network_of(mechanism)
    pairs = given_pairs(mechanism)
    targets = [given_ids(target) for _, target in pairs]
    engine = TorchEngine(planted.network, bits=True)
    found = score(engine, source_of([s for s, _ in pairs]), targets)
    for (sentence, target), hypothesis in zip(pairs, found, strict=True):
        assert hypothesis.ids_T.tolist() == given_ids(target).tolist()
        check(mechanism, sentence, hypothesis, planted.scores)


@each
def test_teacher_forcing_returns_it_too(mechanism: Mechanism) -> None:
    """``forward``: all steps at once, or the fused kernels, where there are such."""
    planted = network_of(mechanism)
    pairs = given_pairs(mechanism)
    output = teacher_forced(planted.network, *zip(*pairs, strict=True))
    for row, (sentence, target) in enumerate(pairs):
        T, S = len(target) + 1, len(sentence) + 1
        weights_TS = output.weights_BTS[row, :T].numpy()
        assert np.all(weights_TS[:, S:] == 0)
        check(mechanism, sentence, weights_TS[:, :S], planted.scores, ids_T=given_ids(target))


def test_the_beam_changes_its_mind() -> None:
    """The garden path is real: greedy and beam part ways, so beams are re-ordered above."""
    for mechanism in MECHANISMS:
        if mechanism.sentences == Mechanism.sentences:
            paths = [(greedy(mechanism, s), best(mechanism, s)) for s in mechanism.sentences]
            assert any(one != other for one, other in paths)


def test_the_planted_alignments_are_not_monotonic() -> None:
    for mechanism in MECHANISMS:
        found = [places(mechanism, s, [*greedy(mechanism, s), "</s>"]) for s in mechanism.sentences]
        assert any(one != sorted(one) and one != sorted(one)[::-1] for one in found)
