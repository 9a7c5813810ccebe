"""Inflection through the commands and the front door: a file with a third column of tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jumok
from jumok.data.tags import MARK
from jumok.errors import DataError, UsageError
from jumok.interfaces.streaming import divide
from jumok.interfaces.translator import Translator

Call = Callable[..., Any]
SMALL = {
    "hidden_size": 32,
    "embedding_size": 24,
    "dropout": 0.0,
    "optim": {"lr": 1e-2},
    "training": {"max_epochs": 25, "validate_every": 60, "seed": 3},
}
STEMS = [a + b + c for a in "bdgk" for b in "aeiou" for c in "lmnr"]
ENDINGS = {"PL": "s", "SG": "", "NEG;PL": "sx", "NEG;SG": "x"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy language: the tags alone say which ending a stem has."""
    path = tmp_path_factory.mktemp("tags") / "toy.train"
    rows = [f"{s}\t{s}{ending}\tN;{tags}\n" for s in STEMS for tags, ending in ENDINGS.items()]
    path.write_text("".join(rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def inflects(table: Path) -> Translator:
    train, dev, _ = jumok.load(table, tags=3).split(seed=0)
    model = jumok.build("luong-fast", train, **SMALL)
    jumok.fit(model, train, dev)
    return model


@pytest.fixture(scope="module")
def run(inflects: Translator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tags") / "run"
    inflects.save(path)
    return path


def test_the_tags_decide_what_is_written(table: Path, inflects: Translator) -> None:
    _, _, test = jumok.load(table, tags=3).split(seed=0)
    assert jumok.evaluate(inflects, test).exact_match > 0.8
    found = [one.text for one in inflects.translate(["gal\tN;PL", "gal\tN;SG", "gal\tN;NEG;PL"])]
    assert len(set(found)) == 3 and found[0].endswith("s") and found[2].endswith("sx")


def test_tags_stand_whole_under_their_names_with_their_spans(inflects: Translator) -> None:
    text = "gal\tN;NEG;PL"
    trace = inflects.translate([text])[0].attention.trace
    assert [t.text for t in trace.source][:6] == ["N", "NEG", "PL", "g", "a", "l"]
    assert [text[t.start : t.end] for t in trace.source if not t.special][:3] == ["N", "NEG", "PL"]
    assert MARK not in str(inflects.translate([text])[0].attention)


def test_every_command_reads_tags(jumok: Call, run: Path, table: Path, tmp_path: Path) -> None:
    ran = jumok("translate", run, "--json", stdin="gal\tN;PL\n\ngal\tN;NEW\n")
    first, empty, _ = map(json.loads, ran.out.splitlines())
    assert first["source_tokens"][:2] == ["N", "PL"] and empty["text"] == ""
    assert len(first["attention"][0]) == len(first["source_tokens"])
    few = tmp_path / "few.tsv"
    few.write_text("".join(table.read_text().splitlines(keepends=True)[:12]))
    for command in (["evaluate"], ["score"], ["align"], ["verify"]):
        ran = jumok(*command, run, few, "--tags-column", 3)
        assert ran.code == 0, ran.said
    assert jumok("verify", run, "--rows", 8).code == 0, "texts made of lemma and tags"
    page = tmp_path / "a.html"
    ran = jumok("inspect", run, "gal\tN;QQ", "--out", page)
    assert ran.code == 0 and "never been trained on: QQ" in ran.said
    assert MARK not in page.read_text(encoding="utf-8")
    assert "4 tags among them" in jumok("inspect", run).out
    ran = jumok("data", table, "--tags-column", 3)
    assert "source: 3 characters" in ran.out


def test_a_line_without_tags_is_named(jumok: Call, run: Path, table: Path) -> None:
    ran = jumok("translate", run, stdin="gal\tN;PL\ngal\n")
    assert ran.code == 3 and "line 2: the source has no tags" in ran.said
    assert ran.said.count("| gal") == 1
    for command in ("evaluate", "score", "align", "verify"):
        ran = jumok(command, run, table)
        assert ran.code == 2 and "--tags-column 3 names their column" in ran.said
    ran = jumok("evaluate", run, table, "--tags-column", 3, "--tag-sep", "|")
    assert ran.code == 2 and "--tag-sep ';'" in ran.said


def test_a_model_without_tags_refuses_a_column_of_them(
    jumok: Call, folder: Path, table: Path
) -> None:
    ran = jumok("evaluate", folder, table, "--tags-column", 3)
    assert ran.code == 2 and "the model reads no tags" in ran.said


def test_train_reads_dev_and_test_with_their_tags_and_goes_on(
    jumok: Call, table: Path, tmp_path: Path
) -> None:
    lines = table.read_text().splitlines(keepends=True)
    dev, test = tmp_path / "d.dev", tmp_path / "d.gold"
    dev.write_text("".join(lines[::9]))
    test.write_text("".join(lines[::11]))
    out = tmp_path / "out"
    common = ["--tags-column", 3, "--model.hidden_size", 8, "--model.embedding_size", 8]
    ran = jumok("train", table, "--dev", dev, "--test", test, "--out", out, *common,
                "--training.max_epochs", 1)  # fmt: skip
    assert ran.code == 0, ran.said
    assert "$'" in ran.out + ran.said, "a TAB as a shell takes it"
    more = tmp_path / "more.tsv"
    more.write_text("gal\tgals\tN;DUAL\n" * 3 + "".join(lines[:40]))
    ran = jumok("train", more, "--dev", dev, "--from", out, "--out", tmp_path / "more",
                "--tags-column", 3, "--training.max_epochs", 1)  # fmt: skip
    assert ran.code == 0 and "grows by 1 symbols: DUAL" in ran.said
    ran = jumok("train", more, "--dev", dev, "--from", out, "--out", tmp_path / "m")
    assert ran.code == 2 and "the model reads tags" in ran.said


def test_a_streamed_table_is_encoded_as_one_in_memory(table: Path, tmp_path: Path) -> None:
    from jumok.data.corpus import stream
    from jumok.data.encoded import encode_all
    from jumok.interfaces.fitting import codec_of
    from jumok.recipes.options import DataOptions

    train, _, _ = divide(stream(table, tags=3))
    held, _, _ = jumok.load(table, tags=3).split()
    codec = codec_of(train, DataOptions())
    assert codec == codec_of(held, DataOptions()) and codec.tags == ";"
    cache, _ = train.encoded(codec, tmp_path, "refuse")
    whole = encode_all(codec, held.pairs())
    assert cache.source.ids.tolist() == whole.source.ids.tolist()


def test_the_front_door_refuses_pairs_that_lack_tags(inflects: Translator) -> None:
    from jumok.data.corpus import Corpus

    with pytest.raises(UsageError, match="sources of bare have none"):
        jumok.evaluate(inflects, Corpus.of([("gal", "gals")], "bare"))
    with pytest.raises(DataError, match="line 2: the source has no tags"):
        inflects.translate(["gal\tN", "gal"])


def test_a_student_reads_its_teachers_tags(
    jumok: Call, run: Path, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student"
    few = tmp_path / "few.tsv"
    few.write_text("".join(table.read_text().splitlines(keepends=True)[:200]))
    ran = jumok("distill", run, few, "--tags-column", 3, "--beam", 1, "--out", out,
                "--model.hidden_size", 8, "--training.max_steps", 2)  # fmt: skip
    assert ran.code == 0, ran.said
    assert "tags among them" in jumok("inspect", out).out
    assert jumok("translate", f"{run},{out}", stdin="gal\tN;PL\n").code in (0, 2)


def test_models_with_and_without_tags_do_not_answer_together(
    jumok: Call, run: Path, folder: Path
) -> None:
    ran = jumok("translate", f"{run},{folder}", stdin="gal\tN;PL\n")
    assert ran.code == 2 and "one reads tags, the other none" in ran.said
