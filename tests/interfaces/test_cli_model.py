"""The commands over a model folder: agreed objects, agreed lines, agreed codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jumok.data.tasks import TaskData
from jumok.interfaces.cli import translate as cli_translate
from jumok.interfaces.translator import Translator

Call = Callable[..., Any]


def objects(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    assert all(one["schema"] == "jumok/1" for one in found)
    return found


@pytest.fixture
def pairs(words: TaskData, tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    rows = [f"{s}\t{t}\n" for s, t in words.test.pairs()[:30]]
    path.write_text("".join(rows), encoding="utf-8")
    return path


def test_one_line_comes_out_for_each_line_that_goes_in(
    jumok: Call, folder: Path, trained: Translator
) -> None:
    ran = jumok("translate", folder, stdin="abc\n\nx y\r\nabc")
    expected = [f.text for f in trained.translate(["abc", "", "x y", "abc"])]
    assert (ran.code, ran.said) == (0, "")
    assert ran.out.split("\n") == [*expected, ""]


def test_translations_as_objects(jumok: Call, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("abc\n\n", encoding="utf-8")
    ran = jumok("translate", folder, tmp_path / "in.txt", "--nbest", 3, "--json")
    first, empty = objects(ran.out)
    assert set(first) >= {
        "source",
        "text",
        "score",
        "tokens",
        "source_tokens",
        "attention",
        "nbest",
    }
    assert first["source"] == "abc"
    assert first["score"] == pytest.approx(sum(t["logprob"] for t in first["tokens"]), abs=1e-6)
    assert "".join(t["text"] for t in first["tokens"]) == first["text"] + "</s>"
    assert len(first["attention"]) == len(first["tokens"])
    assert {len(row) for row in first["attention"]} == {len(first["source_tokens"])}
    assert len(first["nbest"]) == 3
    assert first["nbest"][0]["text"] == first["text"]
    assert first["nbest"][1]["attention"] != first["attention"]
    assert (empty["text"], empty["tokens"], empty["attention"]) == ("", [], [])


def test_nbest_lines_stand_under_each_other(jumok: Call, folder: Path) -> None:
    ran = jumok("translate", folder, "--nbest", 2, stdin="abc\nxyz\n")
    assert len(ran.out.splitlines()) == 4


def test_keys_of_the_search_are_options(jumok: Call, folder: Path) -> None:
    short = jumok("translate", folder, "--search.max_length", "2", stdin="abcdef\n")
    assert len(short.out.strip()) == 2
    wrong = jumok("translate", folder, "--search.beem", "2", stdin="abc\n")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.said.startswith("error: unknown option --search.beem. Did you mean --search.beam?")


def test_a_line_that_is_no_text_is_named(jumok: Call, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"abc\nd\xff\n")
    ran = jumok("translate", folder, tmp_path / "in.txt")
    assert ran.code == 3
    assert f"{tmp_path}/in.txt:2: " in ran.said


def test_scores_as_one_object(jumok: Call, folder: Path, pairs: Path) -> None:
    ran = jumok("evaluate", folder, pairs, "--json")
    (found,) = objects(ran.out)
    low, high = found["exact_match_interval"]
    assert found["count"] == 30
    assert 0 <= low <= found["exact_match"] <= high <= 1
    assert 0 <= found["cer"] <= found["wer"] <= 1
    assert set(found["signatures"]) == {"bleu", "chrf"}
    assert found["seen"]["count"] == 0
    assert found["unseen"]["count"] == 30


def test_sources_of_training_are_scored_apart(
    jumok: Call, folder: Path, words: TaskData, tmp_path: Path
) -> None:
    rows = [*words.train.pairs()[:4], *words.test.pairs()[:3]]
    (tmp_path / "x.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in rows), encoding="utf-8")
    (found,) = objects(jumok("evaluate", folder, tmp_path / "x.tsv", "--json").out)
    assert (found["seen"]["count"], found["unseen"]["count"]) == (4, 3)


def test_several_targets_of_a_source_are_its_references(
    jumok: Call, folder: Path, trained: Translator, tmp_path: Path
) -> None:
    own = trained.translate(["abc"])[0].text
    (tmp_path / "x.tsv").write_text(f"abc\tnever\nabc\t{own}\n", encoding="utf-8")
    (found,) = objects(jumok("evaluate", folder, tmp_path / "x.tsv", "--json").out)
    assert (found["count"], found["exact_match"]) == (1, 1.0)


def test_a_comparison_with_itself_finds_no_difference(
    jumok: Call, folder: Path, pairs: Path
) -> None:
    ran = jumok("evaluate", folder, pairs, "--against", folder, "--errors", 3)
    assert ran.code == 0
    assert "difference" in ran.out
    assert "+0.00 to +0.00" in ran.out
    (found,) = objects(jumok("evaluate", folder, pairs, "--against", folder, "--json").out)
    assert found["against"]["exact_match"]["delta"] == 0


def test_given_pairs_are_scored_line_by_line(
    jumok: Call, folder: Path, pairs: Path, trained: Translator, words: TaskData
) -> None:
    expected = trained.score(words.test.pairs()[:30])
    lines = jumok("score", folder, pairs).out.splitlines()
    assert len(lines) == 30
    for line, one in zip(lines, expected, strict=True):
        number, source, target = line.split("\t")
        assert (source, target) == (one.source, one.text)
        assert float(number) == pytest.approx(one.score, abs=1e-5)
    found = objects(jumok("score", folder, pairs, "--json").out)[0]
    assert found["score"] == pytest.approx(sum(t["logprob"] for t in found["tokens"]), abs=1e-6)


def test_links_as_lines_as_weights_and_as_objects(
    jumok: Call, folder: Path, pairs: Path, tmp_path: Path
) -> None:
    lines = jumok("align", folder, pairs).out.splitlines()
    assert len(lines) == 30
    source, target = pairs.read_text(encoding="utf-8").splitlines()[0].split("\t")
    links = [tuple(map(int, link.split("-"))) for link in lines[0].split()]
    assert {t for _, t in links} == set(range(len(target)))
    assert all(s < len(source) for s, _ in links)
    soft = jumok("align", folder, pairs, "--soft").out.splitlines()[0].split()
    assert all(0.01 <= float(link.split(":")[1]) <= 1 for link in soft)
    found = objects(jumok("align", folder, pairs, "--json").out)[0]
    assert found["links"] == lines[0]
    assert len(found["attention"]) == len(found["target_tokens"])
    ran = jumok("align", folder, pairs, "--out", tmp_path / "maps.npz")
    assert ran.said == f"wrote {tmp_path}/maps.npz\n"
    assert (tmp_path / "maps.npz").exists()


def test_gold_ends_the_links_with_their_error_rate(
    jumok: Call, folder: Path, pairs: Path, tmp_path: Path
) -> None:
    lines = jumok("align", folder, pairs).out
    (tmp_path / "gold").write_text(lines, encoding="utf-8")
    ran = jumok("align", folder, pairs, "--gold", tmp_path / "gold")
    *links, last = ran.out.splitlines()
    assert "\n".join(links) + "\n" == lines
    assert json.loads(last) == {"schema": "jumok/1", "aer": 0.0, "precision": 1.0, "recall": 1.0}


def test_the_map_in_the_terminal_and_in_files(
    jumok: Call, folder: Path, tmp_path: Path, trained: Translator
) -> None:
    ran = jumok("inspect", folder, "abc", "--out", tmp_path / "a.html")
    assert ran.code == 0
    assert f"target  {trained.translate(['abc'])[0].text}" in ran.out
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    forced = jumok("inspect", folder, "abc", "--target", "한")
    assert "target  한" in forced.out


def test_a_step_is_printed_with_its_numbers(jumok: Call, folder: Path) -> None:
    ran = jumok("inspect", folder, "abc", "--explain", 2)
    assert ran.out.startswith("step 2 of ")
    assert "likely symbols:" in ran.out
    assert ran.out.splitlines()[-1] == "sum      1.0000"
    wrong = jumok("inspect", folder, "abc", "--explain", 99)
    assert wrong.code == 2
    assert "there is no step 99: the output has " in wrong.said


def test_the_model_itself_at_a_glance(jumok: Call, folder: Path) -> None:
    (found,) = objects(jumok("inspect", folder, "--json").out)
    assert found["model"] == "luong"
    assert found["parameters"] == sum(found["modules"].values())
    assert "parameters" in jumok("inspect", folder).out


def test_the_wiring_shows_shapes_by_letter(jumok: Call, folder: Path) -> None:
    lines = jumok("inspect", folder, "--wiring").out.splitlines()
    shapes = dict(line.split("  ", 1) for line in lines if line.startswith(("logits", "weights_")))
    assert shapes["logits_BV"].strip() == "(B, V)"
    assert shapes["weights_BS"].strip() == "(B, S)"


def test_every_promise_is_checked_on_the_users_model(
    jumok: Call, folder: Path, pairs: Path
) -> None:
    ran = jumok("verify", folder, pairs, "--rows", 5, "--json")
    found = {one["check"]: one["passed"] for one in objects(ran.out)}
    assert (ran.code, all(found.values())) == (0, True)
    assert set(found) >= {
        "integrity",
        "forward = step",
        "batch invariance, greedy",
        "batch invariance, beam 4",
        "search score = given score",
    }


def test_a_broken_promise_is_a_failure(
    jumok: Call, folder: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: a decoder that looks at how many rows it has."""
    from jumok.models.luong import Luong

    step = Luong.step

    def leaky(self: Luong, token_B: Any, *rest: Any, **options: Any) -> Any:
        found = step(self, token_B, *rest, **options)
        return found._replace(logits_BV=found.logits_BV * (1 + 1e-3 * len(token_B)))

    monkeypatch.setattr(Luong, "step", leaky)
    ran = jumok("verify", folder, pairs, "--rows", 9)
    assert ran.code == 1
    assert "FAIL  batch invariance, greedy" in ran.out


