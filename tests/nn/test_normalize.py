"""Sparsemax, 1.5-entmax and ReLA: against brute force, closed forms, slopes; exact zeros; bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import jumok
from jumok.errors import ConfigError
from jumok.nn.attention import ContextNorm, context_norm, weigh, weights_map

SHARES = ("sparsemax", "entmax15")
WAYS = (*SHARES, "rela")


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_bisection(e: np.ndarray, normalize: str) -> np.ndarray:
    """Shares of scores (S,), their threshold found by halving: no sorting, no closed form."""
    z = e if normalize == "sparsemax" else e / 2
    power = 1 if normalize == "sparsemax" else 2
    low, high = z.max() - 1, z.max()
    for _ in range(200):
        tau = (low + high) / 2
        if (np.clip(z - tau, 0, None) ** power).sum() > 1:
            low = tau
        else:
            high = tau
    return np.clip(z - high, 0, None) ** power


@pytest.mark.parametrize("normalize", SHARES)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 23), spread=st.sampled_from([0.1, 1, 30]))
def test_shares_are_those_of_bisection(normalize: str, seed: int, size: int, spread: float) -> None:
    scores = spread * draw(3, size, seed=seed)
    mask = torch.rand(3, size, generator=torch.Generator().manual_seed(seed)) < 0.7
    mask[:, 0] = True
    weights = weigh(scores, mask, normalize)
    assert torch.all(weights[~mask] == 0)
    for e, real, found in zip(scores.numpy(), mask.numpy(), weights.numpy(), strict=True):
        np.testing.assert_allclose(found[real], by_bisection(e[real], normalize), atol=1e-12)


@given(seed=st.integers(0, 10_000))
def test_sparsemax_is_the_nearest_of_many_points(seed: int) -> None:
    """The definition itself: no point of the simplex that we try lies nearer to the scores."""
    rng = np.random.default_rng(seed)
    e = rng.normal(size=5)
    p = weigh(torch.from_numpy(e)[None], torch.ones(1, 5, dtype=torch.bool), "sparsemax")[0].numpy()
    tried = np.concatenate([rng.dirichlet(np.ones(5), 500), np.eye(5)])
    tried = np.concatenate([tried, p + 0.01 * (tried - p)])
    assert np.all(((tried - e) ** 2).sum(1) >= ((p - e) ** 2).sum() - 1e-12)


@given(seed=st.integers(0, 10_000))
def test_entmax_is_the_most_of_many_points(seed: int) -> None:
    """argmax p . e + 4/3 (1 - sum p^1.5), Tsallis' entropy for alpha = 1.5, over the simplex."""
    rng = np.random.default_rng(seed)
    e = 2 * rng.normal(size=5)
    p = weigh(torch.from_numpy(e)[None], torch.ones(1, 5, dtype=torch.bool), "entmax15")[0].numpy()
    tried = np.concatenate([rng.dirichlet(np.ones(5), 500), np.eye(5)])
    tried = np.concatenate([tried, p + 0.01 * (tried - p)])

    def value(q: np.ndarray) -> np.ndarray:
        return q @ e + 4 / 3 * (1 - (q**1.5).sum(axis=-1))

    assert np.all(value(tried) <= value(p) + 1e-12)


def test_shares_that_can_be_counted_by_hand() -> None:
    """sparsemax(1.5, 1, 0) = (3/4, 1/4, 0); entmax15 of equal scores = thirds."""
    mask = torch.ones(1, 3, dtype=torch.bool)
    scores = torch.tensor([[1.5, 1.0, 0.0]])
    assert weigh(scores, mask, "sparsemax").tolist() == [[0.75, 0.25, 0.0]]
    thirds = weigh(torch.zeros(1, 3), mask, "entmax15")
    torch.testing.assert_close(thirds, torch.full((1, 3), 1 / 3))
    assert weigh(torch.tensor([[2.0, 0.0, -5.0]]), mask, "entmax15").tolist() == [[1.0, 0.0, 0.0]]
    assert weigh(torch.tensor([[2.0, 0.5, -5.0]]), mask, "rela").tolist() == [[2.0, 0.5, 0.0]]


def test_between_softmax_and_sparsemax_lies_entmax() -> None:
    scores, mask = draw(50, 11, seed=3), torch.ones(50, 11, dtype=torch.bool)
    counts = [int((weigh(scores, mask, way) > 0).sum()) for way in ("softmax", *SHARES[::-1])]
    assert counts[0] == 550 > counts[1] > counts[2] > 50


@pytest.mark.parametrize("normalize", ("softmax", *SHARES))
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_make_nan_of_their_row_alone(normalize: str, bad: float) -> None:
    """Never an error: the trainer skips an update that is not finite, and goes on."""
    scores = torch.tensor([[0.5, bad, 0.0], [1.0, 0.0, 0.5]], requires_grad=True)
    weights = weigh(scores, torch.ones(2, 3, dtype=torch.bool), normalize)
    weights.sum().backward()  # type: ignore[no-untyped-call]
    assert weights[0].isnan().all() and weights[1].isfinite().all()
    assert scores.grad is not None and scores.grad[1].isfinite().all()


@pytest.mark.parametrize("normalize", WAYS)
def test_gradients_are_slopes(normalize: str) -> None:
    scores, mask = draw(4, 3, 7, seed=5).requires_grad_(), torch.ones(4, 1, 7, dtype=torch.bool)
    mask[1, :, 4:] = False
    assert torch.autograd.gradcheck(lambda e: weigh(e, mask, normalize), scores, eps=1e-7)


