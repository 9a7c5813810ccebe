"""The Neural Turing Machine once more, in NumPy: one sentence, one head, one slot at a time.

Every sum over slots is a loop, as (2) to (9) are written; nothing is shared with the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.by_hand import Array, Pair, Weights, linear, log_softmax, lstm, sigmoid, softmax


def softplus(x: Array) -> Array:
    return np.log(1 + np.exp(x))


class Machine:
    """Memory M[i] is slot i; ``read`` and ``write`` hold a weighting for each head."""

    def __init__(self, W: Weights, cfg: Any) -> None:
        self.W, self.cfg = W, cfg
        N, H, R = cfg.slots, cfg.hidden_size, cfg.read_heads
        first = [softmax(w) for w in W["first_weights"]]
        self.read, self.write = first[:R], first[R:]
        self.reads = [np.tanh(r) for r in W["first_reads"]]
        learned = cfg.initial_memory == "learned"
        self.M = [W["first_memory"][:, i] if learned else np.full(cfg.slot_size, 1e-6)
                  for i in range(N)]  # fmt: skip
        self.h, self.c = np.zeros(H), np.zeros(H)

    def step(self, x: Array) -> Array:
        """[h_t; r_t]"""
        cfg, R = self.cfg, self.cfg.read_heads
        x = np.concatenate([x, *self.reads])
        if cfg.controller == "feedforward":
            self.h = np.tanh(linear(self.W, "controller", x))
        else:
            self.h, self.c = lstm(self.W.within("controller"), x, self.h, self.c)
        heads = linear(self.W, "addresses", self.h).reshape(R + cfg.write_heads, -1)
        changes = linear(self.W, "changes", self.h).reshape(cfg.write_heads, 2, -1)
        before = self.M
        self.write = [
            self.address(head, before, w) for head, w in zip(heads[R:], self.write, strict=True)
        ]
        self.M = [self.written(i, before[i], changes) for i in range(cfg.slots)]
        seen = self.M if cfg.reads == "after_write" else before
        self.read = [
            self.address(head, seen, w) for head, w in zip(heads[:R], self.read, strict=True)
        ]
        self.reads = [
            np.sum([w[i] * seen[i] for i in range(cfg.slots)], axis=0) for w in self.read
        ]  # (2)
        return np.concatenate([self.h, *self.reads])

    def written(self, i: int, slot: Array, changes: Array) -> Array:
        for w, (erase, _) in zip(self.write, changes, strict=True):
            slot = slot * (1 - w[i] * sigmoid(erase))  # (3)
        for w, (_, add) in zip(self.write, changes, strict=True):
            slot = slot + w[i] * np.tanh(add)  # (4)
        return slot

    def address(self, head: Array, M: list[Array], before: Array) -> Array:
        cfg = self.cfg
        size, n, N = cfg.slot_size, cfg.shift, cfg.slots
        key, b, g = np.tanh(head[:size]), softplus(head[size]), sigmoid(head[size + 1])
        s = dict(zip(range(-n, n + 1), softmax(head[size + 2 : -1]), strict=True))
        sharp = 1 + softplus(head[-1])

        def length(v: Array) -> float:
            return float(np.sqrt(v @ v + 1e-12))

        K = np.array([key @ slot / (length(key) * length(slot)) for slot in M])  # (6)
        content = softmax(b * K)  # (5)
        gated = g * content + (1 - g) * before  # (7)
        turned = np.array(
            [sum(gated[(i - d) % N] * share for d, share in s.items()) for i in range(N)]
        )  # (8)
        powers = turned**sharp
        return powers / powers.sum()  # (9)


def ntm(W: Weights, cfg: Any, source: Array, target_in: Array) -> Pair:
    machine = Machine(W.within("reader.cell"), cfg)
    if cfg.reverse_source:
        source = np.concatenate([source[:-1][::-1], source[-1:]])
    for symbol in source:
        machine.step(W["source_embedding"][symbol])
    log_p = [
        log_softmax(linear(W, "output", machine.step(W["target_embedding"][symbol])))
        for symbol in target_in
    ]
    return Pair(np.array(log_p), None)
