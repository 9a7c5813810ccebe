"""Before a ladder begins: its data, and for each system the size that makes it one of equals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jumok import config, kernels
from jumok.data.corpus import Corpus
from jumok.data.encoded import PairCodec
from jumok.data.tasks import TaskData
from jumok.errors import DataError, JumokError, UsageError
from jumok.interfaces.comparing.state import Planned, State, fingerprint, named, reading_of
from jumok.interfaces.fitting import codec_of, make_translator
from jumok.interfaces.options import Machine
from jumok.interfaces.requests import CompareRequest, TrainRequest
from jumok.interfaces.streaming import StreamedCorpus, Train
from jumok.interfaces.translator import Translator
from jumok.interfaces.work.corpora import is_task
from jumok.interfaces.work.decoding import device_of
from jumok.interfaces.work.ending import test_sets
from jumok.interfaces.work.lengths import within_limits
from jumok.interfaces.work.pilot import pace
from jumok.interfaces.work.planning import Asked, ask, flags_of, traits_of
from jumok.interfaces.work.running import corpora_of
from jumok.models import entry
from jumok.recipes.ladder import Rung, nearest_size
from jumok.recipes.options import DataOptions, RunConfig, run_config
from jumok.recipes.rule import DEFAULT_MODEL, choose
from jumok.recipes.tasks import preset_of

__all__ = ["Bench", "bench_of", "default_budget"]

Tell = Callable[[str], None]
VALIDATIONS = 8
"""Of a run that reaches its ceiling: its learning curve has so many points."""
VALIDATION_ROWS = 256
LONGEST = 50
"""Texts, the longest by characters, whose symbols are counted."""


@dataclass(kw_only=True)
class Bench:
    """The data of a ladder and what every system of it is told alike."""

    state: State
    request: TrainRequest
    """Names the data, for the record of each run."""
    machine: Machine
    corpora: TaskData
    train: Train
    preset: Mapping[str, Any]
    """What the rule says of these data."""
    longest: int = 0
    """Symbols of the longest source, its end included."""
    codecs: dict[DataOptions, PairCodec] = field(default_factory=dict)

    @property
    def tests(self) -> dict[str, Corpus]:
        """The test sets by name, the one that ranks the systems first."""
        return test_sets(self.corpora)

    def run(self, rung: Rung, size: int, seed: int = 0, validate_every: int = 0) -> RunConfig:
        """The configuration of one run: the rule, the system's own preset, the ladder's limits."""
        seeds = {"training.seed": str(seed), "data.seed": str(seed)}
        flags = {**self._limits(), **seeds, **rung.keys(size, self.longest)}
        if validate_every:
            flags["training.validate_every"] = str(validate_every)
        return run_config(rung.model, preset=self.preset, flags={**flags, **self.state.keys})

    def _limits(self) -> dict[str, str]:
        """Ceilings; no patience, so that each system has the whole of them."""
        state = self.state
        precision: Any = state.precision
        asked = TrainRequest(seconds=state.seconds, precision=precision, machine=self.machine)
        found = {
            **flags_of(asked),
            "training.patience": "none",
            "data.validation_rows": str(VALIDATION_ROWS),
        }
        epochs = [state.epochs] if state.epochs is not None else []
        epochs += [state.examples / len(self.train)] if state.examples is not None else []
        return found | ({"training.max_epochs": repr(min(epochs))} if epochs else {})

    def codec(self, options: DataOptions) -> PairCodec:
        """Learnt once for all systems that see the data alike."""
        key = replace(options, batch_size=None, batch_tokens=None, validation_rows=0)
        if key not in self.codecs:
            self.codecs[key] = codec_of(self.train, options)
        return self.codecs[key]

    def translator(self, rung: Rung, run: RunConfig, *, bare: bool = False) -> Translator:
        """Untrained; ``bare`` without the hashes that tell seen from unseen."""
        train = None if bare else self.train
        return make_translator(rung.model, run, self.codec(run.data), train)

    def parameters(self, rung: Rung, size: int) -> int:
        """Of this system at this size, counted by building it."""
        network = self.translator(rung, self.run(rung, size), bare=True).network
        return sum(p.numel() for p in network.parameters())

    def planned(self, rung: Rung, budget: int) -> Planned:
        """The system at the size that comes nearest to ``budget``; a refusal is noted."""
        about = Planned(
            label=rung.label, model=rung.model, experimental=entry(rung.model).experimental
        )
        refused: list[JumokError] = []

        def count(size: int) -> int | None:
            try:
                return self.parameters(rung, size)
            except UsageError as error:
                refused.append(error)
                return None

        try:
            sized = nearest_size(count, budget, rung.multiple)
            found = replace(about, hidden_size=sized.size, parameters=sized.parameters)
            return self._paced(rung, found)
        except UsageError as error:
            return replace(about, error=(refused[-1] if refused else error).message)
        except Exception as error:  # one system's fault is no other's
            return replace(about, error=f"{type(error).__name__}: {error}")

    def _paced(self, rung: Rung, found: Planned) -> Planned:
        """With the time that a run will take, and validations spread evenly over it."""
        translator = self.translator(rung, self.run(rung, found.hidden_size), bare=True)
        translator.network.to(device_of(self.machine))
        training, measured = translator.run.training, pace(translator, self.train)
        seconds = measured.seconds_of(training)
        clock = [seconds / measured.seconds] if training.time_limit is not None else []
        steps = [measured.steps * e for e in (training.max_epochs,) if e is not None]
        steps += [s for s in (training.max_steps,) if s is not None]
        every = max(1, int(min([*clock, *steps])) // VALIDATIONS)
        return replace(found, seconds=seconds, validate_every=every)


def training_request(state: State, folder: Path, machine: Machine) -> TrainRequest:
    """What ``jumok train`` would be told of the same data."""
    return TrainRequest(
        data=named(state.data, folder),
        dev=named(state.dev, folder),
        test=named(state.test, folder),
        languages=state.languages,
        keys=state.keys,
        reading=reading_of(state),
        machine=machine,
    )


def bench_of(state: State, folder: Path, request: CompareRequest, tell: Tell) -> Bench:
    """Reads the data and finds what the rule says of them.

    Raises:
        ConfigError: an unknown key.
        DataError: the data are not those that the ladder was begun with.
    """
    asked_of_train = training_request(state, folder, request.machine)
    asked = ask(asked_of_train)
    tell(f"reading {' '.join(asked_of_train.data)} ...")
    corpora, train = corpora_of(asked_of_train, asked.form, asked.stream)
    bench = Bench(
        state=state,
        request=asked_of_train,
        machine=request.machine,
        corpora=corpora,
        train=train,
        preset=_preset(asked, asked_of_train, train),
    )
    _same_data(state, fingerprint(corpora, train), folder)
    run = bench.run(Rung(label=DEFAULT_MODEL, model=DEFAULT_MODEL), 16)
    codec = bench.codec(run.data)
    in_memory = not isinstance(train, StreamedCorpus)
    bench.corpora = within_limits(corpora, codec, run.data.on_long, tell, train=in_memory)
    bench.longest = _longest(bench.corpora, codec)
    bench.state = replace(
        state,
        about=corpora.about,
        rows=len(train),
        fingerprint=fingerprint(corpora, train),
        choose_by=run.training.choose_by,
    )
    return bench


def default_budget(bench: Bench) -> int:
    """Parameters of the default model as the rule has it for these data."""
    size = int(bench.preset["model"]["hidden_size"])
    return bench.parameters(Rung(label=DEFAULT_MODEL, model=DEFAULT_MODEL), size)


def _preset(asked: Asked, request: TrainRequest, train: Train) -> Mapping[str, Any]:
    traits, _ = traits_of(train, asked.data)
    choice = choose(traits, bf16=kernels.auto_precision() == "bf16")
    task = request.data[0].removeprefix("@") if is_task(request.data) else ""
    return config.merge(choice.preset, preset_of(task, request.languages))


def _same_data(state: State, now: str, folder: Path) -> None:
    if state.fingerprint and state.fingerprint != now:
        raise DataError(
            "these are not the pairs that this ladder was begun with: rows of one table must be "
            "of the same data. Nothing was changed.",
            where=str(folder),
            hint="name the files as they were, or another --out.",
        )


def _longest(corpora: TaskData, codec: PairCodec) -> int:
    sides: Sequence[Corpus] = (corpora.train, corpora.dev, corpora.test, *corpora.extra.values())
    texts = [text for side in sides for text in sorted(side.sources, key=len)[-LONGEST:]]
    return max(len(codec.source_tokens(text)) for text in texts)