@pytest.mark.parametrize("normalize", SHARES)
def test_gradients_are_those_through_the_sort(normalize: str) -> None:
    """Autograd over the same shares, their threshold a function of the scores in the support."""
    scores = draw(6, 9, seed=8).requires_grad_()
    weights = weigh(scores, torch.ones(6, 9, dtype=torch.bool), normalize)
    given_by = draw(6, 9, seed=9)
    (ours,) = torch.autograd.grad((weights * given_by).sum(), scores)
    z, inside = (scores if normalize == "sparsemax" else scores / 2), (weights > 0)
    kept, count = z * inside, inside.to(z.dtype).sum(-1, keepdim=True)
    mean = kept.sum(-1, keepdim=True) / count
    if normalize == "sparsemax":
        again = (z - mean + 1 / count) * inside
    else:
        apart = ((z - mean) ** 2 * inside).sum(-1, keepdim=True)
        again = (z - mean + ((1 - apart) / count).sqrt()) ** 2 * inside
    torch.testing.assert_close(again, weights.detach(), atol=1e-12, rtol=0)
    (theirs,) = torch.autograd.grad((again * given_by).sum(), scores)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("normalize", WAYS)
def test_neither_padding_nor_mates_change_a_bit(normalize: str, dtype: torch.dtype) -> None:
    """More padding (with any scores in it), other rows, other places: the same last bit."""
    for seed in range(200):
        size, extra = seed % 37 + 1, (seed * 7) % 29
        scores = (4 * draw(1, size, seed=seed)).to(dtype)
        alone = weigh(scores, torch.ones(1, size, dtype=torch.bool), normalize)
        wide = torch.cat([scores, (99 * draw(1, extra, seed=seed)).to(dtype)], dim=1)
        wide = torch.cat([(5 * draw(3, size + extra, seed=seed + 1)).to(dtype), wide])
        mask = torch.arange(size + extra).expand(4, -1) < size
        found = weigh(wide, mask, normalize)
        assert torch.equal(found[3, :size], alone[0]), seed
        assert torch.all(found[:, size:] == 0)


@pytest.mark.parametrize("normalize", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("large", [1e4, -1e4, 3e38])
def test_large_scores_stay_finite(normalize: str, dtype: torch.dtype, large: float) -> None:
    large = math.copysign(min(abs(large), torch.finfo(dtype).max / 2), large)
    scores = torch.full((2, 7), large, dtype=dtype)
    scores[:, 2] = -large
    scores.requires_grad_()
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[0, 2] = False
    weights = weigh(scores, mask, normalize)
    assert torch.isfinite(weights).all() and weights[0, 2] == 0
    assert weights.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    if normalize != "rela":
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, dtype=weights.dtype))
    (weights * torch.arange(7)).sum().backward()
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("normalize", WAYS)
def test_a_row_that_may_attend_nowhere_is_zero_forward_and_backward(normalize: str) -> None:
    query, keys, values = (
        draw(*s, seed=2).requires_grad_() for s in ((3, 5), (3, 7, 5), (3, 7, 2))
    )
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[1] = False
    with torch.autograd.set_detect_anomaly(True):
        context, weights = jumok.attend(query, keys, values, mask, normalize=normalize)
        (context.sum() + weights.sum()).backward()
    assert torch.all(context[1] == 0) and torch.all(weights[1] == 0)
    for leaf in (query, keys, values):
        assert torch.all(leaf.grad[1] == 0) and torch.isfinite(leaf.grad).all()


def test_attend_scales_a_context_of_rela_alone() -> None:
    query, keys, values = draw(3, 5), draw(3, 7, 5, seed=1), draw(3, 7, 4, seed=2)
    for way in ("softmax", *SHARES):
        context, weights = jumok.attend(query, keys, values, normalize=way)
        torch.testing.assert_close(context, torch.einsum("bs,bsm->bm", weights, values))
    context, weights = jumok.attend(query, keys, values, normalize="rela")
    mixed = torch.einsum("bs,bsm->bm", weights, values)
    torch.testing.assert_close(context, mixed / ((mixed**2).mean(-1, keepdim=True) + 1e-6).sqrt())
    assert weights.sum(-1).max() > 1


def test_the_norm_of_rela_is_its_formula() -> None:
    norm = context_norm("rela", 4).double()
    assert isinstance(norm, ContextNorm)
    c, g, w = (draw(4, seed=n).numpy() for n in range(3))
    with torch.no_grad():
        norm.gain.copy_(torch.from_numpy(g))
        norm.gate.copy_(torch.from_numpy(w))
    expected = c / np.sqrt((c**2).mean() + 1e-6) * g / (1 + np.exp(-w * c))
    np.testing.assert_allclose(norm(torch.from_numpy(c)).detach().numpy(), expected, atol=1e-12)
    assert isinstance(context_norm("sparsemax", 4), torch.nn.Identity)


def test_an_unknown_way_is_refused() -> None:
    message = "`normalize` must be softmax, sparsemax, entmax15 or rela, not 'hardmax'"
    with pytest.raises(ConfigError, match=message):
        jumok.attend(draw(1, 2), draw(1, 3, 2), draw(1, 3, 2), normalize="hardmax")


def test_a_map_says_what_its_rows_sum_to() -> None:
    for way in ("softmax", *SHARES):
        assert weights_map("a", way).sums_to_one and weights_map("a", way).at_most_one
    rela = weights_map("a", "rela")
    assert not rela.sums_to_one and not rela.at_most_one
