"""Progress of a run: plain lines off a terminal, a bar on one, events as JSON lines."""

from __future__ import annotations

import json
import math
import os
import sys

import pytest

from jumok.interfaces.cli.progress import Progress
from jumok.training.events import Done, Resumed, SaveFailed, Skipped, Step, Validation


def step(number: int, *, loss: float = 2.5, left: float = 65.0) -> Step:
    return Step(
        step=number,
        epoch=0.5,
        loss=loss,
        nll=loss,
        rate=1e-3,
        norm=1.0,
        tokens=300,
        fraction=0.25,
        seconds=2.0 * number,
        seconds_left=left,
    )


VALIDATION = Validation(step=7, epoch=1.0, scores={"exact_match": 0.5}, chosen=True)
DONE = Done(step=9, epoch=1.5, reason="time", chosen_step=7, score=0.5)


def test_off_a_terminal_lines_have_loss_speed_and_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress() as progress:
        progress(step(1))
    out, said = capsys.readouterr()
    assert out == ""
    assert said == " 25%  step 1  loss 2.5000  150 symbols/s  about 1:05 left\n"


def test_off_a_terminal_lines_about_steps_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        for number in range(1, 50):
            progress(step(number))
        progress(VALIDATION)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1] == "epoch 1.0, step 7: exact_match 0.5  (best so far)"


def test_what_cannot_be_told_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress(step(1, loss=math.nan, left=math.inf))
    assert capsys.readouterr().err == " 25%  step 1  loss nan  150 symbols/s  \n"


def test_every_other_event_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress(Resumed(step=3, folder="runs/x", notes=("another thread count",)))
        progress(Skipped(step=4, reason="loss", rows=(1, 2)))
        progress(SaveFailed(step=5, message="no space left"))
        progress(DONE)
        progress.tell("a sentence")
    assert capsys.readouterr().err.splitlines() == [
        "going on from step 3 of runs/x",
        "  another thread count",
        "step 4 skipped: loss not finite (2 rows)",
        "could not save: no space left; training goes on",
        "its time is up: stopped at epoch 1.5; the model of step 7 was chosen",
        "a sentence",
    ]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=True) as progress:
        progress(step(1))
        progress(DONE)
        progress.tell("a sentence")
    assert capsys.readouterr() == ("", "")


def test_events_are_json_lines_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(json=True, quiet=True) as progress:
        progress(step(1, loss=math.nan))
        progress(VALIDATION)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in found] == ["step", "validation"]
    assert all(one["schema"] == "jumok/1" for one in found)
    assert found[0]["loss"] is None
    assert found[1]["scores"] == {"exact_match": 0.5}


def test_a_watcher_that_leaves_does_not_stop_the_run() -> None:
    read, write = os.pipe()
    os.close(read)
    saved = os.dup(1)
    pipe = os.fdopen(os.dup(write), "w")
    before, sys.stdout = sys.stdout, pipe
    try:
        with Progress(json=True, quiet=True) as progress:
            progress(step(1))
            progress(step(2))
    finally:
        sys.stdout = before
        os.dup2(saved, 1)
        os.close(write)
        os.close(saved)
        pipe.close()


def test_on_a_terminal_there_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with Progress() as progress:
        progress(step(1))
        progress(DONE)
    said = capsys.readouterr().err
    assert "about 1:05 left" in said
    assert "25%" in said
    assert said.rstrip().endswith("the model of step 7 was chosen")


def test_the_speed_of_a_resumed_run_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """2,000 s lie before the interruption; 300 symbols in each 2 s after it are 150 a second."""
    with Progress() as progress:
        progress(Resumed(step=1000, folder="runs/x", notes=()))
        progress(step(1001))
        progress._last_line = -math.inf
        progress(step(1003))
    said = capsys.readouterr().err.splitlines()
    assert "symbols/s" not in said[1]
    assert "75 symbols/s" in said[2]
