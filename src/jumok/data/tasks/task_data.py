"""What a built-in task gives: three corpora apart by source, and further test sets by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from jumok.data.corpus import Corpus
from jumok.errors import ConfigError

__all__ = ["Pair", "TaskData", "sample_apart"]

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """No source of ``dev``, ``test`` or ``extra`` occurs in ``train``, none of ``test`` in ``dev``.

    ``extra`` holds further test sets by name ("years never seen"); ``about`` is one sentence
    for reports and model cards.
    """

    train: Corpus
    dev: Corpus
    test: Corpus
    extra: Mapping[str, Corpus] = field(default_factory=dict)
    about: str = ""

    def split(self, seed: int = 0) -> tuple[Corpus, Corpus, Corpus]:
        """(train, dev, test) as the task made them; ``seed`` is there to fit ``Corpus.split``."""
        return self.train, self.dev, self.test


def sample_apart(
    make: Callable[[np.ndarray], list[Pair]], sizes: Mapping[str, int], name: str
) -> list[Corpus]:
    """A corpus for each of ``sizes``, filled in turn from ``make([0, 1, 2 ..])``.

    ``make`` gives a pair for each counter. No source comes twice, in one corpus or in two.

    Raises:
        ConfigError: so few sources are left that nearly all that ``make`` gives were there.
    """
    fresh = _fresh(make)
    corpora: list[Corpus] = []
    for part, size in sizes.items():
        pairs = list(islice(fresh, size))
        if len(pairs) < size:
            raise ConfigError(
                f"{name}: only {sum(len(c) for c in corpora) + len(pairs)} different sources were "
                f"found for {' + '.join(f'{s} {p}' for p, s in sizes.items())} pairs.",
                hint="ask for fewer pairs or for longer ones.",
            )
        corpora.append(Corpus.of(pairs, f"{name} {part}"))
    return corpora


def _fresh(make: Callable[[np.ndarray], list[Pair]], block: int = 8192) -> Iterator[Pair]:
    """Pairs whose source was not there before, until a whole block brings (nearly) none."""
    seen: set[str] = set()
    for start in itertools.count(0, block):
        before = len(seen)
        for pair in make(np.arange(start, start + block)):
            if pair[0] not in seen:
                seen.add(pair[0])
                yield pair
        if len(seen) - before < block // 1000:
            return
