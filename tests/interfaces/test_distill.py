"""``jumok distill``: what a teacher writes, kept line by line, is what a student is trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jumok.data.corpus import load
from jumok.data.tasks import TaskData
from jumok.interfaces.outputs import Translation
from jumok.interfaces.translator import Translator
from jumok.interfaces.work import distilling
from jumok.records import Hypothesis

Call = Callable[..., Any]
SHORT = ("--model.hidden_size", 16, "--training.max_steps", 3, "--out", "s")
STARS = "*"


@pytest.fixture
def pairs(
    folder: Path, words: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, str]]:
    """80 pairs of words that the teacher knows, their references spoilt: only a teacher that
    is asked can have written words turned round."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher").symlink_to(folder, target_is_directory=True)
    rows = [(source, STARS + target) for source, target in words.train.pairs()[:80]]
    text = "".join(f"{source}\t{target}\n" for source, target in rows)
    Path("pairs.tsv").write_text(text, encoding="utf-8")
    return rows


def lines(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def side(name: str) -> list[tuple[str, str]]:
    return [(row["source"], row["target"]) for row in lines(f"s/distilled/{name}.jsonl")]


def test_the_student_learns_the_teachers_words_and_is_tested_on_gold(
    jumok: Call, pairs: list[tuple[str, str]], trained: Translator
) -> None:
    ran = jumok("distill", "teacher", "pairs.tsv", "--to", "luong", *SHORT, "--json")
    assert ran.code == 0, ran.said
    train, dev, test = map(side, ("train", "dev", "test"))
    split = load("pairs.tsv").split(seed=trained.run.data.seed)
    assert [s for s, _ in train] == list(split[0].sources), "the sides are the teacher's"
    assert (dev, test) == (split[1].pairs(), split[2].pairs())
    written = [one.text for one in trained.translate([s for s, _ in train], beam=5)]
    assert [target for _, target in train] == written
    assert not any(target.startswith(STARS) for _, target in train)
    last = json.loads(ran.out.splitlines()[-1])
    assert last["scores"]["test"]["count"] == last["teacher"]["count"] == len(test)
    assert last["teacher"]["exact_match"] == 0, "gold has stars, the teacher has not"
    student = Translator.load("s")
    assert (student.name, student.run.model.hidden_size) == ("luong", 16)
    assert "the teacher" in student.card
    assert not set(student.codec.target_vocabulary.symbols) & {STARS}


def test_people_see_both_scores(jumok: Call, pairs: object) -> None:
    ran = jumok("distill", "teacher", "pairs.tsv", "--to", "plain", *SHORT)
    assert ran.code == 0
    assert "free-running" in ran.out and "\n  the teacher " in ran.out
    assert "teacher: luong (teacher); pairs of pairs.tsv" in ran.said
    assert "the teacher was trained on 1" in ran.said, "all of these were its training data"
    written = f"the teacher wrote {len(side('train'))} outputs, 0.0% of them as a reference has it."
    assert written in ran.said


def test_gold_is_kept_on_request(jumok: Call, pairs: list[tuple[str, str]]) -> None:
    ran = jumok("distill", "teacher", "pairs.tsv", "--keep-gold", "--to", "plain", *SHORT)
    assert ran.code == 0
    train = side("train")
    half = len(train) // 2
    assert [s for s, _ in train[:half]] == [s for s, _ in train[half:]]
    assert set(train[half:]) <= set(pairs) and not set(train[:half]) & set(pairs)


def test_dev_alone_holds_nothing_out(jumok: Call, pairs: list[tuple[str, str]]) -> None:
    Path("dev.tsv").write_text("abc\tcba\nab\tba\n", encoding="utf-8")
    ran = jumok(
        "distill", "teacher", "pairs.tsv", "--dev", "dev.tsv", "--to", "plain", *SHORT, "--json"
    )
    assert ran.code == 0
    assert (len(side("train")), len(side("dev")), side("test")) == (80, 2, [])
    last = json.loads(ran.out.splitlines()[-1])
    assert last["teacher"]["count"] == 2 and "dev (it chose the model)" in last["scores"]


def test_several_teachers_write_together(
    jumok: Call, pairs: list[tuple[str, str]], trained: Translator, folder: Path
) -> None:
    ran = jumok("distill", "teacher,teacher", "pairs.tsv", "--to", "plain", *SHORT, "--quiet")
    assert ran.code == 0
    train = side("train")
    written = [one.text for one in trained.translate([s for s, _ in train], beam=5)]
    assert [target for _, target in train] == written


def test_the_teachers_attention_guides_the_students(
    jumok: Call, pairs: list[tuple[str, str]], trained: Translator
) -> None:
    ran = jumok("distill", "teacher", "pairs.tsv", "--guide", "--to", "luong", *SHORT)
    assert ran.code == 0, ran.said
    assert "attention is guided by links between symbols, weight 0.05." in ran.said
    rows = lines("s/distilled/train.jsonl")
    for row, found in list(
        zip(rows, trained.translate([row["source"] for row in rows], beam=5), strict=True)
    )[:9]:
        weights = found.attention.weights_TS
        assert weights is not None and row["target"] == found.text
        strongest = weights[: len(found.text)].argmax(axis=1).tolist()
        links = sorted(tuple(map(int, link.split("-"))) for link in row["links"].split())
        assert links == sorted((s, t) for t, s in enumerate(strongest))
    assert Translator.load("s").run.training.guided_weight == 0.05


def test_units_of_its_own_or_a_teacher_without_attention_cannot_guide(
    jumok: Call, pairs: object, tmp_path: Path
) -> None:
    command = ("distill", "teacher", "pairs.tsv", "--guide", "--out", "new")
    ran = jumok(*command, "--data.source_unit", "space")
    assert (ran.code, Path("new").exists()) == (2, False)
    assert "--guide links the symbols of the teacher (character), so not --data" in ran.said
    assert jumok("train", "pairs.tsv", "--model", "plain", *SHORT, "--quiet").code == 0
    ran = jumok("distill", "s", "pairs.tsv", "--guide", "--out", "new")
    assert (ran.code, Path("new").exists()) == (2, False)
    assert "--guide: the teacher (plain) has no attention to guide by." in ran.said


def test_tags_of_a_source_reach_the_student(jumok: Call, pairs: object, words: TaskData) -> None:
    rows = [(s, t, "UP;X" if n % 2 else "X") for n, (s, t) in enumerate(words.train.pairs()[:60])]
    text = "".join(f"{s}\t{t}\t{tags}\n" for s, t, tags in rows)
    Path("tagged.tsv").write_text(text, encoding="utf-8")
    tags = ("--tags-column", "3")
    short = ("--model.hidden_size", 8, "--training.max_steps", 2, "--quiet")
    first = jumok("train", "tagged.tsv", *tags, "--model", "luong", *short, "--out", "t")
    assert first.code == 0, first.said
    ran = jumok("distill", "t", "tagged.tsv", *tags, "--to", "luong", *short, "--out", "s")
    assert ran.code == 0, ran.said
    row = lines("s/distilled/train.jsonl")[0]
    assert (row["source"], row["tags"]) in [(s, t) for s, _, t in rows]
    assert (
        Translator.load("s").codec.source_tokenizer == Translator.load("t").codec.source_tokenizer
    )


# --- interrupted, it goes on --------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that the teacher was given, in order."""
    given: list[str] = []
    real = Translator.stream

    def stream(self: Translator, texts: Any, *rest: Any, **more: Any) -> Iterator[Translation]:
        for found in real(self, texts, *rest, **more):
            given.append(found.source)
            yield found

    monkeypatch.setattr(distilling.Translator, "stream", stream)
    return given


def stopped_after(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real = distilling._chosen
    calls = []

    def chosen(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) > number:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(distilling, "_chosen", chosen)


def test_the_same_command_goes_on_with_the_outputs_that_are_there(
    jumok: Call, pairs: object, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("distill", "teacher", "pairs.tsv", "--to", "plain", *SHORT)
    with monkeypatch.context() as patch:
        stopped_after(patch, 11)
        ran = jumok(*command)
    assert ran.code == 130 and ran.out == ""
    assert "stopped after 11 of " in ran.said and "hint: the same command goes on." in ran.said
    outputs = Path("s/distilled/outputs.jsonl")
    kept = outputs.read_text(encoding="utf-8")
    assert len(kept.splitlines()) == 11
    outputs.write_text(kept + '{"source": "half a li', encoding="utf-8")  # the power failed
    asked.clear()
    ran = jumok(*command)
    assert ran.code == 0 and "going on: 11 of " in ran.said
    after = lines("s/distilled/outputs.jsonl")
    train = [row["source"] for row in after]
    assert outputs.read_text(encoding="utf-8").startswith(kept)
    assert train[:11] == [json.loads(r)["source"] for r in kept.splitlines()]
    assert [a for a in asked if a in set(train)][: len(train) - 11] == train[11:]
    again = Path("s/model.safetensors").read_bytes()
    assert jumok(*command, "--force").code == 0
    assert Path("s/model.safetensors").read_bytes() == again, "as if nobody had stopped it"


def test_a_run_stopped_while_the_student_trains_goes_on_too(
    jumok: Call, pairs: object, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("distill", "teacher", "pairs.tsv", "--to", "plain", *SHORT)
    with monkeypatch.context() as patch:
        patch.setattr("jumok.interfaces.work.running.end_run", _raise)
        assert jumok(*command).code == 130
    asked.clear()
    ran = jumok(*command)
    assert ran.code == 0 and "going on from step 3" in ran.said
    train = {row["source"] for row in lines("s/distilled/outputs.jsonl")}
    assert not set(asked) & train, "the teacher is scored again, and writes nothing again"
    assert "the teacher" in ran.out


def _raise(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def test_the_run_can_be_resumed_as_any_other(
    jumok: Call, pairs: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("jumok.interfaces.work.running.end_run", _raise)
        jumok("distill", "teacher", "pairs.tsv", "--to", "plain", *SHORT)
    assert jumok("train", "--resume", "s").code == 0
    assert Translator.load("s").name == "plain"


# --- what is refused ----------------------------------------------------------------------------


def test_another_run_is_not_continued_with_these_outputs(
    jumok: Call, pairs: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("distill", "teacher", "pairs.tsv", "--to", "plain", *SHORT)
    with monkeypatch.context() as patch:
        stopped_after(patch, 4)
        jumok(*command)
    other = jumok(*command, "--beam", 3, "--keep-gold")
    assert (other.code, other.out) == (2, "")
    assert "s was begun otherwise (beam, keep_gold); nothing was changed." in other.said
    assert len(lines("s/distilled/outputs.jsonl")) == 4
    forced = jumok(*command, "--beam", 3, "--force")
    assert forced.code == 0 and "going on" not in forced.said
    finished = jumok(*command)
    assert finished.code == 2 and "s exists and is not empty" in finished.said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("teacher", "pairs.tsv", "--to", "plan"), 2, "there is no model called 'plan'. Did you"),
        (("teacher", "pairs.tsv", "--model.hiden_size", "3"), 2, "Did you mean --model.hidden_s"),
        (("teacher", "pairs.tsv", "--beam", "0"), 2, "--beam (0) must be at least 1."),
        (("teacher", "-"), 2, "cannot read standard input"),
        (("teacher",), 2, "which pairs?"),
        (("nobody", "pairs.tsv"), 4, "nobody does not exist."),
        (("teacher", "none.tsv"), 2, "none.tsv: there is no such file"),
    ],
)
def test_a_refusal_comes_before_anything_is_written(
    jumok: Call, pairs: object, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ran = jumok("distill", *arguments, "--out", "new", "--quiet")
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.said
    assert not Path("new").exists()


def test_a_teacher_is_never_replaced_by_its_student(jumok: Call, pairs: object) -> None:
    before = Path("teacher/manifest.json").read_bytes()
    for out in ("teacher", "./teacher/"):
        ran = jumok("distill", "teacher", "pairs.tsv", "--out", out, "--force")
        assert ran.code == 2 and "is the teacher; the student needs a folder" in ran.said
    assert Path("teacher/manifest.json").read_bytes() == before


def test_a_folder_with_other_things_is_left_alone(jumok: Call, pairs: object) -> None:
    Path("s").mkdir()
    Path("s/chapter.txt").write_text("mine", encoding="utf-8")
    for force in ((), ("--force",)):
        ran = jumok("distill", "teacher", "pairs.tsv", "--to", "plain", *SHORT, *force)
        assert ran.code == 2 and "nothing was changed" in ran.said
    assert [path.name for path in Path("s").iterdir()] == ["chapter.txt"]


# --- which of the beam --------------------------------------------------------------------------


def output(text: str, *, finished: bool = True) -> Translation:
    like = object.__new__(Hypothesis)
    return Translation(
        source="x", text=text, tokens=(), score=0.0, rank_score=0.0, finished=finished,
        attention=None, hypothesis=like,  # type: ignore[arg-type]
    )  # fmt: skip


def of_beam(*texts: str, **more: bool) -> Translation:
    made = [output(text, **more) for text in texts]
    object.__setattr__(made[0], "nbest", tuple(made))
    return made[0]


def test_the_likeliest_or_the_one_nearest_to_any_reference_is_taken() -> None:
    beam = of_beam("abcd", "xbyz", "abyy")
    chosen = distilling._chosen
    assert chosen(beam, ["wbyz", "q"], closest=False) == ("abcd", "teacher", "")
    assert chosen(beam, ["wbyz", "q"], closest=True) == ("xbyz", "teacher", "")
    assert chosen(beam, ["qqqq"], closest=True) == ("abcd", "teacher", ""), "equals: the likeliest"


def test_what_cannot_be_learnt_from_gives_way_to_the_reference() -> None:
    chosen = distilling._chosen
    assert chosen(of_beam("aaaaaaa", finished=False), ["ab"], closest=False) == ("ab", "gold", "")
    assert chosen(of_beam("a\ufffdb", "ab"), ["ac"], closest=False) == ("ac", "gold", "")
    assert chosen(of_beam("a\ufffdb", "ab"), ["ac"], closest=True) == ("ab", "teacher", "")
