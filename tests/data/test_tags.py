"""Tags beside a source: a namespace of their own, whatever stands in the texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jumok.data.baselines import copy_source
from jumok.data.building import build_codec
from jumok.data.codec_files import codec_files, codec_from_files
from jumok.data.copying import own_symbols
from jumok.data.corpus import Corpus, load, stream
from jumok.data.encoded import PairCodec
from jumok.data.report import report
from jumok.data.tags import MARK, Tagged, plain, with_tags
from jumok.data.tokenizers import make
from jumok.data.wording import data_lines
from jumok.errors import DataError, ModelFolderError, UsageError
from jumok.interfaces.work.continuing import grown
from jumok.records import UNK

ROWS = [("go\tV;PST", "went"), ("V;PST\tV;3;SG", "x"), ("[V]\tN", "[V]s"), ("bare\t", "bare")]
UNITS = ["character", "grapheme", "jamo", "word", "space"]
LEMMAS = st.text(st.characters(exclude_characters="\t\n\0", exclude_categories=["Cs"]))
NAMES = st.text(
    st.characters(exclude_characters="\t\n\0; ", exclude_categories=["Cs", "Z", "C"]), min_size=1
)


def codec_of(unit: str = "character", **options: object) -> PairCodec:
    corpus = Corpus.of(ROWS, tags=";")
    return build_codec(  # type: ignore[arg-type]
        corpus.sources, corpus.targets, source_unit=unit, target_unit=unit, tags=";", **options
    )


@pytest.mark.parametrize("unit", UNITS)
@given(lemma=LEMMAS, tags=st.lists(NAMES, max_size=5))
def test_nothing_of_a_source_with_tags_is_lost(unit: str, lemma: str, tags: list[str]) -> None:
    text = with_tags(lemma, ";".join(tags))
    tokenizer = Tagged(make(unit))
    symbols = tokenizer.symbols(text)
    assert tokenizer.detokenize(symbols) == text
    assert symbols[: len(tags)] == [MARK + tag for tag in tags]
    assert symbols[len(tags) :] == make(unit).symbols(lemma)
    assert [t.text for t in tokenizer.tokens(text)] == symbols
    spans = [text[t.start : t.end] for t in tokenizer.tokens(text)]
    assert spans[: len(tags)] == tags


@pytest.mark.parametrize("unit", UNITS)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n")))
def test_no_text_is_read_as_a_tag(unit: str, text: str) -> None:
    """Not even one that spells a tag's symbol, U+0000 and all."""
    codec = codec_of(unit)
    tags = {i for i, s in enumerate(codec.source_vocabulary.symbols) if s.startswith(MARK)}
    assert len(tags) == 5
    for spelt in (text, f"{text}\0V", "\0V", f"a \0V {text}", "V;PST"):
        source, _ = codec.encode_source([f"{spelt}\t"])
        assert not tags & set(source.ids_BS[0].tolist())


def test_a_lemma_that_looks_like_its_tags_is_spelt_in_characters() -> None:
    codec = codec_of()
    [tokens] = codec.encode_source(["V;PST\tV;3;SG"])[1]
    assert [t.text.replace(MARK, "#") for t in tokens][:-1] == ["#V", "#3", "#SG", *"V;PST"]


def test_a_tag_is_a_symbol_and_an_unseen_one_is_unknown_alone() -> None:
    codec = codec_of(min_count=2)
    ids = codec.encode_source(["V\tSG; NEW ;;V"])[0].ids_BS[0].tolist()
    names = [codec.source_vocabulary.symbols[i] for i in ids]
    assert names == [MARK + "SG", "<unk>", MARK + "V", "V", "</s>"], "tags are known though rare"
    assert ids[1] == UNK
    assert codec.unknown(["go\tNEW"]).source[MARK + "NEW"] == 1


def test_a_source_without_a_tab_is_refused_and_says_what_to_write() -> None:
    with pytest.raises(DataError, match="has no tags, and this model reads tags") as error:
        codec_of().encode_source(["go"])
    assert "lemma<TAB>tags" in str(error.value) and "--tags-column 3" in str(error.value)
    assert codec_of().encode_source([""])[1][0][0].special, "an empty line stays empty"


def test_the_codec_is_saved_with_its_tags() -> None:
    codec = codec_of("jamo")
    again = codec_from_files(codec_files(codec))
    assert again == codec and again.tags == ";"
    plain_codec = build_codec(["a"], ["b"])
    assert plain_codec.tags is None and b"tags" not in codec_files(plain_codec)["codec.json"]
    files = codec_files(codec)
    files["codec.json"] = files["codec.json"].replace(b'"tags": ";"', b'"tags": ""')
    with pytest.raises(ModelFolderError, match="at least one character"):
        codec_from_files(files)


def test_a_shared_vocabulary_has_the_tags_once_and_writes_none() -> None:
    codec = codec_of(shared=True)
    assert codec.source_vocabulary is codec.target_vocabulary
    tag = codec.source_vocabulary.id_of(MARK + "PST")
    text, tokens = codec.decode([tag])
    assert (text, tokens[0].text) == ("\ufffd", "PST")
    assert own_symbols([MARK + "NEW", "q"], codec.target_vocabulary) == ("q",)


