"""Several trained models as one translator: who may answer together, and whose ids are whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jumok.data.encoded import PairCodec
from jumok.data.vocabulary import Vocabulary, escape
from jumok.errors import UsageError
from jumok.interfaces.translator import NO_MODELS, Translator
from jumok.models import Own
from jumok.models.ensemble import Average, Ensemble, Reading
from jumok.records import SPECIALS

__all__ = ["ensemble", "folders_in", "load_ensemble"]

SHOWN = 5
"""Symbols named in a refusal."""


def folders_in(path: str) -> tuple[str, ...]:
    """``a,b`` are two model folders, unless there is one folder of that very name."""
    if "," not in path or Path(path).exists():
        return (path,)
    named = tuple(part.strip() for part in path.split(","))
    if not all(named):
        raise UsageError(
            f"{path!r} names an empty model folder.", hint="several models are named a,b,c."
        )
    return named


def load_ensemble(
    paths: Sequence[str | Path],
    *,
    device: str = "cpu",
    average: Average = "probabilities",
    models: Mapping[str, Own] = NO_MODELS,
) -> Translator:
    """The models in the folders ``paths`` as one. Raises as ``Translator.load`` and ``ensemble``.

    One path is that model itself.
    """
    found = [Translator.load(path, device=device, models=models) for path in paths]
    if len(found) == 1:
        return found[0]
    return ensemble(found, average=average, names=[str(path) for path in paths])


def ensemble(
    models: Sequence[Translator],
    *,
    average: Average = "probabilities",
    names: Sequence[str] = (),
) -> Translator:
    """A translator that answers with all of ``models``: the mean of what they find likely.

    ``average``: "probabilities" is their mean, "logs" the geometric one. The models may be of
    any kinds. Texts are split alike and targets have the same symbols, whatever their numbers;
    a source symbol that one member lacks is unknown to that one. How it searches is as the first
    member's record says; ``names`` are for messages. It cannot be saved or trained.

    Raises:
        UsageError: no model, or models that cannot answer together; says what differs.
    """
    if not models:
        raise UsageError("an ensemble needs at least one model.")
    names = names or [f"model {k} ({model.name})" for k, model in enumerate(models, 1)]
    first = models[0]
    for name, model in zip(names, models, strict=True):
        if model.members:
            raise UsageError(
                f"{name} is an ensemble itself.", hint="name its members one after the other."
            )
        _refuse_strangers((names[0], first.codec), (name, model.codec))
    codec = _together([model.codec for model in models])
    networks = [model.network for model in models]
    network = Ensemble(networks, average=average, readings=_readings(codec, models))
    return Translator(
        network=network.eval(),
        codec=codec,
        name=" + ".join(_counted(model.name for model in models)),
        run=first.run,
        card=_card(names, models, average),
        seen=_seen(models),
        members=tuple(names),
    )


def _refuse_strangers(first: tuple[str, PairCodec], other: tuple[str, PairCodec]) -> None:
    """What an ensemble cannot bridge, named with its reason."""
    (name, ours), (other_name, theirs) = first, other

    def refuse(what: str, reason: str, hint: str) -> None:
        raise UsageError(
            f"{name} and {other_name} cannot answer together: {what}. {reason}", hint=hint
        )

    for side in ("source", "target"):
        mine, its = getattr(ours, f"{side}_tokenizer"), getattr(theirs, f"{side}_tokenizer")
        if (mine.to_dict(), mine.files()) != (its.to_dict(), its.files()):
            what = f"{mine.unit} and {its.unit}"
            tags = [codec.tags is not None for codec in (ours, theirs)]
            if side == "source" and tags[0] != tags[1]:
                what = "one reads tags, the other none"
            elif mine.unit == its.unit:
                what = f"{mine.unit} in both, but not learnt from the same text"
            refuse(
                f"their {side} symbols are of different kinds ({what})",
                "Attention and probabilities are averaged symbol by symbol.",
                f"train both with the same --data.{side}_unit on the same training text.",
            )
    if ours.normalisation != theirs.normalisation:
        refuse(
            f"one reads texts in {ours.normalisation}, the other in {theirs.normalisation}",
            "The same text would be other symbols.",
            "train both with the same --data.normalisation.",
        )
    if ours.copies != theirs.copies:
        refuse(
            "one copies from the source and the other does not",
            "Only the first can write symbols that the vocabulary lacks.",
            "take models that all copy, or none.",
        )
    _same_targets((name, ours), (other_name, theirs), refuse)
    if ours.copies and ours.target_vocabulary != theirs.target_vocabulary:
        refuse(
            "they copy, and the same target symbols have other numbers",
            "What is copied is numbered after the vocabulary.",
            "train both on the same split: --training.seed in place of --seed.",
        )


def _same_targets(first: tuple[str, PairCodec], other: tuple[str, PairCodec], refuse: Any) -> None:
    sides = [set(codec.target_vocabulary.symbols[len(SPECIALS) :]) for _, codec in (first, other)]
    for (name, _), lacking in zip((first, other), (sides[1] - sides[0], sides[0] - sides[1]),
                                  strict=True):  # fmt: skip
        if lacking:
            shown = " ".join(escape(symbol) for symbol in sorted(lacking)[:SHOWN])
            more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
            refuse(
                f"{name} lacks target symbols that the other knows ({shown}{more})",
                "The mean is over the probabilities of the same next symbols.",
                "train both on the same split: --training.seed changes the model alone, --seed "
                "the split too.",
            )


def _together(codecs: Sequence[PairCodec]) -> PairCodec:
    """The first one's, with the source symbols of all and the shortest limits."""
    source = reduce(
        lambda known, codec: known.grow(codec.source_vocabulary.symbols[len(SPECIALS) :]),
        codecs[1:],
        codecs[0].source_vocabulary,
    )
    return replace(
        codecs[0],
        source_vocabulary=source,
        max_source=min(codec.max_source for codec in codecs),
        max_target=min(codec.max_target for codec in codecs),
    )


