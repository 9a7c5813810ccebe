"""The book's date experiment to the letter: no end symbols, padding attended, source flipped whole.

    python benchmarks/book/exact.py DATA_FOLDER --epochs 6 --seeds 0 --precision bf16

As in chapter 8: sources of 29 with their spaces, all reversed; targets of exactly 10 after the
start symbol; batches of 128, Adam 1e-3, global norm 5, the book's first weights. Exact match is
free-running: ten greedy steps, compared with the ten characters. (``experiment.py`` trains the same
models with end symbols, as everything else here does.)
"""

from __future__ import annotations

import argparse
import json
import time
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

SIZES = {"embedding_size": 16, "hidden_size": 256, "mask": False, "reverse_source": False}
S, T, B = 29, 10, 128


def rows(codec: PairCodec, corpus: Corpus) -> Batch:
    """All pairs at once, flipped and without end symbols."""
    data = encode_all(codec, corpus.pairs())
    xs = torch.from_numpy(data.source.ids.reshape(-1, S + 1)[:, :S].astype(np.int64)).flip(1)
    ts = torch.from_numpy(data.target.ids.reshape(-1, T + 1)[:, :T].astype(np.int64))
    return Batch(
        source=Source(ids_BS=xs, mask_BS=torch.ones_like(xs, dtype=torch.bool)),
        target_in_BT=torch.cat([torch.full((len(ts), 1), BOS), ts[:, :-1]], dim=1),
        target_out_BT=ts,
        target_mask_BT=torch.ones_like(ts, dtype=torch.bool),
        example_B=torch.arange(len(ts)),
    )


@torch.inference_mode()
def exact(model: Any, batch: Batch) -> float:
    """Share of rows whose ten greedy symbols are the target's."""
    right = 0
    for rows_N in torch.arange(len(batch.example_B)).split(500):
        part = batch.select(rows_N)
        encoded = model.encode(part.source)
        state, token_B, found = model.start(encoded), part.target_in_BT[:, 0], []
        for _ in range(T):
            step = model.step(token_B, state, encoded, want=Want.NOTHING)
            token_B, state = step.logits_BV.argmax(dim=-1), step.state
            found.append(token_B)
        right += int((torch.stack(found, dim=1) == part.target_out_BT).all(dim=1).sum())
    return right / len(batch.example_B)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--models", nargs="*", default=["attention", "peeky", "plain"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--out", default="exact.jsonl")
    args = parser.parse_args()
    train, test = read(Path(args.folder) / "date.txt")
    codec = codec_of(train, DataOptions())
    sizes = len(codec.source_vocabulary), len(codec.target_vocabulary)
    learnt, all_rows = rows(codec, train), rows(codec, test)
    apart = rows(codec, unseen(train, test))
    for name in args.models:
        for seed in args.seeds:
            entry = MODELS[name]
            model = entry.model(entry.config(**SIZES, **entry.preset), *sizes, seed=seed)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            draws = np.random.RandomState(seed)
            for number in range(1, args.epochs + 1):
                order_N = draws.permutation(len(train))
                seconds = epoch(model, learnt, optimizer, order_N, args.precision == "bf16")
                row = {
                    "model": name,
                    "seed": seed,
                    "precision": args.precision,
                    "epoch": number,
                    "all": exact(model, all_rows),
                    "unseen": exact(model, apart),
                    "seconds": round(seconds, 1),
                    "threads": torch.get_num_threads(),
                }
                print(json.dumps(row), flush=True)
                with Path(args.out).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
