"""``jumok verify``: the promises, checked on the user's own model and texts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import nn

from jumok.checks.decoding import (
    attention_fits,
    batch_mates_change_no_bit,
    beam_of_one_is_greedy,
    forced_is_search,
    forward_is_engine,
)
from jumok.checks.laws import (
    LAWS,
    Finding,
    forward_equals_step,
    future_does_not_leak,
    invented_batch,
)
from jumok.checks.numerics import NUMERICS, bf16_is_finite, gradients_are_slopes
from jumok.checks.resuming import resume_is_exact
from jumok.data.corpus import Corpus
from jumok.data.encoded import encode_all
from jumok.data.tags import MARK, is_tag
from jumok.errors import DataError, JumokError
from jumok.interfaces.ensembles import folders_in
from jumok.interfaces.fitting import training_data
from jumok.interfaces.requests import VerifyRequest
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.corpora import read_pairs
from jumok.interfaces.work.decoding import open_model
from jumok.interfaces.work.lengths import same_tags
from jumok.records import SPECIALS, Batch
from jumok.search import SearchOptions
from jumok.store import open_folder
from jumok.training.data import to_torch

__all__ = ["Check", "verify"]

BEAM, LONGEST = 4, 100
FLOAT32 = 1e-4
"""Between two ways of computing the same in float32: trained weights and long texts amplify
rounding. The laws themselves are checked in float64, where 1e-10 is enough."""
OF_TRAINED: dict[str, Callable[..., Finding]] = {
    "gradients": partial(gradients_are_slopes, tolerance=1e-5),
    "bf16": partial(bf16_is_finite, tolerance=float("inf")),
    "future": partial(future_does_not_leak, must_read=False),
}
"""What trained weights may do and fresh ones do not: bend sharply, lose digits, ignore what was
written."""
UNHEARD_OF = "\u2603\u2622\u265e"
FEW = 5
"""Pairs for the laws: they go through each model many times."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One promise and whether it holds here."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class _Texts:
    """What is checked with, as text and as ids with their end symbols."""

    pairs: list[tuple[str, str]]
    sources: list[np.ndarray]
    targets: list[np.ndarray]


def verify(request: VerifyRequest) -> Iterator[Check]:
    """The checks one by one; a model folder that is damaged is an error at once."""
    model = open_model(request.model, request.machine, request.ensembling)
    for path in folders_in(request.model):
        yield _integrity(path, model)
    texts = _texts(request, model)
    batch = _batch(model, texts)
    exact = copy.deepcopy(model.network).double()
    for name, law in (LAWS | NUMERICS | OF_TRAINED).items():
        yield _checked(name, partial(law, exact, batch))
    del exact
    yield _checked("forward = step, float32", partial(_fast, model.network, batch))
    yield from _decoding(model, texts)
    if not model.members:  # an ensemble is not trained
        yield _checked("resume is exact", partial(_resume, model, texts))


def _checked(name: str, check: Callable[[], Finding]) -> Check:
    """What was found, in words; an error is a failure with its message."""
    try:
        found = check()
    except JumokError as error:
        found = Finding(name, False, float("inf"), error.message)
    return _as_check(found)


def _as_check(found: Finding) -> Check:
    said = f"largest difference {found.worst:.2g}"
    detail = f"{said}; {found.detail}" if found.detail else said
    return Check(name=found.law, passed=bool(found.holds), detail=detail)


def _fast(network: nn.Module, batch: Batch) -> Finding:
    """The path that training takes, in the model's own precision: values and gradients."""
    found = forward_equals_step(network, batch, tolerance=10 * FLOAT32)
    return found._replace(law="forward = step, float32")


def _integrity(path: str, model: Translator) -> Check:
    """Every file is as long as the manifest says and has its SHA-256 (or loading had failed)."""
    folder = open_folder(path)
    size = sum(entry.size for entry in folder.manifest.files.values())
    count = sum(p.numel() for p in model.network.parameters())
    detail = f"{len(folder.names)} files, {size:,} bytes, as the manifest says; {count:,} weights"
    return Check(name="integrity", passed=True, detail=detail)


# --- what is checked with -----------------------------------------------------------------


def _texts(request: VerifyRequest, model: Translator) -> _Texts:
    """The first pairs of the data that fit, or texts made of the model's own symbols."""
    pairs = _given(request, model) if request.data else _invented(request.rows, model)
    sources, targets, kept = [], [], []
    for source, target in pairs:
        try:
            encoded, [tokens] = model.codec.encode_source([source])
            own = [model.codec.own(tokens)]
            ids_BT, _, _ = model.codec.encode_target([target], own=own)
        except DataError:
            continue  # too long for the model: `translate` refuses it as well
        if source:
            kept.append((source, target))
            [ids_S], copies = encoded.ids_BS, encoded.copy_ids_BS
            sources.append(ids_S if copies is None else np.stack([ids_S, copies[0]]))
            targets.append(np.asarray(ids_BT[0]))
    if not kept:
        raise DataError(
            "none of the pairs can be used to check with: they are empty or too long.",
            hint="name other data, or none: texts are then made of the model's own symbols.",
        )
    return _Texts(pairs=kept, sources=sources, targets=targets)


