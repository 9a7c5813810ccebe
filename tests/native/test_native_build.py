"""The library is built once, beside other processes, or not at all with a reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jumok import native
from jumok.errors import UsageError
from jumok.native import build
from jumok.native.library import check, pointer

COPYING = """#!/bin/sh
# Stands in for a compiler: waits a little, then "builds" a library that is there already.
echo ran >> {log}
sleep 0.3
while [ $# -gt 0 ]; do [ "$1" = -o ] && cp {library} "$2"; shift; done
"""
STATUS = "from jumok import native; print(native.status())"


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def environment(tmp_path: Path, tool: Path | str, **more: str) -> dict[str, str]:
    return {**os.environ, "JUMOK_CACHE": str(tmp_path / "cache"), "CXX": str(tool), **more}


def start(code: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True
    )


def output(code: str, environ: dict[str, str]) -> str:
    process = start(code, environ)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return told.strip()


@pytest.fixture
def copying(tmp_path: Path) -> Path:
    if not native.available():
        pytest.skip("no native library here")
    text = COPYING.format(log=tmp_path / "log", library=native.library().path)
    return script(tmp_path / "c++", text)


def test_two_processes_may_build_at_once(tmp_path: Path, copying: Path) -> None:
    environ = environment(tmp_path, copying)
    both = [start(STATUS, environ) for _ in range(2)]
    told = [process.communicate(timeout=120)[0] for process in both]
    assert told[0] == told[1] and "lanes" in told[0]
    built = list((tmp_path / "cache" / "native").iterdir())
    assert len(built) == 1 and built[0].suffix == ".so"


def test_a_built_library_is_not_built_again(tmp_path: Path, copying: Path) -> None:
    environ = environment(tmp_path, copying)
    first = output(STATUS, environ)
    ran = (tmp_path / "log").read_text()
    assert output(STATUS, environ) == first and (tmp_path / "log").read_text() == ran != ""


def test_what_was_built_serves_on_where_the_compiler_is_gone(tmp_path: Path, copying: Path) -> None:
    first = output(STATUS, environment(tmp_path, copying))
    assert output(STATUS, environment(tmp_path, tmp_path / "gone")) == first


def test_no_compiler_is_a_reason(tmp_path: Path) -> None:
    told = output(STATUS, environment(tmp_path, tmp_path / "gone"))
    assert told == "native library: off, no C++ compiler was found ($CXX, g++, clang++)"


def test_a_failing_compiler_is_a_reason_in_one_line(tmp_path: Path) -> None:
    broken = script(tmp_path / "c++", "#!/bin/sh\necho 'x.cpp:1: error: no disk' >&2\nexit 3\n")
    told = output(STATUS, environment(tmp_path, broken))
    assert told == f"native library: off, {broken} failed (exit 3): x.cpp:1: error: no disk"


def test_a_library_that_cannot_be_loaded_is_a_reason(tmp_path: Path) -> None:
    text = '#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = -o ] && echo no > "$2"; shift; done\n'
    told = output(STATUS, environment(tmp_path, script(tmp_path / "c++", text)))
    assert told.startswith("native library: off, ") and "\n" not in told


def test_a_cache_that_cannot_be_written_is_a_reason(tmp_path: Path, copying: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    environ = environment(tmp_path, copying, JUMOK_CACHE=str(tmp_path / "file"))
    told = output(STATUS, environ)
    assert told.startswith(f"native library: off, cannot build in {tmp_path / 'file'}")


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    code = "from jumok import native; print(native.available(), native.status())"
    told = output(code, {**os.environ, "JUMOK_NATIVE": "0"})
    assert told == "False native library: off, JUMOK_NATIVE=0 turned it off"


def test_the_cache_follows_the_environment() -> None:
    assert build.cache_folder({"JUMOK_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a/native")
    assert build.cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/jumok/native")
    assert build.cache_folder({}) == Path.home() / ".cache/jumok/native"


def test_another_source_or_flag_is_another_file(
    tmp_path: Path, copying: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = environment(tmp_path, copying)
    names = {build.library_path(environ=environ).name}
    names.add(build.library_path(openmp=False, environ=environ).name)
    monkeypatch.setattr(build, "_sources", lambda: [b"another"])
    names.add(build.library_path(environ=environ).name)
    monkeypatch.setattr(build, "_processor", lambda: "another")
    names.add(build.library_path(environ=environ).name)
    assert len(names) == 4


@pytest.mark.skipif(not native.available(), reason="no native library here")
def test_one_openmp_runtime_serves_torch_and_the_library() -> None:
    code = """
import re, sys
from pathlib import Path
from jumok import native
first = native.library().handle.jumok_threads(2)
import torch
torch.set_num_threads(2); torch.ones(300, 300) @ torch.ones(300, 300)
maps = Path('/proc/self/maps').read_text()
print(first, native.library().threaded, len(set(re.findall(r'\\S*lib[gi]?omp\\S*', maps))))
"""
    if not Path("/proc/self/maps").exists():
        pytest.skip("no list of loaded libraries on this system")
    threads, threaded, runtimes = output(code, dict(os.environ)).split()
    assert (threads, runtimes) == (("2", "1") if threaded == "True" else ("1", runtimes))


@pytest.mark.nightly
def test_the_real_compiler_builds_for_two_processes_at_once(tmp_path: Path) -> None:
    tool = build.compiler()
    if tool is None:
        pytest.skip("no compiler here")
    environ = environment(tmp_path, tool)
    both = [start(STATUS, environ) for _ in range(2)]
    told = [process.communicate(timeout=280)[0] for process in both]
    assert told[0] == told[1] and "lanes" in told[0]


def test_wrong_arrays_never_reach_the_library() -> None:
    np = pytest.importorskip("numpy")
    right = np.zeros((2, 3), np.float32)
    check("a", right, (2, 3))
    check("a", None, (2, 3))
    for array, shape, text in (
        (right, (3, 2), r"`a` has shape \[2, 3\]; it must be \[3, 2\]"),
        (right.astype(np.float64), (2, 3), "`a` is float64; it must be float32"),
        (np.zeros((3, 2), np.float32).T, (2, 3), "must be contiguous in memory"),
    ):
        with pytest.raises(UsageError, match=text):
            check("a", array, shape)
    assert pointer(None) is None and pointer(right) == right.ctypes.data
