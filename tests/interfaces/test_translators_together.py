"""Several models named a,b answer as one, in every command that a model answers in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jumok as front
from jumok.data.tasks import TaskData
from jumok.data.vocabulary import Vocabulary
from jumok.errors import UsageError
from jumok.interfaces.ensembles import ensemble
from jumok.interfaces.fitting import codec_of, fit, make_translator
from jumok.interfaces.translator import Translator
from jumok.recipes.options import run_config
from jumok.records import SPECIALS


@pytest.fixture(scope="module")
def plain(words: TaskData) -> Translator:
    """Another kind of model, without a map, on a part of the pairs: other numbers of symbols."""
    part = words.train[:250]
    flags = {"model.hidden_size": "32", "model.embedding_size": "16", "optim.lr": "1e-2"}
    config = run_config("plain", flags={**flags, "training.max_steps": "40"})
    model = make_translator("plain", config, codec_of(part, config.data), part)
    fit(model, part, None)
    return model


@pytest.fixture(scope="module")
def both(
    folder: Path, plain: Translator, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    path = tmp_path_factory.mktemp("others") / "plain"
    plain.save(path)
    return str(folder), str(path)


def told(*models: Translator, **options: str) -> str:
    with pytest.raises(UsageError) as caught:
        ensemble(models, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_two_number_their_symbols_differently(trained: Translator, plain: Translator) -> None:
    """What the tests below rest on."""
    sides = [(m.codec.source_vocabulary, m.codec.target_vocabulary) for m in (trained, plain)]
    assert sides[0][0] != sides[1][0] and sides[0][1] != sides[1][1]


@pytest.mark.parametrize("average", ["probabilities", "logs"])
def test_scores_are_means_of_the_members_whatever_their_ids(
    trained: Translator, plain: Translator, words: TaskData, average: str
) -> None:
    """The first symbol: every member has read the same, so the mean can be taken outside."""
    pairs = words.test.pairs()[:20]
    together = ensemble([trained, plain], average=average).score(pairs)  # type: ignore[arg-type]
    each = [model.score(pairs) for model in (trained, plain)]
    for k, found in enumerate(together):
        logs = [one[k].tokens[0].logprob for one in each]
        mean = np.log(np.mean(np.exp(logs)))
        if average == "logs":
            assert found.tokens[0].logprob >= np.mean(logs) - 1e-6  # made to sum to one
        else:
            assert found.tokens[0].logprob == pytest.approx(mean, abs=1e-5)
        assert found.score == pytest.approx(sum(t.logprob for t in found.tokens), abs=1e-5)
        assert found.attention.weights_TS == pytest.approx(
            each[0][k].attention.weights_TS, abs=1e-6
        )


def test_a_model_twice_is_that_model(trained: Translator, words: TaskData) -> None:
    twice = front.ensemble([trained, trained])
    options = {"beam": 4, "nbest": 3}
    for one, two in zip(
        trained.translate(words.test.sources[:12], **options),
        twice.translate(words.test.sources[:12], **options),
        strict=True,
    ):
        assert [o.text for o in one.nbest] == [o.text for o in two.nbest]
        assert one.score == pytest.approx(two.score, abs=1e-5)


def test_texts_beside_it_change_no_bit(trained: Translator, plain: Translator, words: TaskData):
    model = ensemble([trained, plain])
    texts = words.test.sources[:20]
    together = model.translate(texts, beam=3)
    for text, found in list(zip(texts, together, strict=True))[::5]:
        (alone,) = model.translate([text], beam=3)
        assert (alone.text, alone.score) == (found.text, found.score)


def test_the_front_door_takes_several_folders(both: tuple[str, str], words: TaskData) -> None:
    model = front.load_model(both)
    assert (model.name, model.members) == ("luong + plain", both)
    assert "- " + both[1] + ": plain" in model.card
    assert front.load_model([both[0]]).members == ()
    assert front.evaluate(model, words.test).exact_match > 0.3
    by_one_alone = words.train.sources[-1]
    assert model.knows([words.train.sources[0], by_one_alone, "never"]) == [True, True, False]
    assert front.load_model(both[1]).knows([by_one_alone]) == [False]
    with pytest.raises(UsageError, match="has no folder of its own"):
        model.save("somewhere")
    with pytest.raises(UsageError, match="is not trained: each member was"):
        front.fit(model, words.train)


def test_every_command_takes_a_comma(jumok, both, words: TaskData, tmp_path: Path) -> None:
    names = ",".join(both)
    rows = "".join(f"{s}\t{t}\n" for s, t in words.test.pairs()[:6])
    (tmp_path / "x.tsv").write_text(rows, encoding="utf-8")
    ran = jumok("translate", names, "--beam", 3, "--json", stdin="abc\n\n")
    first, empty = map(json.loads, ran.out.splitlines())
    assert (ran.code, empty["text"]) == (0, "")
    assert len(first["attention"]) == len(first["tokens"])
    logs = jumok("translate", names, "--average", "logs", "--json", stdin="abc\n")
    assert json.loads(logs.out)["score"] != first["score"]
    score = jumok("score", names, tmp_path / "x.tsv")
    assert len(score.out.splitlines()) == 6
    found = json.loads(jumok("evaluate", names, tmp_path / "x.tsv", "--json").out)
    assert found["count"] == 6
    against = jumok("evaluate", both[0], tmp_path / "x.tsv", "--against", names)
    assert against.code == 0 and "difference" in against.out
    assert len(jumok("align", names, tmp_path / "x.tsv").out.splitlines()) == 6
    assert jumok("inspect", names, "abc").code == 0
    assert jumok("inspect", names, "abc", "--map", "1/weights").code == 0
    about = jumok("inspect", names)
    assert "luong + plain" in about.out and "answer together" in about.out
    assert "members.1" in jumok("inspect", names, "--wiring").out


def test_an_ensemble_is_verified_as_a_model_is(jumok, both) -> None:
    ran = jumok("verify", ",".join(both))
    assert ran.code == 0, ran.out
    assert ran.out.count("integrity") == 2 and "resume" not in ran.out


def test_a_folder_with_a_comma_in_its_name_is_one_model(
    jumok, trained: Translator, tmp_path: Path
) -> None:
    trained.save(tmp_path / "a,b")
    assert jumok("translate", tmp_path / "a,b", stdin="abc\n").code == 0
    ran = jumok("translate", f"{tmp_path}/a,,b", stdin="abc\n")
    assert ran.code == 2 and "names an empty model folder" in ran.said
    gone = jumok("translate", f"{tmp_path}/a,b,none", stdin="abc\n")
    assert gone.code == 4


# --- who cannot answer together -----------------------------------------------------------------


def with_codec(model: Translator, **changes: object) -> Translator:
    return replace(model, codec=replace(model.codec, **changes))


def test_what_differs_is_named_with_its_reason(trained: Translator, words: TaskData) -> None:
    known = trained.codec.target_vocabulary.symbols
    fewer = Vocabulary((*SPECIALS, *sorted(known[len(SPECIALS) :])[1:]))
    said = told(trained, with_codec(trained, target_vocabulary=fewer))
    assert said.startswith("model 1 (luong) and model 2 (luong) cannot answer together: model 2 ")
    assert "lacks target symbols that the other knows (a). The mean is over the" in said
    assert "--training.seed changes the model alone" in said
    said = told(trained, with_codec(trained, normalisation="NFD"))
    assert "one reads texts in NFC, the other in NFD" in said
    said = told(trained, with_codec(trained, copies=True))
    assert "one copies from the source and the other does not" in said


def test_symbols_of_other_kinds_are_refused(trained: Translator, words: TaskData) -> None:
    config = run_config("plain", flags={"data.source_unit": "space", "model.hidden_size": "8"})
    other = make_translator("plain", config, codec_of(words.train, config.data))
    said = told(trained, other)
    assert "their source symbols are of different kinds (character and space)" in said
    assert "hint: train both with the same --data.source_unit" in said


def test_copying_models_need_the_same_numbers(words: TaskData) -> None:
    config = run_config("pointer", flags={"model.hidden_size": "8", "model.embedding_size": "8"})
    one = make_translator("pointer", config, codec_of(words.train, config.data))
    assert len(ensemble([one, one]).translate(["abc☃"], beam=2)) == 1
    known = one.codec.target_vocabulary.symbols[len(SPECIALS) :]
    turned = Vocabulary((*SPECIALS, *known[::-1]))
    assert "they copy, and the same target symbols have other numbers" in told(
        one, with_codec(one, target_vocabulary=turned)
    )


def test_none_and_nested_are_refused(trained: Translator) -> None:
    assert told() == "an ensemble needs at least one model."
    twice = ensemble([trained, trained])
    assert "is an ensemble itself.\n  hint: name its members" in told(twice, trained)
