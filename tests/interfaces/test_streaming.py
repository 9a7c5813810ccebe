"""A corpus that stays on disk trains to the same bits as one in memory."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jumok.data.corpus import Corpus, load, stream
from jumok.errors import DataError, UsageError
from jumok.interfaces import streaming
from jumok.interfaces.fitting import _encoded, codec_of, fit, make_translator, training_data
from jumok.interfaces.streaming import CACHE, StreamedCorpus, discard, divide, streams
from jumok.interfaces.translator import Translator
from jumok.recipes.options import RunConfig, run_config
from jumok.training.events import Event, Step

Call = Callable[..., Any]
ROWS = 2003
LETTERS = "abcdefgäö가나다"


def write(path: Path, rows: int = ROWS) -> Path:
    """Reversed words; every 7th source comes again in capitals, every 11th line is bad."""
    draw = random.Random(1)
    words = ["".join(draw.choices(LETTERS, k=draw.randint(2, 9))) for _ in range(rows)]
    lines = [f"{w.upper() if n % 7 == 0 else w}\t{w[::-1]}\n" for n, w in enumerate(words + words)]
    bad = ["no tab in it\n" if n % 11 == 3 else line for n, line in enumerate(lines)]
    path.write_text("".join(bad[: rows + rows // 7]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "pairs.tsv")


def both(
    file: Path, seed: int = 3, **sizes: Any
) -> tuple[tuple[Corpus, Corpus, Corpus], tuple[StreamedCorpus, Corpus, Corpus]]:
    """(in memory, streamed) of one file."""
    in_memory = load(file, on_bad="skip").split(seed, **sizes)
    return in_memory, divide(stream(file, on_bad="skip"), seed, **sizes)


def configuration(**training: object) -> RunConfig:
    flags = {"model.hidden_size": "16", "model.embedding_size": "8", "data.max_source": "9"}
    flags |= {"data.on_long": "drop", "training.threads": "1", "training.max_epochs": "1"}
    if training:  # dev is translated then, and there nothing is left out
        del flags["data.max_source"]
    return run_config("luong", flags=flags | {f"training.{k}": str(v) for k, v in training.items()})


@pytest.mark.parametrize("seed", [0, 3])
def test_the_sides_are_those_of_the_split_in_memory(file: Path, seed: int) -> None:
    (train, dev, test), (streamed, held_dev, held_test) = both(file, seed)
    assert (held_dev, held_test) == (dev, test)
    assert (held_dev.notes, held_dev.name) == (dev.notes, dev.name)
    assert held_dev.where(5) == dev.where(5)
    assert list(streamed.pairs()) == train.pairs() and len(streamed) == len(train)
    assert [*streamed.sources] == [*train.sources] and [*streamed.targets] == [*train.targets]
    assert streamed.fingerprint == train.fingerprint()
    assert streamed.sample == train


@pytest.mark.parametrize("sizes", [{"dev": 0}, {"dev": 0, "test": 0}, {"dev": 0.3, "test": 17}])
def test_sizes_are_those_of_the_split(file: Path, sizes: dict[str, Any]) -> None:
    in_memory, streamed = both(file, **sizes)
    assert [len(side) for side in streamed] == [len(side) for side in in_memory]
    assert streamed[1:] == in_memory[1:] or sizes["dev"] == 0


def test_what_cannot_be_split_is_refused_alike(tmp_path: Path) -> None:
    few = tmp_path / "few.tsv"
    few.write_text("a\tb\n" * 60, encoding="utf-8")
    for make in (lambda: load(few).split(), lambda: divide(stream(few))):
        with pytest.raises(DataError, match="1 distinct sources are too few to split"):
            make()
    with pytest.raises(DataError, match="the split leaves no row for dev"):
        divide(stream(few), dev=0.01, test=0.0)
    few.write_text("\n\n", encoding="utf-8")
    with pytest.raises(DataError, match="no pairs in it"):
        divide(stream(few))


def test_the_sample_is_bounded_and_spread(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SAMPLE", 101)
    (train, _, _), (streamed, _, _) = both(file)
    rows = {train.where(row): row for row in range(len(train))}
    at = [rows[streamed.sample.where(row)] for row in range(101)]
    assert len(streamed.sample) == 101 and len(streamed) == len(train)
    assert at == sorted(set(at))
    assert [train[row] for row in at] == list(streamed.sample)
    assert abs(np.mean(at) / len(train) - 0.5) < 0.1
    assert list(streamed.pairs()) == train.pairs()


def test_codec_digest_batches_and_places_are_the_same(file: Path, tmp_path: Path) -> None:
    (train, _, _), (streamed, _, _) = both(file)
    run = configuration()
    codec = codec_of(train, run.data)
    assert codec_of(streamed, run.data) == codec
    made = [_encoded(one, codec, tmp_path, "drop") for one in (train, streamed)]
    first, second = (training_data(data, run.data, where) for data, where in made)
    assert first.digest == second.digest
    assert len(made[1][0]) < len(train), "none was too long"
    for mine, other in zip(first.plan.epoch(1), second.plan.epoch(1), strict=True):
        np.testing.assert_array_equal(mine, other)
    batch, other = first.collate(mine), second.collate(mine)
    np.testing.assert_array_equal(batch.source.ids_BS, other.source.ids_BS)
    np.testing.assert_array_equal(batch.target_out_BT, other.target_out_BT)
    last = len(made[1][0]) - 1
    assert [first.where(r) for r in (0, 500, last)] == [second.where(r) for r in (0, 500, last)]


def test_weights_are_the_same_to_the_last_bit(file: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    in_memory, streamed = both(file)
    run = configuration(max_steps=13, validate_every=5)
    models = []
    for train, dev, _ in (in_memory, streamed):
        model = make_translator("luong", run, codec_of(train, run.data), train)
        fit(model, train, dev, folder=tmp_path / type(train).__name__)
        models.append(model)
    first, second = models
    assert first.seen is not None and np.array_equal(first.seen, second.seen)
    for name, weight in first.network.state_dict().items():
        assert torch.equal(weight, second.network.state_dict()[name]), name


def test_without_a_folder_there_is_no_place_for_the_ids(file: Path) -> None:
    train = both(file)[1][0]
    model = make_translator("luong", configuration(), codec_of(train, configuration().data))
    with pytest.raises(UsageError, match="a streamed corpus is trained with a folder"):
        fit(model, train, None)


# -- the cache --------------------------------------------------------------------------------


def test_a_cache_is_found_again_and_another_file_does_not_meet_it(
    file: Path, tmp_path: Path
) -> None:
    train = both(file)[1][0]
    codec = codec_of(train, configuration().data)
    first, _ = train.encoded(codec, tmp_path, "drop")
    stamp = (first.folder / "index.json").stat().st_mtime_ns
    again, _ = both(file)[1][0].encoded(codec, tmp_path, "drop")
    assert again.folder == first.folder
    assert (again.folder / "index.json").stat().st_mtime_ns == stamp
    other = divide(stream(file, on_bad="skip"), seed=4)[0]
    made, _ = other.encoded(codec, tmp_path, "drop")
    assert made.folder != first.folder and not first.folder.exists()


def test_a_damaged_cache_is_named(file: Path, tmp_path: Path) -> None:
    train = both(file)[1][0]
    codec = codec_of(train, configuration().data)
    cache, _ = train.encoded(codec, tmp_path, "drop")
    path = cache.folder / "target.ids"
    data = bytearray(path.read_bytes())
    data[33] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"target\.ids: the content is not what was written"):
        train.encoded(codec, tmp_path, "drop")
    discard(tmp_path)
    assert len(train.encoded(codec, tmp_path, "drop")[0]) == len(cache)


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "pairs.tsv", 300)
    train = divide(stream(file, on_bad="skip"))[0]
    codec = codec_of(train, configuration().data)
    file.write_text(file.read_text(encoding="utf-8") + "x\ty\n", encoding="utf-8")
    with pytest.raises(DataError, match="the file has changed since training began to read it"):
        train.encoded(codec, tmp_path / "run", "drop")
    assert not (tmp_path / "run").exists()


# -- the command line -------------------------------------------------------------------------


FAST = ("--data.validation_rows", 20, "--search.max_length", 12, "--threads", 1)
SHORT = ("--model", "luong", "--model.hidden_size", 16, "--skip-bad", *FAST)


def test_the_rule_goes_by_size_and_by_what_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "LARGE", 1000)
    plain, zipped = tmp_path / "a.tsv", tmp_path / "b.tsv.gz"
    plain.write_bytes(b"x" * 600)
    zipped.write_bytes(b"x" * 251)
    assert not streams([str(plain)], None) and streams([str(plain), str(plain)], None)
    assert streams([str(zipped)], None) and not streams([str(zipped)], False)
    assert streams([str(plain)], True)
    assert not streams(["@dates"], True) and not streams(["-"], None) and not streams([], True)
    with pytest.raises(UsageError, match="- can be read only once"):
        streams(["-"], True)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_streamed_run_is_resumed_from_its_cache_wherever_it_lies(
    jumok: Call, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(file, "pairs.tsv")
    shared = ("train", "pairs.tsv", *SHORT, "--training.max_steps", 9)
    assert jumok(*shared, "--out", "whole").code == 0

    def stop(event: Event) -> None:
        if isinstance(event, Step) and event.step == 5:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr("jumok.interfaces.work.running.fit", stopping(stop))
        ran = jumok(*shared, "--data.stream", "true", "--out", "run")
    assert ran.code == 130
    assert f"its ids lie in {Path('run') / CACHE}" in ran.said
    Path("elsewhere").mkdir()
    shutil.move("run", "elsewhere/run")
    shutil.move("pairs.tsv", "elsewhere/pairs.tsv")
    [cache] = Path("elsewhere/run", CACHE).iterdir()
    monkeypatch.setattr(streaming.TokenCache, "build", None)
    resumed = jumok("train", "--resume", "elsewhere/run", "--threads", 1)
    assert resumed.code == 0, resumed.said
    assert weights(Path("elsewhere/run")) == weights(Path("whole"))
    assert not cache.parent.exists()
    assert Translator.load("elsewhere/run").run.data.stream is True


def stopping(stop: Callable[[Event], None]) -> Callable[..., Any]:
    def interrupted(*arguments: Any, listeners: Any, **options: Any) -> Any:
        return fit(*arguments, listeners=[*listeners, stop], **options)

    return interrupted


def test_a_sample_is_said_to_be_one(
    jumok: Call, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(streaming, "SAMPLE", 500)
    config = tmp_path / "my.toml"
    config.write_text("[data]\nstream = true\n", encoding="utf-8")
    short = (*SHORT, "--training.max_steps", 2, "--config", config, "--out", "run")
    ran = jumok("train", file, *short)
    assert ran.code == 0
    assert "training pairs a sample of 500 is looked at" in ran.said
    assert "The answers without training are of a sample of 500 pairs." in ran.out
    more = jumok("train", file, *SHORT, "--training.max_steps", 1, "--from", "run", "--out", "b")
    assert more.code == 0


MEASURE = """
import re, sys
from pathlib import Path
from jumok.data.corpus import stream
from jumok.interfaces.fitting import codec_of, make_translator, training_data
from jumok.interfaces.streaming import divide
from jumok.interfaces.work.pilot import pilot
from jumok.recipes.options import run_config
run = run_config("luong", flags={"model.hidden_size": "16"})
train, dev, test = divide(stream(sys.argv[1]))
model = make_translator("luong", run, codec_of(train, run.data), train)
pilot(model, train)
data, where = train.encoded(model.codec, Path(sys.argv[2]), "refuse")
ready = training_data(data, run.data, where)
ready.collate(ready.plan.batch(0, 0))
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
print(len(train), peak)
"""


def peak_of(rows: int, folder: Path) -> float:
    folder.mkdir()
    lines = (f"the source line of number {i:012d}\t{i:012d} the target\n" for i in range(rows))
    (folder / "pairs.tsv").write_text("".join(lines), encoding="utf-8")
    source = Path(__file__).parents[2] / "src"
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder / "pairs.tsv"), str(folder / "run")],
        env=os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    count, peak = ran.stdout.split()
    assert int(count) > 0.8 * rows
    return float(peak)


@pytest.mark.release
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_hardly_grows_with_the_file(tmp_path: Path) -> None:
    """120,000 rows fill the sample; ten times as many add less than 150 bytes each (109)."""
    small, large = peak_of(120_000, tmp_path / "small"), peak_of(1_200_000, tmp_path / "large")
    print(f"{small:.0f} and {large:.0f} MiB")
    assert large < small + 1_080_000 * 150 / (1 << 20)
