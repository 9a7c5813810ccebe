"""How a run ends: test sets read once, baselines beside them, the folder, the pictures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from jumok.data.baselines import BASELINES
from jumok.data.corpus import Corpus
from jumok.data.tasks import TaskData
from jumok.errors import SaveError
from jumok.evaluation import Scores, score
from jumok.evaluation.slices import Slice
from jumok.evaluation.table import align
from jumok.interfaces.outputs import Translation
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.evaluating import evaluate_model
from jumok.search import SearchOptions
from jumok.training.events import Done
from jumok.views.api import save
from jumok.views.fonts import MissingGlyphs

__all__ = ["METRICS", "NO_SCORES", "Ending", "baselines", "end_run", "test_sets"]

NO_SCORES: Mapping[str, Scores] = MappingProxyType({})
METRICS = "metrics.jsonl"
SHOWN = 12
"""Sentences in the page."""
MOST_BASELINE_ROWS = 2000
HEADLINE = "test"
CHOSE = "dev (it chose the model)"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What a run leaves."""

    translator: Translator
    done: Done
    folder: Path
    scores: Mapping[str, Scores]
    """By the name of the test set; the first one is the headline."""
    baselines: Mapping[str, float]
    """Exact match, on the headline's rows, of answers that need no training."""
    report: str
    """For people: the scores, and a map in the terminal."""
    files: tuple[str, ...]
    """What was written and what to do next, a sentence each."""


def end_run(
    translator: Translator,
    corpora: TaskData,
    folder: Path,
    done: Done,
    seconds: float,
    *,
    rows: int | None = None,
    beside: Mapping[str, Scores] = NO_SCORES,
) -> Ending:
    """Scores, writes and draws. The folder is whole before any picture is tried.

    ``rows``: training pairs in all, where ``corpora`` has a sample of them; ``beside``: what
    others, by name, reach on the headline's test set.
    """
    rows = len(corpora.train) if rows is None else rows
    options = replace(translator.run.search, weights=translator.run.search.coverage_penalty > 0)
    sets = test_sets(corpora)
    scores = {
        name: evaluate_model(translator, corpus, options).scores for name, corpus in sets.items()
    }
    headline = next(iter(sets.values()), None)
    simple = {} if headline is None else baselines(corpora.train, headline)
    text = _report(scores, simple, done, seconds, beside)
    if len(corpora.train) < rows:
        text += f"\nThe answers without training are of a sample of {len(corpora.train):,} pairs."
    translator = replace(translator, card=_card(translator, corpora.about, rows, text))
    translator.save(folder, keep=[METRICS])
    examples = _examples(translator, headline or corpora.train)
    drawn = _pictures(examples, folder)
    source = examples[0].source if examples else "TEXT"
    return Ending(
        translator=translator,
        done=done,
        folder=folder,
        scores=scores,
        baselines=simple,
        report="\n".join([text, "", *(str(e.attention) for e in examples[:1])]).rstrip(),
        files=(f"model: {folder}", *drawn, f"next: jumok inspect {folder} {_quoted(source)}"),
    )


def _quoted(text: str) -> str:
    """As a shell takes it: a TAB can be typed nowhere else than in $'...'."""
    written = text.replace("\\", "\\\\").replace("'", "\\'").replace("\t", "\\t")
    return f"$'{written}'" if "\t" in text else f'"{text}"'


def test_sets(corpora: TaskData) -> dict[str, Corpus]:
    """The test set and the task's further ones; without a test set dev, called what it is."""
    if corpora.test is not None and len(corpora.test):
        return {HEADLINE: corpora.test, **corpora.extra}
    dev = {CHOSE: corpora.dev} if corpora.dev is not None and len(corpora.dev) else {}
    return {**dev, **corpora.extra}


def baselines(train: Corpus, test: Corpus) -> dict[str, float]:
    """Exact match of every baseline on (the first rows of) the test set."""
    known = test.references()
    sources = list(known)[:MOST_BASELINE_ROWS]
    references = [known[source] for source in sources]
    return {
        name: score(sources, answer(train, sources), references, resamples=0).exact_match
        for name, answer in BASELINES.items()
    }


def _report(
    scores: Mapping[str, Scores],
    baselines: Mapping[str, float],
    done: Done,
    seconds: float,
    beside: Mapping[str, Scores],
) -> str:
    rows: list[tuple[str, ...]] = [("free-running", "inputs", "exact match", "95%", "CER", "BLEU")]
    for name, found in scores.items():
        rows.append(_row(name, found.whole, bleu=found.bleu_defined))
        if found.unseen is not None and 0 < found.unseen.count < found.count:
            rows.append(_row("  never seen in training", found.unseen, bleu=found.bleu_defined))
    for name, found in beside.items():
        rows.append(_row(f"  {name}", found.whole, bleu=found.bleu_defined))
    rows += [(f"  {name}", "", f"{value:.2%}", "", "", "") for name, value in baselines.items()]
    trained = (
        f"trained {seconds:.0f} s, {done.epoch:.1f} epochs, chosen at step {done.chosen_step:,}"
    )
    return "\n".join([*align(rows), "", f"{trained} of {done.step:,}."])


def _row(name: str, part: Slice, *, bleu: bool) -> tuple[str, ...]:
    low, high = part.exact_match_interval or (0.0, 1.0)
    return (
        name,
        f"{part.count:,}",
        f"{part.exact_match:.2%}",
        f"{low:.2%} to {high:.2%}",
        f"{part.cer:.2%}",
        f"{part.bleu:.1f}" if bleu else "-",
    )


def _card(translator: Translator, about: str, rows: int, text: str) -> str:
    run = translator.run
    size = sum(p.numel() for p in translator.network.parameters())
    last = "no test set" if CHOSE in text else "test read once"
    return (
        f"# {translator.name}\n\nTrained by jumok on {rows:,} pairs: "
        f"{about}\n\n{size:,} parameters, precision {run.training.precision}, seed "
        f"{run.training.seed}; chosen by {run.training.choose_by} on dev, {last}.\n\n"
        f"```\n{text}\n```\n"
    )


def _examples(translator: Translator, corpus: Corpus) -> list[Translation]:
    """Outputs to look at, spread over the corpus; one that is easily read first."""
    sources = list(corpus.references())
    spread = sources[:: max(1, len(sources) // SHOWN)][:SHOWN]
    hangul = next((s for s in sources if any("가" <= c <= "힣" for c in s)), None)
    if hangul is not None and hangul not in spread:
        spread[-1:] = [hangul]
    spread.sort(key=lambda text: (text != hangul, abs(len(text) - 14)))
    options = SearchOptions(max_length=translator.run.search.max_length, alternatives=5)
    return translator.translate(spread, options=options)


def _pictures(examples: Sequence[Translation], folder: Path) -> list[str]:
    """The page and the picture beside the model; a picture that fails costs no model."""
    traces = [e.attention.trace for e in examples]
    if not traces or traces[0].main is None:
        return []
    told = []
    for name, what, shown in (
        ("attention.html", "page", traces),
        ("attention.png", "picture", traces[:1]),
    ):
        try:
            with warnings.catch_warnings(record=True) as remarks:
                warnings.simplefilter("always", MissingGlyphs)
                save(shown, folder / name)
            told += [f"{what}: {folder / name}", *(str(r.message) for r in remarks)]
        except (SaveError, OSError, ImportError) as error:
            told.append(f"{what}: not drawn ({error})")
    return told
