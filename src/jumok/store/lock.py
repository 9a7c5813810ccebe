"""One trainer at a time: a lock on a run that the system releases when its holder dies."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jumok.errors import UsageError

__all__ = ["locked"]

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds ``folder`` for this process; UsageError where another process holds it.

    Where the system has no such locks (Windows, some network disks) nothing is held.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        if not _lock(descriptor):
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            raise UsageError(
                f"{folder} is in use by another training process (process {holder}).",
                hint="wait for it or stop it; two cannot write to the same run.",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # no such module on Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True
