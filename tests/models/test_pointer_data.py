"""From text to ids beyond the vocabulary and back: a model that copies, with all that it needs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jumok.data.building import build_codec
from jumok.data.codec_files import codec_files, codec_from_files
from jumok.data.copying import copy_ids, extra_width, ids_with, own_symbols, symbols_with
from jumok.data.corpus import Corpus
from jumok.data.encoded import PairCodec, collate, encode_all
from jumok.data.vocabulary import Vocabulary
from jumok.errors import ModelFolderError, UsageError
from jumok.interfaces.fitting import codec_of, fit, make_translator
from jumok.interfaces.streaming import StreamedCorpus
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.verifying import verify
from jumok.recipes.options import run_config
from jumok.records import EOS, SPECIALS, UNK
from jumok.search import SearchOptions

KNOWN = Vocabulary((*SPECIALS, "is", "by", "seen"))
V = len(KNOWN)


# --- ids ------------------------------------------------------------------------------------


def test_a_sentences_own_symbols_are_numbered_as_they_come() -> None:
    source = ["Temi", "is", "Zofa", "by", "Temi", "Ulu"]
    own = own_symbols(source, KNOWN)
    assert own == ("Temi", "Zofa", "Ulu")
    assert copy_ids(source, KNOWN) == [V, 4, V + 1, 5, V, V + 2, EOS]
    target = ["Ulu", "is", "seen", "nobody", "Temi"]
    ids = ids_with(target, KNOWN, own)
    assert ids == [V + 2, 4, 6, UNK, V]
    assert symbols_with(ids, KNOWN, own) == ["Ulu", "is", "seen", "<unk>", "Temi"]
    # In another sentence the same ids are other symbols, or none.
    assert symbols_with(ids, KNOWN, ("Pino",)) == ["<unk>", "is", "seen", "<unk>", "Pino"]


@pytest.mark.parametrize(
    "largest, width", [(3, 16), (V - 1, 16), (V, 16), (V + 15, 16), (V + 16, 32), (V + 40, 48)]
)
def test_the_width_beyond_the_vocabulary_is_a_multiple_of_16(largest: int, width: int) -> None:
    assert extra_width(np.array([[0, largest, EOS]]), V) == width


# --- the codec ------------------------------------------------------------------------------

WORDS = st.sampled_from(["is", "by", "seen", "Temi", "Zofa", "Ulu", "Pino"])
SENTENCES = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)


def codec(copies: bool = True) -> PairCodec:
    texts = ["is by seen", "seen by is"]
    made = build_codec(texts, texts, source_unit="space", target_unit="space")
    return replace(made, copies=copies)


@given(SENTENCES, st.data())
def test_what_the_source_says_can_be_written(source: str, data: st.DataObject) -> None:
    words = source.split()
    target = " ".join(data.draw(st.lists(st.sampled_from([*words, "by"]), min_size=1, max_size=5)))
    batch, [source_tokens], [tokens] = codec().encode_batch([source], [target])
    own = codec().own(source_tokens)
    assert UNK not in batch.target_out_BT
    assert codec().decode(batch.target_out_BT[0], own=own)[0] == target
    text, spans = codec().decode(codec().target_ids(tokens, own), own=own)
    assert [text[t.start : t.end] for t in spans[:-1]] == target.split()
    assert not any(t.special for t in spans[:-1]) and spans[-1].special
    copied = batch.source.copy_ids_BS[0]
    assert codec().decode(copied, own=own)[0] == source
    assert copied.shape == batch.source.ids_BS[0].shape and batch.source.extra == 16


@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=5))
def test_rows_kept_in_memory_are_the_batch_that_was_encoded(pairs: list[tuple[str, str]]) -> None:
    data = encode_all(codec(), pairs)
    rows = np.arange(len(pairs))[::-1]
    found = collate(data, rows)
    expected, _, _ = codec().encode_batch(*zip(*pairs[::-1], strict=True))
    for name, array in expected.arrays().items():
        if name != "example_B":
            assert np.array_equal(found.arrays()[name], array), name
    assert found.source.extra == expected.source.extra


def test_a_codec_that_does_not_copy_is_what_it_was() -> None:
    plain = codec(copies=False)
    pairs = [("Temi is seen", "seen is Temi")]
    batch, [tokens], _ = plain.encode_batch(*zip(*pairs, strict=True))
    assert batch.source.copy_ids_BS is None and batch.source.extra == 0
    assert plain.own(tokens) == () and UNK in batch.target_out_BT
    assert encode_all(plain, pairs).copies is None
    assert "copies" not in json.loads(codec_files(plain)["codec.json"])


def test_a_codec_that_copies_is_saved_as_one() -> None:
    files = codec_files(codec())
    assert json.loads(files["codec.json"])["copies"] is True
    assert codec_from_files(files) == codec()
    assert codec_from_files(codec_files(codec(copies=False))) == codec(copies=False)
    record = json.loads(files["codec.json"]) | {"copies": 1}
    with pytest.raises(ModelFolderError, match="`copies` must be true, but is 1"):
        codec_from_files(files | {"codec.json": json.dumps(record).encode()})


# --- a model that has learnt to ---------------------------------------------------------------


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Names that come once or twice: "Temi sees Zofa" -> "Zofa is seen by Temi"."""
    rng = np.random.default_rng(seed)

    def name() -> str:
        return "".join(rng.choice(list("bdfgkl")) + rng.choice(list("aeiou")) for _ in range(3))

    said = {"sees": "seen", "helps": "helped"}
    pairs = []
    for _ in range(count):
        one, other, verb = name(), name(), rng.choice(list(said))
        pairs.append((f"{one} {verb} {other}", f"{other} is {said[verb]} by {one}"))
    return pairs


