"""The models whose output depends on a position: latent (monotonic) or pointed at; in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.by_hand import Array, Pair, Weights, encode, linear, log_softmax, lstm, softmax


def monotonic(W: Weights, config: Any, source: Array, target_in: Array) -> Pair:
    """p(y_t | y_<t) = alpha(y_<=t) / alpha(y_<t): the forward algorithm as a matrix product."""
    states = encode(W.within("encoder"), W["source_embedding"][source]).states_SH
    keys = [linear(W, "T", state) for state in states]
    S, size = len(states), config.hidden_size
    h, c, log_p, priors = np.zeros(size), np.zeros(size), [], []
    posterior, emitted = np.eye(S)[0], None
    for token in target_in:
        if emitted is not None:
            posterior = priors[-1] * emitted[:, token]
            posterior = posterior / posterior.sum()
        h, c = lstm(W.within("decoder.layers.0"), W["target_embedding"][token], h, c)
        moves_SS = np.array([move(W, config, h, keys, r) for r in range(S)])
        priors.append(posterior @ moves_SS)
        V_SH = np.concatenate([W["V_h.weight"], W["V_s.weight"]], axis=1)
        hidden = [np.tanh(V_SH @ np.append(h, state) + W["V_s.bias"]) for state in states]
        emitted = np.array([softmax(linear(W, "W", one)) for one in hidden])
        log_p.append(np.log(priors[-1] @ emitted))
    return Pair(np.array(log_p), np.array(priors))


def move(W: Weights, config: Any, h: Array, keys: list[Array], r: int) -> Array:
    """p(a_t | a_{t-1} = r), one number for each position."""
    found = np.zeros(len(keys))
    if config.order == 0:
        may = range(r if config.monotonic else 0, len(keys))
        found[may] = softmax(np.array([h @ keys[s] for s in may]))
        return found
    scores = linear(W, "U_h", h) + linear(W, "U_r", keys[r])
    back = 0 if config.monotonic else config.window
    may = [s for s in range(len(keys)) if -back <= s - r <= config.window]
    found[may] = softmax(np.array([scores[s - r + back] for s in may]))
    return found


def pointer(W: Weights, config: Any, source: Array, target_in: Array) -> Pair:
    """Attention with coverage; with nothing to copy p_gen is 1 and P_vocab is all there is."""
    read = encode(W.within("encoder"), W["source_embedding"][source])
    states = read.states_SH
    h = np.maximum(0, linear(W, "bridge_h", np.concatenate(read.h)))
    c = np.maximum(0, linear(W, "bridge_c", np.concatenate(read.c)))
    context, coverage = np.zeros(states.shape[1]), np.zeros(len(states))
    log_p, weights = [], []
    for token in target_in:
        x = linear(W, "join", np.append(W["target_embedding"][token], context))
        h, c = lstm(W.within("decoder"), x, h, c)
        asked = W["W_s.weight"] @ np.append(c, h)
        inner = [
            linear(W, "W_h", state) + asked + W.get("w_c", 0.0) * been
            for state, been in zip(states, coverage, strict=True)
        ]
        a = softmax(np.array([W["v"] @ np.tanh(one) for one in inner]))
        context, coverage = a @ states, coverage + a
        log_p.append(log_softmax(linear(W, "V_out", linear(W, "V", np.append(h, context)))))
        weights.append(a)
    return Pair(np.array(log_p), np.array(weights))
