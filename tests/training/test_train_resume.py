"""A run that was stopped anywhere ends with the bits of one that was not."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import kill_server
import pytest
from torch import nn
from training_tiny import Tiny, data, flat, pairs, validate

from jumok.errors import (
    ConfigError,
    DataError,
    Interrupted,
    ModelFolderError,
    SaveError,
    UsageError,
)
from jumok.store import Disk, latest_good, list_checkpoints, open_folder
from jumok.training.events import Done, Event, Resumed, SaveFailed, Step
from jumok.training.options import Optim, Training
from jumok.training.trainer import fit

HERE = Path(__file__).parent
BASE = Training(max_epochs=3.0, log_every=1, threads=1, choose_by="likely")
COSINE = Optim(lr=1e-2, schedule="cosine")

VARIANTS: dict[str, tuple[Optim, Training]] = {
    "adamw, moving average": (COSINE, replace(BASE, ema_decay=0.9, label_smoothing=0.1)),
    "sgd with momentum, plateau": (
        Optim(name="sgd", lr=0.3, momentum=0.9, schedule="plateau", plateau_patience=1),
        replace(BASE, validate_every=4),
    ),
    "sgd, patience": (
        Optim(name="sgd", lr=1e-9),
        replace(BASE, choose_by="exact_match", max_epochs=9.0, patience=2),
    ),
    "adadelta, gathered": (Optim(name="adadelta", lr=1.0), replace(BASE, update_tokens=40)),
    "r-drop, gathered": (COSINE, replace(BASE, r_drop=5.0, label_smoothing=0.1, update_tokens=40)),
    "last three averaged, bf16": (
        COSINE,
        replace(BASE, average_last=3, validate_every=3, precision="bf16"),
    ),
}


def _fit(
    folder: Path, variant: str, score: Any = validate, *, resume: bool = True, **more: Any
) -> tuple[Done, Tiny]:
    optim, options = VARIANTS[variant]
    model = Tiny()
    options = replace(options, **more.pop("change", {}))
    done = fit(
        model, data(), score, optim=optim, options=options, folder=folder, resume=resume, **more
    )
    return done, model


def _digest(folder: Path, done: Done, model: Tiny) -> dict[str, bytes]:
    """Everything that must not depend on interruptions."""
    found = latest_good(folder)
    assert found is not None and found.rejected == ()
    parts = {name: found.folder.read(name) for name in found.folder.names}
    cursor = json.loads(parts.pop("cursor.json"))
    del cursor["counters"]["seconds"]
    log = (folder / "metrics.jsonl").read_bytes()
    return parts | {
        "cursor": json.dumps(cursor).encode(),
        "log": log,
        "model": flat(model),
        "done": repr(done).encode(),
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    kept: dict[str, dict[str, bytes]] = {}

    def of(variant: str) -> dict[str, bytes]:
        if variant not in kept:
            folder = tmp_path_factory.mktemp("undisturbed")
            kept[variant] = _digest(folder, *_fit(folder, variant, resume=False))
        return kept[variant]

    return of


def _stop_at(step: int, number: int = signal.SIGTERM) -> Callable[[Event], None]:
    """A listener that sends a signal to its own process once ``step`` was made."""

    def listen(event: Event) -> None:
        if isinstance(event, Step) and event.step == step:
            os.kill(os.getpid(), number)

    return listen


@pytest.mark.parametrize("variant", VARIANTS)
def test_stopped_at_several_steps_and_resumed_it_ends_with_the_same_bits(
    variant: str, tmp_path: Path, undisturbed: Callable[[str], dict[str, bytes]]
) -> None:
    want = undisturbed(variant)
    last = json.loads(want["cursor"])["counters"]["step"]
    stops = sorted({1, last // 3, last // 2, last - 1, last} - {0})
    for stop in stops:
        try:
            _fit(tmp_path, variant, listeners=[_stop_at(stop)])
        except Interrupted as error:
            found = latest_good(tmp_path)
            assert found is not None and found.step == stop
            assert error.hint == f"go on with: jumok train --resume {tmp_path}"
            assert str(found.folder.path) in error.message
        else:
            assert stop == last
    assert _digest(tmp_path, *_fit(tmp_path, variant)) == want


def test_every_step_may_be_the_one_it_stops_at(
    tmp_path: Path, undisturbed: Callable[[str], dict[str, bytes]]
) -> None:
    name = "adamw, moving average"
    for stop in range(1, 18):
        with pytest.raises(Interrupted):
            _fit(tmp_path, name, listeners=[_stop_at(stop)])
    assert _digest(tmp_path, *_fit(tmp_path, name)) == undisturbed(name)


@pytest.mark.parametrize("variant", ["adamw, moving average", "last three averaged, bf16"])
def test_a_signal_in_the_middle_of_a_validation_loses_nothing(
    variant: str, tmp_path: Path, undisturbed: Callable[[str], dict[str, bytes]]
) -> None:
    calls = 0

    def stopped(model: nn.Module) -> Mapping[str, float]:
        nonlocal calls
        calls += 1
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the validation went on")

    for _ in range(2):
        with pytest.raises(Interrupted, match="stopped by SIGINT after step"):
            _fit(tmp_path, variant, stopped)
    assert calls == 2
    assert _digest(tmp_path, *_fit(tmp_path, variant)) == undisturbed(variant)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_each_signal_saves_and_gives_the_line_to_go_on_with(number: int, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"stopped by {signal.Signals(number).name} after step 4"):
        _fit(tmp_path, "sgd, patience", listeners=[_stop_at(4, number)])
    assert signal.getsignal(number) == before
    found = latest_good(tmp_path)
    assert found is not None and found.step == 4


def test_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    def twice(event: Event) -> None:
        for _ in range(2):
            _stop_at(4)(event)

    with pytest.raises(Interrupted, match="stopped at once by a second signal"):
        _fit(tmp_path, "sgd, patience", listeners=[twice])
    assert latest_good(tmp_path) is None


def test_without_a_folder_a_signal_says_that_nothing_was_saved() -> None:
    with pytest.raises(Interrupted, match="after step 2 .*nothing was saved, since no folder"):
        fit(Tiny(), data(), options=BASE, listeners=[_stop_at(2)])


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    first = _digest(tmp_path, *_fit(tmp_path, "adamw, moving average"))
    names = [path for _, path in list_checkpoints(tmp_path)]
    told: list[Event] = []
    again = _fit(tmp_path, "adamw, moving average", listeners=[told.append])
    assert [type(event) for event in told] == [Resumed]
    assert _digest(tmp_path, *again) == first
    assert [path for _, path in list_checkpoints(tmp_path)] == names


def test_a_finished_run_goes_on_where_its_limit_is_raised(tmp_path: Path) -> None:
    _fit(tmp_path / "a", "sgd, patience", change={"max_epochs": 1.0, "patience": None})
    done, model = _fit(tmp_path / "a", "sgd, patience", change={"patience": None, "max_epochs": 2})
    straight, other = _fit(
        tmp_path / "b", "sgd, patience", change={"patience": None, "max_epochs": 2}
    )
    assert done == straight and done.step == 12 and flat(model) == flat(other)


def test_a_damaged_newest_checkpoint_falls_back_and_says_so(
    tmp_path: Path, undisturbed: Callable[[str], dict[str, bytes]]
) -> None:
    name = "adamw, moving average"
    for stop in (7, 11):
        with pytest.raises(Interrupted):
            _fit(tmp_path, name, listeners=[_stop_at(stop)])
    newest = list_checkpoints(tmp_path)[-1][1] / "optimizer.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    told: list[Event] = []
    ended = _fit(tmp_path, name, listeners=[told.append])
    resumed = told[0]
    assert isinstance(resumed, Resumed) and resumed.step == 7
    assert len(resumed.notes) == 1
    assert resumed.notes[0].startswith(f"passed over: {newest}: ")
    assert [step for step, _ in list_checkpoints(tmp_path)] == [12, 18]
    (aside,) = (tmp_path / "checkpoints").glob("damaged-step-00000011-*")
    assert (aside / "model.safetensors").exists()
    assert _digest(tmp_path, *ended) == undisturbed(name)


def test_a_checkpoint_is_a_model_folder(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        _fit(
            tmp_path, "sgd, patience", listeners=[_stop_at(4)], carried={"config.toml": b"a = 1\n"}
        )
    _, path = list_checkpoints(tmp_path)[-1]
    assert open_folder(path).text("config.toml") == "a = 1\n"


# --- what is refused ----------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    with pytest.raises(Interrupted):
        _fit(tmp_path, "adamw, moving average", listeners=[_stop_at(4)])
    return tmp_path


def test_a_changed_setting_is_refused_by_name(stopped: Path) -> None:
    with pytest.raises(ConfigError, match=r"`training.label_smoothing` was 0\.1 in .*step-00000004"
                       r" and is 0\.2 now"):  # fmt: skip
        _fit(stopped, "adamw, moving average", change={"label_smoothing": 0.2})
    with pytest.raises(ConfigError, match=r"`optim.lr` was 0\.01 in .* and is 0\.1 now"):
        optim, options = VARIANTS["adamw, moving average"]
        fit(
            Tiny(), data(), validate, optim=replace(optim, lr=0.1), options=options,
            folder=stopped, resume=True,
        )  # fmt: skip


def test_other_data_are_refused_unless_allowed(stopped: Path) -> None:
    optim, options = VARIANTS["adamw, moving average"]
    other = data(rows=pairs(31, seed=8))

    def go(**more: bool) -> Done:
        return fit(
            Tiny(), other, validate, optim=optim, options=options, folder=stopped, resume=True,
            **more,
        )  # fmt: skip

    with pytest.raises(DataError, match="the training data are not those that .*step-00000004"):
        go()
    done = go(new_data=True)
    assert done.epoch == 3 and done.step == 4 + 3 * 7 and done.chosen_step > 4


def test_another_model_is_refused(stopped: Path) -> None:
    optim, options = VARIANTS["adamw, moving average"]
    with pytest.raises(ModelFolderError, match=r"model\.safetensors: the tensor .* implies"):
        fit(Tiny(7), data(), validate, optim=optim, options=options, folder=stopped, resume=True)


def test_a_new_run_does_not_overwrite_an_old_one(stopped: Path) -> None:
    with pytest.raises(UsageError, match=r"holds a run already, saved at step 4\.") as error:
        _fit(stopped, "adamw, moving average", resume=False)
    assert f"jumok train --resume {stopped}" in str(error.value.hint)


def test_a_run_is_overwritten_on_request_alone(
    stopped: Path, undisturbed: Callable[[str], dict[str, bytes]]
) -> None:
    name = "adamw, moving average"
    ended = _fit(stopped, name, resume=False, overwrite=True)
    assert _digest(stopped, *ended) == undisturbed(name)


def test_an_edited_log_is_refused_and_a_missing_one_begun_anew(stopped: Path) -> None:
    log = stopped / "metrics.jsonl"
    text = log.read_bytes()
    log.write_bytes(text.replace(b"1", b"2"))
    with pytest.raises(
        ModelFolderError, match=r"metrics\.jsonl: its first .* are not what the run"
    ):
        _fit(stopped, "adamw, moving average")
    log.unlink()
    told: list[Event] = []
    _fit(stopped, "adamw, moving average", listeners=[told.append])
    assert isinstance(told[0], Resumed) and "was gone, so a new one is begun" in told[0].notes[0]
    assert json.loads(log.read_text().splitlines()[0])["step"] == 5


def test_another_number_of_threads_is_allowed_and_said(stopped: Path) -> None:
    told: list[Event] = []
    _fit(
        stopped,
        "adamw, moving average",
        listeners=[told.append],
        change={"threads": 2, "max_steps": 5},
    )
    assert isinstance(told[0], Resumed)
    assert "the run had 1 threads and now has 2" in told[0].notes[0]


@pytest.mark.parametrize("damage", ["{}", '{"counters": {}}', "[]", "{"])
def test_a_cursor_that_is_none_is_refused(damage: str, stopped: Path) -> None:
    from jumok.store import save_checkpoint

    files = {n: latest_good(stopped).folder.read(n) for n in latest_good(stopped).folder.names}
    save_checkpoint(stopped, 5, files | {"cursor.json": damage.encode()})
    with pytest.raises(ModelFolderError, match=r"cursor\.json: "):
        _fit(stopped, "adamw, moving average")


# --- a disk that is full ------------------------------------------------------------------------


class Full(Disk):
    """Room for the first checkpoint only."""

    writes = 0

    def write(self, descriptor: int, data: memoryview) -> int:
        self.writes += 1
        if self.writes > 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(descriptor, data)


def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"\(ENOSPC\); [\d,]+ bytes needed, [\d,]+ bytes free"):
        _fit(tmp_path, "adamw, moving average", disk=Full())
    found = latest_good(tmp_path)
    assert found is not None and found.step == 6


def test_a_full_disk_need_not_stop_the_run(
    tmp_path: Path, undisturbed: Callable[[str], dict[str, bytes]]
) -> None:
    told: list[Event] = []
    name = "adamw, moving average"
    _, model = _fit(
        tmp_path, name, disk=Full(), listeners=[told.append],
        change={"on_save_error": "continue"},
    )  # fmt: skip
    failed = [event for event in told if isinstance(event, SaveFailed)]
    assert [event.step for event in failed] == [12, 18] and "ENOSPC" in failed[0].message
    assert flat(model) == undisturbed(name)["model"]
    found = latest_good(tmp_path)
    assert found is not None and found.step == 6
    assert _digest(tmp_path, *_fit(tmp_path, name)) == undisturbed(name)


def test_a_signal_on_a_full_disk_does_not_claim_to_have_saved(tmp_path: Path) -> None:
    with pytest.raises(
        Interrupted, match=r"after step 8 .*ENOSPC.* saved before is intact"
    ) as error:
        _fit(
            tmp_path, "sgd, patience", disk=Full(), listeners=[_stop_at(8)],
            change={"on_save_error": "continue"},
        )  # fmt: skip
    assert "step-00000006" not in error.value.message
    assert error.value.hint == f"go on with: jumok train --resume {tmp_path}"


# --- faults that the comparisons above must notice ------------------------------------------------


@pytest.mark.parametrize("fault", ["cursor", "metrics", "optimizer"])
def test_a_planted_fault_is_noticed(
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: Callable[[str], dict[str, bytes]],
) -> None:
    name = "adamw, moving average"
    for module, attribute in kill_server.PLANTED[fault]:
        monkeypatch.setattr(module, attribute, getattr(module, attribute))  # undone afterwards
    with pytest.raises(Interrupted):
        _fit(tmp_path, name, listeners=[_stop_at(8)])
    with (tmp_path / "metrics.jsonl").open("ab") as log:
        log.write(b'{"event": "step", "step": 9}\n')  # as a kill after step 9 would leave it
    kill_server.sabotage(fault)
    found, want = _digest(tmp_path, *_fit(tmp_path, name)), undisturbed(name)
    assert found["log"] != want["log"]
    assert (found["model"] != want["model"]) == (fault != "metrics")


# --- kill -9 ------------------------------------------------------------------------------------


FAULTS = [*kill_server.PLANTED, "in-place"]


def _kill(*jobs: str) -> list[dict[str, Any]]:
    source = str(HERE.parent.parent / "src")
    path = os.pathsep.join([source, str(HERE), os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        [sys.executable, str(HERE / "kill_server.py"), *jobs],
        env=os.environ | {"PYTHONPATH": path, "JUMOK_NATIVE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def _check_kills(seen: dict[str, Any], kills: int) -> None:
    assert seen["failed"] == [] and seen["different"] == []
    assert seen["equal"] == seen["runs"] > 0 and seen["kills"] >= kills
    assert seen["most_steps_lost"] <= 1 + 1
    assert seen["most_left_over"] <= 2


def test_killed_at_random_moments_it_ends_with_the_same_bits() -> None:
    killed, in_place = _kill("kill 15 1", "kill 60 5 in-place")
    _check_kills(killed, 15)
    assert killed["inside_a_write"] > 0
    assert in_place["failed"] or in_place["different"]


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_killed_two_hundred_times_it_ends_with_the_same_bits() -> None:
    faults = [f"kill 200 {n} {fault}" for n, fault in enumerate(FAULTS)]
    killed, signalled, *faulty = _kill("kill 200 1", "signal 100 2", *faults)
    assert all(seen["different"] or seen["failed"] for seen in faulty)
    _check_kills(killed, 200)
    assert killed["inside_a_write"] >= 100
    _check_kills(signalled, 100)
    assert signalled["most_steps_lost"] == 0 and signalled["slowest_exit"] < 20
