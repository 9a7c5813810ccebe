"""The three-way split: by source, stable, and of a size that a written rule fixes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jumok.data.corpus import Corpus
from jumok.data.split import Rates, default_rate, position
from jumok.data.text import loose_key
from jumok.errors import DataError, UsageError

QUICK = settings(max_examples=30, deadline=None, derandomize=True)


def corpus(count: int, repeats: int = 1) -> Corpus:
    pairs = [(f"source {i}", f"target {r}") for i in range(count) for r in range(repeats)]
    return Corpus.of(pairs, "pairs.tsv")


def sides(data: Corpus, seed: int = 0, **sizes: float) -> dict[str, str]:
    parts = zip(("train", "dev", "test"), data.split(seed, **sizes), strict=True)
    return {source: side for side, part in parts for source in part.sources}


@QUICK
@given(st.integers(-5, 10**12), st.integers(1, 3))
def test_no_source_is_on_two_sides_and_no_row_is_lost(seed: int, repeats: int) -> None:
    data = corpus(199, repeats)
    parts = data.split(seed)
    keys = [{loose_key(s) for s in part.sources} for part in parts]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])
    rows = sorted(pair for part in parts for pair in part.pairs())
    assert rows == sorted(data.pairs())


def test_sources_that_differ_in_case_space_or_form_stay_together() -> None:
    variants = [("Café 7", "a"), ("café  7", "b"), ("CAFE\u0301 7", "c")]
    data = Corpus.of([*variants, *corpus(200).pairs()], normalisation="none")
    for seed in range(20):
        side = sides(data, seed)
        assert len({side[source] for source, _ in variants}) == 1


def test_the_order_of_rows_does_not_matter() -> None:
    data = corpus(503)
    shuffled = data.pairs()
    random.Random(7).shuffle(shuffled)
    assert sides(data) == sides(Corpus.of(shuffled))


def test_rows_added_leave_every_source_where_it_was() -> None:
    before = sides(corpus(601))
    after = sides(corpus(1201))
    assert all(after[source] == side for source, side in before.items())


def test_a_smaller_rate_only_moves_held_out_sources_to_train() -> None:
    large, small = sides(corpus(997), dev=0.2, test=0.2), sides(corpus(997), dev=0.05, test=0.1)
    for source, side in small.items():
        assert side in ("train", large[source])
    assert len(set(small.values())) == 3


def test_the_size_of_dev_does_not_disturb_test() -> None:
    first, second = sides(corpus(997), dev=0.1), sides(corpus(997), dev=0.3)
    assert {s for s, side in first.items() if side == "test"} == {
        s for s, side in second.items() if side == "test"
    }


def test_another_seed_splits_otherwise() -> None:
    assert sides(corpus(503), 0) != sides(corpus(503), 1)


def test_positions_are_spread_evenly() -> None:
    found = sorted(position(f"source {i}", 3) for i in range(10_007))
    worst = max(abs(u - i / len(found)) for i, u in enumerate(found))
    assert worst < 1.95 / len(found) ** 0.5  # Kolmogorov-Smirnov, one in a thousand


@pytest.mark.parametrize(
    ("count", "rate"),
    [(50, 0.2), (499, 0.2), (500, 0.1), (50_000, 0.1), (50_001, 0.05), (1_000_000, 0.003125)],
)
def test_the_default_rate_follows_the_written_rule(count: int, rate: float) -> None:
    assert default_rate(count) == rate
    assert rate * count <= 5_000


def test_sizes_are_numbers_of_sources_shares_or_none() -> None:
    train, dev, test = corpus(2003, repeats=2).split(dev=300, test=0.05)
    assert abs(len(dev) / 2 - 300) < 60
    assert abs(len(test) / 2 - 100) < 40
    train, dev, test = corpus(30).split(dev=0, test=0)
    assert (len(train), len(dev), len(test)) == (30, 0, 0)


def test_a_stream_is_split_as_the_corpus_is() -> None:
    data = corpus(307)
    rates = data.rates()
    assert {s: rates.side(s, 5) for s in data.sources} == sides(data, 5)


def test_parts_remember_where_their_rows_were_read() -> None:
    data = corpus(211)
    for part in data.split():
        for example in part:
            row = int(example.where.removeprefix("pairs.tsv:")) - 1
            assert (example.source, example.target) == data.pairs()[row]
    assert [p.name for p in data.split()] == [
        "pairs.tsv [train]",
        "pairs.tsv [dev]",
        "pairs.tsv [test]",
    ]


def test_too_few_sources_are_refused_with_what_to_do() -> None:
    with pytest.raises(DataError, match="49 distinct sources are too few to split; at least 50"):
        corpus(49, repeats=3).split()
    with pytest.raises(DataError, match="--dev FILE"):
        corpus(49).split()
    corpus(50).split()


def test_a_side_that_comes_out_empty_is_an_error() -> None:
    with pytest.raises(DataError, match="the split leaves no row for dev"):
        corpus(60).split(dev=0.0001, test=0.2)


@pytest.mark.parametrize("sizes", [{"dev": 100}, {"test": 1.0}, {"dev": 0.5, "test": 0.5}])
def test_sizes_that_leave_nothing_to_train_on_are_refused(sizes) -> None:
    with pytest.raises(UsageError, match="train on"):
        corpus(100).split(**sizes)


def test_rates_alone_are_checked_too() -> None:
    with pytest.raises(UsageError, match="leave nothing to train on"):
        Rates(dev=0.6, test=0.4)
