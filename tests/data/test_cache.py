"""The token cache: what it gives is what memory gives, or it is refused by name."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jumok.data.building import build_codec
from jumok.data.cache import TokenCache
from jumok.data.codec_files import codec_digest
from jumok.data.encoded import PairCodec, collate, encode_all
from jumok.data.order import Plan
from jumok.data.tasks import reverse
from jumok.errors import DataError

PAIRS = [*reverse(101, seed=1, dev=1, test=1).train.pairs(), ("", ""), ("a", ""), ("", "b")]


@pytest.fixture(scope="module")
def codec() -> PairCodec:
    return build_codec([s for s, _ in PAIRS], [t for _, t in PAIRS])


@pytest.fixture(scope="module")
def cache(codec: PairCodec, tmp_path_factory: pytest.TempPathFactory) -> TokenCache:
    folder = tmp_path_factory.mktemp("cache") / "tokens"
    return TokenCache.build(folder, codec, iter(PAIRS))


@given(rows=st.lists(st.integers(0, len(PAIRS) - 1), min_size=1, max_size=17))
def test_disk_and_memory_give_the_same_batches(
    codec: PairCodec, cache: TokenCache, rows: list[int]
) -> None:
    memory = encode_all(codec, PAIRS)
    from_disk, from_memory = (collate(data, rows).arrays() for data in (cache, memory))
    assert from_disk.keys() == from_memory.keys()
    for name, array in from_disk.items():
        assert np.array_equal(array, from_memory[name]) and array.dtype == from_memory[name].dtype


def test_disk_and_memory_give_the_same_plan(codec: PairCodec, cache: TokenCache) -> None:
    memory = encode_all(codec, PAIRS)
    plans = [
        Plan(
            source_lengths=data.source.lengths,
            target_lengths=data.target.lengths,
            seed=2,
            batch_tokens=211,
            window=31,
        )
        for data in (cache, memory)
    ]
    for ours, theirs in zip(plans[0].epoch(1), plans[1].epoch(1), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_cache_is_small_and_mapped(cache: TokenCache) -> None:
    assert len(cache) == len(PAIRS) and cache.dropped == 0
    assert (
        isinstance(memoryview(cache.source.ids.base).obj, mmap.mmap)
        and cache.source.ids.dtype == np.uint16
    )
    symbols = sum(len(s) + 1 for s, _ in PAIRS)
    assert (cache.folder / "source.ids").stat().st_size == 2 * symbols
    assert (cache.folder / "source.offsets").stat().st_size == 8 * (len(PAIRS) + 1)
    assert not cache.source.ids.flags.writeable


def test_a_large_vocabulary_takes_four_bytes_an_id(tmp_path: Path) -> None:
    words = [str(i) for i in range(70_000)]
    codec = build_codec([" ".join(words)], ["a"], source_unit="space", max_source=80_000)
    cache = TokenCache.build(tmp_path / "c", codec, [(" ".join(words), "a")])
    assert cache.source.ids.dtype == np.int32 and int(cache.source.ids.max()) == 70_003
    assert np.array_equal(cache.source[0][:-1], codec.source_vocabulary.ids_of(words))


def test_a_cache_knows_which_codec_made_it(codec: PairCodec, cache: TokenCache) -> None:
    assert cache.codec == codec_digest(codec)
    other = build_codec(["ab"], ["ab"])
    assert cache.codec != codec_digest(other)


def test_what_is_too_long_is_left_out_and_counted(tmp_path: Path) -> None:
    codec = build_codec(["ab"], ["ab"], max_source=3)
    cache = TokenCache.build(
        tmp_path / "c", codec, [("ab", "a"), ("aba", "b"), ("a", "b")], on_long="drop"
    )
    assert len(cache) == 2 and cache.dropped == 1
    assert TokenCache.open(tmp_path / "c").dropped == 1


def test_an_empty_corpus_is_an_empty_cache(codec: PairCodec, tmp_path: Path) -> None:
    cache = TokenCache.build(tmp_path / "c", codec, [])
    cache.verify()
    assert len(cache) == len(cache.source) == 0


def test_a_failed_build_leaves_nothing_behind(codec: PairCodec, tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[str, str]]:
        yield from PAIRS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TokenCache.build(tmp_path / "c", codec, broken())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_not_overwritten(codec: PairCodec, tmp_path: Path) -> None:
    TokenCache.build(tmp_path / "c", codec, PAIRS)
    with pytest.raises(DataError, match=r"c exists already\.\n  hint: remove it"):
        TokenCache.build(tmp_path / "c", codec, PAIRS)


@pytest.fixture
def fresh(codec: PairCodec, tmp_path: Path) -> Path:
    return TokenCache.build(tmp_path / "c", codec, PAIRS).folder


FILES = ["source.ids", "source.offsets", "target.ids", "target.offsets"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "longer", "gone"])
def test_a_file_of_another_size_is_refused_by_name(fresh: Path, name: str, damage: str) -> None:
    path = fresh / name
    if damage == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-1] if damage == "cut" else data + b"\0")
    what = "there is no such file" if damage == "gone" else r"\d+ bytes, but the index says \d+"
    with pytest.raises(DataError, match=f"{name}: {what}"):
        TokenCache.open(fresh)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.4, 0.99])
def test_verifying_finds_a_changed_byte(fresh: Path, name: str, place: float) -> None:
    path = fresh / name
    data = bytearray(path.read_bytes())
    cache = TokenCache.open(fresh)
    cache.verify()
    data[int(place * len(data))] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=f"{name}: the content is not what was written"):
        cache.verify()


def test_offsets_that_do_not_fit_are_refused(fresh: Path) -> None:
    path = fresh / "target.offsets"
    offsets = np.fromfile(path, dtype="<i8")
    offsets[-1] -= 1
    offsets.tofile(path)
    with pytest.raises(DataError, match=r"target\.offsets: the offsets do not fit the rows"):
        TokenCache.open(fresh)


def change(index: dict[str, object], path: str, value: object) -> None:
    *way, last = path.split("/")
    inner: dict[str, object] = index
    for part in way:
        inner = inner[part]  # type: ignore[assignment]
    inner[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", 2, "format 2, but this version reads 1"),
        ("rows", -1, "a count is not a number"),
        ("rows", 5.0, "a count is not a number"),
        ("dropped", True, "a count is not a number"),
        ("codec", "x", "a digest is not SHA-256"),
        ("more", 1, "it must have the keys format, codec, rows, dropped, files"),
        ("files/../x", {}, "`files` must be source.ids"),
        ("files/source.ids/dtype", "object", "a type is not one of uint16, int32, int64"),
        ("files/source.ids/path", "/etc/passwd", "a file's entry is not complete"),
    ],
)
def test_a_wrong_index_is_refused(fresh: Path, path: str, value: object, message: str) -> None:
    index = json.loads((fresh / "index.json").read_text())
    if path == "files/../x":
        index["files"]["../x"] = value
    else:
        change(index, path, value)
    (fresh / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError) as error:
        TokenCache.open(fresh)
    assert f"index.json: not a token cache's index: {message}" in str(error.value)


def test_no_index_means_no_cache(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index\.json: there is no token cache"):
        TokenCache.open(tmp_path)
    (tmp_path / "index.json").write_bytes(b"[" * 100_000)
    with pytest.raises(DataError, match="not a token cache's index"):
        TokenCache.open(tmp_path)


MEASURE = """
import re, sys, time
from jumok.data.building import build_codec
from jumok.data.cache import TokenCache
rows = int(sys.argv[1])
def pairs():
    for i in range(rows):
        yield f"the source line of number {i:012d}", f"{i:012d} line"
codec = build_codec(*zip(*[("the source line of number 0123456789", "0123456789 line")]))
start = time.process_time()
cache = TokenCache.build(sys.argv[2], codec, pairs())
# Not ru_maxrss: a child inherits the peak of the process that forked it.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
print(len(cache), time.process_time() - start, peak)
"""


def measured(rows: int, folder: Path) -> tuple[int, float, float]:
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(rows), str(folder)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    count, seconds, peak = ran.stdout.split()
    return int(count), float(seconds), float(peak)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    _, _, small = measured(2_000, tmp_path / "small")
    _, _, large = measured(60_000, tmp_path / "large")
    assert large < small + 12


@pytest.mark.release
def test_a_million_lines_are_encoded_in_bounded_memory_and_time(tmp_path: Path) -> None:
    count, seconds, peak = measured(1_000_000, tmp_path / "million")
    print(f"{count} pairs: {seconds:.1f} s of processor time, {peak:.0f} MiB")
    assert count == 1_000_000 and seconds < 60 and peak < 200
