"""Files of pairs in every format; what is wrong is named file:line and says what to do."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from jumok.data.corpus import load, parse_columns
from jumok.errors import DataError, UsageError

ROWS = [(f"word{i}", f"{i} {i}") for i in range(53)]


def table(rows: list[tuple[str, ...]], sep: str = "\t") -> str:
    return "".join(sep.join(row) + "\n" for row in rows)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a file into the working folder and returns its bare name."""
    monkeypatch.chdir(tmp_path)

    def put(name: str, content: str | bytes) -> str:
        data = content if isinstance(content, bytes) else content.encode()
        Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return name

    return put


def message(error: type[Exception], *path: str, **options: object) -> str:
    with pytest.raises(error) as caught:
        load(path[0] if len(path) == 1 else path, **options)
    return str(caught.value)


# -- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("suffix", [".tsv", ".txt", ".tsv.gz"])
def test_the_same_pairs_come_from_every_kind_of_tsv(write, ending, mark, suffix) -> None:
    name = write("pairs" + suffix, mark + table(ROWS).replace("\n", ending))
    assert load(name).pairs() == ROWS


def test_a_file_without_a_final_newline_keeps_its_last_row(write) -> None:
    assert load(write("p.tsv", table(ROWS)[:-1])).pairs() == ROWS


def test_a_quote_is_a_character_in_tsv_and_quoting_in_csv(write) -> None:
    text = '"a, ""b""",c\n"d"x\n'
    tsv = load(write("p.tsv", '"a\t"b"\nx\t""\n'))
    assert tsv.pairs() == [('"a', '"b"'), ("x", '""')]
    assert load(write("p.csv", text.splitlines()[0] + "\n")).pairs() == [('a, "b"', "c")]
    assert "p.csv:2: not a CSV row" in message(DataError, write("p.csv", text))


def test_a_csv_quote_never_closed_names_the_line_it_was_opened_in(write) -> None:
    said = message(DataError, write("p.csv", 'a,b\nc,"d\ne,f\n'))
    assert "p.csv:2: not a CSV row: a quote is opened and not closed (lines 2 to 3" in said
    assert "with --format tsv --sep ," in said


def test_csv_after_a_line_that_cannot_be_decoded_keeps_its_line_numbers(write) -> None:
    name = write("p.csv", b'a,b\n\xff,x\n"c",d\n')
    corpus = load(name, on_bad="skip")
    assert [e.where for e in corpus] == ["p.csv:1", "p.csv:3"]


def test_parallel_files_pair_line_by_line(write) -> None:
    corpus = load((write("t.de", "ein\nzwei\n\n"), write("t.en", "one\ntwo\n\n")))
    assert corpus.pairs() == [("ein", "one"), ("zwei", "two")]
    assert corpus.notes == ("t.de + t.en: 1 blank line skipped.",)
    assert corpus[1].where == "t.de:2"


def test_a_line_empty_on_one_side_of_parallel_files_is_named(write) -> None:
    said = message(DataError, write("t.de", "ein\nzwei\n"), write("t.en", "one\n\n"))
    assert said.startswith("t.de:2: the target is empty.")


def test_an_undecodable_line_of_the_second_file_names_that_file(write) -> None:
    said = message(DataError, write("t.de", "a\nb\n"), write("t.en", b"a\n\xff\n"))
    assert said.startswith("t.en:2: byte 1 of the line (0xFF) is not UTF-8.")


def test_one_file_is_not_parallel_to_itself(write) -> None:
    name = write("t.de", "a\n")
    assert "both read from t.de" in message(UsageError, name, name)


