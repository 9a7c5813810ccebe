"""A model's own outputs against the references: scores, comparison, what went wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from jumok import evaluation
from jumok.data.corpus import Corpus
from jumok.evaluation import Comparison, Confusions, Mistake, Scores
from jumok.evaluation.confusions import visible
from jumok.evaluation.table import align
from jumok.interfaces.requests import EvaluateRequest
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.corpora import read_pairs
from jumok.interfaces.work.decoding import open_model, search_options
from jumok.interfaces.work.lengths import refuse_long, same_tags
from jumok.search import SearchOptions

__all__ = ["Evaluation", "evaluate", "evaluate_model"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one model on distinct sources, and what was asked for beside them."""

    scores: Scores
    outputs: tuple[str, ...] = ()
    """One for each distinct source, in the corpus's order."""
    names: tuple[str, str] = ("this model", "the other")
    comparison: Comparison | None = None
    mistakes: tuple[Mistake, ...] = ()
    confusions: Confusions | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The object that ``jumok evaluate --json`` prints."""
        found = self.scores.to_dict(details=True)
        if self.comparison is not None:
            found["against"] = {"model": self.names[1], **self.comparison.to_dict()}
        if self.confusions is not None:
            found["errors"] = [asdict(mistake) for mistake in self.mistakes]
            found["confusions"] = [
                {"kind": c.kind, "expected": c.expected, "got": c.got, "count": c.count}
                for c in self.confusions.entries[: max(len(self.mistakes), 1)]
            ]
        return found

    def lines(self, errors: int = 0) -> list[str]:
        """For people: tables, then the ``errors`` worst outputs and commonest confusions."""
        found = [*self.notes, *self.scores.table()]
        if self.comparison is not None:
            found += ["", *self.comparison.table(self.names)]
        if self.mistakes:
            rows = [("edits", "source", "expected", "got")]
            for m in self.mistakes:
                texts = (visible(t) for t in (m.source, m.reference, m.hypothesis))
                rows.append((str(m.edits), *texts))  # type: ignore[arg-type]
            found += ["", "the worst outputs:", *align(rows)]
        if self.confusions is not None and self.confusions.entries:
            found += ["", "the commonest confusions:", *self.confusions.table(errors)]
        return found


def evaluate(request: EvaluateRequest) -> Evaluation:
    """What ``jumok evaluate`` shows."""
    model = open_model(request.model, request.machine, request.ensembling)
    options = search_options(model.run.search, request.searching, request.keys, weights=False)
    other = None
    if request.against:
        other = open_model(request.against, request.machine, request.ensembling)
    corpus = read_pairs(request.data, request.reading, form=model.codec.normalisation)
    refuse_long(corpus, model.codec, target=False)
    return evaluate_model(
        model,
        corpus,
        options,
        other=other,
        errors=request.errors,
        names=(request.model, request.against or ""),
    )


def evaluate_model(
    model: Translator,
    corpus: Corpus,
    options: SearchOptions | None = None,
    *,
    other: Translator | None = None,
    errors: int = 0,
    names: tuple[str, str] = ("this model", "the other"),
    resamples: int = 1000,
) -> Evaluation:
    """Free-running: every distinct source of ``corpus`` once, all its targets as references."""
    same_tags(corpus, model.codec)
    accepted = corpus.references()
    sources, references = list(accepted), list(accepted.values())
    outputs = model.outputs(sources, options)
    seen = model.knows(sources)
    trained = None if seen is None else [s for s, known in zip(sources, seen, strict=True) if known]
    scores = evaluation.score(
        sources,
        outputs,
        references,
        train_sources=trained,
        resamples=resamples,
    )
    comparison = None
    if other is not None:
        others = other.outputs(sources, options)
        comparison = evaluation.compare(outputs, others, references, resamples=resamples or 1)
    return Evaluation(
        scores=scores,
        outputs=tuple(outputs),
        names=names,
        comparison=comparison,
        mistakes=tuple(evaluation.worst(sources, outputs, references, errors)) if errors else (),
        confusions=evaluation.confusions(sources, outputs, references) if errors else None,
        notes=corpus.notes,
    )
