"""The translator: text in, text out, with scores, attention and spans that belong to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jumok.data.tasks import TaskData
from jumok.errors import DataError, ModelFolderError, UsageError
from jumok.interfaces.translator import Translator, hashes
from jumok.search import SearchOptions


def test_token_log_probabilities_sum_to_the_score(trained: Translator, words: TaskData) -> None:
    for found in trained.translate(words.test.sources[:7], beam=3, nbest=2):
        assert len(found.nbest) == 2
        for one in found.nbest:
            assert one.score == pytest.approx(sum(t.logprob for t in one.tokens), abs=1e-6)
        assert found.nbest[0].score >= found.nbest[1].score


def test_the_model_has_learnt_what_the_other_tests_rest_on(
    trained: Translator, words: TaskData
) -> None:
    short = [s for s in words.test.sources if len(s) <= 5][:40]
    right = [
        found.text == s[::-1] for s, found in zip(short, trained.translate(short), strict=True)
    ]
    assert np.mean(right) > 0.7


def test_the_attention_of_an_output_has_its_symbols_for_axes(trained: Translator) -> None:
    found = trained.translate(["abc"])[0]
    attention = found.attention
    assert attention.weights_TS is not None
    assert attention.weights_TS.shape == (len(attention.target), len(attention.source))
    assert "".join(t.text for t in attention.target if not t.special) == found.text
    assert [t.text for t in found.tokens] == [t.text for t in attention.target]
    assert found.tokens[-1].special and found.tokens[-1].text == "</s>"


def test_a_column_that_is_never_looked_at_is_not_shown(trained: Translator) -> None:
    """This model does not attend to the end symbol: no column for it, whatever the output."""
    assert [t.text for t in trained.translate(["abc"])[0].attention.source] == ["a", "b", "c"]


def test_the_strongest_source_of_a_reversed_word_is_its_mirror(trained: Translator) -> None:
    found = next(f for f in trained.translate(["ab", "cab", "back"]) if f.text == f.source[::-1])
    weights = found.attention.weights_TS
    assert weights is not None
    length = len(found.source)
    assert weights[:length].argmax(axis=1).tolist() == list(range(length))[::-1]


def test_spans_point_into_the_text_as_it_was_typed(trained: Translator) -> None:
    typed = "e\u0301bc"  # NFC makes one symbol of the first two characters
    found = trained.translate([typed])[0]
    spans = [typed[t.start : t.end] for t in found.attention.source]
    assert spans == ["e\u0301", "b", "c"]


def test_an_empty_text_has_an_empty_output(trained: Translator) -> None:
    empty, other = trained.translate(["", "abc"])
    assert (empty.text, empty.score, empty.tokens) == ("", 0.0, ())
    assert other.text == trained.translate(["abc"])[0].text


def test_batch_mates_order_and_batch_size_change_no_bit(
    trained: Translator, words: TaskData
) -> None:
    texts = list(words.test.sources[:11])
    options = SearchOptions(beam=3, nbest=3)
    together = trained.translate(texts, options=options)
    turned = trained.translate(texts[::-1], options=options, batch_size=2)[::-1]
    for one, other in zip(together, turned, strict=True):
        assert one.text == other.text
        assert one.score == other.score
        assert one.hypothesis.weights_TS is not None
        assert np.array_equal(one.hypothesis.weights_TS, other.hypothesis.weights_TS)


def test_draws_do_not_depend_on_how_texts_are_batched(trained: Translator, words: TaskData) -> None:
    texts = list(words.test.sources[:11])
    options = SearchOptions(sample=True, temperature=2.0, seed=5)
    together = [f.text for f in trained.translate(texts, options=options)]
    streamed = [f.text for f in trained.stream(texts, options, batch_size=2, ahead=3)]
    assert together == streamed
    other = [f.text for f in trained.translate(texts, options=SearchOptions(sample=True, seed=6))]
    assert together != other


def test_a_given_target_is_scored_as_the_search_scored_it(trained: Translator) -> None:
    found = trained.translate(["abc", "xyz"], beam=3)
    given = trained.score([(f.source, f.text) for f in found])
    for one, other in zip(found, given, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.attention.weights_TS is not None
        assert other.attention.weights_TS is not None
        assert np.allclose(one.attention.weights_TS, other.attention.weights_TS, atol=1e-5)


def test_a_given_target_keeps_its_unknown_symbols(trained: Translator) -> None:
    given = trained.score([("abc", "c한a")])[0]
    assert given.text == "c한a"
    assert [t.text for t in given.tokens] == ["c", "한", "a", "</s>"]
    assert [t.text for t in given.attention.target] == ["c", "한", "a", "</s>"]
    assert given.attention.trace.target_text == "c한a"


def test_a_forced_prefix_begins_every_output(trained: Translator) -> None:
    for found in trained.translate(["abc", "hello"], beam=2, nbest=2, prefix="qq"):
        assert all(one.text.startswith("qq") for one in found.nbest)


def test_unknown_symbols_are_replaced_by_what_was_looked_at(trained: Translator) -> None:
    plain = trained.translate(["ab"], prefix="한")[0]
    filled = trained.translate(["ab"], prefix="한", replace_unknown=True)[0]
    assert plain.text[0] == "\ufffd"
    assert filled.text[0] in "ab"
    assert filled.text[1:] == plain.text[1:]


def test_texts_that_are_too_long_are_refused_with_their_number(trained: Translator) -> None:
    with pytest.raises(DataError) as caught:
        trained.translate(["abc", "x" * 2000])
    assert str(caught.value).startswith(
        "line 2: the text has 2,001 symbols with its end, but this model takes 1,024."
    )


def test_one_string_is_not_a_list_of_texts(trained: Translator) -> None:
    with pytest.raises(UsageError, match="a list of texts is needed"):
        trained.translate("abc")


def test_what_was_saved_is_what_is_loaded(
    trained: Translator, folder: Path, words: TaskData
) -> None:
    loaded = Translator.load(folder)
    assert loaded.run == trained.run
    assert (loaded.name, loaded.card) == (trained.name, trained.card)
    texts = words.test.sources[:5]
    before, after = trained.translate(texts), loaded.translate(texts)
    assert [(f.text, f.score) for f in before] == [(f.text, f.score) for f in after]
    assert loaded.files() == trained.files()


def test_sources_that_were_trained_on_are_known(
    trained: Translator, folder: Path, words: TaskData
) -> None:
    asked = [words.train.sources[0], words.test.sources[0], "never"]
    assert Translator.load(folder).knows(asked) == [True, False, False]
    assert hashes(["a", "b"]).tolist() == hashes(["a", "b"]).tolist()
    assert len(set(hashes(["a", "b", "\u1100", ""]).tolist())) == 4


def test_a_damaged_or_missing_folder_is_refused(trained: Translator, tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="does not exist"):
        Translator.load(tmp_path / "none")
    trained.save(tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(ModelFolderError, match=r"model\.safetensors"):
        Translator.load(tmp_path / "m")


def test_a_folder_can_name_no_code(trained: Translator, tmp_path: Path) -> None:
    """A model that this version does not know is refused by name."""
    files = trained.files()
    record = files["config.toml"].decode().replace('name = "luong"', 'name = "os.system"')
    from jumok.store import save_folder

    save_folder(tmp_path / "m", {**files, "config.toml": record.encode()})
    with pytest.raises(ModelFolderError, match=r"needs the model 'os\.system', which is not one"):
        Translator.load(tmp_path / "m")


def test_links_of_an_output_are_those_of_its_map(trained: Translator) -> None:
    found = trained.translate(["ab"])[0]
    weights = found.attention.weights_TS
    assert weights is not None
    expected = {(int(row.argmax()), t) for t, row in enumerate(weights[:-1])}
    assert set(found.attention.links()) == expected


def test_the_attention_is_written_by_suffix(trained: Translator, tmp_path: Path) -> None:
    attention = trained.translate(["ab"])[0].attention
    for suffix in (".html", ".svg", ".npz"):
        attention.save(tmp_path / f"map{suffix}")
        assert (tmp_path / f"map{suffix}").stat().st_size > 100
    assert "<iframe" in attention._repr_html_()
    assert "strongest source" in str(attention)
