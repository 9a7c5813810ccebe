"""A process that loads torch once and forks a training run for every kill; prints what it found.

    python kill_server.py "MODE KILLS SEED [SABOTAGE]" ...

MODE is ``kill`` (SIGKILL at random moments) or ``signal`` (SIGTERM, SIGINT or SIGUSR1). A run is
killed and resumed until it ends; then its last checkpoint, its log and the chosen weights are
compared with those of a run that nobody disturbed. Runs are repeated until there were KILLS kills.
SABOTAGE plants a fault that the comparison must notice. One JSON object a line, one per job.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from training_tiny import Tiny, data, flat, validate

from jumok.errors import Interrupted, ModelFolderError
from jumok.nn.noise import Noise
from jumok.store import Disk, latest_good
from jumok.training import checkpoints, events
from jumok.training.optimizers import build_optimizer
from jumok.training.options import Optim, Training
from jumok.training.trainer import fit

OPTIONS = Training(
    max_epochs=7, update_tokens=40, ema_decay=0.9, label_smoothing=0.1, log_every=1,
    choose_by="likely",
    checkpoint_seconds=0.0, threads=1,
)  # fmt: skip
"""A checkpoint after every update."""
OPTIM = Optim(lr=1e-2, schedule="cosine")


class SlowDisk(Disk):
    """Writes in small pieces and waits between them, so that kills fall inside a write."""

    def write(self, descriptor: int, data: memoryview) -> int:
        time.sleep(0.002)
        return super().write(descriptor, data[: max(1, min(len(data), 2048))])

    def fsync(self, descriptor: int) -> None:
        time.sleep(0.0008)

    def sync_folder(self, path: Path) -> None:
        time.sleep(0.0008)

    def rename(self, old: Path, new: Path) -> None:
        time.sleep(0.002)
        super().rename(old, new)
        time.sleep(0.002)


@dataclass
class Findings:
    """What the parent prints at the end."""

    kills: int = 0
    inside_a_write: int = 0
    runs: int = 0
    equal: int = 0
    different: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    most_steps_lost: int = 0
    most_left_over: int = 0
    slowest_exit: float = 0.0
    seconds: float = 0.0


def train(folder: Path, pipe: int) -> None:
    """One attempt, in a child: tells each step through the pipe, ``-1`` when training begins."""

    def tell(event: events.Event) -> None:
        if isinstance(event, events.Step | events.Resumed):
            os.write(pipe, struct.pack("<i", event.step))

    torch.set_num_threads(1)
    model = Tiny()
    os.write(pipe, struct.pack("<i", -1))
    fit(
        model, data(), validate, optim=OPTIM, options=OPTIONS, folder=folder, resume=True,
        listeners=[tell], disk=SlowDisk(),
    )  # fmt: skip
    (folder / "result").write_bytes(flat(model))


def child(folder: Path) -> tuple[int, int]:
    """(process, its pipe) of an attempt; exit codes 0 done, 130 interrupted, 4 damaged, 1 else."""
    read, write = os.pipe()
    process = os.fork()
    if process:
        os.close(write)
        return process, read
    os.close(read)
    code = 1
    try:
        train(folder, write)
        code = 0
    except (Interrupted, KeyboardInterrupt):  # the latter before or after the loop
        code = 130
    except ModelFolderError as error:
        (folder / "error").write_text(str(error))
        code = 4
    except BaseException as error:
        (folder / "error").write_text(repr(error))
    finally:
        os._exit(code)


def steps(pipe: int) -> list[int]:
    """All that is in the pipe until its other end closes."""
    received = b""
    while block := os.read(pipe, 4096):
        received += block
    os.close(pipe)
    return [number for (number,) in struct.iter_unpack("<i", received)]


def digest(folder: Path) -> dict[str, str]:
    """Everything that must not depend on interruptions."""
    found = latest_good(folder)
    assert found is not None
    parts = {name: found.folder.read(name) for name in found.folder.names}
    cursor = json.loads(parts.pop("cursor.json"))
    del cursor["counters"]["seconds"]
    parts["cursor"] = json.dumps(cursor).encode()
    parts["log"] = (folder / "metrics.jsonl").read_bytes()
    parts["result"] = (folder / "result").read_bytes()
    return {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}


def attempt(folder: Path, chance: random.Random, mode: str, seen: Findings, longest: float) -> bool:
    """One child, killed at a random moment if it has not ended before; True where it ended."""
    process, pipe = child(folder)
    select.select([pipe], [], [], 60)
    wait = chance.uniform(0, longest)
    ended, _ = os.waitpid(process, os.WNOHANG)
    deadline = time.monotonic() + wait
    while not ended and time.monotonic() < deadline:
        time.sleep(min(0.002, wait))
        ended, status = os.waitpid(process, os.WNOHANG)
    started = time.monotonic()
    if not ended:
        names = ("SIGTERM", "SIGINT", "SIGUSR1") if mode == "signal" else ("SIGKILL",)
        os.kill(process, getattr(signal, chance.choice(names)))
        _, status = os.waitpid(process, 0)
    told = [step for step in steps(pipe) if step >= 0]
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return True
    if code not in (-signal.SIGKILL, 130, -signal.SIGTERM, -signal.SIGINT, -signal.SIGUSR1):
        raise RuntimeError((folder / "error").read_text())
    seen.kills += 1
    seen.slowest_exit = max(seen.slowest_exit, time.monotonic() - started)
    parent = folder / "checkpoints"
    strays = [p for p in parent.iterdir() if p.name.startswith(".")] if parent.is_dir() else []
    seen.inside_a_write += bool(strays)
    seen.most_left_over = max(seen.most_left_over, len(strays))
    try:
        good = latest_good(folder)
    except ModelFolderError:
        return False
    reached, saved = max(told, default=0), 0 if good is None else good.step
    seen.most_steps_lost = max(seen.most_steps_lost, reached - saved)
    return False


def whole_run(
    folder: Path, chance: random.Random, mode: str, seen: Findings, longest: float
) -> None:
    """Attempts until the run has ended."""
    folder.mkdir()
    kills = seen.kills
    while not attempt(folder, chance, mode, seen, longest):
        if seen.kills > kills + 300:
            raise RuntimeError("the run never ends")


PLANTED = {
    "cursor": [(checkpoints, "_counters")],
    "metrics": [(events.Journal, "rewind")],
    "optimizer": [(checkpoints, "load_state")],
}
"""Fault -> what it replaces."""


def sabotage(name: str) -> None:
    """Plants one of the faults that a resume may have."""
    if name == "cursor":
        genuine = checkpoints._counters

        def off_by_one(document: dict) -> checkpoints.Counters:
            at = genuine(document)
            at.cursor = at.cursor._replace(place=max(0, at.cursor.place - 1))
            return at

        checkpoints._counters = off_by_one  # type: ignore[assignment]
    elif name == "metrics":

        def keep_all(self: events.Journal, length: int, sha256: str) -> None:
            text = self.path.read_bytes()
            self._hash, self._length = hashlib.sha256(text), len(text)

        events.Journal.rewind = keep_all  # type: ignore[method-assign]
    elif name == "in-place":

        def overwrite(run: Path, step: int, files: dict, *, disk: Disk) -> Path:
            from jumok.store import Manifest
            from jumok.store.manifest import Entry

            target = run / "checkpoints" / "step-00000000"
            target.mkdir(exist_ok=True)
            manifest = Manifest(files={n: Entry.of(d) for n, d in files.items()})
            for file, content in [*files.items(), ("manifest.json", manifest.to_bytes())]:
                (target / file).write_bytes(content[: len(content) // 2])
                time.sleep(0.001)
                (target / file).write_bytes(content)
            return target

        checkpoints.save_checkpoint = overwrite  # type: ignore[assignment]
    elif name == "optimizer":
        checkpoints.load_state = lambda *_: None  # type: ignore[assignment]


def warm_up() -> None:
    """What is loaded at first use (native library, torch._dynamo) is loaded once, not per kill."""
    Noise(0, 0, torch.arange(3)).mask("warm", 0.5, torch.ones(3, 5))
    build_optimizer(OPTIM, Tiny()).zero_grad()


def job(mode: str, kills: int, seed: int, fault: str = "") -> Findings:
    sabotage(fault)
    chance, seen, started = random.Random(seed), Findings(), time.monotonic()
    memory = Path("/dev/shm")
    longest = 0.3 if fault else 0.2
    base = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        (base / "undisturbed").mkdir()
        process, pipe = child(base / "undisturbed")
        steps(pipe)
        _, status = os.waitpid(process, 0)
        assert status == 0, (base / "undisturbed/error").read_text()
        reference = digest(base / "undisturbed")
        while seen.kills < kills and not (fault and (seen.different or seen.failed)):
            seen.runs += 1
            folder = base / f"{seen.runs}"
            try:
                whole_run(folder, chance, mode, seen, longest)
            except RuntimeError as error:
                seen.failed.append(str(error))
                continue
            found = digest(folder)
            wrong = [name for name in reference if found.get(name) != reference[name]]
            seen.equal += not wrong
            seen.different += [f"run {seen.runs}: {name}" for name in wrong]
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(base)
    seen.seconds = round(time.monotonic() - started, 1)
    return seen


def main(jobs: list[str]) -> None:
    """Every job in a process of its own, since a planted fault stays."""
    torch.set_num_threads(1)
    warm_up()
    for text in jobs:
        process = os.fork()
        if not process:
            mode, kills, seed, *fault = text.split()
            print(json.dumps(asdict(job(mode, int(kills), int(seed), *fault))), flush=True)
            os._exit(0)
        os.waitpid(process, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
