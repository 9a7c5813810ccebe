"""QRNN and its kin, and ConvS2S, once more in NumPy: one sentence, one position at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models.by_hand import Array, Pair, Weights, linear, log_softmax, sigmoid, softmax


def g(y: Array) -> Array:
    return np.where(y >= 0, y + 0.5, sigmoid(y))


def cell(W: Weights, kind: str, x: Array, c: Array, more: Array | float = 0.0) -> tuple:
    """(c_t, what shows a cell) from the input, or the last k of them in a row, and c_{t-1}."""
    z, H = W["W"] @ x, len(c)
    if "b" in W:
        z[: len(W["b"])] += W["b"]
    part = list((z + more).reshape(-1, H))
    match kind:
        case "qrnn":
            f, o, u = sigmoid(part[0]), sigmoid(part[1]), np.tanh(part[2])
            return f * c + (1 - f) * u, lambda c_now: o * c_now
        case "sru":
            f = sigmoid(part[0] + W["pool.v"] * c)
            r = sigmoid(part[1] + W["cell.v_r"] * c)
            shown = (part[3] if len(part) == 4 else x) * math.sqrt(1 + 2 * math.exp(0))
            return f * c + (1 - f) * part[2], lambda c_now: r * c_now + (1 - r) * shown
        case "ssru":
            f = sigmoid(part[0])
            return f * c + (1 - f) * part[1], lambda c_now: np.maximum(c_now, 0)
        case "mingru":
            z_gate = sigmoid(part[0])
            return (1 - z_gate) * c + z_gate * g(part[1]), lambda c_now: c_now
        case _:
            f, i = sigmoid(part[0]), sigmoid(part[1])
            return f / (f + i) * c + i / (f + i) * g(part[2]), lambda c_now: c_now


def last_inputs(x_SE: Array, t: int, width: int) -> Array:
    """The inputs t - width + 1 .. t, zeros before the first."""
    nothing = np.zeros_like(x_SE[0])
    return np.concatenate([x_SE[n] if n >= 0 else nothing for n in range(t - width + 1, t + 1)])


def norm(W: Weights, name: str, x: Array) -> Array:
    if f"{name}.weight" not in W:
        return x
    normal = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return W[f"{name}.weight"] * normal + W[f"{name}.bias"]


def scores(W: Weights, config: Any, query: Array, states_SH: Array) -> Array:
    match config.score:
        case "dot":
            return states_SH @ query
        case "scaled":
            return states_SH @ query / math.sqrt(len(query))
        case "general":
            return np.array([query @ W["score.W_a.weight"] @ h for h in states_SH])
    W_a, U_a, v_a = W["score.W_a.weight"], W["score.U_a.weight"], W["score.v_a"]
    return np.array([v_a @ np.tanh(W_a @ query + U_a @ h) for h in states_SH])


def parallel(W: Weights, config: Any, source: Array, target_in: Array) -> Pair:
    H, L, kind = config.hidden_size, config.num_layers, config.cell
    joined = lambda h, x: h + x if config.skip and len(h) == len(x) else h  # noqa: E731

    x, ends = W["source_embedding"][source], []
    for depth in range(L):
        width = (config.first_window or config.window) if depth == 0 else config.window
        sides, last = [], []
        for name, turn in (("encoder", 1), ("encoder_back", -1)):
            if name == "encoder_back" and not config.bidirectional:
                continue
            part, states = W.within(f"{name}.{depth}"), []
            c = np.zeros(H // 2 if config.bidirectional else H)
            for t in range(len(x)):
                c, show = cell(part, kind, last_inputs(x[::turn], t, width), c)
                states.append(show(c))
            sides.append(np.array(states)[::turn])
            last.append(states[-1])
        ends.append(np.concatenate(last))
        merged = np.concatenate(sides, axis=1)
        x = np.array(
            [
                norm(W, f"encoder_norms.{depth}", joined(h, x_s))
                for h, x_s in zip(merged, x, strict=True)
            ]
        )
    states = x

    value = {"qrnn": np.tanh, "mingru": g, "minlstm": g}.get(kind, lambda y: y)
    cells, more = [np.zeros(H)] * L, [0.0] * L
    if config.bridge == "gates":
        more = [W[f"V.{n}.weight"] @ h for n, h in enumerate(ends)]
    elif config.bridge == "linear":
        cells = [value(linear(W, f"W_0.{n}", h)) for n, h in enumerate(ends)]
    read: list[list[Array]] = [[] for _ in range(L)]
    log_p, weights = [], []
    for token in target_in:
        x = W["target_embedding"][token]
        for depth in range(L):
            read[depth].append(x)
            seen = last_inputs(np.array(read[depth]), len(read[depth]) - 1, config.window)
            layer = W.within(f"decoder.{depth}")
            cells[depth], show = cell(layer, kind, seen, cells[depth], more[depth])
            c = cells[depth]
            if depth == L - 1 and config.output == "gated":
                weights.append(softmax(scores(W, config, c, states)))
                c = linear(W, "W_a", np.concatenate([weights[-1] @ states, c]))
            h = norm(W, f"decoder_norms.{depth}", joined(show(c), x))
            if depth == L - 1 and config.output == "attentional":
                weights.append(softmax(scores(W, config, h, states)))
                h = np.tanh(linear(W, "W_a", np.concatenate([weights[-1] @ states, h])))
            x = h
        log_p.append(log_softmax(linear(W, "W_s", x)))
    return Pair(np.array(log_p), np.array(weights))


# --- ConvS2S ------------------------------------------------------------------------------


def normed(W: Weights, name: str, x: Array) -> Array:
    """g v / |v| x + b"""
    v = W[f"{name}.v"]
    return W[f"{name}.g"] * (v @ x) / np.sqrt((v**2).sum(axis=1)) + W[f"{name}.b"]


def glu(x: Array) -> Array:
    a, b = np.split(x, 2)
    return a * sigmoid(b)


def convs2s(W: Weights, config: Any, source: Array, target_in: Array) -> Pair:
    k, half, L = config.window, math.sqrt(0.5), config.num_layers
    e = W["source_embedding"][source] + W["source_positions.table"][: len(source)]
    x = np.array([normed(W, "encoder_in", row) for row in e])
    for n in range(L):
        around = np.concatenate([np.zeros((k // 2, x.shape[1])), x, np.zeros((k // 2, x.shape[1]))])
        convolved = [
            glu(normed(W, f"encoder.{n}", around[s : s + k].reshape(-1))) for s in range(len(x))
        ]
        x = (np.array(convolved) + x) * half
    z = np.array([normed(W, "encoder_out", row) for row in x])
    values = (z + e) * half

    g_T = W["target_embedding"][target_in] + W["target_positions.table"][: len(target_in)]
    x = np.array([normed(W, "decoder_in", row) for row in g_T])
    maps = []
    for n in range(L):
        name, after, found = f"decoder.{n}", [], []
        for t, g_t in enumerate(g_T):
            h = glu(normed(W, f"{name}.convolution", last_inputs(x, t, k)))
            found.append(softmax(z @ ((normed(W, f"{name}.W_d", h) + g_t) * half)))
            c = found[-1] @ values * len(source) / math.sqrt(len(source))
            after.append(((normed(W, f"{name}.W_c", c) + h) * half + x[t]) * half)
        x = np.array(after)
        maps.append(np.array(found))
    log_p = [log_softmax(normed(W, "W_s", normed(W, "decoder_out", row))) for row in x]
    chosen = config.alignment_layer
    return Pair(np.array(log_p), np.mean(maps, axis=0) if chosen is None else maps[chosen - 1])
