"""`modern` and `hybrid` once more, in NumPy: one sentence, one query, one head at a time.

Rotary positions are multiplication by e^(i m theta) of complex numbers; no cache, no masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from models.by_hand import Array, Weights, linear, log_softmax, lstm, sigmoid, softmax
from models.by_hand_transformer import Drawn


def rms_norm(W: Weights, name: str, x: Array) -> Array:
    return W[f"{name}.gain"] * x / math.sqrt(sum(x * x) / len(x) + 1e-6)


def turn(x: Array, position: int) -> Array:
    """Pairs (x_0, x_1), (x_2, x_3), ... as complex numbers, each turned by its own angle."""
    pairs = x[0::2] + 1j * x[1::2]
    theta = np.array([10000 ** (-2 * i / len(x)) for i in range(len(pairs))])
    pairs = pairs * np.exp(1j * position * theta)
    found = np.zeros_like(x)
    found[0::2], found[1::2] = pairs.real, pairs.imag
    return found


def swiglu(W: Weights, x: Array) -> Array:
    a = W["W_1.weight"] @ x
    return W["W_2.weight"] @ (a * sigmoid(a) * (W["V.weight"] @ x))


def grouped_heads(
    W: Weights, heads: int, x: Array, seen_SD: Array, places: tuple[int, list[int]] | None
) -> tuple[Array, list[Array]]:
    """Concat(head_1 .. head_R) W_o, and the weights of each head; ``places``: where the query
    and each of those seen stand, None = nothing is turned."""
    size = len(x) // heads
    share = heads // (len(W["W_k.weight"]) // size)
    found, weights = [], []

    def made(matrix: str, head: int, row: Array, place: int | None) -> Array:
        y = W[f"{matrix}.weight"][head * size : (head + 1) * size] @ row
        norm = f"norm_{matrix[-1]}"
        y = rms_norm(W, norm, y) if f"{norm}.gain" in W else y
        return y if place is None else turn(y, place)

    for h in range(heads):
        q = made("W_q", h, x, places[0] if places else None)
        keys = [
            made("W_k", h // share, row, places[1][s] if places else None)
            for s, row in enumerate(seen_SD)
        ]
        weights.append(softmax(np.array([q @ k / math.sqrt(size) for k in keys])))
        values = [made("W_v", h // share, row, None) for row in seen_SD]
        found.append(sum(a * v for a, v in zip(weights[-1], values, strict=True)))
    return W["W_o.weight"] @ np.concatenate(found), weights


def embedded(W: Weights, side: str, ids: Array, size: int) -> Array:
    own = f"{side}_embedding"
    rows = [W[own if own in W else "target_embedding"][i] for i in ids]
    if "widen.weight" in W:
        rows = [W["widen.weight"] @ row for row in rows]
    return np.array([row * math.sqrt(size) for row in rows])


def log_p(W: Weights, top: Array) -> Array:
    """Of every symbol; an embedding may be the matrix, widened."""
    matrix = W["W_s"] if "W_s" in W else W["target_embedding"]
    if "W_s" not in W and "widen.weight" in W:
        matrix = matrix @ W["widen.weight"].T
    return log_softmax(matrix @ top)


class Maps:
    """Every head's map, by the model's own names; rows that lack columns end in zeros."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Array]] = {}

    def note(self, name: str, weights: list[Array], width: int) -> None:
        for m, row in enumerate(weights, 1):
            padded = np.concatenate([row, np.zeros(width - len(row))])
            self.rows.setdefault(f"{name}/head{m}", []).append(padded)

    def drawn(self) -> dict[str, Array]:
        return {name: np.array(rows) for name, rows in self.rows.items()}


def prenorm_encoder(W: Weights, heads: int, x: Array, note: Callable[..., None]) -> Array:
    """Layers of self-attention and SwiGLU, and the norm at the top."""
    everywhere = list(range(len(x)))
    for n in range(W.count("layers")):
        L, after = W.within(f"layers.{n}"), []
        normal = np.array([rms_norm(L, "norm_self", row) for row in x])
        for s in everywhere:
            attend = L.within("attend_self")
            found, weights = grouped_heads(attend, heads, normal[s], normal, (s, everywhere))
            note(f"encoder/layer{n + 1}", weights, len(x))
            y = x[s] + found
            after.append(y + swiglu(L.within("feed_forward"), rms_norm(L, "norm_feed", y)))
        x = np.array(after)
    return np.array([rms_norm(W, "norm", row) for row in x])


