"""Pharaoh text, AER by hand, symmetrisation by hand and by its laws."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jumok.alignment import (
    GoldLinks,
    Links,
    format_links,
    grow_diagonal,
    grow_diagonal_final,
    intersection,
    parse_gold,
    parse_links,
    read_gold,
    read_links,
    reverse,
    score_links,
    symmetrise,
    union,
)
from jumok.errors import DataError, UsageError

LINKS = st.frozensets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)
PAIRS = st.lists(st.tuples(LINKS, LINKS, LINKS), min_size=1, max_size=5)


def links(*pairs: tuple[int, int]) -> Links:
    return frozenset(pairs)


@given(found=LINKS, base=st.sampled_from([0, 1]))
def test_printed_links_are_read_back(found: Links, base: int) -> None:
    assert parse_links(format_links(found, base=base), base=base) == found


def test_links_are_printed_by_source_then_target_as_numbers() -> None:
    assert format_links(links((10, 0), (2, 3), (2, 1))) == "2-1 2-3 10-0"
    assert format_links(links((0, 1)), base=1) == "1-2"
    assert format_links(links()) == ""


def test_gold_tells_sure_from_possible_and_counts_from_one() -> None:
    gold = parse_gold("1-1 2p3")
    assert gold.sure == {(0, 0)}
    assert gold.possible == {(0, 0), (1, 2)}
    assert parse_gold("1-1 2p3", base=0).possible == {(1, 1), (2, 3)}


def test_a_link_both_possible_and_sure_is_sure() -> None:
    gold = parse_gold("1p1 1-1")
    assert gold.sure == gold.possible == {(0, 0)}


@pytest.mark.parametrize("text", ["0:1", "1-", "-1", "a-b", "1-2-3", "1–2", "٣-٤", "0-1,1-2"])
def test_what_is_not_a_link_is_refused_with_the_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.align"
    path.write_text(f"0-0\n{text}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.align:2: .* is not a link\."):
        read_links(path)


def test_positions_below_the_base_say_how_to_read_the_file() -> None:
    with pytest.raises(DataError, match=r"g:7: '0-1' has a position below 1.*\n.*base=0"):
        parse_gold("1-1 0-1", where="g:7")
    with pytest.raises(DataError, match="'1-0' has a position below 1"):
        parse_gold("1-0")


def test_possible_links_belong_to_gold_only() -> None:
    with pytest.raises(DataError, match="'2p3' is a possible link, which only gold has"):
        parse_links("1-1 2p3", base=1)


def test_an_empty_line_is_a_sentence_without_links(tmp_path: Path) -> None:
    path = tmp_path / "a.align"
    path.write_bytes(b"\xef\xbb\xbf0-0\n\n1-0 0-1\n")
    assert read_links(path) == [links((0, 0)), links(), links((1, 0), (0, 1))]
    assert read_links(path, reversed_sides=True)[2] == links((0, 1), (1, 0))
    path.write_bytes(b"2-0\n")
    assert read_links(path, reversed_sides=True) == [links((0, 2))]
    path.write_bytes(b"0-0\x0c1-1\r\n2-2")  # only the line feed ends a line
    assert read_links(path) == [links((0, 0), (1, 1)), links((2, 2))]
    path.write_bytes(b"")
    assert read_links(path) == []


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.gold: cannot be read: No such file"):
        read_gold(tmp_path / "none.gold")
    (tmp_path / "l1").write_bytes(b"0-0 \xff\n")
    with pytest.raises(DataError, match="l1: is not UTF-8"):
        read_links(tmp_path / "l1")


def test_other_bases_are_refused() -> None:
    with pytest.raises(UsageError, match=r"`base` \(2\) must be 0 or 1"):
        parse_links("2-2", base=2)


def test_sure_links_must_be_possible() -> None:
    with pytest.raises(UsageError, match="Every sure link must be possible too"):
        GoldLinks(sure=links((0, 0)), possible=links())


def test_aer_precision_and_recall_by_hand() -> None:
    gold = GoldLinks(sure=links((0, 0), (1, 2)), possible=links((0, 0), (1, 2), (1, 1)))
    scores = score_links([links((0, 0), (1, 1), (2, 2))], [gold])
    assert scores.aer == pytest.approx(1 - (1 + 2) / (3 + 2))
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.recall == pytest.approx(1 / 2)
    assert scores.to_dict() == {
        "aer": scores.aer,
        "precision": scores.precision,
        "recall": scores.recall,
    }


def test_aer_is_counted_over_the_corpus_not_averaged_over_sentences() -> None:
    gold = [parse_gold("1-1"), parse_gold("1-1 2-2 3-3 4p5")]
    found = [links((0, 1)), links((0, 0), (1, 1), (3, 4))]
    scores = score_links(found, gold)
    assert scores.aer == pytest.approx(1 - (2 + 3) / (4 + 4))
    assert (scores.links, scores.sure, scores.possible, scores.sentences) == (4, 4, 5, 2)


def test_any_answer_between_sure_and_possible_is_without_error() -> None:
    gold = parse_gold("1-1 2p2 3p3")
    for answer in (gold.sure, gold.possible, links((0, 0), (2, 2))):
        assert score_links([answer], [gold]).aer == 0.0


def test_no_links_miss_everything_and_claim_nothing() -> None:
    scores = score_links([links()], [parse_gold("1-1")])
    assert (scores.aer, scores.precision, scores.recall) == (1.0, 1.0, 0.0)
    nothing = score_links([links()], [parse_gold("")])
    assert (nothing.aer, nothing.precision, nothing.recall) == (0.0, 1.0, 1.0)


@given(rows=PAIRS)
def test_the_order_of_sentences_and_the_direction_change_no_figure(rows: list) -> None:
    found = [a for a, _, _ in rows]
    gold = [GoldLinks(sure=s, possible=s | p) for _, s, p in rows]
    scores = score_links(found, gold)
    assert score_links(found[::-1], gold[::-1]) == scores
    turned = [GoldLinks(sure=reverse(g.sure), possible=reverse(g.possible)) for g in gold]
    assert score_links([reverse(a) for a in found], turned) == scores
    assert 0.0 <= scores.aer <= 1.0


def test_unequal_counts_are_refused_naming_both() -> None:
    with pytest.raises(UsageError, match="There are 1 sentences with links but 2 with gold"):
        score_links([links()], [parse_gold(""), parse_gold("")])


def test_the_line_for_people_has_the_counts() -> None:
    (line,) = score_links([links((0, 0))], [parse_gold("1-1 2p2")]).table()
    assert line == (
        "AER 0.0%  precision 100.0%  recall 100.0%  (1 links, 1 sure and 2 possible in gold, "
        "1 sentences)"
    )


def test_growing_asks_for_both_ends_free_or_for_either() -> None:
    forward, backward = links((0, 0), (1, 1)), links((0, 0), (0, 1))
    assert grow_diagonal(forward, backward) == links((0, 0), (1, 1))
    assert grow_diagonal(forward, backward, free="either") == links((0, 0), (0, 1), (1, 1))


def test_growing_reaches_no_further_than_neighbours_and_final_does() -> None:
    forward, backward = links((0, 0), (1, 1), (2, 2), (5, 6)), links((0, 0), (4, 6))
    assert grow_diagonal(forward, backward) == links((0, 0), (1, 1), (2, 2))
    # The forward direction is completed first; its (5, 6) takes target 6 from (4, 6).
    assert grow_diagonal_final(forward, backward) == links((0, 0), (1, 1), (2, 2), (5, 6))
    assert (4, 6) in grow_diagonal_final(forward, backward, free="either")


@given(forward=LINKS, backward=LINKS, free=st.sampled_from(["both", "either"]))
def test_each_way_contains_the_one_before(forward: Links, backward: Links, free: str) -> None:
    narrow, wide = intersection(forward, backward), union(forward, backward)
    grown = symmetrise(forward, backward, "grow-diagonal", free=free)  # type: ignore[arg-type]
    final = symmetrise(forward, backward, "grow-diagonal-final", free=free)  # type: ignore[arg-type]
    assert narrow <= grown <= final <= wide
    assert grown == symmetrise(backward, forward, "grow-diagonal", free=free)  # type: ignore[arg-type]


@given(forward=LINKS, backward=LINKS)
def test_after_final_no_link_of_either_direction_has_free_ends(
    forward: Links, backward: Links
) -> None:
    final = grow_diagonal_final(forward, backward)
    sources, targets = {i for i, _ in final}, {j for _, j in final}
    for i, j in (forward | backward) - final:
        assert i in sources or j in targets


@given(both=LINKS)
def test_directions_that_agree_are_left_alone(both: Links) -> None:
    for method in ("intersection", "union", "grow-diagonal", "grow-diagonal-final"):
        assert symmetrise(both, both, method) == both


def test_unknown_methods_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="`method` \\('gdf'\\) must be one of intersection, union"):
        symmetrise(links(), links(), "gdf")
    with pytest.raises(UsageError, match="`free` \\('none'\\) must be 'both' or 'either'"):
        grow_diagonal(links(), links(), free="none")  # type: ignore[arg-type]