def test_json_lines_are_read_by_key_and_down_dots(write) -> None:
    rows = [{"source": s, "target": t} for s, t in ROWS]
    text = "".join(json.dumps(r, ensure_ascii=i % 2 == 0) + "\n" for i, r in enumerate(rows))
    assert load(write("p.jsonl", text)).pairs() == ROWS
    assert load("p.jsonl", columns=(2, 1)).pairs() == [(t, s) for s, t in ROWS]
    nested = '{"translation": {"en": "a", "de": "b"}}\n'
    columns = ("translation.de", "translation.en")
    assert load(write("n.jsonl", nested), columns=columns).pairs() == [("b", "a")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"source": "a", "tgt": "b"}', "p.jsonl:2: no key 'target'. Did you mean tgt?"),
        ('{"source": "a", "target": 7}', "p.jsonl:2: 'target' is not a string but 7"),
        ('["a", "b"]', "p.jsonl:2: not a JSON object"),
        ("a b", "p.jsonl:2: not a JSON object"),
        ("[" * 100_000, "p.jsonl:2: not a JSON object"),
        ('{"source": ' + "9" * 5000 + "}", "p.jsonl:2: not a JSON object"),
        ('{"source": "\\ud800", "target": "b"}', "p.jsonl:2: character 1 is half of a surrogate"),
        ('{"source": "a\\nb", "target": "b"}', "p.jsonl:2: the source holds a line break."),
    ],
)
def test_a_bad_line_of_json_is_named(write, line: str, said: str) -> None:
    good = '{"source": "a", "target": "b"}\n'
    assert message(DataError, write("p.jsonl", good + line + "\n" + good)).startswith(said)
    assert len(load("p.jsonl", on_bad="skip")) == 2


def test_standard_input_is_read_in_any_format_and_compressed(monkeypatch) -> None:
    for data in (table(ROWS).encode(), gzip.compress(table(ROWS).encode())):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        corpus = load("-")
        assert corpus.pairs() == ROWS
        assert corpus[0].where == "stdin:1"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"source":"a","target":"b"}')))
    assert load("-", format="jsonl").pairs() == [("a", "b")]


# -- columns and header -----------------------------------------------------------------------


def test_columns_go_by_number_in_either_direction_and_others_are_noted(write) -> None:
    name = write("p.tsv", table([(t, "x", s, "y") for s, t in ROWS]))
    corpus = load(name, columns=(3, 1))
    assert corpus.pairs() == ROWS
    assert corpus.notes == (
        "p.tsv: source is column 3, target is column 1; not used: 2, 4 (--columns chooses others).",
    )


def test_columns_go_by_name(write) -> None:
    name = write("p.tsv", table([("id", "pron", "word"), *[("7", t, s) for s, t in ROWS]]))
    assert load(name, columns=("word", "pron")).pairs() == ROWS
    said = message(DataError, name, columns=("word", "prn"))
    assert said.startswith("p.tsv:1: no column is called 'prn'. Did you mean pron?")
    assert "the first row has: id, pron, word" in said
    assert "drop --header no" in message(UsageError, name, columns=("word", "pron"), header="no")


def test_a_column_that_the_file_does_not_have_is_named(write) -> None:
    said = message(DataError, write("p.tsv", table(ROWS)), columns=(1, 4))
    assert said.startswith("p.tsv:1: 2 columns, expected 4")
    assert "the file has 2 columns; --columns chooses two of them" in said


@pytest.mark.parametrize("columns", [(1, 1), (0, 1), ("a", "a")])
def test_columns_must_be_two_and_different(columns) -> None:
    with pytest.raises(UsageError, match="two different columns|numbered from 1"):
        load("never opened", columns=columns)


def test_columns_are_parsed_as_numbers_or_names() -> None:
    assert parse_columns("2, 1") == (2, 1)
    assert parse_columns("word,pron") == ("word", "pron")
    for bad in ("1", "1,2,3", "1,", "2,2"):
        with pytest.raises(UsageError, match="two (different )?columns"):
            parse_columns(bad)


DATES = [(f"{i} May 19{i:02}", f"19{i:02}-05-{i:02}") for i in range(11, 73)]
KOREAN = [
    ("Run!", "뛰어!"),
    ("OK", "네"),
    *[(f"I am Nr {i}.", f"나는 {i}번이다.") for i in range(11)],
]
WORDS = [(f"wo{chr(97 + i)}d", f"W OW {chr(65 + i)}") for i in range(17)]


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (("date", "iso"), DATES),
        (("written", "normal"), DATES),
        (("English", "Korean"), KOREAN),
        (("source_text", "target_text"), WORDS),
        (("word", "arpabet"), WORDS),
        (("en", "ko"), KOREAN[:1]),
    ],
)
def test_a_header_is_found_told_and_can_be_kept(write, header, rows) -> None:
    name = write("p.tsv", table([header, *rows]))
    corpus = load(name)
    assert corpus.pairs() == rows
    assert f"the first row ({header[0]}, {header[1]}) is the header; --header no" in corpus.notes[0]
    assert load(name, header="no").pairs() == [header, *rows]


