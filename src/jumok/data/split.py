"""Three ways by a hash of the source: a source never falls on two sides, whatever the order.

The rule. Sources that differ only in case, white space or Unicode form count as one
(``text.loose_key``). A keyed hash turns each into a number u in [0, 1) that depends on the
source and the seed alone: test if u < test rate, dev if u >= 1 - dev rate, else train. So a row
keeps its side when rows are added, removed or reordered, as long as the rates stay the same.
When a rate shrinks, some held-out sources move to train and none moves the other way; the two
rates do not disturb each other.

The default rate for n distinct sources is 10% for each held-out side, 20% below 500; above
50,000 it is halved until a side is expected to hold at most 5,000. It moves in such steps so
that it stays the same while a corpus grows. Below 50 sources a split says nothing: an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from jumok.data.text import loose_key
from jumok.errors import DataError, UsageError

__all__ = ["MIN_SOURCES", "Rates", "Side", "default_rate", "distinct_sources", "position"]

Side = Literal["train", "dev", "test"]

MIN_SOURCES = 50
SMALL = 500
LARGEST_SIDE = 5_000


def position(source: str, seed: int) -> float:
    """The number in [0, 1) that decides the side of ``source``."""
    digest = blake2b(loose_key(source).encode(), digest_size=8, key=str(seed).encode()).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def distinct_sources(sources: Iterable[str]) -> int:
    """How many of ``sources`` the split tells apart."""
    return len({loose_key(s) for s in sources})


def default_rate(count: int) -> float:
    """The share of ``count`` distinct sources that each held-out side takes."""
    rate = 0.2 if count < SMALL else 0.1
    while rate * count > LARGEST_SIDE:
        rate /= 2
    return rate


def _rate(name: str, asked: int | float | None, count: int) -> float:
    if asked is None:
        return default_rate(count)
    rate = asked / max(count, 1) if isinstance(asked, int) else asked
    if not 0 <= rate < 1:
        unit = f" of {count:,} distinct sources" if isinstance(asked, int) else ""
        raise UsageError(
            f"`{name}` ({asked}{unit}) must leave something to train on.",
            hint="a whole number is a number of sources, a fraction such as 0.1 a share, 0 none.",
        )
    return rate


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The shares of distinct sources held out; they settle the side of every source."""

    dev: float
    test: float

    def __post_init__(self) -> None:
        if not (self.dev >= 0 and self.test >= 0 and self.dev + self.test < 1):
            raise UsageError(
                f"dev ({self.dev:.1%}) and test ({self.test:.1%}) leave nothing to train on."
            )

    @classmethod
    def for_sources(
        cls, count: int, *, dev: int | float | None = None, test: int | float | None = None
    ) -> Rates:
        """Rates for ``count`` distinct sources.

        ``dev`` and ``test``: an int is about so many sources, a float a share, 0 none, None the
        default rule.

        Raises:
            DataError: fewer than ``MIN_SOURCES`` sources and no sizes given.
            UsageError: sizes that leave nothing to train on.
        """
        if count < MIN_SOURCES and (dev is None or test is None):
            raise DataError(
                f"{count} distinct sources are too few to split; at least {MIN_SOURCES} are "
                "needed.",
                hint="name dev pairs of their own: --dev FILE (in Python: dev= and test= sizes).",
            )
        return cls(dev=_rate("dev", dev, count), test=_rate("test", test, count))

    def side(self, source: str, seed: int) -> Side:
        """Where ``source`` belongs."""
        return self.side_at(position(source, seed))

    def side_at(self, u: float) -> Side:
        """Where a source with ``position`` u belongs."""
        if u < self.test:
            return "test"
        return "dev" if u >= 1 - self.dev else "train"
