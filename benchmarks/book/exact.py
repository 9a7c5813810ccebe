"""The book's experiments to the letter: no end symbols, padding attended, source flipped whole.

    python benchmarks/book/exact.py DATA_FOLDER --epochs 6 --seeds 0 --precision bf16
    python benchmarks/book/exact.py DATA_FOLDER --task addition --epochs 25

As in chapters 7 and 8: sources with their spaces (29 characters of a date, 7 of a sum), whole rows
reversed where the name says so or the task is dates; targets of exactly 10 or 4 after the start
symbol; batches of 128, Adam 1e-3, global norm 5, the book's first weights. Exact match is
free-running: greedy steps, compared with every character. (``experiment.py`` trains the same models
with end symbols, as everything else here does.)
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from data import read, unseen
from jumok.data.corpus import Corpus
from jumok.data.encoded import PairCodec, encode_all
from jumok.interfaces.fitting import codec_of
from jumok.models import MODELS
from jumok.models.contract import Want
from jumok.nn.noise import Noise
from jumok.recipes.options import DataOptions
from jumok.records import BOS, Batch, Source

B = 128


@dataclass(frozen=True)
class Task:
    """Lengths without end symbols, the book's hidden size, and name -> (model, flipped)."""

    S: int
    T: int
    hidden_size: int
    models: dict[str, tuple[str, bool]]


TASKS = {
    "date": Task(
        29,
        10,
        256,
        {"attention": ("attention", True), "peeky": ("peeky", True), "plain": ("plain", True)},
    ),
    "addition": Task(
        7,
        4,
        128,
        {
            "plain": ("plain", False),
            "plain reversed": ("plain", True),
            "peeky reversed": ("peeky", True),
        },
    ),
}


def rows(codec: PairCodec, corpus: Corpus, task: Task) -> Batch:
    """All pairs at once, without end symbols, in the reader's order."""
    data = encode_all(codec, corpus.pairs())
    sources = data.source.ids.reshape(-1, task.S + 1)[:, : task.S].astype(np.int64)
    targets = data.target.ids.reshape(-1, task.T + 1)[:, : task.T].astype(np.int64)
    xs, ts = torch.from_numpy(sources), torch.from_numpy(targets)
    return Batch(
        source=Source(ids_BS=xs, mask_BS=torch.ones_like(xs, dtype=torch.bool)),
        target_in_BT=torch.cat([torch.full((len(ts), 1), BOS), ts[:, :-1]], dim=1),
        target_out_BT=ts,
        target_mask_BT=torch.ones_like(ts, dtype=torch.bool),
        example_B=torch.arange(len(ts)),
    )


def flipped(batch: Batch) -> Batch:
    """Every source reversed with its padding."""
    source = replace(batch.source, ids_BS=batch.source.ids_BS.flip(1))
    return replace(batch, source=source)


@torch.inference_mode()
def exact(model: Any, batch: Batch) -> float:
    """Share of rows whose greedy symbols are all the target's."""
    right = 0
    for rows_N in torch.arange(len(batch.example_B)).split(500):
        part = batch.select(rows_N)
        encoded = model.encode(part.source)
        state, token_B, found = model.start(encoded), part.target_in_BT[:, 0], []
        for _ in range(batch.target_out_BT.shape[1]):
            step = model.step(token_B, state, encoded, want=Want.NOTHING)
            token_B, state = step.logits_BV.argmax(dim=-1), step.state
            found.append(token_B)
        right += int((torch.stack(found, dim=1) == part.target_out_BT).all(dim=1).sum())
    return right / len(batch.example_B)


class BookAdam(torch.optim.Adam):
    """The book's Adam: 1e-7 is added to sqrt(v) before the bias of v is mended, not after."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=1e-3)
        self.updates = 0

    def step(self, closure: Any = None) -> None:
        self.updates += 1
        self.param_groups[0]["eps"] = 1e-7 / (1 - 0.999**self.updates) ** 0.5
        super().step(closure)


def epoch(model: Any, batch: Batch, optimizer: Any, order_N: Any, low: bool) -> float:
    """Seconds of one pass; the last rows that do not fill a batch are left out, as in the book."""
    began = time.perf_counter()
    for rows_N in torch.from_numpy(order_N).split(B):
        if len(rows_N) < B:
            continue
        part = batch.select(rows_N)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            output = model(part, noise=Noise(0, 0, part.example_B))
        optimizer.zero_grad()
        (-output.log_probs_BT.mean()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    return time.perf_counter() - began


def train_one(name: str, seed: int, task: Task, data: list[Batch], codec: PairCodec, args: Any):
    """Trains one model; yields a row per epoch. ``data``: train, test, unseen part of test."""
    model_name, flip = task.models[name]
    train, test, apart = [flipped(x) for x in data] if flip else data
    sizes = {"embedding_size": 16, "hidden_size": task.hidden_size}
    entry = MODELS[model_name]
    options = entry.config(mask=False, reverse_source=False, **sizes, **entry.preset)
    vocabularies = len(codec.source_vocabulary), len(codec.target_vocabulary)
    model = entry.model(options, *vocabularies, seed=seed)
    optimizer = BookAdam(model.parameters())
    draws = np.random.RandomState(seed)
    for number in range(1, args.epochs + 1):
        order_N = draws.permutation(len(train.example_B))
        seconds = epoch(model, train, optimizer, order_N, args.precision == "bf16")
        yield {
            "task": args.task,
            "model": name,
            "seed": seed,
            "precision": args.precision,
            "epoch": number,
            "all": round(exact(model, test), 4),
            "unseen": round(exact(model, apart), 4),
            "seconds": round(seconds, 1),
            "threads": torch.get_num_threads(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--task", choices=sorted(TASKS), default="date")
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--out", default="exact.jsonl")
    args = parser.parse_args()
    task = TASKS[args.task]
    train, test = read(Path(args.folder) / f"{args.task}.txt")
    codec = codec_of(train, DataOptions(shared=True))  # one vocabulary, as the book has
    data = [rows(codec, corpus, task) for corpus in (train, test, unseen(train, test))]
    for name in args.models or task.models:
        for seed in args.seeds:
            for row in train_one(name, seed, task, data, codec, args):
                print(json.dumps(row), flush=True)
                with Path(args.out).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
