"""The likelihood in chunks is the likelihood."""

from __future__ import annotations

import pytest
import torch

from jumok.nn import readout

B, T, D, V = 3, 5, 7, 11


def parts(bias: bool) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(B, T, D, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(V, D, generator=generator, dtype=torch.float64, requires_grad=True)
    b = torch.randn(V, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, V, (B, T), generator=generator)
    return hidden, weight, b if bias else None, target


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 4, 15, 1000])
def test_chunks_change_neither_values_nor_gradients(
    bias: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readout, "CHUNK_ELEMENTS", rows * V)
    hidden, weight, b, target = parts(bias)
    log_p, uniform = readout.likelihood(hidden, weight, b, target)
    whole = torch.log_softmax(hidden @ weight.T + (0 if b is None else b), dim=-1)
    gold = whole.gather(-1, target[..., None])[..., 0]
    torch.testing.assert_close(log_p, gold, rtol=0, atol=1e-12)
    torch.testing.assert_close(uniform, whole.mean(-1), rtol=0, atol=1e-12)
    leaves = [leaf for leaf in (hidden, weight, b) if leaf is not None]
    share = torch.linspace(-1, 1, B * T, dtype=torch.float64).view(B, T)
    found = torch.autograd.grad((log_p * share + uniform).sum(), leaves)
    expected = torch.autograd.grad((gold * share + whole.mean(-1)).sum(), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_logits_are_float32_whatever_the_inside() -> None:
    hidden, weight = torch.ones(2, D, dtype=torch.bfloat16), torch.ones(V, D, dtype=torch.bfloat16)
    assert readout.logits(hidden, weight, None).dtype == torch.float32
    assert readout.logits(hidden.double(), weight.double(), None).dtype == torch.float64
