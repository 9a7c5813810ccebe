"""The book's attention model in NumPy, layer by layer and step by step as the book computes it.

A yardstick for speed, written for this comparison: float32, one time step at a time, gradients by
hand, global-norm clipping and Adam. Gates in the book's order f, g, i, o.
"""

from __future__ import annotations

import numpy as np

F32 = np.float32


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class LSTM:
    """Time steps one after the other; every step multiplies its own x and h."""

    def __init__(self, rng: np.random.RandomState, inputs: int, hidden: int) -> None:
        self.Wx = (rng.randn(inputs, 4 * hidden) / np.sqrt(inputs)).astype(F32)
        self.Wh = (rng.randn(hidden, 4 * hidden) / np.sqrt(hidden)).astype(F32)
        self.b = np.zeros(4 * hidden, F32)
        self.params = [self.Wx, self.Wh, self.b]
        self.grads = [np.zeros_like(p) for p in self.params]

    def forward(self, xs: np.ndarray, h: np.ndarray) -> np.ndarray:
        N, T, _ = xs.shape
        H = h.shape[1]
        c = np.zeros_like(h)
        hs = np.empty((N, T, H), F32)
        self.cache = []
        for t in range(T):
            A = xs[:, t] @ self.Wx + h @ self.Wh + self.b
            f, i, o = sigmoid(A[:, :H]), sigmoid(A[:, 2 * H : 3 * H]), sigmoid(A[:, 3 * H :])
            g = np.tanh(A[:, H : 2 * H])
            c_new = f * c + g * i
            h_new = o * np.tanh(c_new)
            self.cache.append((xs[:, t], h, c, f, g, i, o, c_new))
            hs[:, t], h, c = h_new, h_new, c_new
        return hs

    def backward(self, dhs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(dxs, dh of the first state)"""
        N, T, H = dhs.shape
        dxs = np.empty((N, T, self.Wx.shape[0]), F32)
        dh, dc = np.zeros((N, H), F32), np.zeros((N, H), F32)
        for grad in self.grads:
            grad[...] = 0
        for t in reversed(range(T)):
            x, h_prev, c_prev, f, g, i, o, c_new = self.cache[t]
            dh = dh + dhs[:, t]
            tanh_c = np.tanh(c_new)
            ds = dc + dh * o * (1 - tanh_c**2)
            dc = ds * f
            dA = np.hstack(
                (
                    ds * c_prev * f * (1 - f),
                    ds * i * (1 - g**2),
                    ds * g * i * (1 - i),
                    dh * tanh_c * o * (1 - o),
                )
            )
            self.grads[0] += x.T @ dA
            self.grads[1] += h_prev.T @ dA
            self.grads[2] += dA.sum(axis=0)
            dxs[:, t], dh = dA @ self.Wx.T, dA @ self.Wh.T
        return dxs, dh


class AttentionSeq2seq:
    """Embedding, LSTM | embedding, LSTM, attention at each step, affine, softmax with loss."""

    def __init__(self, sources: int, targets: int, wordvec: int, hidden: int, seed: int = 0):
        rng = np.random.RandomState(seed)
        self.E_x = (rng.randn(sources, wordvec) / 100).astype(F32)
        self.E_y = (rng.randn(targets, wordvec) / 100).astype(F32)
        self.encoder, self.decoder = LSTM(rng, wordvec, hidden), LSTM(rng, wordvec, hidden)
        self.W = (rng.randn(2 * hidden, targets) / np.sqrt(2 * hidden)).astype(F32)
        self.b = np.zeros(targets, F32)
        self.params = [
            self.E_x, self.E_y, *self.encoder.params, *self.decoder.params, self.W, self.b,
        ]  # fmt: skip
        self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in self.params]
        self.steps = 0

    def loss_and_grads(
        self, xs: np.ndarray, ts_in: np.ndarray, ts_out: np.ndarray
    ) -> tuple[float, list[np.ndarray]]:
        N, T = ts_out.shape
        hs = self.encoder.forward(self.E_x[xs], np.zeros((N, self.W.shape[0] // 2), F32))
        ds = self.decoder.forward(self.E_y[ts_in], hs[:, -1])
        weights, contexts = [], np.empty_like(ds)
        for t in range(T):
            scores = (hs * ds[:, t][:, None, :]).sum(axis=2)
            a = softmax(scores)
            contexts[:, t] = (hs * a[:, :, None]).sum(axis=1)
            weights.append(a)
        joined = np.concatenate((contexts, ds), axis=2).reshape(N * T, -1)
        p = softmax(joined @ self.W + self.b)
        gold = ts_out.reshape(-1)
        loss = float(-np.log(p[np.arange(N * T), gold] + 1e-7).mean())
        return loss, self._backward(xs, ts_in, gold, p, joined, hs, ds, weights)

    def _backward(self, xs, ts_in, gold, p, joined, hs, ds, weights):  # type: ignore[no-untyped-def]
        N, T, H = ds.shape
        dlogits = p
        dlogits[np.arange(N * T), gold] -= 1
        dlogits /= N * T
        dW, db = joined.T @ dlogits, dlogits.sum(axis=0)
        djoined = (dlogits @ self.W.T).reshape(N, T, 2 * H)
        dcs, dds = djoined[:, :, :H], djoined[:, :, H:].copy()
        dhs = np.zeros_like(hs)
        for t in range(T):
            a, dc = weights[t], dcs[:, t]
            da = (hs * dc[:, None, :]).sum(axis=2)
            dhs += a[:, :, None] * dc[:, None, :]
            de = a * (da - (a * da).sum(axis=1, keepdims=True))
            dhs += de[:, :, None] * ds[:, t][:, None, :]
            dds[:, t] += (hs * de[:, :, None]).sum(axis=1)
        dys, dh = self.decoder.backward(dds)
        dhs[:, -1] += dh
        dxs, _ = self.encoder.backward(dhs)
        dE_x, dE_y = np.zeros_like(self.E_x), np.zeros_like(self.E_y)
        np.add.at(dE_x, xs, dxs)
        np.add.at(dE_y, ts_in, dys)
        return [dE_x, dE_y, *self.encoder.grads, *self.decoder.grads, dW, db]

    def step(self, xs: np.ndarray, ts_in: np.ndarray, ts_out: np.ndarray) -> float:
        """One update: clip the global norm at 5, Adam with rate 1e-3."""
        loss, grads = self.loss_and_grads(xs, ts_in, ts_out)
        norm = np.sqrt(sum(float((g**2).sum()) for g in grads))
        scale = min(1.0, 5.0 / (norm + 1e-6))
        self.steps += 1
        rate = 1e-3 * np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        for param, grad, (m, v) in zip(self.params, grads, self.moments, strict=True):
            grad = grad * F32(scale)
            m += F32(0.1) * (grad - m)
            v += F32(0.001) * (grad**2 - v)
            param -= F32(rate) * m / (np.sqrt(v) + F32(1e-7))
        return loss
