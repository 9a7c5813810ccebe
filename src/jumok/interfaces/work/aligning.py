"""Links from a model's attention, pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from jumok.alignment import Links, format_links, from_trace, merge_words
from jumok.interfaces.requests import AlignRequest
from jumok.interfaces.translator import ROUND, Translator
from jumok.interfaces.work.corpora import read_pairs
from jumok.interfaces.work.decoding import BATCH, open_model
from jumok.interfaces.work.lengths import refuse_long
from jumok.records import AttentionTrace
from jumok.views.api import save

__all__ = ["Aligned", "Kept", "align"]

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
    model = open_model(request.model, request.machine, request.ensembling)
    corpus = read_pairs(request.data, request.reading, form=model.codec.normalisation)
    refuse_long(corpus, model.codec, target=True)
    pairs = corpus.pairs()
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