def _readings(codec: PairCodec, models: Sequence[Translator]) -> list[Reading]:
    """How each member numbers the symbols of ``codec``; nothing where all number alike."""
    sides = [(m.codec.source_vocabulary, m.codec.target_vocabulary) for m in models]
    if all(side == (codec.source_vocabulary, codec.target_vocabulary) for side in sides):
        return []
    device = next(models[0].network.parameters()).device
    return [
        Reading(
            source_V=_numbers(codec.source_vocabulary, source).to(device),
            target_V=_numbers(codec.target_vocabulary, target).to(device),
        )
        for source, target in sides
    ]


def _numbers(ours: Vocabulary, theirs: Vocabulary) -> torch.Tensor:
    """(len(ours),): the other vocabulary's id of each of our symbols, or its unknown one."""
    known = theirs.ids_of(ours.symbols[len(SPECIALS) :])
    return torch.tensor([*range(len(SPECIALS)), *known], dtype=torch.long)


def _seen(models: Sequence[Translator]) -> np.ndarray | None:
    """What any member was trained on; not known where one does not say."""
    seen = [model.seen for model in models if model.seen is not None]
    return reduce(np.union1d, seen) if len(seen) == len(models) else None


def _counted(names: Any) -> list[str]:
    return [f"{n} {name}" if n > 1 else name for name, n in Counter(names).items()]


def _card(names: Sequence[str], models: Sequence[Translator], average: str) -> str:
    what = "probabilities are averaged" if average == "probabilities" else "logs are averaged"
    rows = [f"- {name}: {model.name}" for name, model in zip(names, models, strict=True)]
    return "\n".join([f"# {len(models)} models that answer together", "", f"Their {what}.", "",
                      *rows, ""])  # fmt: skip
