"""Links out of planted maps, and pieces merged into words: cell by cell."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from traces_helper import cut, end_of, planted, trace_of

from jumok.alignment import from_trace, from_weights, merge_spans, merge_words, word_spans
from jumok.errors import UsageError
from jumok.records import AttentionMap, AttentionTrace, Token

# A source with combining marks, one token per grapheme, two code points in some of them.
MARKED = ("e\u0301", "t", "a\u0302", " ", "g\u0303", "o", "한")
SOURCE, TARGET = "".join(MARKED), "xyzuvwq"


def marked_trace(seed: int, peak: float = 0.7) -> tuple[AttentionTrace, list[int]]:
    """A permutation of the seven source graphemes, the end looking at the end."""
    order = list(range(7))
    random.Random(seed).shuffle(order)
    source = (*cut(SOURCE, MARKED), end_of(SOURCE))
    target = (*cut(TARGET, list(TARGET)), end_of(TARGET))
    return trace_of(SOURCE, source, TARGET, target, planted([*order, 7], 8, peak)), order


@given(seed=st.integers(0, 5000), method=st.sampled_from(["argmax", "source-argmax", "mutual"]))
def test_a_planted_permutation_comes_back_link_by_link(seed: int, method: str) -> None:
    trace, order = marked_trace(seed)
    assert from_trace(trace, method) == {(s, t) for t, s in enumerate(order)}


@given(seed=st.integers(0, 5000))
def test_a_threshold_takes_every_cell_above_it(seed: int) -> None:
    trace, order = marked_trace(seed, peak=0.6)
    assert from_trace(trace, "threshold") == {(s, t) for t, s in enumerate(order)}
    assert from_trace(trace, "threshold", threshold=0.6) == frozenset()
    assert len(from_trace(trace, "threshold", threshold=0.01)) == 49


def test_links_are_source_then_target() -> None:
    trace = trace_of("ab", cut("ab", "ab"), "xyz", cut("xyz", "xyz"), [[0, 1], [0, 1], [1, 0]])
    assert from_trace(trace) == {(1, 0), (1, 1), (0, 2)}


def test_the_end_symbols_never_become_links() -> None:
    source, target = (*cut("ab", "ab"), end_of("ab")), (*cut("xy", "xy"), end_of("xy"))
    weights = [[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.9, 0.1, 0.0]]
    trace = trace_of("ab", source, "xy", target, weights)
    assert from_trace(trace) == {(0, 1)}  # x looks at the end: aligned with nothing
    assert from_trace(trace, end="skip") == {(1, 0), (0, 1)}
    assert from_trace(trace, "source-argmax") == {(1, 1)}  # a is looked at most by the end
    assert from_trace(trace, "source-argmax", end="skip") == {(0, 1), (1, 1)}
    assert from_trace(trace, "threshold", threshold=0.0) == {(0, 0), (1, 0), (0, 1), (1, 1)}


def test_special_symbols_in_front_do_not_shift_the_numbers() -> None:
    source = (Token("<2ko>", 0, 0, special=True), *cut("ab", "ab"))
    trace = trace_of("ab", source, "x", cut("x", "x"), [[0.1, 0.2, 0.7]])
    assert from_trace(trace) == {(1, 0)}


def test_ties_go_left_and_empty_rows_nowhere() -> None:
    assert from_weights(np.array([[0.5, 0.5], [0.0, 0.0]])) == {(0, 0)}
    assert from_weights(np.zeros((0, 3))) == frozenset()
    assert from_weights(np.zeros((3, 0))) == frozenset()


def test_another_map_can_be_chosen_by_name() -> None:
    trace = trace_of("ab", cut("ab", "ab"), "x", cut("x", "x"), [[1, 0]])
    head = AttentionMap(name="layer2/head1", kind="cross", values_TS=np.array([[0.0, 1.0]]))
    trace = replace(trace, maps=(*trace.maps, head))
    assert from_trace(trace) == {(0, 0)}
    assert from_trace(trace, name="layer2/head1") == {(1, 0)}
    with pytest.raises(UsageError, match=r"no map 'layer2/head2'.*Did you mean layer2/head1\?"):
        from_trace(trace, name="layer2/head2")


def test_a_model_without_attention_is_said_to_have_no_links() -> None:
    trace = AttentionTrace(source_text="a", target_text="b", source=(), target=())
    with pytest.raises(UsageError, match="this trace has no attention map, so it has no links"):
        from_trace(trace)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "argmin"}, r"`method` \('argmin'\) must be one of argmax.*Did you mean argmax"),
        ({"level": "letter"}, r"`level` \('letter'\) must be 'token' or 'word'"),
        ({"end": "keep"}, r"`end` \('keep'\) must be 'null' or 'skip'"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, str], message: str) -> None:
    trace, _ = marked_trace(0)
    with pytest.raises(UsageError, match=message):
        from_trace(trace, **options)  # type: ignore[arg-type]


def word_trace() -> AttentionTrace:
    """ "나는 cats" -> "I am cat" in letters and pieces, numbers chosen to be added by hand."""
    source, target = "나는 cats", "I am cat"
    source_tokens = (*cut(source, ["나", "는", " ", "cat", "s"]), end_of(source))
    target_tokens = (*cut(target, ["I", " ", "a", "m", "cat"]), end_of(target))
    weights = [
        [0.40, 0.20, 0.10, 0.10, 0.10, 0.10],
        [0.00, 0.00, 1.00, 0.00, 0.00, 0.00],
        [0.10, 0.30, 0.00, 0.40, 0.20, 0.00],
        [0.30, 0.50, 0.00, 0.00, 0.00, 0.20],
        [0.00, 0.10, 0.20, 0.30, 0.40, 0.00],
        [0.00, 0.00, 0.00, 0.00, 0.00, 1.00],
    ]
    trace = trace_of(source, source_tokens, target, target_tokens, weights)
    return replace(trace, logprobs_T=np.array([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]))


def test_pieces_merge_by_sum_to_and_mean_from_the_word() -> None:
    merged = merge_words(word_trace())
    assert [t.text for t in merged.source] == ["나는", "cats", "</s>"]
    assert [t.text for t in merged.target] == ["I", "am", "cat", "</s>"]
    expected = [
        [0.60, 0.30, 0.10],  # the space belongs to the word after it
        [0.60, 0.30, 0.10],  # mean of a and m; the row of the space does not count
        [0.10, 0.90, 0.00],
        [0.00, 0.00, 1.00],
    ]
    assert merged.weights_TS is not None
    np.testing.assert_allclose(merged.weights_TS, expected, atol=1e-12)
    assert [(t.start, t.end) for t in merged.source] == [(0, 2), (3, 7), (7, 7)]


def test_log_probabilities_are_summed_and_alternatives_dropped() -> None:
    alternatives = ((("x", -0.1),),) * 6
    trace = replace(word_trace(), alternatives=alternatives)
    merged = merge_words(trace)
    assert merged.logprobs_T is not None
    np.testing.assert_allclose(merged.logprobs_T, [-1, -9, -5, -6])
    assert merged.alternatives == ()
    assert merge_words(trace, target=False).alternatives == alternatives


def test_word_links_number_words_as_split_does() -> None:
    links = from_trace(word_trace(), level="word")
    assert links == {(0, 0), (0, 1), (1, 2)}
    assert word_trace().source_text.split()[1] == "cats"


def test_one_side_may_be_left_in_pieces() -> None:
    merged = merge_words(word_trace(), target=False)
    assert len(merged.target) == 6
    assert len(merged.source) == 3
    assert merged.weights_TS is not None
    np.testing.assert_allclose(merged.weights_TS[1], [0, 1, 0])


def test_encoder_decoder_and_memory_maps_merge_along_their_own_sides() -> None:
    source, target = "ab c", "xy"
    maps = (
        AttentionMap(
            name="e", kind="encoder", values_TS=np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]])
        ),
        AttentionMap(name="d", kind="decoder", values_TS=np.array([[1.0, 0.0], [0.5, 0.5]])),
        AttentionMap(name="r", kind="read", values_TS=np.array([[1.0, 0, 0, 0], [0, 0, 0, 1.0]])),
        AttentionMap(name="s", kind="source_write", values_TS=np.eye(3, 4)),
    )
    trace = trace_of(
        source, cut(source, "abc"), target, cut(target, "xy"), np.full((2, 3), 1 / 3), *maps
    )
    merged = {m.name: m.values_TS for m in merge_words(trace).maps}
    np.testing.assert_allclose(merged["e"], [[0.5, 0.5], [1, 0]])
    np.testing.assert_allclose(merged["d"], [[0.75, 0.25]])  # the start symbol, then the word
    np.testing.assert_allclose(merged["r"], [[0.5, 0, 0, 0.5]])
    np.testing.assert_allclose(merged["s"], [[0.5, 0.5, 0, 0], [0, 0, 1, 0]])


def test_a_decoders_columns_are_what_it_had_read() -> None:
    """Rows are x, y, z and the end; columns the start symbol, x, y and z; "xy z" has two words."""
    own = np.array([[1, 0, 0, 0], [0.4, 0.6, 0, 0], [0.2, 0.5, 0.3, 0], [0.1, 0.2, 0.3, 0.4]])
    maps = AttentionMap(name="d", kind="decoder", values_TS=own)
    target = (*cut("xy z", "xyz"), end_of("xy z"))
    trace = trace_of("a", cut("a", "a"), "xy z", target, np.ones((4, 1)), maps)
    merged = merge_words(trace)
    assert [token.text for token in merged.target] == ["xy", "z", "</s>"]
    expected = [[0.7, 0.3, 0], [0.2, 0.8, 0], [0.1, 0.5, 0.4]]  # columns: start, xy, z
    np.testing.assert_allclose(merged.maps[1].values_TS, expected)


def test_a_map_that_fits_no_side_is_refused() -> None:
    odd = AttentionMap(name="odd", kind="encoder", values_TS=np.ones((2, 2)))
    trace = trace_of("abc", cut("abc", "abc"), "x", cut("x", "x"), np.ones((1, 3)), odd)
    with pytest.raises(UsageError, match=r"the map 'odd' has shape \(2, 2\), which does not fit 3"):
        merge_words(trace)


def test_jamo_of_one_syllable_become_that_syllable() -> None:
    text = "한글"
    jamo = [Token(j, i, i + 1) for i, js in enumerate(("ㅎㅏㄴ", "ㄱㅡㄹ")) for j in js]
    trace = trace_of(text, jamo, "xy", cut("xy", "xy"), planted([4, 1], 6, 0.5))
    merged = merge_spans(trace, source_spans=[(0, 1), (1, 2)])
    assert [t.text for t in merged.source] == ["한", "글"]
    assert from_trace(merged) == {(1, 0), (0, 1)}


def test_a_piece_over_two_words_is_shared_by_both() -> None:
    text = "ab cd"
    tokens = (Token("ab c", 0, 4), Token("d", 4, 5))
    trace = trace_of(text, tokens, "x", cut("x", "x"), [[0.6, 0.4]])
    merged = merge_words(trace)
    assert merged.weights_TS is not None
    np.testing.assert_allclose(merged.weights_TS, [[0.3, 0.7]])


def test_trailing_spaces_and_texts_of_spaces_lose_no_weight() -> None:
    trailing = trace_of("a ", cut("a ", "a "), "x", cut("x", "x"), [[0.3, 0.7]])
    merged = merge_words(trailing)
    assert merged.weights_TS is not None
    np.testing.assert_allclose(merged.weights_TS, [[1.0]])
    blank = trace_of("  ", cut("  ", "  "), "x", cut("x", "x"), [[0.3, 0.7]])
    merged = merge_words(blank)
    assert merged.weights_TS is not None
    np.testing.assert_allclose(merged.weights_TS, [[1.0]])


def test_a_span_that_no_token_covers_keeps_its_number() -> None:
    trace = trace_of(
        "a b c", (Token("a", 0, 1), Token("c", 4, 5)), "x", cut("x", "x"), [[0.2, 0.8]]
    )
    merged = merge_words(trace)
    assert merged.weights_TS is not None
    np.testing.assert_allclose(merged.weights_TS, [[0.2, 0.0, 0.8]])
    assert from_trace(trace, level="word") == {(2, 0)}


def test_a_word_that_only_a_space_stands_for_has_the_spaces_row() -> None:
    target = "a b"
    trace = trace_of("xy", cut("xy", "xy"), target, cut(target, "a "), [[0.9, 0.1], [0.2, 0.8]])
    merged = merge_words(trace, source=False)
    assert merged.weights_TS is not None
    np.testing.assert_allclose(merged.weights_TS, [[0.9, 0.1], [0.2, 0.8]])


PIECES = st.lists(st.text("ab 가e\u0301", min_size=1, max_size=4), min_size=1, max_size=8)


@given(source=PIECES, target=PIECES, seed=st.integers(0, 1000))
def test_merged_rows_sum_to_one_whatever_the_cuts(
    source: list[str], target: list[str], seed: int
) -> None:
    source_text, target_text = "".join(source), "".join(target)
    source_tokens = (*cut(source_text, source), end_of(source_text))
    target_tokens = (*cut(target_text, target), end_of(target_text))
    weights = np.random.default_rng(seed).dirichlet(
        np.ones(len(source_tokens)), size=len(target_tokens)
    )
    trace = trace_of(source_text, source_tokens, target_text, target_tokens, weights)
    merged = merge_words(trace)
    assert merged.weights_TS is not None
    np.testing.assert_allclose(merged.weights_TS.sum(axis=1), 1.0, atol=1e-12)
    words = source_text.split() or [source_text]
    assert [t.text for t in merged.source if not t.special] == words


def test_words_are_where_split_finds_them() -> None:
    text = " 나는  I\u0301t\u3000am "
    assert [text[a:b] for a, b in word_spans(text)] == text.split()
