"""Beam search against brute force, scripted gardens and its own definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engines import (
    ScriptedEngine,
    all_sequences,
    exhaustive,
    planted_weights,
    random_engine,
    source_of,
    table,
)

from jumok.errors import JumokError, UsageError
from jumok.records import BOS, EOS, PAD, UNK
from jumok.search import SearchOptions, search
from jumok.search.beam import beam_search
from jumok.search.penalties import COVERAGE_FLOOR, coverage_penalty, length_penalty

A, B, C = 4, 5, 6
SEEDS = st.integers(0, 10**6)


def same(one, other) -> None:
    """Bit for bit: ids, scores, attention."""
    assert len(one) == len(other)
    for x, y in zip(one, other, strict=True):
        np.testing.assert_array_equal(x.ids_T, y.ids_T)
        assert x.logprobs_T.tobytes() == y.logprobs_T.tobytes()
        assert (x.score, x.rank_score, x.finished) == (y.score, y.rank_score, y.finished)
        assert (x.weights_TS is None) == (y.weights_TS is None)
        if x.weights_TS is not None:
            assert x.weights_TS.tobytes() == y.weights_TS.tobytes()


def test_a_garden_path_defeats_greedy_and_not_the_beam() -> None:
    garden = table(
        {
            (): {A: 0.6, B: 0.4},
            (A,): {A: 0.35, B: 0.35, EOS: 0.3},
            (B,): {EOS: 0.9, A: 0.1},
            (A, A): {EOS: 1.0},
            (A, B): {EOS: 1.0},
            (B, A): {EOS: 1.0},
        }
    )
    engine = ScriptedEngine(garden)
    source = source_of([9, EOS])
    (greedy,), (beam,) = (search(engine, source, SearchOptions(beam=w)) for w in (1, 2))
    assert greedy[0].ids_T.tolist() == [A, A, EOS]
    assert beam[0].ids_T.tolist() == [B, EOS]
    assert beam[0].score == pytest.approx(np.log(0.36)) and greedy[0].score < beam[0].score


@given(SEEDS, st.sampled_from(["none", "average", "gnmt"]), st.booleans(), st.integers(0, 2))
def test_a_beam_that_holds_everything_finds_what_brute_force_finds(
    seed, penalty, ties, shortest
) -> None:
    width, limit = 6, 4
    engine = random_engine(seed, width, ties=ties)
    options = exhaustive(width, limit, length_penalty=penalty, min_length=shortest)
    (found,) = search(engine, source_of([11, 12, EOS]), options)
    truth = all_sequences(engine, 11, limit, options.banned)
    assert {tuple(h.ids_T.tolist()) for h in found} == {ids for ids, _, _ in truth}
    by_ids = {ids: (total, done) for ids, total, done in truth}
    for h in found:
        total, done = by_ids[tuple(h.ids_T.tolist())]
        assert h.finished == done and h.score == pytest.approx(total, abs=1e-9)
        lp = length_penalty(np.array([len(h.ids_T)]), options)[0]
        assert h.rank_score == pytest.approx(total / lp, abs=1e-9)
    order = [(not h.finished, -h.rank_score) for h in found]
    assert order == sorted(order)


@given(SEEDS, st.sampled_from(["none", "average", "gnmt"]), st.integers(1, 5))
def test_stopping_never_costs_the_n_best(seed, penalty, nbest) -> None:
    """Law 22, with nothing pruned but what the stopping rule prunes."""
    width, limit = 6, 4
    engine = random_engine(seed, width, sharpness=3.0)
    options = exhaustive(width, limit, length_penalty=penalty, nbest=nbest)
    (found,) = search(engine, source_of([5, EOS]), options)
    truth = [s for s in all_sequences(engine, 5, limit, options.banned) if s[2]]
    ranks = sorted(
        (t / length_penalty(np.array([len(i)]), options)[0] for i, t, _ in truth), reverse=True
    )
    np.testing.assert_allclose([h.rank_score for h in found], ranks[:nbest], atol=1e-9)


def test_a_longer_better_hypothesis_is_waited_for_and_a_hopeless_one_is_not() -> None:
    slow = table(
        {
            (): {EOS: 0.30, A: 0.7},
            (A,): {B: 0.99, EOS: 0.01},
            (A, B): {EOS: 0.99, C: 0.01},
            (A, B, C): {EOS: 1.0},
        }
    )
    (found,) = search(
        engine := ScriptedEngine(slow), source_of([1, EOS]), SearchOptions(beam=2, nbest=1)
    )
    assert found[0].ids_T.tolist() == [A, B, EOS]
    assert engine.steps == 3
    quick = table({(): {EOS: 0.7, A: 0.3}, (A,): {B: 1.0}, (A, B): {B: 1.0}})
    (found,) = search(
        engine := ScriptedEngine(quick), source_of([1, EOS]), SearchOptions(beam=2, nbest=1)
    )
    assert found[0].ids_T.tolist() == [EOS] and engine.steps == 1


def test_filled_stops_where_proven_goes_on() -> None:
    late = table(
        {
            (): {EOS: 0.5, A: 0.5},
            (A,): {EOS: 0.2, B: 0.8},
            (A, B): {C: 1.0},
            (A, B, C): {EOS: 1.0},
        }
    )
    options = {"beam": 2, "length_penalty": "average"}
    source = source_of([1, EOS])
    (proven,) = search(ScriptedEngine(late), source, SearchOptions(**options))
    (filled,) = search(ScriptedEngine(late), source, SearchOptions(stop="filled", **options))
    assert proven[0].ids_T.tolist() == [A, B, C, EOS]
    assert filled[0].ids_T.tolist() == [EOS]


@given(
    SEEDS,
    st.sampled_from(["none", "average", "gnmt"]),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([0.0, 0.3]),
)
def test_a_beam_of_one_is_greedy_bit_for_bit(seed, penalty, limit, ties, beta) -> None:
    engine = random_engine(seed, 7, ties=ties)
    source = source_of([3, 4, EOS], [5, EOS], [EOS], [6, 7, 8, 9, EOS])
    options = SearchOptions(length_penalty=penalty, max_length=limit, coverage_penalty=beta)
    for one, other in zip(
        search(engine, source, options), beam_search(engine, source, options), strict=True
    ):
        same(one, other)


@given(SEEDS, st.integers(2, 6), st.sampled_from(["none", "average", "gnmt"]), st.booleans())
def test_batch_mates_and_their_order_change_nothing(seed, beam, penalty, ties) -> None:
    engine = random_engine(seed, 7, ties=ties)
    sentences = [[3, 4, EOS], [5, EOS], [EOS], [6, 7, 8, 9, EOS], [5, EOS]]
    options = SearchOptions(beam=beam, nbest=beam, length_penalty=penalty, max_length=6)
    together = search(engine, source_of(*sentences), options)
    order = np.random.default_rng(seed).permutation(len(sentences))
    shuffled = search(engine, source_of(*(sentences[i] for i in order)), options)
    for position, b in enumerate(order):
        (alone,) = search(engine, source_of(sentences[b]), options)
        same(alone, together[b])
        same(alone, shuffled[position])


@given(SEEDS, st.integers(2, 7), st.integers(1, 7), st.booleans())
def test_every_hypothesis_comes_back_with_its_own_attention_and_history(
    seed, beam, limit, ties
) -> None:
    """Planted truth: a row of weights follows from the exact prefix, so any mix-up shows."""
    engine = random_engine(seed, 7, ties=ties)
    planted = planted_weights(seed)
    sentences = [[3, 4, 9, EOS], [5, EOS], [6, 7, 8, 9, EOS]]
    options = SearchOptions(beam=beam, nbest=beam, max_length=limit, alternatives=3)
    for sentence, found in zip(
        sentences, search(engine, source_of(*sentences), options), strict=True
    ):
        assert found
        for h in found:
            ids = tuple(h.ids_T.tolist())
            assert h.weights_TS.shape == (len(ids), len(sentence))
            for t, token in enumerate(ids):
                truth_V = engine.logprobs(sentence[0], ids[:t])
                assert h.logprobs_T[t] == truth_V[token]
                row_S = planted(sentence[0], ids[:t], len(sentence))
                np.testing.assert_array_equal(h.weights_TS[t], row_S)
                np.testing.assert_array_equal(
                    h.alternative_logprobs_TK[t], truth_V[h.alternatives_TK[t]]
                )
                free_V = np.delete(truth_V, options.banned(t))
                assert h.alternative_logprobs_TK[t][0] == free_V.max()
            assert h.score == h.logprobs_T.cumsum()[-1]


@given(SEEDS, st.integers(1, 6), st.booleans())
def test_n_best_are_distinct_sorted_and_free_of_padding(seed, nbest, ties) -> None:
    engine = random_engine(seed, 9, ties=ties)
    options = SearchOptions(beam=6, nbest=nbest, max_length=5)
    for found in search(engine, source_of([3, EOS], [4, 5, EOS]), options):
        assert len({tuple(h.ids_T.tolist()) for h in found}) == len(found) == nbest
        keys = [(not h.finished, -h.rank_score) for h in found]
        assert keys == sorted(keys)
        for h in found:
            assert not {PAD, BOS} & set(h.ids_T.tolist())
            assert EOS not in h.ids_T[:-1].tolist()
            assert h.finished == (h.ids_T[-1] == EOS)


def test_ties_go_to_the_lower_id() -> None:
    level = table(
        {(): {C: 0.25, A: 0.25, B: 0.25, EOS: 0.25}, **{(x,): {EOS: 1.0} for x in (A, B, C)}}
    )
    source = source_of([1, EOS])
    for beam in (1, 2, 3, 4):
        options = SearchOptions(beam=beam, nbest=beam)
        (found,) = search(ScriptedEngine(level), source, options)
        expected = [[EOS], [A, EOS], [B, EOS], [C, EOS]]
        assert [h.ids_T.tolist() for h in found] == expected[:beam]


def test_ties_between_hypotheses_go_to_the_better_parent() -> None:
    tied = {C: 0.5, EOS: 0.5}
    rows = {(): {A: 0.5, B: 0.5}, (A,): {C: 1.0}, (B,): {C: 1.0}, (A, C): tied, (B, C): tied}
    engine = ScriptedEngine(table({**rows, (A, C, C): {EOS: 1.0}}))
    (found,) = search(engine, source_of([1, EOS]), SearchOptions(beam=2, nbest=2))
    assert [h.ids_T.tolist() for h in found] == [[A, C, EOS], [A, C, C, EOS]]


def test_a_beam_wider_than_the_vocabulary_works() -> None:
    engine = random_engine(1, 5)
    (found,) = search(engine, source_of([1, EOS]), SearchOptions(beam=50, nbest=50, max_length=2))
    truth = all_sequences(engine, 1, 2, SearchOptions().banned)
    assert len(found) == len(truth) == 7  # EOS, two that end, four cut; BOS and PAD never


def test_items_are_tiled_item_major() -> None:
    """Law 20: the hypotheses of a sentence stay together, whoever finishes first."""
    engine = random_engine(8, 9, sharpness=0.3)
    seen: list[tuple[int, ...]] = []
    select = engine.select

    def spy(cursor, rows_N):
        seen.append(tuple(cursor.names[r] for r in rows_N.tolist()))
        return select(cursor, rows_N)

    engine.select = spy  # type: ignore[method-assign]
    search(
        engine,
        source_of([3, EOS], [4, EOS], [5, EOS]),
        SearchOptions(beam=3, nbest=3, max_length=8),
    )
    assert seen and all(names == tuple(sorted(names)) for names in seen)
    assert max(map(len, seen)) == 9 and min(map(len, seen)) < 9


def test_the_length_limit_is_told_and_counts_the_end_symbol() -> None:
    endless = ScriptedEngine(lambda name, prefix: np.log(np.full(7, 1 / 7, np.float32)))
    source = source_of([1, 2, EOS], [1, EOS])
    options = SearchOptions(beam=1, length_factor=2.0, length_constant=1, min_length=99)
    found = search(endless, source, options)
    assert [(len(h[0].ids_T), h[0].finished) for h in found] == [(7, False), (5, False)]
    hard = SearchOptions(beam=3, nbest=3, max_length=4, min_length=99)
    for hypotheses in search(endless, source, hard):
        assert [(len(h.ids_T), h.finished) for h in hypotheses] == [(4, False)] * 3
    exact = table({(): {A: 1.0}, (A,): {EOS: 1.0}})
    (found,) = search(ScriptedEngine(exact), source_of([1, EOS]), SearchOptions(max_length=2))
    assert found[0].finished and found[0].ids_T.tolist() == [A, EOS]


def test_finished_outputs_come_before_cut_ones() -> None:
    # The likelier half never ends within the limit.
    halves = table({(): {A: 0.9, B: 0.1}, (A,): {A: 1.0}, (B,): {EOS: 1.0}})
    (found,) = search(
        ScriptedEngine(halves), source_of([1, EOS]), SearchOptions(beam=2, nbest=2, max_length=2)
    )
    assert [(h.ids_T.tolist(), h.finished) for h in found] == [([B, EOS], True), ([A, A], False)]


def test_length_penalties_are_the_published_ones() -> None:
    lengths = np.array([1, 7, 19])
    gnmt = SearchOptions(length_penalty="gnmt", length_alpha=0.2)
    expected = [((5 + n) / 6) ** 0.2 for n in lengths]
    np.testing.assert_allclose(length_penalty(lengths, gnmt), expected)
    np.testing.assert_array_equal(
        length_penalty(lengths, SearchOptions(length_penalty="average")), lengths
    )
    np.testing.assert_array_equal(length_penalty(lengths, SearchOptions()), 1)


def test_the_length_penalty_counts_the_end_symbol_once() -> None:
    """Law 21: frozen when finished, [A, EOS] is two tokens long."""
    short = table({(): {A: 0.5, EOS: 0.5}, (A,): {EOS: 0.6, B: 0.4}, (A, B): {EOS: 1.0}})
    options = SearchOptions(beam=3, nbest=3, length_penalty="average")
    (found,) = search(ScriptedEngine(short), source_of([1, EOS]), options)
    expected = {
        (EOS,): np.log(0.5),
        (A, EOS): np.log(0.3) / 2,
        (A, B, EOS): np.log(0.2) / 3,
    }
    assert {tuple(h.ids_T.tolist()): h.rank_score for h in found} == pytest.approx(expected)


def test_coverage_sums_over_the_target_ignores_padding_and_stays_finite() -> None:
    coverage_NS = np.array([[0.4, 1.7, 0.0, 99.0], [0.0, 0.0, 0.0, 0.0]])
    mask_NS = np.array([[True, True, True, False], [True, True, False, False]])
    found_N = coverage_penalty(coverage_NS, mask_NS, 0.5)
    expected = [
        0.5 * (np.log(0.4) + np.log(COVERAGE_FLOOR)),
        0.5 * 2 * np.log(COVERAGE_FLOOR),
    ]
    np.testing.assert_allclose(found_N, expected)


@given(SEEDS, st.sampled_from([0.2, 1.5]), st.sampled_from(["none", "gnmt"]))
def test_every_hypothesis_is_charged_for_its_own_coverage(seed, beta, penalty) -> None:
    """Law 23: recomputed from the attention that came back with it; through re-ordering."""
    engine = random_engine(seed, 7)
    sentences = [[3, 4, 9, EOS], [5, EOS]]
    options = SearchOptions(
        beam=5, nbest=5, max_length=6, coverage_penalty=beta, length_penalty=penalty
    )
    for found in search(engine, source_of(*sentences), options):
        for h in found:
            covered_S = np.clip(h.weights_TS.sum(axis=0), COVERAGE_FLOOR, 1)
            expected = h.score / length_penalty(np.array([len(h.ids_T)]), options)[0]
            assert h.rank_score == pytest.approx(expected + beta * np.log(covered_S).sum())


def test_the_coverage_penalty_prefers_the_output_that_read_everything() -> None:
    rows = {(): {A: 0.6, B: 0.4}, (A,): {EOS: 1.0}, (B,): {EOS: 1.0}}

    def weights(name, prefix, length):
        looks_on = prefix == (B,)  # writing after B it reads the second word, after A the first
        return np.array([0.0, 1.0]) if looks_on else np.array([1.0, 0.0])

    engine, source = ScriptedEngine(table(rows), weights), source_of([1, EOS])
    plain = search(engine, source, SearchOptions(beam=2))[0][0]
    covered = search(engine, source, SearchOptions(beam=2, coverage_penalty=0.2))[0][0]
    assert plain.ids_T.tolist() == [A, EOS] and covered.ids_T.tolist() == [B, EOS]
    unseen = search(engine, source, SearchOptions(beam=2, coverage_penalty=0.2, weights=False))
    assert unseen[0][0].ids_T.tolist() == [B, EOS] and unseen[0][0].weights_TS is None


def test_a_coverage_penalty_needs_attention() -> None:
    engine = ScriptedEngine(table({(): {EOS: 1.0}}))
    with pytest.raises(UsageError, match="needs attention weights, and this model has none"):
        search(engine, source_of([1, EOS]), SearchOptions(beam=2, coverage_penalty=0.2))


def test_nothing_is_asked_for_that_nobody_wants() -> None:
    engine = random_engine(3)
    (found,) = search(engine, source_of([1, EOS]), SearchOptions(beam=2, weights=False))
    assert found[0].weights_TS is None and not any(ask.weights for ask in engine.asks)


@pytest.mark.parametrize("beam", [1, 3])
def test_forbidden_symbols_are_never_written(beam) -> None:
    engine = random_engine(5, 7)
    options = SearchOptions(beam=beam, nbest=beam, forbidden=(UNK, A), max_length=5)
    for found in search(engine, source_of([1, EOS], [2, EOS]), options):
        assert not any({UNK, A, PAD, BOS} & set(h.ids_T.tolist()) for h in found)


@pytest.mark.parametrize("options", [{}, {"beam": 2}, {"sample": True}])
def test_a_dead_end_is_an_error_and_not_an_output(options) -> None:
    dead = ScriptedEngine(table({(): {A: 1.0}, (A,): {PAD: 1.0}}))
    with pytest.raises(JumokError, match=r"no allowed symbol .* at output position 1"):
        search(dead, source_of([1, EOS]), SearchOptions(**options))


@pytest.mark.parametrize("options", [{}, {"beam": 2}, {"sample": True}])
def test_nan_is_an_error_and_not_an_output(options) -> None:
    lost = ScriptedEngine(lambda name, prefix: np.full(7, np.nan, np.float32))
    with pytest.raises(JumokError, match=r"returned NaN .* at output position 0"):
        search(lost, source_of([1, EOS]), SearchOptions(**options))


def test_no_sentences_no_hypotheses() -> None:
    empty = source_of([1, EOS]).select(np.zeros(0, np.int64))
    assert search(random_engine(1), empty, SearchOptions(beam=3)) == []
