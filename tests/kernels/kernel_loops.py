"""What the kernels compute, as plain torch loops that autograd differentiates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Tensors = Sequence[Tensor]


def lstm_cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def weigh(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over real positions; zeros where there is none."""
    top = scores.masked_fill(~mask, -1e30).amax(1, keepdim=True)
    e = torch.where(mask, torch.exp(torch.where(mask, scores - top, 0.0)), 0.0)
    return e / e.sum(1, keepdim=True).clamp(min=1e-30)


def mix(weights: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return torch.einsum("bs,bsd->bd", weights, torch.where(mask[..., None], values, 0.0))


def lstm(
    x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor, h: Tensor, c: Tensor
) -> Tensors:
    states, cells = [], []
    for t in range(x.shape[1]):
        h, c = lstm_cell(x[:, t] @ weight_x.T + h @ weight_h.T + bias, c)
        states.append(h)
        cells.append(c)
    return torch.stack(states, 1), torch.stack(cells, 1)


def luong(
    x: Tensor, keys: Tensor, values: Tensor, mask: Tensor, feed_mask: Tensor, weight_x: Tensor,
    weight_h: Tensor, bias: Tensor, weight_c: Tensor, bias_c: Tensor, h: Tensor, c: Tensor,
    fed: Tensor,
) -> Tensors:  # fmt: skip
    outputs, maps = [], []
    keys = torch.where(mask[..., None], keys, 0.0)
    for t in range(x.shape[1]):
        reads = torch.cat([x[:, t], fed * feed_mask[:, t]], -1)
        h, c = lstm_cell(reads @ weight_x.T + h @ weight_h.T + bias, c)
        weights = weigh(torch.einsum("bsh,bh->bs", keys, h), mask)
        joined = torch.cat([mix(weights, values, mask), h], -1)
        fed = torch.tanh(joined @ weight_c.T + bias_c)
        outputs.append(fed)
        maps.append(weights)
    return torch.stack(outputs, 1), torch.stack(maps, 1), h, c


def additive(
    x: Tensor, keys: Tensor, values: Tensor, mask: Tensor, weight_x: Tensor, weight_h: Tensor,
    bias: Tensor, weight_q: Tensor, v: Tensor, h: Tensor, c: Tensor,
) -> Tensors:  # fmt: skip
    states, contexts, maps = [], [], []
    keys = torch.where(mask[..., None], keys, 0.0)
    for t in range(x.shape[1]):
        weights = weigh(torch.tanh(keys + (h @ weight_q.T)[:, None]) @ v, mask)
        context = mix(weights, values, mask)
        reads = torch.cat([x[:, t], context], -1)
        h, c = lstm_cell(reads @ weight_x.T + h @ weight_h.T + bias, c)
        states.append(h)
        contexts.append(context)
        maps.append(weights)
    return torch.stack(states, 1), torch.stack(contexts, 1), torch.stack(maps, 1), c


def gru_cell(sums: Tensor, weight_h: Tensor, h: Tensor, reset: str, z_gates: str) -> Tensor:
    """``sums``: the input's share of r, z, n, biases included."""
    x_r, x_z, x_n = sums.split(h.shape[1], -1)
    W_r, W_z, W_n = weight_h.split(h.shape[1])
    r, z = torch.sigmoid(x_r + h @ W_r.T), torch.sigmoid(x_z + h @ W_z.T)
    inner = r * (h @ W_n.T) if reset == "after" else (r * h) @ W_n.T
    z = 1 - z if z_gates == "new" else z
    return (1 - z) * torch.tanh(x_n + inner) + z * h


def gru(
    x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor, h: Tensor, reset: str, z_gates: str
) -> Tensors:
    states = []
    for t in range(x.shape[1]):
        h = gru_cell(x[:, t] @ weight_x.T + bias, weight_h, h, reset, z_gates)
        states.append(h)
    return (torch.stack(states, 1),)


def attend(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    weights = weigh(torch.tanh(keys + query[:, None]) @ v, mask)
    return mix(weights, values, mask), weights


def additive_gru(
    x: Tensor, keys: Tensor, values: Tensor, mask: Tensor, weight_x: Tensor, weight_h: Tensor,
    bias: Tensor, weight_q: Tensor, v: Tensor, h: Tensor, *, reset: str, z_gates: str,
) -> Tensors:  # fmt: skip
    states, contexts, maps = [], [], []
    for t in range(x.shape[1]):
        context, weights = attend(h @ weight_q.T, keys, values, mask, v)
        reads = torch.cat([x[:, t], context], -1)
        h = gru_cell(reads @ weight_x.T + bias, weight_h, h, reset, z_gates)
        states.append(h)
        contexts.append(context)
        maps.append(weights)
    return torch.stack(states, 1), torch.stack(contexts, 1), torch.stack(maps, 1)


def conditional_gru(
    x: Tensor, keys: Tensor, values: Tensor, mask: Tensor, x1: Tensor, h1: Tensor, b1: Tensor,
    x2: Tensor, h2: Tensor, b2: Tensor, weight_q: Tensor, v: Tensor, h: Tensor,
) -> Tensors:  # fmt: skip
    states, contexts, maps = [], [], []
    for t in range(x.shape[1]):
        asks = gru_cell(x[:, t] @ x1.T + b1, h1, h, "after", "old")
        context, weights = attend(asks @ weight_q.T, keys, values, mask, v)
        h = gru_cell(context @ x2.T + b2, h2, asks, "after", "old")
        states.append(h)
        contexts.append(context)
        maps.append(weights)
    return torch.stack(states, 1), torch.stack(contexts, 1), torch.stack(maps, 1)


def drawn(*shapes: tuple[int, ...], scale: float = 0.0, seed: int = 1) -> list[Tensor]:
    """Normal float32 tensors that want gradients; matrices by 1 / sqrt(columns)."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [scale or (shape[-1] ** -0.5 if len(shape) == 2 else 0.4) for shape in shapes]
    return [
        (torch.randn(shape, generator=generator) * size).requires_grad_()
        for shape, size in zip(shapes, sizes, strict=True)
    ]


def compare(
    fast: Callable[..., Tensors],
    slow: Callable[..., Tensors],
    inputs: Tensors,
    *,
    values: float,
    gradients: float,
) -> None:
    """Values and all gradients of ``fast`` against ``slow`` in float64, by relative norm."""
    wide = [x.detach().double().requires_grad_() for x in inputs]
    ours, theirs = fast(*inputs), slow(*wide)
    generator = torch.Generator().manual_seed(7)
    pulls = [torch.randn(y.shape, generator=generator, dtype=torch.float64) for y in theirs]
    for y, z in zip(ours, theirs, strict=True):
        assert y.dtype == torch.float32
        assert distance(y, z) < values
    found = torch.autograd.grad(pulled(ours, [p.float() for p in pulls]), inputs)
    right = torch.autograd.grad(pulled(theirs, pulls), wide)
    far = {i: distance(a, b) for i, (a, b) in enumerate(zip(found, right, strict=True))}
    assert max(far.values()) < gradients, far


def pulled(outputs: Tensors, pulls: Tensors) -> Tensor:
    return sum(((y * p).sum() for y, p in zip(outputs, pulls, strict=True)), torch.zeros(()))


def distance(a: Tensor, b: Tensor) -> float:
    """Relative, but absolute where cancellation leaves next to nothing."""
    a, b = a.detach(), b.detach()
    return float((a.double() - b.double()).norm() / b.double().norm().clamp(min=0.1))
