"""``jumok train more.tsv --from runs/x``: a trained model goes on with other data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import nn

from jumok import config, kernels
from jumok.data.building import build_vocabulary
from jumok.data.encoded import PairCodec
from jumok.data.tags import MARK, name_of, tag_counts
from jumok.data.text import normalise
from jumok.data.tokenizers import Tokenizer
from jumok.data.vocabulary import Vocabulary
from jumok.errors import UsageError
from jumok.interfaces.fitting import make_translator
from jumok.interfaces.model_files import make_network
from jumok.interfaces.own_models import own_models
from jumok.interfaces.requests import TrainRequest
from jumok.interfaces.streaming import Train, sample_of
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.lengths import same_tags
from jumok.interfaces.work.planning import GUIDED, refuse_together
from jumok.models import with_own
from jumok.recipes.rule import Traits, choose

__all__ = ["LEARNT", "grown", "old_model", "started_from"]

LEARNT = ("bpe", "unigram")
"""Units whose symbols are learnt from text."""
OF_THE_CODEC = (
    *("source_unit", "target_unit", "source_size", "target_size"),
    *("shared", "min_count", "normalisation"),
)
"""Keys of the section ``data`` that a model cannot change any more."""


def old_model(request: TrainRequest, flags: Mapping[str, str]) -> Translator:
    """The model of ``request.start_from``; what is asked of it is checked before data are read.

    Raises:
        ConfigError: an unknown key, or a wrong value.
        UsageError: a key that would make another model of it.
    """
    own = own_models(request.machine.model_file)
    old = Translator.load(str(request.start_from), models=own)
    refuse_together(request, old.name)
    asked = config.override(old.run, {**flags, **request.keys})
    if asked.model != old.run.model:
        network = make_network(old.name, asked.model, old.codec, models=with_own(own))
        _shapes(old, network, request)
    for key in request.keys:
        section, _, name = key.partition(".")
        if section == "data" and name in OF_THE_CODEC:
            raise UsageError(
                f"--{key} does not go together with --from: units and vocabulary are those of "
                f"{request.start_from}.",
                hint=f"leave out --{key}, or train anew without --from.",
            )
    return old


def _shapes(old: Translator, asked: nn.Module, request: TrainRequest) -> None:
    """Refuses a network into which the old weights do not fit."""
    shapes = [{k: v.shape for k, v in n.state_dict().items()} for n in (old.network, asked)]
    if shapes[0] != shapes[1]:
        keys = " ".join(f"--{key} {v}" for key, v in request.keys.items() if key[:6] == "model.")
        raise UsageError(
            f"{keys}: the weights of {request.start_from} do not fit such a model.",
            hint="leave it out, or train anew without --from.",
        )


def started_from(
    old: Translator,
    request: TrainRequest,
    train: Train,
    flags: Mapping[str, str],
    tell: Callable[[str], None],
) -> Translator:
    """The ``old`` model of ``request.start_from`` ready for other data, its vocabulary grown.

    Configuration and weights are the old model's; schedule and length of training follow the
    new data. Weights of symbols that are new are drawn as for a new model.
    """
    same_tags(sample_of(train), old.codec)
    codec = grown(old.codec, train, tell)
    unit = old.run.data.source_unit
    traits = Traits(
        pairs=len(train),
        source_unit=unit,
        target_unit=old.run.data.target_unit,
        source_symbols=20,
        target_symbols=20,
    )
    rule = choose(traits, bf16=kernels.auto_precision() == "bf16").preset["training"]
    kept = {
        "training.max_epochs": str(rule["max_epochs"]),
        "training.patience": str(rule["patience"]),
        "training.guided_weight": str(0.0 if train.links is None else GUIDED),
    }
    run = config.override(old.run, {**kept, **flags, **request.keys})
    codec = replace(codec, max_source=run.data.max_source, max_target=run.data.max_target)
    models = with_own(own_models(request.machine.model_file))
    fresh = make_translator(old.name, run, codec, train, models=models)
    _inherit(old, fresh)
    tell(f"going on from {request.start_from} ({old.name}) with {len(train):,} pairs.")
    return fresh


def grown(codec: PairCodec, train: Train, tell: Callable[[str], None]) -> PairCodec:
    """The codec with the symbols that ``train`` has and it has not, at the end of the old ones.

    Subword pieces are learnt once and stay; what they cannot spell is unknown, and that is said.
    """
    sides = {
        "source": (codec.source_tokenizer, codec.source_vocabulary, train.sources),
        "target": (codec.target_tokenizer, codec.target_vocabulary, train.targets),
    }
    found: dict[str, Vocabulary] = {}
    for side, (tokenizer, vocabulary, texts) in sides.items():
        normal = (normalise(text, codec.normalisation) for text in texts)
        fresh = _missing(tokenizer, vocabulary, normal)
        if tokenizer.unit in LEARNT:
            tags = codec.tags if side == "source" else None
            counts = tag_counts(texts, tags) if tags is not None else {}
            found[side] = vocabulary.grow({MARK + tag: n for tag, n in counts.items()})
            if fresh:
                tell(f"{side}: {len(fresh)} symbols cannot be spelt with the model's pieces.")
            continue
        found[side] = vocabulary.grow(fresh) if fresh else vocabulary
        if fresh:
            shown = " ".join(map(name_of, list(fresh)[:10]))
            tell(f"{side}: the vocabulary grows by {len(fresh)} symbols: {shown}")
    return replace(codec, source_vocabulary=found["source"], target_vocabulary=found["target"])


def _missing(tokenizer: Tokenizer, vocabulary: Vocabulary, texts: Iterable[str]) -> dict[str, int]:
    counted = build_vocabulary(texts, tokenizer)
    symbols = counted.symbols[4:]
    return {symbol: 1 for symbol in symbols if symbol not in vocabulary}


@torch.no_grad()
def _inherit(old: Translator, fresh: Translator) -> None:
    """Puts the old weights into the fresh network; rows of new symbols keep their first values."""
    state = fresh.network.state_dict()
    for name, weight in old.network.state_dict().items():
        target = state[name]
        if target.shape == weight.shape:
            target.copy_(weight)
        else:  # one row per symbol: the old ones come first
            target[: weight.shape[0]].copy_(weight)
