"""Texts in, outputs out: translation and scoring by a model folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from jumok import config
from jumok.errors import UsageError
from jumok.interfaces.ensembles import folders_in, load_ensemble
from jumok.interfaces.options import Ensembling, Machine, Searching, at_terminal
from jumok.interfaces.outputs import Translation
from jumok.interfaces.own_models import own_models
from jumok.interfaces.requests import ScoreRequest, TranslateRequest
from jumok.interfaces.translator import ROUND, Translator
from jumok.interfaces.work.corpora import read_pairs
from jumok.interfaces.work.lengths import refuse_long
from jumok.search import SearchOptions

__all__ = ["open_model", "score", "search_options", "translate"]

BATCH = 64


@dataclass(frozen=True, kw_only=True)
class _Decoding:
    """The keys that say how outputs are looked for."""

    search: SearchOptions = field(default_factory=SearchOptions)


def search_options(
    recorded: SearchOptions,
    searching: Searching,
    keys: Mapping[str, str],
    *,
    alternatives: int = 0,
    weights: bool = True,
    maps: bool = False,
) -> SearchOptions:
    """Keys over flags over what the model's record says."""
    asked: dict[str, Any] = {
        name: value for name, value in asdict(searching).items() if value is not None
    }
    asked |= {"alternatives": alternatives, "weights": weights, "maps": maps}
    nbest = asked.get("nbest", recorded.nbest)
    if asked.get("sample", recorded.sample):
        asked.setdefault("beam", 1)
    else:
        asked.setdefault("beam", max(recorded.beam, nbest))
    preset = config.merge({"search": config.to_dict(recorded)}, {"search": asked})
    return config.build(_Decoding, preset=preset, flags=keys).search


def open_model(
    path: str,
    machine: Machine,
    ensembling: Ensembling = Ensembling(),  # noqa: B008 - frozen
) -> Translator:
    """The model folder, on the device and with the threads that were asked for.

    ``a,b`` are several that answer together.
    """
    import torch

    if machine.threads is not None:
        if machine.threads < 1:
            raise UsageError(f"--threads ({machine.threads}) must be at least 1.")
        torch.set_num_threads(machine.threads)
    return load_ensemble(
        folders_in(path),
        device=device_of(machine),
        average=ensembling.average,
        models=own_models(machine.model_file),
    )


def device_of(machine: Machine) -> str:
    """``auto`` is the GPU where there is one."""
    import torch

    if machine.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(machine.device)
    except RuntimeError:
        raise UsageError(
            f"--device {machine.device!r} is no device.", hint="auto, cpu, cuda or cuda:1"
        ) from None
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"--device {machine.device}: torch finds no such GPU here.",
            hint="jumok doctor lists the devices.",
        )
    return machine.device


def translate(request: TranslateRequest, lines: Iterable[str]) -> Iterator[Translation]:
    """The outputs of ``lines``, in their order; all errors of the request come first."""
    model = open_model(request.model, request.machine, request.ensembling)
    options = search_options(
        model.run.search,
        request.searching,
        request.keys,
        alternatives=request.alternatives,
        weights=request.attention or request.replace_unknown,
    )
    waited_for = at_terminal() or request.batch_size == 1
    return model.stream(
        lines,
        options,
        prefix=request.prefix,
        replace_unknown=request.replace_unknown,
        batch_size=request.batch_size,
        bits=request.bits,
        ahead=1 if waited_for else request.batch_size * ROUND,
    )


def score(request: ScoreRequest) -> Iterator[Translation]:
    """The given targets as outputs, one for each pair."""
    model = open_model(request.model, request.machine, request.ensembling)
    corpus = read_pairs(request.data, request.reading, form=model.codec.normalisation)
    refuse_long(corpus, model.codec, target=True)
    pairs = corpus.pairs()
    for start in range(0, len(pairs), BATCH * ROUND):
        yield from model.score(pairs[start : start + BATCH * ROUND], batch_size=BATCH)