def test_a_model_can_be_named_by_no_other_path(jumok: Call, tmp_path: Path) -> None:
    ran = jumok("translate", tmp_path, stdin="a\n")
    assert ran.code == 4
    assert "this is no model folder" in ran.said


def test_threads_and_devices_are_checked(jumok: Call, folder: Path) -> None:
    assert "--threads (0) must be at least 1." in jumok("translate", folder, "--threads", 0).said
    assert "is no device" in jumok("translate", folder, "--device", "gpu9").said


def test_a_text_too_long_for_the_model_is_named_by_file_and_line(
    jumok: Call, folder: Path, tmp_path: Path
) -> None:
    """Also where an earlier line repeats a source, which is translated but once."""
    path = tmp_path / "p.tsv"
    path.write_text(f"ab\tba\nab\tba\n{'x' * 1024}\ty\nc\t{'z' * 1500}\n", encoding="utf-8")
    for command, where in (("evaluate", 3), ("score", 3), ("align", 3)):
        ran = jumok(command, folder, path)
        assert (ran.code, ran.out) == (3, "")
        assert f"p.tsv:{where}: the source has 1,025 symbols with its end" in ran.said
    hint = "--max-characters 1023 --skip-long"
    assert hint in ran.said and "(2 of 4 here)" in ran.said
    path.write_text(f"c\t{'z' * 1500}\nab\tba\n", encoding="utf-8")
    assert jumok("evaluate", folder, path).code == 0  # compared with, not read
    assert "p.tsv:1: the target has 1,501 symbols" in jumok("score", folder, path).said
    assert jumok("score", folder, path, *hint.split()).out.count("\n") == 1


