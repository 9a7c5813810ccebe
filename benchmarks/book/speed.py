"""A training step of the book's attention model: NumPy, plain PyTorch, jumok; interleaved.

    python benchmarks/book/speed.py --rounds 12 --threads 2

The book's sizes: 59 source characters, sources of 29, targets of 11 with the end, embeddings of
16, 256 hidden units, batches of 128, Adam, global norm 5. Every round times each implementation
once (three updates), so that a drift of the machine falls on all; medians and ratios are printed.
All three see the same ids. "torch" is what one writes: nn.Embedding, nn.LSTM, two batched
products, nn.Linear, cross_entropy, nn.utils.clip_grad_norm_, optim.Adam.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy_model import AttentionSeq2seq as NumPyModel
from torch import nn

from jumok import kernels
from jumok.models import MODELS
from jumok.nn.noise import Noise
from jumok.records import Batch, Source

B, S, T, E, H, V, W = 128, 29, 11, 16, 256, 63, 16


class TorchModel(nn.Module):
    """The book's wiring in ordinary PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.E_x, self.E_y = nn.Embedding(V, E), nn.Embedding(W, E)
        self.encoder = nn.LSTM(E, H, batch_first=True)
        self.decoder = nn.LSTM(E, H, batch_first=True)
        self.affine = nn.Linear(2 * H, W)

    def forward(self, xs: torch.Tensor, ts: torch.Tensor) -> torch.Tensor:
        hs, (h, c) = self.encoder(self.E_x(xs))
        ds, _ = self.decoder(self.E_y(ts), (h, torch.zeros_like(c)))
        a = torch.softmax(torch.bmm(ds, hs.transpose(1, 2)), dim=-1)
        return self.affine(torch.cat([torch.bmm(a, hs), ds], dim=-1))


def torch_step(low: bool) -> Callable[[Any], float]:
    model = TorchModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(ids: tuple[np.ndarray, ...]) -> float:
        xs, ts_in, ts_out = (torch.from_numpy(a) for a in ids)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            logits = model(xs, ts_in)
        loss = F.cross_entropy(logits.float().flatten(0, 1), ts_out.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return float(loss.detach())

    return step


def jumok_step(low: bool) -> Callable[[Any], float]:
    """What the trainer does in an update, with the model of ``--model attention``."""
    entry = MODELS["attention"]
    model = entry.model(entry.config(embedding_size=E, hidden_size=H), V, W)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)

    def step(ids: tuple[np.ndarray, ...]) -> float:
        xs, ts_in, ts_out = (torch.from_numpy(a) for a in ids)
        batch = Batch(
            source=Source(ids_BS=xs, mask_BS=torch.ones_like(xs, dtype=torch.bool)),
            target_in_BT=ts_in,
            target_out_BT=ts_out,
            target_mask_BT=torch.ones_like(ts_out, dtype=torch.bool),
            example_B=torch.arange(B),
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            output = model(batch, noise=Noise(0, 1, batch.example_B))
        loss = -output.log_probs_BT.mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return float(loss.detach())

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default="speed.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = np.random.RandomState(0)
    xs = rng.randint(4, V, (B, S)).astype(np.int64)
    ts = rng.randint(4, W, (B, T + 1)).astype(np.int64)
    ids = (xs, np.ascontiguousarray(ts[:, :-1]), np.ascontiguousarray(ts[:, 1:]))
    book = NumPyModel(V, W, E, H)
    steps = {
        "NumPy, like the book": lambda arrays: book.step(*arrays),
        "torch float32": torch_step(False),
        "torch bfloat16 autocast": torch_step(True),
        "jumok float32": jumok_step(False),
        "jumok bf16": jumok_step(True),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(args.rounds + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            for _ in range(3):
                step(ids)
            if turn:  # the first round warms up
                times[name].append((time.perf_counter() - began) / 3)
    report(times, args)


def report(times: dict[str, list[float]], args: argparse.Namespace) -> None:
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{'':26} {'ms/step':>8} {'min':>7} {'max':>7}   x NumPy  x torch float32")
    for name, values in times.items():
        ratios = [
            statistics.median(a / b for a, b in zip(times[other], values, strict=True))
            for other in ("NumPy, like the book", "torch float32")
        ]
        print(
            f"{name:26} {1e3 * medians[name]:8.1f} {1e3 * min(values):7.1f} "
            f"{1e3 * max(values):7.1f} {ratios[0]:8.2f} {ratios[1]:10.2f}"
        )
    record = {
        "ms": {name: round(1e3 * value, 2) for name, value in medians.items()},
        "threads": args.threads,
        "rounds": args.rounds,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "processor": platform.processor() or platform.machine(),
        "kernels": kernels.serves("lstm") or "native",
    }
    Path(args.out).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
