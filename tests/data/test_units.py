"""The rule that chooses a unit, on made-up columns of each kind."""

from __future__ import annotations

import pytest

from jumok.data.counter import below, key
from jumok.data.tasks import addition, dates
from jumok.data.units import LARGEST, SMALLEST, choose_unit


def words(count: int, size: int, alphabet: str) -> list[str]:
    import numpy as np

    picks = below(key("words", size), np.arange(count * size), len(alphabet)).reshape(count, size)
    return ["".join(alphabet[i] for i in row) for row in picks.tolist()]


def sentences(count: int, alphabet: str = "abcdefghijklmnopq") -> list[str]:
    some = words(count, 5, alphabet)
    return [" ".join(some[(7 * i + k) % count] for k in range(12)) for i in range(count)]


SYLLABLES = "".join(chr(0xAC00 + 28 * i) for i in range(300))
COLUMNS = {
    "phones": (["k ae t", "d aa g z", "ax"] * 50, "space"),
    "digits apart": (["3 1 2", "4 4"] * 9, "space"),
    "letters apart": ([" ".join(w) for w in words(900, 4, SYLLABLES)], "space"),
    "words": (words(500, 7, "abcdef"), "character"),
    "many words": (words(20_000, 7, "abcdef"), "character"),
    "sums": (list(addition(300, dev=1, test=1).train.sources), "character"),
    "dates": (list(dates(300, dev=1, test=1).train.sources), "character"),
    "dates of one language": (
        list(dates(900, languages="ko", dev=1, test=1).train.sources),
        "character",
    ),
    "dates filled up with spaces": (
        [f"{1 + i % 12}/{1 + i % 28}/{i % 90 + 10}".ljust(29) for i in range(900)],
        "character",
    ),
    "rare syllables": (words(500, 3, SYLLABLES), "jamo"),
    "common syllables": (words(500, 3, SYLLABLES[:20]), "character"),
    "sentences": (sentences(3000), "bpe"),
    "few sentences": (sentences(90), "character"),
    "long lines without spaces": (words(2000, 80, SYLLABLES), "bpe"),
    "nothing": ([], "character"),
    "empty texts": (["", ""], "character"),
    "one letter": (["a"], "character"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_each_kind_of_text_gets_its_unit_and_a_reason(name: str) -> None:
    texts, unit = COLUMNS[name]
    choice = choose_unit(texts)
    assert choice.unit == unit
    assert (choice.size is None) == (unit != "bpe")
    assert 20 < len(choice.reason) < 200 and choice.reason.isprintable()


def test_the_number_of_pieces_grows_with_the_text_within_bounds() -> None:
    thousand, ten_thousand = choose_unit(sentences(2000)), choose_unit(sentences(20_000))
    assert thousand.size == SMALLEST
    assert ten_thousand.size == 2000  # 240,000 words, a hundred uses each, in steps of 500
    huge = choose_unit(sentences(3000) * 100)
    assert huge.size == LARGEST or huge.size == 36_000 // 500 * 500


def test_the_choice_does_not_depend_on_the_order_of_rows() -> None:
    texts = [*sentences(2000), *words(2000, 7, "abc")]
    assert choose_unit(texts)[:2] == choose_unit(texts[::-1])[:2]
