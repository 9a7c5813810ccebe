"""Sampling, forced scoring, forced prefixes, batches, options, unknown words, top-k."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engines import (
    ScriptedEngine,
    planted_weights,
    random_engine,
    random_logprobs,
    source_of,
    table,
)
from test_beam import same

from jumok.errors import UsageError
from jumok.records import BOS, EOS, PAD, UNK, MapSpec
from jumok.search import (
    Ask,
    SearchOptions,
    best_candidates,
    decode_in_batches,
    replace_unknown,
    score,
    search,
)
from jumok.search.penalties import length_penalty
from jumok.search.sampling import uniform

A, B, C = 4, 5, 6
SEEDS = st.integers(0, 10**6)
MODES = ({}, {"beam": 4, "nbest": 3}, {"sample": True, "nbest": 3})
SENTENCES = ([3, 4, 9, EOS], [5, EOS], [EOS], [6, 7, 8, 9, EOS])


@given(SEEDS, st.sampled_from(MODES), st.sampled_from(["none", "gnmt"]), st.sampled_from([0, 0.3]))
def test_forced_scoring_of_an_output_returns_that_output(seed, mode, penalty, beta) -> None:
    """Laws 24 and 26: tokens, scores, ranks and attention agree, finished or cut."""
    engine = random_engine(seed, 7)
    options = SearchOptions(
        max_length=4, length_penalty=penalty, coverage_penalty=beta, alternatives=2, **mode
    )
    source = source_of(*SENTENCES)
    found = search(engine, source, options)
    for n in range(min(map(len, found))):
        column = [hypotheses[n] for hypotheses in found]
        same(score(engine, source, [h.ids_T for h in column], options), column)
    for h in (h for hypotheses in found for h in hypotheses):
        assert h.score == h.logprobs_T.cumsum()[-1]


def test_an_empty_target_is_certain_and_has_no_rows() -> None:
    engine = random_engine(1)
    source = source_of(*SENTENCES)
    nothing = np.zeros(0, np.int64)
    found = score(engine, source, [nothing, np.array([A, EOS]), nothing, np.array([EOS])])
    assert [len(h.ids_T) for h in found] == [0, 2, 0, 1]
    assert found[0].score == 0.0 and not found[0].finished
    assert found[3].score == engine.logprobs(6, ())[EOS] and found[3].finished


def test_impossible_targets_score_minus_infinity() -> None:
    engine = ScriptedEngine(table({(): {A: 1.0}, (B,): {EOS: 1.0}}))
    (h,) = score(engine, source_of([1, EOS]), [np.array([B, EOS])])
    assert h.score == -np.inf and h.logprobs_T.tolist() == [-np.inf, 0.0]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ([A, EOS, B], "target 0 holds the end symbol before its last position."),
        ([A, PAD], "target 0 holds padding or the start symbol."),
        ([BOS, A], "target 0 holds padding or the start symbol."),
        ([A, 7], "target 0 holds the id 7; ids run from 0 to 6."),
        ([-1, A], "target 0 holds the id -1; ids run from 0 to 6."),
    ],
)
def test_targets_no_output_can_hold_are_refused(target, text) -> None:
    with pytest.raises(UsageError) as refused:
        score(random_engine(1), source_of([1, EOS]), [np.array(target)])
    assert refused.value.message == text


def test_the_number_of_targets_must_be_that_of_the_sources() -> None:
    with pytest.raises(UsageError, match="2 targets were given for 1 source sentences"):
        score(random_engine(1), source_of([1, EOS]), [np.array([A]), np.array([B])])
    with pytest.raises(UsageError, match="prefix 0 holds the end symbol"):
        search(random_engine(1), source_of([1, EOS]), prefixes=[np.array([EOS])])


@given(SEEDS, st.sampled_from(MODES))
def test_a_forced_prefix_is_kept_scored_and_continued(seed, mode) -> None:
    engine = random_engine(seed, 7)
    planted = planted_weights(seed)
    prefixes = [np.array([A, B]), np.array([], np.int64), np.array([C]), np.array([UNK, A, A])]
    options = SearchOptions(max_length=5, **mode)
    found = search(engine, source_of(*SENTENCES), options, prefixes=prefixes)
    free = search(engine, source_of(*SENTENCES), options)
    same(free[1], found[1])
    for sentence, prefix, hypotheses in zip(SENTENCES, prefixes, found, strict=True):
        assert len({tuple(h.ids_T.tolist()) for h in hypotheses}) == len(hypotheses) or mode.get(
            "sample"
        )
        for h in hypotheses:
            ids = tuple(h.ids_T.tolist())
            assert ids[: len(prefix)] == tuple(prefix.tolist())
            for t, token in enumerate(ids):
                assert h.logprobs_T[t] == engine.logprobs(sentence[0], ids[:t])[token]
                np.testing.assert_array_equal(
                    h.weights_TS[t], planted(sentence[0], ids[:t], len(sentence))
                )


def test_a_prefix_that_the_model_finds_impossible_is_still_obeyed() -> None:
    rest = {(B,): {C: 0.5, EOS: 0.5}, (B, C): {EOS: 1.0}}
    for beam, first in ((1, A), (3, A), (1, PAD), (3, PAD)):
        rows = {(): {first: 1.0}, **rest}
        engine = ScriptedEngine(table(rows))
        options = SearchOptions(beam=beam)
        (found,) = search(engine, source_of([1, EOS]), options, prefixes=[np.array([B])])
        assert found[0].ids_T[0] == B and found[0].score == -np.inf


# ---- sampling


def test_samples_follow_the_distribution() -> None:
    rows = {(): {A: 0.5, B: 0.3, C: 0.15, EOS: 0.05}, **{(x,): {EOS: 1.0} for x in (A, B, C)}}
    engine = ScriptedEngine(table(rows))
    size, source = 4000, source_of(*([[1, EOS]] * 4000))

    def share(**options) -> list[float]:
        found = search(engine, source, SearchOptions(sample=True, seed=3, **options))
        first = [h[0].ids_T[0] for h in found]
        return [first.count(x) / size for x in (A, B, C, EOS)]

    def close(got, expected) -> None:
        tolerance = 4 * np.sqrt(np.array(expected) * (1 - np.array(expected)) / size) + 1e-9
        assert (abs(np.array(got) - expected) <= tolerance).all(), (got, expected)

    close(share(), [0.5, 0.3, 0.15, 0.05])
    close(share(top_k=2), [5 / 8, 3 / 8, 0, 0])
    close(share(top_p=0.79), [5 / 8, 3 / 8, 0, 0])
    close(share(top_p=0.81), [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0])
    close(share(top_p=1e-9), [1, 0, 0, 0])
    squared = np.array([0.25, 0.09, 0.0225, 0.0025])
    close(share(temperature=0.5), squared / squared.sum())


def test_reported_log_probabilities_are_the_models_whatever_the_temperature() -> None:
    engine = random_engine(4)
    source = source_of(*SENTENCES)
    options = SearchOptions(sample=True, temperature=3.0, top_k=3, nbest=4, max_length=6)
    for sentence, found in zip(SENTENCES, search(engine, source, options), strict=True):
        for h in found:
            ids = tuple(h.ids_T.tolist())
            for t, token in enumerate(ids):
                assert h.logprobs_T[t] == engine.logprobs(sentence[0], ids[:t])[token]


@given(SEEDS, st.integers(0, 2**64), st.integers(1, 3))
def test_a_draw_depends_on_seed_and_sentence_number_alone(seed, key, nbest) -> None:
    engine = random_engine(seed)
    options = SearchOptions(sample=True, nbest=nbest, seed=key, max_length=5)
    together = search(engine, source_of(*SENTENCES), options)
    for b, sentence in enumerate(SENTENCES):
        (alone,) = search(engine, source_of(sentence), options, numbers_B=np.array([b]))
        same(alone, together[b])
    again = decode_in_batches(engine, source_of(*SENTENCES), options, batch_size=3)
    for one, other in zip(together, again, strict=True):
        same(one, other)


def test_other_seeds_numbers_and_draws_give_other_outputs() -> None:
    engine = ScriptedEngine(lambda name, prefix: np.log(np.full(99, 1 / 99, np.float32)), None, 99)
    source = source_of([1, EOS], [1, EOS])
    options = {"sample": True, "nbest": 2, "max_length": 8}
    outputs = [
        tuple(h.ids_T.tolist())
        for seed in (0, 1)
        for found in search(engine, source, SearchOptions(seed=seed, **options))
        for h in found
    ]
    assert len(set(outputs)) == len(outputs) == 8
    assert all(len(set(ids)) > 4 for ids in outputs)  # and every step its own number


def test_the_keyed_numbers_are_uniform_and_independent() -> None:
    first = uniform(7, np.arange(100_000), 0, 0)
    assert first.min() >= 0 and first.max() < 1
    counts, _ = np.histogram(first, bins=100, range=(0, 1))
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert 60 < chi_square < 150
    for other in (
        uniform(8, np.arange(100_000), 0, 0),
        uniform(7, np.arange(100_000), 1, 0),
        uniform(7, np.arange(100_000), 0, 1),
        uniform(7, np.arange(1, 100_001), 0, 0),
    ):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.015


# ---- batches, options, candidates, unknown words, maps


@given(SEEDS, st.sampled_from(MODES), st.integers(1, 5))
def test_batches_keep_the_order_of_the_input(seed, mode, batch_size) -> None:
    engine = random_engine(seed)
    source = source_of(*SENTENCES)
    options = SearchOptions(max_length=5, **mode)
    prefixes = [np.array([4 + b % 3]) for b in range(len(SENTENCES))]
    whole = search(engine, source, options, prefixes=prefixes)
    parts = decode_in_batches(engine, source, options, batch_size=batch_size, prefixes=prefixes)
    for one, other in zip(whole, parts, strict=True):
        same(one, other)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"beam": 0}, "`beam` (0) must be at least 1."),
        ({"beam": 5, "nbest": 7}, "`nbest` (7) must not exceed `beam` (5)."),
        ({"sample": True, "beam": 4}, "`sample` and `beam` (4) exclude each other."),
        ({"temperature": 0.0}, "`temperature` (0.0) must be above 0."),
        ({"top_p": 0.0}, "`top_p` (0.0) must be above 0 and at most 1."),
        ({"length_penalty": "gmnt"}, "`length_penalty` ('gmnt') must be one of none, average"),
        ({"length_alpha": -0.1}, "`length_alpha` (-0.1) must be at least 0."),
        ({"coverage_penalty": float("nan")}, "`coverage_penalty` (nan) must be at least 0."),
        ({"forbidden": (EOS,)}, "`forbidden` holds the end symbol; no output could ever end."),
    ],
)
def test_options_say_what_is_wrong(options, text) -> None:
    with pytest.raises(UsageError) as refused:
        SearchOptions(**options)
    assert refused.value.message.startswith(text)


@given(SEEDS, st.integers(1, 40), st.booleans())
def test_candidates_are_sorted_with_ties_in_the_order_of_ids(seed, top, ties) -> None:
    width = 37
    logprobs_NV = np.stack([random_logprobs(seed, width, ties=ties)(n, ()) for n in range(5)])
    banned = (0, 2, 36)
    ids_NK, values_NK = best_candidates(logprobs_NV, Ask(top=top, banned=banned))
    for n in range(5):
        free = [i for i in range(width) if i not in banned]
        expected = sorted(free, key=lambda i: (-logprobs_NV[n, i], i))[:top]
        real = ~np.isneginf(values_NK[n])
        assert ids_NK[n][real].tolist() == expected
        np.testing.assert_array_equal(values_NK[n][real], logprobs_NV[n, expected])


def test_candidates_of_a_wide_vocabulary_keep_the_order_of_ties() -> None:
    values = np.random.default_rng(5)
    logprobs_NV = values.integers(-60, 0, size=(40, 997)).astype(np.float32)
    logprobs_NV[:, ::9] += values.random(111, dtype=np.float32)
    ids_NK, _ = best_candidates(logprobs_NV, Ask(top=23))
    for row_V, ids_K in zip(logprobs_NV, ids_NK, strict=True):
        assert ids_K.tolist() == sorted(range(997), key=lambda i: (-row_V[i], i))[:23]


@pytest.mark.parametrize("mode", MODES)
def test_alternatives_may_be_more_than_the_beam(mode) -> None:
    engine = random_engine(9)
    found = search(engine, source_of(*SENTENCES), SearchOptions(alternatives=5, **mode))
    for sentence, hypotheses in zip(SENTENCES, found, strict=True):
        for h in hypotheses:
            for t, ids_K in enumerate(h.alternatives_TK):
                truth_V = engine.logprobs(sentence[0], tuple(h.ids_T[:t].tolist()))
                free = [i for i in range(7) if i not in (PAD, BOS)]
                assert ids_K.tolist() == sorted(free, key=lambda i: -truth_V[i])


def test_unknown_words_are_replaced_by_what_they_attend_to() -> None:
    weights_TS = np.array(
        [
            [0.1, 0.7, 0.1, 0.1],
            [0.2, 0.1, 0.1, 0.6],  # mostly the end column: the best *word* counts
            [0.4, 0.4, 0.1, 0.1],  # a tie: the first
            [0.0, 0.0, 0.0, 1.0],  # no word at all
            [0.0, 1.0, 0.0, 0.0],
        ]
    )
    ids_T = [UNK, UNK, UNK, UNK, 9]
    symbols_T = ["<unk>", "<unk>", "<unk>", "<unk>", "nine"]
    source = ["고양이", "Oslo", "x"]
    found = replace_unknown(ids_T, symbols_T, source, weights_TS, {"고양이": "cat"})
    assert found == ["Oslo", "cat", "cat", "<unk>", "nine"]
    assert replace_unknown([9], ["<unk>"], source, None) == ["<unk>"]  # a word spelt so
    assert replace_unknown([UNK], ["<unk>"], [], np.ones((1, 1))) == ["<unk>"]
    with pytest.raises(UsageError, match="this model has no attention"):
        replace_unknown([UNK], ["<unk>"], source, None)


@pytest.mark.parametrize("mode", MODES)
def test_every_map_belongs_to_its_hypothesis_and_is_trimmed(mode) -> None:
    def scores(name, prefix, length):
        return planted_weights(77)(name, prefix, length)

    def read(name, prefix, length):
        return planted_weights(78)(name, prefix, 2)

    def itself(name, prefix, length):
        return planted_weights(79)(name, prefix, len(prefix) + 1)

    def engine_of(width: int) -> ScriptedEngine:
        specs = (
            MapSpec("scores", "TS", "cross", "before the softmax"),
            MapSpec("read", "TN", "read", "memory"),
            MapSpec("self", "TT", "decoder", "self-attention"),
        )
        maps = {"scores": scores, "read": read, "self": itself}
        engine = random_engine(6, 7)
        return ScriptedEngine(engine.logprobs, engine.weights, 7, specs, maps)

    source = source_of(*SENTENCES)
    found = search(engine_of(7), source, SearchOptions(maps=True, max_length=5, **mode))
    for sentence, hypotheses in zip(SENTENCES, found, strict=True):
        for h in hypotheses:
            ids, name = tuple(h.ids_T.tolist()), sentence[0]
            steps = range(len(ids))
            np.testing.assert_array_equal(
                h.maps["scores"], [scores(name, ids[:t], len(sentence)) for t in steps]
            )
            assert h.maps["self"].shape == (len(ids), len(ids))
            for t in steps:
                np.testing.assert_array_equal(h.maps["self"][t, : t + 1], itself(name, ids[:t], 0))
                assert h.maps["read"][t, :2].tolist() == read(name, ids[:t], 0).tolist()


def test_the_average_rank_is_the_score_per_token() -> None:
    engine = random_engine(2)
    options = SearchOptions(length_penalty="average", max_length=5)
    for (h,) in search(engine, source_of(*SENTENCES), options):
        assert h.rank_score == h.score / length_penalty(np.array([len(h.ids_T)]), options)[0]