def _given(request: VerifyRequest, model: Translator) -> list[tuple[str, str]]:
    corpus: Corpus = read_pairs(request.data, request.reading, form=model.codec.normalisation)
    same_tags(corpus, model.codec)
    return corpus.pairs()[: request.rows]


def _invented(rows: int, model: Translator) -> list[tuple[str, str]]:
    generator = np.random.default_rng(0)
    sides = (model.codec.source_vocabulary.symbols, model.codec.target_vocabulary.symbols)
    pairs = [(_words(sides[0], generator), _words(sides[1], generator)) for _ in range(rows)]
    if model.codec.tags is not None:
        pairs = [(_tagged(model, source), _spelt(target)) for source, target in pairs]
    if model.codec.copies:  # something that neither side knows, in both
        heard = ((1 + n % 3, n % 3) for n in range(rows))
        pairs = [
            (s + UNHEARD_OF[:in_source], t + UNHEARD_OF[:in_target])
            for (s, t), (in_source, in_target) in zip(pairs, heard, strict=True)
        ]
    return pairs


def _tagged(model: Translator, text: str) -> str:
    """A text of symbols, tags among them, as lemma and tags; some of the tags, in any order."""
    known = model.codec.source_vocabulary.symbols
    tags = [symbol for symbol in known if is_tag(symbol)]
    return model.codec.source_tokenizer.detokenize([*tags[len(text) % 3 :: 3][:5], _spelt(text)])


def _spelt(text: str) -> str:
    return text.replace(MARK, "").strip()


def _words(symbols: Sequence[str], generator: np.random.Generator) -> str:
    """A text of 1 to 20 symbols; whether they make sense does not matter here."""
    if len(symbols) == len(SPECIALS):
        return ""  # a model that only copies
    chosen = generator.choice(len(symbols) - len(SPECIALS), size=generator.integers(1, 21))
    return "".join(symbols[len(SPECIALS) + i] for i in chosen).strip() or symbols[-1]


def _batch(model: Translator, texts: _Texts) -> Batch:
    """A few of the pairs; invented ids where there are too few to change places."""
    few = texts.pairs[:FEW]
    if len(few) < FEW:
        sizes = (len(model.codec.source_vocabulary), len(model.codec.target_vocabulary))
        return invented_batch(*sizes)
    batch, *_ = model.codec.encode_batch([s for s, _ in few], [t for _, t in few])
    return to_torch(batch, next(model.network.parameters()).device)


# --- searches and training ----------------------------------------------------------------


def _decoding(model: Translator, texts: _Texts) -> Iterator[Check]:
    """Bits on the processor; on a GPU, where libraries promise none, small differences."""
    engine, rows = model.engine(bits=True), texts.sources
    on_processor = next(model.network.parameters()).device.type == "cpu"
    loose = 0.0 if on_processor else FLOAT32
    best = SearchOptions(max_length=LONGEST)
    beam, drawn = replace(best, beam=BEAM, nbest=BEAM), replace(best, sample=True, nbest=2)
    for name, options in (("greedy", best), (f"beam {BEAM}", beam)):
        check = partial(batch_mates_change_no_bit, engine, rows, options, name=name,
                        tolerance=loose)  # fmt: skip
        yield _checked(f"batch invariance, {name}", check)
    yield _checked("beam 1 = greedy", partial(beam_of_one_is_greedy, engine, rows))
    for options in (beam, drawn):
        for found in forced_is_search(engine, rows, options, tolerance=loose):
            law = found.law if options is beam else f"{found.law}, sampled"
            yield _as_check(found._replace(law=law))
    yield _checked("attention fits", partial(attention_fits, engine, rows, beam))
    check = partial(forward_is_engine, model.network, engine, rows, texts.targets,
                    tolerance=FLOAT32)  # fmt: skip
    yield _checked("training = scoring", check)


def _resume(model: Translator, texts: _Texts) -> Finding:
    """A few updates of a copy, with the options that the model was trained with."""
    run = model.run
    data = encode_all(model.codec, texts.pairs, on_long="drop")
    few = max(1, len(texts.pairs) // 3)  # so that the cut falls inside an epoch
    options = replace(run.data, batch_size=few, batch_tokens=None)
    training = replace(run.training, update_tokens=0, guided_weight=0.0)
    return resume_is_exact(
        model.network, training_data(data, options), optim=run.optim, options=training
    )
