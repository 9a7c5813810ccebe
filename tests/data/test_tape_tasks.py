"""The five tasks on tapes, by hand: what goes in where, what must come out, the best guess."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jumok.data.tasks.tape_data import TapeBatch, TapeTask, bit_errors
from jumok.data.tasks.tapes import (
    TAPE_TASKS,
    AssociativeRecall,
    Copy,
    NGrams,
    PrioritySort,
    RepeatCopy,
    best_guess,
    tape_task,
)
from jumok.errors import ConfigError, UsageError

NUMBERS = np.arange(200)
every_task = pytest.mark.parametrize("task", [make() for make in TAPE_TASKS.values()], ids=str)


def test_copy() -> None:
    """Words, a mark on channel 9, then as many blanks as there were words."""
    for number in range(50):
        inputs, targets, mask = Copy().tape(number)
        length = (len(mask) - 1) // 2
        assert 1 <= length <= 20 and inputs.shape == (2 * length + 1, 9)
        assert set(np.unique(inputs)) <= {0, 1}
        assert inputs[:, 8].tolist() == [0] * length + [1] + [0] * length
        assert not inputs[length + 1 :].any() and not inputs[length, :8].any()
        assert (targets[length + 1 :] == inputs[:length, :8]).all()
        assert mask.tolist() == [False] * (length + 1) + [True] * length
    drawn = Copy().lengths(np.arange(2000))
    assert sorted(set(drawn)) == [2 * n + 1 for n in range(1, 21)]
    assert abs(np.mean((drawn - 1) / 2) - 10.5) < 0.5
    ones = np.mean([Copy().tape(n).targets_TF.sum() / (8 * (drawn[n] - 1) / 2) for n in range(300)])
    assert abs(ones - 0.5) < 0.03


def test_repeat_copy() -> None:
    """The mark carries the number of times, normalised; an end mark on a channel of its own."""
    times_seen = set()
    for number in range(300):
        inputs, targets, mask = RepeatCopy().tape(number)
        [at] = np.flatnonzero(inputs[:, 8])
        times = round(float(inputs[at, 8]) * 8.25**0.5 + 5.5)
        times_seen.add((at, times))
        assert len(mask) == at + 1 + at * times + 1 and not inputs[at + 1 :].any()
        for k in range(times):
            said = targets[at + 1 + k * at : at + 1 + (k + 1) * at]
            assert (said[:, :8] == inputs[:at, :8]).all() and not said[:, 8].any()
        assert targets[-1].tolist() == [0] * 8 + [1]
        assert mask.tolist() == [False] * (at + 1) + [True] * (at * times + 1)
    assert {n for n, _ in times_seen} == {m for _, m in times_seen} == set(range(1, 11))
    # mean 0 and variance 1 over 1 .. 10, and the same number beyond it
    marks = [(m - 5.5) / 8.25**0.5 for m in range(1, 11)]
    assert abs(np.mean(marks)) < 1e-12 and abs(np.var(marks) - 1) < 1e-12
    more = RepeatCopy(times=(20, 20)).tape(0).inputs_TI[:, 8].max()
    assert more == pytest.approx(14.5 / 8.25**0.5)


def test_associative_recall() -> None:
    for number in range(100):
        inputs, targets, mask = AssociativeRecall().tape(number)
        items = (len(mask) - 8) // 4
        assert 2 <= items <= 6
        assert np.flatnonzero(inputs[:, 6]).tolist() == [4 * n for n in range(items)]
        assert np.flatnonzero(inputs[:, 7]).tolist() == [4 * items, 4 * items + 4]
        assert not inputs[inputs[:, 6:].any(axis=1), :6].any()
        said = [inputs[4 * n + 1 : 4 * n + 4, :6].tolist() for n in range(items + 1)]
        asked = said.index(said[items])
        assert asked < items - 1  # the last item has nothing after it
        assert targets[-3:].tolist() == said[asked + 1]
        assert mask.tolist() == [False] * (len(mask) - 3) + [True] * 3
        assert not inputs[-3:].any()


def test_items_of_a_tape_all_differ() -> None:
    """Two of two bits leave four items, and a tape of four has each of them once."""
    task = AssociativeRecall(items=(4, 4), item_length=1, bits=3)
    for number in range(50):
        items = task.tape(number).inputs_TI[1:8:2, :3]
        assert len({tuple(item) for item in items.tolist()}) == 4


def test_ngrams() -> None:
    """What is asked is the next bit, from the sixth on; each tape has a table of its own."""
    inputs, targets, mask = NGrams().tape(3)
    assert inputs.shape == targets.shape == (199, 1)
    assert (inputs[1:] == targets[:-1]).all()
    assert mask.tolist() == [False] * 4 + [True] * 195
    # bits after the same context are alike within a tape: the chance is Beta(1/2, 1/2), whose
    # mean of p^2 + (1 - p)^2 is 3/4, where a fair coin has 1/2
    alike = []
    for number in range(200):
        bits = NGrams().tape(number).inputs_TI[:, 0].astype(int)
        after: dict[tuple[int, ...], list[int]] = {}
        for t in range(5, 199):
            after.setdefault(tuple(bits[t - 5 : t]), []).append(int(bits[t]))
        alike += [b[0] == b[1] for b in after.values() if len(b) > 1]
    assert abs(np.mean(alike) - 0.75) < 0.03


def test_the_best_guess_counts_each_context() -> None:
    """(n_1 + 1/2) / (n_0 + n_1 + 1), worked out for contexts of one bit."""
    bits = np.array([0, 1, 0, 1, 1, 0])
    # after 0: never seen; after 1: never; after 0: a 1 came once; after 1: a 0 came once; after 1:
    # a 0 and a 1; after 0: a 1 twice
    expected = [1 / 2, 1 / 2, 1.5 / 2, 0.5 / 2, 1.5 / 3, 2.5 / 3]
    assert best_guess(bits, context=1).tolist() == pytest.approx(expected)
    assert best_guess(bits, context=5)[:4].tolist() == [0.5] * 4


def test_nobody_beats_the_best_guess_who_knows_less() -> None:
    """In bits a tape: below fair coins, and below the same with a longer or a shorter context."""

    def cost(context: int) -> float:
        bits = []
        for number in range(60):
            inputs, targets, mask = NGrams().tape(number)
            ones = best_guess(inputs[:, 0], context)
            said = np.where(targets[:, 0] > 0, ones, 1 - ones)
            bits.append(-np.log2(said[mask]).sum())
        return float(np.mean(bits))

    right = cost(5)
    assert right < cost(4) < 195 and right < cost(7) < 195
    assert 120 < right < 145


def test_priority_sort() -> None:
    inputs, targets, mask = PrioritySort().tape(5)
    assert inputs.shape == (37, 10) and targets.shape == (37, 8)
    priorities = inputs[:20, 8]
    assert (np.abs(priorities) <= 1).all() and priorities.min() < 0 < priorities.max()
    ranked = sorted(range(20), key=lambda n: -priorities[n])
    assert (targets[21:] == inputs[ranked[:16], :8]).all()
    assert inputs[20].tolist() == [0] * 9 + [1] and not inputs[21:].any()
    assert mask.tolist() == [False] * 21 + [True] * 16


@every_task
def test_a_tape_is_a_function_of_seed_part_and_number(task: TapeTask) -> None:
    one = task.tape(7, seed=1)
    for other, same in (
        (task.tape(7, seed=1), True),
        (task.tape(8, seed=1), False),
        (task.tape(7, seed=2), False),
        (task.tape(7, seed=1, part="test"), False),
    ):
        alike = one.inputs_TI.shape == other.inputs_TI.shape
        assert (alike and bool((one.inputs_TI == other.inputs_TI).all())) == same


@every_task
def test_a_batch_is_its_tapes_padded(task: TapeTask) -> None:
    batch = task.batch(NUMBERS[:9], seed=4)
    steps = task.lengths(NUMBERS[:9], seed=4)
    assert batch.inputs_BTI.shape == (9, steps.max(), task.channels[0])
    assert batch.targets_BTF.shape == (9, steps.max(), task.channels[1])
    for row in range(9):
        tape = task.tape(row, seed=4)
        for whole, part in zip(
            (batch.inputs_BTI, batch.targets_BTF, batch.target_mask_BT), tape, strict=True
        ):
            assert (whole[row, : steps[row]] == part).all()
            assert not whole[row, steps[row] :].any()


@every_task
def test_what_lies_beyond_has_the_same_channels(task: TapeTask) -> None:
    for harder in task.beyond().values():
        assert harder.channels == task.channels
    assert bool(task.beyond()) == (task.name in ("copy", "repeat-copy", "associative-recall"))


def test_errors_are_counted_where_the_output_counts() -> None:
    targets = np.array([[[1, 0], [1, 1], [0, 0]], [[0, 1], [1, 0], [1, 1]]], np.float32)
    mask = np.array([[False, True, True], [True, True, False]])
    batch = TapeBatch(
        inputs_BTI=np.zeros((2, 3, 1)),
        targets_BTF=targets,
        target_mask_BT=mask,
        example_B=np.arange(2),
    )
    logits = np.array([[[-9, 9], [2, -1], [-1, 3]], [[-3, 1], [0, -2], [-9, -9]]])
    assert bit_errors(logits, batch).tolist() == [2, 1]  # a logit of 0 says 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Copy(lengths_drawn=(0, 3)),
            "`lengths_drawn` must go from 1 or more, low to high, but is (0, 3).",
        ),
        (
            lambda: AssociativeRecall(items=(1, 3)),
            "`items` must go from 2 or more, low to high, but is (1, 3).",
        ),
        (
            lambda: replace(AssociativeRecall(), item_length=1, bits=2),
            "6 items that all differ do not fit into 1 times 2 bits.",
        ),
        (
            lambda: NGrams(length=5),
            "`context` (5) must be at least 0 and below `length` (5).",
        ),
        (
            lambda: PrioritySort(given=3),
            "`asked` (16) must be at least 1 and at most `given` (3).",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.message == message


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        tape_task("repeat_copy")
    assert "'repeat_copy'. Did you mean repeat-copy?" in caught.value.message
