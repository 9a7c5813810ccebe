"""Every recurrent model once more, in NumPy, one sentence at a time, from the papers' equations.

No batches, no padding, no masks, nothing computed ahead: what is left is the paper. Weights
come from a model's ``state_dict``; rows are positions. The models must agree to 1e-10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.by_hand_attending import held, softmax, weights_of

Array = np.ndarray


@dataclass(frozen=True)
class Pair:
    """What one sentence pair gives."""

    log_p_TV: Array
    weights_TS: Array | None


class Weights(dict[str, Array]):
    """A model's weights by name; a part of them by ``within``."""

    @classmethod
    def of(cls, model: Any) -> Weights:
        return cls({k: v.detach().double().numpy() for k, v in model.state_dict().items()})

    def within(self, prefix: str) -> Weights:
        start = f"{prefix}."
        return Weights({k.removeprefix(start): v for k, v in self.items() if k.startswith(start)})

    def count(self, prefix: str) -> int:
        """How many numbered parts ``prefix`` has."""
        names = (k.removeprefix(f"{prefix}.") for k in self if k.startswith(f"{prefix}."))
        return len({name.split(".")[0] for name in names})


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def log_softmax(x: Array) -> Array:
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def linear(W: Weights, name: str, x: Array) -> Array:
    return W[f"{name}.weight"] @ x + W.get(f"{name}.bias", 0.0)


# --- cells --------------------------------------------------------------------------------


