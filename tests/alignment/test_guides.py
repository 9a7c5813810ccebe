"""Links beside training pairs: from words to the model's symbols, into batches, by file:line."""

from __future__ import annotations

import numpy as np
import pytest

from jumok.alignment.guide import Guides, guides, links_array, symbol_links
from jumok.alignment.links import Links
from jumok.data.building import build_codec
from jumok.data.encoded import PairCodec, collate, encode_all
from jumok.errors import DataError
from jumok.records import Token

PAIRS = [("the cat sat", "고양이가 앉았다"), ("no, no", "아니 아니"), ("a", "b c")]


def codec_of(unit: str = "character", tags: str | None = None) -> PairCodec:
    sources, targets = [s for s, _ in PAIRS], [t for _, t in PAIRS]
    if tags:
        sources = [f"{s}\tN;PL" for s in sources]
    return build_codec(sources, targets, source_unit=unit, target_unit=unit, tags=tags)


def linked(codec: PairCodec, pair: tuple[str, str], text: str) -> set[tuple[str, str]]:
    sides = [(pair[0], codec.source_tokens(pair[0])), (pair[1], codec.target_tokens(pair[1]))]
    found = symbol_links(text, *sides)
    return {(sides[0][1][s].text, sides[1][1][t].text) for s, t in found}


def test_a_link_between_words_joins_all_their_letters_and_no_space() -> None:
    found = linked(codec_of(), PAIRS[0], "1-0")
    assert found == {(s, t) for s in "cat" for t in "고양이가"}


def test_every_unit_lies_on_its_words() -> None:
    assert linked(codec_of("space"), PAIRS[0], "1-0 2-1") == {
        ("cat", "고양이가"),
        ("sat", "앉았다"),
    }
    jamo = linked(codec_of("jamo"), PAIRS[2], "0-1")
    assert jamo == {("a", "c")}
    pieces = linked(codec_of("word"), PAIRS[1], "0-0")
    assert {s.strip("\uffed") for s, _ in pieces} == {"no", ","}, "the comma is of its word"


def test_tags_in_front_are_no_words() -> None:
    codec = codec_of(tags=";")
    assert linked(codec, ("a\tN;PL", "b c"), "0-1") == {("a", "c")}
    sides = [("a\tN", codec.source_tokens("a\tN")), ("b", codec.target_tokens("b"))]
    with pytest.raises(DataError, match="outside the source, which has 1 words"):
        symbol_links("1-0", *sides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-0 x", r"f:7: 'x' is not a link"),
        ("0p1", r"f:7: '0p1' is a possible link"),
        ("3-0", r"f:7: the link 3-0 points outside the source, which has 3 words \(0 to 2\)"),
        ("0-2", r"f:7: the link 0-2 points outside the target, which has 2 words"),
    ],
)
def test_a_bad_link_is_named_by_its_line(text: str, message: str) -> None:
    codec, (source, target) = codec_of(), PAIRS[0]
    sides = (source, codec.source_tokens(source)), (target, codec.target_tokens(target))
    with pytest.raises(DataError, match=message) as error:
        symbol_links(text, *sides, where="f:7")
    assert "points" not in message or "links_count symbol" in str(error.value)
    assert symbol_links("10-7", *sides, counted="symbol") == {(10, 7)}
    with pytest.raises(DataError, match="which has 11 symbols"):
        symbol_links("11-7", *sides, counted="symbol")


def test_batches_carry_the_links_of_their_own_rows() -> None:
    """Against the array that guide.py made of links before: the same numbers."""
    codec = codec_of()
    data = encode_all(codec, PAIRS)
    links: list[Links] = [
        frozenset({(0, 0), (2, 0), (5, 3)}),
        frozenset(),
        frozenset({(0, 2), (0, 0)}),
    ]
    guided = guides(links)
    for rows in ([0, 1, 2], [2, 0], [1]):
        batch = guided.beside(collate(data, rows, source_multiple=8), np.array(rows))
        lengths = [[len(t) for t in PAIRS[r]] for r in rows]
        expected = links_array(
            [links[r] for r in rows],
            [s for s, _ in lengths],
            [t for _, t in lengths],
            shape=(batch.target_out_BT.shape[1], batch.source.ids_BS.shape[1]),
        )
        assert batch.links_BTS.dtype == np.float32
        assert np.array_equal(batch.links_BTS, expected)
    batch = guided.beside(collate(data, [0]), np.array([0]))
    sums = batch.links_BTS[0].sum(axis=1)
    assert sums[0] == sums[3] == 1 and sums[1] == 0, "a symbol without links has no row"
    assert isinstance(guided, Guides) and len(guided.links) == 3


def test_a_symbol_of_two_words_lies_on_the_first() -> None:
    tokens = [Token("a b", 0, 3), Token("</s>", 3, 3, special=True)]
    assert symbol_links("0-0", ("a b", tokens), ("a b", tokens)) == {(0, 0)}
    assert symbol_links("1-1", ("a b", tokens), ("a b", tokens)) == frozenset()
