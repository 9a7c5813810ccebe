"""The recurrence without a matrix: every form of it agrees, and the cells are their papers'."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jumok import native
from jumok.nn import linear_recurrence as forms
from jumok.nn.linear_recurrence import ForgetPool, linear_recurrence, log_space_recurrence
from jumok.nn.parallel_cells import CELLS, CellName, ParallelLayer
from jumok.nn.paths import recorded_paths
from jumok.nn.windows import windowed
from models.by_hand import sigmoid

B, T, H, E = 3, 13, 11, 7
CELL_NAMES = tuple(CELLS)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def by_loop(a: Tensor, u: Tensor, v: Tensor | None, c: Tensor) -> Tensor:
    """As the equations say, one position after the other; autograd differentiates it."""
    cells = []
    for t in range(a.shape[1]):
        f = torch.sigmoid(a[:, t] if v is None else a[:, t] + v * c)
        c = f * c + (1 - f) * u[:, t]
        cells.append(c)
    return torch.stack(cells, dim=1)


def gradients(y: Tensor, *of: Tensor) -> list[Tensor]:
    ramp = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return list(torch.autograd.grad((y * y * ramp).sum(), of))


@pytest.mark.parametrize("length", [1, 2, T])
@pytest.mark.parametrize("looks_back", [False, True])
@pytest.mark.parametrize("dtype, bound", [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_the_pool_is_its_loop_on_the_path_it_names(
    dtype: torch.dtype, bound: float, looks_back: bool, length: int
) -> None:
    a, u, c = (draw(*s, dtype=dtype) for s in ((B, length, H), (B, length, H), (B, H)))
    pool = ForgetPool(H, looks_back=looks_back).to(dtype)
    if pool.v is not None:
        pool.v.data = draw(H, dtype=dtype)
    of = [x.requires_grad_() for x in (a, u, c)] + list(pool.parameters())
    with recorded_paths() as paths:
        found = pool(a, u, c)
    expected = by_loop(a, u, pool.v, c)
    assert (found - expected).abs().max() < bound
    for one, other in zip(gradients(found, *of), gradients(expected, *of), strict=True):
        assert (one - other).abs().max() < bound
    if dtype == torch.float32 and native.available():
        assert paths == {"forget pool": "native fp32"}
    else:
        assert paths["forget pool"].startswith("loop" if looks_back else "scan")


@pytest.mark.parametrize("scan", [forms._scan, forms._by_doubling])
@pytest.mark.parametrize("length", [1, 2, 3, 8, T])
def test_both_scans_are_the_recurrence_and_its_slopes(scan, length: int, monkeypatch) -> None:
    monkeypatch.setattr(forms, "_scan", scan)
    f = torch.sigmoid(draw(B, length, H)).requires_grad_()
    u, c = draw(B, length, H, seed=1).requires_grad_(), draw(B, H).requires_grad_()
    cells, here = [], c
    for t in range(length):
        here = f[:, t] * here + u[:, t]
        cells.append(here)
    found, expected = linear_recurrence(f, u, c), torch.stack(cells, dim=1)
    assert (found - expected).abs().max() < 1e-13
    for one, other in zip(gradients(found, f, u, c), gradients(expected, f, u, c), strict=True):
        assert (one - other).abs().max() < 1e-12


@pytest.mark.parametrize("cell", ["mingru", "minlstm"])
@pytest.mark.parametrize("dtype, bound", [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_the_papers_log_space_is_the_pool(cell: CellName, dtype: torch.dtype, bound: float) -> None:
    """Feng et al. 2024, appendix B, over a long sequence, with its gradients."""
    layer = filled(ParallelLayer(cell, E, H), dtype)
    x, c = draw(B, 101, E, dtype=dtype), draw(B, H, dtype=dtype).abs()
    found = layer(x, c)[1]
    gates = torch.nn.functional.linear(x, layer.W)
    a, u = layer.cell.pooled(gates)
    expected = log_space_recurrence(a, u.log(), c.log())
    assert (found - expected).abs().max() < bound
    one, other = gradients(found, layer.W)[0], gradients(expected, layer.W)[0]
    assert (one - other).abs().max() < bound * other.abs().max()


def filled(layer: ParallelLayer, dtype: torch.dtype = torch.float64) -> ParallelLayer:
    for number, weight in enumerate(layer.parameters()):
        weight.data = 0.5 * draw(*weight.shape, seed=number, dtype=dtype)
    return layer.to(dtype)


def cell_by_hand(cell: CellName, layer: ParallelLayer, x: np.ndarray, c: np.ndarray) -> tuple:
    """The papers' equations for one position of one row: (h, c)."""
    W = layer.W.detach().numpy()
    b = np.zeros(0) if layer.b is None else layer.b.detach().numpy()
    z = W @ x
    z[: len(b)] += b
    part = z.reshape(-1, H)
    match cell:
        case "qrnn":
            f, o, u = sigmoid(part[0]), sigmoid(part[1]), np.tanh(part[2])
            c = f * c + (1 - f) * u
            return o * c, c
        case "sru":
            v, v_r = layer.pool.v.detach().numpy(), layer.cell.v_r.detach().numpy()
            f, r = sigmoid(part[0] + v * c), sigmoid(part[1] + v_r * c)
            c = f * c + (1 - f) * part[2]
            x = x if len(x) == H else part[3]
            return r * c + (1 - r) * x * np.sqrt(1 + 2 * np.exp(0.0)), c
        case "ssru":
            f = sigmoid(part[0])
            c = f * c + (1 - f) * part[1]
            return np.maximum(c, 0), c
        case "mingru":
            z_gate, u = sigmoid(part[0]), g(part[1])
            c = (1 - z_gate) * c + z_gate * u
            return c, c
        case "minlstm":
            f, i, u = sigmoid(part[0]), sigmoid(part[1]), g(part[2])
            c = f / (f + i) * c + i / (f + i) * u
            return c, c


