"""Bytes that break other readers: a line ends at \\n only, counts match, errors name the byte."""

from __future__ import annotations

import gzip
import itertools
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jumok.data.corpus import load, load_sources, stream
from jumok.data.encodings import Problem, lines
from jumok.errors import DataError, JumokError

QUICK = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LONG = settings(QUICK, max_examples=20_000)

# Everything that some reader somewhere takes for the end of a line, or drops, or cuts at.
PIECES = [
    b"\0", b"\r", b"\r\n", b"\n", b"\n\n", b"\x0b", b"\x0c", b"\x1a", b"\x1c", b"\x1e", b"\x7f",
    b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xc2\xa0", b"\xe3\x80\x80",
    b"\xe2\x80\x8d", b"\xe2\x80\xae", b"\xe2\x81\xa6", b"\t", b" ", b'"', b"#", b"a", b"b\tc",
    "가".encode(), "e\u0301".encode(), "👩\u200d💻".encode(),
]  # fmt: skip
BROKEN = [
    b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xff",
    b"\x80", b"\xe2\x80", b"\xf0\x9f\x91",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES), max_size=17).map(b"".join)
BYTES = st.lists(st.sampled_from(PIECES + BROKEN), max_size=17).map(b"".join)


def true_lines(data: bytes) -> list[str]:
    """Lines by the letter of the law, from the whole file at once."""
    text = data.decode().removeprefix("\ufeff")
    if not text:
        return [""] if data else []  # a file of a byte order mark alone: see below
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def read(path: Path, data: bytes, packed: bool) -> list[str]:
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    return load_sources(path)


@QUICK
@given(TEXT, st.booleans())
@example(b"\xef\xbb\xbf\n", False)
@example(b"\r\n\r\r\n\n", True)
def test_lines_out_are_lines_in(tmp_path: Path, data: bytes, packed: bool) -> None:
    assert read(tmp_path / "in", data, packed) == true_lines(data)


@pytest.mark.nightly
@LONG
@given(TEXT, st.booleans())
def test_lines_out_are_lines_in_many(tmp_path: Path, data: bytes, packed: bool) -> None:
    assert read(tmp_path / "in", data, packed) == true_lines(data)


def test_splitlines_would_fail_this_law(tmp_path: Path) -> None:
    data = "a\x0bb\x0cc\x85d\u2028e\n".encode()
    assert len(read(tmp_path / "in", data, False)) == 1 != len(data.decode().splitlines())


@QUICK
@given(BYTES)
def test_decoding_is_strict_and_names_line_and_byte(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "in").write_bytes(data)
    try:
        found = list(lines(tmp_path / "in", old_mac=False))
    except DataError as error:
        assert "run the same command again with --encoding" in str(error)
        return
    raws = data.removesuffix(b"\n").split(b"\n") if data else []
    assert len(found) == len(raws)
    for number, (item, raw) in enumerate(zip(found, raws, strict=True), 1):
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            assert isinstance(item, Problem)
            assert item.line == number
            assert f"byte {error.start + 1} of the line (0x{raw[error.start]:02X})" in item.message
        else:
            assert not isinstance(item, Problem)
            assert item[0] == number


def expected_pairs(data: bytes) -> list[tuple[str, str]]:
    """The pairs a two-column file holds, by the letter of the rules, texts as they are."""
    rows = [line.split("\t") for line in true_lines(data)]
    return [
        (row[0], row[1])
        for row in rows
        if len(row) == 2 and all(c.strip() and "\0" not in c for c in row)
    ]


@QUICK
@given(TEXT)
def test_pairs_survive_whatever_they_hold(tmp_path: Path, data: bytes) -> None:
    name = tmp_path / "p.tsv"
    name.write_bytes(b"first\tpair\n" * 19 + data)
    corpus = load(name, on_bad="skip", header="no", normalise="none")
    assert corpus.pairs()[19:] == expected_pairs(b"\n" + data)
    for row in corpus:
        number = int(row.where.rsplit(":", 1)[1])
        line = (b"first\tpair\n" * 19 + data).split(b"\n")[number - 1].decode()
        assert line.removesuffix("\r") == f"{row.source}\t{row.target}"


@QUICK
@given(BYTES, st.sampled_from(["p.tsv", "p.csv", "p.jsonl"]), st.booleans())
def test_any_bytes_give_pairs_or_an_error_of_ours(
    tmp_path: Path, data: bytes, name: str, skip: bool
) -> None:
    (tmp_path / name).write_bytes(data)
    try:
        corpus = load(tmp_path / name, on_bad="skip" if skip else "refuse")
    except JumokError as error:
        assert name in str(error)
    else:
        assert not any("\n" in t or "\0" in t for t in corpus.sources + corpus.targets)


