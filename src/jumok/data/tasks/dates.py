"""Dates the way many languages write them -> ISO 8601; the text is CLDR's, through Babel."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np

from jumok.data.corpus import Corpus
from jumok.data.counter import key
from jumok.data.order import Permutation
from jumok.data.tasks.task_data import Pair, TaskData
from jumok.data.text import normalise
from jumok.errors import ConfigError, did_you_mean

__all__ = ["FORMATS", "LANGUAGES", "dates"]

LANGUAGES = (
    *("en", "ko", "ja", "zh", "de", "fr", "es", "it", "ru", "ar", "hi", "th", "vi"),
    *("tr", "fi", "hu", "el", "he", "ka", "hy", "fa", "bn", "sw", "eu", "cy", "pl"),
)
"""The 26 languages of the built-in task; ``languages="all"`` takes every one Babel knows."""
FORMATS: tuple[Literal["medium", "long", "full"], ...] = ("medium", "long", "full")
YEARS = (1950, 2019)
OTHER_YEARS = ((1900, 1949), (2020, 2049))
DEV_SHARE, TEST_SHARE = 0.05, 0.1
_MOST_YEAR = 9999

Writer = Callable[[datetime.date], str]


def dates(
    n: int = 20_000,
    seed: int = 0,
    *,
    languages: str | Sequence[str] = LANGUAGES,
    years: tuple[int, int] = YEARS,
    other_years: Sequence[tuple[int, int]] = OTHER_YEARS,
    dev: int = 1000,
    test: int = 2000,
) -> TaskData:
    """``n`` training pairs such as "1994년 9월 27일" -> "1994-09-27"; medium, long, full forms.

    The days of ``years`` are shared out: a day of dev or test is in training in no language, and
    no source text of theirs is either. ``extra["years never seen"]`` has ``other_years``.

    Args:
        n: training pairs, each a different (day, language, form).
        seed: makes everything; the machine's locale and Python's hash seed do not matter.
        languages: "all", one language, or several (CLDR names such as "ko" or "pt_PT").

    Raises:
        ConfigError: an unknown language, or more pairs asked for than there are.
    """
    names = _languages(languages)
    writers = _writers(names)
    shuffled = _shuffled(_days(years), key("dates", "days", seed))
    parts = _share_out(shuffled)
    train_pairs = _Source(parts["train"], writers, key("dates", "train", seed))
    train = train_pairs.take(n, "train", set())
    seen = set(train.sources)
    dev_pairs = _Source(parts["dev"], writers, key("dates", "dev", seed))
    dev_set = dev_pairs.take(dev, "dev", seen)
    seen |= set(dev_set.sources)
    test_pairs = _Source(parts["test"], writers, key("dates", "test", seed))
    test_set = test_pairs.take(test, "test", seen)
    other_days = [day for span in other_years for day in _days(span)]
    other_pairs = _Source(other_days, writers, key("dates", "other years", seed))
    other = other_pairs.take(test, "years never seen", seen)
    return TaskData(
        train=train,
        dev=dev_set,
        test=test_set,
        extra={"years never seen": other},
        about=_about(names, years, other_years),
    )


class _Source:
    """All (day, language, form) of some days, in a keyed order, handed out once each."""

    def __init__(self, days: Sequence[int], writers: Sequence[Writer], key: int) -> None:
        self._days, self._writers = days, writers
        self.total = len(days) * len(writers)
        self._left = self._walk(Permutation(self.total, key)) if self.total else iter(())

    def _walk(self, order: Permutation, block: int = 4096) -> Iterator[Pair]:
        for start in range(0, self.total, block):
            numbers = order(np.arange(start, min(start + block, self.total)))
            for number in numbers.tolist():
                day, way = divmod(number, len(self._writers))
                date = datetime.date.fromordinal(self._days[day])
                yield normalise(self._writers[way](date)), date.isoformat()

    def take(self, count: int, name: str, taken: set[str]) -> Corpus:
        """The next ``count`` pairs whose source is not ``taken``."""
        fresh = (pair for pair in self._left if pair[0] not in taken)
        pairs = list(islice(fresh, count))
        if len(pairs) < count:
            raise ConfigError(
                f"{count} dates were asked for ({name}), but {self.total} different ones are "
                f"all there are, and only {len(pairs)} were left.",
                hint="ask for fewer, for more languages or for a longer span of years.",
            )
        return Corpus.of(pairs, f"dates {name}")


def _days(years: tuple[int, int]) -> list[int]:
    first, last = years
    if not 1 <= first <= last <= _MOST_YEAR:
        raise ConfigError(f"years go from 1 to {_MOST_YEAR}, first to last, but are {years}.")
    start = datetime.date(first, 1, 1).toordinal()
    return list(range(start, datetime.date(last, 12, 31).toordinal() + 1))


def _shuffled(days: Sequence[int], key: int) -> list[int]:
    return [days[i] for i in Permutation(len(days), key)(np.arange(len(days)))]


def _share_out(days: Sequence[int]) -> dict[str, Sequence[int]]:
    for_dev, for_test = round(len(days) * DEV_SHARE), round(len(days) * TEST_SHARE)
    return {
        "dev": days[:for_dev],
        "test": days[for_dev : for_dev + for_test],
        "train": days[for_dev + for_test :],
    }


def _languages(languages: str | Sequence[str]) -> list[str]:
    known = _known()
    if languages == "all":
        return [name for name in known if "_" not in name]
    names = languages.replace(",", " ").split() if isinstance(languages, str) else list(languages)
    for name in names:
        if name not in known:
            raise ConfigError(f"Babel knows no language {name!r}.{did_you_mean(name, known)}")
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"`languages` must be different names, at least one, but is {names}.")
    return names


def _known() -> list[str]:
    from babel.localedata import locale_identifiers

    return sorted(locale_identifiers())


def _writers(languages: Sequence[str]) -> list[Writer]:
    """One function a language and form; patterns are looked up once, not once a date."""
    from babel import Locale
    from babel.dates import get_date_format

    def writer(pattern: Any, locale: Locale) -> Writer:
        return lambda date: pattern.apply(date, locale)

    locales = map(Locale.parse, languages)
    return [writer(get_date_format(form, a), a) for a in locales for form in FORMATS]


def _about(
    languages: Sequence[str], years: tuple[int, int], other_years: Sequence[tuple[int, int]]
) -> str:
    import babel

    other = " and ".join(f"{a}-{b}" for a, b in other_years)
    return (
        f"Dates in {len(languages)} languages ({', '.join(FORMATS)} forms of CLDR, through Babel "
        f"{babel.__version__}) to ISO 8601; training days {years[0]}-{years[1]}, test days in "
        f"training in no language, years never seen {other}."
    )
