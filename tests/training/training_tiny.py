"""A tiny model that obeys the contract, and data for it: what the trainer's tests train."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jumok.data.order import Plan
from jumok.models.contract import Output, Want
from jumok.nn.noise import Noise, dropped
from jumok.records import BOS, EOS, Batch, Source
from jumok.training.data import TrainingData

SYMBOLS = 13
"""Ids 4 .. 12 are symbols; the target is the source, each id the next one round."""


class Tiny(nn.Module):
    """Copies position by position: embedding, attention over the source, one layer."""

    paper = "forward"
    maps = ()

    def __init__(self, size: int = 11, *, dropout: float = 0.1, seed: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * 0.3)

        self.source, self.target = weight(SYMBOLS, size), weight(SYMBOLS, size)
        self.place = weight(17, size)
        self.hidden, self.bias = weight(2 * size, size), nn.Parameter(torch.zeros(size))
        self.out = weight(size, SYMBOLS)
        self.dropout = dropout

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        S, T = batch.source.ids_BS.shape[1], batch.target_in_BT.shape[1]
        keys = self.source[batch.source.ids_BS] + self.place[:S]
        query = self.target[batch.target_in_BT] + 2 * self.place[:T]
        scores = torch.einsum("btd,bsd->bts", query, keys)
        scores = scores.masked_fill(~batch.source.mask_BS[:, None], -torch.inf)
        weights = scores.float().softmax(dim=-1)
        both = torch.cat([weights @ keys.float(), query], dim=-1)
        hidden = torch.tanh(dropped(both, self.dropout, "both", noise) @ self.hidden + self.bias)
        log_p = (hidden @ self.out).float().log_softmax(dim=-1)
        chosen = log_p.gather(-1, batch.target_out_BT[..., None]).squeeze(-1)
        shown = weights if want & Want.WEIGHTS else None
        logits = log_p if want & Want.LOGITS else None
        return Output(chosen, log_p.mean(-1), logits_BTV=logits, weights_BTS=shown)


def pairs(count: int, seed: int = 0) -> list[np.ndarray]:
    """Random rows of 2 to 7 symbols."""
    random = np.random.default_rng(seed)
    return [random.integers(4, SYMBOLS, random.integers(2, 8)) for _ in range(count)]


def collate(rows: list[np.ndarray], numbers: np.ndarray, *, links: bool = False) -> Batch:
    """Rows to a padded NumPy batch; the target is the source, each symbol one further."""
    chosen = [rows[i] for i in numbers]
    S = max(map(len, chosen)) + 1
    source, first, second = (np.zeros((len(chosen), S), np.int64) for _ in range(3))
    mask = np.zeros((len(chosen), S), bool)
    for b, row in enumerate(chosen):
        answer = (row - 3) % 9 + 4
        source[b, : len(row) + 1] = [*row, EOS]
        first[b, : len(row) + 1] = [BOS, *answer]
        second[b, : len(row) + 1] = [*answer, EOS]
        mask[b, : len(row) + 1] = True
    gold = np.eye(S, dtype=bool)[None] & mask[:, :, None] if links else None
    return Batch(
        source=Source(ids_BS=source, mask_BS=mask),
        target_in_BT=first,
        target_out_BT=second,
        target_mask_BT=mask.copy(),
        example_B=np.asarray(numbers, np.int64),
        links_BTS=gold,
    )


def data(
    count: int = 29,
    *,
    batch_size: int = 5,
    seed: int = 0,
    links: bool = False,
    rows: list[np.ndarray] | None = None,
) -> TrainingData:
    """``count`` rows in batches of 5, so that epochs end in the middle of nothing round."""
    rows = pairs(count) if rows is None else rows
    lengths = np.array([len(row) + 1 for row in rows])
    plan = Plan(source_lengths=lengths, target_lengths=lengths, seed=seed, batch_size=batch_size)
    return TrainingData(
        plan=plan,
        collate=lambda numbers: collate(rows, numbers, links=links),
        digest=hashlib.sha256(b"".join(row.tobytes() for row in rows)).hexdigest(),
        where=lambda row: f"pairs.tsv:{row + 1}",
    )


def validate(model: nn.Module) -> Mapping[str, float]:
    """Free-running would be the same here: the share of right symbols on unseen rows."""
    rows = pairs(23, seed=99)
    batch = collate(rows, np.arange(len(rows))).map(torch.from_numpy)
    output: Output = model(batch)
    likely = output.log_probs_BT.exp()[batch.target_mask_BT].double()
    return {"exact_match": float((likely > 0.5).double().mean()), "likely": float(likely.mean())}


def flat(weights: Mapping[str, Tensor] | nn.Module) -> bytes:
    """The bits of all weights, for comparing."""
    state: Mapping[str, Any] = weights.state_dict() if isinstance(weights, nn.Module) else weights
    return b"".join(state[name].detach().numpy().tobytes() for name in sorted(state))