def test_subwords_are_learnt_from_lemmas_alone() -> None:
    rows = [(f"{'walk' * (i % 3 + 1)}\tV;PST;VERYLONGTAG", "walked") for i in range(50)]
    codec = build_codec(*zip(*rows, strict=True), source_unit="bpe", source_size=20, tags=";")
    pieces = [s for s in codec.source_vocabulary.symbols if not s.startswith(MARK)]
    assert not any("T" in piece for piece in pieces[4:] if not piece.startswith("<"))
    assert codec.source_vocabulary.symbols[-3:] == (MARK + "PST", MARK + "V", MARK + "VERYLONGTAG")


# --- files --------------------------------------------------------------------------------


def written(tmp_path: Path, text: str, name: str = "a.train") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_column_of_tags_belongs_to_the_source(tmp_path: Path) -> None:
    path = written(tmp_path, "go\twent\tV; PST;\ngo\tgoes\tV;3;SG\ngo\twent\tV;PST\nox\tox\t\n")
    corpus = load(path, tags=3)
    assert corpus.sources == ("go\tV;PST", "go\tV;3;SG", "go\tV;PST", "ox\t")
    assert corpus.plain_sources == ("go", "go", "go", "ox")
    assert corpus.references()["go\tV;PST"] == ("went",), "lemma and tags are one source"
    assert corpus.select([1]).tags == ";"
    assert [row.source for row in stream(path, tags=3)] == list(corpus.sources)
    assert copy_source(corpus, ["go\tV;3;SG"]) == ["go"]


def test_tags_by_name_and_by_key_and_separator(tmp_path: Path) -> None:
    path = written(tmp_path, "form,lemma,feats\nwent,go,V|PST\n", "a.csv")
    assert load(path, columns=("lemma", "form"), tags="feats", tag_sep="|").pairs() == [
        ("go\tV|PST", "went")
    ]
    path = written(tmp_path, '{"source": "go", "target": "went", "t": "V;PST"}\n', "a.jsonl")
    assert load(path, tags="t").sources == ("go\tV;PST",)
    with pytest.raises(UsageError, match="named by their keys"):
        load(path, tags=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tags": 2}, "column that is read already"),
        ({"tags": 0}, "column 0 does not exist"),
        ({"tags": 3, "tag_sep": ""}, "must be at least one character"),
        ({"tags": 3, "tag_sep": "\t"}, "no TAB"),
        ({"tags": "feats"}, "no column is called 'feats'"),
        ({"tags": 4}, "3 columns, expected 4"),
    ],
)
def test_a_wrong_column_of_tags_says_what_is_wrong(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    path = written(tmp_path, "go\twent\tV;PST\nox\toxen\tN;PL\n")
    with pytest.raises((UsageError, DataError), match=message):
        load(path, **options)  # type: ignore[arg-type]


def test_a_tab_in_the_tags_is_named_by_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, '{"source": "go", "target": "went", "t": "V\\tPST"}\n', "a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl:1: the tags hold a TAB"):
        load(path, tags="t")


def test_two_parallel_files_have_no_column_of_tags(tmp_path: Path) -> None:
    paths = written(tmp_path, "a\n", "a.x"), written(tmp_path, "b\n", "a.y")
    with pytest.raises(UsageError, match="columns of one file"):
        load(paths, tags=3)


def test_the_split_keeps_one_source_on_one_side() -> None:
    rows = [(f"w{i % 40}\tV;{i % 7}", f"{i}") for i in range(800)]
    train, dev, test = Corpus.of(rows, tags=";").split()
    sides = [set(c.sources) for c in (train, dev, test)]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert all(c.tags == ";" for c in (train, dev, test))


def test_the_report_counts_leaks_by_lemma_and_tags_and_letters_by_lemma() -> None:
    train = Corpus.of([("go\tV;PST", "went"), ("go\tV", "go"), ("a\tN", "b")], tags=";")
    dev = Corpus.of([("go\tV;PST", "went"), ("go\tV;FUT", "will go")], tags=";")
    found = report(train, dev)
    assert found.held[0].leaked_rows == 1
    assert found.held[0].unseen_tags == (("FUT", 1),)
    assert found.held[0].source_unseen.symbol_count == 0, "F and U are no letters of a lemma"
    assert found.parts[0].identical_rows == 1 and found.parts[0].source_lengths.max == 2
    assert any("tags that never occur in training" in line for line in data_lines(found))


def test_a_corpus_in_memory_that_lacks_tags_is_refused_by_row() -> None:
    with pytest.raises(DataError, match=r"mine:2: the source has no tags"):
        Corpus.of([("go\tV", "x"), ("go", "y")], "mine", tags=";")
    assert plain("a\tb\tV") == "a\tb"


def test_going_on_with_subwords_learns_new_tags_and_no_new_pieces() -> None:
    rows = [(f"{'walk' * (i % 3 + 1)}\tV;PST", "walked") for i in range(50)]
    old = Corpus.of(rows, tags=";")
    codec = build_codec(old.sources, old.targets, source_unit="bpe", source_size=20, tags=";")
    more = Corpus.of([("walk\tV;FUT", "walk")], tags=";")
    codec_now = grown(codec, more, lambda _: None)
    known = codec.source_vocabulary.symbols
    assert codec_now.source_vocabulary.symbols == (*known, MARK + "FUT")
