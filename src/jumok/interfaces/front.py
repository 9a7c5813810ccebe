"""The Python front door: build, fit, evaluate, load_model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jumok import config, kernels
from jumok.data.corpus import Corpus
from jumok.errors import UsageError
from jumok.evaluation import Scores
from jumok.interfaces.ensembles import ensemble, load_ensemble
from jumok.interfaces.fitting import codec_of, make_translator
from jumok.interfaces.fitting import fit as fit_translator
from jumok.interfaces.streaming import StreamedCorpus, Train
from jumok.interfaces.translator import NO_MODELS, Translator
from jumok.interfaces.work.evaluating import evaluate_model
from jumok.interfaces.work.planning import guided_preset, traits_of
from jumok.models import Own, entry, with_own
from jumok.models.ensemble import Average
from jumok.recipes.options import run_config
from jumok.recipes.rule import choose, suited
from jumok.training.events import Done, Event, Validation

__all__ = ["History", "build", "ensemble", "evaluate", "fit", "load_model"]


@dataclass(frozen=True, kw_only=True)
class History:
    """What happened while training: every event, and how it ended."""

    events: tuple[Event, ...]
    done: Done

    @property
    def scores(self) -> list[dict[str, float]]:
        """The scores of every validation, in order."""
        return [dict(e.scores) for e in self.events if isinstance(e, Validation)]


def build(
    name: str | tuple[str, type, Callable[..., Any]], train: Train, **options: Any
) -> Translator:
    """An untrained model for a corpus: its vocabularies and an ordinary ``nn.Module`` inside.

    ``name`` is one of jumok's models, or one of your own: ``("mine", Config, Class)``.
    ``options`` are keys of the configuration: those of the model by their plain name
    (``hidden_size=256``), others by section (``optim={"lr": 3e-4}``). What is not said follows
    the written rule on the data (``jumok.recipes.rule``). Raises ConfigError with the nearest
    name for an unknown one.
    """
    own: dict[str, Own] = {}
    if not isinstance(name, str):
        name, config_class, model_class = name
        own = {name: (config_class, model_class)}
    models = with_own(own)
    names = ("data", "optim", "training", "search")
    sections: dict[str, Any] = {name: options.pop(name) for name in names if name in options}
    traits, _ = traits_of(train, sections.get("data", {}))
    choice = choose(traits, bf16=kernels.auto_precision() == "bf16")
    preset = suited(choice.preset, entry(name, models).config)
    preset = config.merge(preset, guided_preset(train))
    run = run_config(name, preset=preset, file={**sections, "model": options}, models=models)
    return make_translator(name, run, codec_of(train, run.data), train, models=models)


def fit(
    model: Translator,
    train: Train,
    dev: Corpus | None = None,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callable[[Event], None]] = (),
    **training: Any,
) -> History:
    """Trains ``model`` in place; it ends with the weights that dev chose, free-running.

    ``training`` are keys of ``[training]`` (``max_epochs=5``, ``time_limit=60``); ``callbacks``
    are plain functions of an event. With ``folder`` the run is saved and can be resumed; a corpus
    that is streamed (``jumok.interfaces.streaming.divide``) needs one, and its ids stay there.
    """
    if not isinstance(train, Corpus | StreamedCorpus):
        raise UsageError(
            f"`train` must be a corpus, not {type(train).__name__}.",
            hint="jumok.load('pairs.tsv') reads one; jumok.data.corpus.Corpus.of(pairs) makes one.",
        )
    if model.members:
        raise UsageError(
            f"an ensemble ({', '.join(model.members)}) is not trained: each member was.",
            hint="jumok distill teaches one model what several know.",
        )
    events: list[Event] = []
    run = model.run
    if training:
        values = {**config.to_dict(run.training), **training}
        run = replace(run, training=config.from_dict(type(run.training), values))
    done = fit_translator(
        replace(model, run=run),
        train,
        dev,
        folder=None if folder is None else Path(folder),
        resume=resume,
        listeners=[events.append, *callbacks],
    )
    return History(events=tuple(events), done=done)


def evaluate(model: Translator, test: Corpus, **options: Any) -> Scores:
    """Free-running scores with intervals; prints as a table, ``.to_dict()`` for code."""
    return evaluate_model(model, test, **options).scores


def load_model(
    path: str | Path | Sequence[str | Path],
    *,
    device: str = "cpu",
    average: Average = "probabilities",
    models: Mapping[str, Own] = NO_MODELS,
) -> Translator:
    """The model in a folder, verified first; of several folders the models as one (``ensemble``).

    ``models`` as in ``Translator.load``. Raises ModelFolderError, and UsageError for models that
    cannot answer together.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    return load_ensemble(paths, device=device, average=average, models=models)
