"""``jumok verify``: the promises, checked on the user's own model and texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from jumok.checks.laws import LAWS, Finding, invented_batch
from jumok.data.corpus import Corpus
from jumok.errors import DataError, JumokError
from jumok.interfaces.outputs import Translation
from jumok.interfaces.requests import VerifyRequest
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.corpora import read_pairs
from jumok.interfaces.work.decoding import open_model
from jumok.records import SPECIALS, Batch
from jumok.search import SearchOptions
from jumok.training.data import to_torch

__all__ = ["Check", "verify"]

BEAM = 4
TRAINED = {"forward = step": 1e-4, "likelihood = logits": 1e-4, "batch-mates": 1e-4}
"""What float32 allows where the laws compare two ways of computing: trained weights and long
texts amplify rounding more than the fresh weights that the laws' own bounds are for."""
TOLERANCE = 1e-4
"""Between a search's score and the same output scored as given: two ways of computing, float32."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One promise and whether it holds here."""

    name: str
    passed: bool
    detail: str


def verify(request: VerifyRequest) -> Iterator[Check]:
    """The checks one by one; a model folder that is damaged is an error at once."""
    model = open_model(request.model, request.machine)
    count = sum(p.numel() for p in model.network.parameters())
    yield Check(name="integrity", passed=True, detail=f"all files verified, {count:,} weights")
    pairs = _pairs(request, model)
    yield from _laws(model, _batch(model, pairs))
    sources = [source for source, _ in pairs]
    yield _batch_mates(model, sources, SearchOptions(), "greedy")
    yield _batch_mates(model, sources, SearchOptions(beam=BEAM, nbest=BEAM), f"beam {BEAM}")
    yield _scores_agree(model, sources)


def _pairs(request: VerifyRequest, model: Translator) -> list[tuple[str, str]]:
    """The first pairs of the data, or texts made of the model's own symbols."""
    if request.data:
        corpus: Corpus = read_pairs(request.data, request.reading, form=model.codec.normalisation)
        return corpus.pairs()[: request.rows]
    generator = np.random.default_rng(0)
    sides = (model.codec.source_vocabulary.symbols, model.codec.target_vocabulary.symbols)
    return [
        (_invented(sides[0], generator), _invented(sides[1], generator))
        for _ in range(request.rows)
    ]


def _invented(symbols: Sequence[str], generator: np.random.Generator) -> str:
    """A text of 1 to 20 symbols; whether they make sense does not matter here."""
    chosen = generator.choice(len(symbols) - len(SPECIALS), size=generator.integers(1, 21))
    return "".join(symbols[len(SPECIALS) + i] for i in chosen).strip() or symbols[-1]


def _batch(model: Translator, pairs: list[tuple[str, str]]) -> Batch:
    """A few of the pairs; invented ids where the texts are too long or too few."""
    few = pairs[:5]
    device = next(model.network.parameters()).device
    try:
        batch, *_ = model.codec.encode_batch([s for s, _ in few], [t for _, t in few])
        return to_torch(batch, device)
    except DataError:
        sizes = (len(model.codec.source_vocabulary), len(model.codec.target_vocabulary))
        return invented_batch(*sizes)


def _laws(model: Translator, batch: Batch) -> Iterator[Check]:
    for name, law in LAWS.items():
        try:
            found = law(model.network, batch)
        except JumokError as error:
            found = Finding(name, False, float("inf"), error.message)
        said = f"largest difference {found.worst:.2g}"
        detail = f"{said}; {found.detail}" if found.detail else said
        passed = found.holds or found.worst <= TRAINED.get(name, 0.0)
        yield Check(name=name, passed=bool(passed), detail=detail)
    model.network.zero_grad(set_to_none=True)


def _batch_mates(model: Translator, sources: list[str], options: SearchOptions, name: str) -> Check:
    """Every bit of score and attention, alone and beside all the others in turned order."""
    together = model.translate(sources, options=options)
    turned = model.translate(sources[::-1], options=options, batch_size=7)[::-1]
    alone = [model.translate([source], options=options)[0] for source in sources]
    wrong = [
        source
        for source, *found in zip(sources, together, turned, alone, strict=True)
        if len({_bits(one) for one in found}) > 1
    ]
    detail = f"{len(sources)} texts alone, together and turned: "
    detail += f"differ for {wrong[0]!r}" if wrong else "the same to the last bit"
    return Check(name=f"batch invariance, {name}", passed=not wrong, detail=detail)


def _bits(found: Translation) -> bytes:
    """All that was computed for an output and its alternatives, as bytes."""
    parts = []
    for one in found.nbest:
        h = one.hypothesis
        arrays = (h.ids_T, h.logprobs_T, np.float64(h.score), h.weights_TS)
        parts += [b"-" if a is None else np.ascontiguousarray(a).tobytes() for a in arrays]
    return b"|".join(parts)


def _scores_agree(model: Translator, sources: list[str]) -> Check:
    """The score a search reports is the one that its output gets when it is given."""
    with torch.no_grad():
        found = [f for f in model.translate(sources, beam=BEAM) if f.finished and f.text]
        # Only outputs that are spelt with the very symbols that were written can be compared.
        same = [f for f in found if _respelt(model, f)]
        given = model.score([(f.source, f.text) for f in same])
    gaps = [abs(f.score - g.score) for f, g in zip(same, given, strict=True)]
    worst = max(gaps, default=0.0)
    return Check(
        name="search score = given score",
        passed=worst <= TOLERANCE,
        detail=f"largest difference {worst:.2g} over {len(gaps)} outputs",
    )


def _respelt(model: Translator, found: Translation) -> bool:
    tokens = model.codec.target_tokens(found.text)
    ids = model.codec.target_vocabulary.encode([token.text for token in tokens[:-1]])
    return bool(np.array_equal(ids, found.hypothesis.ids_T[:-1]))