# -- parallel files ---------------------------------------------------------------------------

Reader = Callable[[Path, Path], int]


def ours(first: Path, second: Path) -> int:
    return sum(1 for _ in stream((first, second)))


def planted_zip(first: Path, second: Path) -> int:
    """A reader with the usual fault: one line too many in the first file goes unseen."""
    sides: list[Iterator[bytes]] = [iter(p.read_bytes().splitlines()) for p in (first, second)]
    count = sum(1 for _ in zip(*sides, strict=False))
    if next(sides[1], None) is not None or next(sides[0], None) is not None:
        raise DataError("unequal")
    return count


def undetected(reader: Reader, folder: Path) -> list[tuple[int, int, bytes]]:
    """The mismatches that ``reader`` lets pass."""
    missed = []
    cases = itertools.product((1, 2, 5, 997), (-2, -1, 1, 2), (b"x\n", b"\n"), (b"", b"x"))
    for count, difference, extra, last in cases:
        longer = b"x\n" * count + extra * (abs(difference) - 1) + (last or extra)
        shorter = b"x\n" * count
        (folder / "a").write_bytes(longer if difference > 0 else shorter)
        (folder / "b").write_bytes(shorter if difference > 0 else longer)
        try:
            reader(folder / "a", folder / "b")
        except DataError:
            continue
        missed.append((count, difference, extra))
    return missed


def test_parallel_files_one_or_two_lines_apart_are_refused_at_either_side(tmp_path: Path) -> None:
    assert undetected(ours, tmp_path) == []


def test_the_usual_faulty_reader_would_be_caught(tmp_path: Path) -> None:
    assert undetected(planted_zip, tmp_path) != []


def test_the_counts_of_both_files_are_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.de").write_bytes(b"x\n" * 1203)
    Path("t.en").write_bytes(b"x\n" * 1201)
    said = (
        "t.de has 1,203 lines, t.en has 1,201; parallel files must match line for line.\n"
        "  hint: look for a line too many or too few; a line ends at \\n and nowhere else."
    )
    with pytest.raises(DataError) as caught:
        load(("t.de", "t.en"))
    assert str(caught.value) == said


# -- encodings --------------------------------------------------------------------------------

KOREAN = "안녕하세요\thello\n나는 고양이다\tI am a cat\n" * 3


def refusal(path: Path, data: bytes, **options: str) -> str:
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        load(path, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "named", "rerun"),
    [
        ("utf-16", "UTF-16", "utf-16"),
        ("utf-16-le", "UTF-16-LE", "utf-16-le"),
        ("utf-16-be", "UTF-16-BE", "utf-16-be"),
        ("utf-32", "UTF-32", "utf-32"),
        ("cp949", "Korean in CP949 (which contains EUC-KR)", "cp949"),
        ("euc-kr", "Korean in CP949 (which contains EUC-KR)", "cp949"),
    ],
)
@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_another_encoding_is_recognised_and_its_rerun_works(
    tmp_path: Path, encoding: str, named: str, rerun: str, on_bad: str
) -> None:
    path = tmp_path / "p.tsv"
    said = refusal(path, KOREAN.encode(encoding), on_bad=on_bad)
    assert f"the file is {named}, not UTF-8." in said
    assert said.endswith(f"hint: run the same command again with --encoding {rerun}")
    assert load(path, encoding=rerun).pairs()[0] == ("안녕하세요", "hello")


def test_korean_far_down_a_long_file_is_recognised(tmp_path: Path) -> None:
    data = b"plain\tascii\n" * 9000 + KOREAN.encode("cp949")
    assert "--encoding cp949" in refusal(tmp_path / "p.tsv", data)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("25 °C\tJosé\n", "latin-1"),
        ("Straße\tça va\n", "cp1252"),
        ("我们的人民\tour people\n这是很好的\tthis is good\n", "gb18030"),
        ("日本語の文章です\tJapanese\n", "shift_jis"),
        ("日本語の文章です\tJapanese\n", "euc_jp"),
    ],
)
def test_other_encodings_are_not_taken_for_korean(tmp_path: Path, text: str, encoding: str) -> None:
    said = refusal(tmp_path / "p.tsv", text.encode(encoding))
    assert "p.tsv:1: byte" in said
    assert "cp949, not" not in said
    rows = [tuple(line.split("\t")) for line in text.splitlines()]
    assert load(tmp_path / "p.tsv", encoding=encoding).pairs() == rows


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be", "cp949", "gb18030"])
def test_only_the_line_feed_ends_a_line_in_other_encodings_too(tmp_path, encoding: str) -> None:
    path = tmp_path / "in"
    texts = (
        ["가\x0c나", "", "\u3000\x1c", "다\r"] if encoding == "cp949" else ["가\u2028\x85", "", "ਊ"]
    )
    path.write_bytes("".join(t + "\r\n" for t in texts).encode(encoding))
    assert load_sources(path, encoding=encoding) == texts