def lstm(W: Weights, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """Hochreiter & Schmidhuber 1997 with a forget gate; blocks i, f, g, o."""
    i, f, g, o = np.split(W["W_x"] @ x + W["W_h"] @ h + W.get("b", 0.0), 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(W: Weights, x: Array, h: Array, *, before: bool = False, new: bool = False) -> Array:
    """Cho 2014; blocks r, z, n. ``before``: r inside the product with h; ``new``: z gates n."""
    x_r, x_z, x_n = np.split(W["W_x"] @ x + W.get("b", 0.0), 3)
    W_r, W_z, W_n = np.split(W["W_h"], 3)
    r, z = sigmoid(x_r + W_r @ h), sigmoid(x_z + W_z @ h)
    n = np.tanh(x_n + (W_n @ (r * h) if before else r * (W_n @ h)))
    return (1 - z) * h + z * n if new else (1 - z) * n + z * h


# --- encoder ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """States in the order in which they were read; last states as l0f, l0b, l1f, ..."""

    states_SH: Array
    h: list[Array]
    c: list[Array]


def run_layer(W: Weights, x_SE: Array, kind: str) -> tuple[Array, Array, Array]:
    """(all states, last h, last c) of one direction of one layer."""
    size = W["W_h"].shape[1]
    h, c, states = np.zeros(size), np.zeros(size), []
    for x in x_SE:
        if kind == "lstm":
            h, c = lstm(W, x, h, c)
        else:
            h = gru(W, x, h, before=kind == "gru-before", new=kind == "gru-before")
        states.append(h)
    return np.array(states), h, c


def join(ahead: Array, back: Array, merge: str) -> Array:
    if merge == "concat":
        return np.concatenate([ahead, back], axis=-1)
    return (ahead + back) / (1 if merge == "sum" else 2)


def encode(
    W: Weights, x_SE: Array, *, kind: str = "lstm", merge: str = "concat", skip: bool = False
) -> Read:
    """A stack of layers; the backward ones begin at the end of the sentence."""
    found = Read(x_SE, [], [])
    for depth in range(W.count("forward_layers")):
        x_SE = found.states_SH
        out, h, c = run_layer(W.within(f"forward_layers.{depth}"), x_SE, kind)
        found.h.append(h)
        found.c.append(c)
        if W.count("backward_layers"):
            back, h, c = run_layer(W.within(f"backward_layers.{depth}"), x_SE[::-1], kind)
            found.h.append(h)
            found.c.append(c)
            out = join(out, back[::-1], merge)
        if skip and out.shape[1] == x_SE.shape[1]:
            out = out + x_SE
        found = replace(found, states_SH=out)
    return found


def reading_order(length: int, reverse: bool) -> list[int]:
    """Positions in the order they are read: the end symbol, which is last, stays last."""
    words = list(range(length - 1))
    return [*(words[::-1] if reverse else words), length - 1]


def in_readers_order(states_SH: Array, order: list[int]) -> Array:
    """``states_SH[i]`` was read at step i from position ``order[i]``."""
    found = np.empty_like(states_SH)
    for step, position in enumerate(order):
        found[position] = states_SH[step]
    return found


def copied(states: list[Array], merge: str, bidirectional: bool) -> list[Array]:
    """One state a layer: directions joined as their outputs are."""
    if not bidirectional:
        return list(states)
    return [join(states[i], states[i + 1], merge) for i in range(0, len(states), 2)]


# --- the book, Sutskever ------------------------------------------------------------------


def plain(W: Weights, config: Any, source: Array, target_in: Array) -> Pair:
    """Chapter 7: plain and, with ``peeky``, h_S into every LSTM step and every Affine."""
    order = reading_order(len(source), config.reverse_source)
    h_S = encode(W.within("encoder"), W["source_embedding"][source[order]]).h[-1]
    peek = [h_S] if config.peeky else []
    h, c, rows = h_S, np.zeros_like(h_S), []
    for y in target_in:
        x = np.concatenate([*peek, W["target_embedding"][y]])
        h, c = lstm(W.within("decoder"), x, h, c)
        rows.append(log_softmax(linear(W, "affine", np.concatenate([*peek, h]))))
    return Pair(np.array(rows), None)


def sutskever(W: Weights, config: Any, source: Array, target_in: Array) -> Pair:
    """All layers' last (h, c), layer by layer, start the decoder."""
    order = reading_order(len(source), config.reverse_source)
    read = encode(W.within("encoder"), W["source_embedding"][source[order]], skip=config.skip)
    h, c, rows = list(read.h), list(read.c), []
    for y in target_in:
        x = W["target_embedding"][y]
        for depth in range(len(h)):
            h[depth], c[depth] = lstm(W.within(f"decoder.layers.{depth}"), x, h[depth], c[depth])
            x = h[depth] + x if config.skip and len(x) == len(h[depth]) else h[depth]
        rows.append(log_softmax(linear(W, "W", x)))
    return Pair(np.array(rows), None)


def book(W: Weights, config: Any, source: Array, target_in: Array) -> Pair:
    """Chapter 8: a_t = softmax(hs . d_t), c_t = sum a hs, into any of three places."""
    order = reading_order(len(source), config.reverse_source)
    x_SE = W["source_embedding"][source[order]]
    read = encode(W.within("encoder"), x_SE, merge=config.merge, skip=config.skip)
    hs, to = in_readers_order(read.states_SH, order), config.attention_to
    h = copied(read.h, config.merge, config.bidirectional)
    c = [np.zeros_like(one) for one in h]
    context, rows, maps = np.zeros(hs.shape[1]), [], []
    for y in target_in:
        x = W["target_embedding"][y]
        if "next_step" in to:
            x = np.concatenate([x, context])
        for depth in range(config.num_layers):
            below = x
            if depth and "upper_layers" in to:
                x = np.concatenate([x, context])
            h[depth], c[depth] = lstm(W.within(f"decoder.{depth}"), x, h[depth], c[depth])
            x = h[depth] + below if depth and config.skip else h[depth]
            asks = 0 if config.query_from == "bottom" else config.num_layers - 1
            if depth == asks:
                a = softmax(hs @ x)
                context = a @ hs
        out = np.concatenate([context, x]) if "output" in to else x
        rows.append(log_softmax(linear(W, "affine", out)))
        maps.append(a)
    return Pair(np.array(rows), np.array(maps))


# --- Luong --------------------------------------------------------------------------------


def luong_score(W: Weights, config: Any, h: Array, states_SH: Array) -> Array:
    """Equation 8 and its relatives."""
    match config.score:
        case "dot":
            return np.array([h @ h_s for h_s in states_SH])
        case "scaled":
            return np.array([h @ h_s / np.sqrt(len(h)) for h_s in states_SH])
        case "general":
            return np.array([h @ W["score.W_a.weight"] @ h_s for h_s in states_SH])
        case "learned_scale":
            return np.array([W["score.g"] * (W["score.W_k.weight"] @ h_s) @ h for h_s in states_SH])
        case "location":
            return (W["score.W_a.weight"] @ h)[: len(states_SH)]
        case "concat":
            keys = W.get("score.U_a.weight", np.eye(len(h)))
            both = np.concatenate([W["score.W_a.weight"], keys], axis=1)
            joined = [np.concatenate([h, h_s]) for h_s in states_SH]
            return np.array([W["score.v_a"] @ np.tanh(both @ one) for one in joined])
    raise AssertionError(config.score)


def luong_weights(W: Weights, config: Any, h: Array, states_SH: Array, t: int) -> Array:
    """Equations 7, 9 and 10 over the S attended positions; t counts from 1."""
    scores, S = luong_score(W, config, h, states_SH), len(states_SH)
    if config.window == "global":
        return weights_of(scores, config.normalize)
    if config.window == "local-m":
        p = float(min(t, S))
    else:
        share = sigmoid(W["v_p"] @ np.tanh(W["W_p.weight"] @ h))
        p = share * S if config.centre == "paper" else share * (S - 1) + 1
    near = [s for s in range(1, S + 1) if abs(s - int(np.floor(p))) <= config.window_size]
    a = np.zeros(S)
    if near:
        inside = np.array(near) - 1
        a[inside] = softmax(scores[inside])
    if config.window == "local-p":
        sigma = config.window_size / 2
        a = a * np.array([np.exp(-((s - p) ** 2) / (2 * sigma**2)) for s in range(1, S + 1)])
        a = a / a.sum() if config.renormalise else a
    return a


def luong_bridge(W: Weights, config: Any, read: Read) -> tuple[list[Array], list[Array]]:
    h = copied(read.h, config.merge, config.bidirectional)
    zeros = [np.zeros(config.hidden_size) for _ in range(config.num_layers)]
    match config.bridge:
        case "copy":
            return h, copied(read.c, config.merge, config.bidirectional)
        case "copy_h":
            return h, zeros
        case "zero":
            return list(zeros), zeros
        case _:
            whole = np.tanh(linear(W, "bridge.W", np.concatenate(h)))
            return list(np.split(whole, config.num_layers)), zeros


def luong(W: Weights, config: Any, source: Array, target_in: Array) -> Pair:
    """h~_t = tanh(W_c [c_t; h_t]), fed back with ``feeding``."""
    order = reading_order(len(source), config.reverse_source)
    x_SE = W["source_embedding"][source[order]]
    read = encode(W.within("encoder"), x_SE, merge=config.merge, skip=config.skip)
    states = in_readers_order(read.states_SH, order)
    attended = len(source) - (not config.attend_end)
    h, c = luong_bridge(W, config, read)
    h_tilde, rows, maps = np.zeros(config.hidden_size), [], []
    for t, y in enumerate(target_in, start=1):
        x = W["target_embedding"][y]
        x = np.concatenate([x, h_tilde]) if config.feeding else x
        for depth in range(config.num_layers):
            h[depth], c[depth] = lstm(W.within(f"decoder.layers.{depth}"), x, h[depth], c[depth])
            x = h[depth] + x if config.skip and len(x) == len(h[depth]) else h[depth]
        a = np.zeros(len(source))
        if attended:
            a[:attended] = luong_weights(W, config, x, states[:attended], t)
        context = held(W, "norm", a @ states)
        h_tilde = np.tanh(linear(W, "W_c", np.concatenate([context, x])))
        rows.append(log_softmax(linear(W, "W_s", h_tilde)))
        maps.append(a)
    return Pair(np.array(rows), np.array(maps))


# --- Bahdanau -----------------------------------------------------------------------------

BOS = 2


def bahdanau(W: Weights, config: Any, source: Array, target_in: Array) -> Pair:
    """Encoder, alignment model, and one of three decoders."""
    kind = {"rnnsearch": "gru-before", "cgru": "gru", "notes": "lstm"}[config.preset]
    read = encode(W.within("encoder"), W["source_embedding"][source], kind=kind)
    annotations, D = read.states_SH, W.within("decoder")

    covered = [np.zeros({"linguistic": 1, "neural": config.coverage_size}.get(config.coverage, 0))]
    covered = covered * len(annotations)
    V_a = W.get("cover.V_a", W.get("cover.V_a.weight"))

    def attend(query: Array) -> tuple[Array, Array]:
        def network(h_j: Array, C_j: Array) -> float:  # one hidden layer over [query; h_j; C_j]
            hidden = W["align.W_a.weight"] @ query + linear(W, "align.U_a", h_j)
            hidden = hidden + (V_a @ C_j if len(C_j) else 0.0)
            return float(W["align.v_a"] @ np.tanh(hidden))

        beside = zip(annotations, covered, strict=True)
        scores = np.array([network(h_j, C_j) for h_j, C_j in beside])
        alpha = weights_of(scores, config.normalize)
        return held(W, "norm", alpha @ annotations), alpha

    start = {"rnnsearch": first_rnnsearch, "cgru": first_cgru, "notes": first_notes}
    step = {"rnnsearch": step_rnnsearch, "cgru": step_cgru, "notes": step_notes}
    s = start[config.preset](D, read)
    cell, rows, maps = np.zeros_like(s), [], []
    for y in target_in:
        E_y = W["target_embedding"][y] * (config.preset == "notes" or y != BOS)
        asked = s
        logits, alpha, s, cell = step[config.preset](D, E_y, s, cell, attend)
        covered = [
            renewed(W.within("cover"), config, C_j, a_j, h_j, asked)
            for C_j, a_j, h_j in zip(covered, alpha, annotations, strict=True)
        ]
        rows.append(log_softmax(logits))
        maps.append(alpha)
    return Pair(np.array(rows), np.array(maps))


def renewed(V: Weights, config: Any, C: Array, a: float, h: Array, s: Array) -> Array:
    """C_ij of Tu et al. 2016."""
    match config.coverage:
        case "linguistic":
            return C + a / (config.fertility * sigmoid(V["U_f"] @ h))
        case "neural":
            return gru(V.within("gru"), np.concatenate([[a], h, s]), C)
    return C


def first_rnnsearch(D: Weights, read: Read) -> Array:
    """s_0 = tanh(W_s <-h_1): the backward state at the first word, the last it made."""
    return np.tanh(linear(D, "W_s", read.h[1]))


def step_rnnsearch(D: Weights, E_y: Array, s: Array, cell: Array, attend: Any) -> tuple[Any, ...]:
    c, alpha = attend(s)
    G, n = D.within("gru"), len(s)
    x = D.within("gru")["W_x"] @ E_y + G["b"] + D["C.weight"] @ c
    W_r, W_z, W_n = np.split(G["W_h"], 3)
    r, z = sigmoid(x[:n] + W_r @ s), sigmoid(x[n : 2 * n] + W_z @ s)
    proposed = np.tanh(x[2 * n :] + W_n @ (r * s))
    t = linear(D, "U_o", s) + linear(D, "V_o", E_y) + linear(D, "C_o", c)
    maxout = np.array([max(t[i], t[i + 1]) for i in range(0, len(t), 2)])
    return linear(D, "W_o", maxout), alpha, (1 - z) * s + z * proposed, cell


def first_cgru(D: Weights, read: Read) -> Array:
    return np.tanh(linear(D, "W_init", read.states_SH.mean(axis=0)))


def step_cgru(D: Weights, E_y: Array, s: Array, cell: Array, attend: Any) -> tuple[Any, ...]:
    query = gru(D.within("gru_1"), E_y, s)
    c, alpha = attend(query)
    s = gru(D.within("gru_2"), c, query)
    hidden = np.tanh(linear(D, "W_1", s) + linear(D, "W_2", E_y) + linear(D, "W_3", c))
    return linear(D, "W_o", hidden), alpha, s, cell


def first_notes(D: Weights, read: Read) -> Array:
    return np.concatenate([read.h[0], read.h[1]])


def step_notes(D: Weights, E_y: Array, s: Array, cell: Array, attend: Any) -> tuple[Any, ...]:
    c, alpha = attend(s)
    s, cell = lstm(D.within("lstm"), np.concatenate([E_y, c]), s, cell)
    return linear(D, "W_o", s), alpha, s, cell


BY_HAND = {
    "plain": plain,
    "peeky": plain,
    "attention": book,
    "sutskever": sutskever,
    "luong": luong,
    "luong-fast": luong,
    "rnnsearch": bahdanau,
    "cgru": bahdanau,
    "bahdanau": bahdanau,
}
