"""Intervals: known values, coverage, determinism, and agreement with exact distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jumok.evaluation import compare, score, wilson
from jumok.evaluation.intervals import percentile, resample


def binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def test_wilson_gives_the_known_interval_of_eight_in_ten() -> None:
    low, high = wilson(8, 10)
    assert low == pytest.approx(0.4901625, abs=1e-6)
    assert high == pytest.approx(0.9433178, abs=1e-6)


def test_wilson_keeps_a_width_where_nothing_or_everything_is_right() -> None:
    z2 = 1.959963984540054**2
    assert wilson(1000, 1000) == (pytest.approx(1000 / (1000 + z2)), 1.0)
    assert wilson(0, 1000) == (0.0, pytest.approx(z2 / (1000 + z2)))
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("n", "p"), [(53, 0.9), (53, 0.5), (211, 0.98)])
def test_wilson_covers_the_truth_about_95_times_in_100(n: int, p: float) -> None:
    covered = sum(
        binomial(n, k, p) for k in range(n + 1) if wilson(k, n)[0] <= p <= wilson(k, n)[1]
    )
    assert 0.93 <= covered <= 0.98


def test_scores_report_wilson_and_keep_the_bootstrap_beside_it() -> None:
    rows = [str(i) for i in range(31)]
    scores = score(rows, rows, [[r] for r in rows])
    assert scores.exact_match_interval == wilson(31, 31)
    assert scores.intervals["exact_match"] == (1.0, 1.0)  # the blindness Wilson is there for


def test_the_bootstrap_of_exact_match_has_the_binomials_quantiles() -> None:
    n, right = 103, 37
    matches = np.array([[float(i < right)] for i in range(n)])
    sums = resample(matches, seed=1, resamples=20_000)[:, 0]
    cumulative = np.cumsum([binomial(n, k, right / n) for k in range(n + 1)])
    low, high = percentile(sums)
    assert abs(low - np.searchsorted(cumulative, 0.025)) <= 1
    assert abs(high - np.searchsorted(cumulative, 0.975)) <= 1
    assert sums.mean() == pytest.approx(right, abs=0.2)


def test_every_resample_draws_as_many_rows_as_there_are() -> None:
    ones = np.ones((13, 2))
    assert (resample(ones, seed=0, resamples=97) == 13).all()
    assert resample(ones, seed=0, resamples=97).shape == (97, 2)


def test_drawing_in_chunks_changes_no_shape_or_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jumok.evaluation.intervals.DRAWS_AT_ONCE", 30)
    sums = resample(np.ones((13, 1)), seed=0, resamples=7)  # 2 resamples at once, the last alone
    assert sums.shape == (7, 1)
    assert (sums == 13).all()


def test_the_seed_decides_and_nothing_else_does() -> None:
    rows = [str(i) for i in range(41)]
    outputs = [r if i % 3 else "wrong" for i, r in enumerate(rows)]
    a, b, c = (score(rows, outputs, [[r] for r in rows], seed=s).intervals for s in (0, 0, 1))
    assert a == b
    assert a != c


def test_no_resamples_means_no_bootstrap_but_still_wilson() -> None:
    scores = score(["s"], ["a"], [["a"]], resamples=0)
    assert scores.intervals == {}
    assert scores.exact_match_interval == wilson(1, 1)


def test_more_rows_narrow_the_interval() -> None:
    def width(n: int) -> float:
        outputs = ["ab" if i % 2 else "xb" for i in range(n)]
        low, high = score(["s"] * n, outputs, [["ab"]] * n).intervals["cer"]
        return high - low

    assert width(400) < width(100) / 1.5


def test_identical_systems_do_not_differ() -> None:
    found = compare(["a", "b"], ["a", "b"], [["a"], ["c"]], resamples=53)
    for delta in found.deltas.values():
        assert delta.delta == 0
        assert delta.interval == (0.0, 0.0)
        assert (delta.better, delta.p) == (None, 1.0)


def test_a_system_better_in_every_row_always_wins() -> None:
    right = [f"row {i} is right" for i in range(11)]
    wrong = [f"zzz {i} qq" for i in range(11)]
    found = compare(right, wrong, [[r] for r in right], resamples=99)
    for name, delta in found.deltas.items():
        assert delta.better == "first", name
        assert delta.p == 1 / 100, name
    assert found.deltas["cer"].delta < 0 < found.deltas["chrf"].delta


def test_exchanging_the_systems_turns_the_differences_round() -> None:
    a = ["a b c d e", "x y z w", "k", "m n o p q"]
    b = ["a b c d f", "x y z w", "l", "m n o p"]
    gold = [["a b c d e"], ["x y z w v"], ["l"], ["m n o p"]]
    ab, ba = compare(a, b, gold, resamples=4000), compare(b, a, gold, resamples=4000)
    for name, delta in ab.deltas.items():
        other = ba.deltas[name]
        assert delta.delta == -other.delta
        width = delta.interval.high - delta.interval.low
        assert delta.interval.low == pytest.approx(-other.interval.high, abs=0.1 * width)
        assert delta.p == pytest.approx(other.p, abs=0.05)
        assert {delta.better, other.better} in ({"first", "second"}, {None})


def test_the_share_of_lost_resamples_is_the_exact_probability() -> None:
    # One row of two is won, the other tied: no win where the won row is never drawn, 1 in 4.
    found = compare(["a", "b"], ["x", "b"], [["a"], ["b"]], resamples=4000)
    assert found.deltas["exact_match"].p == pytest.approx(0.25, abs=0.03)


def test_pairing_sees_a_difference_that_two_intervals_hide() -> None:
    n = 200
    rows = [f"{i:03d}" for i in range(n)]
    first = [r if i % 2 else "-" for i, r in enumerate(rows)]
    second = [r if i % 2 and i > 15 else "-" for i, r in enumerate(rows)]
    gold = [[r] for r in rows]
    delta = compare(first, second, gold).deltas["exact_match"]
    assert delta.interval.low > 0
    a, b = (score(rows, system, gold).exact_match_interval for system in (first, second))
    assert a.low < b.high


def test_the_comparison_does_not_depend_on_the_order_of_rows() -> None:
    a, b, gold = ["a", "b", "cd", "e"], ["a", "x", "c", "f"], [["a"], ["b"], ["cd"], ["f"]]
    turned = (list(reversed(x)) for x in (a, b, gold))
    assert compare(a, b, gold) == compare(*turned)


def test_the_comparison_table_names_systems_and_method() -> None:
    lines = compare(["a", "b"], ["a", "x"], [["a"], ["b"]]).table(("new", "old"))
    assert "new" in lines[0]
    assert "+50.00" in lines[1]
    assert "paired bootstrap over 2 rows" in lines[-1]


def test_unequal_systems_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="There are 1 other hypotheses but 2 references"):
        compare(["a", "b"], ["a"], [["a"], ["b"]])
    with pytest.raises(ValueError, match=r"`resamples` \(0\) must be 1 or more"):
        compare(["a"], ["a"], [["a"]], resamples=0)
