"""Built-in tasks: right answers, no source in two parts, the same pairs everywhere."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from babel.dates import format_date
from babel.localedata import locale_identifiers

from jumok.data.tasks import (
    LANGUAGES,
    TASKS,
    TaskData,
    addition,
    copy,
    dates,
    parse,
    reverse,
    sort,
)
from jumok.data.tasks.dates import FORMATS
from jumok.data.text import normalise
from jumok.errors import ConfigError, UsageError

SMALL = {"n": 101, "dev": 11, "test": 13}


@pytest.fixture(scope="module")
def built_in() -> TaskData:
    return dates(5_000, seed=0)


def corpora(data: TaskData) -> dict[str, list[str]]:
    named = {"train": data.train, "dev": data.dev, "test": data.test, **data.extra}
    return {name: list(corpus.sources) for name, corpus in named.items()}


@pytest.mark.parametrize("name", TASKS)
def test_no_source_is_in_two_parts(name: str) -> None:
    data = TASKS[name](seed=3, **SMALL)
    assert (len(data.train), len(data.dev), len(data.test)) == (101, 11, 13)
    for (_, one), (_, other) in combinations(corpora(data).items(), 2):
        assert not set(one) & set(other)
    assert data.split(seed=9) == (data.train, data.dev, data.test)
    assert len(data.about) > 20 and data.about.isprintable()


@pytest.mark.parametrize("name", TASKS)
def test_seeds_make_different_data_and_one_seed_the_same(name: str) -> None:
    one, again, other = (TASKS[name](seed=s, **SMALL).train.pairs() for s in (1, 1, 2))
    assert one == again and one != other


@pytest.mark.parametrize("name", ["copy", "reverse", "sort", "addition"])
def test_more_pairs_of_a_seed_begin_with_the_same_pairs(name: str) -> None:
    small, large = (TASKS[name](n, seed=1, dev=5, test=5).train.pairs() for n in (30, 60))
    assert large[:30] == small


def test_data_do_not_depend_on_the_hash_seed_the_locale_or_the_time_zone() -> None:
    code = (
        "from jumok.data.tasks import TASKS\n"
        "for make in TASKS.values():\n"
        "    print(ascii(make(7, seed=5, dev=2, test=2).train.pairs()))"
    )
    base = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    worlds = [
        {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC"},
        {"PYTHONHASHSEED": "2", "LC_ALL": "ko_KR.UTF-8", "LANGUAGE": "ko", "TZ": "Asia/Seoul"},
    ]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env=base | w, capture_output=True, text=True, check=True
        ).stdout
        for w in worlds
    }
    assert len(outputs) == 1 and outputs.pop().count("\n") == len(TASKS)


def test_every_date_is_written_as_its_language_writes_it(built_in: TaskData) -> None:
    ways = [(language, form) for language in LANGUAGES for form in FORMATS]
    met: Counter[tuple[str, str]] = Counter()
    for source, target in built_in.train.pairs()[:600]:
        day = datetime.date.fromisoformat(target)
        texts = {way: normalise(format_date(day, way[1], way[0])) for way in ways}
        fitting = [way for way, text in texts.items() if text == source]
        assert fitting
        met.update(fitting)
    assert len(met) == len(ways) == 78


def test_hangul_dates_are_among_them(built_in: TaskData) -> None:
    korean = [s for s in built_in.train.sources if "년" in s and "월" in s]
    assert len(korean) > 50 and any("요일" in s for s in korean)


def test_a_day_of_the_test_is_in_training_in_no_language(built_in: TaskData) -> None:
    train = set(built_in.train.targets)
    assert not train & {*built_in.dev.targets, *built_in.test.targets}
    assert not set(built_in.dev.targets) & set(built_in.test.targets)
    assert {t[:4] for t in train} <= {str(y) for y in range(1950, 2020)}


def test_a_text_that_two_languages_read_as_different_days_is_in_one_part_only() -> None:
    data = dates(1500, seed=1, languages="st ve", years=(1990, 1991), dev=200, test=400)
    readings: dict[str, set[str]] = {}
    for source, target in (*data.train.pairs(), *data.dev.pairs(), *data.test.pairs()):
        readings.setdefault(source, set()).add(target)
    train, held_out = set(data.train.sources), {*data.dev.sources, *data.test.sources}
    assert any(len(days) > 1 for days in readings.values()) and not train & held_out


def test_years_never_seen_are_never_seen(built_in: TaskData) -> None:
    years = {t[:4] for t in built_in.extra["years never seen"].targets}
    assert years <= {str(y) for y in (*range(1900, 1950), *range(2020, 2050))} and len(years) > 70
    assert not years & {t[:4] for t in built_in.train.targets}


def test_no_day_is_written_twice_in_the_same_way(built_in: TaskData) -> None:
    assert len(set(built_in.train.pairs())) > 0.998 * len(built_in.train)


def test_all_languages_are_all_that_babel_knows() -> None:
    names = [name for name in locale_identifiers() if "_" not in name]
    data = dates(20, languages="all", dev=2, test=2)
    assert f"Dates in {len(names)} languages" in data.about and len(names) >= 300


def test_languages_are_given_by_name_in_a_list_or_a_string() -> None:
    several = [dates(30, languages=form, dev=3, test=3) for form in ("ko,de", ["ko", "de"])]
    assert several[0].train.pairs() == several[1].train.pairs()
    assert {"년" in s for s in several[0].train.sources} == {True, False}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"languages": "klingon"}, "Babel knows no language 'klingon'. Did you mean kln?"),
        ({"languages": "ko_KP,deu_AT"}, "Babel knows no language 'deu_AT'. Did you mean de_AT?"),
        ({"languages": []}, "`languages` must be different names, at least one, but is []."),
        (
            {"languages": "ko ko"},
            "`languages` must be different names, at least one, but is ['ko', 'ko'].",
        ),
        ({"years": (2000, 1999)}, "years go from 1 to 9999, first to last, but are (2000, 1999)."),
        (
            {"n": 2000, "languages": "ko", "years": (1999, 1999)},
            "2000 dates were asked for (train), but 933 different ones are all there are, and "
            "only 933 were left.\n  hint: ask for fewer, for more languages or for a longer span "
            "of years.",
        ),
    ],
)
def test_what_dates_cannot_do_is_said(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        dates(**options)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_twenty_thousand_dates_take_a_second_or_so() -> None:
    start = time.process_time()
    dates(20_000, seed=1)
    assert time.process_time() - start < 4  # measured: 0.3 s


def test_sums_are_right_and_short_ones_not_rare() -> None:
    data = addition(3001, seed=2, dev=11, test=13)
    for question, answer in data.train.pairs():
        left, right = question.split("+")
        assert int(left) + int(right) == int(answer) and left == str(int(left))
        assert len(left) <= 3 and len(right) <= 3
    short = sum(len(q) < 5 for q in data.train.sources)
    assert 0.08 < short / len(data.train) < 0.5
    assert len(set(data.train.sources)) == 3001


def test_padded_sums_have_the_widths_of_the_book() -> None:
    data = addition(101, seed=2, padded=True, dev=11, test=13)
    assert {len(s) for s in data.train.sources} == {7}
    assert {len(t) for t in data.train.targets} == {4}
    plain = addition(101, seed=2, dev=11, test=13)
    assert [s.rstrip() for s in data.train.sources] == list(plain.train.sources)
    wide = addition(101, digits=5, padded=True, dev=11, test=13)
    assert {len(s) for s in wide.train.sources} == {11}


def test_copy_reverse_and_sort_do_what_they_say() -> None:
    for source, target in copy(**SMALL).train.pairs():
        assert target == source
    for source, target in reverse(**SMALL).train.pairs():
        assert target == source[::-1]
    for source, target in sort(symbols="dcba가", **SMALL).train.pairs():
        assert Counter(target) == Counter(source)
        assert ["dcba가".index(c) for c in target] == sorted("dcba가".index(c) for c in source)


def test_strings_have_nothing_to_do_with_those_before_them() -> None:
    strings = copy(997, lengths=(6, 9), dev=11, test=13).train.sources
    for gap in (1, 2):
        shifted = sum(a[gap : gap + 3] == b[:3] for a, b in pairwise(strings))
        assert shifted < 4  # 0.06 by chance
    assert max(map(len, strings)) == 9


def test_lengths_and_symbols_are_those_asked_for() -> None:
    data = reverse(997, symbols="xyz", lengths=(5, 9), dev=11, test=13)
    assert {len(s) for s in data.train.sources} == {5, 6, 7, 8, 9}
    assert set("".join(data.train.sources)) == set("xyz")
    assert len(set(data.train.sources)) == 997


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: copy(lengths=(0, 3)), "`lengths` must go from 1 or more, low to high"),
        (lambda: copy(symbols="aa"), "`symbols` must be two or more different ones"),
        (
            lambda: copy(100, symbols="ab", lengths=(1, 3), dev=1, test=1),
            "copy: only 14 different sources were found for 100 train + 1 dev + 1 test pairs.",
        ),
        (lambda: addition(digits=0), "`digits` must be in 1..9, but is 0."),
        (lambda: addition(99, digits=1, dev=1, test=1), "only 100 different sources were found"),
    ],
)
def test_a_task_that_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()  # type: ignore[operator]
    assert message in str(error.value)


def test_a_task_is_named_with_an_at_sign() -> None:
    assert parse("@dates") is dates and parse("@sort") is sort
    with pytest.raises(UsageError) as error:
        parse("@date")
    assert str(error.value) == (
        "'@date' is not a built-in task. Did you mean @dates?\n  hint: there are @dates, "
        "@addition, @reverse, @copy, @sort; a file is named without the @."
    )
    with pytest.raises(UsageError):
        parse("dates")


def test_the_strings_know_where_each_symbol_comes_from() -> None:
    from jumok.data.tasks.sequences import gold_positions

    assert gold_positions("copy", "cab", "cab") == (0, 1, 2)
    assert gold_positions("reverse", "cab", "bac") == (2, 1, 0)
    assert gold_positions("sort", "cabc", "abcc") == (1, 2, None, None)
    assert gold_positions("addition", "1+1", "2") is None
