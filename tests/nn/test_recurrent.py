"""LSTM and GRU against torch's and against their formulas; order, ends and padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jumok import kernels
from jumok.nn.paths import recorded_paths
from jumok.nn.recurrent import (
    GRU,
    LSTM,
    last_real,
    reversed_within,
    reversing_index,
)
from models import by_hand

B, T, E, H = 3, 5, 7, 11


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return 0.5 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def filled(layer: torch.nn.Module, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    for number, weight in enumerate(layer.parameters()):
        weight.data = draw(*weight.shape, seed=number).to(dtype)
    return layer


def numpy_weights(layer: torch.nn.Module) -> by_hand.Weights:
    return by_hand.Weights.of(layer)


# --- LSTM ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype, bound", [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("cells", [True, False])
def test_an_lstm_is_torchs(bias: bool, dtype: torch.dtype, bound: float, cells: bool) -> None:
    ours = filled(LSTM(E, H, bias=bias), dtype)
    theirs = torch.nn.LSTM(E, H, bias=bias, batch_first=True, dtype=dtype)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.W_x)
        theirs.weight_hh_l0.copy_(ours.W_h)
        if bias:
            theirs.bias_ih_l0.copy_(ours.b)
            theirs.bias_hh_l0.zero_()
    x, h, c = (draw(*shape).to(dtype) for shape in ((B, T, E), (B, H), (B, H)))
    found, found_c = ours(x, h, c, cells=cells)
    expected, (_, last_c) = theirs(x, (h[None], c[None]))
    assert (found - expected).abs().max() < bound
    if cells:
        assert (found_c[:, -1] - last_c[0]).abs().max() < bound


@pytest.mark.parametrize("bias", [True, False])
def test_an_lstm_step_is_torchs_cell_and_the_formula(bias: bool) -> None:
    ours = filled(LSTM(E, H, bias=bias))
    theirs = torch.nn.LSTMCell(E, H, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.W_x)
        theirs.weight_hh.copy_(ours.W_h)
        if bias:
            theirs.bias_ih.copy_(ours.b)
            theirs.bias_hh.zero_()
    x, h, c = draw(B, E), draw(B, H), draw(B, H, seed=5)
    found = ours.step(x, h, c)
    for one, other in zip(found, theirs(x, (h, c)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)
    for b in range(B):
        row = by_hand.lstm(numpy_weights(ours), x[b].numpy(), h[b].numpy(), c[b].numpy())
        for one, other in zip(found, row, strict=True):
            np.testing.assert_allclose(one[b].detach().numpy(), other, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_lstm_over_a_sequence_is_its_steps(dtype: torch.dtype) -> None:
    layer = filled(LSTM(E, H), dtype)
    x, h, c = (draw(*s).to(dtype) for s in ((B, T, E), (B, H), (B, H)))
    with recorded_paths() as paths:
        h_all, c_all = layer(x, h, c)
    assert set(paths) == {"lstm"}
    for t in range(T):
        h, c = layer.step(x[:, t], h, c)
        torch.testing.assert_close(h_all[:, t], h, rtol=0, atol=2e-6)
        torch.testing.assert_close(c_all[:, t], c, rtol=0, atol=2e-6)


# --- GRU ----------------------------------------------------------------------------------


def test_a_gru_is_torchs() -> None:
    ours = filled(GRU(E, H))
    theirs = torch.nn.GRU(E, H, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.W_x)
        theirs.weight_hh_l0.copy_(ours.W_h)
        theirs.bias_ih_l0.copy_(ours.b)
        theirs.bias_hh_l0.zero_()
    x, h = draw(B, T, E), draw(B, H)
    torch.testing.assert_close(ours(x, h), theirs(x, h[None])[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("reset", ["after", "before"])
@pytest.mark.parametrize("z_gates", ["old", "new"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_gru_is_its_formula_gate_by_gate(reset: str, z_gates: str, bias: bool) -> None:
    layer = filled(GRU(E, H, reset=reset, z_gates=z_gates, bias=bias))
    x, h = draw(B, T, E), draw(B, H)
    found = layer(x, h).detach().numpy()
    stepped = layer.step(x[:, 0], h).detach().numpy()
    for b in range(B):
        state = h[b].numpy()
        for t in range(T):
            state = by_hand.gru(
                numpy_weights(layer),
                x[b, t].numpy(),
                state,
                before=reset == "before",
                new=z_gates == "new",
            )
            np.testing.assert_allclose(found[b, t], state, atol=1e-12)
            if t == 0:
                np.testing.assert_allclose(stepped[b], state, atol=1e-12)


def test_the_gates_of_a_gru_differ_by_their_sense() -> None:
    """A z that is wide open keeps the old state, or lets the new one through."""
    for sense in ("old", "new"):
        layer = filled(GRU(E, H, z_gates=sense))
        layer.b.data[H : 2 * H] = 100.0
        x, h = draw(B, E), draw(B, H)
        kept = torch.allclose(layer.step(x, h), h, atol=1e-12)
        assert kept == (sense == "old")


# --- order and ends -----------------------------------------------------------------------


def lengths_mask(*lengths: int, width: int) -> Tensor:
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def test_rows_are_reversed_inside_their_own_length() -> None:
    mask = lengths_mask(5, 3, 1, 0, width=6)
    index = reversing_index(mask)
    assert index.tolist() == [
        [4, 3, 2, 1, 0, 5],
        [2, 1, 0, 3, 4, 5],
        [0, 1, 2, 3, 4, 5],
        [0, 1, 2, 3, 4, 5],
    ]
    kept = reversing_index(mask, keep_last=True)
    assert kept.tolist() == [
        [3, 2, 1, 0, 4, 5],
        [1, 0, 2, 3, 4, 5],
        [0, 1, 2, 3, 4, 5],
        [0, 1, 2, 3, 4, 5],
    ]


@pytest.mark.parametrize("keep_last", [True, False])
def test_reversing_twice_is_nothing(keep_last: bool) -> None:
    mask = lengths_mask(7, 4, 2, 1, width=7)
    index = reversing_index(mask, keep_last=keep_last)
    x = draw(4, 7, E)
    torch.testing.assert_close(reversed_within(reversed_within(x, index), index), x)
    assert not torch.equal(reversed_within(x, index), x)


def test_the_last_real_position_is_not_the_last_one() -> None:
    x = draw(4, 6, E)
    found = last_real(x, lengths_mask(6, 3, 1, 0, width=6))
    expected = torch.stack([x[0, 5], x[1, 2], x[2, 0], torch.zeros(E, dtype=x.dtype)])
    assert torch.equal(found, expected)


def test_operands_are_bf16_only_inside_autocast() -> None:
    x = torch.ones(1)
    assert kernels.operand_precision(x) == "fp32"
    with torch.autocast("cpu", torch.bfloat16):
        assert kernels.operand_precision(x) == "bf16"
    with torch.autocast("cpu", torch.float16):
        assert kernels.operand_precision(x) == "fp32"
