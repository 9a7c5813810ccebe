"""The model folder: what goes in comes out, and whatever was changed is refused by name."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jumok.errors import ModelFolderError, SaveError, UsageError
from jumok.store import (
    AtomicFolder,
    Manifest,
    dump_tensors,
    latest_good,
    list_checkpoints,
    locked,
    open_folder,
    parse_tensors,
    prepare,
    save_checkpoint,
    save_folder,
    specs,
)

ARRAYS = {
    "encoder.weight": np.arange(35, dtype=np.float32).reshape(5, 7),
    "decoder.bias": np.linspace(0, 1, 11),
    "step": np.array(3.0, np.float32),
    "table": np.arange(13, dtype=np.int64),
}
FILES = {
    "config.toml": b'name = "luong"\n',
    "model.safetensors": dump_tensors(ARRAYS),
    "source.vocabulary.txt": "가\n나\n".encode(),
    "metrics.jsonl": b'{"event": "done"}\n',
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save_folder(tmp_path / "run", FILES).path


def test_what_was_saved_is_read_back(run: Path) -> None:
    folder = open_folder(run)
    assert {name: folder.read(name) for name in folder.names} == FILES
    found = folder.tensors("model.safetensors", specs(ARRAYS))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)


def test_the_same_arrays_give_the_same_bytes_whatever_their_order() -> None:
    backwards = dict(reversed(ARRAYS.items()))
    assert dump_tensors(backwards) == dump_tensors(ARRAYS)


def test_a_folder_moves(run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / "elsewhere")
    assert open_folder(moved).read("config.toml") == FILES["config.toml"]


def test_a_callable_writes_a_file(tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"a")
        file.write(b"b")

    with AtomicFolder(tmp_path / "new") as folder:
        folder.write("card.md", write)
    assert open_folder(tmp_path / "new").text("card.md") == "ab"


def test_an_error_inside_the_block_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), AtomicFolder(tmp_path / "new") as folder:
        folder.write("card.md", b"half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces_all_files_and_leaves_no_trace(run: Path) -> None:
    (run / "checkpoints").mkdir()
    save_folder(run, {"config.toml": b"x = 1\n"}, keep=["metrics.jsonl"])
    folder = open_folder(run)
    assert set(folder.names) == {"config.toml", "metrics.jsonl"}
    assert folder.read("config.toml") == b"x = 1\n"
    assert not [entry for entry in run.iterdir() if entry.name.startswith(".")]


def test_a_log_may_grow_and_nothing_else_may(run: Path) -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"event": "step"}\n')
    assert open_folder(run).read("metrics.jsonl") == FILES["metrics.jsonl"]
    with (run / "config.toml").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ModelFolderError, match=r"config\.toml: 16 bytes long, but 15 were written"):
        open_folder(run)


def test_nothing_is_written_into_a_folder_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("text")
    with pytest.raises(SaveError, match="exists and is not a model folder; nothing was written"):
        save_folder(tmp_path, FILES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(SaveError, match="is a file; a model is saved as a folder"):
        save_folder(tmp_path / "thesis.tex", FILES)


def test_only_known_names_are_written(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"'\.\./evil' is no file of a model folder"),
        AtomicFolder(tmp_path / "new") as folder,
    ):
        folder.write("../evil", b"")


# --- damage -----------------------------------------------------------------------------------


def _flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at % len(data)] ^= 1 << (at % 8)
    return bytes(changed)


DAMAGE: dict[str, Callable[[bytes, int], bytes]] = {
    "flip": _flip,
    "zero": lambda data, at: data[: at % len(data)] + bytes(len(data) - at % len(data)),
    "truncate": lambda data, at: data[: at % len(data)],
    "append": lambda data, at: data + b"x",
    "insert": lambda data, at: data[: at % len(data)] + b"\0" + data[at % len(data) :],
    "empty": lambda data, at: b"",
    "newline": lambda data, at: data + b"\n",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_every_change_of_every_file_is_refused_and_the_file_named(kind: str, run: Path) -> None:
    for path in sorted(entry for entry in run.iterdir()):
        if path.name == "metrics.jsonl" and kind in ("append", "newline"):
            continue
        good = path.read_bytes()
        for at in {0, 1, 7, len(good) // 3, len(good) // 2, len(good) - 2, len(good) - 1}:
            bad = DAMAGE[kind](good, at)
            if bad == good:
                continue
            path.write_bytes(bad)
            with pytest.raises(ModelFolderError) as error:
                open_folder(run)
            assert str(path) in error.value.message and error.value.hint
        path.write_bytes(good)
    open_folder(run)


@given(at=st.integers(0, 10**9), name=st.sampled_from(["manifest.json", *FILES]))
def test_no_flipped_bit_passes(at: int, name: str, run_of_all: Path) -> None:
    path = run_of_all / name
    good = path.read_bytes()
    path.write_bytes(_flip(good, at))
    try:
        with pytest.raises(ModelFolderError):
            open_folder(run_of_all)
    finally:
        path.write_bytes(good)


@pytest.fixture(scope="module")
def run_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(tmp_path_factory.mktemp("folder") / "run", FILES).path


@pytest.mark.parametrize("name", ["manifest.json", *FILES])
def test_a_missing_file_is_named(name: str, run: Path) -> None:
    (run / name).unlink()
    with pytest.raises(ModelFolderError, match=f"{name}: (missing|there is no such file)"):
        open_folder(run)


def test_swapped_files_are_refused(run: Path) -> None:
    (run / "config.toml").rename(run / "x")
    (run / "source.vocabulary.txt").rename(run / "config.toml")
    (run / "x").rename(run / "source.vocabulary.txt")
    with pytest.raises(ModelFolderError, match=r"config\.toml"):
        open_folder(run)


def test_the_manifest_of_another_folder_is_refused(run: Path, tmp_path: Path) -> None:
    other = save_folder(tmp_path / "other", FILES | {"config.toml": b"x = 1234567890\n"}).path
    assert len(FILES["config.toml"]) == 15
    (run / "manifest.json").write_bytes((other / "manifest.json").read_bytes())
    with pytest.raises(ModelFolderError, match=r"config\.toml: its content has SHA-256"):
        open_folder(run)


def test_a_file_changed_after_opening_is_noticed_when_read(run: Path) -> None:
    folder = open_folder(run)
    (run / "config.toml").write_bytes(b'name = "lu0ng"\n')
    with pytest.raises(ModelFolderError, match="its content has SHA-256"):
        folder.read("config.toml")


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo", "folder", "socket to nowhere"])
def test_only_regular_files_with_one_name_are_read(kind: str, run: Path, tmp_path: Path) -> None:
    path, away = run / "config.toml", tmp_path / "away"
    path.rename(away)
    match kind:
        case "symlink":
            path.symlink_to(away)
        case "hardlink":
            os.link(away, path)
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ModelFolderError, match=r"config\.toml: (cannot be opened|not a|has 2)"):
        open_folder(run)


def _manifest(run: Path, **changes: object) -> None:
    document = json.loads((run / "manifest.json").read_text()) | changes
    (run / "manifest.json").write_text(json.dumps(document))


def test_a_newer_format_is_refused_naming_both(run: Path) -> None:
    _manifest(run, format=7, producer="jumok 9.1.0")
    with pytest.raises(ModelFolderError, match=r"format 7, written by jumok 9\.1\.0, is newer than "
                       r"format 1, the newest that jumok .* reads") as error:  # fmt: skip
        open_folder(run)
    assert error.value.hint == "pip install --upgrade jumok"


@pytest.mark.parametrize("version", [None, True, "1", 0, -1, 1.0])
def test_a_format_that_is_no_version_is_refused(version: object, run: Path) -> None:
    _manifest(run, format=version)
    with pytest.raises(ModelFolderError, match="it states no format version"):
        open_folder(run)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"format": 1, "format": 1}', "a key is given twice"),
        (b'{"format": NaN}', "NaN is not JSON"),
        (b"[1]", "not a JSON object"),
        (b"{" * 100_000, "not valid JSON"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"format": 1, "files": [], "producer": "x"}', "not a manifest that jumok wrote"),
        (b" " * ((1 << 20) + 1), "longer than 1,048,576 bytes"),
    ],
    ids=["twice", "nan", "list", "open", "deep", "utf8", "schema", "long"],
)
def test_a_manifest_that_nobody_would_write_is_refused(text: bytes, reason: str, run: Path) -> None:
    (run / "manifest.json").write_bytes(text)
    with pytest.raises(ModelFolderError, match=reason):
        open_folder(run)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "manifest.json", "a.py", "x\0"])
def test_a_manifest_cannot_name_other_files(name: str, run: Path) -> None:
    manifest = open_folder(run).manifest
    forged = Manifest(files=dict(manifest.files) | {name: manifest.files["config.toml"]})
    (run / "manifest.json").write_bytes(forged.to_bytes())
    with pytest.raises(ModelFolderError, match="which is no file of a model folder"):
        open_folder(run)


def test_a_pinned_digest_must_match(run: Path) -> None:
    digest = open_folder(run).manifest.digest
    assert open_folder(run, expect_digest=digest.upper()).path == run
    with pytest.raises(ModelFolderError, match="another model than the one that was pinned"):
        open_folder(run, expect_digest="0" * 64)


def test_what_is_no_model_folder_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="does not exist"):
        open_folder(tmp_path / "none")
    with pytest.raises(ModelFolderError, match="so this is no model folder"):
        open_folder(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ModelFolderError, match="training has not finished") as error:
        open_folder(tmp_path)
    assert error.value.hint == f"jumok train --resume {tmp_path}"


# --- tensors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"table": None}, "the tensor 'table', which the configuration implies, is missing"),
        ({"extra": ((1,), "float32")}, "'extra', which the configuration implies, is missing"),
        ({"step": ((1,), "float32")}, r"'step' is float32 \[\], but .* implies float32 \[1\]"),
        ({"table": ((13,), "int32")}, r"is int64 \[13\], but the configuration implies int32"),
    ],
)
def test_tensors_must_be_those_the_configuration_implies(change: dict, reason: str) -> None:
    expected = specs(ARRAYS) | change
    if change == {"table": None}:
        arrays = {k: v for k, v in ARRAYS.items() if k != "table"}
        expected = specs(ARRAYS)
    else:
        arrays = ARRAYS
    with pytest.raises(ModelFolderError, match=reason):
        parse_tensors(dump_tensors(arrays), expected, "model.safetensors")


def test_a_tensor_too_many_is_refused() -> None:
    expected = {name: spec for name, spec in specs(ARRAYS).items() if name != "table"}
    with pytest.raises(ModelFolderError, match="'table' belongs to no part of this model"):
        parse_tensors(dump_tensors(ARRAYS), expected, "model.safetensors")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_tensors_that_are_not_finite_are_refused_on_request(bad: float) -> None:
    arrays = {"w": np.array([1.0, bad], np.float32)}
    data = dump_tensors(arrays)
    parse_tensors(data, specs(arrays), "x")
    with pytest.raises(ModelFolderError, match="the tensor 'w' holds values that are not finite"):
        parse_tensors(data, specs(arrays), "x", finite=True)


def _raw(header: object, tail: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tail


F32 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("<Q", 1 << 63) + b"{}",
        struct.pack("<Q", 101_000_000) + b"{}",
        _raw(b'{"a":' * 5000 + b"1" + b"}" * 5000),
        _raw({"a": F32 | {"shape": [2**40, 2**40]}}, b"0000"),
        _raw({"a": F32 | {"shape": [0, 2**40], "data_offsets": [0, 0]}}),
        _raw(
            b'{"a":' + json.dumps(F32).encode() + b',"a":' + json.dumps(F32).encode() + b"}",
            b"0000",
        ),
        _raw({"a": F32 | {"shape": "big"}}, b"0000"),
        _raw({"a": 3}, b"0000"),
        _raw({"a": F32, "../../x\0": F32}, b"0000"),
        _raw({"a": F32}, b"00000000"),
        _raw({"a": F32}, b"00"),
    ],
)
def test_a_hostile_header_is_refused_before_anything_is_allocated(data: bytes) -> None:
    with pytest.raises(ModelFolderError, match=r"^model\.safetensors: "):
        parse_tensors(data, {"a": ((1,), "float32")}, "model.safetensors")


@pytest.mark.parametrize("claimed", [3, 1 << 24, (1 << 24) + 1, 1 << 63])
def test_a_header_is_no_longer_than_the_file_and_its_limit(claimed: int) -> None:
    data = struct.pack("<Q", claimed) + b"{}"
    with pytest.raises(ModelFolderError, match=f"its header claims {claimed:,} bytes"):
        parse_tensors(data, {}, "model.safetensors")


def _mutated(data: bytes, random: np.random.Generator) -> bytes:
    at = int(random.integers(0, len(data)))
    match random.integers(0, 5):
        case 0:
            return _flip(data, at)
        case 1:
            return data[:at] + bytes([int(random.integers(256))]) + data[at + 1 :]
        case 2:
            return data[:at]
        case 3:
            return data[:at] + data[at : at + 17] + data[at:]
        case _:
            return data[:at] + bytes(min(64, len(data) - at)) + data[at + 64 :]


def _mutations(run: Path, count: int) -> None:
    """Counts what gets through of random damage to any file of the folder: it must be nothing."""
    random = np.random.default_rng(5)
    paths = sorted(entry for entry in run.iterdir())
    good = {path: path.read_bytes() for path in paths}
    for _ in range(count):
        path = paths[int(random.integers(len(paths)))]
        bad = _mutated(good[path], random)
        if bad == good[path] or (path.name == "metrics.jsonl" and bad.startswith(good[path])):
            continue
        path.write_bytes(bad)
        with pytest.raises(ModelFolderError):
            open_folder(run)
        path.write_bytes(good[path])


def test_random_damage_never_passes(place: Path) -> None:
    _mutations(save_folder(place / "run", FILES).path, 1_000)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_random_damage_never_passes_nightly(place: Path) -> None:
    _mutations(save_folder(place / "run", FILES).path, 100_000)


# --- checkpoints ------------------------------------------------------------------------------


def _checkpoint(run: Path, step: int) -> Path:
    return save_checkpoint(run, step, {"cursor.json": b'{"step": %d}' % step})


def test_two_checkpoints_are_kept_and_the_newest_is_used(tmp_path: Path) -> None:
    prepare(tmp_path)
    assert latest_good(tmp_path) is None
    for step in (3, 7, 11, 9_999_999_999):
        _checkpoint(tmp_path, step)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [11, 9_999_999_999]
    found = latest_good(tmp_path)
    assert found is not None and found.step == 9_999_999_999 and found.rejected == ()


def test_a_damaged_newest_falls_back_to_the_one_before_and_says_so(tmp_path: Path) -> None:
    prepare(tmp_path)
    _checkpoint(tmp_path, 3)
    bad = _checkpoint(tmp_path, 7) / "cursor.json"
    bad.write_bytes(b'{"step": 8}')
    found = latest_good(tmp_path)
    assert found is not None and found.step == 3
    assert len(found.rejected) == 1 and str(bad) in found.rejected[0]
    (tmp_path / "checkpoints/step-00000003/cursor.json").unlink()
    with pytest.raises(ModelFolderError, match="no checkpoint is good") as error:
        latest_good(tmp_path)
    assert "missing" in error.value.message and "SHA-256" in error.value.message


def test_a_second_save_at_the_same_step_is_newer(tmp_path: Path) -> None:
    prepare(tmp_path)
    first = "step-00000003"
    names = [_checkpoint(tmp_path, 3).name for _ in range(12)]
    assert names == [first, *(f"{first}-{n}" for n in range(2, 13))]
    assert [p.name for _, p in list_checkpoints(tmp_path)] == names[-2:]
    assert _checkpoint(tmp_path, 4).name == "step-00000004"


def test_left_overs_of_a_crash_are_removed_at_the_next_start(tmp_path: Path) -> None:
    parent = prepare(tmp_path)
    for name in (".writing-step-00000003-99-0123abcd", ".removing-step-00000001-0123abcd"):
        (parent / name).mkdir()
        (parent / name / "cursor.json").write_bytes(b"half")
    (parent / "step-00000002").mkdir()
    (parent / "notes").mkdir()
    prepare(tmp_path)
    assert sorted(entry.name for entry in parent.iterdir()) == ["notes", "step-00000002"]


def test_a_run_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    message = f"in use by another training process .*{os.getpid()}"
    with locked(tmp_path), pytest.raises(UsageError, match=message), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
