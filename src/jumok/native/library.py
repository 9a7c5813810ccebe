"""The ctypes face of the native library: checks every shape and type, then passes pointers.

Arrays may be NumPy's or torch's; this module knows neither by name. All are float32 and
contiguous unless said otherwise. Letters: B rows, T times, E input width, H hidden, S source,
A scorer's width, D width of values, F width of what is fed back.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jumok.errors import UsageError
from jumok.native.build import BuildError, library_path

__all__ = ["Library", "available", "library", "status"]

Array = Any
_BYTES: Final = {"float32": 4, "uint8": 1, "int64": 8, "bool": 1}


class Library:
    """The loaded library. One instance per process: `library()`."""

    def __init__(self, handle: ctypes.CDLL, path: Path, threaded: bool) -> None:
        self.handle = handle
        self.path = path
        self.threaded = threaded
        self.lanes = int(handle.jumok_lanes())
        self.has_bf16 = bool(handle.jumok_has_bf16())

    def padded(self, width: int) -> int:
        """``width`` rounded up to whole vectors."""
        return -(-width // self.lanes) * self.lanes

    def row(self, low: bool, *widths: int) -> int:
        """The length of a row of operands that holds segments of these widths."""
        self.handle.jumok_row.restype = ctypes.c_long
        total = sum(self.padded(width) for width in widths)
        return int(self.handle.jumok_row(int(low), ctypes.c_long(total)))

    def call(self, name: str, numbers: Sequence[int], arrays: Sequence[Array | None]) -> None:
        """``jumok_<name>(numbers as long, arrays as pointers)``. Raises MemoryError."""
        arguments = [ctypes.c_long(number) for number in numbers]
        pointers = [ctypes.c_void_p(pointer(array)) for array in arrays]
        if getattr(self.handle, "jumok_" + name)(*arguments, *pointers):
            raise MemoryError(f"no memory for the scratch space of {name}")

    def keep_mask(
        self,
        key: int,
        example_B: Array,
        time: range,
        threshold: int,
        scale: float,
        out_BTD: Array,
        threads: int = 1,
    ) -> None:
        """Fills ``out_BTD`` as `masks.keep_mask_numpy` says."""
        B, T, D = out_BTD.shape
        check("example_B", example_B, (B,), "int64")
        check("out_BTD", out_BTD, (B, len(time), D))
        c = ctypes
        self.handle.jumok_keep_mask(
            c.c_uint64(key % 2**64), c.c_void_p(pointer(example_B)), c.c_long(B),
            c.c_int64(time.start), c.c_int64(time.step), c.c_long(T), c.c_long(D),
            c.c_uint32(threshold), c.c_float(scale), c.c_void_p(pointer(out_BTD)),
            c.c_int(threads),
        )  # fmt: skip


def check(name: str, array: Array | None, shape: tuple[int, ...], kind: str = "float32") -> None:
    """Refuses an array of another shape or type, or one that is not contiguous."""
    if array is None:
        return
    if tuple(array.shape) != shape:
        raise UsageError(f"`{name}` has shape {list(array.shape)}; it must be {list(shape)}.")
    if not str(array.dtype).endswith(kind):
        raise UsageError(f"`{name}` is {array.dtype}; it must be {kind}.")
    if not _contiguous(array):
        raise UsageError(f"`{name}` {list(shape)} must be contiguous in memory.")


def pointer(array: Array | None) -> int | None:
    """The address of the first element of a NumPy array or a torch tensor."""
    if array is None:
        return None
    return int(array.data_ptr() if hasattr(array, "data_ptr") else array.ctypes.data)


def _contiguous(array: Array) -> bool:
    flags = getattr(array, "flags", None)
    return bool(array.is_contiguous() if flags is None else flags["C_CONTIGUOUS"])


def available() -> bool:
    """Whether the native library can be used here; building it now if it never was."""
    return isinstance(_outcome(), Library)


def status() -> str:
    """One line: which library is in use, or why there is none."""
    outcome = _outcome()
    if isinstance(outcome, str):
        return f"native library: off, {outcome}"
    parts = "bf16 in hardware" if outcome.has_bf16 else "bf16 emulated"
    threads = "OpenMP" if outcome.threaded else "one thread (no OpenMP runtime)"
    return f"native library: {outcome.path.name}, {outcome.lanes} lanes, {parts}, {threads}"


def library() -> Library:
    """The library. Raises BuildError where there is none; ask `available` first."""
    outcome = _outcome()
    if isinstance(outcome, str):
        raise BuildError(outcome)
    return outcome


@functools.cache
def _outcome() -> Library | str:
    """The library or the reason why there is none; found out once per process."""
    if os.environ.get("JUMOK_NATIVE") == "0":
        return "JUMOK_NATIVE=0 turned it off"
    try:
        return _load()
    except (BuildError, OSError) as error:
        return str(error).replace("\n", " ")


def _load() -> Library:
    if _share_openmp():
        try:
            path = library_path()
            return Library(ctypes.CDLL(str(path)), path, True)
        except OSError:  # a compiler whose OpenMP is not this runtime's
            pass
    path = library_path(openmp=False)
    return Library(ctypes.CDLL(str(path)), path, False)


def _share_openmp() -> bool:
    """Brings up the OpenMP runtime that torch uses (or will use), else the system's.

    The library is linked to none, so it takes this one: two runtimes in a process would let
    their idle threads spin against each other's busy ones.
    """
    for candidate in [*_torch_runtimes(), "libgomp.so.1"]:
        try:
            ctypes.CDLL(str(candidate), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return True
    return False


def _torch_runtimes() -> list[Path]:
    """Runtimes in torch's own folder; torch itself is not imported."""
    spec = importlib.util.find_spec("torch")
    folders = spec.submodule_search_locations if spec else None
    libraries = [Path(folder) / "lib" for folder in folders or ()]
    return sorted(path for folder in libraries for path in folder.glob("lib*omp*.so*"))