def test_a_wide_encoding_names_the_line_and_byte_that_fail(tmp_path: Path) -> None:
    data = ("ab\tc\n" * 40_000).encode("utf-16-le") + b"a\0\0\xd8b\0"
    said = refusal(tmp_path / "p.tsv", data, encoding="utf-16-le")
    assert "p.tsv:40001: byte 400003 of the file is not utf-16-le." in said


def test_a_character_cut_between_two_reads_is_named_by_its_first_byte(tmp_path: Path) -> None:
    data = b"\n\0" + b"a\0" * 32_766 + b"\0\xd8" + b"b\0"
    said = refusal(tmp_path / "p.tsv", data, encoding="utf-16-le")
    assert "p.tsv:2: byte 65535 of the file is not utf-16-le." in said


def test_the_byte_order_mark_goes_at_the_start_and_stays_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes("\ufeff\ufeffa\n\ufeffb".encode())
    assert load_sources(path) == ["\ufeffa", "\ufeffb"]


def test_lines_that_end_in_carriage_returns_alone_are_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path / "p.tsv", b"a\tb\rc\td\re\tf\r")
    assert "p.tsv: the lines end in \\r alone (old Mac)" in said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04rest", "a zip or Excel file"),
        (b"PAR1....", "a Parquet file"),
        (b"BZh91AY", "bzip2 data"),
    ],
)
def test_files_that_are_not_text_are_named(tmp_path: Path, data: bytes, said: str) -> None:
    assert f"p.tsv: this is {said}" in refusal(tmp_path / "p.tsv", data)


# -- gzip -------------------------------------------------------------------------------------


def test_gzip_cut_short_anywhere_is_never_taken_for_the_whole(tmp_path: Path) -> None:
    whole = "".join(f"source {i}\ttarget {i}\n" for i in range(1009)).encode()
    packed = gzip.compress(whole)
    path = tmp_path / "p.tsv.gz"
    for cut in [*range(2, 30), *range(30, len(packed), 97), *range(len(packed) - 9, len(packed))]:
        said = refusal(path, packed[:cut])
        assert "p.tsv.gz: the gzip data is cut short" in said
        assert "gzip -t checks it" in said


def test_gzip_cut_far_down_names_the_last_good_line(tmp_path: Path) -> None:
    digits = random.Random(3).choices("abcdefgh", k=100_000)
    whole = "".join(f"{a}\t{b}\n" for a, b in zip(digits[::2], digits[1::2], strict=True))
    packed = gzip.compress(whole.encode())
    said = refusal(tmp_path / "p.tsv.gz", packed[:-9])
    number = int(said.split("after line ")[1].split(".")[0].replace(",", ""))
    assert 20_000 < number <= 50_000


def test_gzip_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    random_text = "".join(random.Random(3).choices("abcdefgh\t\n", k=7001))
    packed = gzip.compress(random_text.encode())
    path = tmp_path / "p.gz"
    for at in range(20, len(packed), 89):
        path.write_bytes(packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :])
        with pytest.raises(DataError, match="the gzip data is"):
            load_sources(path)


def test_a_name_in_gz_that_is_not_gzip_is_an_error(tmp_path: Path) -> None:
    assert "ends in .gz, but the file is not gzip" in refusal(tmp_path / "p.tsv.gz", b"a\tb\n")


# -- size -------------------------------------------------------------------------------------


def test_a_line_of_ten_megabytes_is_refused_by_default_and_read_when_allowed(tmp_path) -> None:
    path = tmp_path / "p.tsv"
    data = b"a\tb\n" + b"x" * 10_000_000 + b"\ty\n"
    assert "p.tsv:2: the source has 10,000,000 characters" in refusal(path, data)
    assert [len(s) for s in load(path, max_length=None).sources] == [1, 10_000_000]
    tracemalloc.start()
    assert load(path, on_long="skip").pairs() == [("a", "b")]
    assert tracemalloc.get_traced_memory()[1] < 70_000_000
    tracemalloc.stop()
