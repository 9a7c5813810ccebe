"""The few system calls a save consists of; a test replaces them to record or to fail.

Everything that must survive a crash is written through a ``Disk``. Its methods are thin, so that
a subclass sees every create, write, fsync, rename and removal in order.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jumok.errors import SaveError

__all__ = ["DISK", "Disk", "remove_tree", "saving", "sync_folder", "write_all"]


class Disk:
    """The operating system, one method per call."""

    def mkdir(self, path: Path) -> None:
        os.mkdir(path)

    def create(self, path: Path) -> int:
        """A descriptor of a new file; never an existing one, never through a link."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        return os.open(
            path, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0), 0o644
        )

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Makes the names in ``path`` durable; some systems cannot, and need not."""
        if os.name == "nt":
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        os.replace(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def rmdir(self, path: Path) -> None:
        os.rmdir(path)

    def free(self, path: Path) -> int:
        """Bytes free on the file system that holds ``path``."""
        return shutil.disk_usage(path).free


DISK = Disk()


def write_all(disk: Disk, descriptor: int, data: bytes | memoryview) -> None:
    """All of ``data``: one ``write`` may take less than it was given."""
    rest = memoryview(data).cast("B")
    while len(rest):
        rest = rest[disk.write(descriptor, rest) :]


def remove_tree(disk: Disk, path: Path) -> None:
    """``path`` and all in it; what is gone already is no error."""
    if path.is_symlink() or not path.is_dir():
        disk.unlink(path)
        return
    for entry in sorted(path.iterdir()):
        remove_tree(disk, entry)
    disk.rmdir(path)


def sync_folder(disk: Disk, *paths: Path) -> None:
    """Each folder in turn."""
    for path in paths:
        disk.sync_folder(path)


def _bytes(count: int) -> str:
    return f"{count:,} bytes"


@contextmanager
def saving(target: Path, needed: int | None, disk: Disk = DISK) -> Iterator[None]:
    """Turns what the operating system refuses into one sentence with the figures."""
    try:
        yield
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, "")
        try:
            free = _bytes(disk.free(target.parent))
        except OSError:
            free = "an unknown number of bytes"
        amount = "an unknown number of bytes" if needed is None else _bytes(needed)
        raise SaveError(
            f"{target} could not be saved: {error.strerror or error} ({reason}); "
            f"{amount} needed, {free} free. What was saved before is intact.",
            hint="free some space or choose another folder, then run the same command again.",
        ) from error