@pytest.mark.parametrize(
    "rows",
    [
        DATES,
        KOREAN,
        KOREAN[1:],
        WORDS,
        [("Tom", "Tom"), *KOREAN],
        [("word", "Word"), *WORDS],
        [("word", "Wort"), ("tree", "Baum")],
        [("date", "d EY t"), *WORDS],
        [("source", "target"), ("source", "x"), *WORDS],
        [("OK", "네"), *DATES[:17]],
        [("word", "단어"), ("word", "낱말"), *KOREAN],
        [("a", "1"), *WORDS],
        [("go", "gone")],
    ],
)
def test_a_first_row_of_data_is_not_taken_for_a_header(write, rows) -> None:
    assert load(write("p.tsv", table(rows))).pairs() == rows


def test_a_first_row_that_might_be_names_is_noted(write) -> None:
    corpus = load(write("p.tsv", table([("word", "qux"), ("a", "b")])))
    assert corpus.notes == (
        "p.tsv: the first row (word, qux) is read as data; --header yes takes it as names.",
    )
    assert load("p.tsv", header="yes").pairs() == [("a", "b")]


# -- wrong lines ------------------------------------------------------------------------------


def test_a_line_with_too_few_columns_is_shown_with_what_to_do(write) -> None:
    name = write("pairs.tsv", table(ROWS) + "안녕하세요 hello\nx\n" + table(ROWS))
    assert message(DataError, name) == (
        "pairs.tsv:54: 1 column, expected 2 (source<TAB>target)\n"
        "  | 안녕하세요 hello\n"
        "  hint: the line has a space but no TAB; fix the line; "
        "--skip-bad drops such lines (2 of 108 here)"
    )
    corpus = load(name, on_bad="skip")
    assert corpus.pairs() == ROWS + ROWS
    assert corpus.notes == (
        "pairs.tsv: 2 of 108 lines are bad and skipped; the first: pairs.tsv:54: 1 column, "
        "expected 2 (source<TAB>target)",
    )


def test_a_line_with_a_column_too_many_is_not_cut(write) -> None:
    said = message(DataError, write("p.tsv", table(ROWS) + "a\tb\tc\n"))
    assert said.startswith("p.tsv:54: 3 columns, but the other rows have 2.\n  | a\\tb\\tc")
    assert "is there a TAB inside the text?" in said


@pytest.mark.parametrize(("sep", "shown"), [(",", "a comma"), ("_", "a '_'"), (" ||| ", "")])
def test_another_separator_is_recognised_and_named(write, sep: str, shown: str) -> None:
    rows = [(f"wo-{chr(97 + i % 26)}rd {i}", f"{i} q" + "!" * (i % 2)) for i in range(17)]
    name = write("p.tsv", table(rows, sep))
    said = message(DataError, name)
    assert f"but each has {shown}" in said
    assert f"use --sep {sep!r}; all 17 lines are like this" in said
    assert load(name, sep=sep).pairs() == rows


@pytest.mark.parametrize(
    ("line", "side"), [("\tb", "source"), ("a\t", "target"), ("a\t \r", "target")]
)
def test_an_empty_field_is_refused_unless_allowed(write, line: str, side: str) -> None:
    said = message(DataError, write("p.tsv", f"x\ty\n{line}\n"))
    assert said.startswith(f"p.tsv:2: the {side} is empty.")
    assert "fill it in; --keep-empty takes it as it is; --skip-bad drops such lines" in said
    kept = load("p.tsv", empty="keep").pairs()[1]
    assert kept == tuple(line.removesuffix("\r").split("\t"))


def test_blank_rows_are_skipped_with_a_note(write) -> None:
    corpus = load(write("p.tsv", "\na\tb\n  \n\t\nc\td\n\n"))
    assert corpus.pairs() == [("a", "b"), ("c", "d")]
    assert corpus.notes == ("p.tsv: 4 blank lines skipped.",)
    assert [e.where for e in corpus] == ["p.tsv:2", "p.tsv:5"]


def test_an_over_long_line_is_refused_or_dropped_but_never_cut(write) -> None:
    name = write("p.tsv", f"a\tb\nc\t{'x' * 31}\n{'y' * 37}\td\n")
    assert message(DataError, name, max_length=30).startswith(
        "p.tsv:2: the target has 31 characters, more than 30.\n  | " + "x" * 31
    )
    assert (
        "shorten it; --max-characters 31 takes it; --skip-long drops such lines (2 of 3 here)"
        in message(DataError, name, max_length=30)
    )
    dropped = load(name, max_length=30, on_long="skip")
    assert dropped.pairs() == [("a", "b")]
    assert "2 of 3 lines are over-long (> 30 characters) and skipped" in dropped.notes[0]
    assert load(name, max_length=37).targets[1] == "x" * 31
    assert "more than 10,000" in message(DataError, write("q.tsv", "a\t" + "x" * 10_001))
    assert len(load("q.tsv", max_length=None).targets[0]) == 10_001


