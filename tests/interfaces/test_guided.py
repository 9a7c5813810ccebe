"""Links from a file or a column guide attention: from the command line to where it looks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import jumok
from jumok.alignment import agreement
from jumok.data.corpus import Corpus, load, stream
from jumok.data.encoded import encode_all
from jumok.errors import DataError, UsageError
from jumok.interfaces import fitting
from jumok.interfaces.fitting import check_guided
from jumok.interfaces.streaming import divide
from jumok.interfaces.translator import Translator
from jumok.models import MODELS
from jumok.models.contract import Want
from jumok.training.data import to_torch
from jumok.training.losses import guided_alignment

CPU = torch.device("cpu")
Call = Callable[..., Any]
SIZES: dict[str, dict[str, Any]] = {
    "luong": {"hidden_size": 48, "embedding_size": 32, "dropout": 0.0},
    "transformer": {"hidden_size": 48, "num_heads": 3},
}
TINY = ["--model.hidden_size", 8, "--model.embedding_size", 8, "--training.max_steps", 3]


def mirror(text: str) -> str:
    """Links of a string to its reverse."""
    return " ".join(f"{len(text) - 1 - t}-{t}" for t in range(len(text)))


def reversing(count: int) -> Corpus:
    rows = jumok.tasks.reverse(count, 0, lengths=(4, 7), dev=50, test=50).train.pairs()
    return Corpus.of(rows, "reverse", links=[mirror(source) for source, _ in rows])


def looks_right(model: Translator, pairs: Corpus) -> float:
    """Share of symbols under which attention is strongest at their gold place."""
    traces = [found.attention.trace for found in model.score(pairs.pairs()[:60])]
    gold = [[len(s) - 1 - t for t in range(len(s))] for s in pairs.sources[:60]]
    return agreement(traces, gold).attention


def trained(name: str, train: Corpus, steps: int, **training: Any) -> Translator:
    options: dict[str, Any] = {"training": {"seed": 1, "max_steps": steps, **training}}
    options |= {"data": {"links_count": "symbol"}, "optim": {"lr": 1e-2}}
    model = jumok.build(name, train, **SIZES.get(name, SIZES["luong"]), **options)
    jumok.fit(model, train)
    return model


def guided_and_not(name: str, steps: int) -> tuple[float, float]:
    train = reversing(1500)
    weights = (1.0, 0.0)
    found = (trained(name, train, steps, guided_weight=weight) for weight in weights)
    guided, unguided = (looks_right(model, train) for model in found)
    return guided, unguided


def test_guided_attention_looks_where_the_links_say() -> None:
    """After so few updates that nothing has been learnt of the task yet."""
    guided, unguided = guided_and_not("luong-fast", 60)
    assert guided > 0.8 and unguided < 0.6, (guided, unguided)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["luong", "rnnsearch", "transformer"])
def test_every_kind_of_attention_can_be_guided(name: str) -> None:
    guided, unguided = guided_and_not(name, 150)
    assert guided > 0.7 and unguided < 0.5, (guided, unguided)


def test_links_in_a_corpus_are_used_unless_it_is_said_otherwise() -> None:
    train = reversing(100)
    assert jumok.build("luong", train).run.training.guided_weight == 0.05
    assert jumok.build("luong", Corpus.of(train.pairs())).run.training.guided_weight == 0


# --- reading ------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rows = reversing(80)
    found = {name: tmp_path / name for name in ("pairs.tsv", "three.tsv", "links.txt", "dev.tsv")}
    assert rows.links is not None
    whole = list(zip(rows.sources, rows.targets, rows.links, strict=True))
    found["pairs.tsv"].write_text("".join(f"{s}\t{t}\n" for s, t, _ in whole))
    found["three.tsv"].write_text("".join(f"{s}\t{t}\t{links}\n" for s, t, links in whole))
    found["links.txt"].write_text("".join(f"{links}\n" for _, _, links in whole))
    found["dev.tsv"].write_text("".join(f"{s}\t{t}\n" for s, t, _ in whole[:20]))
    return found


def test_a_column_and_a_file_of_links_are_the_same(files: dict[str, Path]) -> None:
    by_column = load(files["three.tsv"], links_column=3)
    by_file = load(files["pairs.tsv"], links=files["links.txt"])
    assert by_column.links == by_file.links and by_column.pairs() == by_file.pairs()
    part = by_column.select([5, 2])
    assert part.links == (by_column.links[5], by_column.links[2])  # type: ignore[index]
    train, _, _ = by_column.split()
    assert all(link == mirror(s) for s, link in zip(train.sources, train.links or (), strict=True))


def test_links_stand_beside_two_parallel_files(tmp_path: Path) -> None:
    for name, text in (("a.x", "a b\n\nc\n"), ("a.y", "A B\n\nC\n"), ("a.l", "0-0\n\n\n")):
        (tmp_path / name).write_text(text)
    made = load((tmp_path / "a.x", tmp_path / "a.y"), links=tmp_path / "a.l")
    assert made.links == ("0-0", ""), "a blank line is a line of both"


@pytest.mark.parametrize("change", ["one less", "one more"])
def test_links_must_match_line_for_line(files: dict[str, Path], change: str) -> None:
    lines = files["links.txt"].read_text().splitlines(keepends=True)
    files["links.txt"].write_text(
        "".join(lines[:-1] if change == "one less" else [*lines, "0-0\n"])
    )
    with pytest.raises(DataError, match="links must match the pairs line for line"):
        load(files["pairs.tsv"], links=files["links.txt"])


def test_a_run_is_guided_and_goes_on(jumok: Call, files: dict[str, Path], tmp_path: Path) -> None:
    out, dev = tmp_path / "run", files["dev.tsv"]
    said = ["--data.links_count", "symbol", *TINY]
    ran = jumok("train", files["three.tsv"], "--dev", dev, "--links-column", 3, "--out", out, *said)
    assert ran.code == 0, ran.said
    assert "attention is guided by links between symbols, weight 0.05" in ran.said
    config = (out / "config.toml").read_text()
    assert "guided_weight = 0.05" in config
    again = jumok("train", "--resume", out, "--training.max_steps", 5)
    assert again.code == 0, again.said
    other = tmp_path / "other"
    ran = jumok("train", files["pairs.tsv"], "--dev", dev, "--links", files["links.txt"],
                "--out", other, *said)  # fmt: skip
    steps = [
        [json.loads(line)["loss"] for line in (place / "metrics.jsonl").read_text().splitlines()
         if '"step"' in line and '"loss"' in line][:3]
        for place in (out, other)
    ]  # fmt: skip
    assert steps[0] == steps[1], "a file and a column train alike"
    assert jumok("verify", out, "--rows", 6).code == 0
    ran = jumok("train", files["pairs.tsv"], "--dev", dev, "--from", out, "--out", tmp_path / "c",
                "--training.max_steps", 2)  # fmt: skip
    assert ran.code == 0, "going on without links is no longer guided: " + ran.said


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        (["--training.guided_weight", 1], 2, "there are no links to guide by"),
        (["--links-column", 3, "--links", "x"], 2, "in a file or in a column"),
        (["--links", "nowhere.txt"], 2, "there is no such file"),
        (["--links-column", 4], 3, "3 columns, expected 4"),
        (["--links-column", 3], 3, "words between spaces from 0"),
        (["--links-column", 3, "--model", "plain", "--data.links_count", "symbol"], 2,
         "the model plain has none"),
        (["--links-column", 3, "--data.links_count", "symbol", "--model.normalize", "rela"], 2,
         "weights by rela may sum to more than one"),
        (["--links-column", 3, "--data.stream", "true"], 2, "this corpus streams from disk"),
    ],
)  # fmt: skip
def test_what_cannot_guide_is_refused_with_its_reason(
    jumok: Call, files: dict[str, Path], tmp_path: Path, said: list[Any], code: int, message: str
) -> None:
    ran = jumok("train", files["three.tsv"], "--dev", files["dev.tsv"], *said,
                "--out", tmp_path / "run", *([] if "plain" in said else TINY))  # fmt: skip
    assert (ran.code, message in ran.said) == (code, True), ran.said


def test_a_weight_of_zero_says_that_links_are_not_used(
    jumok: Call, files: dict[str, Path], tmp_path: Path
) -> None:
    ran = jumok("train", files["three.tsv"], "--dev", files["dev.tsv"], "--links-column", 3,
                "--training.guided_weight", 0, "--out", tmp_path / "run", *TINY)  # fmt: skip
    assert ran.code == 0 and "links are there and not used" in ran.said


def test_streams_and_pairs_without_links_are_refused_in_python(files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="streams from disk"):
        divide(stream(files["three.tsv"], links_column=3))
    train = Corpus.of(reversing(60).pairs(), "bare")
    model = jumok.build("luong", train, training={"guided_weight": 1.0})
    with pytest.raises(UsageError, match="bare has none") as error:
        check_guided(model, train)
    assert "--links-column 3" in str(error.value)


def test_pairs_left_out_as_too_long_take_their_links_with_them() -> None:
    rows = [("ab", "ba"), ("abcdefgh", "hgfedcba"), ("cd", "dc"), ("abc", "cba")]
    train = Corpus.of(rows, "four", links=["0-1", "0-7", "1-0", "2-0"])
    model = jumok.build(
        "luong",
        train,
        hidden_size=8,
        embedding_size=8,
        data={"links_count": "symbol", "max_source": 5, "on_long": "drop"},
    )
    data = encode_all(model.codec, train.pairs(), on_long="drop")
    found = fitting._guides(model, train, data)
    assert [found.links[row].tolist() for row in range(3)] == [[0, 1], [1, 0], [2, 0]]
    plain, guided = (fitting.training_data(data, model.run.data, guided=g) for g in (None, found))
    assert plain.digest != guided.digest, "a run does not go on with other links unnoticed"
    assert guided.collate(np.array([1])).links_BTS.tolist()[0][0] == [0, 1, 0]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_guided_term_reaches_the_weights_of_every_model_that_attends(name: str) -> None:
    """In the path that training takes; a map that is cut off would guide nothing, silently."""
    model = jumok.build(name, reversing(60), data={"links_count": "symbol"})
    network: Any = model.network
    batch = to_torch(model.codec.encode_batch(["abcd", "ab"], ["dcba", "ba"])[0], CPU)
    batch = replace(batch, links_BTS=torch.rand((*batch.target_out_BT.shape, 5)))
    output = network(batch, want=Want.WEIGHTS)
    if not any(spec.is_weights for spec in network.maps):
        assert output.weights_BTS is None
        return
    guided_alignment(output.weights_BTS, batch.links_BTS).backward()
    reached = [n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()]
    assert reached, "no parameter hears of the links"
