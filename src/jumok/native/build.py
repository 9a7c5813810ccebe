"""Builds the native library with the machine's compiler, once, into the user's cache.

The name of the file says what it depends on: source, processor, flags, compiler. It is written
beside its place and renamed into it, so processes that build at the same time cannot harm each
other. OpenMP is compiled in but its runtime is not linked: the loader offers the one torch uses.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from jumok.errors import JumokError

__all__ = ["BuildError", "cache_folder", "compiler", "library_path"]

SOURCE: Final = Path(__file__).parent / "source"
FLAGS: Final = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fPIC",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
    "-Wno-psabi",
)
_COMPILERS: Final = ("g++", "clang++", "c++", "cc")


class BuildError(JumokError):
    """There is no native library to be had here; the message is one line and says why."""


def library_path(*, openmp: bool = True, environ: Mapping[str, str] = os.environ) -> Path:
    """The built library, building it if need be. Raises BuildError with the reason."""
    folder = cache_folder(environ)
    flags = (*FLAGS, "-fopenmp") if openmp else FLAGS
    stem = f"jumok-{_digest(*_sources(), *map(str.encode, flags))}-{_processor()}"
    tool = compiler(environ)
    if tool is None:
        return _built_before(folder, stem)
    path = folder / f"{stem}-{_identity(tool)}.so"
    if not path.exists():
        _build(tool, flags, path)
    return path


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where built libraries live: $JUMOK_CACHE, $XDG_CACHE_HOME/jumok or ~/.cache/jumok."""
    if own := environ.get("JUMOK_CACHE"):
        return Path(own) / "native"
    caches = environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "jumok" / "native"


def compiler(environ: Mapping[str, str] = os.environ) -> str | None:
    """The full path of the C++ compiler: $CXX if set (and nothing else then), or the usual."""
    names = (environ["CXX"],) if environ.get("CXX") else _COMPILERS
    found = (shutil.which(name, path=environ.get("PATH")) for name in names)
    return next((path for path in found if path), None)


def _built_before(folder: Path, stem: str) -> Path:
    """A library that an earlier compiler left for this source and processor."""
    earlier = sorted(folder.glob(f"{stem}-*.so"))
    if not earlier:
        raise BuildError("no C++ compiler was found ($CXX, g++, clang++)")
    return earlier[-1]


def _build(tool: str, flags: tuple[str, ...], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as work:
            unit, library = Path(work) / "unit.o", Path(work) / "library.so"
            _run(tool, *flags, "-c", str(SOURCE / "library.cpp"), "-o", str(unit))
            _run(tool, "-shared", str(unit), "-o", str(library), "-lstdc++", "-lm")
            os.replace(library, path)
    except OSError as error:
        where = error.filename or path.parent
        raise BuildError(f"cannot build in {where}: {error.strerror}") from error


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{command[0]} took more than 300 s") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        told = (lines or done.stderr.splitlines() or ["it said nothing"])[0].strip()
        raise BuildError(f"{command[0]} failed (exit {done.returncode}): {told}")


def _sources() -> list[bytes]:
    return [path.read_bytes() for path in sorted(SOURCE.iterdir()) if path.is_file()]


def _processor() -> str:
    """Eight digits for the instruction sets of this machine, which -march=native follows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = [platform.processor()]
    telling = ("flags", "Features", "model name", "CPU part")
    seen = sorted({line for line in lines if line.startswith(telling)}) or lines[:1]
    return _digest(platform.machine().encode(), *(line.encode() for line in seen))


def _identity(tool: str) -> str:
    """Eight digits that change when the compiler is exchanged, without starting it."""
    real = Path(tool).resolve()
    facts = real.stat()
    return _digest(str(real).encode(), str(facts.st_size).encode(), str(facts.st_mtime_ns).encode())


def _digest(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()[:8]
