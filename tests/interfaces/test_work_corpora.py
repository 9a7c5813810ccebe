"""Train, dev and test from what a command line names; nothing leaks, nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jumok.errors import DataError, UsageError
from jumok.interfaces import streaming
from jumok.interfaces.options import Reading
from jumok.interfaces.requests import DataRequest
from jumok.interfaces.work import corpora
from jumok.interfaces.work.corpora import describe, read_pairs, streamed_ways, three_ways

READING = Reading()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, count in {"pairs": 120, "dev": 7, "test": 5, "few": 3}.items():
        rows = [f"{name}{n}\t{n % 11}\n" for n in range(count)]
        (tmp_path / f"{name}.tsv").write_text("".join(rows), encoding="utf-8")
    (tmp_path / "x.de").write_text("ein\nzwei\n", encoding="utf-8")
    (tmp_path / "x.en").write_text("one\ntwo\n", encoding="utf-8")
    return tmp_path


def sides(folder: Path, dev: bool, test: bool) -> list[int]:
    found = three_ways(
        (str(folder / "pairs.tsv"),),
        (str(folder / "dev.tsv"),) if dev else (),
        (str(folder / "test.tsv"),) if test else (),
        READING,
    )
    return [len(found.train), len(found.dev), len(found.test)]


def test_what_is_given_is_taken_and_what_is_not_is_held_out(files: Path) -> None:
    train, dev, test = sides(files, False, False)
    assert train + dev + test == 120 and dev > 0 and test > 0
    train, dev, test = sides(files, True, False)
    assert (train, dev, test) == (120, 7, 0)  # who names dev wants all of it trained on
    train, dev, test = sides(files, False, True)
    assert (train + dev, test) == (120, 5) and 0 < dev < 60
    assert sides(files, True, True) == [120, 7, 5]


def test_a_streamed_file_is_held_out_of_by_the_same_rule(files: Path) -> None:
    names = [(str(files / f"{name}.tsv"),) for name in ("pairs", "dev", "test")]
    for dev, test in ((False, False), (True, False), (False, True), (True, True)):
        made, train = streamed_ways(
            names[0], names[1] if dev else (), names[2] if test else (), READING
        )
        assert [len(train), len(made.dev), len(made.test)] == sides(files, dev, test)


def test_the_seed_chooses_the_split(files: Path) -> None:
    data = (str(files / "pairs.tsv"),)
    first, again, other = (three_ways(data, (), (), READING, seed=s).test for s in (1, 1, 2))
    assert first.sources == again.sources != other.sources


def test_built_in_tasks_come_split(files: Path) -> None:
    found = three_ways(("@copy",), (str(files / "dev.tsv"),), (), READING, task_options={"n": 60})
    assert (len(found.train), len(found.dev)) == (60, 7)
    assert (
        read_pairs(("@reverse",), READING).targets[0]
        == (read_pairs(("@reverse",), READING).sources[0][::-1])
    )


def test_two_files_are_parallel(files: Path) -> None:
    data = (str(files / "x.de"), str(files / "x.en"))
    assert read_pairs(data, READING).pairs() == [("ein", "one"), ("zwei", "two")]


def test_options_of_reading_arrive(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes("뜻|말|소리\n나|다|가\n고장\n".encode("cp949"))
    reading = Reading(columns="소리,말", header="yes", sep="|", encoding="cp949", skip_bad=True)
    assert read_pairs((str(path),), reading).pairs() == [("가", "다")]


def test_what_is_too_long_empty_or_wrapped_in_spaces_is_taken_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(f'"a ",{"b" * 31}\nc,\n', encoding="utf-8")
    reading = Reading(format="csv", strip=True, keep_empty=True, max_characters=31)
    assert read_pairs((str(path),), reading).pairs() == [("a", "b" * 31), ("c", "")]
    for less, said in (
        (replace(reading, format=None), r"x.txt:1: 1 column, expected 2"),
        (replace(reading, keep_empty=False), r"x.txt:2: the target is empty.*\n.*\n.*--keep-empty"),
        (replace(reading, max_characters=30), r"--max-characters 31 takes it"),
    ):
        with pytest.raises(DataError, match=said):
            read_pairs((str(path),), less)
    unlimited = replace(reading, max_characters=0)
    path.write_text(f"a,{'b' * 10_001}\n", encoding="utf-8")
    assert len(read_pairs((str(path),), unlimited).targets[0]) == 10_001
    assert read_pairs((str(path),), replace(unlimited, strip=False)).sources == ("a",)


def test_a_large_file_is_described_by_a_sample_and_never_held(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = DataRequest(data=(str(files / "pairs.tsv"),), seed=3)
    whole = describe(request)
    monkeypatch.setattr(streaming, "LARGE", 100)
    monkeypatch.setattr(streaming, "SAMPLE", 50)
    monkeypatch.setattr(corpora, "load", None)
    found = describe(request)
    rows = whole.parts[0].rows
    assert f"of {rows} training pairs a sample of 50 is looked at" in found.notes[0]
    assert [part.rows for part in found.parts] == [50, *(part.rows for part in whole.parts[1:])]


def test_the_symbols_that_training_would_choose_are_told(files: Path) -> None:
    found = describe(DataRequest(data=(str(files / "pairs.tsv"),)))
    assert "jumok train would take the source's symbols to be character, because short" in (
        " ".join(found.notes)
    )


def test_no_data_is_a_question() -> None:
    with pytest.raises(UsageError, match="which pairs"):
        read_pairs((), READING)


def test_data_too_few_to_split_are_described_whole(files: Path) -> None:
    found = describe(DataRequest(data=(str(files / "few.tsv"),)))
    assert [part.rows for part in found.parts] == [3]
    found = describe(DataRequest(data=(str(files / "pairs.tsv"),)))
    assert sum(part.rows for part in found.parts) == 120
    assert len(found.parts) == 3
