"""A model on disk is a folder; nothing in it is parsed before all of it is verified.

``save_folder`` writes one or replaces the files of an existing one, ``open_folder`` checks
manifest, names, kinds of file, sizes and hashes. A folder that exists already is replaced by
rolling forward: the new files stand complete in ``.next`` before the first one moves, and a
reader takes each file from there if it has not moved yet. So every crash leaves old or new.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jumok.errors import ModelFolderError, SaveError
from jumok.store.atomic import AtomicFolder, Content, clean, content_size
from jumok.store.disk import DISK, Disk, saving
from jumok.store.manifest import CAPS, LOGS, MANIFEST, Entry, Manifest
from jumok.store.tensors import Expected, parse_tensors

__all__ = ["NEXT", "Folder", "open_folder", "save_folder"]

NEXT = ".next"
CHECKPOINTS = "checkpoints"
BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A verified folder. Files are verified again as they are read, so none can change between."""

    path: Path
    manifest: Manifest

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.manifest.files)

    def read(self, name: str) -> bytes:
        """The whole file; ModelFolderError where it is missing or not what was written."""
        if name not in self.manifest.files:
            raise ModelFolderError(
                f"{self.path / name}: this folder has no such file.",
                hint=f"it has {', '.join(self.names)}.",
            )
        return _read(self.path, name, self.manifest.files[name])

    def text(self, name: str) -> str:
        """The file as UTF-8."""
        try:
            return self.read(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelFolderError(
                f"{self.path / name}: not UTF-8 ({error.reason} at byte {error.start})."
            ) from None

    def tensors(
        self, name: str, expected: Expected, *, finite: bool = False
    ) -> dict[str, np.ndarray]:
        """A safetensors file whose names, shapes and dtypes must be the ``expected`` ones."""
        return parse_tensors(self.read(name), expected, str(self.path / name), finite=finite)


def open_folder(path: str | Path, *, expect_digest: str | None = None) -> Folder:
    """The verified folder at ``path``.

    Raises ModelFolderError, naming the file and the reason, where it is missing, unfinished,
    damaged or written by a newer version, or is not the one that ``expect_digest`` pins.
    """
    root = Path(path)
    if not root.is_dir():
        reason = "is not a folder" if root.exists() else "does not exist"
        raise ModelFolderError(f"{root} {reason}.", hint="jumok train writes model folders.")
    manifest = Manifest.from_bytes(_manifest_bytes(root), str(root / MANIFEST))
    if expect_digest is not None and manifest.digest != expect_digest.lower():
        raise ModelFolderError(
            f"{root}: its digest is {manifest.digest}, but {expect_digest} was asked for.",
            hint="this is another model than the one that was pinned.",
        )
    for name, entry in manifest.files.items():
        _verify(root, name, entry)
    return Folder(path=root, manifest=manifest)


def save_folder(
    path: str | Path,
    files: Mapping[str, Content],
    *,
    keep: Iterable[str] = (),
    disk: Disk = DISK,
) -> Folder:
    """Writes ``files`` as the model folder ``path``, or replaces those of the one there.

    ``keep`` names files that stand there already and now belong to the model (such as
    ``metrics.jsonl``). Crash-safe, see the module. Raises SaveError.
    """
    root = Path(path)
    needed = content_size(files)
    if not root.exists():
        with saving(root, needed, disk):
            root.parent.mkdir(parents=True, exist_ok=True)
            clean(root.parent, root.name, disk=disk)
        _write(root, root, files, (), needed, disk)
    else:
        _refuse_strangers(root)
        with saving(root, needed, disk):
            clean(root, disk=disk)
            _roll_forward(root, disk)
        _write(root / NEXT, root, files, keep, needed, disk)
        with saving(root, needed, disk):
            _roll_forward(root, disk)
    return open_folder(root)


def _write(
    target: Path,
    root: Path,
    files: Mapping[str, Content],
    keep: Iterable[str],
    needed: int | None,
    disk: Disk,
) -> None:
    with AtomicFolder(target, needed=needed, disk=disk) as folder:
        for name, content in files.items():
            folder.write(name, content)
        for name in keep:
            folder.list_also(name, _entry_of(root / name))


def _entry_of(path: Path) -> Entry:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return Entry(size, digest.hexdigest())


def _refuse_strangers(root: Path) -> None:
    """Nothing is written into a folder that holds other things than a model."""
    if not root.is_dir():
        raise SaveError(f"{root} is a file; a model is saved as a folder.")
    entries = {entry.name for entry in root.iterdir()}
    if entries and not entries & {MANIFEST, NEXT, CHECKPOINTS, *LOGS}:
        raise SaveError(
            f"{root} exists and is not a model folder; nothing was written.",
            hint="give the name of a new folder.",
        )


def _roll_forward(root: Path, disk: Disk) -> None:
    """Finishes a replacement that was decided: every file of ``.next`` moves to where it belongs.

    In any order: until a file has moved, readers find it in ``.next``.
    """
    staged = root / NEXT
    if staged.is_symlink() or not staged.is_dir():
        return
    for name in sorted(entry.name for entry in staged.iterdir()):
        disk.rename(staged / name, root / name)
    disk.sync_folder(root)
    disk.rmdir(staged)
    disk.sync_folder(root)


def _manifest_bytes(root: Path) -> bytes:
    found = _open(root, MANIFEST)
    if found is None:
        unfinished = (root / CHECKPOINTS).is_dir()
        raise ModelFolderError(
            f"{root / MANIFEST}: there is no such file, so "
            + ("training has not finished." if unfinished else "this is no model folder."),
            hint=f"jumok train --resume {root}" if unfinished else None,
        )
    with os.fdopen(found, "rb") as file:
        _check_kind(file.fileno(), root / MANIFEST)
        data = file.read(CAPS[MANIFEST] + 1)
    if len(data) > CAPS[MANIFEST]:
        raise _damaged(root / MANIFEST, f"longer than {CAPS[MANIFEST]:,} bytes")
    return data


def _open(root: Path, name: str) -> int | None:
    """A descriptor of the file, from ``.next`` if it has not moved yet; never through a link."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    staged = root / NEXT
    folders = (root,) if staged.is_symlink() else (staged, root)
    for folder in folders:
        try:
            return os.open(folder / name, flags)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _damaged(folder / name, f"cannot be opened ({error.strerror})") from None
    return None


def _check_kind(descriptor: int, path: Path) -> os.stat_result:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise _damaged(path, "not a regular file")
    if found.st_nlink != 1:
        raise _damaged(path, f"has {found.st_nlink} hard links, so another name can change it")
    return found


def _checked(root: Path, name: str, entry: Entry) -> int:
    """A descriptor of the file after its kind and size were found right."""
    path = root / name
    descriptor = _open(root, name)
    if descriptor is None:
        raise _damaged(path, "missing")
    try:
        size = _check_kind(descriptor, path).st_size
        if size < entry.size or (size > entry.size and name not in LOGS):
            raise _damaged(path, f"{size:,} bytes long, but {entry.size:,} were written")
        if entry.size > CAPS[name]:
            raise _damaged(path, f"longer than {CAPS[name]:,} bytes")
    except ModelFolderError:
        os.close(descriptor)
        raise
    return descriptor


def _verify(root: Path, name: str, entry: Entry) -> None:
    digest, rest = hashlib.sha256(), entry.size
    with os.fdopen(_checked(root, name, entry), "rb") as file:
        while rest and (block := file.read(min(BLOCK, rest))):
            digest.update(block)
            rest -= len(block)
    _compare(root / name, digest.hexdigest(), entry)


def _read(root: Path, name: str, entry: Entry) -> bytes:
    with os.fdopen(_checked(root, name, entry), "rb") as file:
        data = file.read(entry.size)
    _compare(root / name, hashlib.sha256(data).hexdigest(), entry)
    return data


def _compare(path: Path, found: str, entry: Entry) -> None:
    if found != entry.sha256:
        raise _damaged(
            path, f"its content has SHA-256 {found[:12]}…, but {entry.sha256[:12]}… was written"
        )


def _damaged(path: Path, reason: str) -> ModelFolderError:
    return ModelFolderError(
        f"{path}: {reason}.",
        hint="copy the folder again from where it was good, or use a checkpoint of the run.",
    )
