"""Scores into weights once more, in NumPy: a threshold by halving, no sorting, no masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Array = np.ndarray


def softmax(x: Array) -> Array:
    shares = np.exp(x - x.max())
    return shares / shares.sum()


def weights_of(scores: Array, normalize: str) -> Array:
    """p = max(z - tau, 0) or max(z / 2 - tau, 0)^2 with tau such that p sums to one; ReLU."""
    match normalize:
        case "softmax":
            return softmax(scores)
        case "rela":
            return np.maximum(scores, 0)
        case "sparsemax":
            z, power = scores, 1
        case "entmax15":
            z, power = scores / 2, 2
    low, high = z.max() - 1, z.max()
    for _ in range(200):
        tau = (low + high) / 2
        above = (np.maximum(z - tau, 0) ** power).sum() > 1
        low, high = (tau, high) if above else (low, tau)
    return np.maximum(z - high, 0) ** power


def held(W: Mapping[str, Array], name: str, context: Array) -> Array:
    """ReLA's norm of a context, c / rms(c) g sigmoid(w c), where the model has one."""
    if f"{name}.gain" not in W:
        return context
    scaled = context / np.sqrt((context**2).mean() + 1e-6)
    return scaled * W[f"{name}.gain"] / (1 + np.exp(-W[f"{name}.gate"] * context))