def test_inspect_tells_symbols_it_was_never_trained_on(jumok: Call, folder: Path) -> None:
    ran = jumok("inspect", folder, "a가b나")
    assert "source: symbols that the model has never been trained on: 가, 나" in ran.said
    assert "never been trained on" not in jumok("inspect", folder, "ab").said


def test_inspect_of_an_empty_text_is_refused(jumok: Call, folder: Path) -> None:
    ran = jumok("inspect", folder, " ")
    assert (ran.code, ran.out) == (2, "")
    assert "the text is empty, and so is its output." in ran.said


def test_a_picture_for_a_folder_that_is_not_there_is_one_message(
    jumok: Call, folder: Path, tmp_path: Path
) -> None:
    for name in ("x.html", "x.png", "x.npz"):
        ran = jumok("inspect", folder, "ab", "--out", tmp_path / "no" / name)
        assert ran.code == 1
        assert f"{name} could not be written: No such file or directory." in ran.said
        assert f"hint: there is no folder {tmp_path / 'no'}." in ran.said


def test_who_types_is_told_what_to_type(
    jumok: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jumok("translate", folder, stdin="ab\n").said == ""
    monkeypatch.setattr(cli_translate, "at_terminal", lambda: True)
    ran = jumok("translate", folder, stdin="ab\n")
    assert ran.said == "one text a line; Ctrl-D ends.\n"
