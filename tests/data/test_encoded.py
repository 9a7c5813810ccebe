"""The codec of a pair: ids and back, spans into what was typed, batches, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jumok.data.arrays import pad
from jumok.data.building import build_codec
from jumok.data.codec_files import (
    codec_digest,
    codec_files,
    codec_from_files,
    load_codec,
    save_codec,
)
from jumok.data.corpus import Corpus
from jumok.data.encoded import InMemory, PairCodec, collate, encode_all
from jumok.data.tokenizers import Character
from jumok.data.vocabulary import Vocabulary
from jumok.errors import ConfigError, DataError, ModelFolderError, UsageError
from jumok.records import BOS, EOS, PAD, SPECIALS, UNK, Token

PAIRS = [("ab c", "12"), ("b", "2 2"), ("é한", ""), ("", "3"), ("cab", "132")]


def codec_of(**options: object) -> PairCodec:
    corpus = Corpus.of(PAIRS)
    return build_codec(corpus.sources, corpus.targets, **options)  # type: ignore[arg-type]


def symbols_of(codec: PairCodec, ids: np.ndarray) -> list[str]:
    return codec.source_vocabulary.decode(ids)


def test_a_source_ends_with_eos_and_its_mask_tells_padding() -> None:
    source, _ = codec_of().encode_source(["ab", "", "b"])
    assert source.ids_BS.dtype == np.int64 and source.mask_BS.dtype == bool
    assert source.mask_BS.tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    assert source.ids_BS[:, :].tolist()[1] == [EOS, PAD, PAD]
    assert source.ids_BS[0, 2] == EOS and source.ids_BS[2, 1] == EOS


def test_the_same_text_has_the_same_ids_in_any_company() -> None:
    codec = codec_of()
    alone, _ = codec.encode_source(["cab"])
    together, _ = codec.encode_source(["cab", "ab cab"], multiple=16)
    assert together.ids_BS.shape == (2, 16)
    assert together.ids_BS[0, :4].tolist() == alone.ids_BS[0].tolist()
    assert not together.mask_BS[0, 4:].any() and (together.ids_BS[0, 4:] == PAD).all()


def test_source_spans_point_into_the_raw_text() -> None:
    _, [tokens] = codec_of().encode_source(["xe\u0301 \u1112\u1161\u11ab!"])
    assert tokens == [
        Token("x", 0, 1),
        Token("é", 1, 3),
        Token(" ", 3, 4),
        Token("한", 4, 7),
        Token("!", 7, 8),
        Token("</s>", 8, 8, special=True),
    ]


@pytest.mark.parametrize("unit", ["character", "grapheme", "jamo", "word", "space", "bpe"])
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "none"])
@given(text=st.text(st.sampled_from("ae\u0301\u0327 각\u1100\u1161\u11a8ﬁ.,x☃")))
@settings(max_examples=12)
def test_spans_of_every_unit_and_form_lie_in_the_raw_text_in_order(
    unit: str, form: str, text: str
) -> None:
    codec = codec_of(source_unit=unit, normalisation=form)
    tokens = codec.source_tokens(text)
    places = [(t.start, t.end) for t in tokens]
    assert places[-1] == (len(text), len(text)) and places == sorted(places)
    covered = {i for start, end in places for i in range(start, end)}
    assert all(text[i] == " " for i in set(range(len(text))) - covered)


def test_canonically_equal_texts_have_the_same_ids() -> None:
    codec = codec_of()
    one, _ = codec.encode_source(["é한"])
    other, _ = codec.encode_source(["e\u0301\u1112\u1161\u11ab"])
    assert one.ids_BS.tolist() == other.ids_BS.tolist()
    exact = codec_of(normalisation="none")
    assert exact.encode_source(["e\u0301"])[0].ids_BS[0, 0] == UNK


def test_what_looks_like_a_special_symbol_never_becomes_one() -> None:
    text = "<pad><s></s><unk>"
    for unit in ("character", "grapheme", "word", "space", "jamo"):
        codec = build_codec([text], [text], source_unit=unit, target_unit=unit)
        source, [tokens] = codec.encode_source([text])
        assert (source.ids_BS[0, :-1] >= len(SPECIALS)).all()
        assert [t.special for t in tokens] == [False] * (len(tokens) - 1) + [True]
        assert codec.decode(codec.encode_target([text])[0][0])[0] == text
    space = build_codec(["a"], [text], target_unit="space")
    output, tokens = space.decode([space.target_vocabulary.id_of(text), EOS])
    assert output == text and not tokens[0].special and tokens[1].special


@pytest.mark.parametrize("unit", ["character", "grapheme", "jamo", "word", "space", "bpe"])
def test_training_targets_come_back_from_their_ids(unit: str) -> None:
    codec = codec_of(target_unit=unit)
    texts = [t for _, t in PAIRS]
    ids_BT, mask_BT, tokens = codec.encode_target(texts)
    for ids, mask, row, text in zip(ids_BT, mask_BT, tokens, texts, strict=True):
        decoded, spans = codec.decode(ids[mask])
        assert decoded == text and spans == row


def test_decoding_stops_at_the_end_symbol_and_shows_it() -> None:
    codec = codec_of()
    one, two = (codec.target_vocabulary.id_of(s) for s in "12")
    assert codec.decode([one, EOS, two, PAD]) == (
        "1",
        [Token("1", 0, 1), Token("</s>", 1, 1, special=True)],
    )
    assert codec.decode([one, two]) == ("12", [Token("1", 0, 1), Token("2", 1, 2)])
    assert codec.decode([]) == ("", [])


def test_an_unknown_output_is_a_replacement_character_or_what_is_filled_in() -> None:
    codec = codec_of()
    one = codec.target_vocabulary.id_of("1")
    text, tokens = codec.decode([one, UNK, one, EOS])
    assert text == "1\ufffd1" and tokens[1] == Token("<unk>", 1, 2, special=True)
    text, tokens = codec.decode([one, UNK, UNK, EOS], fill={1: "Ötzi"})
    assert text == "1Ötzi\ufffd" and tokens[1] == Token("Ötzi", 1, 5)
    assert tokens[2].special and tokens[3] == Token("</s>", 6, 6, special=True)


def test_specials_in_an_output_spell_nothing() -> None:
    codec = codec_of(target_unit="space")
    three = codec.target_vocabulary.id_of("3")
    text, tokens = codec.decode([BOS, three, PAD, three])
    assert text == "3 3" and [t.special for t in tokens] == [True, False, True, False]


def test_unknown_symbols_are_reported_with_their_counts() -> None:
    found = codec_of().unknown(["aXX", "bY"], ["1é"])
    assert found.source == {"X": 2, "Y": 1} and found.target == {"é": 1}


def test_a_batch_shifts_the_target_by_one() -> None:
    codec = codec_of()
    batch, source_tokens, target_tokens = codec.encode_batch(["ab", "b"], ["12", ""])
    one, two = (codec.target_vocabulary.id_of(s) for s in "12")
    assert batch.target_in_BT.tolist() == [[BOS, one, two], [BOS, PAD, PAD]]
    assert batch.target_out_BT.tolist() == [[one, two, EOS], [EOS, PAD, PAD]]
    assert batch.target_mask_BT.tolist() == [[True] * 3, [True, False, False]]
    assert [len(t) for t in source_tokens] == [3, 2] and [len(t) for t in target_tokens] == [3, 1]
    with pytest.raises(DataError, match="1 sources, but 2 targets"):
        codec.encode_batch(["a"], ["1", "2"])


@given(st.lists(st.integers(0, len(PAIRS) - 1), min_size=1, max_size=9), st.integers(1, 8))
def test_collated_rows_are_what_encoding_their_texts_gives(rows: list[int], multiple: int) -> None:
    codec = codec_of()
    data = encode_all(codec, PAIRS)
    batch = collate(data, rows, source_multiple=multiple, target_multiple=multiple)
    sources, targets = zip(*(PAIRS[r] for r in rows), strict=True)
    direct, _, _ = codec.encode_batch(sources, targets)
    assert batch.example_B.tolist() == rows and batch.example_B.dtype == np.int64
    for name, expected in direct.arrays().items():
        if name == "example_B":
            continue
        found = batch.arrays()[name]
        assert found.shape[1] % multiple == 0 and found.dtype == expected.dtype
        assert found[:, : expected.shape[1]].tolist() == expected.tolist()
        assert not found[:, expected.shape[1] :].any()


def test_encoded_pairs_are_in_the_normal_form_of_the_codec() -> None:
    codec = build_codec(["é"], ["한"])
    data = encode_all(codec, [("e\u0301", "\u1112\u1161\u11ab")])
    assert data.source[0].tolist() == data.target[0].tolist() == [len(SPECIALS), EOS]


def test_padding_puts_nothing_but_pad_after_the_end() -> None:
    ids, mask = pad([[7, 5, 3], [], [2]], multiple=5)
    assert ids.tolist() == [[7, 5, 3, 0, 0], [0] * 5, [2, 0, 0, 0, 0]]
    assert mask.sum(axis=1).tolist() == [3, 0, 1]


def test_lengths_count_the_end_symbol() -> None:
    data = encode_all(codec_of(), PAIRS)
    assert isinstance(data, InMemory) and len(data) == len(PAIRS)
    assert data.source.lengths[np.arange(5)].tolist() == [5, 2, 3, 1, 4]
    assert data.target.lengths[1:4].tolist() == [4, 1, 2] and len(data.target.lengths) == 5
    assert data.source[4].tolist() == [*codec_of().source_vocabulary.ids_of("cab"), EOS]


def test_a_pair_that_is_too_long_is_refused_by_name_or_left_out_and_counted() -> None:
    codec = codec_of(max_source=4, max_target=3)
    with pytest.raises(DataError) as error:
        encode_all(codec, PAIRS)
    assert str(error.value).startswith(
        "the source of pair 1 has 5 symbols with its end, but `max_source` is 4.\n  hint: split"
    )
    data = encode_all(codec, PAIRS, on_long="drop")
    assert data.dropped == (0, 1, 4) and len(data) == 2
    with pytest.raises(DataError, match="the target of pair 2 has 4 symbols"):
        encode_all(codec, [("b", "1"), ("b", "2 2")])
    with pytest.raises(DataError, match="the source of pair 2 has 5 symbols"):
        codec.encode_source(["b", "ab c"])
    with pytest.raises(DataError, match="the target of pair 1 has 4 symbols"):
        codec.encode_target(["132"])


def test_the_vocabulary_is_of_the_training_text_in_its_normal_form() -> None:
    codec = build_codec(["e\u0301e"], ["1"], normalisation="NFC")
    assert codec.source_vocabulary.symbols == (*SPECIALS, "e", "é")
    limited = build_codec(["aab"], ["1"], source_size=5)
    assert limited.source_vocabulary.symbols == (*SPECIALS, "a")
    assert build_codec(["aab"], ["1"], min_count=2).source_vocabulary.symbols[4:] == ("a",)


def test_a_shared_codec_has_one_tokenizer_and_one_vocabulary() -> None:
    codec = codec_of(shared=True, source_unit="bpe", source_size=60)
    assert codec.source_tokenizer == codec.target_tokenizer
    assert codec.source_vocabulary == codec.target_vocabulary
    assert {"▁", "3"} <= set(codec.source_vocabulary.symbols)


def test_subword_pieces_that_training_does_not_use_are_in_the_vocabulary() -> None:
    codec = codec_of(source_unit="bpe")
    assert set(codec.source_tokenizer.alphabet()) == set(codec.source_vocabulary.symbols[4:])


UNITS = ["character", "grapheme", "jamo", "word", "space", "bpe", "unigram"]


@pytest.mark.parametrize("unit", UNITS)
def test_a_codec_comes_back_from_its_folder(unit: str, tmp_path: Path) -> None:
    codec = codec_of(source_unit=unit, normalisation="NFD", max_source=77)
    save_codec(codec, tmp_path / "model")
    again = load_codec(tmp_path / "model")
    assert again == codec and codec_digest(again) == codec_digest(codec)
    assert codec_files(again) == codec_files(codec)
    assert codec_digest(codec) != codec_digest(codec_of(source_unit=unit))


def files_with(name: str, old: str, new: str) -> dict[str, bytes]:
    files = codec_files(codec_of())
    text = files[name].decode()
    assert old in text
    return files | {name: text.replace(old, new).encode()}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"format": 1',
            '"format": 2',
            "m/codec.json: format 2, but this version of jumok reads up to 1.\n"
            "  hint: install a newer jumok.",
        ),
        (
            '"max_source"',
            '"max_sauce"',
            "m/codec.json: unknown key 'max_sauce'. Did you mean max_source?",
        ),
        (
            '"max_source": 1024',
            '"max_source": -1',
            "m/codec.json: `max_source` must be a number in 1..16777216, but is -1.",
        ),
        (
            '"max_source": 1024',
            '"max_source": true',
            "m/codec.json: `max_source` must be a number in 1..16777216, but is True.",
        ),
        (
            '"NFC"',
            '"NFCX"',
            "m/codec.json: normalisation 'NFCX' is not one of NFC, NFD, NFKC, none."
            " Did you mean NFC?",
        ),
        (
            '"unit": "character"',
            '"unit": "charakter"',
            "m/codec.json: source: `unit` must be one of character, grapheme, jamo, word, space, "
            "bpe, unigram, but is 'charakter'. Did you mean character?",
        ),
        (
            '"unit": "character"',
            '"unit": "bpe"',
            "m/codec.json: source: the unit bpe needs the file spm.model.",
        ),
        (
            '"source": {',
            '"source": {"path": "/etc/passwd", ',
            "m/codec.json: source: the unit character does not know path.",
        ),
        (
            '"max_target": 1024',
            '"max_target": NaN',
            "m/codec.json: not the JSON that was written (NaN is not JSON).",
        ),
        (
            '"max_target": 1024',
            '"max_target": 1, "max_target": 2',
            "m/codec.json: not the JSON that was written (a key comes twice).",
        ),
    ],
)
def test_a_wrong_record_is_refused_with_the_reason(old: str, new: str, message: str) -> None:
    with pytest.raises(ModelFolderError) as error:
        codec_from_files(files_with("codec.json", old, new), where="m")
    assert str(error.value) == message


@pytest.mark.parametrize("name", list(codec_files(codec_of())))
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    save_codec(codec_of(), tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelFolderError, match=f"{name}: there is no such file"):
        load_codec(tmp_path)


def test_a_wrong_vocabulary_names_its_file_and_line() -> None:
    files = files_with("target.vocabulary.txt", "\n3\n", "\n3\n3\n")
    with pytest.raises(ModelFolderError, match=r"^m/target\.vocabulary\.txt:\d+: the symbol 3 "):
        codec_from_files(files, where="m")


@given(st.integers(0, 400), st.binary(max_size=3))
@settings(max_examples=80)
def test_a_changed_record_loads_or_is_a_model_folder_error(place: int, change: bytes) -> None:
    files = codec_files(codec_of())
    record = files["codec.json"]
    place %= len(record)
    files["codec.json"] = record[:place] + change + record[place + 1 :]
    try:
        codec_from_files(files)
    except ModelFolderError:
        return
    assert json.loads(files["codec.json"])["format"] == 1


def test_deep_json_is_refused() -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    with pytest.raises(ModelFolderError, match=r"codec\.json: not the JSON that was written"):
        codec_from_files(codec_files(codec_of()) | {"codec.json": deep})


def test_limits_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ConfigError, match="`max_target` must be at least 2"):
        codec_of(max_target=1)
    with pytest.raises(UsageError, match="normalisation 'nfc' is not one of"):
        PairCodec(
            source_tokenizer=Character(),
            target_tokenizer=Character(),
            source_vocabulary=Vocabulary(SPECIALS),
            target_vocabulary=Vocabulary(SPECIALS),
            normalisation="nfc",  # type: ignore[arg-type]
        )


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(DataError, match="half of a surrogate pair"):
        codec_of().encode_source(["a\ud800"])
