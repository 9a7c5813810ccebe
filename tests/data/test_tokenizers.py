"""Units: every text comes back, spans point at what was typed, nothing spells a special."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jumok.data.graphemes import cluster_ends
from jumok.data.subwords import SentencePiece
from jumok.data.tokenizers import (
    UNITS,
    Character,
    Grapheme,
    Jamo,
    Space,
    Tokenizer,
    Word,
    make,
    restore,
)
from jumok.errors import ConfigError

SENTENCES = [
    "the cat sat on the mat, and the other cats sat there too.",
    "a <s> in the text \\ is not a special <unk> or <0x41> or </s>.",
    "고양이가 매트 위에 앉았다. 다른 고양이도 앉았다.",
] * 5
KANJI = ["".join(chr(0x4E00 + (7 * i + k) % 400) for k in range(9)) for i in range(120)]
BPE = SentencePiece.train(SENTENCES, unit="bpe", size=200)
UNIGRAM = SentencePiece.train(SENTENCES, unit="unigram", size=100)
BYTES = SentencePiece.train([*KANJI, "亜"], unit="bpe", size=300)
PLAIN: list[Tokenizer] = [Character(), Grapheme(), Jamo(), Word(), Space()]
TOKENIZERS: list[Tokenizer] = [*PLAIN, BPE, UNIGRAM, BYTES]
NAMES = [*(t.unit for t in PLAIN), "bpe", "unigram", "bpe-bytes"]

HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            "ab. _\\▁▅￭◌\0\t\n\r\x85\u2028\ufeff\u200d\u202e\u0301<>0xs/각가각ㄱ日👩🏽🇰"
        ),
        st.sampled_from(["<pad>", "</s>", "<0x41>", "￭,", "\\_", "각", "ᄀ", "ᅡ", "ᆨ", "◌ᄀ"]),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=NAMES)
@given(text=HOSTILE)
@example("")
@example(" ")
@example("  a  b ")
@example("▁")
@example("￭a ￭￭ a￭ \\+a \\_")
@example("<pad> <0x41> </s>")
@example("\u1100\u1161\u11a8 각 \u25cc\u1100")
@example("\U0001f469\u200d\U0001f469\u200d\U0001f467 e\u0301\u0301")
@settings(max_examples=150)
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    symbols = tokenizer.symbols(text)
    assert tokenizer.detokenize(symbols) == text
    assert [t.text for t in tokenizer.tokens(text)] == symbols


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=NAMES)
@given(text=HOSTILE)
@settings(max_examples=150)
def test_spans_go_forward_and_leave_out_nothing_but_spaces(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenizer.tokens(text)
    covered: set[int] = set()
    for before, token in zip([None, *tokens], tokens, strict=False):
        assert 0 <= token.start <= token.end <= len(text) and not token.special
        assert before is None or (before.start, before.end) <= (token.start, token.end)
        assert before is None or before.end <= token.start or before.start == token.start
        covered.update(range(token.start, token.end))
    assert all(text[i] == " " for i in set(range(len(text))) - covered)


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=NAMES)
@given(text=HOSTILE)
@settings(max_examples=60)
def test_the_spans_of_a_text_made_from_symbols_are_those_of_the_text(
    tokenizer: Tokenizer, text: str
) -> None:
    tokens = tokenizer.tokens(text)
    joined, spans = tokenizer.join([t.text for t in tokens])
    assert joined == text and spans == [(t.start, t.end) for t in tokens]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=NAMES)
@given(symbols=st.lists(st.text(max_size=3), max_size=8), data=st.data())
@settings(max_examples=80)
def test_any_symbols_can_be_joined(
    tokenizer: Tokenizer, symbols: list[str], data: st.DataObject
) -> None:
    known = [*tokenizer.symbols("각 a, b <0x41>"), "▁", "\\", "￭", "<0xE2>", "ᄀ", "ᅡ", "ᆨ"]
    symbols = symbols + data.draw(st.lists(st.sampled_from(known), max_size=8))
    text, spans = tokenizer.join(symbols)
    assert len(spans) == len(symbols) and tokenizer.detokenize(symbols) == text
    assert all(0 <= a <= b <= len(text) for a, b in spans)


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=NAMES)
def test_a_tokenizer_is_restored_from_what_it_saves(tokenizer: Tokenizer) -> None:
    again = restore(tokenizer.to_dict(), tokenizer.files())
    assert again == tokenizer and again.unit in UNITS
    assert again.symbols(SENTENCES[1]) == tokenizer.symbols(SENTENCES[1])


def test_jamo_spell_syllables_by_letters_and_share_their_span() -> None:
    tokens = Jamo().tokens("한a가")
    assert [t.text for t in tokens] == ["\u1112", "\u1161", "\u11ab", "a", "\u1100", "\u1161"]
    assert [(t.start, t.end) for t in tokens] == [(0, 1)] * 3 + [(1, 2)] + [(2, 3)] * 2
    assert Jamo().symbols("\u1100ㄱ") == ["\u25cc\u1100", "ㄱ"]


def test_jamo_of_all_syllables_and_letters_come_back() -> None:
    everything = [*range(0x1100, 0x1200), *range(0xAC00, 0xD7A4)]
    for code in everything:
        for text in (chr(code), chr(code) + "\u11a8", "\u1100" + chr(code)):
            assert Jamo().detokenize(Jamo().symbols(text)) == text


def test_letters_that_do_not_make_a_syllable_stay_as_they_are() -> None:
    assert Jamo().join(["\u1100", "\u1100", "\u1161", "\u11a8", "\u11a8"]) == (
        "\u1100각\u11a8",
        [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)],
    )


def test_words_are_the_same_symbol_wherever_they_stand() -> None:
    assert Word().symbols("(the cat, the «cat»)") == [
        *("(￭", "the", "cat", "￭,", "the", "«￭", "cat", "￭»", "￭)")
    ]
    assert Word().symbols("a  b ") == ["a", "￭▁", "￭▁￭", "b", "￭▁"]
    assert Word().symbols("e\u0301\u0301t_9 हिन्दी") == ["e\u0301\u0301t_9", "हिन्दी"]
    assert Word().symbols("3.14") == ["3", "￭.￭", "14"]


def test_spaces_separate_and_two_of_them_hold_an_empty_symbol() -> None:
    assert Space().symbols("k ae t") == ["k", "ae", "t"]
    assert Space().symbols("a  b") == ["a", "", "b"] and Space().symbols("") == []
    assert Space().join(["k", "ae"]) == ("k ae", [(0, 1), (2, 4)])


CLUSTERS = {
    "\r\n\n\r": [2, 1, 1],
    "e\u0301\u0327x": [3, 1],
    "각\u1100\u1161\u11a8\u1100가\u11a8": [1, 3, 3],
    "🇰🇷🇰🇷🇰": [2, 2, 1],
    "a🇰🇷\u200d🇰🇷": [1, 3, 2],
    "👩\u200d👩\u200d👧👍🏽": [5, 2],
    "❤\ufe0f\u200d🔥": [4],
    "a\u200d🔥": [2, 1],
    "👩\u200d\u200d👧": [3, 1],
    "\u0600\u0661": [2],
    "\u0e01\u0e33\u0ba8\u0bbf": [2, 2],
    "\u200b\u0301\0\u0301": [1, 1, 1, 1],
    "🏴\U000e0067\U000e007f": [3],
    "\u1100\u0301\u1161": [2, 1],
}


@pytest.mark.parametrize(("text", "sizes"), CLUSTERS.items(), ids=map(ascii, CLUSTERS))
def test_graphemes_are_those_of_the_unicode_annex(text: str, sizes: list[int]) -> None:
    ends = cluster_ends(text)
    assert [b - a for a, b in zip([0, *ends], ends, strict=False)] == sizes


def test_graphemes_keep_a_letter_and_its_marks_in_one_symbol() -> None:
    assert Grapheme().symbols("e\u0301🇰🇷x") == ["e\u0301", "🇰🇷", "x"]


@pytest.mark.parametrize("unit", ["bpe", "unigram"])
def test_the_same_texts_teach_the_same_bytes(unit: str) -> None:
    def learnt(seed: int = 0) -> bytes:
        name = "bpe" if unit == "bpe" else "unigram"
        return SentencePiece.train(iter(SENTENCES), unit=name, size=120, seed=seed).model

    assert learnt() == learnt()


def test_subwords_are_pieces_of_words_with_the_space_before_them() -> None:
    assert BPE.symbols("the cat") == ["▁the", "▁cat"]
    tokens = BPE.tokens("the  cat")
    assert [(t.text, t.start, t.end) for t in tokens] == [
        ("▁the", 0, 3),
        ("▁", 3, 4),
        ("▁cat", 5, 8),
    ]


@pytest.mark.parametrize("tokenizer", [BPE, UNIGRAM, BYTES], ids=["bpe", "unigram", "bytes"])
def test_no_text_spells_a_piece_that_means_something_else(tokenizer: SentencePiece) -> None:
    for special in ("<unk>", "<s>", "</s>", "<pad>", "<0x41>"):
        assert special not in tokenizer.symbols(f"{special} {special}{special}")
        assert tokenizer is BYTES or special not in tokenizer.alphabet()


def test_what_looks_like_a_piece_of_sentencepiece_is_learnt_like_any_text() -> None:
    texts = [*KANJI, *["<0x41> <unk>"] * 300]
    tokenizer = SentencePiece.train(texts, size=500)
    assert not any(s.startswith("<0x") for s in tokenizer.symbols("<0x41> <unk>"))


def test_characters_of_a_large_alphabet_that_are_rare_are_spelt_in_bytes() -> None:
    assert BYTES.symbols("☃")[-3:] == ["<0xE2>", "<0x98>", "<0x83>"]
    tokens = BYTES.tokens("a☃")
    assert [(t.start, t.end) for t in tokens][-3:] == [(1, 2)] * 3
    assert BYTES.detokenize(["<0xE2>", "<0x98>"]) == "�"
    assert {"<0x00>", "<0xFF>"} <= set(BYTES.alphabet())


def test_characters_of_a_small_alphabet_that_were_not_there_are_one_unknown_symbol() -> None:
    assert BPE.symbols("the ☃☃ cat") == ["▁the", "▁", "☃☃", "▁cat"]
    assert "☃☃" not in BPE.alphabet() and "▁cat" in BPE.alphabet()


def test_subwords_learn_no_more_than_the_sizes_asked_for() -> None:
    small = SentencePiece.train(SENTENCES, size=100)
    assert 50 < len(small.alphabet()) <= 100
    tiny = SentencePiece.train(["ab"], size=4000)
    assert tiny.detokenize(tiny.symbols("ab ba ☃")) == "ab ba ☃"


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_subwords_need_text(texts: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        SentencePiece.train(texts)
    assert str(error.value) == "the unit bpe cannot be learnt: there is no text."


@pytest.mark.parametrize(
    ("record", "files", "message"),
    [
        (
            {"unit": "charakter"},
            {},
            "`unit` must be one of character, grapheme, jamo, word, space, bpe, unigram, but is "
            "'charakter'. Did you mean character?",
        ),
        ({"unit": "word", "lower": True}, {}, "the unit word does not know lower."),
        ({"unit": "word"}, {"spm.model": b""}, "the unit word does not know spm.model."),
        ({"unit": "bpe"}, {}, "the unit bpe needs the file spm.model."),
        ({"unit": "bpe", "x": 1}, {"spm.model": b""}, "the unit bpe does not know x."),
    ],
)
def test_a_wrong_record_is_refused(
    record: dict[str, object], files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        restore(record, files)
    assert str(error.value) == message


def test_a_damaged_subword_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"spm\.model is not a sentencepiece model"):
        restore({"unit": "bpe"}, {"spm.model": b"nonsense"})


def test_a_learnt_unit_cannot_be_made_without_text() -> None:
    with pytest.raises(ConfigError, match="the unit bpe is learnt from text"):
        make("bpe")
