"""One output looked at closely, one step with its numbers, and the model itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jumok.data.encoded import PairCodec
from jumok.data.options import counted
from jumok.data.tags import is_tag, name_of
from jumok.errors import UsageError
from jumok.evaluation.table import align
from jumok.interfaces.outputs import Translation
from jumok.interfaces.requests import InspectRequest
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.decoding import open_model, search_options
from jumok.records import AttentionTrace
from jumok.views.labels import labels, visible
from jumok.views.measures import axes
from jumok.views.terminal import render_terminal

__all__ = ["Described", "describe", "drawn", "explained", "inspect"]

ALTERNATIVES = 5


def inspect(request: InspectRequest, tell: Callable[[str], None] = lambda _: None) -> Translation:
    """The model's own output for the text, or the target that is given, with every map.

    Symbols that it does not know are told: what it makes of them is no reading.
    """
    text = request.text or ""
    if not text.strip() and request.target is None:
        raise UsageError("the text is empty, and so is its output.", hint="give a source text.")
    model = open_model(request.model, request.machine, request.ensembling)
    unknown = model.codec.unknown([text], [request.target] if request.target else [])
    for side, found in (("source", unknown.source), ("target", unknown.target)):
        if found:
            shown = ", ".join(visible(name_of(symbol)) for symbol in list(found)[:10])
            tell(f"{side}: symbols that the model has never been trained on: {shown}")
    if request.target is not None:
        return model.score([(text, request.target)], alternatives=ALTERNATIVES, maps=True)[0]
    options = search_options(
        model.run.search, request.searching, request.keys, alternatives=ALTERNATIVES, maps=True
    )
    return model.translate([text], options=options)[0]


def drawn(found: Translation, *, explain: int | None = None, name: str | None = None) -> str:
    """What ``jumok inspect`` prints: the map, or step ``explain`` (from 1) with its numbers."""
    trace = found.attention.trace
    if explain is None:
        return render_terminal(trace, map_name=name).rstrip("\n")
    return "\n".join(explained(trace, explain))


def explained(trace: AttentionTrace, step: int) -> list[str]:
    """Step ``step`` (from 1): the symbol, what else was likely, every map's row."""
    if not 1 <= step <= len(trace.target):
        raise UsageError(
            f"there is no step {step}: the output has {counted(len(trace.target), 'symbol')} with "
            "its end."
        )
    t = step - 1
    names = labels(trace.target)
    said = f"step {step} of {len(names)}: writes {names[t]}"
    if trace.logprobs_T is not None:
        said += f", log-probability {trace.logprobs_T[t]:.4f} ({_share(trace.logprobs_T[t])})"
    between = " " if any(len(name) > 1 for name in names[:-1]) else ""
    before = between.join(names[:t]) or "(nothing yet)"
    lines = [said, f"written before it: {before}"]
    if t < len(trace.alternatives):
        options = [
            (visible(symbol), f"{logprob:.4f}", _share(logprob))
            for symbol, logprob in trace.alternatives[t]
        ]
        lines += ["", "likely symbols:", *align([("symbol", "log p", "p"), *options])]
    for one in trace.maps:
        if one.kind in ("cross", "read", "write") and len(one.values_TS) == len(names):
            columns = axes(trace, one).columns
            row = one.values_TS[t]
            cells = [
                (f"{s} {n}", f"{v:.4f}") for s, (n, v) in enumerate(zip(columns, row, strict=True))
            ]
            total = f"{np.nansum(row[np.isfinite(row)]):.4f}"
            lines += ["", *align([(one.name, "value"), *cells, ("sum", total)])]
    return lines


def _share(logprob: float) -> str:
    return f"{100 * math.exp(logprob):.2f}%"


@dataclass(frozen=True, kw_only=True)
class Described:
    """A model folder at a glance."""

    model: str
    parameters: int
    modules: dict[str, int]
    """Parameters of each direct part."""
    source: str
    target: str
    card: str

    def to_dict(self) -> dict[str, Any]:
        """The object that ``jumok inspect MODEL --json`` prints."""
        return {
            "model": self.model,
            "parameters": self.parameters,
            "modules": self.modules,
            "source": self.source,
            "target": self.target,
            "card": self.card,
        }

    def text(self) -> str:
        """For people."""
        rows = [(name, f"{count:,}") for name, count in self.modules.items()]
        table = align([("part", "parameters"), *rows, ("all", f"{self.parameters:,}")])
        heads = [f"model   {self.model}", f"source  {self.source}", f"target  {self.target}"]
        return "\n".join([*heads, "", *table, *(["", self.card.rstrip()] if self.card else [])])


def describe(model: Translator) -> Described:
    """What is known of a model without running it."""
    parts = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in model.network.named_children()
    }
    own = {name: p.numel() for name, p in model.network.named_parameters(recurse=False)}
    codec = model.codec
    return Described(
        model=model.name,
        parameters=sum(p.numel() for p in model.network.parameters()),
        modules={**own, **{name: count for name, count in parts.items() if count}},
        source=f"{codec.source_tokenizer.unit}, {len(codec.source_vocabulary):,} symbols"
        f"{_tags(codec)}",
        target=f"{codec.target_tokenizer.unit}, {len(codec.target_vocabulary):,} symbols",
        card=model.card,
    )


def _tags(codec: PairCodec) -> str:
    """How many of the source's symbols are tags, where it reads any."""
    if codec.tags is None:
        return ""
    return f", {counted(sum(map(is_tag, codec.source_vocabulary.symbols)), 'tag')} among them"
