"""Agreement with gold, the measures of a map, and links that guide: hand-computed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from traces_helper import cut, end_of, planted, trace_of

from jumok.alignment import (
    agreement,
    aligned_pair,
    diagonal,
    from_weights,
    links_array,
    mean_shape,
    parse_links,
    shape_of,
    spread,
)
from jumok.alignment.measures import shape_of_weights
from jumok.errors import DataError, UsageError
from jumok.records import AttentionTrace


def letters_trace(source: str, target: str, weights_TS: np.ndarray) -> AttentionTrace:
    """One token a letter and an end symbol on both sides."""
    return trace_of(
        source,
        (*cut(source, source), end_of(source)),
        target,
        (*cut(target, target), end_of(target)),
        weights_TS,
    )


def test_silent_letters_leave_the_target_and_move_its_positions() -> None:
    gold = aligned_pair("phone", "f-on-")
    assert (gold.target, gold.positions) == ("fon", (0, 2, 3))


def test_texts_that_do_not_stand_side_by_side_are_refused() -> None:
    with pytest.raises(UsageError, match="'ab' has 2 symbols and 'x' has 1"):
        aligned_pair("ab", "x")


def test_the_diagonal_points_at_the_same_relative_height() -> None:
    assert diagonal(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert diagonal(2, 5).tolist() == [0, 0, 1, 1, 1]
    assert diagonal(5, 2).tolist() == [1, 3]
    assert diagonal(3, 1).tolist() == [1]


def test_agreement_and_its_controls_by_hand() -> None:
    gold = [aligned_pair("phone", "f-on-"), aligned_pair("knees", "-n-i-")]
    planted_rows = [[*gold[0].positions, 5], [1, 2, 5]]  # the second of "ni" is missed
    traces = [
        letters_trace(g.source, g.target, planted(rows, 6, 0.75))
        for g, rows in zip(gold, planted_rows, strict=True)
    ]
    found = agreement(traces, [g.positions for g in gold])
    assert found.symbols == 5
    assert found.attention == 4 / 5
    assert found.mass == pytest.approx((4 * 0.75 + 0.05) / 5)
    assert found.random == pytest.approx(1 / 5)
    # phone: diagonal 0 2 4 against 0 2 3; knees: 1 3 against 1 3
    assert found.diagonal == 4 / 5
    # The other's map at the same heights: phone reads knees' rows 0 1 1, which point at 1 2 2
    # (one right), and knees reads phone's rows 0 2, which point at 0 3 (one right).
    assert found.shuffled == 2 / 5
    assert "strongest source is gold" in found.table()[0]
    assert "80.0%" in found.table()[0]


def test_a_symbol_that_looks_at_the_end_misses() -> None:
    weights = np.array([[0.4, 0.0, 0.6], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    found = agreement([letters_trace("ab", "xy", weights)], [(0, 1)])
    assert found.attention == 0.5


def test_symbols_without_gold_are_not_counted() -> None:
    trace = letters_trace("abc", "xyz", planted([2, 0, 1, 3], 4))
    assert agreement([trace, trace], [(2, None, 0), (None, None, None)]).symbols == 2
    assert agreement([trace], [(2, None, 0)]).attention == 0.5


@given(seed=st.integers(0, 999))
def test_the_order_of_traces_changes_no_agreement(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [(5, 7), (3, 5), (2, 5), (7, 11)]
    traces, gold = [], []
    for T, S in shapes:
        weights = rng.dirichlet(np.ones(S + 1), size=T + 1)
        traces.append(letters_trace("abcdefghijk"[:S], "mnopqrs"[:T], weights))
        gold.append(rng.integers(0, S, size=T).tolist())
    order = rng.permutation(4)
    a = agreement(traces, gold)
    b = agreement([traces[i] for i in order], [gold[i] for i in order])
    for name in ("symbols", "attention", "mass", "random", "diagonal", "shuffled"):
        assert getattr(a, name) == pytest.approx(getattr(b, name))


def test_attention_that_reads_nothing_agrees_by_chance() -> None:
    rng = np.random.default_rng(0)
    traces, gold = [], []
    for _ in range(200):
        traces.append(letters_trace("abcdefg", "mnopq", rng.dirichlet(np.ones(8), size=6)))
        gold.append(rng.integers(0, 7, size=5).tolist())
    found = agreement(traces, gold)
    assert found.random == pytest.approx(1 / 7)
    for value in (found.mass, found.diagonal, found.shuffled):
        assert value == pytest.approx(1 / 7, abs=0.04)


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ([(0,)], r"gold\[0\] has 1 positions, but the trace has 2 target tokens"),
        ([(0, 2)], r"gold\[0\] has a position outside the source's 0 to 1"),
        ([(None, None)], "no target symbol with a gold position"),
        ([], "There are 1 traces but 0 gold alignments"),
    ],
)
def test_gold_that_does_not_fit_is_refused(gold: list, message: str) -> None:
    trace = letters_trace("ab", "xy", planted([0, 1, 2], 3))
    with pytest.raises(UsageError, match=message):
        agreement([trace], gold)


def test_a_sharp_diagonal_is_perfect_in_every_measure() -> None:
    shape = shape_of_weights(np.eye(5))
    assert (shape.entropy, shape.sharpness, shape.coverage) == (0.0, 1.0, 1.0)
    assert (shape.monotonicity, shape.order, shape.diagonality) == (1.0, 1.0, 1.0)


def test_a_reversed_map_runs_backwards() -> None:
    shape = shape_of_weights(np.eye(5)[::-1])
    assert (shape.monotonicity, shape.order) == (0.0, -1.0)
    assert shape.diagonality == pytest.approx(1 - (4 + 2 + 0 + 2 + 4) / 5 / 5)
    assert shape.coverage == 1.0


def test_an_even_map_is_as_spread_as_can_be() -> None:
    shape = shape_of_weights(np.full((7, 7), 1 / 7))
    assert shape.entropy == pytest.approx(math.log(7))
    assert shape.sharpness == pytest.approx(1 / 7)
    assert shape.coverage == pytest.approx(1.0)
    assert shape.diagonality == pytest.approx(1 - (7**2 - 1) / (3 * 7**2))
    assert (shape.monotonicity, shape.order) == (1.0, 0.0)  # every row ties at the left


def test_looking_at_one_place_covers_one_of_those_in_reach() -> None:
    stuck = np.zeros((3, 5))
    stuck[:, 2] = 1
    assert shape_of_weights(stuck).coverage == pytest.approx(1 / 3)
    assert shape_of_weights(np.eye(3, 5)).coverage == 1.0


def test_monotonicity_counts_neighbours_and_order_counts_pairs() -> None:
    shape = shape_of_weights(planted([0, 2, 1, 1, 4], 5))
    assert shape.monotonicity == 3 / 4
    assert shape.order == pytest.approx((7 - 2) / 10)  # twice 2 before 1; 1 and 1 tie


def test_end_symbols_and_what_they_take_are_left_out() -> None:
    weights = np.array([[0.3, 0.1, 0.6], [0.0, 0.0, 1.0], [0.2, 0.2, 0.6]])
    shape = shape_of(letters_trace("ab", "xy", weights))
    row = np.array([0.75, 0.25])
    assert shape.entropy == pytest.approx(float(-(row * np.log(row)).sum()))
    assert shape.sharpness == pytest.approx(0.75)
    assert shape.coverage == pytest.approx(1.0)  # one row left: it can cover one in all
    assert math.isnan(shape.monotonicity)
    assert math.isnan(shape.order)


def test_a_map_with_nothing_left_has_no_measures_and_no_weight_in_the_mean() -> None:
    empty = shape_of_weights(np.zeros((2, 3)))
    assert math.isnan(empty.entropy)
    assert math.isnan(empty.diagonality)
    assert mean_shape([empty, shape_of_weights(np.eye(3))]).sharpness == 1.0
    assert math.isnan(mean_shape([]).coverage)


def test_guiding_rows_are_normalised_and_the_rest_is_zero() -> None:
    array = links_array([parse_links("0-0 2-0 1-2"), parse_links("")], [3, 1], [3, 2], shape=(5, 7))
    assert array.shape == (2, 5, 7)
    assert array.dtype == np.float32
    expected = np.zeros((5, 7))
    expected[0, [0, 2]] = 0.5
    expected[2, 1] = 1
    np.testing.assert_array_equal(array[0], expected)
    assert not array[1].any()


def test_the_ends_are_linked_only_on_request() -> None:
    plain = links_array([parse_links("0-0")], [2], [3])
    ended = links_array([parse_links("0-0")], [2], [3], link_ends=True)
    assert plain.shape == ended.shape == (1, 4, 3)
    assert plain[0, 3, 2] == 0
    assert ended[0, 3, 2] == 1


@given(
    found=st.frozensets(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=9),
)
def test_guiding_links_come_back_as_links(found: frozenset[tuple[int, int]]) -> None:
    (weights_TS,) = links_array([found], [5], [7])
    assert from_weights(weights_TS, "threshold", threshold=0.0) == found
    sums = weights_TS.sum(axis=1)
    assert set(np.round(sums, 6).tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0-0 3-1",
            r"f\.tsv:9: the link 3-1 points outside the source, which has 3 symbols \(0 to 2",
        ),
        ("0-2", r"f\.tsv:9: the link 0-2 points outside the target, which has 2 symbols \(0 to 1"),
    ],
)
def test_links_beyond_their_sentence_are_refused_with_the_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        links_array([parse_links(text)], [3], [2], where=["f.tsv:9"])


def test_guiding_columns_of_unequal_length_or_a_small_shape_are_refused() -> None:
    with pytest.raises(UsageError, match="There are links for 1 sentences, 2 source lengths and 1"):
        links_array([parse_links("")], [1, 2], [1])
    with pytest.raises(
        UsageError, match=r"`shape` \(3, 3\) is too small: the batch needs \(3, 4\)"
    ):
        links_array([parse_links("")], [3], [2], shape=(3, 3))


def test_word_links_spread_over_all_their_pieces() -> None:
    pieces = spread(parse_links("0-1 2-0"), [0, 0, -1, 2], [0, 1, 1])
    assert pieces == {(0, 1), (0, 2), (1, 1), (1, 2), (3, 0)}