def test_skipping_bad_lines_does_not_skip_long_ones(write) -> None:
    name = write("p.tsv", f"a\tb\nbad\n{'y' * 37}\td\n")
    assert "37 characters" in message(DataError, name, max_length=30, on_bad="skip")


def test_bad_lines_and_long_lines_are_counted_apart(write) -> None:
    name = write("p.tsv", f"a\tb\nbad\n{'y' * 37}\td\nbad\n")
    assert "--skip-bad drops such lines (2 of 4 here)" in message(DataError, name, max_length=30)
    both = load(name, max_length=30, on_bad="skip", on_long="skip")
    assert ["2 of 4 lines are bad" in both.notes[0], "1 of 4 lines is over" in both.notes[1]] == [
        True,
        True,
    ]


def test_nul_is_refused_by_name(write) -> None:
    said = message(DataError, write("p.tsv", "a\tb\nc\0c\td\n"))
    assert said.startswith("p.tsv:2: the source holds a NUL character.\n  | c\\x00c")


def test_files_with_nothing_in_them_are_refused(write) -> None:
    for content in ("", "\n\n", "\ufeff"):
        assert "p.tsv: no pairs in it." in message(DataError, write("p.tsv", content))
    assert "no pairs" in message(DataError, write("a", ""), write("b", ""))


def test_white_space_round_a_text_is_kept_unless_stripped(write) -> None:
    name = write("p.tsv", " a \tb  \n")
    assert load(name).pairs() == [(" a ", "b  ")]
    assert load(name, strip=True).pairs() == [("a", "b")]


# -- normalisation ----------------------------------------------------------------------------


def test_texts_are_normalised_and_counted(write) -> None:
    name = write("p.tsv", "e\u0301\tx\né\to\u0308\nﬁ\tz\n")
    nfc = load(name)
    assert nfc.sources == ("é", "é", "ﬁ")
    assert nfc.targets == ("x", "ö", "z")
    assert nfc.notes == ("p.tsv: 2 rows not in NFC: normalised.",)
    assert load(name, normalise="NFD").sources == ("e\u0301", "e\u0301", "ﬁ")
    assert load(name, normalise="NFKC").sources == ("é", "é", "fi")
    raw = load(name, normalise="none")
    assert (raw.sources, raw.normalisation, raw.notes) == (("e\u0301", "é", "ﬁ"), "none", ())


# -- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"header": "maybe"}, "`header` ('maybe') must be one of 'auto', 'yes', 'no'."),
        ({"on_bad": "drop"}, "`on_bad` ('drop') must be one of 'refuse', 'skip'."),
        ({"encoding": "utf-9"}, "encoding 'utf-9' is unknown. Did you mean utf-8?"),
        ({"normalise": "nfc"}, "normalisation 'nfc' is not one of"),
        ({"max_length": 0}, "`max_length` (0) must be at least 1."),
        ({"sep": ""}, "`sep` must be at least one character"),
    ],
)
def test_an_option_that_does_not_exist_is_a_usage_error(options, said: str) -> None:
    assert said in message(UsageError, "never opened", **options)


def test_a_missing_file_is_answered_with_its_neighbour(write) -> None:
    write("pairs.tsv", "a\tb\n")
    said = message(UsageError, "pair.tsv")
    assert said.startswith("pair.tsv: there is no such file. Did you mean pairs.tsv?")
    assert "is a folder" in message(UsageError, ".")


# -- what a first reader stumbles over ---------------------------------------------------------


def test_one_column_alone_is_answered_with_the_two_ways_to_give_two(write) -> None:
    said = message(DataError, write("p.txt", "ein\nzwei\ndrei\n"))
    assert "put a TAB between source and target, or name two files, line for line" in said


def test_keys_inside_an_object_are_named_as_columns_takes_them(write) -> None:
    name = write("p.jsonl", '{"translation": {"en": "a", "ko": "b"}, "id": 1}\n')
    assert "the keys here are translation.en, translation.ko, id; " in message(DataError, name)
    assert load(name, columns=("translation.en", "translation.ko")).pairs() == [("a", "b")]
