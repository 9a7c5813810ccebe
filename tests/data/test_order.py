"""Order is a function: a bijection without memory, windows, budgets, resume, workers."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jumok.data.counter import below, draw, key
from jumok.data.order import Cursor, Permutation, Plan, permutation
from jumok.errors import ConfigError


def lengths(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    source = 2 + below(key("s", seed), np.arange(n), 37)
    return source, 1 + below(key("t", seed), np.arange(n), 23)


def plan_of(n: int, **options: int) -> Plan:
    source, target = lengths(n)
    return Plan(source_lengths=source, target_lengths=target, **{"seed": 3, **options})


@given(st.integers(1, 3000), st.integers(0, 2**40), st.integers(0, 1000))
@settings(max_examples=100)
def test_a_permutation_is_a_bijection(n: int, seed: int, epoch: int) -> None:
    images = permutation(n, seed, epoch)(np.arange(n))
    assert np.array_equal(np.sort(images), np.arange(n))


def test_a_permutation_gives_the_same_image_one_by_one_and_all_at_once() -> None:
    walk = permutation(10_007, 5, 2)
    assert [int(walk(np.array(i))) for i in range(500)] == walk(np.arange(500)).tolist()


def test_a_permutation_of_more_rows_than_memory_holds_stays_inside_and_never_meets_itself() -> None:
    n = 10**12 + 39
    images = permutation(n, 1, 0)(np.arange(n - 20_000, n))
    assert images.min() >= 0 and images.max() < n
    assert len(np.unique(images)) == 20_000


def test_every_place_of_a_small_permutation_gets_every_row_about_as_often() -> None:
    n, tries = 7, 2100
    counts = np.zeros((n, n))
    for seed in range(tries):
        counts[np.arange(n), permutation(n, seed, 0)(np.arange(n))] += 1
    chi_square = ((counts - tries / n) ** 2 / (tries / n)).sum()
    assert chi_square < 66.2  # (n - 1)^2 = 36 degrees of freedom, p = 0.0015


def test_neighbours_do_not_stay_neighbours() -> None:
    images = permutation(100_003, 0, 0)(np.arange(100_003))
    gaps = np.abs(np.diff(images))
    assert (gaps < 100).mean() < 0.004  # about 0.002 by chance
    assert abs(np.corrcoef(np.arange(100_003), images)[0, 1]) < 0.01


def test_seeds_and_epochs_give_different_orders() -> None:
    orders = {tuple(permutation(31, s, e)(np.arange(31))) for s in range(5) for e in range(5)}
    assert len(orders) == 25


def test_an_index_outside_is_refused() -> None:
    with pytest.raises(IndexError, match=r"outside \[0, 5\)"):
        Permutation(5, 0)(np.array([5]))


BUDGETS = [{"batch_tokens": 257}, {"batch_size": 7}, {"batch_tokens": 257, "batch_size": 5}]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("n", [1, 2, 101, 1009])
def test_an_epoch_has_every_row_exactly_once(n: int, budget: dict[str, int]) -> None:
    rows = np.concatenate(list(plan_of(n, window=101, **budget).epoch(4)))
    assert np.array_equal(np.sort(rows), np.arange(n))


@given(
    st.integers(1, 400), st.integers(1, 150), st.integers(1, 50), st.integers(1, 120), st.integers()
)
@settings(max_examples=60)
def test_no_batch_exceeds_its_budget_and_none_could_take_the_next_row(
    n: int, tokens: int, size: int, window: int, seed: int
) -> None:
    source, target = lengths(n, seed % 100)
    plan = Plan(
        source_lengths=source,
        target_lengths=target,
        seed=seed,
        batch_tokens=tokens,
        batch_size=size,
        window=window,
    )

    def padded(rows: np.ndarray) -> int:
        return len(rows) * int(source[rows].max() + target[rows].max())

    for w in range(plan.num_windows):
        parts = plan.batches_of(0, w)
        for rows in parts:
            assert len(rows) <= size and (padded(rows) <= tokens or len(rows) == 1)
        turn = np.where(source % 2, target, -target)
        order = sorted(parts, key=lambda rows: (source[rows[0]], turn[rows[0]]))
        by_length = np.concatenate(order)
        assert np.all(np.diff(source[by_length]) >= 0)
        at = 0
        for rows in islice(order, len(order) - 1):
            at += len(rows)
            longer = by_length[at - len(rows) : at + 1]
            assert len(longer) > size or padded(longer) > tokens


def test_batches_hold_rows_of_like_length() -> None:
    plan = plan_of(5003, batch_tokens=503)
    source, target = plan.source_lengths, plan.target_lengths
    batches = list(plan.epoch(0))
    real = sum(int((source[r] + target[r]).sum()) for r in batches)
    padded = sum(len(r) * int(source[r].max() + target[r].max()) for r in batches)
    assert real / padded > 0.94
    shuffled = permutation(5003, 0, 0)(np.arange(5003))
    blocks = np.array_split(shuffled, len(batches))
    at_random = sum(len(r) * int(source[r].max() + target[r].max()) for r in blocks)
    assert real / at_random < 0.75


def test_batches_of_a_window_do_not_come_in_the_order_of_length() -> None:
    plan = plan_of(2003, batch_size=7)
    firsts = [int(plan.source_lengths[rows[0]]) for rows in plan.batches_of(0, 0)]
    assert abs(np.corrcoef(np.arange(len(firsts)), firsts)[0, 1]) < 0.25


def test_windows_and_epochs_shuffle_their_batches_each_in_its_own_way() -> None:
    lengths = np.arange(1, 304)
    plan = Plan(source_lengths=lengths, target_lengths=lengths, seed=1, batch_size=7, window=101)
    ways = {
        tuple(np.argsort([rows[0] for rows in map(np.sort, plan.batches_of(epoch, window))]))
        for epoch in range(3)
        for window in range(3)
    }
    assert len(ways) == 9


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_nth_batch_follows_from_its_number_alone(budget: dict[str, int]) -> None:
    plan = plan_of(1009, window=101, **budget)
    walked = list(plan.epoch(2))
    assert len(plan.epoch(2)) == len(walked)
    for n in (0, 3, len(walked) // 2, len(walked) - 1, -1):
        assert np.array_equal(plan.batch(2, n), walked[n])
    with pytest.raises(IndexError, match=f"batch {len(walked)} of {len(walked)}"):
        plan.batch(2, len(walked))


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_run_goes_on_from_three_integers(budget: dict[str, int]) -> None:
    plan = plan_of(307, window=101, **budget)
    linear = list(islice(plan.after(Cursor(0, 0, 0)), 200))
    for stop in (0, 1, 17, 60, 150):
        cursor, _ = linear[stop]
        for (at, rows), (at_again, again) in zip(
            linear[stop + 1 :], plan.after(Cursor(*map(int, cursor))), strict=False
        ):
            assert at == at_again and np.array_equal(rows, again)
    epochs = [list(plan.epoch(e)) for e in range(3)]
    walked = [rows for epoch in epochs for rows in epoch][:200]
    assert all(np.array_equal(a, rows) for a, (_, rows) in zip(walked, linear, strict=False))


def test_a_cursor_names_the_batch_of_a_number() -> None:
    plan = plan_of(307, window=101, batch_tokens=257)
    epoch = plan.epoch(1)
    for n, rows in enumerate(epoch):
        _, first = next(plan.after(epoch.cursor(n)))
        assert np.array_equal(first, rows)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_workers_share_the_same_batches_whatever_their_number(workers: int) -> None:
    plan = plan_of(499, window=101, batch_tokens=257)
    alone = list(plan.epoch(0))
    shared: list[np.ndarray | None] = [None] * len(alone)
    for worker in range(workers):
        for k, rows in enumerate(plan.epoch(0).part(worker, workers)):
            shared[worker + k * workers] = rows
    assert all(r is not None and np.array_equal(r, a) for r, a in zip(shared, alone, strict=True))
    late = list(plan.epoch(0).part(1 % workers, workers, start=11))
    numbers = [n for n in range(11, len(alone)) if n % workers == 1 % workers]
    assert all(np.array_equal(a, alone[n]) for a, n in zip(late, numbers, strict=True))


def test_epochs_meet_the_rows_in_different_orders_and_company() -> None:
    plan = plan_of(1009, window=257, batch_tokens=257)
    first, second = (list(map(tuple, plan.epoch(e))) for e in range(2))
    assert len(set(first) & set(second)) < 5


def test_a_row_longer_than_the_budget_travels_alone() -> None:
    lengths = np.array([3, 5, 1000, 4])
    plan = Plan(source_lengths=lengths, target_lengths=lengths, seed=0, batch_tokens=40)
    batches = sorted(map(tuple, map(np.sort, plan.epoch(0))), key=len)
    assert batches[0] == (2,) and np.sort(batches[1]).tolist() == [0, 1, 3]


def test_the_order_is_the_same_whatever_the_process() -> None:
    code = (
        "import numpy as np; from jumok.data.order import permutation;"
        "print(permutation(1009, 7, 1)(np.arange(9)).tolist())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        ).stdout
        for env in (
            {"PYTHONHASHSEED": str(s), "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
            for s in (1, 2)
        )
    }
    assert runs == {f"{permutation(1009, 7, 1)(np.arange(9)).tolist()}\n"}


def test_draws_are_what_they_were_when_runs_were_first_written() -> None:
    assert draw(12345, np.arange(3)).tolist() == DRAWN
    assert key("rows", 7, 1) == KEY
    assert key("a", 1) != key("a", "1") != key("a1") and key(1, 2) != key(2, 1)


DRAWN = [9181273600784299031, 11955459565186857841, 7611106097332906752]
KEY = 6027603412636469850


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "a plan needs `batch_tokens`, `batch_size` or both."),
        ({"batch_size": 0}, "`batch_size` must be at least 1, but is 0."),
        ({"batch_size": 1, "window": -1}, "`window` must be at least 1, but is -1."),
    ],
)
def test_a_plan_says_what_it_lacks(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan_of(11, **options)
    assert str(error.value) == message


def test_a_plan_refuses_lengths_that_do_not_match() -> None:
    with pytest.raises(ConfigError, match="3 source lengths, but 2 target lengths"):
        Plan(source_lengths=np.ones(3), target_lengths=np.ones(2), seed=0, batch_size=1)
    with pytest.raises(ConfigError, match="no row"):
        Plan(source_lengths=np.ones(0), target_lengths=np.ones(0), seed=0, batch_size=1)


@pytest.mark.release
def test_an_index_of_a_billion_pairs_opens_and_resumes_at_once(tmp_path: Path) -> None:
    rows = 10**9
    path = tmp_path / "offsets"
    with open(path, "wb") as file:
        file.truncate(8 * (rows + 1))  # sparse: lengths read as 0
    code = f"""
import re, time
import numpy as np
from pathlib import Path
from jumok.data.arrays import RowLengths, map_numbers
from jumok.data.order import Cursor, Plan
start = time.process_time()
offsets, release = map_numbers(Path({str(path)!r}), np.dtype("<i8"))
view = RowLengths(offsets, release)
plan = Plan(source_lengths=view, target_lengths=view, seed=1, batch_size=64)
opened = time.process_time()
next(plan.after(Cursor(0, 0, 0)))
first = time.process_time()
next(plan.after(Cursor(3, int(0.9 * plan.num_windows), 17)))
resumed = time.process_time()
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
print(opened - start, first - opened, resumed - first, peak)
"""
    env = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    opened, first, resumed, peak = map(float, ran.stdout.split())
    print(f"open {opened:.3f} s, first {first:.3f} s, resume {resumed:.3f} s, {peak:.0f} MiB")
    assert max(opened, first, resumed) < 1 and peak < 500


def test_planning_a_million_rows_is_quick() -> None:
    plan = plan_of(1_000_000, batch_tokens=4096)
    start = time.process_time()
    count = len(plan.epoch(0))
    assert count > 5_000 and time.process_time() - start < 5  # measured: 0.3 s
