"""The Transformer once more, in NumPy: one sentence, one query, one head at a time.

No batches, no padding, no masks: a query that may not look ahead is not shown what lies ahead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.by_hand import Array, Pair, Weights, linear, log_softmax
from models.by_hand_attending import held, weights_of


@dataclass(frozen=True)
class Drawn(Pair):
    """With every map, by the model's own names; decoder rows end in zeros."""

    maps: dict[str, Array]


def place(position: int, size: int) -> Array:
    """PE(pos, 2i) = sin(pos / 10000^(2i / d)), PE(pos, 2i + 1) = cos(pos / 10000^(2i / d))."""
    found = np.zeros(size)
    for i in range(size):
        angle = position / 10000 ** (2 * (i // 2) / size)
        found[i] = math.sin(angle) if i % 2 == 0 else math.cos(angle)
    return found


def layer_norm(W: Weights, name: str, x: Array) -> Array:
    normal = (x - x.mean()) / np.sqrt(x.var() + 1e-6)
    return W[f"{name}.weight"] * normal + W[f"{name}.bias"]


def multi_head(
    W: Weights, heads: int, x: Array, seen_SD: Array, normalize: str = "softmax"
) -> tuple[Array, list[Array]]:
    """Concat(head_1 .. head_h) W^O, and the weights of each head."""
    size = len(x) // heads
    found, weights = [], []
    for h in range(heads):
        mine = slice(h * size, (h + 1) * size)
        q = W["W_q.weight"][mine] @ x
        scores = [q @ (W["W_k.weight"][mine] @ s) / math.sqrt(size) for s in seen_SD]
        weights.append(weights_of(np.array(scores), normalize))
        values = [W["W_v.weight"][mine] @ s for s in seen_SD]
        found.append(sum(a * v for a, v in zip(weights[-1], values, strict=True)))
    return W["W_o.weight"] @ held(W, "norm", np.concatenate(found)), weights


def feed_forward(W: Weights, x: Array) -> Array:
    return linear(W, "W_2", np.maximum(0, linear(W, "W_1", x)))


def embedded(W: Weights, table: str, ids: Array, size: int) -> list[Array]:
    rows = [W[table][i] for i in ids]
    if "widen.weight" in W:
        rows = [W["widen.weight"] @ row for row in rows]
    return [row * math.sqrt(size) + place(t, size) for t, row in enumerate(rows)]


def transformer(W: Weights, config: Any, source: Array, target_in: Array) -> Drawn:
    D, R, way = config.hidden_size, config.heads, config.normalize
    maps: dict[str, list[Array]] = {}

    def noted(name: str, weights: list[Array], width: int) -> None:
        for m, row in enumerate(weights, 1):
            padded = np.concatenate([row, np.zeros(width - len(row))])
            maps.setdefault(f"{name}/head{m}", []).append(padded)

    own = "source_embedding" if "source_embedding" in W else "target_embedding"
    x = np.array(embedded(W, own, source, D))
    for n in range(config.num_layers):
        L, after = W.within(f"encoder.{n}"), []
        for x_s in x:
            found, weights = multi_head(L.within("attend_self"), R, x_s, x, way)
            noted(f"encoder/layer{n + 1}", weights, len(x))
            y = layer_norm(L, "norm_self", x_s + found)
            after.append(layer_norm(L, "norm_feed", y + feed_forward(L.within("feed_forward"), y)))
        x = np.array(after)
    encoded, T = x, len(target_in)

    x = np.array(embedded(W, "target_embedding", target_in, D))
    for n in range(config.num_layers):
        L, after = W.within(f"decoder.{n}"), []
        for t in range(T):
            found, weights = multi_head(L.within("attend_self"), R, x[t], x[: t + 1], way)
            noted(f"decoder/layer{n + 1}", weights, T)
            y = layer_norm(L, "norm_self", x[t] + found)
            found, weights = multi_head(L.within("attend_source"), R, y, encoded, way)
            noted(f"layer{n + 1}", weights, len(encoded))
            y = layer_norm(L, "norm_source", y + found)
            after.append(layer_norm(L, "norm_feed", y + feed_forward(L.within("feed_forward"), y)))
        x = np.array(after)

    matrix = W["W_s"] if "W_s" in W else W["target_embedding"]
    if "W_s" not in W and "widen.weight" in W:
        matrix = matrix @ W["widen.weight"].T
    drawn = {name: np.array(rows) for name, rows in maps.items()}
    layer = config.alignment_layer or max(1, config.num_layers - 1)
    heads = [config.alignment_head] if config.alignment_head else range(1, R + 1)
    shown = np.mean([drawn[f"layer{layer}/head{m}"] for m in heads], axis=0)
    return Drawn(np.array([log_softmax(matrix @ row) for row in x]), shown, drawn)
