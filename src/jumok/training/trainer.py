"""The training loop: one function, top to bottom.

Each turn does one thing: score the model, save the run, or make an update. Validation is a
function that scores the model free-running; listeners are functions that are told what happens.
A run that is stopped goes on with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

from jumok.errors import Interrupted, TrainingError
from jumok.store import DISK, Disk
from jumok.training.averages import worn
from jumok.training.checkpoints import Keeper, NoKeeper, open_keeper
from jumok.training.data import TrainingData, updates
from jumok.training.events import Checkpoint, Done, Event, Listener, SaveFailed, Skipped, Validation
from jumok.training.options import Optim, Training
from jumok.training.run import Run
from jumok.training.signals import Signals, Stop
from jumok.training.update import update

__all__ = ["MOST_SKIPPED", "Validate", "fit"]

Validate = Callable[[nn.Module], Mapping[str, float]]
"""Scores the model on the development set, free-running, and leaves it as it is."""

MOST_SKIPPED = 5
"""So many updates in a row that are not finite end a run."""

NO_FILES: Mapping[str, bytes] = MappingProxyType({})


def fit(
    model: nn.Module,
    data: TrainingData,
    validate: Validate | None = None,
    *,
    optim: Optim = Optim(),  # noqa: B008 - frozen
    options: Training = Training(),  # noqa: B008 - frozen
    folder: Path | None = None,
    carried: Mapping[str, bytes] = NO_FILES,
    resume: bool = False,
    new_data: bool = False,
    overwrite: bool = False,
    listeners: Sequence[Listener] = (),
    disk: Disk = DISK,
) -> Done:
    """Trains ``model`` in place; at the end it has the chosen weights. Returns the last event.

    ``folder`` gets ``metrics.jsonl`` and ``checkpoints/``; ``carried`` are further files of each
    checkpoint (configuration, vocabularies). ``resume`` goes on from the newest good checkpoint,
    or begins where there is none yet; ``new_data`` allows other data than before. ``overwrite``
    begins anew where a run was saved already. Raises TrainingError, SaveError, Interrupted (after
    saving), and what ``Keeper.begin`` and ``Keeper.restore`` raise.
    """
    with ExitStack() as stack:
        stack.enter_context(_threads(options.threads))
        signals = stack.enter_context(Signals())
        run = Run(model, data, optim, options, scored=validate is not None)
        keeper = open_keeper(folder, run, carried=carried, disk=disk)
        stack.enter_context(keeper)
        emit = _teller(keeper.log, *listeners)
        if resume:
            emit(keeper.restore(new_data=new_data))
        else:
            keeper.begin(overwrite=overwrite)
        stream = updates(data, run.at.cursor, options.update_tokens)

        while not run.finished():
            if signals.caught:
                failed = keeper.save()
                emit(failed)
                raise _interrupted(run, keeper, signals.caught, failed)
            if validate is not None and run.validation_due():
                with suppress(Stop):  # a signal came: the run scores again when it goes on
                    emit(_score(run, validate, signals))
                    if not run.finished():
                        emit(Checkpoint(step=run.at.step))
                        emit(keeper.save())
            elif keeper.due():
                emit(keeper.save())
            else:
                after, batches = next(stream)
                report = update(run, batches, after)
                emit(report)
                if isinstance(report, Skipped) and run.at.skipped >= MOST_SKIPPED:
                    raise _hopeless(run, keeper, report)

        done = run.done()
        if not run.at.done:
            run.at.done = True
            emit(Checkpoint(step=run.at.step))
            emit(done)
            emit(keeper.save())
        run.wear_chosen()
        return done


def _teller(*listeners: Listener) -> Callable[[Event | None], None]:
    def emit(event: Event | None) -> None:
        if event is not None:
            for listen in listeners:
                listen(event)

    return emit


def _score(run: Run, validate: Validate, signals: Signals) -> Validation:
    """Scores what would be chosen (the average of the weights, where one is kept)."""
    candidate = run.averages.candidate()
    with torch.no_grad(), worn(run.model, candidate), signals.breakable():
        scores = validate(run.model)
    return run.judge(scores, candidate)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _interrupted(
    run: Run, keeper: Keeper | NoKeeper, signal: str, failed: SaveFailed | None
) -> Interrupted:
    at = f"stopped by {signal} after step {run.at.step:,} (epoch {run.epoch:.2f})"
    if keeper.folder is None:
        return Interrupted(f"{at}; nothing was saved, since no folder was given.")
    saved = f"saved in {keeper.last}." if failed is None else failed.message
    return Interrupted(f"{at}; {saved}", hint=f"go on with: jumok train --resume {keeper.folder}")


def _hopeless(run: Run, keeper: Keeper | NoKeeper, last: Skipped) -> TrainingError:
    shown = ", ".join(run.data.where(row) for row in last.rows[:8])
    return TrainingError(
        f"{MOST_SKIPPED} updates in a row, the last at step {last.step:,}, were left out because "
        f"the {last.reason} was not finite. The last one held {shown}"
        + (f" and {len(last.rows) - 8} more" if len(last.rows) > 8 else "")
        + f". The last good checkpoint is {keeper.last or 'none'}.",
        hint="look at those lines; a lower `optim.lr` or `optim.clip_norm` often helps.",
    )
