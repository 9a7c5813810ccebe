"""Answers without training: exact, deterministic, and never better than they should be."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jumok.data.baselines import BASELINES, copy_source, most_frequent_target, nearest_source
from jumok.data.corpus import Corpus
from jumok.errors import DataError

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
TEXT = st.text(alphabet="ab가é", max_size=9)


def distance(a: str, b: str) -> int:
    """Edit distance by the textbook."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


@QUICK
@given(st.lists(TEXT, min_size=1, max_size=23), st.lists(TEXT, min_size=1, max_size=5))
def test_the_nearest_source_is_at_the_least_edit_distance(known, asked) -> None:
    train = Corpus.of([(s, s) for s in known])
    for source, found in zip(asked, nearest_source(train, asked), strict=True):
        assert distance(source, found) == min(distance(source, s) for s in train.sources)


def test_a_known_source_gets_its_most_frequent_target() -> None:
    train = Corpus.of([("cat", "1"), ("cat", "2"), ("cat", "2"), ("cut", "3")])
    assert nearest_source(train, ["cat", "cut", "cats", "cat"]) == ["2", "3", "2", "2"]


def test_the_nearest_source_does_not_depend_on_the_other_sources_asked() -> None:
    rng = random.Random(5)
    words = ["".join(rng.choices("abc", k=rng.randrange(1, 9))) for _ in range(199)]
    train = Corpus.of([(w, f"{w}!") for w in words])
    asked = ["".join(rng.choices("abc", k=rng.randrange(0, 12))) for _ in range(53)]
    together = nearest_source(train, asked)
    assert together == [nearest_source(train, [a])[0] for a in asked]


def test_copying_returns_the_sources_and_the_usual_target_is_everywhere_the_same() -> None:
    train = Corpus.of([("a", "x"), ("b", "y"), ("c", "y")])
    assert copy_source(train, ["p", ""]) == ["p", ""]
    assert most_frequent_target(train, ["p", "a", ""]) == ["y", "y", "y"]


@pytest.mark.parametrize("name", list(BASELINES))
def test_every_baseline_answers_each_source_once(name: str) -> None:
    train = Corpus.of([("a", "x"), ("b", "y")])
    assert len(BASELINES[name](train, ["a", "a", "", "zzz"])) == 4
    assert BASELINES[name](train, []) == []


@pytest.mark.parametrize("baseline", [most_frequent_target, nearest_source])
def test_an_empty_corpus_is_an_error(baseline) -> None:
    with pytest.raises(DataError, match="here: the corpus is empty"):
        baseline(Corpus.of([], "here"), ["a"])