def modern(W: Weights, config: Any, source: Array, target_in: Array) -> Drawn:
    D, R, T, maps = config.hidden_size, config.heads, len(target_in), Maps()
    symbols = W.within("symbols")
    x = embedded(symbols, "source", source, D)
    encoded = prenorm_encoder(W.within("encoder"), R, x, maps.note)
    x = embedded(symbols, "target", target_in, D)
    for n in range(config.num_layers):
        L, after = W.within(f"decoder.{n}"), []
        normal = np.array([rms_norm(L, "norm_self", row) for row in x])
        for t in range(T):
            attend, so_far = L.within("attend_self"), (t, list(range(t + 1)))
            found, weights = grouped_heads(attend, R, normal[t], normal[: t + 1], so_far)
            maps.note(f"decoder/layer{n + 1}", weights, T)
            y = x[t] + found
            asked = rms_norm(L, "norm_source", y)
            places = (t, list(range(len(encoded)))) if config.rotate_source else None
            found, weights = grouped_heads(L.within("attend_source"), R, asked, encoded, places)
            maps.note(f"layer{n + 1}", weights, len(encoded))
            y = y + found
            after.append(y + swiglu(L.within("feed_forward"), rms_norm(L, "norm_feed", y)))
        x = np.array(after)
    drawn = maps.drawn()
    layer = config.alignment_layer or max(1, config.num_layers - 1)
    heads = [config.alignment_head] if config.alignment_head else range(1, R + 1)
    shown = np.mean([drawn[f"layer{layer}/head{m}"] for m in heads], axis=0)
    rows = [log_p(symbols, rms_norm(W, "norm", row)) for row in x]
    return Drawn(np.array(rows), shown, drawn)


def hybrid(W: Weights, config: Any, source: Array, target_in: Array) -> Drawn:
    D, maps, symbols = config.hidden_size, Maps(), W.within("symbols")
    x = embedded(symbols, "source", source, D)
    encoded = prenorm_encoder(W.within("encoder"), config.heads, x, maps.note)
    x = embedded(symbols, "target", target_in, D)
    write = lstm_decoder if config.cell == "lstm" else ssru_decoder
    tops = write(W.within("decoder"), config, encoded, x, maps)
    drawn, R = maps.drawn(), config.attention_heads
    layers = 1 if config.cell == "lstm" else config.decoder_layers
    heads = [config.alignment_head] if config.alignment_head else range(1, R + 1)
    shown = np.mean([drawn[f"layer{max(1, layers - 1)}/head{m}"] for m in heads], axis=0)
    return Drawn(np.array([log_p(symbols, top) for top in tops]), shown, drawn)


def lstm_decoder(W: Weights, config: Any, encoded: Array, x_TD: Array, maps: Maps) -> list[Array]:
    """The bottom layer asks; those above, on top of each other, read [h; c]; so does h~."""
    h = list(np.split(np.tanh(linear(W, "W_0", encoded.mean(axis=0))), config.decoder_layers))
    cells, tops = [np.zeros_like(one) for one in h], []
    for t, x in enumerate(x_TD):
        h[0], cells[0] = lstm(W.within("layers.0"), x, h[0], cells[0])
        attend = W.within("attend_source")
        places = (t, list(range(len(encoded)))) if config.rotate_source else None
        c, weights = grouped_heads(attend, config.attention_heads, h[0], encoded, places)
        maps.note("layer1", weights, len(encoded))
        top = h[0]
        for n in range(1, config.decoder_layers):
            both = np.concatenate([top, c])
            h[n], cells[n] = lstm(W.within(f"layers.{n}"), both, h[n], cells[n])
            top = top + h[n]
        tops.append(np.tanh(linear(W, "W_c", np.concatenate([c, top]))))
    return tops


def ssru_decoder(W: Weights, config: Any, encoded: Array, x_TD: Array, maps: Maps) -> list[Array]:
    """f = sigmoid(W_f x + b_f), c = f c + (1 - f) W x, o = ReLU(c); attention; SwiGLU."""
    c, tops = [np.zeros(config.hidden_size) for _ in range(config.decoder_layers)], []
    for t, x in enumerate(x_TD):
        places = (t, list(range(len(encoded)))) if config.rotate_source else None
        y = x
        for n in range(config.decoder_layers):
            L = W.within(f"layers.{n}")
            normal = rms_norm(L, "norm_self", y)
            f = sigmoid(linear(L, "W_f", normal))
            c[n] = f * c[n] + (1 - f) * (L["W.weight"] @ normal)
            y = y + np.maximum(0, c[n])
            asked, attend = rms_norm(L, "norm_source", y), L.within("attend_source")
            found, weights = grouped_heads(attend, config.attention_heads, asked, encoded, places)
            maps.note(f"layer{n + 1}", weights, len(encoded))
            y = y + found
            y = y + swiglu(L.within("feed_forward"), rms_norm(L, "norm_feed", y))
        tops.append(rms_norm(W, "norm", y))
    return tops
