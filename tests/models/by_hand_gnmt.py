"""GNMT once more, in NumPy, one sentence and one step at a time, in each of its wirings."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.by_hand import Array, Pair, Weights, encode, linear, log_softmax, lstm
from models.by_hand_attending import held, weights_of


def gnmt(W: Weights, config: Any, source: Array, target_in: Array) -> Pair:
    bottom = encode(W.within("encoder.bottom"), W["source_embedding"][source])
    above, lasts = bottom.states_SH, [(bottom.h[1], bottom.c[1])]
    for n in range(config.num_layers - 1):  # one layer at a time: the third is the first residual
        layer = {f"forward_layers.0.{k}": v for k, v in _upper(W, n).items()}
        read = encode(Weights(layer), above)
        above = read.states_SH + above if n >= 1 else read.states_SH
        lasts.append((read.h[0], read.c[0]))
    x = above

    def ask(query: Array) -> tuple[Array, Array]:
        p = weights_of(np.array([_score(W, query, x_t) for x_t in x]), config.normalize)
        return held(W, "norm", p @ x), p

    if config.bridge == "zero":
        lasts = [(np.zeros_like(h), np.zeros_like(c)) for h, c in lasts]
    h, c = [one for one, _ in lasts], [one for _, one in lasts]
    a_before, rows, maps = np.zeros(config.hidden_size), [], []
    for token in target_in:
        y = W["target_embedding"][token]
        if config.wiring == "paper":
            a, p = ask(h[0])
        below = {"parallel": [y], "paper": [y, a] if config.wiring == "paper" else []}
        entering = np.concatenate(below.get(config.wiring, [y, a_before]))
        h[0], c[0] = lstm(W.within("decoder.0"), entering, h[0], c[0])
        if config.wiring != "paper":
            a, p = ask(h[0])
        out, read = h[0], (a_before if config.wiring == "tf_gnmt" else a)
        for n in range(1, config.num_layers):
            h[n], c[n] = lstm(W.within(f"decoder.{n}"), np.concatenate([out, read]), h[n], c[n])
            out = h[n] + out if n >= 2 else h[n]
        seen = np.concatenate([out, a]) if config.context_to_output else out
        rows.append(log_softmax(linear(W, "W_s", seen)))
        maps.append(p)
        a_before = a
    return Pair(np.array(rows), np.array(maps))


def _upper(W: Weights, n: int) -> Weights:
    return W.within(f"encoder.upper.forward_layers.{n}")


def _score(W: Weights, query: Array, key: Array) -> float:
    v = W["score.v_a"]
    if "score.g" in W:
        v = W["score.g"] * v / np.sqrt((v**2).sum())
    return float(v @ np.tanh(linear(W, "score.W_a", query) + linear(W, "score.U_a", key)))
