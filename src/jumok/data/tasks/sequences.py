"""Copy, reverse, sort: strings of symbols whose answer, and whose alignment, is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jumok.data.counter import below, key
from jumok.data.tasks.task_data import Pair, TaskData, sample_apart
from jumok.errors import ConfigError

__all__ = ["copy", "gold_positions", "reverse", "sort"]

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def copy(
    n: int = 10_000,
    seed: int = 0,
    *,
    symbols: str = ALPHABET,
    lengths: tuple[int, int] = (3, 12),
    dev: int = 500,
    test: int = 1000,
) -> TaskData:
    """``n`` training strings and themselves: "abc" -> "abc"."""
    return _task("copy", lambda s: s, n, seed, symbols, lengths, dev, test)


def reverse(
    n: int = 10_000,
    seed: int = 0,
    *,
    symbols: str = ALPHABET,
    lengths: tuple[int, int] = (3, 12),
    dev: int = 500,
    test: int = 1000,
) -> TaskData:
    """``n`` training strings and their mirror images: "abc" -> "cba"."""
    return _task("reverse", lambda s: s[::-1], n, seed, symbols, lengths, dev, test)


def sort(
    n: int = 10_000,
    seed: int = 0,
    *,
    symbols: str = ALPHABET,
    lengths: tuple[int, int] = (3, 12),
    dev: int = 500,
    test: int = 1000,
) -> TaskData:
    """``n`` training strings and their symbols in the order of ``symbols``: "cab" -> "abc"."""
    rank = {s: i for i, s in enumerate(symbols)}

    def ordered(string: str) -> str:
        return "".join(sorted(string, key=rank.__getitem__))

    return _task("sort", ordered, n, seed, symbols, lengths, dev, test)


def gold_positions(task: str, source: str, target: str) -> tuple[int | None, ...] | None:
    """For each symbol of ``target`` its place in ``source``; None for any other task.

    Where sorting meets the same symbol twice, either place would do: that one has no position.
    """
    match task:
        case "copy":
            return tuple(range(len(target)))
        case "reverse":
            return tuple(reversed(range(len(target))))
        case "sort":
            return tuple(source.index(s) if source.count(s) == 1 else None for s in target)
        case _:
            return None


def _task(
    name: str,
    answer: Callable[[str], str],
    n: int,
    seed: int,
    symbols: str,
    lengths: tuple[int, int],
    dev: int,
    test: int,
) -> TaskData:
    shortest, longest = lengths
    if not 1 <= shortest <= longest:
        raise ConfigError(f"`lengths` must go from 1 or more, low to high, but are {lengths}.")
    if len(set(symbols)) < max(2, len(symbols)):
        raise ConfigError(f"`symbols` must be two or more different ones, but are {symbols!r}.")
    of_length, of_symbol = key(name, "length", seed), key(name, "symbol", seed)

    def make(counters_N: np.ndarray) -> list[Pair]:
        lengths_N = shortest + below(of_length, counters_N, longest - shortest + 1)
        places_NL = counters_N[:, None] * longest + np.arange(longest)
        picks_NL = below(of_symbol, places_NL, len(symbols)).tolist()
        strings = [
            "".join([symbols[p] for p in picks[:length]])
            for picks, length in zip(picks_NL, lengths_N.tolist(), strict=True)
        ]
        return [(string, answer(string)) for string in strings]

    train, dev_set, test_set = sample_apart(make, {"train": n, "dev": dev, "test": test}, name)
    about = f"{name} strings of {shortest} to {longest} out of {len(symbols)} symbols; all differ."
    return TaskData(train=train, dev=dev_set, test=test_set, about=about)
