"""Disks for the tests: one that records and can replay every crash, one that fails on demand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from jumok.store import Disk

Inode = int
Tree = dict[PurePath, Inode | None]
"""Name -> file, or None for a folder."""


@dataclass(frozen=True)
class Op:
    """One system call. ``names`` are paths relative to the root; ``inode`` is a file's number."""

    call: str
    names: tuple[PurePath, ...] = ()
    inode: Inode = -1
    data: bytes = b""

    def changes_names_in(self) -> set[PurePath]:
        return {name.parent for name in self.names} if self.call in NAMING else set()


NAMING = ("mkdir", "create", "rename", "unlink", "rmdir")


class QuickDisk(Disk):
    """Waits for no disk: for what a test sets up."""

    def fsync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        pass


@dataclass
class RecordingDisk(QuickDisk):
    """Does everything for real under ``root`` (but waits for no disk) and writes it down."""

    root: Path
    ops: list[Op] = field(default_factory=list)
    skip: frozenset[str] = frozenset()
    """Calls that are done but not recorded: a program that leaves them out."""

    def __post_init__(self) -> None:
        self._inodes: dict[int, Inode] = {}
        self._count = 1000

    def _note(self, call: str, *paths: Path, inode: Inode = -1, data: bytes = b"") -> None:
        if call not in self.skip:
            names = tuple(PurePath(path.relative_to(self.root)) for path in paths)
            self.ops.append(Op(call, names, inode, data))

    def mkdir(self, path: Path) -> None:
        super().mkdir(path)
        self._note("mkdir", path)

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._count += 1
        self._inodes[descriptor] = self._count
        self._note("create", path, inode=self._count)
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        written = super().write(descriptor, data)
        self._note("write", inode=self._inodes[descriptor], data=bytes(data[:written]))
        return written

    def fsync(self, descriptor: int) -> None:
        self._note("fsync", inode=self._inodes[descriptor])

    def sync_folder(self, path: Path) -> None:
        self._note("sync_folder", path / "x")

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self._note("rename", old, new)

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._note("unlink", path)

    def rmdir(self, path: Path) -> None:
        super().rmdir(path)
        self._note("rmdir", path)


@dataclass
class Past:
    """What was on the disk before the first recorded call, all of it durable."""

    tree: Tree
    content: dict[Inode, bytes]

    @classmethod
    def of(cls, root: Path) -> Past:
        tree: Tree = {}
        content: dict[Inode, bytes] = {}
        for number, path in enumerate(sorted(root.rglob("*"))):
            name = PurePath(path.relative_to(root))
            tree[name] = None if path.is_dir() else number
            if path.is_file():
                content[number] = path.read_bytes()
        return cls(tree, content)


@dataclass(frozen=True)
class Crash:
    """One state that the disk may be in after the first ``after`` calls and a loss of power."""

    after: int
    tree: Tree
    content: dict[Inode, bytes]

    def lay_out(self, root: Path) -> None:
        """Makes ``root`` look like it."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        for name, inode in sorted(self.tree.items()):
            if inode is None:
                (root / name).mkdir()
            else:
                (root / name).write_bytes(self.content[inode])

    def signature(self) -> tuple[object, ...]:
        files = ((str(n), None if i is None else self.content[i]) for n, i in self.tree.items())
        return tuple(sorted(files, key=str))


def crashes(past: Past, ops: list[Op]) -> Iterator[Crash]:
    """Every prefix of the calls x {changes of names lost} x {unsynced data lost or torn}.

    Changes of names survive in order up to some point (a journal), or all but any one of them
    (no journal); those in a folder that was synced since always survive. Data survives as far as
    it was fsynced; of the rest nothing, half, all but the last byte, or all.
    """
    seen: set[tuple[object, ...]] = set()
    for after in range(len(ops) + 1):
        done = ops[:after]
        for names in _surviving(done):
            tree = _apply(past.tree, names)
            for content in _contents(past, done, set(tree.values())):
                crash = Crash(after, tree, content)
                signature = (after, *crash.signature())
                if signature not in seen:
                    seen.add(signature)
                    yield crash


def _surviving(done: list[Op]) -> Iterator[list[Op]]:
    naming = [(i, op) for i, op in enumerate(done) if op.call in NAMING]
    synced = [(i, op.names[0].parent) for i, op in enumerate(done) if op.call == "sync_folder"]
    forced = {
        i
        for i, op in naming
        if all(any(j > i and p == folder for j, p in synced) for folder in op.changes_names_in())
    }
    for end in range(len(naming) + 1):
        yield [op for n, (i, op) in enumerate(naming) if n < end or i in forced]
    for lost, _ in naming:
        if lost not in forced:
            yield [op for i, op in naming if i != lost]


def _apply(tree: Tree, ops: list[Op]) -> Tree:
    now = dict(tree)
    for op in ops:
        name = op.names[0]
        if op.call in ("mkdir", "create"):
            if name.parent in now or name.parent == PurePath("."):
                now[name] = None if op.call == "mkdir" else op.inode
        elif name not in now:
            continue
        elif op.call == "rename":
            _rename(now, name, op.names[1])
        elif not any(other != name and name in other.parents for other in now):
            del now[name]
    return now


def _rename(now: Tree, old: PurePath, new: PurePath) -> None:
    for name in [n for n in now if n == old or old in n.parents]:
        now[new / name.relative_to(old) if name != old else new] = now.pop(name)


def _contents(past: Past, done: list[Op], alive: set[Inode | None]) -> Iterator[dict[Inode, bytes]]:
    written: dict[Inode, bytes] = dict(past.content)
    durable: dict[Inode, bytes] = dict(past.content)
    for op in done:
        if op.call == "create":
            written[op.inode] = durable[op.inode] = b""
        elif op.call == "write":
            written[op.inode] += op.data
        elif op.call == "fsync":
            durable[op.inode] = written[op.inode]
    loose = [i for i in written if written[i] != durable[i] and i in alive]
    for keep in (lambda n: 0, lambda n: n // 2, lambda n: n - 1, lambda n: n):
        torn = {
            i: durable[i] + written[i][len(durable[i]) :][: keep(len(written[i]) - len(durable[i]))]
            for i in loose
        }
        yield durable | torn
        if not loose:
            return


@dataclass
class FailingDisk(QuickDisk):
    """Fails with ``error`` at call number ``at`` (from 0) and at every later write."""

    at: int
    error: int
    left: int = 12_345
    count: int = 0
    failed: bool = False

    def _call(self) -> None:
        self.count += 1
        if self.count > self.at:
            self.failed = True
            raise OSError(self.error, "planted")

    def mkdir(self, path: Path) -> None:
        self._call()
        super().mkdir(path)

    def create(self, path: Path) -> int:
        self._call()
        return super().create(path)

    def write(self, descriptor: int, data: memoryview) -> int:
        self._call()
        return super().write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self._call()
        super().fsync(descriptor)

    def sync_folder(self, path: Path) -> None:
        self._call()
        super().sync_folder(path)

    def rename(self, old: Path, new: Path) -> None:
        self._call()
        super().rename(old, new)

    def free(self, path: Path) -> int:
        return self.left