@pytest.fixture(scope="module")
def trained() -> Translator:
    torch.set_num_threads(1)
    flags = {
        "data.source_unit": "space",
        "data.target_unit": "space",
        "data.min_count": "20",
        "model.hidden_size": "24",
        "model.embedding_size": "16",
        "model.attention_size": "24",
        "optim.lr": "1e-2",
        "training.max_steps": "90",
        "training.coverage_weight": "0.1",
    }
    config = run_config("pointer", flags=flags)
    train = Corpus.of(sentences(700, seed=0))
    model = make_translator("pointer", config, codec_of(train, config.data), train)
    fit(model, train, None)
    return model


def test_names_never_heard_of_are_copied(trained: Translator, tmp_path: Path) -> None:
    assert len(trained.codec.target_vocabulary) < 12
    pairs = [*sentences(40, seed=1), ("Zürich sees 도쿄", "도쿄 is seen by Zürich")]
    trained.save(tmp_path / "model")
    model = Translator.load(tmp_path / "model")
    found = model.translate([s for s, _ in pairs], beam=3)
    right = [one.text == target for one, (_, target) in zip(found, pairs, strict=True)]
    assert np.mean(right) > 0.9 and right[-1]
    last = found[-1]
    assert [t.text for t in last.tokens] == ["도쿄", "is", "seen", "by", "Zürich", "</s>"]
    assert last.attention.weights_TS.argmax(axis=1)[[0, 4]].tolist() == [2, 0]


def test_a_given_target_is_scored_as_it_would_be_written(trained: Translator) -> None:
    source, target = "Zürich sees 도쿄", "도쿄 is seen by Zürich"
    [written] = trained.translate([source])
    [given] = trained.score([(source, target)], alternatives=3)
    assert given.score == pytest.approx(written.score, abs=1e-6)
    assert [t.text for t in given.tokens][:-1] == target.split()
    best = [step[0][0] for step in given.attention.trace.alternatives]
    assert best == [*target.split(), "</s>"]
    [other] = trained.score([(source, "Bern is seen by Zürich")])
    assert other.score < given.score - 2  # Bern is in neither: it is unknown


def test_a_prefix_may_hold_what_one_source_has(trained: Translator) -> None:
    texts = ["Zürich sees 도쿄", "Temi helps Ulu"]
    found = trained.translate(texts, prefix="Zürich", batch_size=2)
    assert found[0].text.startswith("Zürich ")
    assert found[1].text.startswith("\ufffd ")  # Temi's sentence does not know it
    options = SearchOptions(beam=2, nbest=2, alternatives=30)
    [one] = trained.translate(texts[:1], options=options)
    shown = {name for step in one.attention.trace.alternatives for name, _ in step}
    assert {"Zürich", "도쿄", "is"} <= shown


def test_a_corpus_on_disk_is_refused(trained: Translator, tmp_path: Path) -> None:
    streamed = object.__new__(StreamedCorpus)  # refused before it is looked at
    with pytest.raises(UsageError) as caught:
        fit(trained, streamed, None, folder=tmp_path)
    assert caught.value.message == (
        "a model that copies is trained in memory, and this corpus streams from disk."
    )


@pytest.mark.nightly
def test_verify_passes_on_it(trained: Translator, tmp_path: Path) -> None:
    from jumok.interfaces.requests import VerifyRequest

    trained.save(tmp_path / "model")
    checks = list(verify(VerifyRequest(model=str(tmp_path / "model"))))
    assert len(checks) > 20
    assert [check for check in checks if not check.passed] == []