def g(y: np.ndarray) -> np.ndarray:
    return np.where(y >= 0, y + 0.5, sigmoid(y))


@pytest.mark.parametrize("input_size", [E, H])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_cell_is_its_papers_by_hand_and_by_step(cell: CellName, input_size: int) -> None:
    layer = filled(ParallelLayer(cell, input_size, H))
    x, c = draw(B, T, input_size), draw(B, H)
    h_all, c_all = layer(x, c)
    c_B = c
    for t in range(T):
        h_B, c_B = layer.step(x[:, t], c_B)
        assert (h_B - h_all[:, t]).abs().max() < 1e-13
        assert (c_B - c_all[:, t]).abs().max() < 1e-13
    for row in range(B):
        here = c[row].numpy()
        for t in range(T):
            h, here = cell_by_hand(cell, layer, x[row, t].numpy(), here)
            assert np.abs(h_all[row, t].detach().numpy() - h).max() < 1e-13


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_states_stay_float32_under_bf16(cell: CellName) -> None:
    layer = filled(ParallelLayer(cell, E, H), torch.float32)
    x = draw(B, T, E, dtype=torch.float32)
    exact = layer(x)[1]
    with torch.autocast("cpu", torch.bfloat16):
        h, c = layer(x)
    assert c.dtype == torch.float32 and h.dtype == torch.float32
    assert 0 < (c - exact).abs().max() < 0.1


def test_a_window_holds_the_last_inputs_oldest_first() -> None:
    x = draw(B, T, E)
    found = windowed(x, 3)
    for t in range(T):
        for n in range(3):
            expected = x[:, t - 2 + n] if t - 2 + n >= 0 else torch.zeros(B, E)
            assert torch.equal(found[:, t, n * E : (n + 1) * E], expected.double())
    assert torch.equal(windowed(x, 1), x)
