"""What the report finds is what was planted, counted by a slower way, and said in words."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jumok.data import inventory
from jumok.data.corpus import Corpus
from jumok.data.inventory import character_counts, is_mojibake, rows_holding, scripts, symbol_name
from jumok.data.report import DataReport, report
from jumok.data.text import NearKey
from jumok.data.wording import data_lines
from jumok.errors import DataError

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
TEXT = st.text(alphabet="abA가é !", min_size=1, max_size=3)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=29)


def said(found: DataReport, *words: str) -> bool:
    return any(all(w in line for w in words) for line in data_lines(found))


def plain(count: int = 31, start: int = 0) -> list[tuple[str, str]]:
    return [(f"source {i}", f"target {i}") for i in range(start, start + count)]


# -- counts, by a slower way ------------------------------------------------------------------


@QUICK
@given(PAIRS)
def test_duplicates_and_the_ceiling_are_those_of_plain_counting(pairs) -> None:
    part = report(Corpus.of(pairs)).parts[0]
    pairs = Corpus.of(pairs).pairs()
    by_source: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for source, target in pairs:
        by_source[source][target] += 1
    assert part.rows == len(pairs)
    assert part.distinct_sources == len(by_source)
    assert part.duplicate_rows == len(pairs) - len(set(pairs))
    assert part.ambiguous_sources == sum(len(c) > 1 for c in by_source.values())
    best = sum(max(c.values()) for c in by_source.values())
    assert part.ceiling == best / len(pairs)
    assert part.identical_rows == sum(s == t for s, t in pairs)
    lengths = sorted(len(s) for s, _ in pairs)
    assert part.source_lengths.max == lengths[-1]
    assert part.source_lengths.median in (
        lengths[len(lengths) // 2],
        lengths[len(lengths) // 2 - 1],
    )


@QUICK
@given(PAIRS, PAIRS)
def test_leaks_and_unseen_symbols_are_those_of_plain_counting(train_pairs, dev_pairs) -> None:
    train, dev = Corpus.of(train_pairs), Corpus.of(dev_pairs)
    held = report(train, dev).held[0]
    sources, key = set(train.sources), NearKey()
    near = {key(s) for s in sources}
    assert held.leaked_rows == sum(s in sources for s in dev.sources)
    assert held.near_rows == sum(key(s) in near for s in dev.sources)
    assert held.leaked_pairs == sum(pair in set(train.pairs()) for pair in dev.pairs())
    assert held.known_target_rows == sum(t in set(train.targets) for t in dev.targets)
    seen = set("".join(train.targets))
    unseen = Counter(c for t in dev.targets for c in t if c not in seen)
    assert dict(held.target_unseen.symbols) == dict(unseen)
    assert held.target_unseen.rows == sum(any(c not in seen for c in t) for t in dev.targets)


@QUICK
@given(st.lists(st.text(alphabet="ab가👩\U0010ffff\u0301", max_size=7), max_size=11))
def test_characters_are_counted_as_a_counter_counts_them(texts) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inventory, "CHUNK_ROWS", 3)
        found = character_counts(texts)
    assert found == Counter("".join(texts))
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_no_source_of_a_split_leaks() -> None:
    pairs = [(f"source {i % 211}", f"target {i}") for i in range(499)]
    found = report(*Corpus.of(pairs).split())
    assert [h.leaked_rows for h in found.held] == [0, 0]
    assert said(found, "no source is also in training")


# -- what it says -----------------------------------------------------------------------------


def test_a_leak_is_said_with_its_share_and_where() -> None:
    dev = Corpus.of(
        [("source 3", "target 3"), ("SOURCE 4!", "x"), ("new", "y"), ("fresh", "z")], "d"
    )
    found = report(Corpus.of(plain(), "t"), dev)
    assert said(found, "leak: 1 of 4 (25.0%) rows have a source that is also in training, 1 with")
    assert said(found, "such as d:1")
    assert said(found, "near leak: 1 of 4 (25.0%) more rows", "but for case, spaces or punctuation")


def test_the_ceiling_is_said_and_never_rounded_up() -> None:
    pairs = [("same", "one"), ("same", "two"), *plain(4001)]
    found = report(Corpus.of(pairs))
    assert said(found, "1 source of 4,002 has several targets", "cannot exceed 99.9% if each row")
    assert said(found, "such as “same”: “one”, “two”")


def test_examples_are_the_worst_and_then_the_first_of_the_file() -> None:
    pairs = [(f"source {i}", f"{t}") for t in range(2) for i in range(97)] + [("source 50", "2")]
    examples = report(Corpus.of(pairs)).parts[0].ambiguous_examples
    assert examples == (
        ("source 50", ("0", "1", "2")),
        ("source 0", ("0", "1")),
        ("source 1", ("0", "1")),
    )


def test_unseen_symbols_are_named_with_their_codes() -> None:
    dev = Corpus.of([("가 x\u0301", "target 뷁뷁"), ("b", "e")], "dev")
    found = report(Corpus.of(plain()), dev)
    assert said(found, "1 character of the target never occurs in training, in 1 of 2 (50.0%) rows")
    assert said(found, "never produced where symbols are characters: 뷁 (U+BDC1) twice")
    assert said(found, "of the source never occur", "read as unknown", "◌\u0301 (U+0301) once")


def test_columns_that_changed_places_are_noticed_by_script_and_by_words() -> None:
    train = [(f"I have {i} cats and dogs", f"고양이와 개 {i}마리") for i in range(29)]
    german = [(f"the man has {i} red houses", f"der Mann hat {i} rote Häuser") for i in range(29)]
    for pairs in (train, german):
        turned = Corpus.of([(t, s) for s, t in pairs[:11]], "dev")
        assert said(report(Corpus.of(pairs), turned), "swapped?", "--columns 2,1")
        assert not said(report(Corpus.of(pairs), Corpus.of(pairs[:11])), "swapped?")


@pytest.mark.parametrize(
    ("pair", "what"),
    [
        (("a\ufffdb", "x"), "hold U+FFFD"),
        (("x", "cafÃ©"), "look like UTF-8 read as Latin-1"),
        (("x", "don’t".encode().decode("cp1252")), "look like UTF-8 read as Latin-1"),
        (("안녕".encode().decode("latin-1"), "x"), "look like UTF-8 read as Latin-1"),
        (("a\x0bb", "x"), "hold control characters"),
        (("a\u2028b", "x"), "hold control characters"),
        (("a\ufeffb", "x"), "hold control characters"),
        (("a ", "x"), "begin or end with white space"),
        (("source", "x" * 99), "have a target out of proportion to the source"),
    ],
)
def test_damage_is_found_and_located(pair, what: str) -> None:
    found = report(Corpus.of([*plain(), pair], "p.tsv"))
    assert [s.where for s in found.parts[0].suspicions if what in s.what] == [("p.tsv:32",)]
    assert said(found, "look at: 1 of 32 (3.1%) rows " + what, "p.tsv:32")


def test_mixed_forms_are_noticed_where_nothing_normalises_them() -> None:
    pairs = [*plain(), ("e\u0301", "x")]
    assert said(report(Corpus.of(pairs, normalisation="none")), "are not in NFC")
    assert not said(report(Corpus.of(pairs)), "NFC")


def test_healthy_text_raises_no_suspicion() -> None:
    pairs = [(f"Ça coûte {i} €, naïve Äpfel", f"나는 {i}원… “👩\u200d💻” ñ") for i in range(31)]
    assert report(Corpus.of(pairs)).parts[0].suspicions == ()


def test_rows_that_training_would_refuse_are_counted() -> None:
    found = report(Corpus.of([*plain(), ("x" * 41, "y"), ("x", "y" * 41)]), max_length=40)
    assert found.parts[0].too_long_rows == 2
    assert said(
        found, "2 rows with more than 40 characters: ", "--data.on_long drop leaves them out"
    )


def test_repeats_and_copies_are_said() -> None:
    found = report(Corpus.of([("a", "a")] * 3 + [("b", "b")]))
    assert said(found, "2 of 4 (50.0%) rows repeat an earlier pair")
    assert said(found, "4 of 4 (100.0%) rows have a target equal to the source; copying")


def test_notes_of_reading_are_handed_on_once() -> None:
    corpus = Corpus(sources=("a",), targets=("b",), name="p", notes=("1 blank line skipped.",))
    assert data_lines(report(corpus, corpus)).count("note: 1 blank line skipped.") == 1


def test_the_report_is_plain_json() -> None:
    found = report(*Corpus.of(plain(199)).split()).to_dict()
    again = json.loads(json.dumps(found))
    assert again["schema"] == "jumok/1"
    assert [p["rows"] for p in again["parts"]] == [p["rows"] for p in found["parts"]]
    assert again["held"][0]["leaked_rows"] == 0
    assert again["parts"][0]["source_scripts"][0]["name"] == "Latin"


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(DataError, match="here: there are no pairs to train on"):
        report(Corpus.of([], "here"))


def test_an_empty_held_out_corpus_is_reported_as_empty() -> None:
    held = report(Corpus.of(plain()), Corpus.of([], "dev")).held[0]
    assert (held.rows, held.leaked_rows, held.source_unseen.words) == (0, 0, 0.0)


# -- characters -------------------------------------------------------------------------------


def test_scripts_are_named_with_their_share() -> None:
    found = {
        s.name: (s.symbols, s.share) for s in scripts(character_counts(["가나가 Ab", "1１漢ー"]))
    }
    assert found["Hangul"] == (2, 0.3)
    assert found["Latin"] == (2, 0.2)
    assert found["digits"] == (2, 0.2)
    assert found["Han"] == (1, 0.1)
    assert found["Katakana"] == (1, 0.1)


def test_mojibake_is_told_from_text_with_many_accents() -> None:
    assert is_mojibake("naÃ¯ve")
    for healthy in ("naïve", "Ã la carte", "São Paulo, Ñandú", "ÀÉÎÕÜ", "가나다", "Â£5 £"[3:]):
        assert not is_mojibake(healthy)


def test_rows_holding_any_of_some_characters_are_found() -> None:
    assert rows_holding(["a]", "b", "c^-"], "]^") == [0, 2]
    assert rows_holding(["a"], "") == []


def test_invisible_characters_are_named_in_words() -> None:
    assert symbol_name("\u00a0") == "U+00A0 NO-BREAK SPACE"
    assert symbol_name("\x0b") == "U+000B"
    assert symbol_name("가") == "가 (U+AC00)"
