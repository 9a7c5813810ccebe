"""Three answers that need no training: the source itself, the usual target, the nearest source.

A model must beat them to have learnt anything.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from jumok.data.corpus import Corpus
from jumok.data.tags import plain
from jumok.errors import DataError, MissingExtraError

__all__ = ["BASELINES", "Baseline", "copy_source", "most_frequent_target", "nearest_source"]

Baseline: TypeAlias = Callable[[Corpus, Sequence[str]], list[str]]
"""``(train, sources) -> outputs``, one for each source."""


def copy_source(train: Corpus, sources: Sequence[str]) -> list[str]:
    """The source itself; of a source with tags the lemma."""
    return list(sources) if train.tags is None else list(map(plain, sources))


def most_frequent_target(train: Corpus, sources: Sequence[str]) -> list[str]:
    """For every source the target that most training rows have.

    Raises:
        DataError: ``train`` is empty.
    """
    return [train.most_frequent_target()] * len(sources)


def _answers(train: Corpus) -> dict[str, str]:
    """Each training source with its most frequent target (of several, the first)."""
    counts: dict[str, Counter[str]] = {}
    for source, target in zip(train.sources, train.targets, strict=True):
        counts.setdefault(source, Counter())[target] += 1
    return {source: found.most_common(1)[0][0] for source, found in counts.items()}


class _Nearest:
    """Exact nearest neighbours by edit distance.

    The distance is at least the difference of the lengths. So texts are kept in order of
    length and compared shell by shell outwards from the query's own length, until a shell lies
    as far off as the best distance found.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        try:
            from rapidfuzz import process
            from rapidfuzz.distance import Levenshtein
        except ImportError:
            raise MissingExtraError("rapidfuzz", None, "The nearest-source baseline") from None
        self.texts = sorted(texts, key=len)
        self.lengths = [len(t) for t in self.texts]
        self.extract = process.extractOne
        self.distance = Levenshtein.distance

    def find(self, text: str) -> str:
        """The nearest text; of several, one whose length is near, and always the same one."""
        nearest, best = self.texts[0], max(len(text), len(self.texts[0]))
        low = high = bisect_left(self.lengths, len(text))
        radius = 0
        while radius < best and high - low < len(self.texts):
            below = bisect_left(self.lengths, len(text) - radius)
            above = bisect_right(self.lengths, len(text) + radius)
            for shell in (self.texts[below:low], self.texts[high:above]):
                found = self.extract(
                    text, shell, scorer=self.distance, processor=None, score_cutoff=best
                )
                if found is not None and found[1] < best:
                    nearest, best = found[0], int(found[1])
            low, high = below, above
            radius = min(2 * radius + 1, max(best - 1, radius + 1))
        return nearest


def nearest_source(train: Corpus, sources: Sequence[str]) -> list[str]:
    """The target of the training source with the least edit distance (of several, always
    the same one).

    A source that occurs in training gets its most frequent target there.

    Raises:
        DataError: ``train`` is empty.
        MissingExtraError: rapidfuzz is not installed.
    """
    if not len(train):
        raise DataError("the corpus is empty.", where=train.name)
    answers = _answers(train)
    index = _Nearest(list(answers))
    found: dict[str, str] = {}
    for source in dict.fromkeys(sources):
        near = source if source in answers else index.find(source)
        found[source] = answers[near]
    return [found[source] for source in sources]


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "copy the source": copy_source,
        "most frequent target": most_frequent_target,
        "nearest training source": nearest_source,
    }
)
"""All three under the names that tables show."""
