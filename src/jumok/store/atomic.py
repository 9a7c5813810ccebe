"""A folder that appears whole or not at all, whatever happens while it is written.

The files go into a temporary folder beside the target, each is fsynced, the manifest comes last,
then the folder is fsynced and renamed. A reader never meets a half-written one under its name.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from jumok.errors import JumokError
from jumok.store.disk import DISK, Disk, remove_tree, saving, write_all
from jumok.store.manifest import CAPS, MANIFEST, Entry, Manifest, producer

__all__ = ["TEMPORARY", "AtomicFolder", "Content", "clean", "content_size"]

TEMPORARY = (".writing-", ".removing-")
"""Folders with these beginnings are left over from a crash; nothing in them is ever read."""

Content = bytes | Callable[[BinaryIO], None]
"""What a file holds, or a function that writes it."""


class _Hashed(io.RawIOBase):
    """A file being written: everything that passes is counted and hashed."""

    def __init__(self, disk: Disk, descriptor: int) -> None:
        self._disk, self._descriptor = disk, descriptor
        self._hash, self.size = hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(cast(bytes, data)).cast("B")
        write_all(self._disk, self._descriptor, view)
        self._hash.update(view)
        self.size += len(view)
        return len(view)

    def entry(self) -> Entry:
        return Entry(self.size, self._hash.hexdigest())


class AtomicFolder:
    """``with AtomicFolder(target) as folder: folder.write(name, content)``; see the module.

    The target must not exist. ``needed`` is how many bytes will be written, if known: it is
    said when the disk is full. An error inside the block leaves nothing behind.
    """

    def __init__(self, target: Path, *, needed: int | None = None, disk: Disk = DISK) -> None:
        self.target = Path(target)
        self._needed, self._disk = needed, disk
        self._entries: dict[str, Entry] = {}
        name = f"{TEMPORARY[0]}{self.target.name}-{os.getpid()}-{secrets.token_hex(4)}"
        self.path = self.target.parent / name

    def __enter__(self) -> Self:
        with saving(self.target, self._needed, self._disk):
            self._disk.mkdir(self.path)
        return self

    def write(self, name: str, content: Content) -> Entry:
        """Writes and fsyncs one file of the folder."""
        if name not in CAPS:
            raise ValueError(f"{name!r} is no file of a model folder; those are {', '.join(CAPS)}.")
        with saving(self.target, self._needed, self._disk):
            self._entries[name] = entry = write_file(self._disk, self.path / name, content)
        if entry.size > CAPS[name]:
            raise ValueError(f"{name} has {entry.size:,} bytes; at most {CAPS[name]:,} are read.")
        return entry

    def list_also(self, name: str, entry: Entry) -> None:
        """Puts a file into the manifest that stands in the target already."""
        self._entries[name] = entry

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._commit()
        finally:
            if self.path.exists():
                self._discard()

    def _commit(self) -> None:
        manifest = Manifest(files=dict(self._entries), producer=producer())
        with saving(self.target, self._needed, self._disk):
            write_file(self._disk, self.path / MANIFEST, manifest.to_bytes())
            self._disk.sync_folder(self.path)
            if self.target.exists():
                raise FileExistsError(17, "there is something under this name already")
            self._disk.rename(self.path, self.target)
            self._disk.sync_folder(self.target.parent)

    def _discard(self) -> None:
        with suppress(OSError):  # the next start removes it; the first error says what happened
            remove_tree(self._disk, self.path)


def write_file(disk: Disk, path: Path, content: Content) -> Entry:
    """A new file with ``content``, on the disk before this returns."""
    descriptor = disk.create(path)
    try:
        file = _Hashed(disk, descriptor)
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(cast(BinaryIO, file))
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    return file.entry()


def content_size(files: Mapping[str, Content]) -> int | None:
    """Bytes in all; None where a part is not known before it is written."""
    known = [content for content in files.values() if isinstance(content, bytes)]
    return sum(map(len, known)) if len(known) == len(files) else None


def clean(parent: Path, name: str | None = None, *, disk: Disk = DISK) -> int:
    """Removes what crashed writes left in ``parent``; how many there were.

    ``name`` limits it to the target of that name. Without it nobody else may be writing to
    ``parent``: see ``store.lock``.
    """
    of = ".*" if name is None else re.escape(name)
    left = re.compile(rf"\.(writing|removing)-{of}-(\d+-)?[0-9a-f]{{8}}")
    strays = [entry for entry in parent.iterdir() if left.fullmatch(entry.name)]
    for stray in strays:
        try:
            remove_tree(disk, stray)
        except OSError as error:
            raise JumokError(
                f"{stray}: what an earlier crash left cannot be removed ({error.strerror}).",
                hint="remove it by hand.",
            ) from error
    return len(strays)
