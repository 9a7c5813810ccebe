"""Links from attention, links against gold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jumok.alignment import (
    AlignmentScores,
    GoldLinks,
    Links,
    format_links,
    from_trace,
    merge_words,
    read_gold,
    read_links,
    score_links,
)
from jumok.interfaces.requests import AlignRequest
from jumok.records import AttentionTrace
from jumok.views.api import save

if TYPE_CHECKING:
    from jumok.interfaces.translator import Translator

__all__ = ["Aligned", "Kept", "against_gold", "align", "gold_of", "score_files"]

SUBWORDS = frozenset({"word", "bpe", "unigram"})
FAINT = 0.01


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """The links of one pair and the map they come from."""

    source: str
    target: str
    links: Links
    trace: AttentionTrace
    """Of words, where words are linked."""

    def pharaoh(self) -> str:
        """``0-0 1-2``"""
        return format_links(self.links)

    def soft(self) -> str:
        """``0-0:0.93``: every link with a weight of at least 0.01."""
        weights_TS = self.trace.weights_TS
        found = []
        for i, s in enumerate(_real(self.trace.source)):
            for j, t in enumerate(_real(self.trace.target)):
                weight = 0.0 if weights_TS is None else float(weights_TS[t, s])
                if weight >= FAINT:
                    found.append(f"{i}-{j}:{weight:.2f}")
        return " ".join(found)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``jumok align --json`` prints."""
        return {
            "source": self.source,
            "target": self.target,
            "links": self.pharaoh(),
            "source_tokens": [token.text for token in self.trace.source],
            "target_tokens": [token.text for token in self.trace.target],
            "attention": self.trace.weights_TS,
        }


@dataclass(kw_only=True)
class Kept:
    """What is wanted of the pairs after they have been printed."""

    links: bool
    traces: bool
    found_links: list[Links] = field(default_factory=list)
    found_traces: list[AttentionTrace] = field(default_factory=list)

    def passing(self, pairs: Iterable[Aligned]) -> Iterator[Aligned]:
        """``pairs`` as they come, noted as they pass."""
        for one in pairs:
            if self.links:
                self.found_links.append(one.links)
            if self.traces:
                self.found_traces.append(one.trace)
            yield one

    def save(self, path: str) -> None:
        """The maps in one file; the suffix chooses its form."""
        save(self.found_traces, path)


def _real(tokens: Iterable[Any]) -> list[int]:
    return [n for n, token in enumerate(tokens) if not token.special]


def align(request: AlignRequest) -> Iterator[Aligned]:
    """The links of every pair, under the target that is given."""
    from jumok.interfaces.work.corpora import read_pairs
    from jumok.interfaces.work.decoding import BATCH, ROUND, open_model

    model = open_model(request.model, request.machine)
    pairs = read_pairs(request.data, request.reading, form=model.codec.normalisation).pairs()
    level = _level(request.level, model)
    for start in range(0, len(pairs), BATCH * ROUND):
        for made in model.score(pairs[start : start + BATCH * ROUND], batch_size=BATCH):
            trace = made.attention.trace
            links = from_trace(trace, request.method, level=level, threshold=request.threshold)
            yield Aligned(
                source=made.source,
                target=made.text,
                links=links,
                trace=merge_words(trace) if level == "word" else trace,
            )


def _level(asked: Literal["auto", "word", "token"], model: Translator) -> str:
    units = {model.codec.source_tokenizer.unit, model.codec.target_tokenizer.unit}
    return ("word" if units & SUBWORDS else "token") if asked == "auto" else asked


def gold_of(path: str, base: int | None = None) -> list[GoldLinks]:
    """The gold file; positions count from 0 if a 0 occurs in it, else from 1."""
    if base is not None:
        return read_gold(path, base=base)
    from_zero = read_gold(path, base=0)
    if any(0 in link for gold in from_zero for link in gold.possible):
        return from_zero
    return read_gold(path, base=1)


def against_gold(links: list[Links], gold: str, base: int | None = None) -> AlignmentScores:
    """AER, precision and recall of ``links``."""
    return score_links(links, gold_of(gold, base))


def score_files(
    links: str | Path, gold: str, *, links_base: int = 0, gold_base: int | None = None, swap: bool
) -> AlignmentScores:
    """The same for links that someone else made; ``swap``: they are written target-source."""
    return against_gold(read_links(links, base=links_base, reversed_sides=swap), gold, gold_base)
