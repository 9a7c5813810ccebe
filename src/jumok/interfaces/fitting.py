"""Training a translator on corpora: its codec, its data in order, its free-running validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from jumok.alignment.guide import Guides, guides, symbol_links
from jumok.data.arrays import InMemory, PairData
from jumok.data.building import build_codec
from jumok.data.corpus import Corpus
from jumok.data.encoded import OnLong, PairCodec, collate, encode_all
from jumok.data.order import Plan
from jumok.data.text import normalise
from jumok.errors import UsageError
from jumok.evaluation import score
from jumok.interfaces.streaming import StreamedCorpus, Train
from jumok.interfaces.translator import Translator, hashes
from jumok.models import MODELS, Entry
from jumok.recipes.options import DataOptions, RunConfig
from jumok.search import SearchOptions
from jumok.training.data import TrainingData
from jumok.training.events import Done, Listener
from jumok.training.trainer import fit as train_network

__all__ = [
    "SCORES",
    "check_guided",
    "codec_of",
    "fit",
    "make_translator",
    "training_data",
    "validator",
]

NO_FILES: Mapping[str, bytes] = {}
PIECE = 1 << 20
"""Numbers that are hashed at a time."""
SCORES = ("exact_match", "cer", "wer", "bleu", "chrf")
"""What validation gives, and ``training.choose_by`` can name."""


def codec_of(train: Train, options: DataOptions) -> PairCodec:
    """Tokenizers and vocabularies, learnt from training text alone."""
    return build_codec(
        train.sources,
        train.targets,
        source_unit=options.source_unit,
        target_unit=options.target_unit,
        source_size=options.source_size,
        target_size=options.target_size,
        shared=options.shared,
        min_count=options.min_count,
        normalisation=options.normalisation,
        max_source=options.max_source,
        max_target=options.max_target,
        seed=options.seed,
        tags=train.tags,
    )


def make_translator(
    name: str,
    run: RunConfig,
    codec: PairCodec,
    train: Train | None = None,
    *,
    models: Mapping[str, Entry] = MODELS,
) -> Translator:
    """An untrained translator; ``train`` is remembered as hashes, to tell seen from unseen."""
    if models[name].copies:
        codec = replace(codec, copies=True)
    sizes = (len(codec.source_vocabulary), len(codec.target_vocabulary))
    network = models[name].model(run.model, *sizes, seed=run.training.seed)
    seen = None
    if train is not None:
        seen = np.unique(hashes(normalise(text, codec.normalisation) for text in train.sources))
    return Translator(network=network, codec=codec, name=name, run=run, seen=seen)


def training_data(
    data: PairData,
    options: DataOptions,
    where: Callable[[int], str] = "row {}".format,
    guided: Guides | None = None,
) -> TrainingData:
    """Encoded pairs in the order that ``options`` name; ``guided``: with these links."""
    plan = Plan(
        source_lengths=data.source.lengths,
        target_lengths=data.target.lengths,
        seed=options.seed,
        batch_size=options.batch_size,
        batch_tokens=options.batch_tokens,
        window=options.window,
    )
    made = partial(collate, data)
    return TrainingData(
        plan=plan,
        collate=made if guided is None else lambda rows_B: guided.beside(made(rows_B), rows_B),
        digest=_digest(data, guided),
        where=where,
    )


def _digest(data: PairData, guided: Guides | None) -> str:
    """SHA-256 of all ids and lengths: a run does not go on with other data unnoticed.

    Piece by piece and in one type each, so that it is the same in memory and on disk.
    """
    digest = hashlib.sha256()
    copies = () if data.copies is None else (data.copies.ids,)
    links = () if guided is None else (guided.links,)
    for side in (data.source, data.target, *copies, *links):
        for array, dtype in ((side.ids, "<i4"), (side.offsets, "<i8")):
            for start in range(0, len(array), PIECE):
                digest.update(array[start : start + PIECE].astype(dtype).data)
                if side.release is not None:
                    side.release()
    return digest.hexdigest()


def fit(
    translator: Translator,
    train: Train,
    dev: Corpus | None,
    *,
    folder: Path | None = None,
    carried: Mapping[str, bytes] = NO_FILES,
    resume: bool = False,
    new_data: bool = False,
    listeners: Sequence[Listener] = (),
) -> Done:
    """Trains the translator's network in place until it wears the weights that dev chose.

    A streamed ``train`` has its ids in ``folder``, where a resumed run finds them.
    """
    run = translator.run
    check_guided(translator, train)
    data, places = _encoded(train, translator.codec, folder, run.data.on_long)
    guided = _guides(translator, train, data) if run.training.guided_weight else None
    validate = validator(translator, dev) if dev is not None and len(dev) else None
    return train_network(
        translator.network,
        training_data(data, run.data, places, guided),
        validate,
        optim=run.optim,
        options=run.training,
        folder=folder,
        carried=carried,
        resume=resume,
        new_data=new_data,
        listeners=listeners,
    )


def _encoded(
    train: Train, codec: PairCodec, folder: Path | None, on_long: OnLong
) -> tuple[PairData, Callable[[int], str]]:
    """The ids, in memory or on disk; row of them -> ``file:line``."""
    if not isinstance(train, StreamedCorpus):
        data = encode_all(codec, train.pairs(), on_long=on_long)
        return data, _places(train, data)
    if folder is None:
        raise UsageError(
            "a streamed corpus is trained with a folder, where its ids are kept.",
            hint='give one: folder="runs/mine".',
        )
    if codec.copies:
        raise UsageError(
            "a model that copies is trained in memory, and this corpus streams from disk.",
            hint="train on fewer pairs, or with a model that does not copy.",
        )
    return train.encoded(codec, folder, on_long)


def _places(train: Corpus, data: InMemory) -> Callable[[int], str]:
    """Row of the encoded data -> ``file:line``, rows that were left out counted in."""
    kept = _kept(train, data)
    return lambda row: train.where(kept[row])


def _kept(train: Corpus, data: InMemory) -> Sequence[int]:
    """Row of the encoded data -> row of the corpus."""
    dropped = set(data.dropped)
    rows = range(len(train))
    return [row for row in rows if row not in dropped] if dropped else rows


def check_guided(translator: Translator, train: Train) -> None:
    """Refuses to guide what does not attend by shares, and by links that are not there.

    Raises:
        UsageError: says which.
    """
    weight = translator.run.training.guided_weight
    if not weight:
        return
    if train.links is None:
        raise UsageError(
            f"`training.guided_weight` ({weight:g}) needs pairs with links, and {train.name} has "
            "none.",
            hint="--links FILE (fast_align's format) or --links-column 3; in Python "
            "jumok.load(path, links_column=3).",
        )
    network: Any = translator.network
    main = next((spec for spec in network.maps if spec.is_weights), None)
    if main is None:
        raise UsageError(
            f"links guide attention, and the model {translator.name} has none.",
            hint="leave the links out, or set training.guided_weight to 0.",
        )
    if not main.at_most_one:
        raise UsageError(
            "links are shares of attention, and weights by rela may sum to more than one.",
            hint="take another model.normalize, or leave the links out.",
        )


def _guides(translator: Translator, train: Train, data: PairData) -> Guides:
    """The links of the rows that are trained on; DataError with ``file:line``."""
    assert isinstance(train, Corpus) and isinstance(data, InMemory) and train.links is not None
    codec, counted = translator.codec, translator.run.data.links_count
    found = []
    for row in _kept(train, data):
        source, target, where = train[row]
        sides = (source, codec.source_tokens(source)), (target, codec.target_tokens(target))
        found.append(symbol_links(train.links[row], *sides, counted=counted, where=where))
    return guides(found)


def validator(translator: Translator, dev: Corpus) -> Callable[[nn.Module], Mapping[str, float]]:
    """Scores a network free-running, greedily, on the first sources of dev."""
    run = translator.run
    known = dev.references()
    sources = list(known)[: run.data.validation_rows]
    references = [known[source] for source in sources]
    options = _plain(run.search)

    def validate(network: nn.Module) -> Mapping[str, float]:
        outputs = replace(translator, network=network).outputs(sources, options, batch_size=256)
        scores = score(sources, outputs, references, resamples=0)
        return {name: getattr(scores, name) for name in SCORES}

    return validate


def _plain(options: SearchOptions) -> SearchOptions:
    """Greedy, and nothing computed that nobody looks at."""
    return replace(
        options,
        beam=1,
        nbest=1,
        sample=False,
        coverage_penalty=0.0,
        weights=False,
        maps=False,
        alternatives=0,
    )
