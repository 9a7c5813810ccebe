"""The pilot: the longest batch tried before the first step, and how long the run will take."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import torch

from jumok.data.encoded import encode_all
from jumok.data.options import counted
from jumok.errors import TrainingError
from jumok.interfaces.fitting import training_data
from jumok.interfaces.streaming import Train, sample_of
from jumok.interfaces.translator import Translator
from jumok.models.contract import Want
from jumok.nn.noise import Noise
from jumok.training.data import TrainingData, to_torch
from jumok.training.losses import apart
from jumok.training.options import Training

__all__ = ["Pace", "pace", "pilot", "span"]

ROWS = 20_000


class Pace(NamedTuple):
    """How fast a run will go."""

    steps: int
    """Updates in an epoch."""
    seconds: float
    """Of one update, forward and backward."""

    def seconds_of(self, options: Training) -> float:
        """Of a run with these limits, its validations left out."""
        limits = [self.steps * self.seconds * e for e in (options.max_epochs,) if e is not None]
        limits += [self.seconds * s for s in (options.max_steps,) if s is not None]
        limits += [t for t in (options.time_limit,) if t is not None]
        return min(limits)


def pilot(translator: Translator, train: Train) -> str:
    """One sentence: steps per epoch and an estimate of the time; the weights stay as they are.

    Raises TrainingError where memory does not suffice.
    """
    run, found = translator.run, pace(translator, train)
    epoch, whole = found.steps * found.seconds, found.seconds_of(translator.run.training)
    said = (
        f"{found.steps:,} steps an epoch, about {span(epoch)} each; at most about "
        f"{span(whole)} in all, and the scoring of dev; {run.training.precision}, "
        f"{counted(torch.get_num_threads(), 'thread')}."
    )
    return said + _if_short(whole / epoch)


def pace(translator: Translator, train: Train) -> Pace:
    """Steps in an epoch and seconds of a step; the weights stay as they are.

    The longest batch goes through first, so that a lack of memory shows now and not in an hour;
    a middling one is timed. Raises TrainingError where memory does not suffice.
    """
    sample = sample_of(train)[:ROWS]
    encoded = encode_all(translator.codec, sample.pairs(), on_long="drop")
    data = training_data(encoded, translator.run.data)
    batches = data.plan.batches_of(0, 0)
    by_size = sorted(batches, key=lambda rows: _positions(data, rows))
    try:
        _pass(translator, data, by_size[-1])
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        raise TrainingError(
            f"the longest batch ({len(by_size[-1])} pairs) does not fit in memory.",
            hint="a smaller --data.batch_size, or a limit --data.max_source.",
        ) from None
    seconds = min(_pass(translator, data, by_size[len(by_size) // 2]) for _ in range(2))
    return Pace(round(len(batches) * len(train) / max(1, len(sample))), seconds)


def _if_short(epochs: float) -> str:
    """What may help where the data are not seen even once."""
    if epochs >= 1:
        return ""
    return (
        f" That is {epochs:.1%} of an epoch: a smaller --model.hidden_size, --data.source_size or "
        "--data.target_size makes steps quicker."
    )


def _positions(data: TrainingData, rows: np.ndarray) -> int:
    longest = data.plan.source_lengths[rows].max() + data.plan.target_lengths[rows].max()
    return int(len(rows) * longest)


def _pass(translator: Translator, data: TrainingData, rows: np.ndarray) -> float:
    """Seconds of one forward and backward pass; the gradients are thrown away."""
    network, run = translator.network, translator.run
    device = next(network.parameters()).device
    batch = to_torch(data.collate(rows), device)
    began = time.perf_counter()
    low = run.training.precision == "bf16"
    noise, twice = Noise(run.training.seed, 0, batch.example_B.cpu()), run.training.r_drop > 0
    want = Want.LOGITS if twice else Want.NOTHING
    with torch.autocast(device.type, torch.bfloat16, enabled=low):
        outputs = [network(batch, noise=noise.again(k), want=want) for k in range(1 + twice)]
    mask_BT = batch.target_mask_BT
    total = torch.stack([(output.log_probs_BT * mask_BT).sum() for output in outputs]).sum()
    if twice:
        total = total + apart(outputs[0].logits_BTV, outputs[1].logits_BTV, mask_BT)
    total.backward()  # type: ignore[no-untyped-call]
    network.zero_grad(set_to_none=True)
    return time.perf_counter() - began


def span(seconds: float) -> str:
    """12 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
