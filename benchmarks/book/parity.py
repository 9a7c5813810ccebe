"""The book's training in NumPy beside jumok's: the same weights, batches and optimiser.

    python benchmarks/book/parity.py DATA_FOLDER --updates 121   # both losses, update by update
    python benchmarks/book/parity.py DATA_FOLDER --epochs 5      # NumPy alone, its own weights

The dates, without end symbols, as in ``exact.py``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from exact import TASKS, B, BookAdam, flipped, rows
from numpy_model import AttentionSeq2seq, softmax
from torch import Tensor, nn

from data import read
from jumok.interfaces.fitting import codec_of
from jumok.models import MODELS
from jumok.recipes.options import DataOptions
from jumok.records import BOS, Batch

TASK = TASKS["date"]


def twin_of(model: Any, size: int) -> AttentionSeq2seq:
    """A NumPy model with the weights of ``model``."""
    twin = AttentionSeq2seq(size, size, 16, TASK.hidden_size)
    twin.E_x[...], twin.E_y[...] = _array(model.source_embedding), _array(model.target_embedding)
    for ours, theirs in (
        (model.encoder.forward_layers[0], twin.encoder),
        (model.decoder[0], twin.decoder),
    ):
        theirs.Wx[...], theirs.Wh[...] = _book_gates(ours.W_x).T, _book_gates(ours.W_h).T
    twin.W[...] = _array(model.affine.weight).T
    return twin


def _array(weight: Tensor) -> np.ndarray:
    found: np.ndarray = weight.detach().numpy()
    return found


def _book_gates(weight: Tensor) -> np.ndarray:
    """i, f, g, o -> f, g, i, o."""
    i, f, g, o = np.split(_array(weight), 4)
    return np.concatenate([f, g, i, o])


def arrays(batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        batch.source.ids_BS.numpy(),
        batch.target_in_BT.numpy(),
        batch.target_out_BT.numpy(),
    )


def jumok_model(size: int, seed: int) -> Any:
    entry = MODELS["attention"]
    sizes = {"embedding_size": 16, "hidden_size": TASK.hidden_size}
    options = entry.config(mask=False, reverse_source=False, **sizes)
    return entry.model(options, size, size, seed=seed)


def side_by_side(train: Batch, size: int, updates: int, seed: int) -> None:
    model = jumok_model(size, seed)
    twin, optimizer = twin_of(model, size), BookAdam(model.parameters())
    order_N = torch.from_numpy(np.random.RandomState(seed).permutation(len(train.example_B)))
    worst = 0.0
    for number, rows_N in enumerate(order_N.split(B)[:updates]):
        part = train.select(rows_N)
        theirs = twin.step(*arrays(part))
        loss = -model(part).log_probs_BT.mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        worst = max(worst, abs(theirs - float(loss.detach())))
        if number % 20 == 0:
            print(f"update {number + 1}: NumPy {theirs:.6f}, jumok {float(loss.detach()):.6f}")
    print(f"largest difference in {updates} updates: {worst:.1e}")


def alone(model: AttentionSeq2seq, train: Batch, test: Batch, epochs: int, seed: int) -> None:
    draws = np.random.RandomState(seed)
    xs, ins, outs = arrays(train)
    for number in range(1, epochs + 1):
        order_N = draws.permutation(len(xs))
        for k in range(len(xs) // B):
            rows_N = order_N[k * B : (k + 1) * B]
            model.step(xs[rows_N], ins[rows_N], outs[rows_N])
        row = {"numpy": True, "seed": seed, "epoch": number, "all": round(exact(model, test), 4)}
        print(json.dumps(row), flush=True)


def exact(model: AttentionSeq2seq, batch: Batch) -> float:
    """Share of rows whose greedy symbols are all the target's."""
    xs, _, outs = arrays(batch)
    found = np.concatenate([greedy(model, part) for part in np.array_split(xs, 10)])
    return float((found == outs).all(axis=1).mean())


def greedy(model: AttentionSeq2seq, xs: np.ndarray) -> np.ndarray:
    """Ten symbols; the decoder runs anew over what is written: its cells start at zero."""
    hs = model.encoder.forward(model.E_x[xs], np.zeros((len(xs), TASK.hidden_size), np.float32))
    written = np.full((len(xs), 1), BOS)
    for _ in range(TASK.T):
        d = model.decoder.forward(model.E_y[written], hs[:, -1])[:, -1]
        a = softmax((hs * d[:, None]).sum(axis=2))
        context = (hs * a[:, :, None]).sum(axis=1)
        best = (np.concatenate([context, d], axis=1) @ model.W + model.b).argmax(axis=1)
        written = np.concatenate([written, best[:, None]], axis=1)
    return written[:, 1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--updates", type=int, default=121)
    parser.add_argument("--epochs", type=int, help="train NumPy alone")
    parser.add_argument("--jumok", action="store_true", help="from jumok's first weights")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train, test = read(Path(args.folder) / "date.txt")
    codec = codec_of(train, DataOptions(shared=True))
    size = len(codec.target_vocabulary)
    learnt, held = (flipped(rows(codec, corpus, TASK)) for corpus in (train, test))
    if args.epochs:
        own = AttentionSeq2seq(size, size, 16, TASK.hidden_size, args.seed)
        model = twin_of(jumok_model(size, args.seed), size) if args.jumok else own
        alone(model, learnt, held, args.epochs, args.seed)
    else:
        side_by_side(learnt, size, args.updates, args.seed)


if __name__ == "__main__":
    main()
