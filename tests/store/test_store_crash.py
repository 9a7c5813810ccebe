"""Whatever call a save is cut off at, and whatever the disk forgets: old or new, never between."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from store_disks import FailingDisk, Past, QuickDisk, RecordingDisk, crashes

from jumok.errors import JumokError, ModelFolderError, SaveError
from jumok.store import (
    Disk,
    Folder,
    latest_good,
    open_folder,
    prepare,
    save_checkpoint,
    save_folder,
)
from jumok.store.checkpoints import check_space

OLD = {"config.toml": b"old = 1\n", "model.safetensors": b"old weights", "card.md": b"old card"}
NEW = {"config.toml": b"new = 1\n", "model.safetensors": b"new weights!", "card.md": b"the card"}
RUN = "run"
QUICK = QuickDisk()

Save = Callable[[Path, Disk], object]
Read = Callable[[Path], Folder | None]


def _name(folder: Folder | None) -> str | None:
    """``old``, ``new`` or None; all files are read, and must belong together."""
    if folder is None:
        return None
    files = {name: folder.read(name) for name in folder.names}
    assert files in (OLD, NEW)
    return "old" if files == OLD else "new"


def _outcomes(root: Path, save: Save, read: Read, skip: str = "") -> list[tuple[bool, str | None]]:
    """(all calls were made, what a reader then finds) for every crash of ``save``."""
    before = Past.of(root)
    disk = RecordingDisk(root, skip=frozenset(skip.split()))
    save(root, disk)
    found = []
    for crash in crashes(before, disk.ops):
        replayed = root.parent / "replayed"
        crash.lay_out(replayed)
        try:
            name = _name(read(replayed))
        except (ModelFolderError, AssertionError):
            name = "damaged"
        found.append((crash.after == len(disk.ops), name))
    return found


def _checkpoint_before(root: Path) -> None:
    prepare(root / RUN)
    for step in (1, 2):
        save_checkpoint(root / RUN, step, OLD, disk=QUICK)


def _save_checkpoint(root: Path, disk: Disk) -> None:
    save_checkpoint(root / RUN, 3, NEW, disk=disk)


def _read_checkpoint(root: Path) -> Folder | None:
    prepare(root / RUN)
    assert not [p for p in (root / RUN / "checkpoints").iterdir() if p.name.startswith(".")]
    found = latest_good(root / RUN)
    return None if found is None else found.folder


def _save_folder(root: Path, disk: Disk) -> None:
    save_folder(root / RUN, NEW, disk=disk)


def _read_folder(root: Path) -> Folder | None:
    return open_folder(root / RUN) if (root / RUN).exists() else None


def _root(place: Path) -> Path:
    root = place / "root"
    root.mkdir()
    return root


def test_a_crash_in_a_checkpoint_leaves_the_old_or_the_new_one(place: Path) -> None:
    root = _root(place)
    _checkpoint_before(root)
    found = _outcomes(root, _save_checkpoint, _read_checkpoint)
    assert len(found) > 140
    assert {name for _, name in found} == {"old", "new"}
    assert {name for whole, name in found if whole} == {"new"}


def test_a_crash_in_a_first_save_leaves_nothing_or_all(place: Path) -> None:
    found = _outcomes(_root(place), _save_folder, _read_folder)
    assert len(found) > 100
    assert {name for _, name in found} == {None, "new"}
    assert {name for whole, name in found if whole} == {"new"}


def test_a_crash_while_a_model_is_replaced_leaves_the_old_or_the_new_one(place: Path) -> None:
    root = _root(place)
    save_folder(root / RUN, OLD, disk=QUICK)
    found = _outcomes(root, _save_folder, _read_folder)
    assert len(found) > 130
    assert {name for _, name in found} == {"old", "new"}
    assert {name for whole, name in found if whole} == {"new"}


def test_after_any_crash_the_next_save_succeeds(place: Path) -> None:
    root = _root(place)
    save_folder(root / RUN, OLD, disk=QUICK)
    before = Past.of(root)
    disk = RecordingDisk(root)
    _save_folder(root, disk)
    for crash in list(crashes(before, disk.ops))[::7]:
        replayed = place / "replayed"
        crash.lay_out(replayed)
        assert _name(save_folder(replayed / RUN, NEW, disk=QUICK)) == "new"
        assert {p.name for p in (replayed / RUN).iterdir()} == {"manifest.json", *NEW}


# What must be noticed: the same judge, programs that are wrong.


def _in_place(root: Path, disk: Disk) -> None:
    """Writes the new files over the old ones."""
    folder = root / RUN
    for name, data in NEW.items():
        disk.unlink(folder / name)
        descriptor = disk.create(folder / name)
        disk.write(descriptor, memoryview(data))
        disk.fsync(descriptor)
        disk.close(descriptor)
    disk.sync_folder(folder)


def test_writing_in_place_is_caught(place: Path) -> None:
    root = _root(place)
    save_folder(root / RUN, OLD, disk=QUICK)
    assert "damaged" in {name for _, name in _outcomes(root, _in_place, _read_folder)}


@pytest.mark.parametrize("left_out", ["fsync", "sync_folder"])
def test_leaving_out_a_sync_is_caught(left_out: str, place: Path) -> None:
    root = _root(place)
    _checkpoint_before(root)
    found = _outcomes(root, _save_checkpoint, _read_checkpoint, skip=left_out)
    assert {name for whole, name in found if whole} != {"new"}


# A disk that is full, or says no.

ERRORS = ["ENOSPC", "EDQUOT", "EIO", "EROFS"]


def _number_of_calls(save: Save, root: Path) -> int:
    disk = FailingDisk(at=10**9, error=0)
    save(root, disk)
    return disk.count


@pytest.mark.parametrize("code", ERRORS)
def test_a_failing_call_leaves_the_checkpoint_before_and_gives_the_figures(
    code: str, place: Path
) -> None:
    counted = _root(place)
    _checkpoint_before(counted)
    calls = _number_of_calls(_save_checkpoint, counted)
    assert calls > 12
    for at in range(calls):
        root = place / f"{at}"
        root.mkdir()
        _checkpoint_before(root)
        disk = FailingDisk(at=at, error=getattr(errno, code))
        with pytest.raises(SaveError) as error:
            _save_checkpoint(root, disk)
        assert disk.failed
        said = error.value.message
        assert str(root / RUN / "checkpoints" / "step-00000003") in said
        assert f"({code})" in said and "12,345 bytes free" in said
        assert _name(_read_checkpoint(root)) in ("old", "new")


def test_how_many_bytes_were_needed_is_said(place: Path) -> None:
    root = _root(place)
    _checkpoint_before(root)
    needed = sum(map(len, NEW.values()))
    with pytest.raises(SaveError, match=rf"\(ENOSPC\); {needed} bytes needed, 12,345 bytes free"):
        _save_checkpoint(root, FailingDisk(at=5, error=errno.ENOSPC))
    assert _name(_read_checkpoint(root)) == "old"


@pytest.mark.parametrize("code", ERRORS)
def test_a_failing_call_leaves_the_model_before(code: str, place: Path) -> None:
    counted = _root(place)
    save_folder(counted / RUN, OLD, disk=QUICK)
    for at in range(_number_of_calls(_save_folder, counted)):
        root = place / f"{at}"
        root.mkdir()
        save_folder(root / RUN, OLD, disk=QUICK)
        with pytest.raises(SaveError):
            _save_folder(root, FailingDisk(at=at, error=getattr(errno, code)))
        assert _name(_read_folder(root)) in ("old", "new")


def test_a_disk_with_no_room_for_three_checkpoints_is_refused_at_the_start(place: Path) -> None:
    disk = FailingDisk(at=0, error=0, left=2_999)
    with pytest.raises(
        SaveError, match=r"takes 1,000 bytes and three must fit .* only 2,999 bytes"
    ):
        check_space(place, 1_000, disk=disk)
    disk.left = 3_000
    check_space(place, 1_000, disk=disk)


def test_what_cannot_be_cleaned_up_is_named(place: Path) -> None:
    parent = prepare(place)
    stray = parent / ".writing-step-00000003-99-0123abcd"
    stray.mkdir()

    class Stubborn(Disk):
        def rmdir(self, path: Path) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(JumokError, match="what an earlier crash left cannot be removed") as error:
        prepare(place, disk=Stubborn())
    assert str(stray) in error.value.message


def test_a_disk_that_takes_less_than_it_is_given_gets_the_rest(place: Path) -> None:
    class Small(QuickDisk):
        def write(self, descriptor: int, data: memoryview) -> int:
            return super().write(descriptor, data[:3])

    assert _name(save_folder(place / RUN, NEW, disk=Small())) == "new"
